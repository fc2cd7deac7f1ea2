//! A terminal for a process in a container.
//!
//! It is opened by the process itself, after it has entered the container and taken its user's identity: so it is one
//! of the container's own instance of devpts, is named inside as outside, and belongs to the user. The side that a
//! person sits at travels to the shim over a socket.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use model::TerminalSize;
use rustix::{
    fs::{Mode, OFlags},
    net::{AddressFamily, SocketFlags, SocketType, socketpair},
    pty::OpenptFlags,
    termios::Winsize,
};

use crate::wire;

/// The multiplexer of the container's instance of devpts.
const MULTIPLEXER: &str = "/dev/pts/ptmx";
/// Its device number on every instance (`Documentation/admin-guide/devices.txt`).
const MULTIPLEXER_DEVICE: (u32, u32) = (5, 2);
/// `statfs.f_type` of devpts (`include/uapi/linux/magic.h`).
const DEVPTS_SUPER_MAGIC: u64 = 0x1cd1;

/// In the process that is to have the terminal.
pub(crate) struct Offer {
    socket: OwnedFd,
    size: Option<TerminalSize>,
}

/// In the process that holds the other side.
pub(crate) struct Demand {
    socket: OwnedFd,
}

/// The two ends of the way that a terminal of this size, or none yet, is about to take.
pub(crate) fn arrange(size: Option<TerminalSize>) -> io::Result<(Offer, Demand)> {
    let (theirs, ours) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    Ok((Offer { socket: theirs, size }, Demand { socket: ours }))
}

impl Offer {
    /// Makes a new terminal this process's standard streams and its controlling terminal, and sends the other side. The
    /// process must lead a session without a terminal.
    pub(crate) fn fulfil(self) -> io::Result<()> {
        // Without waiting, should somebody have put a pipe there.
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let seat = rustix::fs::open(MULTIPLEXER, flags, Mode::empty())?;
        rustix::pty::unlockpt(&seat)?;
        let terminal =
            rustix::pty::ioctl_tiocgptpeer(&seat, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        if let Some(size) = self.size {
            resize(&seat, size)?;
        }
        rustix::process::ioctl_tiocsctty(&terminal)?;
        rustix::stdio::dup2_stdin(&terminal)?;
        rustix::stdio::dup2_stdout(&terminal)?;
        rustix::stdio::dup2_stderr(&terminal)?;
        wire::send(&self.socket, &(), &[seat.as_fd()])
    }
}

impl Demand {
    /// The side of the terminal that a person sits at.
    pub(crate) fn receive(&self) -> io::Result<OwnedFd> {
        let (_, mut descriptors) =
            wire::receive::<()>(&self.socket)?.ok_or_else(|| io::Error::other("the process did not open one"))?;
        let seat = descriptors.pop().ok_or_else(|| io::Error::other("none came"))?;
        // The container could have put something else in its place, and octets that clients send would go there.
        let device = rustix::fs::fstat(&seat)?.st_rdev;
        let number = (rustix::fs::major(device), rustix::fs::minor(device));
        if number != MULTIPLEXER_DEVICE || rustix::fs::fstatfs(&seat)?.f_type as u64 != DEVPTS_SUPER_MAGIC {
            return Err(io::Error::other(format!("{MULTIPLEXER} of the container is no terminal multiplexer")));
        }
        Ok(seat)
    }
}

/// Tells the terminal, and the programs on it, how large it is.
pub(crate) fn resize(seat: impl AsFd, size: TerminalSize) -> io::Result<()> {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(rustix::termios::tcsetwinsize(seat, size)?)
}
