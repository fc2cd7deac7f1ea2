//! Messages with descriptors over `SOCK_SEQPACKET` sockets.
//!
//! A message is one packet: an octet that says where the JSON is, and the JSON. A packet cannot be larger than the
//! socket's send buffer, so large JSON (a long environment) travels in a memfd, which is then the last descriptor.

use std::{
    fs::File,
    io::{self, IoSlice, IoSliceMut, Read, Seek, Write},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::MemfdFlags,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags,
    },
};
use serde::{Serialize, de::DeserializeOwned};

const INLINE: u8 = 0;
const MEMFD: u8 = 1;
const MAX_INLINE: usize = 32 << 10;
/// More than any command line and environment the kernel would execute (`MAX_ARG_STRLEN` times a few).
const MAX_MEMFD: u64 = 16 << 20;
const MAX_DESCRIPTORS: usize = 4;

/// Sends one message. On a non-blocking socket it is sent as a whole or not at all.
pub(crate) fn send<T: Serialize>(socket: impl AsFd, message: &T, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let json = serde_json::to_vec(message)?;
    let mut descriptors = descriptors.to_vec();
    let large;
    let (kind, body): (u8, &[u8]) = if json.len() <= MAX_INLINE {
        (INLINE, &json)
    } else {
        let mut file = File::from(rustix::fs::memfd_create(c"message", MemfdFlags::CLOEXEC)?);
        file.write_all(&json)?;
        large = file;
        descriptors.push(large.as_fd());
        (MEMFD, &[])
    };
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("too many descriptors in one message"));
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(&[kind]), IoSlice::new(body)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives one message; none when the peer has closed.
pub(crate) fn receive<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut buffer = vec![0; MAX_INLINE + 1];
    let message =
        rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut buffer)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors: Vec<OwnedFd> = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    if message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "truncated message"));
    }
    let Some((kind, body)) = buffer[..message.bytes].split_first() else {
        return Ok(None);
    };
    let value = match *kind {
        INLINE => serde_json::from_slice(body).map_err(malformed)?,
        MEMFD => {
            let missing = || io::Error::new(io::ErrorKind::InvalidData, "a message without its body");
            let mut file = File::from(descriptors.pop().ok_or_else(missing)?);
            file.rewind()?;
            let mut json = Vec::new();
            file.take(MAX_MEMFD).read_to_end(&mut json)?;
            serde_json::from_slice(&json).map_err(malformed)?
        }
        _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "unknown kind of message")),
    };
    Ok(Some((value, descriptors)))
}

fn malformed(error: serde_json::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    #[test]
    fn messages_of_any_size_arrive_with_their_descriptors() {
        let (a, b) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).expect("pair");
        for length in [0, 10, MAX_INLINE, MAX_INLINE * 8] {
            let text = "x".repeat(length);
            send(&a, &text, &[b.as_fd()]).expect("sends");
            let (received, descriptors) = receive::<String>(&b).expect("receives").expect("is open");
            assert_eq!((received.len(), descriptors.len()), (length, 1));
        }
        drop(a);
        assert!(receive::<String>(&b).expect("receives").is_none());
    }
}
