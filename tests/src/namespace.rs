//! Network namespaces of the tests' own.

use std::{
    fs::File,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::{
    mount::{UnmountFlags, unmount},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use crate::{Mac, Outcome};

/// A network namespace, by the path of a file that stands for it.
#[derive(Debug, Clone)]
pub struct Namespace {
    path: PathBuf,
}

impl Namespace {
    /// A new namespace, with its loopback up, pinned at `path` until [`Namespace::unpin`].
    pub(crate) fn pinned(path: PathBuf) -> Self {
        File::create(&path).expect("the directory is the rig's own");
        // `ip netns add` would mount /run/netns and leave that behind.
        let status = Command::new("unshare").arg(format!("--net={}", path.display())).arg("true").status();
        assert!(status.expect("unshare runs").success(), "a network namespace needs root");
        let namespace = Self { path };
        namespace.run(&["ip", "link", "set", "lo", "up"]);
        namespace
    }

    /// The namespace a process lives in, for as long as it lives.
    pub fn of_process(pid: i64) -> Self {
        Self { path: format!("/proc/{pid}/ns/net").into() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn unpin(&self) {
        // Already gone is as good.
        let _ = unmount(&self.path, UnmountFlags::DETACH);
        let _ = std::fs::remove_file(&self.path);
    }

    /// A command that will run inside, in the machine's mount namespace.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path.display())).arg("--").arg(program);
        command
    }

    /// Runs a command inside to its end.
    pub fn try_run(&self, line: &[&str]) -> Outcome {
        let output = self.command(line[0]).args(&line[1..]).output().expect("nsenter runs");
        Outcome::new(line.join(" "), &output)
    }

    /// Runs a command inside and returns its output; the test fails if the command does.
    #[track_caller]
    pub fn run(&self, line: &[&str]) -> String {
        self.try_run(line).success()
    }

    /// The MAC address of an interface inside.
    #[track_caller]
    pub fn mac(&self, interface: &str) -> Mac {
        let link = self.run(&["ip", "-o", "link", "show", "dev", interface]);
        Mac::parse(link.split_whitespace().skip_while(|word| *word != "link/ether").nth(1).expect("an address"))
    }

    /// Calls `act` on a thread inside. Sockets made there stay there, wherever they are used.
    pub fn enter<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let file = File::open(&self.path).expect("the namespace is pinned or its process lives");
        let inside = || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).expect("setns needs root");
            act()
        };
        let result = std::thread::scope(|scope| scope.spawn(inside).join());
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}
