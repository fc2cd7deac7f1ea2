//! What a container is made of, and what can be seen of it.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use model::{Command, Confinement, ContainerId, Hostname, LogLimits, TerminalSize};
use serde::{Deserialize, Serialize};

use crate::Exit;

/// Where the runtime keeps its state. All paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directories {
    /// One directory per container that a reboot may forget: the shim's socket, libcontainer's state, mount points.
    pub run: PathBuf,
    /// One directory per container that outlives a reboot: `log.jsonl` and `exit.json`.
    pub data: PathBuf,
    /// A directory that network namespaces are pinned in, mounted over itself: shims detach it in one piece from their
    /// copies of the host's mounts. If nothing is mounted on it, they detach each pin.
    pub namespaces: PathBuf,
    /// The one cgroup, directly below the root of each hierarchy, that holds a cgroup per container. It must be
    /// unique to the data directory, for it is removed when it is empty.
    pub cgroup_parent: String,
}

impl Directories {
    /// The container's directory for run-time state.
    pub fn run_of(&self, id: &ContainerId) -> PathBuf {
        self.run.join(id.as_str())
    }

    /// The container's directory for what outlives a reboot.
    pub fn data_of(&self, id: &ContainerId) -> PathBuf {
        self.data.join(id.as_str())
    }

    /// The container's log, one JSON object per line ([`crate::LogLine`]).
    pub fn log_of(&self, id: &ContainerId) -> PathBuf {
        self.data_of(id).join("log.jsonl")
    }

    pub(crate) fn exit_of(&self, id: &ContainerId) -> PathBuf {
        self.data_of(id).join("exit.json")
    }

    /// Whether a file of that name in a container's directory for what outlives a reboot can be of the runtime's
    /// making.
    pub fn is_own_file(name: &str) -> bool {
        let number = |rest: &str| rest.strip_prefix('.').is_some_and(|digits| digits.parse::<u16>().is_ok());
        let of_log = |rest: &str| rest.is_empty() || number(rest);
        ["exit.json", "exit.json.new"].contains(&name) || name.strip_prefix("log.jsonl").is_some_and(of_log)
    }

    /// The container's cgroup, relative to the root of a hierarchy.
    pub(crate) fn cgroup_of(&self, id: &ContainerId) -> PathBuf {
        Path::new(&self.cgroup_parent).join(id.as_str())
    }
}

/// A container to be created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Names the container's directories and cgroup.
    pub id: ContainerId,
    /// The host name its processes see.
    pub hostname: Hostname,
    /// What it runs.
    pub command: Command,
    /// The read-only directories that are stacked to its root file system, topmost first; at least one.
    pub lower: Vec<PathBuf>,
    /// The directory that takes its changes.
    pub upper: PathBuf,
    /// overlayfs' own directory, empty and on the same file system as `upper`.
    pub work: PathBuf,
    /// Whether nobody looks at `upper` once the container has ended: then nothing of it needs to reach the disk.
    pub ephemeral: bool,
    /// A file that is a network namespace; none means the one that the runtime is in.
    pub network_namespace: Option<PathBuf>,
    /// Files and directories of the host that appear inside.
    pub mounts: Vec<BindMount>,
    /// Whether standard input is a pipe that attached clients write to; otherwise it has ended already.
    pub open_stdin: bool,
    /// What it is given and kept from.
    pub confinement: Confinement,
    /// Whether its standard streams are a terminal of its own, to which attached clients write whatever
    /// [`ContainerSpec::open_stdin`] says.
    pub terminal: bool,
    /// Whether its program has an init for a parent, which passes signals on and reaps orphans. Not together with
    /// CAP_SYS_PTRACE, which could read the memory of this library out of it.
    pub init: bool,
    /// How much of its log is kept.
    pub log: LogLimits,
}

/// A file or directory of the host that appears inside a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindMount {
    /// An absolute path on the host.
    pub source: PathBuf,
    /// An absolute path inside the container, created where it is missing.
    pub destination: PathBuf,
    /// Whether the container cannot write to it.
    pub read_only: bool,
}

/// What the standard streams of a program that is added to a container are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExecStreams {
    /// Three pipes.
    Pipes {
        /// Whether the client writes to its standard input, which has ended already otherwise.
        stdin: bool,
    },
    /// A terminal of its own, of this size.
    Terminal(TerminalSize),
}

/// A container that was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    /// Its first process, in the host's PID namespace, which waits for [`crate::Runtime::start`].
    pub pid: i32,
}

/// What a container's first process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Observed {
    /// It waits to be started.
    Created {
        /// Its identifier in the host's PID namespace.
        pid: i32,
    },
    /// It runs the container's program.
    Running {
        /// Its identifier in the host's PID namespace.
        pid: i32,
        /// When it was started.
        started_at: Timestamp,
    },
    /// It has ended.
    Exited(Exit),
}
