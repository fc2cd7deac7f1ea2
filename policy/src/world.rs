//! What there is to judge: networks, their endpoints, and what is known of the rest.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    num::NonZeroU16,
};

use ipnet::IpNet;
use model::{ContainerName, ContainerPort, Family, Labels, NetworkName, PortName, Protocol, Published};

use crate::{dns_name::DnsName, service::Asked};

/// The label that every network has by itself: its name.
pub const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Networks, endpoints and the names of addresses outside.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct World {
    networks: BTreeMap<NetworkName, Network>,
    endpoints: Vec<Endpoint>,
    names: BTreeMap<DnsName, BTreeSet<IpAddr>>,
    /// The same by their addresses.
    named: BTreeMap<IpAddr, BTreeSet<DnsName>>,
    /// Every address of the host, those of the gateways among them.
    host: BTreeSet<IpAddr>,
    /// Whose address is whose, by their place among the endpoints.
    holders: BTreeMap<IpAddr, usize>,
    /// Where ports of the host lead.
    published: Vec<Published>,
}

/// A network, as policy sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Network {
    /// Its labels, without the one that every network has.
    pub labels: Labels,
    /// The host's addresses on it, which are what the host speaks to its endpoints with.
    pub gateways: BTreeSet<IpAddr>,
    /// The ranges that each of its endpoints has an address of, one at least of each family; none if nobody said.
    pub subnets: BTreeSet<IpNet>,
}

/// One attachment of a container to a network, as policy sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The network it is attached to.
    pub network: NetworkName,
    /// Its container's name, which all endpoints of the container have; none of one that is only imagined.
    pub name: Option<ContainerName>,
    /// Its container's labels.
    pub labels: Labels,
    /// Its addresses.
    pub addresses: BTreeSet<IpAddr>,
    /// Its ports that have names.
    pub ports: BTreeSet<(PortName, ContainerPort)>,
}

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Party<'w> {
    /// An endpoint, and which of its addresses is spoken with, if it has one yet.
    Endpoint {
        /// The endpoint.
        endpoint: &'w Endpoint,
        /// The address, which ranges are held against.
        address: Option<IpAddr>,
    },
    /// An endpoint of which nobody said which address it has.
    Within {
        /// The endpoint.
        endpoint: &'w Endpoint,
        /// The subnet in which it is spoken with.
        subnet: IpNet,
    },
    /// The host itself, and whatever runs on it without a network of its own.
    Host {
        /// Which of its addresses is spoken with, if it is known.
        address: Option<IpAddr>,
    },
    /// Whoever else has this address.
    Outside(IpAddr),
}

/// A connection that somebody opens: its first packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow<'w> {
    /// Who opens it.
    pub from: Party<'w>,
    /// Whom it is opened to.
    pub to: Party<'w>,
    /// What is asked for.
    pub asks: Asked,
}

/// Why there cannot be such a world.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorldError {
    /// An endpoint of no network.
    #[error("endpoint `{endpoint}`: there is no network `{network}`")]
    NoNetwork {
        /// The endpoint.
        endpoint: String,
        /// What it names.
        network: NetworkName,
    },
    /// Two endpoints that nothing tells apart.
    #[error("endpoint `{0}` is there twice")]
    Twice(String),
    /// Two endpoints with one address.
    #[error("address {address} belongs to `{first}` and to `{second}`")]
    Address {
        /// The address.
        address: IpAddr,
        /// Who has it.
        first: String,
        /// Who has it as well.
        second: String,
    },
}

