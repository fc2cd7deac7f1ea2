//! What is asked of a new network.

mod error;
mod routes;

use std::{collections::BTreeMap, fmt::Display, net::IpAddr, str::FromStr};

use ipnet::IpNet;
use model::{
    DefaultRoute, Driver, Family, GatewayMode, IPV6_MTU, Icc, Labels, NameServer, NetworkName, NetworkRoute, Parent,
    Reach, Reservation, SubInterfaceKind, Subnet,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use error::NetworkCreateError;
pub use routes::check_routes;

use crate::{Mtu, NetworkMode, checked, schema};

/// Asks for a network: `POST /v1/networks`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkCreate {
    /// Its name.
    #[schema(value_type = schema::Name)]
    pub name: NetworkName,
    /// What makes it; a bridge if absent.
    #[serde(default)]
    #[schema(value_type = Option<schema::Driver>)]
    pub driver: Option<Driver>,
    /// The ranges to address endpoints from, of either family; a family without one has a range that is free on this
    /// host.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub subnets: Vec<IpNet>,
    /// The gateways' addresses, each in one of the subnets; a subnet without one has its first host address.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub gateways: Vec<IpAddr>,
    /// Parts of the subnets that automatic addresses come from, each in one of them; the whole subnet if absent.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub ip_ranges: Vec<IpNet>,
    /// Addresses of the subnets that no endpoint is given, each `ADDRESS[=WHY]`.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub reserve: Vec<Reservation>,
    /// Whether it has IPv4.
    #[serde(default = "yes")]
    pub ipv4: bool,
    /// Whether it has IPv6; a subnet of IPv6 says so too.
    #[serde(default)]
    pub ipv6: bool,
    /// Whether nothing is forwarded from or to it.
    #[serde(default)]
    pub internal: bool,
    /// Whether its containers reach each other by it.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub icc: bool,
    /// Whether their default routes may lead over it.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub default_route: bool,
    /// Routes that they have besides, each `DESTINATION[,GATEWAY[,METRIC]]`, by the gateway of their subnet if none is
    /// named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub routes: Vec<NetworkRoute>,
    /// How its gateway joins it to the rest of the world; `nat` if absent.
    #[serde(default)]
    #[schema(value_type = Option<schema::GatewayMode>)]
    pub gateway_mode: Option<GatewayMode>,
    /// Maximum transmission unit, in octets; the uplink's, or the parent's if it has one, if absent.
    #[serde(default)]
    pub mtu: Option<Mtu>,
    /// Whom its containers' names that are not containers' are asked of; the host's resolvers if empty.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub name_servers: Vec<NameServer>,
    /// What to attach to it, for people.
    #[serde(default, deserialize_with = "checked::labels")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub labels: Labels,
    /// What the driver knows besides: `mtu` and `gateway-mode`, for those who write settings of other tools' form.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

fn yes() -> bool {
    true
}

/// A daemon that is older than who asks may not know what is not asked for.
fn is_yes(value: &bool) -> bool {
    *value
}

/// What a network is to be like, as far as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkPlan {
    /// What makes it.
    pub driver: Driver,
    /// Its subnets.
    pub subnets: Vec<Subnet>,
    /// The families for which a subnet is to be chosen.
    pub automatic: Vec<Family>,
    /// Addresses of its subnets that no endpoint is given.
    pub reserved: Vec<Reservation>,
    /// How far its containers get.
    pub reach: Reach,
    /// Whether they reach each other.
    pub icc: Icc,
    /// Whether their default routes may lead over it.
    pub default_route: DefaultRoute,
    /// The routes that they have besides.
    pub routes: Vec<NetworkRoute>,
    /// Maximum transmission unit, if one was asked for.
    pub mtu: Option<Mtu>,
    /// The interface that its endpoints sit on, if the driver needs one.
    pub parent: Option<Parent>,
}

/// The options that a driver knows.
fn options(driver: Driver) -> &'static [&'static str] {
    match driver {
        Driver::Macvlan => &["mode", "mtu", "parent"],
        Driver::Ipvlan => &["flag", "mode", "mtu", "parent"],
        _ => BRIDGE_OPTIONS,
    }
}

/// The options that the bridge driver knows, and that can be changed.
pub(crate) const BRIDGE_OPTIONS: &[&str] = &["gateway-mode", "mtu"];

impl NetworkCreate {
    /// A network with everything but its name chosen by the daemon.
    pub fn new(name: NetworkName) -> Self {
        Self {
            name,
            driver: None,
            subnets: Vec::new(),
            gateways: Vec::new(),
            ip_ranges: Vec::new(),
            reserve: Vec::new(),
            ipv4: true,
            ipv6: false,
            internal: false,
            icc: true,
            default_route: true,
            routes: Vec::new(),
            gateway_mode: None,
            mtu: None,
            name_servers: Vec::new(),
            labels: Labels::new(),
            options: BTreeMap::new(),
        }
    }

