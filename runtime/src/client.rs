//! The daemon's end of a conversation with a shim.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    time::Duration,
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
    process::{Pid, PidfdFlags, Signal},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::io::{Interest, unix::AsyncFd};

use crate::{shim::PROCESS_NAME, system, wire};

/// The name of a shim's socket in its container's run directory.
pub(crate) const SOCKET: &str = "shim.sock";

/// A `SOCK_SEQPACKET` socket that carries [`wire`] messages.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: AsyncFd<OwnedFd>,
}

impl Connection {
    /// Takes a non-blocking socket. Must be called within a tokio runtime.
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self { socket: system::register(socket)? })
    }

    /// Connects to the shim whose run directory this is; none if there is no shim.
    pub(crate) async fn to_shim(directory: &Path) -> io::Result<Option<Self>> {
        loop {
            match connect(directory) {
                Ok(socket) => return Self::new(socket).map(Some),
                Err(Errno::NOENT | Errno::NOTDIR | Errno::CONNREFUSED) => return Ok(None),
                // More connections wait than the shim's backlog holds; a unix socket does not queue further.
                Err(Errno::AGAIN) => tokio::time::sleep(Duration::from_millis(2)).await,
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub(crate) async fn send<T: Serialize>(&self, message: &T, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.socket.async_io(Interest::WRITABLE, |socket| wire::send(socket, message, descriptors)).await
    }

    /// The next message; none when the peer has closed, on purpose or because it died.
    pub(crate) async fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<T>> {
        match self.socket.async_io(Interest::READABLE, |socket| wire::receive(socket)).await {
            Ok(received) => Ok(received.map(|(message, _)| message)),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits until the peer has closed.
    pub(crate) async fn closed(&self) {
        while let Ok(Some(_)) = self.receive::<serde_json::Value>().await {}
    }

    /// Kills the shim at the other end, if it is one.
    pub(crate) fn kill_shim(&self) -> io::Result<()> {
        let credentials = rustix::net::sockopt::socket_peercred(self.socket.get_ref())?;
        let process = rustix::process::pidfd_open(credentials.pid, PidfdFlags::empty())?;
        // The credentials are those of whoever listened last: the daemon that made the socket, until the shim has
        // taken it over. The name is read after the pidfd was opened, so it cannot belong to a successor of the pid.
        if process_name(credentials.pid)? == PROCESS_NAME {
            rustix::process::pidfd_send_signal(process, Signal::KILL)?;
        }
        Ok(())
    }
}

fn process_name(pid: Pid) -> io::Result<String> {
    let name = std::fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero()))?;
    Ok(name.trim_end().to_owned())
}

/// `sockaddr_un` holds 108 octets; going through a descriptor makes the length of the directory's path irrelevant.
fn address(directory: &OwnedFd) -> Result<SocketAddrUnix, Errno> {
    use std::os::fd::AsRawFd;
    SocketAddrUnix::new(format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd()))
}

fn open(directory: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn socket() -> Result<OwnedFd, Errno> {
    rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
}

fn connect(directory: &Path) -> Result<OwnedFd, Errno> {
    let directory = open(directory)?;
    let socket = socket()?;
    rustix::net::connect(socket.as_fd(), &address(&directory)?)?;
    Ok(socket)
}

/// Makes the socket of a shim that is about to be born. Whoever connects from now on waits for it, and is told when it
/// dies, however early.
pub(crate) fn listen(directory: &Path) -> Result<OwnedFd, Errno> {
    let directory = open(directory)?;
    let socket = socket()?;
    rustix::net::bind(socket.as_fd(), &address(&directory)?)?;
    rustix::fs::chmodat(&directory, SOCKET, Mode::RUSR | Mode::WUSR, rustix::fs::AtFlags::empty())?;
    rustix::net::listen(socket.as_fd(), BACKLOG)?;
    Ok(socket)
}

/// How many connections may wait for a shim. Those that were given up while it was stopped count, and deleting it needs
/// one more; the kernel's own limit is `net.core.somaxconn`, 4096.
pub(crate) const BACKLOG: i32 = 1024;
