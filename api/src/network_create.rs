//! What is asked of a new network, and what can be wrong with that.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use model::{
    Driver, Family, GatewayMode, Labels, NameServer, NetworkName, ParseGatewayModeError, Reach, Reservation, Subnet,
    SubnetError,
};
use serde::{Deserialize, Serialize};

use crate::{Mtu, ParseMtuError, checked};

/// Asks for a network: `POST /v1/networks`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkCreate {
    /// Its name.
    pub name: NetworkName,
    /// What makes it; a bridge if absent.
    #[serde(default)]
    pub driver: Option<Driver>,
    /// The ranges to address endpoints from, of either family; a family without one has a range that is free on this host.
    #[serde(default)]
    pub subnets: Vec<IpNet>,
    /// The gateways' addresses, each in one of the subnets; a subnet without one has its first host address.
    #[serde(default)]
    pub gateways: Vec<IpAddr>,
    /// Parts of the subnets that automatic addresses come from, each in one of them; the whole subnet if absent.
    #[serde(default)]
    pub ip_ranges: Vec<IpNet>,
    /// Addresses of the subnets that no endpoint is given, each `ADDRESS[=WHY]`.
    #[serde(default)]
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
    /// How its gateway joins it to the rest of the world; `nat` if absent.
    #[serde(default)]
    pub gateway_mode: Option<GatewayMode>,
    /// Maximum transmission unit, in octets; the uplink's if absent.
    #[serde(default)]
    pub mtu: Option<Mtu>,
    /// Whom its containers' names that are not containers' are asked of; the host's resolvers if empty.
    #[serde(default)]
    pub name_servers: Vec<NameServer>,
    /// What to attach to it, for people.
    #[serde(default, deserialize_with = "checked::labels")]
    pub labels: Labels,
    /// What the driver knows besides: `mtu` and `gateway-mode`, for those who write settings of other tools' form.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

fn yes() -> bool {
    true
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
    /// Maximum transmission unit, if one was asked for.
    pub mtu: Option<Mtu>,
}

/// The options that the bridge driver knows.
const OPTIONS: [&str; 2] = ["gateway-mode", "mtu"];
/// The smallest MTU of a link that carries IPv6 (RFC 8200 §5).
const IPV6_MTU: u32 = 1280;

/// Why a network cannot be as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkCreateError {
    /// The range and the gateway do not fit together, or the range cannot be used.
    #[error("network `{name}` cannot have the subnet {range}")]
    Subnet {
        /// The network.
        name: NetworkName,
        /// The range asked for.
        range: IpNet,
        /// What is wrong with it.
        #[source]
        source: SubnetError,
    },
    /// Two of its subnets share addresses.
    #[error("network `{name}` cannot have the subnets {first} and {second}: they overlap")]
    SubnetsOverlap {
        /// The network.
        name: NetworkName,
        /// One range.
        first: IpNet,
        /// The other.
        second: IpNet,
    },
    /// A gateway, a range or a reserved address lies in no subnet that was asked for.
    #[error("network `{name}` has no subnet for the {what}; give one that holds it with --subnet")]
    NoSubnet {
        /// The network.
        name: NetworkName,
        /// What it is that has no place.
        what: String,
    },
    /// Two gateways or two ranges are of one subnet.
    #[error("network `{name}` has two {what} for the subnet {range}; give one")]
    Twice {
        /// The network.
        name: NetworkName,
        /// What there are two of.
        what: &'static str,
        /// The subnet.
        range: IpNet,
    },
    /// A reserved address is one that no endpoint is given anyway, or is reserved twice.
    #[error("network `{name}` cannot reserve {address}: {reason}")]
    Reserve {
        /// The network.
        name: NetworkName,
        /// The address.
        address: IpAddr,
        /// Why not.
        reason: &'static str,
    },
    /// It is to be without IPv4 and to have it.
    #[error("network `{name}` cannot be without IPv4 and have the subnet {range}")]
    Ipv4Subnet {
        /// The network.
        name: NetworkName,
        /// The subnet of IPv4.
        range: IpNet,
    },
    /// It would have no addresses.
    #[error("network `{name}` needs IPv6 if it is to be without IPv4; add --ipv6")]
    NoFamily {
        /// The network.
        name: NetworkName,
    },
    /// An internal network has no way out that could be of one kind or another.
    #[error(
        "network `{name}` cannot be internal with gateway mode {mode}; an internal network takes none, or isolated"
    )]
    InternalMode {
        /// The network.
        name: NetworkName,
        /// The mode asked for.
        mode: GatewayMode,
    },
    /// Links with IPv6 cannot have so small an MTU.
    #[error("network `{name}` has IPv6, so its MTU must be at least {IPV6_MTU}, not {mtu}")]
    SmallMtu {
        /// The network.
        name: NetworkName,
        /// The MTU asked for.
        mtu: Mtu,
    },
    /// The driver knows no such option.
    #[error("network `{name}` cannot have the option `{}`; known: {}", .key.escape_debug(), OPTIONS.join(", "))]
    UnknownOption {
        /// The network.
        name: NetworkName,
        /// The option's key.
        key: String,
    },
    /// Something is said by an option and by a field of its own.
    #[error("network `{name}` has {what} twice, once as an option; give it once")]
    OptionTwice {
        /// The network.
        name: NetworkName,
        /// What is said twice.
        what: &'static str,
    },
    /// An option's value is not an MTU.
    #[error("network `{name}` cannot have the option `mtu`")]
    MtuOption {
        /// The network.
        name: NetworkName,
        /// What is wrong with it.
        #[source]
        source: ParseMtuError,
    },
    /// An option's value is not a gateway mode.
    #[error("network `{name}` cannot have the option `gateway-mode`")]
    GatewayModeOption {
        /// The network.
        name: NetworkName,
        /// What is wrong with it.
        #[source]
        source: ParseGatewayModeError,
    },
}

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
        let (mtu, mode) = self.planned_options()?;
        if let Some(mtu) = mtu.filter(|mtu| mtu.octets() < IPV6_MTU)
            && (has(Family::Ipv6) || automatic.contains(&Family::Ipv6))
        {
            return Err(NetworkCreateError::SmallMtu { name: self.name.clone(), mtu });
        }
        Ok(NetworkPlan {
            driver: self.driver.unwrap_or(Driver::Bridge),
            reserved: self.planned_reservations(&subnets)?,
            subnets,
            automatic,
            reach: self.planned_reach(mode)?,
            mtu,
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

    fn planned_options(&self) -> Result<(Option<Mtu>, Option<GatewayMode>), NetworkCreateError> {
        let (mut mtu, mut mode) = (self.mtu, self.gateway_mode);
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
                _ => {
                    let key = key.chars().take(80).collect();
                    return Err(NetworkCreateError::UnknownOption { name, key });
                }
            }
        }
        Ok((mtu, mode))
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