impl World {
    /// These networks, and these endpoints on them. `names` are the addresses of names outside, `host` those that the
    /// host has besides the gateways.
    pub fn new(
        networks: BTreeMap<NetworkName, Network>,
        endpoints: Vec<Endpoint>,
        names: BTreeMap<DnsName, BTreeSet<IpAddr>>,
        mut host: BTreeSet<IpAddr>,
    ) -> Result<Self, WorldError> {
        let (mut known, mut held) = (BTreeSet::new(), BTreeMap::<IpAddr, usize>::new());
        host.extend(networks.values().flat_map(|network| &network.gateways));
        for (place, endpoint) in endpoints.iter().enumerate() {
            let Endpoint { network, name, addresses, .. } = endpoint;
            if !networks.contains_key(network) {
                return Err(WorldError::NoNetwork { endpoint: endpoint.title(), network: network.clone() });
            }
            if name.is_some() && !known.insert((network, name)) {
                return Err(WorldError::Twice(endpoint.title()));
            }
            for address in addresses {
                if host.contains(address) {
                    let (first, second) = ("host".to_owned(), endpoint.title());
                    return Err(WorldError::Address { address: *address, first, second });
                }
                if let Some(first) = held.insert(*address, place) {
                    let (first, second) = (endpoints[first].title(), endpoint.title());
                    return Err(WorldError::Address { address: *address, first, second });
                }
            }
        }
        let mut world = Self { networks, endpoints, host, holders: held, ..Self::default() };
        world.set_names(names);
        Ok(world)
    }

    /// These names have these addresses from now on, and no others.
    pub(crate) fn set_names(&mut self, names: BTreeMap<DnsName, BTreeSet<IpAddr>>) {
        for (name, addresses) in names {
            for address in self.names.remove(&name).into_iter().flatten() {
                if let Some(names) = self.named.get_mut(&address) {
                    names.remove(&name);
                    if names.is_empty() {
                        self.named.remove(&address);
                    }
                }
            }
            for address in &addresses {
                self.named.entry(*address).or_default().insert(name.clone());
            }
            if !addresses.is_empty() {
                self.names.insert(name, addresses);
            }
        }
    }

    /// Its endpoints, and the world without them.
    pub(crate) fn emptied(mut self) -> (Self, Vec<Endpoint>) {
        let endpoints = std::mem::take(&mut self.endpoints);
        self.holders.clear();
        (self, endpoints)
    }

    /// The addresses that have names outside.
    pub(crate) fn named(&self) -> impl Iterator<Item = IpAddr> {
        self.named.keys().copied()
    }

    /// Whether the host has this address.
    pub(crate) fn is_of_host(&self, address: IpAddr) -> bool {
        self.host.contains(&address)
    }

    /// The networks there are.
    pub fn networks(&self) -> impl Iterator<Item = &NetworkName> {
        self.networks.keys()
    }

    /// Whether there is a network of this name.
    pub fn has_network(&self, name: &NetworkName) -> bool {
        self.networks.contains_key(name)
    }

    /// The endpoints there are.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// A network's labels, with the one that every network has. A network that is not there has that one only.
    pub fn labels_of(&self, network: &NetworkName) -> Labels {
        let mut labels = self.networks.get(network).map(|network| network.labels.clone()).unwrap_or_default();
        labels.insert(NAME_LABEL.to_owned(), network.to_string());
        labels
    }

    /// The host's addresses on a network.
    pub fn gateways_of(&self, network: &NetworkName) -> impl Iterator<Item = IpAddr> {
        self.networks.get(network).into_iter().flat_map(|network| &network.gateways).copied()
    }

    /// The ranges that a network's endpoints are addressed from, as far as anybody said.
    pub fn subnets_of(&self, network: &NetworkName) -> impl Iterator<Item = IpNet> {
        self.networks.get(network).into_iter().flat_map(|network| &network.subnets).copied()
    }

