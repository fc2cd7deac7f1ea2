//! Those who are compared: each in a network namespace, a mount namespace and directories of its own.

mod attachers;
mod docker;
mod echo;
mod fabric;
mod oci;
mod podman;
mod resolver;

use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::process::Signal;

use crate::place::kill;

pub(crate) use attachers::{Netavark, Plugin};
pub(crate) use docker::Docker;
pub(crate) use fabric::Fabric;
pub(crate) use oci::Oci;
pub(crate) use podman::Podman;
pub(crate) use resolver::{HOLDERS, NAMES, Resolver, Software, name};

/// Why a peer cannot take part.
pub(crate) type Absence = String;

/// Something that runs containers.
pub(crate) trait Peer: Sync {
    /// Its command, with these arguments.
    fn command(&self, arguments: &[&str]) -> Command;

    /// The first process and the address of a container on the network `bench`.
    fn look(&self, id: &str) -> Result<(u32, String), Absence>;

    /// Starts a container that was created, asked without a client's start.
    fn start(&self, id: &str) -> Result<(), Absence>;

    /// A command that runs `true` in a new container of the network `bench` and ends when the container is gone.
    fn run_true(&self) -> Command {
        self.command(&["run", "--rm", "--network", "bench", "busybox", "true"])
    }

    /// The same in a container without a network.
    fn run_true_alone(&self) -> Command {
        self.command(&["run", "--rm", "--network", "none", "busybox", "true"])
    }

    /// Starts a container that sleeps, and returns its first process.
    fn sleeper(&self) -> Result<Sleeper, Absence> {
        self.sleeper_with(&["--network", "bench"])
    }

    /// The same with options, one of which is the network.
    fn sleeper_with(&self, options: &[&str]) -> Result<Sleeper, Absence> {
        let arguments = [&["run", "-d"], options, &["busybox", "sleep", "100000"]].concat();
        let id = finish(&mut self.command(&arguments))?;
        let (pid, address) = self.look(&id)?;
        Ok(Sleeper { id, pid, address })
    }
}

/// A container that does nothing.
pub(crate) struct Sleeper {
    pub(crate) id: String,
    /// Its first process in the machine's PID namespace.
    pub(crate) pid: u32,
    /// Its address on the network `bench`; empty without one.
    pub(crate) address: String,
}

/// What the `inspect` of Docker and Podman, which resembles it, prints of a container.
fn look_as_docker(peer: &impl Peer, id: &str) -> Result<(u32, String), Absence> {
    let format = "{{.State.Pid}} {{with .NetworkSettings.Networks.bench}}{{.IPAddress}}{{end}}";
    let shown = finish(&mut peer.command(&["inspect", "--format", format, id]))?;
    let (pid, address) = shown.split_once(' ').unwrap_or((&shown, ""));
    Ok((pid.parse().map_err(|_| "inspect shows no pid")?, address.to_owned()))
}

/// A command whose processes the terminal does not interrupt: what is started is ended by who started it.
pub(crate) fn program(name: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(name);
    command.process_group(0);
    command
}

/// Runs a command to its end; what it said if it failed.
pub(crate) fn finish(command: &mut Command) -> Result<String, Absence> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        let said = text(&output.stderr);
        Err(format!("{:?}: {}", command.get_program(), said.lines().next().unwrap_or("failed without a word")))
    }
}

/// Whether a program can be found.
pub(crate) fn find(program: &str) -> Result<(), Absence> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|directory| directory.join(program).is_file());
    if found { Ok(()) } else { Err(format!("{program} is not installed")) }
}

/// A program that scripts/bench has built below `target/tools`, if it has.
pub(crate) fn built(program: &str) -> Option<PathBuf> {
    let target = std::env::current_exe().ok()?.parent()?.parent()?.join("tools/bin").join(program);
    target.is_file().then_some(target)
}

/// Extracts the image's root file system, for runtimes that know no images.
pub(crate) fn unpack(tar: &Path, into: &Path) -> Result<(), Absence> {
    std::fs::create_dir_all(into).map_err(|error| error.to_string())?;
    finish(program("tar").arg("-xf").arg(tar).arg("-C").arg(into)).map(drop)
}

/// The control group of this name at the top of every hierarchy.
fn groups(name: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = std::fs::read_dir(root).into_iter().flatten().map_while(Result::ok);
    let all = hierarchies.map(|entry| entry.path()).chain([root.to_owned()]).map(|directory| directory.join(name));
    all.filter(|group| group.is_dir()).collect()
}

/// Removes the control group that a peer left at the top of every hierarchy, if nothing is in it.
fn remove_group(name: &str) {
    for group in groups(name) {
        let _ = std::fs::remove_dir(group);
    }
}

/// Kills what is in the control group of this name and below, and removes them.
fn end_group(name: &str) {
    // What was killed is in its group until it is reaped.
    for _ in 0..100 {
        let groups = groups(name);
        if groups.is_empty() {
            return;
        }
        for group in groups {
            clear_group(&group);
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

fn clear_group(group: &Path) {
    let processes = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    for process in processes.lines().filter_map(|line| line.parse().ok()) {
        kill(process, Signal::KILL);
    }
    for below in std::fs::read_dir(group).into_iter().flatten().map_while(Result::ok) {
        if below.file_type().is_ok_and(|kind| kind.is_dir()) {
            clear_group(&below.path());
        }
    }
    let _ = std::fs::remove_dir(group);
}

/// The processes that a process has started and not lost.
pub(crate) fn children(process: u32) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().map_while(Result::ok);
    let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}
