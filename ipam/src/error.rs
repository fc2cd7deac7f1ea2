//! Why there is no address or no subnet.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;
use model::{EndpointId, Family, IfName, NetworkId, NetworkName};
use store::{Key, StoreError};

use crate::Pool;

/// Why there is no address or no subnet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IpamError {
    /// Every subnet of every pool is taken.
    #[error("no free subnet in {}: {taken} ranges in them are taken by networks or by the host", searched(.pools))]
    SubnetsExhausted {
        /// The pools that were searched.
        pools: Vec<Pool>,
        /// How many of the taken ranges overlap them.
        taken: usize,
    },
    /// The range that was asked for is not free.
    #[error("{range} overlaps {with}")]
    Overlap {
        /// The range that was asked for.
        range: IpNet,
        /// What has it.
        with: Occupant,
    },
    /// All addresses of a family are leased.
    #[error("no free address in {}: {used} of {capacity} are leased", joined(.ranges))]
    Exhausted {
        /// The network's subnets of the family.
        ranges: Vec<IpNet>,
        /// How many addresses endpoints hold.
        used: u64,
        /// How many they could hold.
        capacity: u128,
    },
    /// The address that was asked for lies elsewhere.
    #[error("address {address} is outside {}", joined(.ranges))]
    Outside {
        /// The address.
        address: IpAddr,
        /// The network's subnets.
        ranges: Vec<IpNet>,
    },
    /// The address that was asked for is of a family that the network does not have.
    #[error("there is no {family} subnet for address {address}, only {}", joined(.ranges))]
    NoSubnet {
        /// The address.
        address: IpAddr,
        /// Its family.
        family: Family,
        /// The network's subnets.
        ranges: Vec<IpNet>,
    },
    /// The address that was asked for cannot be an endpoint's.
    #[error("address {address} is the {role} address of {range}")]
    Reserved {
        /// The address.
        address: IpAddr,
        /// The subnet that holds it.
        range: IpNet,
        /// What it is for.
        role: Role,
    },
    /// The address that was asked for is reserved by the network's owner.
    #[error("address {address} is reserved{}", reason(.why))]
    SetAside {
        /// The address.
        address: IpAddr,
        /// What for; empty if nobody said.
        why: String,
    },
    /// The address that was asked for is leased.
    #[error("address {address} is in use by endpoint {endpoint}")]
    InUse {
        /// The address.
        address: IpAddr,
        /// The endpoint that holds it.
        endpoint: EndpointId,
    },
    /// A record is not a lease.
    #[error("the stored value of `{key}` is not a lease")]
    Unreadable {
        /// The record's key.
        key: Key,
        /// What is wrong with the value.
        #[source]
        source: serde_json::Error,
    },
    /// A record is a lease other than its key says.
    #[error("the stored value of `{key}` is the lease of {address} on network {network}")]
    Misplaced {
        /// The record's key.
        key: Key,
        /// The address in the value.
        address: IpAddr,
        /// The network in the value.
        network: NetworkId,
    },
    /// A record does not say who had an address.
    #[error("the stored value of `{key}` does not say who had the address")]
    UnreadableFormer {
        /// The record's key.
        key: Key,
        /// What is wrong with the value; none if it is about another address.
        #[source]
        source: Option<serde_json::Error>,
    },
    /// The leases cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl IpamError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::SubnetsExhausted { .. } => "remove networks that are not used, or name a free subnet yourself",
            Self::Overlap { .. } => "name another subnet, or none to have a free one chosen",
            Self::Exhausted { .. } => "remove containers that are not used, or create a network with a larger subnet",
            Self::Outside { .. } | Self::Reserved { .. } => {
                "ask for a host address of the subnet other than the gateway"
            }
            Self::NoSubnet { .. } => "leave the address out, or give the network such a subnet",
            Self::InUse { .. } | Self::SetAside { .. } => {
                "ask for another address, or for none to have a free one chosen"
            }
            Self::Unreadable { .. } | Self::Misplaced { .. } | Self::UnreadableFormer { .. } => {
                "the record was not written by this release of netd"
            }
            Self::Store(error) => error.hint(),
        }
    }
}

fn searched(pools: &[Pool]) -> String {
    if pools.is_empty() { "no pools".to_owned() } else { joined(pools) }
}

fn reason(why: &str) -> String {
    if why.is_empty() { String::new() } else { format!(": {why}") }
}

fn joined(items: &[impl fmt::Display]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What has a range of addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Occupant {
    /// A network.
    Network {
        /// Its name.
        name: NetworkName,
        /// Its subnet.
        range: IpNet,
    },
    /// A route or an address of the host.
    Host {
        /// The route's destination, or the address with its prefix.
        range: IpNet,
        /// The interface it leads through.
        interface: IfName,
    },
}

impl fmt::Display for Occupant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network { name, range } => write!(f, "network {name} ({range})"),
            Self::Host { range, interface } => write!(f, "the host's {range} on interface {interface}"),
        }
    }
}

/// What an address that no endpoint may hold is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The first of the subnet, which names it.
    Network,
    /// The gateway's.
    Gateway,
    /// The last of the subnet (RFC 919).
    Broadcast,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Network => "network",
            Self::Gateway => "gateway",
            Self::Broadcast => "broadcast",
        })
    }
}
