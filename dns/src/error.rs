//! What can go wrong when zones are built or listeners are opened.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;
use model::NetworkName;

/// How a query travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// One datagram (RFC 1035 §4.2.1).
    Udp,
    /// A stream of messages with their lengths in front (RFC 7766).
    Tcp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        })
    }
}

/// Why a zone was not built or an address is not listened on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DnsError {
    /// Another program serves DNS on the address, or on all addresses.
    #[error(
        "cannot answer DNS on {address} ({transport}): another program listens there; find it with `ss -lnp 'sport = :{port}'` \
         and restrict it to its own addresses (dnsmasq: bind-dynamic, unbound: interface, bind9: listen-on)",
        port = .address.port()
    )]
    AddressInUse {
        /// The address that was wanted.
        address: SocketAddr,
        /// Which of its two sockets failed.
        transport: Transport,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The process may not bind the port.
    #[error("cannot answer DNS on {address} ({transport}): binding the port needs CAP_NET_BIND_SERVICE; run as root")]
    NotPermitted {
        /// The address that was wanted.
        address: SocketAddr,
        /// Which of its two sockets failed.
        transport: Transport,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The socket could not be made or bound for another reason.
    #[error(
        "cannot answer DNS on {address} ({transport}); check the limit of open files and that its protocol is enabled"
    )]
    Listen {
        /// The address that was wanted.
        address: SocketAddr,
        /// Which of its two sockets failed.
        transport: Transport,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A text is not a name that could be asked for.
    #[error("`{}` is not a DNS name: expected labels of 1 to 63 characters joined by dots, at most 253 in all", .0.escape_debug())]
    Name(String),
    /// Nobody with this address is answered.
    #[error("nobody with the address {0} is answered: it belongs to no container")]
    Stranger(IpAddr),
    /// An endpoint names a network that the snapshot does not have.
    #[error("no DNS zone for network `{0}`; add the network to the snapshot before its endpoints")]
    UnknownNetwork(NetworkName),
    /// An endpoint's address does not lie in its network.
    #[error("address {address} is outside {} of network `{network}`; lease one from its subnets", listed(.subnets))]
    AddressOutside {
        /// The endpoint's network.
        network: NetworkName,
        /// The network's subnets.
        subnets: Vec<IpNet>,
        /// The endpoint's address.
        address: IpAddr,
    },
    /// Two networks share addresses, so that a source address would not tell whose view applies.
    #[error(
        "subnet {subnet} of network `{network}` overlaps {other_subnet} of network `{other}`; choose another subnet"
    )]
    SubnetsOverlap {
        /// The network that was to be added.
        network: NetworkName,
        /// Its subnet.
        subnet: IpNet,
        /// The network that was there before.
        other: NetworkName,
        /// Its subnet.
        other_subnet: IpNet,
    },
}

impl DnsError {
    pub(crate) fn listen(address: SocketAddr, transport: Transport, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::AddressInUse { address, transport, source },
            io::ErrorKind::PermissionDenied => Self::NotPermitted { address, transport, source },
            _ => Self::Listen { address, transport, source },
        }
    }
}

fn listed(subnets: &[IpNet]) -> String {
    subnets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}
