//! Which ports of the host programs listen on, from the kernel's own tables: one request for each protocol and family,
//! however many ports are asked about (`sock_diag(7)`).

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use model::{Family, Protocol, Tracked};
use netlink_packet_core::NetlinkSerializable;
use netlink_sys::constants::NETLINK_SOCK_DIAG;
use rustix::{io::Errno, net::AddressFamily};

use crate::{
    KernelError,
    netlink::{Reply, Socket, attribute},
    sysctl::Setting,
};

/// `SOCK_DIAG_BY_FAMILY`, `include/uapi/linux/sock_diag.h`
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `INET_DIAG_SKV6ONLY`, `include/uapi/linux/inet_diag.h`
const V6_ONLY: u16 = 11;
/// The length of `struct inet_diag_msg`.
const MESSAGE: usize = 72;
// `include/net/tcp_states.h`; a UDP socket that is connected to nobody has the state of a closed one.
const CLOSED: u32 = 1 << 7;
const LISTENING: u32 = 1 << 10;
/// Established, both states in which one end has closed, and that in which the other has.
const CONNECTED: u32 = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 8;
/// The inode of a socket's file system entry in `/proc/PID/fd` is written so.
const SOCKET: &str = "socket:[";
/// What Linux has where nobody chose otherwise (`net.ipv4.ip_local_port_range`).
const LOCAL_PORTS: (u16, u16) = (32768, 60999);

/// What of the host's ports is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPorts {
    /// Sockets that anybody can talk to.
    pub listeners: Vec<Listener>,
    /// The lowest and the highest of the ports that the kernel gives to programs that ask for any
    /// (`net.ipv4.ip_local_port_range`).
    pub local: (u16, u16),
}

/// A socket that anybody can talk to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// Its protocol.
    pub protocol: Protocol,
    /// Where it listens; `0.0.0.0` and `::` mean every address of the family.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// Whether it listens on `::` and takes IPv4 as well (`ipv6(7)`, `IPV6_V6ONLY`).
    pub both_families: bool,
    /// The inode of the socket, by which its owner is found.
    pub inode: u32,
}

impl Listener {
    /// Whether it has the port at an address of the host that is of `family`: at `address`, or at any if that is none.
    pub fn is_at(&self, family: Family, address: Option<IpAddr>) -> bool {
        if Family::of(self.address) != family {
            return self.both_families;
        }
        self.address.is_unspecified() || address.is_none_or(|address| address == self.address)
    }

    /// The process that has the socket, as `NAME (pid PID)`; none if `/proc` does not tell.
    ///
    /// It looks at the descriptors of all processes, so it is for those who must explain a failure.
    pub fn holder(&self) -> Option<String> {
        let link = format!("{SOCKET}{}]", self.inode);
        let processes = fs::read_dir("/proc").ok()?.map_while(Result::ok);
        // Beside processes there are links to the one that asks.
        let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let (pid, process) = numbers
            .map(|pid| (pid, PathBuf::from(format!("/proc/{pid}"))))
            .find(|(_, process)| holds(process, &link))?;
        let name = fs::read_to_string(process.join("comm")).ok()?;
        Some(format!("{} (pid {pid})", name.trim_end().escape_debug()))
    }
}

/// Whether a process has a descriptor that leads to this.
fn holds(process: &Path, link: &str) -> bool {
    let descriptors = fs::read_dir(process.join("fd")).into_iter().flatten().map_while(Result::ok);
    let mut links = descriptors.filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
    links.any(|found| found.as_os_str() == link)
}

/// A connection of TCP that stands, as the program has it that it was opened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// Who opened it.
    pub(crate) from: SocketAddr,
    /// The program.
    pub(crate) to: SocketAddr,
}

impl Accepted {
    /// The same as conntrack would have it.
    pub(crate) fn as_tracked(&self) -> Tracked {
        Tracked {
            source: self.from.ip(),
            destination: self.to.ip(),
            protocol: Protocol::Tcp.number(),
            ports: Some((self.from.port(), self.to.port())),
            message: None,
            picked_up: false,
        }
    }
}

/// `struct inet_diag_req_v2`: all sockets of a protocol and family that are in one of these states.
struct Inquiry {
    family: Family,
    protocol: Protocol,
    states: u32,
}

impl NetlinkSerializable for Inquiry {
    fn message_type(&self) -> u16 {
        SOCK_DIAG_BY_FAMILY
    }

    fn buffer_len(&self) -> usize {
        56
    }

