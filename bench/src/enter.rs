//! Sockets in the network namespaces of others.

use std::{fs::File, os::fd::AsFd, thread};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::peer::Absence;

/// Opens something in the network namespace of a process: it stays there, wherever it is used.
pub(crate) fn enter<T: Send>(process: u32, open: impl FnOnce() -> Result<T, Absence> + Send) -> Result<T, Absence> {
    let path = format!("/proc/{process}/ns/net");
    let file = File::open(&path).map_err(|error| format!("{path}: {error}"))?;
    let work = || {
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).map_err(|error| error.to_string())?;
        open()
    };
    // A thread of its own, which ends there.
    thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|_| Err("the thread ended".to_owned()))
}
