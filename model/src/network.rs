//! A network: a named L2 segment with one or more subnets, and the driver that makes it.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Endpoint, Family, IfName, Labels, MacAddress, NameServer, NetworkId, NetworkName, NetworkRoute, Parent, Reach,
    Reservation, Route, Subnet, Vlan, interface_itself,
};

/// A network as it was asked for and completed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Drawn at creation, never reused.
    pub id: NetworkId,
    /// Unique on the host.
    pub name: NetworkName,
    /// What makes it.
    pub driver: Driver,
    /// The interface of the host that its endpoints sit on, if the driver needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// The VLAN that the parent is an interface for, if Fabric makes that interface. It is there as long as a network
    /// has it made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<Vlan>,
    /// The subnets its endpoints are addressed from: each has an address of every family there is one of, from the
    /// first subnet that has room.
    pub subnets: Vec<Subnet>,
    /// Addresses of the subnets that no endpoint is given.
    pub reserved: Vec<Reservation>,
    /// How far its containers get.
    pub reach: Reach,
    /// Whether they reach each other.
    #[serde(default, skip_serializing_if = "Icc::is_on")]
    pub icc: Icc,
    /// Whether their default routes may lead over it.
    #[serde(default, skip_serializing_if = "DefaultRoute::is_offered")]
    pub default_route: DefaultRoute,
    /// The routes that they have besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<NetworkRoute>,
    /// MAC address of the gateway, that is of the bridge.
    pub gateway_mac: MacAddress,
    /// Maximum transmission unit of every link of the network, in octets.
    pub mtu: u32,
    /// Where that comes from.
    #[serde(default)]
    pub mtu_source: MtuSource,
    /// Whom its containers' names that are not containers' are asked of; none means the host's resolvers.
    #[serde(default)]
    pub name_servers: Vec<NameServer>,
    /// What a person attached to it.
    pub labels: Labels,
    /// When it was created.
    pub created_at: Timestamp,
}

impl NetworkId {
    /// A locally administered MAC address that is a network's own: made of its identifier.
    pub fn mac(&self) -> MacAddress {
        MacAddress::of_identifier(self.as_str())
    }
}

impl Network {
    /// The bridge's interface name in the host's namespace: `fb-` and 12 digits of the network's identifier.
    pub fn bridge(&self) -> IfName {
        self.id.bridge()
    }

    /// Its subnets of one family.
    pub fn subnets_of(&self, family: Family) -> impl Iterator<Item = &Subnet> {
        self.subnets.iter().filter(move |subnet| subnet.family() == family)
    }

    /// The subnets whose gateways' addresses the host has.
    pub fn gateways(&self) -> impl Iterator<Item = &Subnet> {
        self.subnets.iter().filter(|_| self.reach.has_gateway())
    }

    /// The subnet that holds an address.
    pub fn subnet_with(&self, address: IpAddr) -> Option<&Subnet> {
        self.subnets.iter().find(|subnet| subnet.range().contains(&address))
    }

    /// Whether there are neighbours, who are asked for their MAC addresses. Otherwise the gateways of its subnets are
    /// nobody, and default routes lead to the interfaces themselves.
    pub fn has_neighbours(&self) -> bool {
        self.parent.as_ref().is_none_or(|parent| parent.kind.has_neighbours())
    }

    /// Where an endpoint sends IPv4 packets to the rest of the world: the gateway of its subnet, if anything is
    /// forwarded.
    pub fn gateway_of(&self, endpoint: &Endpoint) -> Option<Ipv4Addr> {
        match self.subnet_with(endpoint.ipv4.filter(|_| self.reach.has_way_out())?.into())?.gateway() {
            IpAddr::V4(gateway) => Some(gateway),
            IpAddr::V6(_) => None,
        }
    }

    /// The same for IPv6.
    pub fn gateway6_of(&self, endpoint: &Endpoint) -> Option<Ipv6Addr> {
        match self.subnet_with(endpoint.ipv6.filter(|_| self.reach.has_way_out())?.into())?.gateway() {
            IpAddr::V4(_) => None,
            IpAddr::V6(gateway) => Some(gateway),
        }
    }

    /// The gateway by which an endpoint reaches what is beyond the network, if it does: a container's default route
    /// leads there if that endpoint has it.
    pub fn way_out(&self, endpoint: &Endpoint, family: Family) -> Option<IpAddr> {
        match family {
            _ if !self.default_route.is_offered() => None,
            Family::Ipv4 => self.gateway_of(endpoint).map(IpAddr::from),
            Family::Ipv6 => self.gateway6_of(endpoint).map(IpAddr::from),
        }
    }

