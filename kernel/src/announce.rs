//! Telling the neighbours who has an address from now on, so that neither a cache nor a switch has to find out.
//!
//! An IPv4 address is announced as RFC 5227 §2.3 says, by an ARP request of its holder for its own address: whoever has
//! an entry for it takes the sender's MAC address over at once (RFC 826; Linux calls it gratuitous), and every switch
//! on the way learns the port. For IPv6 it is an unsolicited neighbour advertisement with the override flag (RFC 4861
//! §7.2.6). One of each: on a bridge of this host nothing is lost that RFC 5227's second one would make up for.
//!
//! Such a frame goes to every port of a bridge. So it is sent only where somebody may believe something else
//! ([`model::Announcement`]), which is rare: the MAC address of an endpoint follows from its IP address.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::mpsc,
    thread,
};

use model::{Inside, MacAddress};
use rustix::{
    fd::OwnedFd,
    net::{
        AddressFamily, SendFlags, SocketFlags, SocketType,
        addr::{SocketAddrArg, SocketAddrLen, SocketAddrOpaque},
        sendto, socket_with,
    },
};

use crate::KernelError;

const BROADCAST: [u8; 6] = [0xff; 6];
/// Where frames to ff02::1, all nodes, go (RFC 2464 §7).
const ALL_NODES: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
const ALL_NODES_ADDRESS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
const ICMPV6: u8 = 58;

/// `struct sockaddr_ll` of `include/uapi/linux/if_packet.h`: an interface to send a whole frame from.
#[repr(C)]
struct LinkAddress {
    family: u16,
    protocol: u16,
    index: i32,
    hardware: u16,
    kind: u8,
    length: u8,
    address: [u8; 8],
}

// SAFETY: the pointer is to a value that lives as long as the call, with its size, and the value is laid out as the
// kernel wants a `sockaddr_ll`; every bit pattern of it is one.
#[expect(unsafe_code, reason = "rustix has no address of AF_PACKET")]
unsafe impl SocketAddrArg for LinkAddress {
    unsafe fn with_sockaddr<R>(&self, call: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R) -> R {
        call(std::ptr::from_ref(self).cast(), size_of::<Self>() as SocketAddrLen)
    }
}

/// Two threads that an attach does not wait for; they end with the last handle. One announces: on a bridge, a frame to
/// all is copied to every port before the call that sends it returns, which takes milliseconds where there are a
/// thousand. The other closes packet sockets: closing one waits for an RCU grace period (`packet_release` in
/// `net/packet/af_packet.c`), some 10 ms, so it would hold up the next announcement.
#[derive(Clone)]
pub(crate) struct Herald {
    announcements: mpsc::Sender<(Announcer, u32, Inside)>,
    closing: mpsc::Sender<OwnedFd>,
}

impl Herald {
    pub(crate) fn start() -> Result<Self, KernelError> {
        let failed = |source| KernelError::System { action: "start a thread that announces".into(), source };
        let (closing, sockets) = mpsc::channel::<OwnedFd>();
        let close = move || sockets.into_iter().for_each(drop);
        thread::Builder::new().name("fabric-closer".into()).spawn(close).map_err(failed)?;
        let (announcements, queue) = mpsc::channel::<(Announcer, u32, Inside)>();
        let announce = move || {
            for (announcer, index, inside) in queue {
                if let Err(error) = announcer.send(index, &inside) {
                    // The container's own first packets tell the same.
                    tracing::warn!(%error, "neighbours are not told of an endpoint");
                }
            }
        };
        thread::Builder::new().name("fabric-herald".into()).spawn(announce).map_err(failed)?;
        Ok(Self { announcements, closing })
    }

    /// Announces the addresses of a container's end, whose interface has this index, soon.
    pub(crate) fn announce(&self, announcer: Announcer, index: u32, inside: &Inside) {
        // The thread ends with the last handle, so it is there.
        let _ = self.announcements.send((announcer, index, inside.clone()));
    }
}

/// A socket that frames can be sent by, in the namespace of the thread that opened it.
pub(crate) struct Announcer {
    socket: Option<OwnedFd>,
    closing: mpsc::Sender<OwnedFd>,
}

impl Drop for Announcer {
    fn drop(&mut self) {
        if let Some(socket) = self.socket.take() {
            // Without the thread it is closed here.
            let _ = self.closing.send(socket);
        }
    }
}

