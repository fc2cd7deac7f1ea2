//! Membership of the firewall: what the sets and maps of `table inet fabric` and `table bridge fabric` hold.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;

use crate::{Family, IfName, MacAddress, PortRange, Protocol, Publish};

/// One element of a set or map of a table of Fabric's. The rules that look it up never change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Element {
    /// Set `bridges`: the interface is a network's bridge, so traffic through it is filtered.
    Bridge(IfName),
    /// Set `masqueraded`: what comes from this bridge and leaves the host does so with the host's address.
    Masqueraded(IfName),
    /// Set `internal`: nothing is forwarded from or to this bridge.
    Internal(IfName),
    /// Set `same_bridge`: what enters and leaves by this one bridge stays inside a network.
    SameBridge(IfName),
    /// Set `icc`: of those, the bridges whose containers reach each other ([`crate::Icc`]).
    Icc(IfName),
    /// Sets `gateways` and `gateways6`, and maps `bridge_of_gateway` and `bridge_of_gateway6`: the host's address on a
    /// network, where nobody asks for names but the network and the host itself.
    Gateway {
        /// The network's bridge.
        bridge: IfName,
        /// The gateway.
        address: IpAddr,
    },
    /// Maps `published…`: a port of the host, or a range of them, leads to a container.
    Published(Published),
    /// Set `senders` of `table bridge fabric`: frames that come in by this port may have this source.
    Sender {
        /// The host's end of an endpoint's veth pair.
        port: IfName,
        /// The endpoint's MAC address.
        mac: MacAddress,
    },
    /// Sets `ipv4_sources` and `ipv6_sources` of `table bridge fabric`: packets in such frames may have this source.
    Source {
        /// The host's end of an endpoint's veth pair.
        port: IfName,
        /// The endpoint's MAC address.
        mac: MacAddress,
        /// An address of the endpoint.
        address: IpAddr,
    },
    /// Sets `ipv4_holders` and `ipv6_holders` of `table bridge fabric`: who asks for this address is heard at this
    /// port.
    Holder {
        /// The host's end of an endpoint's veth pair.
        port: IfName,
        /// An address of the endpoint.
        address: IpAddr,
    },
    /// Set `guarded`: Fabric opened the host's forwarding of this family, so what has nothing to do with Fabric is not
    /// forwarded.
    ForwardingGuard(Family),
}

/// Host ports that lead to a container's address of one family: either one port, or a range in which each leads to the
/// container's port of the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Published {
    /// The host's address; none means every one of the family.
    pub host_ip: Option<IpAddr>,
    /// The transport protocol.
    pub protocol: Protocol,
    /// The ports on the host.
    pub host_ports: PortRange,
    /// The container's address, and the port there that the first port on the host leads to.
    pub to: SocketAddr,
}

/// Whether the rules of `table inet fabric` and `table bridge fabric` are the ones this version of Fabric wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Structure {
    /// Every chain, rule, set and map is as it should be.
    Current,
    /// One of the tables is missing.
    Missing,
    /// They differ: made by another version, or changed by someone.
    Altered,
}

/// Which connections of the conntrack table to forget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flows {
    /// All that a container's address opened, or that lead to it.
    Of(IpAddr),
    /// Those that came in through a published port.
    Published(Published),
    /// Those that asked for a published port before it led anywhere: the kernel would keep them at the host itself for
    /// as long as the client goes on asking from the same port.
    Before(Published),
    /// Those between this range and whoever is neither in it nor the host itself.
    Beyond(IpNet),
}

impl Published {
    /// What leads a publish to the container's `address`; nothing if it does not lead to that family.
    ///
    /// A range whose ports keep their numbers is one interval. In one that does not, each port is on its own: nftables
    /// can lead a port to a range of ports, but not each to the one at its place.
    pub fn of(publish: &Publish, address: IpAddr) -> impl Iterator<Item = Self> + use<> {
        let publish = *publish;
        let (host, container) = (publish.host_ports(), publish.container_ports());
        let one = move |host_ports: PortRange, port| Self {
            host_ip: publish.host_ip().filter(|address| !address.is_unspecified()),
            protocol: publish.protocol(),
            host_ports,
            to: SocketAddr::new(address, port),
        };
        let whole = (host == container).then(|| one(host, container.first().get()));
        let apart = host
            .iter()
            .zip(container.iter())
            .map(move |(host, container)| one(PortRange::single(host), container.get()));
        let apart = apart.take(if whole.is_some() { 0 } else { usize::MAX });
        whole.into_iter().chain(apart).filter(move |_| publish.leads_to(address))
    }

    /// Whether both claim a port of the host in the same family.
    fn overlaps(&self, other: &Self) -> bool {
        self.to.is_ipv4() == other.to.is_ipv4()
            && (self.host_ip, self.protocol) == (other.host_ip, other.protocol)
            && self.host_ports.overlaps(other.host_ports)
    }
}

