//! Many replies by few system calls, and by fewer packets.
//!
//! A reply takes most of its time on its way through the kernel: routing, firewall, bridge and veth pair, once for each
//! packet. Replies for one socket of one client go that way as one packet (UDP_SEGMENT, udp(7)), which the kernel takes
//! apart where it puts them into that socket.

use std::{
    cmp::Reverse,
    io::{self, IoSlice},
    net::SocketAddr,
    os::fd::AsRawFd,
};

use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};
use smallvec::SmallVec;
use tokio::{io::Interest, net::UdpSocket};

use super::batch::BATCH;

/// Replies that are to go out. Their buffers are used again.
#[derive(Default)]
pub(super) struct Outbox {
    replies: Vec<Reply>,
    /// How many of `replies` are to go out.
    full: usize,
}

struct Reply {
    client: SocketAddr,
    octets: Vec<u8>,
}

impl Outbox {
    /// A reply to `client`, for `write` to write; it goes out if that says so.
    pub(super) fn write(&mut self, client: SocketAddr, write: impl FnOnce(&mut Vec<u8>) -> bool) {
        if self.full == self.replies.len() {
            self.replies.push(Reply { client, octets: Vec::with_capacity(512) });
        }
        let reply = &mut self.replies[self.full];
        reply.client = client;
        if write(&mut reply.octets) {
            self.full += 1;
        }
    }

    /// Sends all replies, in any order. What the socket has no room for waits until it has; a reply that cannot be sent
    /// at all is dropped, and its client asks again.
    pub(super) async fn send(&mut self, socket: &UdpSocket) {
        let replies = &mut self.replies[..self.full];
        replies.sort_unstable_by_key(|reply| (reply.client, Reverse(reply.octets.len())));
        let mut single: SmallVec<[&Reply; BATCH]> = SmallVec::new();
        let mut rest = &*replies;
        while !rest.is_empty() {
            let (train, behind) = rest.split_at(train(rest));
            rest = behind;
            // One by one they may be cut into fragments, which a train may not.
            if train.len() == 1 || once_writable(socket, || transmit_train(socket, train)).await.is_err() {
                single.extend(train);
            }
        }
        let mut sent = 0;
        while sent < single.len() {
            match once_writable(socket, || transmit(socket, &single[sent..])).await {
                Ok(count) => sent += count.max(1),
                Err(error) => {
                    tracing::debug!(client = %single[sent].client, %error, "cannot send a DNS answer");
                    sent += 1;
                }
            }
        }
        self.full = 0;
    }
}

/// Sends by `send`; while that says `WouldBlock`, waits until there is room, and tries again.
async fn once_writable<T>(socket: &UdpSocket, mut send: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match socket.try_io(Interest::WRITABLE, &mut send) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.writable().await?,
            result => return result,
        }
    }
}

/// How many of the first replies can go as one packet: those for one socket with one length, and one that is shorter
/// behind them. The replies for a socket stand together, the longest first.
fn train(replies: &[Reply]) -> usize {
    let Some(first) = replies.first() else { return 0 };
    let is_alike = |reply: &&Reply| reply.client == first.client && reply.octets.len() == first.octets.len();
    let alike = replies.iter().take_while(is_alike).count();
    alike + usize::from(replies.get(alike).is_some_and(|next| next.client == first.client))
}

fn transmit_train(socket: &UdpSocket, train: &[Reply]) -> io::Result<()> {
    let slices: SmallVec<[IoSlice<'_>; BATCH]> = train.iter().map(|reply| IoSlice::new(&reply.octets)).collect();
    let length = u16::try_from(train[0].octets.len()).map_err(io::Error::other)?;
    let client = SockaddrStorage::from(train[0].client);
    let control = [ControlMessage::UdpGsoSegments(&length)];
    sendmsg(socket.as_raw_fd(), &slices, &control, MsgFlags::MSG_DONTWAIT, Some(&client))?;
    Ok(())
}

fn transmit(socket: &UdpSocket, replies: &[&Reply]) -> io::Result<usize> {
    let replies = &replies[..replies.len().min(BATCH)];
    let clients: SmallVec<[SocketAddrAny; BATCH]> = replies.iter().map(|reply| reply.client.into()).collect();
    let slices: SmallVec<[[IoSlice<'_>; 1]; BATCH]> =
        replies.iter().map(|reply| [IoSlice::new(&reply.octets)]).collect();
    let mut ancillary: [SendAncillaryBuffer<'_, '_, '_>; BATCH] = std::array::from_fn(|_| Default::default());
    let mut messages: SmallVec<[MMsgHdr<'_>; BATCH]> = SmallVec::new();
    for ((client, slice), ancillary) in clients.iter().zip(&slices).zip(&mut ancillary) {
        messages.push(MMsgHdr::new_with_addr(client, slice, ancillary));
    }
    Ok(sendmmsg(socket, &mut messages, SendFlags::DONTWAIT)?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn client(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    #[test]
    fn a_train_is_for_one_socket_and_only_its_end_is_shorter() {
        let replies = |replies: &[(u16, usize)]| -> Vec<Reply> {
            replies.iter().map(|(port, length)| Reply { client: client(*port), octets: vec![0; *length] }).collect()
        };
        for (given, length) in [
            (&[][..], 0),
            (&[(1, 50)], 1),
            (&[(1, 50), (1, 50), (1, 50)], 3),
            (&[(1, 50), (1, 50), (1, 40), (1, 40)], 3),
            (&[(1, 50), (1, 40), (1, 30)], 2),
            (&[(1, 50), (2, 50)], 1),
            (&[(1, 50), (1, 50), (2, 50)], 2),
        ] {
            assert_eq!(train(&replies(given)), length, "{given:?}");
        }
    }

    /// So many for one socket that the kernel refuses to take them as one packet are among them.
    #[tokio::test]
    async fn every_reply_arrives_as_it_was_written() {
        let server = UdpSocket::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let clients = [40, 200].map(|expected| {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("loopback has free ports");
            socket.set_read_timeout(Some(Duration::from_secs(60))).expect("not zero");
            (socket, expected)
        });
        let mut outbox = Outbox::default();
        for round in 0..2_u8 {
            for (socket, expected) in &clients {
                for number in 0..*expected {
                    let octets = vec![number ^ round; if *expected == 40 { 12 + usize::from(number) / 8 } else { 30 }];
                    outbox.write(socket.local_addr().expect("it is bound"), |reply| {
                        *reply = octets;
                        true
                    });
                }
            }
            outbox.send(&server).await;
            for (socket, expected) in &clients {
                let mut numbers = Vec::new();
                for _ in 0..*expected {
                    let mut buffer = [0; 512];
                    let length = socket.recv(&mut buffer).expect("each reply arrives");
                    let number = buffer[0] ^ round;
                    let whole = if *expected == 40 { 12 + usize::from(number) / 8 } else { 30 };
                    assert_eq!(buffer[..length], vec![buffer[0]; whole], "as it was written");
                    numbers.push(number);
                }
                numbers.sort_unstable();
                assert_eq!(numbers, (0..*expected).collect::<Vec<_>>());
            }
        }
    }
}
