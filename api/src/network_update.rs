//! What is asked of a network that is there, and what can be wrong with that.

mod error;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    str::FromStr,
};

use ipnet::IpNet;
use model::{
    DefaultRoute, Driver, Family, GatewayMode, IPV6_MTU, Icc, Labels, MtuSource, NameServer, Network, NetworkName,
    NetworkRoute, Reach, Reservation, Subnet,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use error::NetworkUpdateError;

use crate::{Mtu, NetworkCreateError, ParseMtuError, check_routes, checked, network_create::BRIDGE_OPTIONS, schema};

/// Asks for changes of a network, all of them or none: `PATCH /v1/networks/{name}`. What is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkUpdate {
    /// What makes it. No network changes that; it is understood to say so.
    #[schema(value_type = Option<schema::Driver>)]
    pub driver: Option<Driver>,
    /// Maximum transmission unit, in octets, or `"auto"` for the uplink's, or the parent's if it has one.
    pub mtu: Option<MtuChoice>,
    /// Whether nothing is forwarded from or to it.
    pub internal: Option<bool>,
    /// Whether its containers reach each other by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icc: Option<bool>,
    /// Whether their default routes may lead over it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_route: Option<bool>,
    /// Routes that they are to have besides, each `DESTINATION[,GATEWAY[,METRIC]]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub add_routes: Vec<NetworkRoute>,
    /// The destinations of routes that they are to be without.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub remove_routes: Vec<IpNet>,
    /// Whom its containers' names that are not containers' are to be asked of, in place of those it has; empty means
    /// the host's resolvers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub name_servers: Option<Vec<NameServer>>,
    /// How its gateway joins it to the rest of the world.
    #[schema(value_type = Option<schema::GatewayMode>)]
    pub gateway_mode: Option<GatewayMode>,
    /// Ranges to address endpoints from besides, each with its first host address as the gateway.
    #[schema(value_type = Vec<String>)]
    pub add_subnets: Vec<IpNet>,
    /// Ranges of its subnets that nobody has an address of, to be without.
    #[schema(value_type = Vec<String>)]
    pub remove_subnets: Vec<IpNet>,
    /// Parts of the subnets that automatic addresses come from, each in one of them; a whole subnet means all of it.
    #[schema(value_type = Vec<String>)]
    pub ip_ranges: Vec<IpNet>,
    /// Addresses of the subnets that no endpoint is to be given, each `ADDRESS[=WHY]`.
    #[schema(value_type = Vec<String>)]
    pub reserve: Vec<Reservation>,
    /// Addresses that endpoints may be given again.
    #[schema(value_type = Vec<String>)]
    pub release: Vec<IpAddr>,
    /// What to attach to it, for people.
    #[serde(deserialize_with = "checked::labels")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub labels: Labels,
    /// The keys of labels to take away.
    pub remove_labels: Vec<String>,
    /// What the driver knows besides: `mtu` and `gateway-mode`.
    pub options: BTreeMap<String, String>,
}

/// The MTU a network is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected an MTU, a number from 68 to 65535, or \"auto\"")]
pub enum MtuChoice {
    /// This one.
    Fixed(Mtu),
    /// The uplink's, or the parent's, whatever that is.
    Auto(Auto),
}

/// The word `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Auto {
    /// It.
    Auto,
}

impl FromStr for MtuChoice {
    type Err = ParseMtuError;

    fn from_str(text: &str) -> Result<Self, ParseMtuError> {
        if text == "auto" { Ok(Self::Auto(Auto::Auto)) } else { text.parse().map(Self::Fixed) }
    }
}

impl fmt::Display for MtuChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(mtu) => mtu.fmt(f),
            Self::Auto(_) => f.write_str("auto"),
        }
    }
}

impl NetworkUpdate {
    /// Refuses what no network of this name could become: what contradicts itself.
    ///
    /// # Errors
    /// [`NetworkUpdateError`] says what contradicts what, or that nothing was asked for.
    pub fn check(&self, name: &NetworkName) -> Result<(), NetworkUpdateError> {
        if *self == Self::default() {
            return Err(NetworkUpdateError::Nothing(name.clone()));
        }
        if let Some(key) = self.remove_labels.iter().find(|key| self.labels.contains_key(*key)) {
            return Err(NetworkUpdateError::LabelBoth { name: name.clone(), key: key.clone() });
        }
        match (self.internal, self.options(name)?.1) {
            (Some(true), Some(mode @ (GatewayMode::Nat | GatewayMode::Routed))) => {
                Err(NetworkCreateError::InternalMode { name: name.clone(), mode }.into())
            }
            (Some(false), Some(GatewayMode::Isolated)) => Err(NetworkUpdateError::StaysIsolated(name.clone())),
            _ => Ok(()),
        }
    }