impl Announcer {
    /// Opens the socket, which the herald will close. It receives nothing.
    pub(crate) fn open(herald: &Herald) -> Result<Self, KernelError> {
        let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, None);
        socket
            .map(|socket| Self { socket: Some(socket), closing: herald.closing.clone() })
            .map_err(|error| KernelError::System { action: "open a packet socket".into(), source: error.into() })
    }

    fn send(&self, index: u32, inside: &Inside) -> Result<(), KernelError> {
        let to = LinkAddress {
            family: AddressFamily::PACKET.as_raw(),
            protocol: 0,
            index: index as i32,
            hardware: 0,
            kind: 0,
            length: 0,
            address: [0; 8],
        };
        let socket = self.socket.as_ref().expect("taken only when this is dropped");
        let announced =
            inside.mac.into_iter().flat_map(|mac| inside.addresses.iter().map(move |net| (mac, net.addr())));
        for (mac, address) in announced {
            let frame = match address {
                IpAddr::V4(address) => announcement(mac, address),
                IpAddr::V6(address) => advertisement(mac, address),
            };
            sendto(socket, &frame, SendFlags::empty(), &to).map_err(|error| KernelError::System {
                action: format!("announce {address} from {} in namespace {}", inside.interface, inside.namespace),
                source: error.into(),
            })?;
        }
        Ok(())
    }
}

fn frame(to: [u8; 6], from: MacAddress, kind: [u8; 2], payload: &[u8]) -> Vec<u8> {
    [&to[..], &from.octets(), &kind, payload].concat()
}

/// An ARP request (RFC 826) of `address` for itself.
fn announcement(mac: MacAddress, address: Ipv4Addr) -> Vec<u8> {
    // Ethernet, IPv4, the lengths of their addresses, request.
    let header = [0, 1, 8, 0, 6, 4, 0, 1];
    let payload = [&header[..], &mac.octets(), &address.octets(), &[0; 6], &address.octets()].concat();
    frame(BROADCAST, mac, ETHERTYPE_ARP, &payload)
}

/// An unsolicited neighbour advertisement (RFC 4861 §4.4) of `address` to all nodes.
fn advertisement(mac: MacAddress, address: Ipv6Addr) -> Vec<u8> {
    const OVERRIDE: u8 = 0x20;
    // Type 136, code 0, no checksum yet, the flags; the target; the option of the target's link-layer address.
    let mut message = vec![136, 0, 0, 0, OVERRIDE, 0, 0, 0];
    message.extend_from_slice(&address.octets());
    message.extend_from_slice(&[2, 1]);
    message.extend_from_slice(&mac.octets());
    let length = u16::try_from(message.len()).expect("32 octets").to_be_bytes();
    let pseudo_header =
        [&address.octets()[..], &ALL_NODES_ADDRESS.octets(), &[0, 0], &length, &[0, 0, 0, ICMPV6]].concat();
    let checksum = !sum(&[pseudo_header.as_slice(), &message].concat());
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    // Version 6, no class and no label; a hop limit of 255 shows that no router sent it on.
    let header = [&[0x60, 0, 0, 0][..], &length, &[ICMPV6, 255]].concat();
    let packet = [&header[..], &address.octets(), &ALL_NODES_ADDRESS.octets(), &message].concat();
    frame(ALL_NODES, mac, ETHERTYPE_IPV6, &packet)
}

/// The one's complement sum (RFC 1071) of an even number of octets.
fn sum(octets: &[u8]) -> u16 {
    let words = octets.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    u16::try_from((folded & 0xffff) + (folded >> 16)).expect("folded twice, a sum of few words has 16 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(octets: &[u8]) -> String {
        octets.iter().map(|octet| format!("{octet:02x}")).collect()
    }

    #[test]
    fn an_ipv4_address_is_announced_by_a_request_for_itself() {
        let mac = "0a:fb:0a:01:00:02".parse().expect("literal");
        let frame = announcement(mac, Ipv4Addr::new(10, 1, 0, 2));
        let expected = [
            "ffffffffffff0afb0a0100020806",         // to all, ARP
            "00010800060400010afb0a0100020a010002", // a request by 10.1.0.2
            "0000000000000a010002",                 // for 10.1.0.2
        ];
        assert_eq!(hex(&frame), expected.concat());
    }

    #[test]
    fn an_ipv6_address_is_announced_by_an_advertisement_that_nobody_asked_for() {
        let mac = "0a:fc:00:00:00:02".parse().expect("literal");
        let address: Ipv6Addr = "fd00:1::2".parse().expect("literal");
        let frame = advertisement(mac, address);
        assert_eq!(hex(&frame[..22]), "3333000000010afc0000000286dd6000000000203aff");
        assert_eq!(frame[22..38], address.octets());
        assert_eq!(frame[38..54], ALL_NODES_ADDRESS.octets());
        assert_eq!((frame[54], frame[58]), (136, 0x20), "an advertisement that overrides");
        assert_eq!(frame[62..78], address.octets());
        assert_eq!(hex(&frame[78..]), "02010afc00000002");
        // With its checksum the message adds up to nothing (RFC 1071 §1).
        let pseudo_header = [&frame[22..54], &[0, 0, 0, 32, 0, 0, 0, ICMPV6]].concat();
        assert_eq!(sum(&[&pseudo_header, &frame[54..]].concat()), 0xffff);
    }
}
