//! The single-threaded process that shims are forked from.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::Mode,
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, socketpair},
    process::{DumpableBehavior, WaitOptions},
};

use crate::{
    Runtime, RuntimeError,
    protocol::CreateRequest,
    seccomp::Filter,
    shim,
    system::{self, Fork},
    wire,
};

/// The daemon's connection to its zygote, which ends when this is dropped. Shims and containers do not.
#[derive(Debug)]
pub struct Zygote {
    socket: OwnedFd,
}

impl Zygote {
    /// The socket for orders, non-blocking.
    pub(crate) fn socket(&self) -> io::Result<OwnedFd> {
        let socket = self.socket.try_clone()?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(socket)
    }

    /// Whether the process has ended: nobody has the other end of the socket any more.
    pub(crate) fn has_ended(&self) -> bool {
        let mut polled = [PollFd::new(&self.socket, PollFlags::empty())];
        poll(&mut polled, Some(&Timespec::default())).is_ok() && polled[0].revents().contains(PollFlags::HUP)
    }
}

/// `argv[0]` of the zygote.
const NAME: &str = "fabric-zygote";
/// Where the zygote finds its socket.
const SOCKET: i32 = 3;
/// How long it waits for more memory or descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// Must come first in the daemon's `main`. In the process that [`Runtime::spawn_zygote`] executed it runs the zygote
/// and never returns; in every other it returns at once.
pub fn run_if_zygote() {
    if std::env::args_os().next().is_some_and(|name| name == NAME) {
        let status = run(system::adopt(SOCKET));
        std::process::exit(status);
    }
}

impl Runtime {
    /// Starts the zygote. Must be called before the process has a second thread, for it forks.
    ///
    /// What runs is a sealed copy of this program in memory, so that no container can ever write to the program on disk
    /// by way of a process that enters it (CVE-2019-5736).
    ///
    /// # Errors
    /// [`RuntimeError::Zygote`] names the step.
    pub fn spawn_zygote() -> Result<Zygote, RuntimeError> {
        let at = |step| move |error: Errno| RuntimeError::Zygote { step, source: error.into() };
        let program = system::sealed_copy_of_self()
            .map_err(|source| RuntimeError::Zygote { step: "copy this program", source })?;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(at("socketpair"))?;
        let (mut report, failure) = io::pipe().map_err(|source| RuntimeError::Zygote { step: "pipe", source })?;
        match system::fork().map_err(at("fork"))? {
            Fork::Child => {
                let error = system::become_program(&program, NAME, theirs, SOCKET, failure.as_fd());
                system::exit_now(error.raw_os_error())
            }
            Fork::Parent(_) => {
                drop((theirs, failure));
                let mut text = [0; 4];
                match io::Read::read(&mut report, &mut text) {
                    // Closed by a successful exec.
                    Ok(0) => Ok(Zygote { socket: ours }),
                    Ok(_) => Err(at("execveat")(Errno::from_raw_os_error(i32::from_ne_bytes(text)))),
                    Err(source) => Err(RuntimeError::Zygote { step: "read", source }),
                }
            }
        }
    }
}

/// Whether there may be enough soon of what there was too little of to take an order.
fn is_passing(error: &io::Error) -> bool {
    let known = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(known, Some(Errno::NOMEM | Errno::NOBUFS | Errno::MFILE | Errno::NFILE | Errno::INTR | Errno::AGAIN))
}

fn run(socket: OwnedFd) -> i32 {
    // The container's processes must not look into the ones that set them up.
    if rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).is_err() {
        return 1;
    }
    // An interrupt at the daemon's terminal is the daemon's affair.
    let _ = rustix::process::setsid();
    // What containers would otherwise inherit of the daemon's.
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    if system::drop_groups().is_err() {
        return 1;
    }
    // Once for all containers: compiling takes longer than everything else a start does together.
    let filter = Filter::docker_default();
    loop {
        let (request, descriptors) = match wire::receive::<CreateRequest>(&socket) {
            Ok(Some(order)) => order,
            Ok(None) => return 0,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => continue,
            Err(error) if is_passing(&error) => {
                std::thread::sleep(PAUSE);
                continue;
            }
            Err(_) => return 1,
        };
        let Ok([reply, listener]) = <[OwnedFd; 2]>::try_from(descriptors) else {
            continue;
        };
        match system::fork() {
            // Forks once more, so that the shim is nobody's child, and this process never has to reap it.
            Ok(Fork::Child) => match system::fork() {
                Ok(Fork::Child) => shim::run(request, &filter, reply, listener),
                Ok(Fork::Parent(_)) => system::exit_now(0),
                Err(error) => system::exit_now(error.raw_os_error()),
            },
            Ok(Fork::Parent(child)) => {
                let _ = rustix::process::waitpid(Some(child), WaitOptions::empty());
            }
            // The reply's descriptor closes, which tells the daemon.
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn want_of_memory_passes_and_a_broken_socket_does_not() {
        for (error, passes) in [
            (Errno::NOMEM, true),
            (Errno::NOBUFS, true),
            (Errno::MFILE, true),
            (Errno::INTR, true),
            (Errno::CONNRESET, false),
            (Errno::BADF, false),
            (Errno::NOTCONN, false),
        ] {
            assert_eq!(is_passing(&error.into()), passes, "{error:?}");
        }
        assert!(!is_passing(&io::Error::other("no number")));
    }

    #[test]
    fn an_end_of_the_process_is_seen_on_its_socket() {
        let (socket, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .expect("sockets can be made");
        let zygote = Zygote { socket };
        assert!(!zygote.has_ended());
        rustix::net::send(&zygote.socket, b"an order", rustix::net::SendFlags::empty()).expect("there is room");
        assert!(!zygote.has_ended());
        drop(theirs);
        assert!(zygote.has_ended());
    }
}
