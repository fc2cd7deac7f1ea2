//! Those who are compared: each in a network namespace, a mount namespace and directories of its own.

mod attachers;
mod docker;
mod fabric;
mod oci;
mod podman;

use std::{
    path::Path,
    process::{Command, Stdio},
};

pub(crate) use attachers::{Netavark, Plugin};
pub(crate) use docker::Docker;
pub(crate) use fabric::Fabric;
pub(crate) use oci::Oci;
pub(crate) use podman::Podman;

/// Why a peer cannot take part.
pub(crate) type Absence = String;

/// Something that runs containers.
pub(crate) trait Peer {
    /// A command that runs `true` in a new container and ends when the container is gone.
    fn run_true(&self) -> Command;

    /// Starts a container that sleeps, and returns its first process.
    fn sleeper(&self) -> Result<Sleeper, Absence>;
}

/// A container that does nothing.
pub(crate) struct Sleeper {
    pub(crate) id: String,
    /// Its first process in the machine's PID namespace.
    pub(crate) pid: u32,
    /// Its address on the network; empty without one.
    pub(crate) address: String,
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

/// Extracts the image's root file system, for runtimes that know no images.
pub(crate) fn unpack(tar: &Path, into: &Path) -> Result<(), Absence> {
    std::fs::create_dir_all(into).map_err(|error| error.to_string())?;
    finish(Command::new("tar").arg("-xf").arg(tar).arg("-C").arg(into)).map(drop)
}

/// Removes the control group that a peer left at the top of every hierarchy, if nothing is in it.
fn remove_group(name: &str) {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = std::fs::read_dir(root).into_iter().flatten().map_while(Result::ok);
    for directory in hierarchies.map(|entry| entry.path()).chain([root.to_owned()]) {
        let _ = std::fs::remove_dir(directory.join(name));
    }
}