    /// An endpoint under each of its addresses; where nobody said them, in each subnet of its network.
    pub(crate) fn parties<'w>(&self, endpoint: &'w Endpoint) -> Vec<Party<'w>> {
        let known = endpoint.addresses.iter().map(|address| Party::Endpoint { endpoint, address: Some(*address) });
        let mut parties: Vec<_> = known.collect();
        if parties.is_empty() {
            let subnets = self.subnets_of(&endpoint.network);
            parties.extend(subnets.map(|subnet| Party::Within { endpoint, subnet }));
        }
        if parties.is_empty() {
            parties.push(Party::Endpoint { endpoint, address: None });
        }
        parties
    }

    /// All addresses of the host that are known.
    pub fn host(&self) -> impl Iterator<Item = IpAddr> {
        self.host.iter().copied()
    }

    /// The names under which an address outside is known.
    pub fn names_of(&self, address: IpAddr) -> impl Iterator<Item = &DnsName> {
        self.named.get(&address).into_iter().flatten()
    }

    /// The addresses of a name outside; none of one that is not known.
    pub fn addresses_of(&self, name: &DnsName) -> impl Iterator<Item = IpAddr> {
        self.names.get(name).into_iter().flatten().copied()
    }

    /// The names outside that are known, with their addresses.
    pub fn names(&self) -> &BTreeMap<DnsName, BTreeSet<IpAddr>> {
        &self.names
    }

    /// The same with these addresses of names as well.
    pub fn with_names(mut self, mut names: BTreeMap<DnsName, BTreeSet<IpAddr>>) -> Self {
        for (name, addresses) in &mut names {
            addresses.extend(self.addresses_of(name));
        }
        self.set_names(names);
        self
    }

    /// The same where these ports of the host lead to endpoints.
    pub fn with_published(mut self, published: Vec<Published>) -> Self {
        self.published = published;
        self
    }

    /// The ports of the host that lead to endpoints.
    pub(crate) fn published(&self) -> &[Published] {
        &self.published
    }

    /// Who has this address.
    pub fn party_with(&self, address: IpAddr) -> Party<'_> {
        if self.host.contains(&address) {
            return Party::Host { address: Some(address) };
        }
        match self.holders.get(&address).and_then(|place| self.endpoints.get(*place)) {
            Some(endpoint) => Party::Endpoint { endpoint, address: Some(address) },
            None => Party::Outside(address),
        }
    }
}

impl Endpoint {
    /// As a person knows it: `NETWORK/NAME`, or `NETWORK/LABELS` of one that is only imagined.
    pub fn title(&self) -> String {
        let Self { network, name, labels, .. } = self;
        match name {
            Some(name) => format!("{network}/{name}"),
            None => {
                let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
                format!("{network}/{}", labels.join(","))
            }
        }
    }

    /// Whether both are of one container.
    pub fn is_of_same_container(&self, other: &Self) -> bool {
        self.name.is_some() && self.name == other.name
    }

    /// Whether it is known what it calls its ports: of one that is only imagined nobody said.
    pub(crate) fn has_known_ports(&self) -> bool {
        self.name.is_some() || !self.ports.is_empty()
    }

    /// Whether it calls this port so.
    pub fn calls(&self, name: &PortName, protocol: Protocol, port: NonZeroU16) -> bool {
        self.ports.iter().any(|(own, of)| own == name && *of == ContainerPort { port, protocol })
    }
}

impl<'w> Party<'w> {
    /// The address that is spoken with, if it is known.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Endpoint { address, .. } | Self::Host { address } => *address,
            Self::Outside(address) => Some(*address),
            Self::Within { .. } => None,
        }
    }

    /// The range of which some address is spoken with, where nobody said which.
    pub(crate) fn range(&self) -> Option<IpNet> {
        match self {
            Self::Within { subnet, .. } => Some(*subnet),
            Self::Endpoint { .. } | Self::Host { .. } | Self::Outside(_) => None,
        }
    }

    /// The endpoint, if it is one.
    pub fn endpoint(&self) -> Option<&'w Endpoint> {
        match self {
            Self::Endpoint { endpoint, .. } | Self::Within { endpoint, .. } => Some(endpoint),
            Self::Host { .. } | Self::Outside(_) => None,
        }
    }

    /// The family of the address that is spoken with, if it is known.
    pub fn family(&self) -> Option<Family> {
        self.address().or(self.range().map(|range| range.addr())).map(Family::of)
    }
}

impl fmt::Display for Party<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint { endpoint, .. } => f.write_str(&endpoint.title())?,
            Self::Within { endpoint, subnet } => return write!(f, "{} (in {subnet})", endpoint.title()),
            Self::Host { .. } => f.write_str("host")?,
            Self::Outside(address) => return address.fmt(f),
        }
        self.address().map_or(Ok(()), |address| write!(f, " ({address})"))
    }
}

impl fmt::Display for Flow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}: {}", self.from, self.to, self.asks)
    }
}
