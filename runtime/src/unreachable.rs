//! Containers that run, and whose shim cannot be reached because somebody removed its socket.
//!
//! They are whole otherwise: nobody may take them for ended who only looks at them.

use std::{fs, os::fd::AsFd};

use model::ContainerId;
use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open},
};

use crate::{Directories, RuntimeError, cgroup, client, system};

/// Whether a container that no shim answers for may be taken for ended.
pub(crate) fn check(directories: &Directories, id: &ContainerId) -> Result<(), RuntimeError> {
    let path = directories.run_of(id).join(client::SOCKET);
    // A socket that is there, and nobody listens at, is of a shim that is dead.
    if path.exists() || cgroup::processes(&directories.cgroup_of(id))?.is_empty() {
        return Ok(());
    }
    Err(RuntimeError::Unreachable { id: id.clone(), path })
}

/// Sends a signal to the container's first process.
pub(crate) fn signal(directories: &Directories, id: &ContainerId, signal: i32) -> Result<(), RuntimeError> {
    let cgroup = directories.cgroup_of(id);
    for pid in cgroup::processes(&cgroup)? {
        let Some(Ok(process)) = Pid::from_raw(pid).map(|pid| pidfd_open(pid, PidfdFlags::empty())) else { continue };
        // Looked at once it is held: the number cannot become another's meanwhile.
        if is_first(pid) {
            return match system::send_signal(process.as_fd(), signal) {
                Err(Errno::SRCH) => Err(RuntimeError::NotRunning { id: id.clone() }),
                sent => sent.map_err(|source| RuntimeError::path("signal the first process of", cgroup, source)),
            };
        }
    }
    Err(RuntimeError::NotRunning { id: id.clone() })
}

/// Whether the process is the first one of a PID namespace right below this one (`NSpid` of proc_pid_status(5)).
fn is_first(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    numbers.is_some_and(|numbers| numbers.split_whitespace().skip(1).eq(["1"]))
}
