//! Frames made octet by octet, as an attacker with `CAP_NET_RAW` sends them, and a look at those that arrive.

mod frame;

use std::{
    os::fd::OwnedFd,
    ptr,
    time::{Duration, Instant},
};

pub use frame::{Frame, Mac};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType,
        addr::{SocketAddrArg, SocketAddrLen, SocketAddrOpaque},
        bind, netdevice, recv, send, socket_with,
    },
};

use crate::Namespace;

/// Every protocol (`ETH_P_ALL`).
pub const ALL: u16 = 3;

/// A packet socket on one interface (packet(7)).
#[derive(Debug)]
pub struct Wire {
    socket: OwnedFd,
}

/// `sockaddr_ll` of `include/uapi/linux/if_packet.h`.
#[repr(C)]
struct LinkAddress {
    family: u16,
    protocol: [u8; 2],
    interface: i32,
    hardware: u16,
    kind: u8,
    length: u8,
    address: [u8; 8],
}

// SAFETY: the type has the layout of `sockaddr_ll` and is handed over with its own size, for the time of the call.
#[expect(unsafe_code, reason = "rustix has no word for the addresses of packet sockets")]
unsafe impl SocketAddrArg for LinkAddress {
    unsafe fn with_sockaddr<R>(&self, f: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R) -> R {
        let length = SocketAddrLen::try_from(size_of::<Self>()).expect("twenty octets");
        f(ptr::from_ref(self).cast(), length)
    }
}

impl Wire {
    /// Opens an interface of a namespace for frames of one protocol, or of [`ALL`].
    pub fn open(namespace: &Namespace, interface: &str, protocol: u16) -> Self {
        let open = || -> rustix::io::Result<OwnedFd> {
            let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
            let index = netdevice::name_to_index(&socket, interface)?;
            let address = LinkAddress {
                family: AddressFamily::PACKET.as_raw(),
                protocol: protocol.to_be_bytes(),
                interface: i32::try_from(index).expect("an index is positive"),
                hardware: 0,
                kind: 0,
                length: 0,
                address: [0; 8],
            };
            bind(&socket, &address)?;
            Ok(socket)
        };
        let socket = namespace.enter(open).unwrap_or_else(|error| panic!("{interface}: {error}"));
        Self { socket }
    }

    /// Sends a frame.
    #[track_caller]
    pub fn send(&self, frame: &Frame) {
        let octets = frame.octets();
        let sent = send(&self.socket, octets, SendFlags::empty()).expect("an interface that is up takes a frame");
        assert_eq!(sent, octets.len());
    }

    /// The frames that pass, in both directions, until there was none for so long.
    pub fn frames(&self, quiet: Duration) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        let mut last = Instant::now();
        loop {
            // What has arrived while this process stood still is looked at, too.
            let rest = quiet.saturating_sub(last.elapsed());
            let limit = Timespec::try_from(rest).expect("less than a second");
            let mut ready = [PollFd::new(&self.socket, PollFlags::IN)];
            if poll(&mut ready, Some(&limit)).expect("poll") == 0 {
                break;
            }
            let mut buffer = vec![0; 2048];
            let (length, _) = recv(&self.socket, &mut buffer[..], RecvFlags::empty()).expect("it is ready");
            buffer.truncate(length);
            frames.push(buffer);
            last = Instant::now();
        }
        frames
    }
}