    fn serialize(&self, buffer: &mut [u8]) {
        let family = match self.family {
            Family::Ipv4 => AddressFamily::INET,
            Family::Ipv6 => AddressFamily::INET6,
        };
        buffer.fill(0);
        // Both families have numbers below 256.
        buffer[0] = family.as_raw().to_le_bytes()[0];
        buffer[1] = self.protocol.number();
        buffer[4..8].copy_from_slice(&self.states.to_ne_bytes());
    }
}

/// Looks in the namespace of the calling thread.
pub(crate) fn in_use() -> Result<HostPorts, KernelError> {
    let mut socket = Socket::open(NETLINK_SOCK_DIAG)?;
    let mut listeners = Vec::new();
    for protocol in Protocol::ALL {
        let states = if protocol == Protocol::Udp { CLOSED } else { LISTENING };
        for family in Family::ALL {
            let request = || Inquiry { family, protocol, states };
            match socket.dump(request) {
                Ok(replies) => listeners.extend(replies.iter().filter_map(|reply| listener(protocol, reply))),
                // The kernel has no sockets of this kind.
                Err(refusal) if refusal.is(Errno::NOENT) || refusal.is(Errno::INVAL) => {}
                Err(source) => {
                    return Err(KernelError::Netlink {
                        action: format!("list {protocol} sockets of {family}"),
                        source,
                    });
                }
            }
        }
    }
    let words = Setting::LocalPorts.read()?.unwrap_or_default();
    let numbers: Vec<u16> = words.iter().filter_map(|word| word.parse().ok()).collect();
    let local = if let [first, last] = numbers[..] { (first, last) } else { LOCAL_PORTS };
    Ok(HostPorts { listeners, local })
}

/// The connections of TCP that were opened to programs in the namespace of the calling thread. A program listens at
/// their port, or, if none does any more, it is none of those that the kernel gives to whoever opens one.
pub(crate) fn accepted() -> Result<Vec<Accepted>, KernelError> {
    let mut socket = Socket::open(NETLINK_SOCK_DIAG)?;
    let mut list = |family, states| {
        let request = || Inquiry { family, protocol: Protocol::Tcp, states };
        let action = || format!("list TCP sockets of {family}");
        socket.dump(request).map_err(|source| KernelError::Netlink { action: action(), source })
    };
    let (mut listened, mut connections) = (BTreeSet::new(), Vec::new());
    for family in Family::ALL {
        let listeners = list(family, LISTENING)?;
        listened.extend(listeners.iter().filter_map(|reply| listener(Protocol::Tcp, reply)).map(|found| found.port));
        connections.extend(list(family, CONNECTED)?.iter().filter_map(ends));
    }
    let (first, last) = LOCAL_PORTS;
    let is_given = |port: u16| (first..=last).contains(&port);
    let is_accepted = |(own, other): &(SocketAddr, SocketAddr)| {
        listened.contains(&own.port()) || is_given(other.port()) && !is_given(own.port())
    };
    let accepted = connections.into_iter().filter(is_accepted);
    Ok(accepted.map(|(own, other)| Accepted { from: other, to: own }).collect())
}

/// The own end of a connection, and the other.
fn ends(reply: &Reply) -> Option<(SocketAddr, SocketAddr)> {
    let fixed: &[u8; MESSAGE] = reply.payload.first_chunk()?;
    let end = |port: usize, at: usize| {
        let port = u16::from_be_bytes([fixed[port], fixed[port + 1]]);
        Some(SocketAddr::new(address(fixed[0], fixed[at..at + 16].try_into().ok()?), port))
    };
    Some((end(4, 8)?, end(6, 24)?))
}

/// An address as `struct inet_diag_sockid` has it, that of IPv4 of a socket of IPv6 as one of IPv4.
fn address(family: u8, octets: [u8; 16]) -> IpAddr {
    if u16::from(family) == AddressFamily::INET6.as_raw() {
        return Ipv6Addr::from(octets).to_canonical();
    }
    Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]).into()
}

fn listener(protocol: Protocol, reply: &Reply) -> Option<Listener> {
    // struct inet_diag_msg: family, state, timer, retransmissions; then the socket's identity, which begins with both
    // ports and the source address in network order; at its end the inode.
    let fixed: &[u8; MESSAGE] = reply.payload.first_chunk()?;
    let source: [u8; 16] = fixed[8..24].try_into().ok()?;
    let address = address(fixed[0], source);
    let only = attribute(&reply.payload[MESSAGE..], V6_ONLY).and_then(|value| value.first().copied());
    Some(Listener {
        protocol,
        address,
        port: u16::from_be_bytes([fixed[4], fixed[5]]),
        both_families: address == IpAddr::from(Ipv6Addr::UNSPECIFIED) && only != Some(1),
        inode: u32::from_ne_bytes(fixed[68..72].try_into().ok()?),
    })
}
