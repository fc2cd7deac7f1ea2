//! Membership of the firewall: what the sets and maps of `table inet fabric` hold.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddrV4},
    num::NonZeroU16,
};

use crate::{IfName, Protocol, Publish};

/// One element of a set or map of `table inet fabric`. The rules that look it up never change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Element {
    /// Set `bridges`: the interface is a network's bridge, so traffic through it is filtered and masqueraded.
    Bridge(IfName),
    /// Set `same_bridge`: what enters and leaves by this one bridge stays inside a network.
    SameBridge(IfName),
    /// Maps `published_at_address` and `published_at_port` (with a host address), or `published_address` and `published_port`
    /// (any address of the host).
    Published {
        /// The host's address; none means every one.
        host_ip: Option<Ipv4Addr>,
        /// The transport protocol.
        protocol: Protocol,
        /// The port on the host.
        host_port: NonZeroU16,
        /// The container's address and port.
        to: SocketAddrV4,
    },
    /// Set `guarded`: Fabric opened the host's forwarding, so what has nothing to do with Fabric is not forwarded.
    ForwardingGuard,
}

/// Whether the rules of `table inet fabric` are the ones this version of Fabric wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Structure {
    /// Every chain, rule, set and map is as it should be.
    Current,
    /// There is no such table.
    Missing,
    /// The table differs: made by another version, or changed by someone.
    Altered,
}

/// Which connections of the conntrack table to forget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flows {
    /// All that a container's address opened, or that lead to it.
    Of(IpAddr),
    /// Those that came in through a published port.
    Published {
        /// The host's address; none means every one.
        host_ip: Option<Ipv4Addr>,
        /// The transport protocol.
        protocol: Protocol,
        /// The port on the host.
        host_port: NonZeroU16,
        /// The container's address and port.
        to: SocketAddrV4,
    },
}

impl Element {
    /// The element that leads a published port to the container at `address`.
    pub fn published(publish: &Publish, address: Ipv4Addr) -> Self {
        Self::Published {
            host_ip: publish.host_ip,
            protocol: publish.protocol,
            host_port: publish.host_port,
            to: SocketAddrV4::new(address, publish.container_port.get()),
        }
    }

    /// Whether both have one place in the same set or map.
    pub fn same_key(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Published { host_ip, protocol, host_port, .. },
                Self::Published { host_ip: other_ip, protocol: other_protocol, host_port: other_port, .. },
            ) => (host_ip, protocol, host_port) == (other_ip, other_protocol, other_port),
            _ => self == other,
        }
    }

    /// The connections that exist only because of this element.
    pub fn flows(&self) -> Option<Flows> {
        match *self {
            Self::Published { host_ip, protocol, host_port, to } => {
                Some(Flows::Published { host_ip, protocol, host_port, to })
            }
            _ => None,
        }
    }
}

fn publish_text(host_ip: Option<Ipv4Addr>, protocol: Protocol, host_port: NonZeroU16, to: SocketAddrV4) -> String {
    match host_ip {
        Some(address) => format!("{protocol} {address}:{host_port} -> {to}"),
        None => format!("{protocol} *:{host_port} -> {to}"),
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bridge(name) => write!(f, "bridge {name}"),
            Self::SameBridge(name) => write!(f, "inside {name}"),
            Self::Published { host_ip, protocol, host_port, to } => {
                write!(f, "publish {}", publish_text(*host_ip, *protocol, *host_port, *to))
            }
            Self::ForwardingGuard => f.write_str("forwarding guard"),
        }
    }
}

impl fmt::Display for Flows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of(address) => write!(f, "of {address}"),
            Self::Published { host_ip, protocol, host_port, to } => {
                write!(f, "through {}", publish_text(*host_ip, *protocol, *host_port, *to))
            }
        }
    }
}
