//! Many datagrams by one system call: recvmmsg(2).

use std::{
    io::{self, IoSliceMut},
    net::SocketAddr,
    os::fd::AsRawFd,
};

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg};
use tokio::{io::Interest, net::UdpSocket};

/// Datagrams in one call. More of them save little: at 32 a call's own cost is a few percent of all.
pub(super) const BATCH: usize = 32;
/// The longest query that is read, in octets; what is longer is cut, and then malformed.
const QUERY: usize = 1280;

/// Room for datagrams that come in.
pub(super) struct Receiver(Box<[u8]>);

impl Receiver {
    pub(super) fn new() -> Self {
        Self(vec![0; BATCH * QUERY].into())
    }

    /// Takes what has come in, at most [`BATCH`] datagrams, and says how many that were. If they are fewer, there are
    /// no more, and the socket is not readable until another comes.
    pub(super) fn receive(&mut self, socket: &UdpSocket, mut each: impl FnMut(SocketAddr, &[u8])) -> io::Result<usize> {
        let mut slots: [[IoSliceMut<'_>; 1]; BATCH] = {
            let mut pieces = self.0.chunks_exact_mut(QUERY);
            std::array::from_fn(|_| [IoSliceMut::new(pieces.next().expect("the buffer has a piece for each slot"))])
        };
        // Made for each call: the kernel overwrites the lengths in them, and nothing sets those back.
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, None);
        let mut count = 0;
        let drained = socket.try_io(Interest::READABLE, || {
            let flags = MsgFlags::MSG_DONTWAIT;
            for message in recvmmsg(socket.as_raw_fd(), &mut headers, slots.iter_mut(), flags, None)? {
                count += 1;
                let source = message.address.as_ref().and_then(address);
                if let (Some(source), Some(octets)) = (source, message.iovs().next()) {
                    each(source, octets);
                }
            }
            // The kernel looked for one more than it found: another call would only say so.
            if count < BATCH { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match drained {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(count),
        }
    }
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let ipv4 = storage.as_sockaddr_in().map(|address| SocketAddr::V4((*address).into()));
    ipv4.or_else(|| storage.as_sockaddr_in6().map(|address| SocketAddr::V6((*address).into())))
}
