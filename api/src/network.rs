//! Networks on the wire.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use ipnet::IpNet;
use jiff::Timestamp;
use model::{
    ContainerId, ContainerName, Driver, EndpointId, GatewayMode, Labels, MacAddress, MtuSource, NameServer, NetworkId,
    NetworkName, NetworkRoute, Parent, Reservation, Subnet,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema;

/// A network and who is on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Network {
    /// Drawn at creation, never reused.
    #[schema(value_type = schema::Identifier)]
    pub id: NetworkId,
    /// Unique on the host.
    #[schema(value_type = schema::Name)]
    pub name: NetworkName,
    /// What makes it.
    #[schema(value_type = schema::Driver)]
    pub driver: Driver,
    /// The ranges its endpoints are addressed from, each with its gateway: `{"range", "gateway"}`, and `"ip_range"`
    /// where automatic addresses come from a part of it.
    #[schema(value_type = Vec<schema::Subnet>)]
    pub subnets: Vec<Subnet>,
    /// Addresses that no endpoint is given, each `ADDRESS[=WHY]`.
    #[schema(value_type = Vec<String>)]
    pub reserved: Vec<Reservation>,
    /// Whether nothing is forwarded from or to it.
    pub internal: bool,
    /// Whether its containers reach each other by it.
    #[serde(default = "yes")]
    pub icc: bool,
    /// Whether their default routes may lead over it.
    #[serde(default = "yes")]
    pub default_route: bool,
    /// The routes that they have besides, each `DESTINATION[,GATEWAY[,METRIC]]`.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub routes: Vec<NetworkRoute>,
    /// How its gateway joins it to the rest of the world.
    #[schema(value_type = schema::GatewayMode)]
    pub gateway_mode: GatewayMode,
    /// Maximum transmission unit of its links, in octets.
    pub mtu: u32,
    /// Whether a person fixed that, or it follows the uplink's, or the parent's.
    #[schema(value_type = schema::MtuSource)]
    pub mtu_source: MtuSource,
    /// Whom its containers' names that are not containers' are asked of; empty means the host's resolvers.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub name_servers: Vec<NameServer>,
    /// What a person attached to it.
    #[schema(value_type = BTreeMap<String, String>)]
    pub labels: Labels,
    /// When it was created.
    pub created_at: Timestamp,
    /// The interface of the host that its endpoints sit on, and how, if the driver needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Parent>)]
    pub parent: Option<Parent>,
    /// Who is attached to it.
    pub endpoints: Vec<NetworkEndpoint>,
    /// How full its subnets are.
    pub usage: Usage,
    /// The policies that are about it and not enforced on it: its packets do not come by the host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unenforced: Vec<String>,
}

fn yes() -> bool {
    true
}

/// Asks for the removal of networks that nothing is attached to: `POST /v1/prune/networks`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworksPrune {
    /// Only these, of which those in use stay; all if absent.
    #[serde(default)]
    #[schema(value_type = Option<Vec<schema::Name>>)]
    pub only: Option<Vec<NetworkName>>,
}

/// What `POST /v1/prune/networks` removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PrunedNetworks {
    /// The networks' names, sorted.
    #[schema(value_type = Vec<schema::Name>)]
    pub removed: Vec<NetworkName>,
}

/// One attachment, seen from the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NetworkEndpoint {
    /// The endpoint.
    #[schema(value_type = schema::Identifier)]
    pub id: EndpointId,
    /// The attached container's name.
    #[schema(value_type = schema::Name)]
    pub container: ContainerName,
    /// The attached container.
    #[schema(value_type = schema::Identifier)]
    pub container_id: ContainerId,
    /// Its IPv4 address; null on a network without IPv4.
    #[schema(value_type = Option<schema::Ipv4>)]
    pub ipv4: Option<Ipv4Addr>,
    /// Its IPv6 address; null on a network without IPv6.
    #[schema(value_type = Option<schema::Ipv6>)]
    pub ipv6: Option<Ipv6Addr>,
    /// Its MAC address; null where it has its parent's.
    #[schema(value_type = Option<schema::Mac>)]
    pub mac: Option<MacAddress>,
}

/// How many addresses a network can give to endpoints, and how many it has given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// Addresses that endpoints can have. Null if they are more than 9007199254740991, the largest number that every
    /// reader of JSON takes exactly (RFC 7493 §2.2): then the prefixes of the ranges tell.
    pub capacity: Option<u64>,
    /// Addresses that are leased.
    pub used: u64,
    /// Addresses that are free and kept for who had them last, for as long as there are others to give.
    #[serde(default)]
    pub resting: u64,
    /// The other free ones; null as `capacity` is.
    #[serde(default)]
    pub free: Option<u64>,
    /// The same of each subnet.
    #[serde(default)]
    pub subnets: Vec<SubnetUsage>,
    /// Addresses that are leased to endpoints that do not exist; `doctor --fix` gives them back.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub leaked: Vec<IpAddr>,
}

/// How many addresses a subnet can give to endpoints, and how many it has given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SubnetUsage {
    /// The subnet.
    #[schema(value_type = String)]
    pub range: IpNet,
    /// Addresses that endpoints can have. Null if they are more than 9007199254740991, the largest number that every
    /// reader of JSON takes exactly (RFC 7493 §2.2): then the prefixes of the ranges tell.
    pub capacity: Option<u64>,
    /// Addresses that are leased.
    pub used: u64,
    /// Addresses that are free and kept for who had them last.
    pub resting: u64,
    /// The other free ones; null as `capacity` is.
    pub free: Option<u64>,
}

/// The number, if every reader of JSON takes it exactly: at most 2^53 − 1 (RFC 7493 §2.2).
pub fn exact_in_json(number: u128) -> Option<u64> {
    const LARGEST: u64 = (1 << 53) - 1;
    u64::try_from(number).ok().filter(|number| *number <= LARGEST)
}

/// A maximum transmission unit that an Ethernet link can have: 68 to 65535 octets (`ETH_MIN_MTU`, `ETH_MAX_MTU` in
/// `include/uapi/linux/if_ether.h`; the lower bound is RFC 791's).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_some_readers_of_json_would_round_are_not_told() {
        let largest = (1 << 53) - 1;
        for (number, told) in
            [(253, Some(253)), (largest, Some(9_007_199_254_740_991)), (largest + 1, None), (1 << 80, None)]
        {
            assert_eq!(exact_in_json(number), told, "{number}");
        }
    }
}