    /// Whether it says which MTU the network is to have, be it the one that it has.
    pub fn asks_for_mtu(&self) -> bool {
        self.mtu.is_some() || self.options.contains_key("mtu")
    }

    /// The network as it is to become, where its uplink, or its parent, has this MTU, in octets. Neither who is on it
    /// nor whether the parent has room for its MTU is looked at.
    ///
    /// # Errors
    /// [`NetworkUpdateError`] says what cannot be had, and why.
    pub fn plan(&self, network: &Network, uplink_mtu: u32) -> Result<Network, NetworkUpdateError> {
        let name = &network.name;
        self.check(name)?;
        if self.driver.is_some_and(|driver| driver != network.driver) {
            return Err(NetworkUpdateError::Driver { name: name.clone(), driver: network.driver });
        }
        let (mtu, mode) = self.options(name)?;
        let what = [
            (mode.is_some(), "a gateway mode"),
            (self.internal.is_some(), "another reach"),
            (self.icc == Some(false), "containers that are kept apart"),
        ];
        if let Some((_, what)) = what.into_iter().find(|(asked, _)| *asked && network.driver != Driver::Bridge) {
            return Err(NetworkCreateError::NotOfDriver { name: name.clone(), what, driver: network.driver }.into());
        }
        let subnets = self.subnets(network)?;
        let routes = self.routes(network)?;
        check_routes(name, &routes, &subnets, &[], network.parent.as_ref())?;
        let mtu_source = match mtu {
            Some(MtuChoice::Auto(_)) => MtuSource::Uplink,
            Some(MtuChoice::Fixed(_)) => MtuSource::Fixed,
            None => network.mtu_source,
        };
        let octets = match (mtu_source, mtu) {
            (MtuSource::Uplink, _) => MtuSource::following(uplink_mtu, &subnets),
            (MtuSource::Fixed, Some(MtuChoice::Fixed(mtu))) => mtu.octets(),
            (MtuSource::Fixed, _) => network.mtu,
        };
        if octets < IPV6_MTU && subnets.iter().any(|subnet| subnet.family() == Family::Ipv6) {
            let mtu = Mtu::try_from(octets).expect("every network's MTU is one");
            return Err(NetworkCreateError::SmallMtu { name: name.clone(), mtu }.into());
        }
        let mut labels = network.labels.clone();
        self.remove_labels.iter().for_each(|key| drop(labels.remove(key)));
        labels.extend(self.labels.clone());
        Ok(Network {
            reserved: self.reservations(network, &subnets)?,
            subnets,
            reach: self.reach(network, mode)?,
            icc: self.icc.map_or(network.icc, Icc::from),
            default_route: self.default_route.map_or(network.default_route, DefaultRoute::from),
            routes,
            mtu: octets,
            mtu_source,
            name_servers: self.name_servers.clone().unwrap_or_else(|| network.name_servers.clone()),
            labels,
            ..network.clone()
        })
    }

    fn options(&self, name: &NetworkName) -> Result<(Option<MtuChoice>, Option<GatewayMode>), NetworkCreateError> {
        let (mut mtu, mut mode) = (self.mtu, self.gateway_mode);
        for (key, value) in &self.options {
            let name = name.clone();
            match key.as_str() {
                "mtu" if mtu.is_some() => return Err(NetworkCreateError::OptionTwice { name, what: "an MTU" }),
                "mtu" => {
                    mtu = Some(value.parse().map_err(|source| NetworkCreateError::MtuOption { name, source })?);
                }
                "gateway-mode" if mode.is_some() => {
                    return Err(NetworkCreateError::OptionTwice { name, what: "a gateway mode" });
                }
                "gateway-mode" => {
                    let parsed = value.parse();
                    mode = Some(parsed.map_err(|source| NetworkCreateError::GatewayModeOption { name, source })?);
                }
                _ => {
                    let key = key.chars().take(80).collect();
                    return Err(NetworkCreateError::UnknownOption { name, key, known: BRIDGE_OPTIONS });
                }
            }
        }
        Ok((mtu, mode))
    }