    /// What was asked for, if it makes sense.
    ///
    /// # Errors
    /// [`NetworkCreateError`] says what cannot be had, and why.
    pub fn plan(&self) -> Result<NetworkPlan, NetworkCreateError> {
        if NetworkMode::reserves(&self.name) {
            return Err(NetworkCreateError::ReservedName { name: self.name.clone() });
        }
        let subnets = self.planned_subnets()?;
        let has = |family| subnets.iter().any(|subnet| subnet.family() == family);
        if !self.ipv4
            && let Some(subnet) = subnets.iter().find(|subnet| subnet.family() == Family::Ipv4)
        {
            return Err(NetworkCreateError::Ipv4Subnet { name: self.name.clone(), range: subnet.range() });
        }
        let automatic: Vec<Family> = [(Family::Ipv4, self.ipv4), (Family::Ipv6, self.ipv6)]
            .into_iter()
            .filter_map(|(family, wanted)| (wanted && !has(family)).then_some(family))
            .collect();
        if subnets.is_empty() && automatic.is_empty() {
            return Err(NetworkCreateError::NoFamily { name: self.name.clone() });
        }
        let driver = self.driver.unwrap_or(Driver::Bridge);
        let (mtu, mode) = self.planned_options(driver)?;
        let parent = self.planned_parent(driver, mode, &automatic)?;
        if !self.icc && driver.sits_on_parent() {
            let what = "containers that are kept apart";
            return Err(NetworkCreateError::NotOfDriver { name: self.name.clone(), what, driver });
        }
        if let Some(mtu) = mtu.filter(|mtu| mtu.octets() < IPV6_MTU)
            && (has(Family::Ipv6) || automatic.contains(&Family::Ipv6))
        {
            return Err(NetworkCreateError::SmallMtu { name: self.name.clone(), mtu });
        }
        check_routes(&self.name, &self.routes, &subnets, &automatic, parent.as_ref())?;
        Ok(NetworkPlan {
            driver,
            reserved: self.planned_reservations(&subnets)?,
            subnets,
            automatic,
            reach: match driver.sits_on_parent() {
                true if self.internal => Reach::Isolated,
                true => Reach::Lan,
                false => self.planned_reach(mode)?,
            },
            icc: self.icc.into(),
            default_route: self.default_route.into(),
            routes: self.routes.clone(),
            mtu,
            parent,
        })
    }

    fn planned_subnets(&self) -> Result<Vec<Subnet>, NetworkCreateError> {
        let gateways = self.by_subnet(
            &self.gateways,
            "gateways",
            |gateway| (*gateway).into(),
            |gateway| format!("gateway {gateway}"),
        )?;
        let pools = self.by_subnet(&self.ip_ranges, "ranges", |pool| *pool, |pool| format!("range {pool}"))?;
        let mut subnets: Vec<Subnet> = Vec::new();
        for (index, range) in self.subnets.iter().enumerate() {
            let subnet = Subnet::new(*range, gateways.get(&index).copied())
                .and_then(|subnet| subnet.with_pool(pools.get(&index).copied()))
                .map_err(|source| NetworkCreateError::Subnet { name: self.name.clone(), range: *range, source })?;
            let overlaps = |other: &&Subnet| range.contains(&other.range()) || other.range().contains(range);
            if let Some(other) = subnets.iter().find(overlaps) {
                let (first, second) = (other.range(), *range);
                return Err(NetworkCreateError::SubnetsOverlap { name: self.name.clone(), first, second });
            }
            subnets.push(subnet);
        }
        Ok(subnets)
    }

    /// Each item under the number of the subnet that it lies in.
    fn by_subnet<T: Copy>(
        &self,
        items: &[T],
        plural: &'static str,
        range_of: impl Fn(&T) -> IpNet,
        text: impl Fn(&T) -> String,
    ) -> Result<BTreeMap<usize, T>, NetworkCreateError> {
        let mut placed = BTreeMap::new();
        for item in items {
            let range = range_of(item);
            let Some(index) = self.subnets.iter().position(|subnet| subnet.contains(&range)) else {
                return Err(NetworkCreateError::NoSubnet { name: self.name.clone(), what: text(item) });
            };
            if placed.insert(index, *item).is_some() {
                let range = self.subnets[index];
                return Err(NetworkCreateError::Twice { name: self.name.clone(), what: plural, range });
            }
        }
        Ok(placed)
    }

