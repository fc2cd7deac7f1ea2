//! Networks on the wire.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use ipnet::Ipv4Net;
use jiff::Timestamp;
use model::{
    ContainerId, ContainerName, Driver, EndpointId, Labels, MacAddress, NameServer, NetworkId, NetworkName, Subnet,
    SubnetError,
};
use serde::{Deserialize, Serialize};

use crate::checked;

/// A network and who is on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Drawn at creation, never reused.
    pub id: NetworkId,
    /// Unique on the host.
    pub name: NetworkName,
    /// What makes it.
    pub driver: Driver,
    /// The ranges its endpoints are addressed from, each with its gateway: `{"range", "gateway"}`.
    pub subnets: Vec<Subnet>,
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

/// Asks for a network: `POST /v1/networks`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkCreate {
    /// Its name.
    pub name: NetworkName,
    /// What makes it; a bridge if absent.
    #[serde(default)]
    pub driver: Option<Driver>,
    /// The range to address endpoints from; one that is free on this host if absent.
    #[serde(default)]
    pub subnet: Option<Ipv4Net>,
    /// The gateway's address; the subnet's first host address if absent.
    #[serde(default)]
    pub gateway: Option<Ipv4Addr>,
    /// Maximum transmission unit, in octets; the daemon's choice if absent.
    #[serde(default)]
    pub mtu: Option<Mtu>,
    /// Whom its containers' names that are not containers' are asked of; the host's resolvers if empty.
    #[serde(default)]
    pub name_servers: Vec<NameServer>,
    /// What to attach to it, for people.
    #[serde(default, deserialize_with = "checked::labels")]
    pub labels: Labels,
}

/// Why a network cannot be as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkCreateError {
    /// The range and the gateway do not fit together, or the range cannot be used.
    #[error("network `{name}` cannot have the subnet {range}")]
    Subnet {
        /// The network.
        name: NetworkName,
        /// The range asked for.
        range: Ipv4Net,
        /// What is wrong with it.
        #[source]
        source: SubnetError,
    },
    /// A gateway alone says nothing about the range around it.
    #[error("network `{name}` has a gateway {gateway} but no subnet; give both, or neither")]
    GatewayAlone {
        /// The network.
        name: NetworkName,
        /// The gateway asked for.
        gateway: Ipv4Addr,
    },
}

impl NetworkCreate {
    /// A network with everything but its name chosen by the daemon.
    pub fn new(name: NetworkName) -> Self {
        Self {
            name,
            driver: None,
            subnet: None,
            gateway: None,
            mtu: None,
            name_servers: Vec::new(),
            labels: Labels::new(),
        }
    }

    /// The subnet that was asked for; none leaves the choice to the daemon.
    ///
    /// # Errors
    /// [`NetworkCreateError`] says why the range or the gateway cannot be had.
    pub fn parsed_subnet(&self) -> Result<Option<Subnet>, NetworkCreateError> {
        match (self.subnet, self.gateway) {
            (Some(range), gateway) => Subnet::new(range.into(), gateway.map(IpAddr::from))
                .map(Some)
                .map_err(|source| NetworkCreateError::Subnet { name: self.name.clone(), range, source }),
            (None, None) => Ok(None),
            (None, Some(gateway)) => Err(NetworkCreateError::GatewayAlone { name: self.name.clone(), gateway }),
        }
    }
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
