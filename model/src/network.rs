//! A network: a named L2 segment with one or more subnets, and the driver that makes it.

use std::{fmt, net::Ipv4Addr, str::FromStr};

use ipnet::Ipv4Net;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{IfName, Labels, MacAddress, NetworkId, NetworkName};

/// A network as it was asked for and completed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Drawn at creation, never reused.
    pub id: NetworkId,
    /// Unique on the host.
    pub name: NetworkName,
    /// What makes it.
    pub driver: Driver,
    /// The IPv4 subnet its endpoints are addressed from.
    pub subnet: Subnet,
    /// MAC address of the gateway, that is of the bridge.
    pub gateway_mac: MacAddress,
    /// Maximum transmission unit of every link of the network, in octets.
    pub mtu: u32,
    /// What a person attached to it.
    pub labels: Labels,
    /// When it was created.
    pub created_at: Timestamp,
}

impl Network {
    /// The bridge's interface name in the host's namespace: `fb-` and 12 digits of the network's identifier.
    pub fn bridge(&self) -> IfName {
        self.id.bridge()
    }
}

/// What makes a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Driver {
    /// A Linux bridge in the host's namespace, routed and masqueraded towards the outside.
    Bridge,
}

/// Why a text is not a driver's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no driver `{}`; known: bridge", .0.escape_debug())]
pub struct ParseDriverError(String);

impl FromStr for Driver {
    type Err = ParseDriverError;

    fn from_str(text: &str) -> Result<Self, ParseDriverError> {
        match text {
            "bridge" => Ok(Self::Bridge),
            _ => Err(ParseDriverError(text.chars().take(80).collect())),
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bridge => f.write_str("bridge"),
        }
    }
}

/// An IPv4 subnet with the gateway's address in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "SubnetFields", into = "SubnetFields")]
pub struct Subnet {
    range: Ipv4Net,
    gateway: Ipv4Addr,
}

/// Why a range and a gateway are not a subnet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubnetError {
    /// Bits are set behind the prefix.
    #[error("{range} is not a network address; did you mean {aligned}?", range = .0, aligned = .0.trunc())]
    HostBits(Ipv4Net),
    /// A subnet needs room for a network, a gateway, a broadcast and one endpoint address.
    #[error("{0} has no room for a gateway and a container; use a prefix of /29 or shorter")]
    TooSmall(Ipv4Net),
    /// Containers cannot live in these addresses.
    #[error("{0} cannot be routed to: it overlaps loopback, link-local, multicast or reserved addresses")]
    NotUnicast(Ipv4Net),
    /// The gateway is not a host address of the subnet.
    #[error("gateway {gateway} is not a host address of {range}")]
    GatewayOutside {
        /// The subnet.
        range: Ipv4Net,
        /// The address that was to be its gateway.
        gateway: Ipv4Addr,
    },
}

impl Subnet {
    /// The subnet `range` with `gateway`, or with its first host address as the gateway.
    ///
    /// # Errors
    /// [`SubnetError`] says which of the two is unusable and why.
    pub fn new(range: Ipv4Net, gateway: Option<Ipv4Addr>) -> Result<Self, SubnetError> {
        if range.addr() != range.network() {
            return Err(SubnetError::HostBits(range));
        }
        if range.prefix_len() > 29 {
            return Err(SubnetError::TooSmall(range));
        }
        let unusable = ["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"];
        for text in unusable {
            let reserved: Ipv4Net = text.parse().expect("literal ranges parse");
            if reserved.contains(&range) || range.contains(&reserved) {
                return Err(SubnetError::NotUnicast(range));
            }
        }
        let gateway = gateway.unwrap_or_else(|| (u32::from(range.network()) + 1).into());
        if !range.contains(&gateway) || gateway == range.network() || gateway == range.broadcast() {
            return Err(SubnetError::GatewayOutside { range, gateway });
        }
        Ok(Self { range, gateway })
    }

    /// The range of addresses.
    pub fn range(&self) -> Ipv4Net {
        self.range
    }

    /// The gateway's address.
    pub fn gateway(&self) -> Ipv4Addr {
        self.gateway
    }

    /// The gateway's address with the subnet's prefix length, as it is put on an interface.
    pub fn gateway_net(&self) -> Ipv4Net {
        self.with_prefix(self.gateway)
    }

    /// `address` with the subnet's prefix length, as it is put on an interface.
    pub fn with_prefix(&self, address: Ipv4Addr) -> Ipv4Net {
        Ipv4Net::new(address, self.range.prefix_len()).expect("the prefix length comes from an existing range")
    }

    /// Whether an endpoint may hold `address`: inside, and neither network, broadcast nor gateway.
    pub fn is_endpoint_address(&self, address: Ipv4Addr) -> bool {
        self.range.contains(&address)
            && address != self.range.network()
            && address != self.range.broadcast()
            && address != self.gateway
    }

    /// How many addresses endpoints may hold.
    pub fn capacity(&self) -> u32 {
        (1_u32 << (32 - self.range.prefix_len())) - 3
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.range.fmt(f)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SubnetFields {
    range: Ipv4Net,
    gateway: Ipv4Addr,
}

impl TryFrom<SubnetFields> for Subnet {
    type Error = SubnetError;

    fn try_from(fields: SubnetFields) -> Result<Self, SubnetError> {
        Self::new(fields.range, Some(fields.gateway))
    }
}

impl From<Subnet> for SubnetFields {
    fn from(subnet: Subnet) -> Self {
        Self { range: subnet.range, gateway: subnet.gateway }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_are_unicast_aligned_and_big_enough() {
        for (range, gateway, ok) in [
            ("10.1.0.0/24", None, true),
            ("10.1.0.0/29", None, true),
            ("10.1.0.0/30", None, false),
            ("10.1.0.1/24", None, false),
            ("127.0.0.0/24", None, false),
            ("224.1.0.0/24", None, false),
            ("169.254.1.0/24", None, false),
            ("0.0.0.0/0", None, false),
            ("10.1.0.0/24", Some("10.1.0.254"), true),
            ("10.1.0.0/24", Some("10.1.1.1"), false),
            ("10.1.0.0/24", Some("10.1.0.0"), false),
            ("10.1.0.0/24", Some("10.1.0.255"), false),
        ] {
            let gateway = gateway.map(|text: &str| text.parse().expect("literal"));
            assert_eq!(Subnet::new(range.parse().expect("literal"), gateway).is_ok(), ok, "{range} {gateway:?}");
        }
    }

    #[test]
    fn the_gateway_is_the_first_host_address_and_no_endpoint_has_it() {
        let subnet = Subnet::new("10.1.0.0/29".parse().expect("literal"), None).expect("valid");
        assert_eq!(subnet.gateway_net().to_string(), "10.1.0.1/29");
        let free: Vec<_> = subnet.range().hosts().filter(|address| subnet.is_endpoint_address(*address)).collect();
        assert_eq!(free.len() as u32, subnet.capacity());
        assert_eq!(free.len(), 5);
    }
}
