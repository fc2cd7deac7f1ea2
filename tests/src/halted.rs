//! Processes that stand still for a while.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

/// A process that does nothing until this is dropped.
#[derive(Debug)]
pub struct Halted(Pid);

impl Halted {
    /// Sends it SIGSTOP.
    pub fn new(pid: Pid) -> Self {
        kill_process(pid, Signal::STOP).expect("it runs, and is ours");
        Self(pid)
    }
}

impl Drop for Halted {
    fn drop(&mut self) {
        // It may have ended meanwhile.
        let _ = kill_process(self.0, Signal::CONT);
    }
}

/// The process that looks after a container, which is the parent of its first process.
pub fn shim_of(first: i64) -> Pid {
    let status = fs::read_to_string(format!("/proc/{first}/status")).expect("it runs");
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("it has one");
    Pid::from_raw(parent.trim().parse().expect("a number")).expect("it is not 0")
}