    /// The routes that an endpoint is to have besides the default route: those whose gateway its own subnet has. A
    /// bridge passes nothing on where there is no way out; a LAN's routers do as they like.
    pub fn routes_of(&self, endpoint: &Endpoint) -> impl Iterator<Item = Route> {
        let leads_further = self.driver.sits_on_parent() || self.reach.has_way_out();
        let route = move |route: &NetworkRoute| {
            let address = endpoint.addresses().find(|address| Family::of(*address) == route.family())?;
            let subnet = self.subnet_with(address)?;
            let gateway = route.gateway().unwrap_or_else(|| subnet.gateway());
            let gateway = if self.has_neighbours() { gateway } else { interface_itself(route.family()) };
            let is_reached = !self.has_neighbours() || subnet.range().contains(&gateway);
            is_reached.then_some(Route { destination: route.destination(), gateway, metric: route.metric() })
        };
        self.routes.iter().filter(move |_| leads_further).filter_map(route)
    }
}

/// Whether the default routes of a network's containers may lead over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DefaultRoute {
    /// They may, if it has a way out.
    #[default]
    Offered,
    /// They do not, whatever is beyond it.
    Withheld,
}

impl DefaultRoute {
    /// Whether they may.
    pub fn is_offered(&self) -> bool {
        *self == Self::Offered
    }
}

impl From<bool> for DefaultRoute {
    fn from(offered: bool) -> Self {
        if offered { Self::Offered } else { Self::Withheld }
    }
}

/// Inter-container communication: whether the containers of a network reach each other by it. Where they do not, nor by
/// the ports that they publish, they still reach the gateway and what is beyond it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Icc {
    /// They do.
    #[default]
    On,
    /// They do not.
    Off,
}

impl Icc {
    /// Whether they do.
    pub fn is_on(&self) -> bool {
        *self == Self::On
    }
}

impl From<bool> for Icc {
    fn from(on: bool) -> Self {
        if on { Self::On } else { Self::Off }
    }
}

/// Where a network's MTU comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MtuSource {
    /// A person said it.
    #[default]
    Fixed,
    /// It is that of the interface by which packets leave the host, the parent's if there is one, and follows it.
    Uplink,
}

impl MtuSource {
    /// The largest MTU of an Ethernet link (`ETH_MAX_MTU` in `include/uapi/linux/if_ether.h`).
    const LARGEST: u32 = 65_535;

    /// The MTU of a network with these subnets that follows an uplink: the uplink's, as far as links of the network can
    /// have it.
    pub fn following(uplink: u32, subnets: &[Subnet]) -> u32 {
        let ipv6 = subnets.iter().any(|subnet| subnet.family() == Family::Ipv6);
        uplink.clamp(if ipv6 { IPV6_MTU } else { IPV4_MTU }, Self::LARGEST)
    }
}

/// The smallest MTU of a link that carries IPv4 (RFC 791, `ETH_MIN_MTU`).
const IPV4_MTU: u32 = 68;
/// The smallest MTU of a link that carries IPv6 (RFC 8200 §5).
pub const IPV6_MTU: u32 = 1280;

/// What makes a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Driver {
    /// A Linux bridge in the host's namespace, routed and masqueraded towards the outside.
    Bridge,
    /// An interface of its own for each endpoint on one of the host's, whose LAN the network is.
    Macvlan,
    /// The same with the parent's MAC address.
    Ipvlan,
}

impl Driver {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Bridge, Self::Ipvlan, Self::Macvlan];

    /// Whether endpoints sit on an interface of the host's, the network's parent; otherwise they are ports of a bridge.
    pub fn sits_on_parent(self) -> bool {
        match self {
            Self::Bridge => false,
            Self::Macvlan | Self::Ipvlan => true,
        }
    }
}

/// Why a text is not a driver's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no driver `{}`; known: bridge, ipvlan, macvlan", .0.escape_debug())]
pub struct ParseDriverError(String);

impl FromStr for Driver {
    type Err = ParseDriverError;

    fn from_str(text: &str) -> Result<Self, ParseDriverError> {
        match text {
            "bridge" => Ok(Self::Bridge),
            "macvlan" => Ok(Self::Macvlan),
            "ipvlan" => Ok(Self::Ipvlan),
            _ => Err(ParseDriverError(text.chars().take(80).collect())),
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bridge => f.write_str("bridge"),
            Self::Macvlan => f.write_str("macvlan"),
            Self::Ipvlan => f.write_str("ipvlan"),
        }
    }
}
