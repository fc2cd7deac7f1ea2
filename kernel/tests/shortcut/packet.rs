//! Frames as they are on the wire, with the least of packet(7).

use std::{
    net::UdpSocket,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

use crate::{
    lab::{self, address, gateway},
    mac,
};

const ALL: u16 = 3_u16.to_be();

/// What sees all frames of a namespace, and sends them by `eth0`.
pub(super) struct Raw(UdpSocket, i32);

impl Raw {
    #[expect(unsafe_code, reason = "no crate here has packet sockets")]
    pub(super) fn open() -> Self {
        // SAFETY: there are no addresses but that of a text that ends with NUL.
        let (file, index) = unsafe {
            let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
            (libc::socket(libc::AF_PACKET, kind, ALL.into()), libc::if_nametoindex(c"eth0".as_ptr()))
        };
        assert!(file >= 0 && index > 0, "root may listen to all");
        // SAFETY: it is new, and nobody else's. Only what all sockets have is used of it.
        let socket = unsafe { UdpSocket::from(OwnedFd::from_raw_fd(file)) };
        socket.set_read_timeout(Some(lab::ENOUGH)).expect("not zero");
        Self(socket, index.try_into().expect("the kernel counts interfaces in an int"))
    }

    #[expect(unsafe_code, reason = "see above")]
    pub(super) fn send(&self, frame: &[u8]) {
        // SAFETY: zeros are an address.
        let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        (to.sll_family, to.sll_protocol, to.sll_ifindex) = (libc::AF_PACKET as u16, ALL, self.1);
        let length = size_of::<libc::sockaddr_ll>() as u32;
        // SAFETY: frame and address are as long as is told, and borrowed until after the call.
        let sent = unsafe {
            let to = (&raw const to).cast();
            libc::sendto(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0, to, length)
        };
        assert_eq!(usize::try_from(sent), Ok(frame.len()));
    }

    /// The next frame that comes from port 53.
    pub(super) fn answer(&self) -> Vec<u8> {
        let mut octets = [0_u8; 2048];
        loop {
            let length = self.0.recv(&mut octets).expect("something comes");
            let frame = &octets[..length];
            if length > 42 && frame[12..14] == [8, 0] && frame[23] == 17 && frame[34..36] == [0, 53] {
                return frame.to_vec();
            }
        }
    }
}

/// Sums of 16 bits, as checksums are made of (RFC 1071).
pub(super) fn sum(octets: &[u8]) -> u32 {
    let words = octets.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum
}

/// A datagram to the gateway as it is on the wire, whose checksum is right, or none.
pub(super) fn datagram(port: u16, octets: &[u8], has_checksum: bool) -> Vec<u8> {
    let length = (octets.len() + 8) as u16;
    let ends = [address(12), gateway(1)].map(|address| address.octets()).concat();
    let mut ip = [&[0x45, 0][..], &(length + 20).to_be_bytes(), &[0, 7, 0x40, 0, 64, 17, 0, 0], &ends].concat();
    let checksum = !(sum(&ip) as u16);
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    let ports = [port.to_be_bytes(), 53_u16.to_be_bytes(), length.to_be_bytes(), [0, 0]].concat();
    let mut udp = [&ports, octets].concat();
    if has_checksum {
        let checksum = !(sum(&[&ends[..], &[0, 17], &length.to_be_bytes(), &udp].concat()) as u16);
        udp[6..8].copy_from_slice(&checksum.to_be_bytes());
    }
    let ethernet = [&[2, 0, 0, 0, 1, 1][..], &mac(12).octets(), &[8, 0]].concat();
    [ethernet, ip, udp].concat()
}
