//! Networks on the wire.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use jiff::Timestamp;
use model::{
    ContainerId, ContainerName, Driver, EndpointId, GatewayMode, Labels, MacAddress, NameServer, NetworkId,
    NetworkName, Reservation, Subnet,
};
use serde::{Deserialize, Serialize};

/// A network and who is on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Drawn at creation, never reused.
    pub id: NetworkId,
    /// Unique on the host.
    pub name: NetworkName,
    /// What makes it.
    pub driver: Driver,
    /// The ranges its endpoints are addressed from, each with its gateway: `{"range", "gateway"}`, and `"ip_range"` where
    /// automatic addresses come from a part of it.
    pub subnets: Vec<Subnet>,
    /// Addresses that no endpoint is given, each `ADDRESS[=WHY]`.
    pub reserved: Vec<Reservation>,
    /// Whether nothing is forwarded from or to it.
    pub internal: bool,
    /// How its gateway joins it to the rest of the world.
    pub gateway_mode: GatewayMode,
    /// Maximum transmission unit of its links, in octets.
    pub mtu: u32,
    /// Whom its containers' names that are not containers' are asked of; empty means the host's resolvers.
    #[serde(default)]
    pub name_servers: Vec<NameServer>,
    /// What a person attached to it.
    pub labels: Labels,
    /// When it was created.
    pub created_at: Timestamp,
    /// Who is attached to it.
    pub endpoints: Vec<NetworkEndpoint>,
    /// How full its subnets are.
    pub usage: Usage,
}

/// One attachment, seen from the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkEndpoint {
    /// The endpoint.
    pub id: EndpointId,
    /// The attached container's name.
    pub container: ContainerName,
    /// The attached container.
    pub container_id: ContainerId,
    /// Its IPv4 address; null on a network without IPv4.
    pub ipv4: Option<Ipv4Addr>,
    /// Its IPv6 address; null on a network without IPv6.
    pub ipv6: Option<Ipv6Addr>,
    /// Its MAC address.
    pub mac: MacAddress,
}

/// How many addresses a network can give to endpoints, and how many it has given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Addresses that endpoints can have; more than 64 bits can say count as the most they can.
    pub capacity: u64,
    /// Addresses that are leased.
    pub used: u64,
}

/// A maximum transmission unit that an Ethernet link can have: 68 to 65535 octets (`ETH_MIN_MTU`, `ETH_MAX_MTU` in
/// `include/uapi/linux/if_ether.h`; the lower bound is RFC 791's).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Mtu(u32);

/// Why a number is not an MTU.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not an MTU: expected a number from 68 to 65535", .0.escape_debug())]
pub struct ParseMtuError(String);

impl Mtu {
    /// The MTU in octets.
    pub fn octets(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Mtu {
    type Error = ParseMtuError;

    fn try_from(octets: u32) -> Result<Self, ParseMtuError> {
        if (68..=65_535).contains(&octets) { Ok(Self(octets)) } else { Err(ParseMtuError(octets.to_string())) }
    }
}

impl FromStr for Mtu {
    type Err = ParseMtuError;

    fn from_str(text: &str) -> Result<Self, ParseMtuError> {
        let octets: u32 = text.parse().map_err(|_| ParseMtuError(text.chars().take(80).collect()))?;
        octets.try_into()
    }
}

impl From<Mtu> for u32 {
    fn from(mtu: Mtu) -> u32 {
        mtu.0
    }
}

impl fmt::Display for Mtu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
