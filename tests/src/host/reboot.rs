//! What a reboot of the machine does to a host.

use std::{fs, process::Command};

use super::Host;
use crate::{
    eventually,
    processes::{self, Process},
};

impl Host {
    /// As a reboot does: every process of the daemon's and of its containers ends at once, the run directory is empty,
    /// and the daemon is started.
    #[track_caller]
    pub fn reboot(&self) {
        self.kill();
        eventually("nothing of the host runs any more", || {
            let running = processes::belonging_to(self.directory.path(), &[]);
            running.iter().for_each(Process::kill);
            running.is_empty().then_some(())
        });
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("a mount table");
        let run_dir = self.run_dir();
        let below = run_dir.to_str().expect("UTF-8");
        for path in mounts.lines().filter_map(|line| line.split(' ').nth(4)).filter(|path| path.starts_with(below)) {
            // What is below another mount may be gone with it.
            let _ = Command::new("umount").args(["--lazy", path]).output();
        }
        fs::remove_dir_all(&run_dir).expect("nothing is mounted there any more");
        self.start();
    }
}
