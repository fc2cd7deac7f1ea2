//! Runs containers: the zygote, one shim per container, and what the daemon says to them.
//!
//! Owned here: processes, mounts, cgroups, standard streams, logs and exit codes of containers, on libcontainer.
//! Not owned here: networks (a container is handed the path of a network namespace), images (it is handed
//! directories to stack), names, and every decision about when to do something.
//!
//! ```text
//! netd --fork, exec of a sealed copy--> zygote --fork, fork--> shim --libcontainer--> container
//!   \______________________ shim.sock ___________________________/
//! ```
//!
//! A service manager that stops the daemon must kill the daemon only (systemd: `KillMode=process`), for the shims start
//! in its cgroup, and in the legacy layout they stay there.
//!
//! The zygote is single-threaded, because libcontainer forks without exec. A shim outlives the zygote and the daemon;
//! a new daemon finds it by its socket in the run directory, and what it left behind in the data directory.

mod capabilities;
mod cgroup;
mod client;
mod container;
mod device_filter;
mod diagnosis;
mod error;
mod exec;
mod executor;
mod exit;
mod farewell;
mod init;
mod log;
mod namespace;
mod oci;
mod processes;
mod protocol;
mod removal;
mod rootfs;
mod runtime;
mod seccomp;
mod shim;
mod streams;
mod system;
mod terminal;
mod unreachable;
mod user;
mod wire;
mod zygote;

pub use container::{BindMount, ContainerSpec, Created, Directories, ExecStreams, Observed};
pub use error::{Cause, Failure, FailureKind, RuntimeError};
pub use exit::Exit;
pub use log::{LogLine, LogReader};
pub use processes::ProcessInfo;
pub use runtime::Runtime;
pub use zygote::{Zygote, run_if_zygote};
