//! Who a rule is about: endpoints, and whoever else there is.

use std::{collections::BTreeSet, fmt};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use model::{ContainerName, Family, NetworkName};

use crate::{
    block::AddressBlock,
    dns_name::DnsPattern,
    doubt::Fit,
    selector::{Identity, Selector},
    world::{Endpoint, Party, World},
};

/// Which networks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Networks {
    /// Those of these names.
    Named(BTreeSet<NetworkName>),
    /// Those whose labels are selected, among them `kubernetes.io/metadata.name`, which is the network's name.
    Labelled(Selector),
}

/// Which endpoints of a network: those for which all of this holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct EndpointSelector {
    /// Their containers have one of these names; none means any name.
    pub names: BTreeSet<ContainerName>,
    /// Their labels are selected.
    pub labels: Selector,
    /// They have exactly these labels.
    pub identity: Option<Identity>,
}

/// The other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// Endpoints of some networks; without, of the network of the endpoint whose policy it is.
    Endpoints(Option<Networks>, EndpointSelector),
    /// Whoever is spoken with under one of these addresses, be it an endpoint, the host or somebody outside.
    Block(AddressBlock),
    /// The host itself, under whatever address.
    Host,
    /// Whoever is neither an endpoint nor the host.
    World,
    /// Whoever outside has one of these names.
    Names(BTreeSet<DnsPattern>),
}

impl Networks {
    /// Whether a network is one of them.
    pub fn include(&self, network: &NetworkName, world: &World) -> bool {
        match self {
            Self::Named(names) => names.contains(network),
            Self::Labelled(selector) => selector.is_everything() || selector.selects(&world.labels_of(network)),
        }
    }
}

impl EndpointSelector {
    /// Whether it selects this endpoint.
    pub fn selects(&self, endpoint: &Endpoint) -> bool {
        (self.names.is_empty() || endpoint.name.as_ref().is_some_and(|name| self.names.contains(name)))
            && self.labels.selects(&endpoint.labels)
            && self.identity.as_ref().is_none_or(|identity| identity.is(&endpoint.labels))
    }

    /// Whether it selects whatever `other` selects, as far as can be told at a look.
    pub(crate) fn is_at_least(&self, other: &Self) -> bool {
        let names = self.names.is_empty() || (!other.names.is_empty() && other.names.is_subset(&self.names));
        let identity = self.identity.is_none() || self.identity == other.identity;
        names && identity && self.labels.is_at_least(&other.labels)
    }
}

impl Peer {
    /// Whether it is this party, seen from an endpoint of network `own`.
    pub fn is(&self, party: &Party<'_>, own: &NetworkName, world: &World) -> bool {
        match (self, party) {
            (
                Self::Endpoints(networks, selector),
                Party::Endpoint { endpoint, .. } | Party::Within { endpoint, .. },
            ) => {
                let of_networks = match networks {
                    Some(networks) => networks.include(&endpoint.network, world),
                    None => endpoint.network == *own,
                };
                of_networks && selector.selects(endpoint)
            }
            (Self::Block(block), party) => party.address().is_some_and(|address| block.contains(address)),
            (Self::Host, Party::Host { .. }) | (Self::World, Party::Outside(_)) => true,
            (Self::Names(patterns), Party::Outside(address)) => {
                world.names_of(*address).any(|name| patterns.iter().any(|pattern| pattern.matches(name)))
            }
            _ => false,
        }
    }

    /// The same of a flow of a family, as far as it is known who the party is.
    pub(crate) fn fits(&self, party: &Party<'_>, family: Option<Family>, own: &NetworkName, world: &World) -> Fit {
        match self {
            Self::Block(block) if party.address().is_none() => {
                let whole = |family| match family {
                    Family::Ipv4 => IpNet::V4(Ipv4Net::default()),
                    Family::Ipv6 => IpNet::V6(Ipv6Net::default()),
                };
                let range = party.range().or(family.map(whole));
                range.map_or(Fit::Unknown, |range| block.has_one_of(range))
            }
            _ => self.is(party, own, world).into(),
        }
    }

    /// Whether it is whoever `other` is, as far as can be told at a look.
    pub(crate) fn is_at_least(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Endpoints(networks, selector), Self::Endpoints(those, inner)) => {
                networks == those && selector.is_at_least(inner)
            }
            (Self::Block(block), Self::Block(inner)) => block.is_at_least(inner),
            (Self::World, Self::Names(_)) => true,
            (Self::Names(patterns), Self::Names(inner)) => inner.is_subset(patterns),
            _ => self == other,
        }
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(names) => {
                let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
                write!(f, "{} {}", if names.len() == 1 { "network" } else { "networks" }, names.join(", "))
            }
            Self::Labelled(selector) if selector.is_everything() => f.write_str("every network"),
            Self::Labelled(selector) => write!(f, "networks labelled {selector}"),
        }
    }
}

impl fmt::Display for EndpointSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if !self.names.is_empty() {
            let names: Vec<_> = self.names.iter().map(|name| format!("`{name}`")).collect();
            parts.push(format!("named {}", names.join(", ")));
        }
        if !self.labels.is_everything() {
            parts.push(format!("labelled {}", self.labels));
        }
        if let Some(Identity(labels)) = &self.identity {
            let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            parts.push(format!("labelled {} and nothing else", labels.join(",")));
        }
        if parts.is_empty() { f.write_str("every endpoint") } else { write!(f, "endpoints {}", parts.join(" and ")) }
    }
}
