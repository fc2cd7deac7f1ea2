//! Many datagrams by one system call: recvmmsg(2) and sendmmsg(2).

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::SocketAddr,
    os::fd::AsRawFd,
};

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};
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

    /// Takes what has come in, at most [`BATCH`] datagrams, and says how many that were; none is an error of kind
    /// `WouldBlock`.
    pub(super) fn receive(&mut self, socket: &UdpSocket, mut each: impl FnMut(SocketAddr, &[u8])) -> io::Result<usize> {
        let mut slots: [[IoSliceMut<'_>; 1]; BATCH] = {
            let mut pieces = self.0.chunks_exact_mut(QUERY);
            std::array::from_fn(|_| [IoSliceMut::new(pieces.next().expect("the buffer has a piece for each slot"))])
        };
        // Made for each call: the kernel overwrites the lengths in them, and nothing sets those back.
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, None);
        let received = socket.try_io(Interest::READABLE, || {
            recvmmsg(socket.as_raw_fd(), &mut headers, slots.iter_mut(), MsgFlags::MSG_DONTWAIT, None)
                .map_err(io::Error::from)
        })?;
        let mut count = 0;
        for message in received {
            count += 1;
            if let (Some(source), Some(octets)) = (message.address.as_ref().and_then(address), message.iovs().next()) {
                each(source, octets);
            }
        }
        Ok(count)
    }
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let ipv4 = storage.as_sockaddr_in().map(|address| SocketAddr::V4((*address).into()));
    ipv4.or_else(|| storage.as_sockaddr_in6().map(|address| SocketAddr::V6((*address).into())))
}

/// Replies that are to go out. Their buffers are used again.
#[derive(Default)]
pub(super) struct Outbox {
    replies: Vec<(SocketAddrAny, Vec<u8>)>,
    /// How many of `replies` are to go out.
    full: usize,
}

impl Outbox {
    /// A reply to `client`, for `write` to write; it goes out if that says so.
    pub(super) fn write(&mut self, client: SocketAddr, write: impl FnOnce(&mut Vec<u8>) -> bool) {
        if self.full == self.replies.len() {
            self.replies.push((client.into(), Vec::with_capacity(512)));
        }
        let (address, reply) = &mut self.replies[self.full];
        *address = client.into();
        if write(reply) {
            self.full += 1;
        }
    }

    /// Sends all replies. What the socket has no room for waits until it has; a reply that cannot be sent at all is
    /// dropped, and its client asks again.
    pub(super) async fn send(&mut self, socket: &UdpSocket) {
        let mut sent = 0;
        while sent < self.full {
            match socket.try_io(Interest::WRITABLE, || transmit(socket, &self.replies[sent..self.full])) {
                Ok(count) => sent += count.max(1),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if socket.writable().await.is_err() {
                        break;
                    }
                }
                Err(error) => {
                    tracing::debug!(client = ?self.replies[sent].0, %error, "cannot send a DNS answer");
                    sent += 1;
                }
            }
        }
        self.full = 0;
    }
}

fn transmit(socket: &UdpSocket, replies: &[(SocketAddrAny, Vec<u8>)]) -> io::Result<usize> {
    let replies = &replies[..replies.len().min(BATCH)];
    let slices: [[IoSlice<'_>; 1]; BATCH] =
        std::array::from_fn(|index| [IoSlice::new(replies.get(index).map_or(&[], |(_, reply)| reply))]);
    let mut ancillary: [SendAncillaryBuffer<'_, '_, '_>; BATCH] = std::array::from_fn(|_| Default::default());
    let mut messages = smallvec::SmallVec::<[MMsgHdr<'_>; BATCH]>::new();
    for (((client, _), slice), ancillary) in replies.iter().zip(&slices).zip(&mut ancillary) {
        messages.push(MMsgHdr::new_with_addr(client, slice, ancillary));
    }
    Ok(sendmmsg(socket, &mut messages, SendFlags::DONTWAIT)?)
}
