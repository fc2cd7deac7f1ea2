//! What rules with `log` decide or audit: the first packets of connections, as the kernel hands them to who is bound to
//! [`LOG_GROUP`] (`net/netfilter/nfnetlink_log.c`).

use std::net::IpAddr;

use etherparse::{LaxNetSlice, LaxSlicedPacket};
use model::{
    Family, Protocol,
    data_path::{ChainName, LOG_GROUP},
};
use netlink_packet_core::DefaultNla;
use netlink_sys::constants::NETLINK_NETFILTER;
use tokio::io::unix::AsyncFd;

use crate::{
    KernelError,
    claim::{bound, configured},
    element::NETFILTER_HEADER,
    netlink::{Message, Request, Socket, attribute, messages, string},
    structure::refused,
    watch::{receive, register, unwatchable},
};

// `include/uapi/linux/netfilter/nfnetlink_log.h`
const SUBSYSTEM: u16 = 4;
const NFULNL_MSG_PACKET: u16 = 0;
const NFULA_CFG_MODE: u16 = 2;
const NFULA_CFG_TIMEOUT: u16 = 4;
const NFULNL_COPY_PACKET: u8 = 2;
const NFULA_PAYLOAD: u16 = 9;
const NFULA_PREFIX: u16 = 10;

/// So much of each packet is looked at, in octets: IP's header with what may extend it, and the ports.
const HEADERS: u32 = 256;
/// How long the kernel may gather packets before it hands them over, in hundredths of a second.
const GATHERING: u32 = 1;

// Assigned numbers of IP (IANA protocol-numbers).
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// The log of one network namespace.
#[derive(Debug)]
pub struct FlowLog {
    socket: AsyncFd<netlink_sys::Socket>,
}

/// What the log has told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tidings {
    /// These packets.
    Packets(Vec<Logged>),
    /// More than there is room for: some were lost.
    Lost,
}

/// A packet that opens a connection, or would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// The chain whose rule has logged it.
    pub chain: ChainName,
    /// Who sends it.
    pub source: IpAddr,
    /// Who receives it, after translation of destinations.
    pub destination: IpAddr,
    /// What is asked for.
    pub asks: Service,
}

/// What a packet asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// A port of a protocol; from which and to which.
    Ports(Protocol, u16, u16),
    /// A message of a family's ICMP; its type and code.
    Message(Family, u8, u8),
    /// Another protocol, by its number.
    Other(u8),
}

/// The socket of a log, bound in the namespace of the calling thread, whose log it is from then on.
pub(crate) fn open() -> Result<netlink_sys::Socket, KernelError> {
    let mut socket = Socket::open(NETLINK_NETFILTER)?;
    let mut mode = HEADERS.to_be_bytes().to_vec();
    mode.extend([NFULNL_COPY_PACKET, 0]);
    let settings = [(NFULA_CFG_MODE, mode), (NFULA_CFG_TIMEOUT, GATHERING.to_be_bytes().to_vec())];
    let settings = settings.into_iter().map(|(kind, value)| configured(LOG_GROUP, DefaultNla::new(kind, value)));
    for request in [bound(LOG_GROUP)].into_iter().chain(settings) {
        socket.call(Request::new(request, 0)).map_err(refused("read the log of policies"))?;
    }
    socket.into_listener().map_err(unwatchable)
}

impl FlowLog {
    /// Hands the socket to the runtime that the caller runs in.
    pub(crate) fn new(socket: netlink_sys::Socket) -> Result<Self, KernelError> {
        Ok(Self { socket: register(socket)? })
    }

    /// Waits until something is logged. What is not taken keeps, so the future may be dropped.
    ///
    /// # Errors
    /// When the socket cannot be read; then nothing more will be told.
    pub async fn next(&mut self) -> Result<Tidings, KernelError> {
        let Some(octets) = receive(&self.socket).await? else { return Ok(Tidings::Lost) };
        Ok(Tidings::Packets(messages(&octets).filter_map(|message| logged(&message)).collect()))
    }
}

fn logged(message: &Message<'_>) -> Option<Logged> {
    if message.kind != SUBSYSTEM << 8 | NFULNL_MSG_PACKET {
        return None;
    }
    let rest = message.payload.get(NETFILTER_HEADER..)?;
    let chain = ChainName::new(&attribute(rest, NFULA_PREFIX).map(string)?);
    let (source, destination, asks) = asked(attribute(rest, NFULA_PAYLOAD)?)?;
    Some(Logged { chain, source, destination, asks })
}

/// Who asks whom for what in a packet of IP, the end of which may be cut off.
fn asked(packet: &[u8]) -> Option<(IpAddr, IpAddr, Service)> {
    let net = LaxSlicedPacket::from_ip(packet).ok()?.net?;
    let (source, destination): (IpAddr, IpAddr) = match &net {
        LaxNetSlice::Ipv4(slice) => {
            let header = slice.header();
            (header.source_addr().into(), header.destination_addr().into())
        }
        LaxNetSlice::Ipv6(slice) => {
            let header = slice.header();
            (header.source_addr().into(), header.destination_addr().into())
        }
        LaxNetSlice::Arp(_) => return None,
    };
    let carried = net.ip_payload_ref()?;
    let number = carried.ip_number.0;
    let asks = match (Protocol::from_number(number), number, carried.payload) {
        (Some(protocol), _, [a, b, c, d, ..]) => {
            Service::Ports(protocol, u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]))
        }
        (_, ICMP, [kind, code, ..]) => Service::Message(Family::Ipv4, *kind, *code),
        (_, ICMPV6, [kind, code, ..]) => Service::Message(Family::Ipv6, *kind, *code),
        _ => Service::Other(number),
    };
    Some((source, destination, asks))
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    #[test]
    fn who_asks_for_what_is_read_from_what_is_left_of_a_packet() {
        let ipv4 = || PacketBuilder::ipv4([10, 9, 1, 2], [10, 9, 1, 3], 64);
        let ipv6 = || PacketBuilder::ipv6([0xfd; 16], [0xfc; 16], 64);
        let one: (IpAddr, IpAddr) = ([10, 9, 1, 2].into(), [10, 9, 1, 3].into());
        let other: (IpAddr, IpAddr) = ([0xfd; 16].into(), [0xfc; 16].into());
        let body = [7; 600];
        let [mut tcp, mut udp, mut ping] = [const { Vec::new() }; 3];
        ipv4().tcp(5, 80, 1, 9).write(&mut tcp, &body).expect("there is memory");
        ipv6().udp(6, 53).write(&mut udp, &body).expect("there is memory");
        ipv4().icmpv4_echo_request(1, 1).write(&mut ping, &body).expect("there is memory");
        let packets = [
            (tcp, one, Service::Ports(Protocol::Tcp, 5, 80)),
            (udp, other, Service::Ports(Protocol::Udp, 6, 53)),
            (ping, one, Service::Message(Family::Ipv4, 8, 0)),
        ];
        for (packet, (source, destination), asks) in packets {
            for length in [packet.len(), 64] {
                assert_eq!(asked(&packet[..length]), Some((source, destination, asks)));
            }
            for length in 0..packet.len() {
                // None of them is more than it is.
                let found = asked(&packet[..length]);
                assert!(found.is_none_or(|(from, _, _)| from == source), "{length}");
            }
        }
        assert_eq!(asked(&[]), None);
    }
}
