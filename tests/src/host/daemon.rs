//! The host's daemon: how it is started, and the ways it ends.

use std::{
    fs::{self, File},
    os::unix::{net::UnixStream, process::ExitStatusExt},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use super::Host;
use crate::{PATIENCE, binaries, eventually, within};

impl Host {
    /// Where the daemon writes its log.
    fn log(&self) -> PathBuf {
        self.path("netd.log")
    }

    /// The daemon's command line, to be run by the test itself.
    pub fn netd_command(&self) -> Command {
        let mut command = self.namespace.command(binaries::netd());
        command.arg("--config").arg(self.path("netd.toml"));
        command.arg("--data-dir").arg(self.data_dir()).arg("--run-dir").arg(self.run_dir());
        let log = File::options().append(true).create(true).open(self.log()).expect("the directory is ours");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a file")).stderr(log);
        command
    }

    /// Starts the daemon and waits until it answers.
    #[track_caller]
    pub fn start(&self) {
        self.spawn(&mut self.netd_command());
        self.wait_until_ready();
    }

    /// Starts the daemon as `command` has it, and does not wait.
    pub fn spawn(&self, command: &mut Command) {
        let mut netd = self.netd();
        assert!(netd.is_none(), "the host has one daemon");
        *netd = Some(command.spawn().expect("nsenter runs"));
    }

    /// Waits until the daemon answers; the test fails if it ends or takes longer than [`PATIENCE`].
    #[track_caller]
    pub fn wait_until_ready(&self) {
        assert!(self.is_soon_ready(), "netd ended before it was ready:\n{}", self.log_tail());
    }

    /// Waits until the daemon answers, or has ended; the test fails if it does neither within [`PATIENCE`].
    #[track_caller]
    pub fn is_soon_ready(&self) -> bool {
        let ready = within(PATIENCE, || {
            let mut netd = self.netd();
            if netd.as_mut().expect("the daemon was started").try_wait().expect("it is our child").is_some() {
                return Some(false);
            }
            UnixStream::connect(self.run_dir().join("netd.sock")).ok()?;
            (self.fabric(&["status"]).code == 0).then_some(true)
        });
        ready.unwrap_or_else(|| panic!("netd is not ready after {PATIENCE:?}:\n{}", self.log_tail()))
    }

    /// The daemon's process.
    ///
    /// `nsenter` becomes the daemon, so they are one process.
    pub fn netd_pid(&self) -> Pid {
        Pid::from_child(self.netd().as_ref().expect("the daemon was started"))
    }

    /// Ends the daemon as a crash does: SIGKILL.
    pub fn kill(&self) {
        let mut netd = self.netd().take().expect("the daemon was started");
        netd.kill().expect("it is our child");
        netd.wait().expect("it is our child");
    }

    /// Waits until the daemon has read the request of `client`, which is `fabric`.
    #[track_caller]
    pub fn wait_until_asked_by(&self, client: &Child) {
        // What wakes a thread is eight octets (eventfd(2)), so only a request makes it more than that for each write
        // (proc_pid_io(5)).
        let path = format!("/proc/{}/io", client.id());
        let count = |io: &str, name| io.lines().find_map(|line| line.strip_prefix(name)?.parse::<u32>().ok());
        eventually("the request is sent", || {
            let io = fs::read_to_string(&path).ok()?;
            (count(&io, "wchar: ")? > 8 * count(&io, "syscw: ")?).then_some(())
        });
        // Who asks later is answered when what was asked before has been read.
        self.ok(&["ps"]);
    }

    /// Waits until the daemon has ended by itself, and returns the signal that ended it; none if it goes on.
    pub fn ended_by(&self, limit: Duration) -> Option<i32> {
        let mut netd = self.netd();
        let child = netd.as_mut().expect("the daemon was started");
        let status = within(limit, || child.try_wait().expect("it is our child"))?;
        *netd = None;
        status.signal()
    }

    /// Ends the daemon as a service manager does: SIGTERM; it must end well, within [`PATIENCE`].
    #[track_caller]
    pub fn terminate(&self) {
        let mut netd = self.netd().take().expect("the daemon was started");
        kill_process(Pid::from_child(&netd), Signal::TERM).expect("it is our child");
        let status = within(PATIENCE, || netd.try_wait().expect("it is our child"));
        let Some(status) = status else {
            let _ = netd.kill();
            let _ = netd.wait();
            panic!("netd did not end within {PATIENCE:?} of SIGTERM:\n{}", self.log_tail());
        };
        assert!(status.success(), "netd ended with {status}:\n{}", self.log_tail());
    }

    /// `kill -9` and a new start.
    #[track_caller]
    pub fn restart(&self) {
        self.kill();
        self.start();
    }

    /// The last lines of the daemon's log.
    pub fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        format!("--- netd.log\n{}", lines[lines.len().saturating_sub(40)..].join("\n"))
    }

    pub(super) fn netd(&self) -> MutexGuard<'_, Option<Child>> {
        self.netd.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
