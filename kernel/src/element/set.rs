//! The sets and maps that hold entries.

use std::net::IpAddr;

use model::{Family, Published};

use super::TableFamily;

/// A set or map of `table inet fabric` or `table bridge fabric`. Those of published ports are there once for each
/// family.
///
/// One port is found by a hash of protocol and port, with the host's address or without. What it leads to are two
/// entries under one key, the address and the port, because nft 1.0.6 takes no map to both in JSON. A range of ports
/// that keep their numbers is one entry of a map of intervals, which holds the address only; the intervals of its kind
/// of set (pipapo) span the host's addresses too, so one map serves both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Set {
    Bridges,
    SameBridge,
    Icc,
    Masqueraded,
    Internal,
    Guarded,
    /// Gateways' addresses.
    Gateways(Family),
    /// Of the same: their bridges. Apart, because Linux 6.1 refuses rules that ask a map only
    /// whether it has a key.
    BridgeOfGateway(Family),
    /// Of ports published on one address of the host: the container's address.
    AddressOfOne(Family),
    /// Of the same: the container's port.
    PortOfOne(Family),
    /// Of ports published on every address of the host: the container's address.
    AddressOfAny(Family),
    /// Of the same: the container's port.
    PortOfAny(Family),
    /// Of ranges, on one address or on every: the container's address.
    Range(Family),
    /// Of ports of bridges: the container's MAC address.
    Senders,
    /// Of the same: the container's addresses.
    Sources(Family),
    /// Of the same: the container's addresses without its MAC address.
    Holders(Family),
}

impl Set {
    pub(crate) const ALL: [Self; 25] = [
        Self::Bridges,
        Self::SameBridge,
        Self::Icc,
        Self::Masqueraded,
        Self::Internal,
        Self::Guarded,
        Self::Gateways(Family::Ipv4),
        Self::Gateways(Family::Ipv6),
        Self::BridgeOfGateway(Family::Ipv4),
        Self::BridgeOfGateway(Family::Ipv6),
        Self::AddressOfOne(Family::Ipv4),
        Self::PortOfOne(Family::Ipv4),
        Self::AddressOfAny(Family::Ipv4),
        Self::PortOfAny(Family::Ipv4),
        Self::Range(Family::Ipv4),
        Self::AddressOfOne(Family::Ipv6),
        Self::PortOfOne(Family::Ipv6),
        Self::AddressOfAny(Family::Ipv6),
        Self::PortOfAny(Family::Ipv6),
        Self::Range(Family::Ipv6),
        Self::Senders,
        Self::Sources(Family::Ipv4),
        Self::Sources(Family::Ipv6),
        Self::Holders(Family::Ipv4),
        Self::Holders(Family::Ipv6),
    ];

    /// The family of the table that it is in.
    pub(crate) fn table(self) -> TableFamily {
        match self {
            Self::Senders | Self::Sources(_) | Self::Holders(_) => TableFamily::Bridge,
            _ => TableFamily::Inet,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bridges => "bridges",
            Self::SameBridge => "same_bridge",
            Self::Icc => "icc",
            Self::Masqueraded => "masqueraded",
            Self::Internal => "internal",
            Self::Guarded => "guarded",
            Self::Gateways(Family::Ipv4) => "gateways",
            Self::Gateways(Family::Ipv6) => "gateways6",
            Self::BridgeOfGateway(Family::Ipv4) => "bridge_of_gateway",
            Self::BridgeOfGateway(Family::Ipv6) => "bridge_of_gateway6",
            Self::AddressOfOne(Family::Ipv4) => "published_at_address",
            Self::PortOfOne(Family::Ipv4) => "published_at_port",
            Self::AddressOfAny(Family::Ipv4) => "published_address",
            Self::PortOfAny(Family::Ipv4) => "published_port",
            Self::Range(Family::Ipv4) => "published_range",
            Self::AddressOfOne(Family::Ipv6) => "published6_at_address",
            Self::PortOfOne(Family::Ipv6) => "published6_at_port",
            Self::AddressOfAny(Family::Ipv6) => "published6_address",
            Self::PortOfAny(Family::Ipv6) => "published6_port",
            Self::Range(Family::Ipv6) => "published6_range",
            Self::Senders => "senders",
            Self::Sources(Family::Ipv4) => "ipv4_sources",
            Self::Sources(Family::Ipv6) => "ipv6_sources",
            Self::Holders(Family::Ipv4) => "ipv4_holders",
            Self::Holders(Family::Ipv6) => "ipv6_holders",
        }
    }

    /// Where an element is found: the map of addresses and the map of ports, or for a range only the one of addresses.
    pub(super) fn of_published(published: &Published) -> (Self, Option<Self>) {
        let family = Family::of(published.to.ip());
        match published.host_ip {
            _ if published.host_ports.count() > 1 => (Self::Range(family), None),
            Some(_) => (Self::AddressOfOne(family), Some(Self::PortOfOne(family))),
            None => (Self::AddressOfAny(family), Some(Self::PortOfAny(family))),
        }
    }

    /// The family of addresses that it leads to, or holds.
    pub(super) fn family(self) -> Option<Family> {
        match self {
            Self::Bridges
            | Self::SameBridge
            | Self::Icc
            | Self::Masqueraded
            | Self::Internal
            | Self::Guarded
            | Self::Senders => None,
            Self::Gateways(family)
            | Self::BridgeOfGateway(family)
            | Self::AddressOfOne(family)
            | Self::PortOfOne(family)
            | Self::AddressOfAny(family)
            | Self::PortOfAny(family)
            | Self::Range(family)
            | Self::Sources(family)
            | Self::Holders(family) => Some(family),
        }
    }
}

/// The octets of an address, in the order of the network.
pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The address of these octets.
pub(super) fn address(family: Family, octets: &[u8]) -> Option<IpAddr> {
    match family {
        Family::Ipv4 => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        Family::Ipv6 => <[u8; 16]>::try_from(octets).ok().map(IpAddr::from),
    }
}