    fn planned_reservations(&self, subnets: &[Subnet]) -> Result<Vec<Reservation>, NetworkCreateError> {
        for (index, reservation) in self.reserve.iter().enumerate() {
            let (name, address) = (self.name.clone(), reservation.address());
            let Some(subnet) = subnets.iter().find(|subnet| subnet.range().contains(&address)) else {
                return Err(NetworkCreateError::NoSubnet { name, what: format!("reserved address {address}") });
            };
            if !subnet.is_endpoint_address(address) {
                let reason = "it is the gateway's, or the first or last of its subnet, and no container is given it";
                return Err(NetworkCreateError::Reserve { name, address, reason });
            }
            if self.reserve[..index].iter().any(|other| other.address() == address) {
                return Err(NetworkCreateError::Reserve { name, address, reason: "it is reserved twice" });
            }
        }
        Ok(self.reserve.clone())
    }

    fn planned_options(&self, driver: Driver) -> Result<(Option<Mtu>, Option<GatewayMode>), NetworkCreateError> {
        let (mut mtu, mut mode, known) = (self.mtu, self.gateway_mode, options(driver));
        for (key, value) in &self.options {
            let name = self.name.clone();
            let twice = |what| NetworkCreateError::OptionTwice { name: self.name.clone(), what };
            match key.as_str() {
                "mtu" if mtu.is_some() => return Err(twice("an MTU")),
                "mtu" => {
                    mtu = Some(value.parse().map_err(|source| NetworkCreateError::MtuOption { name, source })?);
                }
                "gateway-mode" if mode.is_some() => return Err(twice("a gateway mode")),
                "gateway-mode" => {
                    mode =
                        Some(value.parse().map_err(|source| NetworkCreateError::GatewayModeOption { name, source })?);
                }
                "parent" | "mode" | "flag" if known.contains(&key.as_str()) => {}
                _ => {
                    let key = key.chars().take(80).collect();
                    return Err(NetworkCreateError::UnknownOption { name, key, known });
                }
            }
        }
        Ok((mtu, mode))
    }

    /// What its endpoints sit on; nothing with a bridge.
    fn planned_parent(
        &self,
        driver: Driver,
        gateway_mode: Option<GatewayMode>,
        automatic: &[Family],
    ) -> Result<Option<Parent>, NetworkCreateError> {
        let name = || self.name.clone();
        if !driver.sits_on_parent() {
            return Ok(None);
        }
        if gateway_mode.is_some() {
            return Err(NetworkCreateError::NotOfDriver { name: name(), what: "a gateway mode", driver });
        }
        let Some(interface) = self.options.get("parent") else {
            return Err(NetworkCreateError::NoParent { name: name() });
        };
        if let Some(family) = automatic.first() {
            return Err(NetworkCreateError::NeedsSubnet { name: name(), family: *family });
        }
        let refuse = |option, reason: String| NetworkCreateError::ParentOption { name: name(), option, reason };
        let interface =
            interface.parse().map_err(|error: model::ParseIfNameError| refuse("parent", error.to_string()))?;
        let kind = match driver {
            Driver::Ipvlan => SubInterfaceKind::Ipvlan { mode: self.option("mode")?, flag: self.option("flag")? },
            _ => SubInterfaceKind::Macvlan { mode: self.option("mode")? },
        };
        if let Some(gateway) = self.gateways.first().filter(|_| !kind.has_neighbours()) {
            return Err(NetworkCreateError::NoNeighbours { name: name(), gateway: *gateway, kind });
        }
        Ok(Some(Parent { interface, kind }))
    }

    /// The value of an option that is one of a few words, or its default.
    fn option<T: FromStr<Err: Display> + Default>(&self, option: &'static str) -> Result<T, NetworkCreateError> {
        let Some(value) = self.options.get(option) else { return Ok(T::default()) };
        value.parse().map_err(|error: T::Err| NetworkCreateError::ParentOption {
            name: self.name.clone(),
            option,
            reason: error.to_string(),
        })
    }

    fn planned_reach(&self, mode: Option<GatewayMode>) -> Result<Reach, NetworkCreateError> {
        match (self.internal, mode) {
            (_, Some(GatewayMode::Isolated)) => Ok(Reach::Isolated),
            (true, None) => Ok(Reach::Internal),
            (true, Some(mode)) => Err(NetworkCreateError::InternalMode { name: self.name.clone(), mode }),
            (false, None | Some(GatewayMode::Nat)) => Ok(Reach::Nat),
            (false, Some(GatewayMode::Routed)) => Ok(Reach::Routed),
        }
    }
}

#[cfg(test)]
mod tests;
