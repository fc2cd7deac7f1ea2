//! Where a peer lives: a process that holds a network and a mount namespace of its own, and two directories.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::peer::{Absence, finish};

/// Namespaces and directories. All goes when it is dropped.
pub(crate) struct Place {
    holder: Child,
    /// On the disk.
    pub(crate) data: TempDir,
    /// In memory, as `/run` is.
    pub(crate) run: TempDir,
}

impl Place {
    /// A new place; `setup` is shell script that is run in it first.
    pub(crate) fn new(setup: &str) -> Result<Self, Absence> {
        let directory = |path: &str| {
            TempDir::with_prefix_in("fabric-bench-", path).map_err(|error| format!("a directory in {path}: {error}"))
        };
        let (data, run) = (directory("/tmp")?, directory("/dev/shm")?);
        let mut holder = Command::new("unshare");
        holder.args(["--net", "--mount", "--", "sleep", "infinity"]);
        let holder = holder.stdin(Stdio::null()).spawn().map_err(|error| format!("unshare: {error}"))?;
        let place = Self { holder, data, run };
        // It has entered its namespaces once it is another program.
        let program = PathBuf::from(format!("/proc/{}/comm", place.pid()));
        while std::fs::read_to_string(&program).is_ok_and(|name| name.trim() != "sleep") {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        finish(place.command("sh").arg("-ec").arg(format!("ip link set lo up; {setup}")))?;
        Ok(place)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.holder.id()
    }

    /// A command that will run there.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.pid())).args(["--net", "--mount", "--"]).arg(program);
        command
    }

    pub(crate) fn data(&self) -> &Path {
        self.data.path()
    }

    pub(crate) fn run(&self) -> &Path {
        self.run.path()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Ends a child in good order, by force after five seconds.
pub(crate) fn end(child: &mut Child) {
    use rustix::process::{Pid, Signal, kill_process};
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::TERM);
    }
    for _ in 0..500 {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let _ = child.kill();
    let _ = child.wait();
}