    fn subnets(&self, network: &Network) -> Result<Vec<Subnet>, NetworkUpdateError> {
        let name = || network.name.clone();
        let mut subnets = network.subnets.clone();
        for range in &self.remove_subnets {
            let Some(place) = subnets.iter().position(|subnet| subnet.range() == *range) else {
                let subnets = network.subnets.iter().map(Subnet::range).collect();
                return Err(NetworkUpdateError::NoSuchSubnet { name: name(), range: *range, subnets });
            };
            subnets.remove(place);
        }
        let unfit = |range| move |source| NetworkCreateError::Subnet { name: network.name.clone(), range, source };
        for range in &self.add_subnets {
            let subnet = Subnet::new(*range, None).map_err(unfit(*range))?;
            let overlaps = |other: &&Subnet| range.contains(&other.range()) || other.range().contains(range);
            if let Some(other) = subnets.iter().find(overlaps) {
                let (first, second) = (other.range(), *range);
                return Err(NetworkCreateError::SubnetsOverlap { name: name(), first, second }.into());
            }
            subnets.push(subnet);
        }
        let mut seen = BTreeSet::new();
        for pool in &self.ip_ranges {
            let Some(subnet) = subnets.iter_mut().find(|subnet| subnet.range().contains(pool)) else {
                return Err(NetworkCreateError::NoSubnet { name: name(), what: format!("range {pool}") }.into());
            };
            let range = subnet.range();
            if !seen.insert(range) {
                return Err(NetworkCreateError::Twice { name: name(), what: "ranges", range }.into());
            }
            *subnet = subnet.with_pool(Some(*pool).filter(|pool| *pool != range)).map_err(unfit(range))?;
        }
        if subnets.is_empty() {
            return Err(NetworkUpdateError::NoSubnetLeft(name()));
        }
        // IPv4 first, within a family as they came.
        subnets.sort_by_key(Subnet::family);
        Ok(subnets)
    }

    fn routes(&self, network: &Network) -> Result<Vec<NetworkRoute>, NetworkUpdateError> {
        let mut routes = network.routes.clone();
        for destination in &self.remove_routes {
            let before = routes.len();
            routes.retain(|route| route.destination() != *destination);
            if routes.len() == before {
                let (name, destination) = (network.name.clone(), *destination);
                return Err(NetworkUpdateError::NoSuchRoute { name, destination, routes });
            }
        }
        routes.extend(&self.add_routes);
        Ok(routes)
    }

    fn reservations(&self, network: &Network, subnets: &[Subnet]) -> Result<Vec<Reservation>, NetworkUpdateError> {
        let name = || network.name.clone();
        let mut reserved = network.reserved.clone();
        for address in &self.release {
            let Some(place) = reserved.iter().position(|reservation| reservation.address() == *address) else {
                return Err(NetworkUpdateError::NotReserved { name: name(), address: *address });
            };
            reserved.remove(place);
        }
        // Those of subnets that go, go with them.
        let subnet_of = |address| subnets.iter().find(|subnet| subnet.range().contains(&address));
        reserved.retain(|reservation| subnet_of(reservation.address()).is_some());
        for reservation in &self.reserve {
            let address = reservation.address();
            let refused = |reason| NetworkCreateError::Reserve { name: name(), address, reason };
            let Some(subnet) = subnet_of(address) else {
                let what = format!("reserved address {address}");
                return Err(NetworkCreateError::NoSubnet { name: name(), what }.into());
            };
            if !subnet.is_endpoint_address(address) {
                let reason = "it is the gateway's, or the first or last of its subnet, and no container is given it";
                return Err(refused(reason).into());
            }
            if reserved.iter().any(|other| other.address() == address) {
                return Err(refused("it is reserved already").into());
            }
            reserved.push(reservation.clone());
        }
        Ok(reserved)
    }

    fn reach(&self, network: &Network, mode: Option<GatewayMode>) -> Result<Reach, NetworkUpdateError> {
        let name = || network.name.clone();
        let open = |mode| match mode {
            GatewayMode::Nat => Reach::Nat,
            GatewayMode::Routed => Reach::Routed,
            GatewayMode::Isolated => Reach::Isolated,
        };
        match (self.internal, mode, network.reach) {
            (None, None, reach) => Ok(reach),
            (Some(false), None, Reach::Isolated) => Err(NetworkUpdateError::StaysIsolated(name())),
            (Some(true), None, Reach::Isolated) => Ok(Reach::Isolated),
            (Some(true), None, _) => Ok(Reach::Internal),
            (None, Some(mode), Reach::Internal) if mode != GatewayMode::Isolated => {
                Err(NetworkCreateError::InternalMode { name: name(), mode }.into())
            }
            (Some(false), None, Reach::Internal) => Ok(Reach::Nat),
            (Some(false), None, reach) => Ok(reach),
            (_, Some(mode), _) => Ok(open(mode)),
        }
    }
}

#[cfg(test)]
mod tests;
