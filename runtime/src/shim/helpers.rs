//! The processes that run programs for `exec`, of one container.

use std::{
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};

use crate::system;

/// How long they may take, from the request that ends the container on, to reap their programs and to tell their
/// clients.
const FAREWELL: Duration = Duration::from_millis(500);

/// A process that runs a program for `exec`.
pub(super) struct Helper {
    pub(super) pid: Pid,
    pub(super) process: OwnedFd,
    /// The end of a pipe whose other end the process has closed once it has nothing of the container any more, only
    /// octets that its client has not taken. None from then on.
    pub(super) holds: Option<OwnedFd>,
}

#[derive(Default)]
pub(super) struct Helpers {
    pub(super) all: Vec<Helper>,
    until: Option<Instant>,
}

impl Helpers {
    /// The container is being ended. Its first process cannot end before each program in its PID namespace was reaped
    /// (`zap_pid_ns_processes` in the kernel's `kernel/pid_namespace.c`), and those of a helper are reaped by it alone.
    pub(super) fn take_leave(&mut self) {
        self.until.get_or_insert_with(|| Instant::now() + FAREWELL);
    }

    pub(super) fn are_leaving(&self) -> bool {
        self.until.is_some()
    }

    /// Whether any of them has something of the container.
    pub(super) fn hold(&self) -> bool {
        self.all.iter().any(|helper| helper.holds.is_some())
    }

    /// When those that still have something of the container are to be killed.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.until.filter(|_| self.hold())
    }

    /// Kills those that have something of the container although they had their time. Whoever comes after them reaps
    /// their programs.
    pub(super) fn end_overdue(&mut self, now: Instant) {
        if self.deadline().is_some_and(|until| until <= now) {
            for helper in self.all.extract_if(.., |helper| helper.holds.is_some()) {
                let _ = rustix::process::pidfd_send_signal(&helper.process, Signal::KILL);
                system::reap(helper.pid);
            }
        }
    }
}