impl Element {
    /// Whether both have one place in the same set or map.
    pub fn same_key(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Published(own), Self::Published(others)) => own.overlaps(others),
            (Self::Gateway { address, .. }, Self::Gateway { address: others, .. }) => address == others,
            _ => self == other,
        }
    }

    /// The family of the table that it is in, as nft(8) names it.
    pub fn family(&self) -> &'static str {
        match self {
            Self::Sender { .. } | Self::Source { .. } | Self::Holder { .. } => "bridge",
            Self::Bridge(_)
            | Self::Masqueraded(_)
            | Self::Internal(_)
            | Self::SameBridge(_)
            | Self::Icc(_)
            | Self::Gateway { .. }
            | Self::Published(_)
            | Self::ForwardingGuard(_) => "inet",
        }
    }

    /// The connections that exist only because of this element.
    pub fn flows(&self) -> Option<Flows> {
        match *self {
            Self::Published(published) => Some(Flows::Published(published)),
            _ => None,
        }
    }

    /// The address that a container may be asked for by this element, if it was given one by it: what an interface
    /// gives itself is no lease.
    pub fn leased(&self) -> Option<IpAddr> {
        match *self {
            Self::Holder { address: IpAddr::V6(address), .. } if address.is_unicast_link_local() => None,
            Self::Holder { address, .. } => Some(address),
            _ => None,
        }
    }

    /// The connections that keep their packets from what this element leads to, because they are older than it. With
    /// TCP and SCTP a refusal ends them, and the client comes from another port.
    pub fn flows_before(&self) -> Option<Flows> {
        match *self {
            Self::Published(published) if published.protocol == Protocol::Udp => Some(Flows::Before(published)),
            _ => None,
        }
    }
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host_ip {
            Some(IpAddr::V4(address)) => write!(f, "{} {address}:{}", self.protocol, self.host_ports)?,
            Some(IpAddr::V6(address)) => write!(f, "{} [{address}]:{}", self.protocol, self.host_ports)?,
            None => write!(f, "{} *:{}", self.protocol, self.host_ports)?,
        }
        write!(f, " -> {}", self.to)
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bridge(name) => write!(f, "bridge {name}"),
            Self::SameBridge(name) => write!(f, "inside {name}"),
            Self::Icc(name) => write!(f, "icc {name}"),
            Self::Masqueraded(name) => write!(f, "masquerade {name}"),
            Self::Internal(name) => write!(f, "internal {name}"),
            Self::Gateway { bridge, address } => write!(f, "gateway {address} of {bridge}"),
            Self::Published(published) => write!(f, "publish {published}"),
            Self::Sender { port, mac } => write!(f, "sender {mac} at {port}"),
            Self::Source { port, mac, address } => write!(f, "source {address} of {mac} at {port}"),
            Self::Holder { port, address } => write!(f, "holder of {address} at {port}"),
            Self::ForwardingGuard(family) => write!(f, "forwarding guard of {family}"),
        }
    }
}

impl fmt::Display for Flows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of(address) => write!(f, "of {address}"),
            Self::Published(published) => write!(f, "through {published}"),
            Self::Before(published) => write!(f, "from before {published}"),
            Self::Beyond(range) => write!(f, "between {range} and the outside"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(publish: &str, address: &str) -> Vec<String> {
        let publish = publish.parse().expect("literal");
        Published::of(&publish, address.parse().expect("literal")).map(|published| published.to_string()).collect()
    }

    #[test]
    fn a_range_is_one_interval_where_its_ports_keep_their_numbers() {
        for (publish, address, expected) in [
            ("8080:80", "10.1.0.2", &["tcp *:8080 -> 10.1.0.2:80"][..]),
            ("80:80", "10.1.0.2", &["tcp *:80 -> 10.1.0.2:80"]),
            ("0.0.0.0:80:80", "10.1.0.2", &["tcp *:80 -> 10.1.0.2:80"]),
            ("1-65535:1-65535/udp", "10.1.0.2", &["udp *:1-65535 -> 10.1.0.2:1"]),
            ("81-82:80-81", "10.1.0.2", &["tcp *:81 -> 10.1.0.2:80", "tcp *:82 -> 10.1.0.2:81"]),
            ("192.0.2.1:80:80", "fd00::2", &[]),
            ("80-81:80-81/sctp", "fd00::2", &["sctp *:80-81 -> [fd00::2]:80"]),
            ("[2001:db8::1]:8080:80", "fd00::2", &["tcp [2001:db8::1]:8080 -> [fd00::2]:80"]),
            ("[::]:8080:80", "10.1.0.2", &[]),
        ] {
            assert_eq!(shown(publish, address), expected, "{publish} {address}");
        }
    }
}
