//! Routes that a network gives its containers besides the default route.

use std::{fmt, net::IpAddr, num::NonZeroU32, str::FromStr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{Family, interface_itself, leads_to_itself};

/// A route as it is asked for. Text form: `DESTINATION[,GATEWAY[,METRIC]]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NetworkRoute {
    destination: IpNet,
    gateway: Option<IpAddr>,
    metric: Option<NonZeroU32>,
}

/// Why a text is no route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no route: {reason}", .text.escape_debug())]
pub struct ParseNetworkRouteError {
    text: String,
    reason: RouteFault,
}

/// What is wrong with a route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum RouteFault {
    #[error("expected DESTINATION[,GATEWAY[,METRIC]], such as 192.0.2.0/24,10.1.2.1")]
    Form,
    #[error("{0} is not a network address; did you mean {aligned}?", aligned = .0.trunc())]
    HostBits(IpNet),
    #[error("everything is where the default route leads; choose a part of it")]
    Default,
    #[error(
        "{0} cannot be routed to: it holds loopback, link-local, multicast or reserved addresses; choose another range"
    )]
    NotUnicast(IpNet),
    #[error("a gateway of {} does not lead to {}; choose one of the same family", Family::of(*.gateway), .destination)]
    Family { destination: IpNet, gateway: IpAddr },
    #[error("expected a metric from 1 to 4294967295")]
    Metric,
}

/// The metric that the kernel gives a route made without (`IP6_RT_PRIO_USER` in `include/uapi/linux/ipv6_route.h`).
fn metric(family: Family) -> u32 {
    match family {
        Family::Ipv4 => 0,
        Family::Ipv6 => 1024,
    }
}

impl NetworkRoute {
    /// What it leads to.
    pub fn destination(&self) -> IpNet {
        self.destination
    }

    /// Whom it leads by; none for the gateway of the subnet that a container has its address from.
    pub fn gateway(&self) -> Option<IpAddr> {
        self.gateway
    }

    /// The family of its addresses.
    pub fn family(&self) -> Family {
        Family::of(self.destination.addr())
    }

    /// How it stands back behind others to the same destination.
    pub fn metric(&self) -> u32 {
        self.metric.map_or_else(|| metric(self.family()), NonZeroU32::get)
    }

    fn parse(text: &str) -> Result<Self, RouteFault> {
        let mut parts = text.split(',');
        let destination: IpNet = parts.next().and_then(|part| part.parse().ok()).ok_or(RouteFault::Form)?;
        let gateway: Option<IpAddr> = parts.next().map(str::parse).transpose().map_err(|_| RouteFault::Form)?;
        let metric = parts.next().map(str::parse).transpose().map_err(|_| RouteFault::Metric)?;
        if parts.next().is_some() {
            return Err(RouteFault::Form);
        }
        if destination != destination.trunc() {
            return Err(RouteFault::HostBits(destination));
        }
        if destination.prefix_len() == 0 {
            return Err(RouteFault::Default);
        }
        if !crate::subnet::is_unicast(destination) {
            return Err(RouteFault::NotUnicast(destination));
        }
        match gateway.filter(|gateway| Family::of(*gateway) != Family::of(destination.addr())) {
            Some(gateway) => Err(RouteFault::Family { destination, gateway }),
            None => Ok(Self { destination, gateway, metric }),
        }
    }
}

impl FromStr for NetworkRoute {
    type Err = ParseNetworkRouteError;

    fn from_str(text: &str) -> Result<Self, ParseNetworkRouteError> {
        Self::parse(text).map_err(|reason| ParseNetworkRouteError { text: text.chars().take(80).collect(), reason })
    }
}

impl TryFrom<String> for NetworkRoute {
    type Error = ParseNetworkRouteError;

    fn try_from(text: String) -> Result<Self, ParseNetworkRouteError> {
        text.parse()
    }
}

impl From<NetworkRoute> for String {
    fn from(route: NetworkRoute) -> String {
        route.to_string()
    }
}

impl fmt::Display for NetworkRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.destination.fmt(f)?;
        self.gateway.map_or(Ok(()), |gateway| write!(f, ",{gateway}"))?;
        self.metric.map_or(Ok(()), |metric| write!(f, ",{metric}"))
    }
}

/// A route in a container's namespace, over one of its interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route {
    /// What it leads to.
    pub destination: IpNet,
    /// Whom it leads by, or what [`leads_to_itself`].
    pub gateway: IpAddr,
    /// How it stands back behind others to the same destination.
    pub metric: u32,
}

impl Route {
    /// The default route by a gateway, as Fabric makes it.
    pub fn default(gateway: IpAddr) -> Self {
        let unspecified = interface_itself(Family::of(gateway));
        let destination = IpNet::new(unspecified, 0).expect("no prefix is shorter");
        Self { destination, gateway, metric: metric(Family::of(gateway)) }
    }

    /// What tells it from other routes of a namespace: the kernel has one of each.
    pub fn key(&self) -> (IpNet, u32) {
        (self.destination, self.metric)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = Family::of(self.gateway);
        match self.destination.prefix_len() {
            0 if leads_to_itself(self.gateway) => write!(f, "{family} default itself")?,
            0 => write!(f, "default via {}", self.gateway)?,
            _ if leads_to_itself(self.gateway) => write!(f, "{} itself", self.destination)?,
            _ => write!(f, "{} via {}", self.destination, self.gateway)?,
        }
        if self.metric == metric(family) { Ok(()) } else { write!(f, " metric {}", self.metric) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_read_as_people_write_them() {
        for (text, metric) in [
            ("192.0.2.0/24", 0),
            ("192.0.2.9/32,10.1.2.1", 0),
            ("192.0.2.0/24,10.1.2.1,7", 7),
            ("2001:db8::/32", 1024),
            ("2001:db8::/32,fd00::1,4294967295", u32::MAX),
        ] {
            let route: NetworkRoute = text.parse().expect(text);
            assert_eq!((route.to_string().as_str(), route.metric()), (text, metric));
        }
    }

    #[test]
    fn what_is_wrong_with_a_route_is_told() {
        for (text, expected) in [
            ("", "expected DESTINATION"),
            ("192.0.2.0", "expected DESTINATION"),
            ("192.0.2.0/24,", "expected DESTINATION"),
            ("192.0.2.0/24,10.1.2.1,1,1", "expected DESTINATION"),
            ("192.0.2.0/24,10.1.2.1,0", "expected a metric"),
            ("192.0.2.7/24", "192.0.2.7/24 is not a network address; did you mean 192.0.2.0/24?"),
            ("2001:db8::1/32", "2001:db8::1/32 is not a network address; did you mean 2001:db8::/32?"),
            ("0.0.0.0/0", "everything is where the default route leads"),
            ("::/0,fd00::1", "everything is where the default route leads"),
            ("127.0.0.0/8", "127.0.0.0/8 cannot be routed to"),
            ("128.0.0.0/1", "128.0.0.0/1 cannot be routed to"),
            ("fe80::/64", "fe80::/64 cannot be routed to"),
            ("192.0.2.0/24,fd00::1", "a gateway of IPv6 does not lead to 192.0.2.0/24"),
        ] {
            let error = text.parse::<NetworkRoute>().expect_err(text).to_string();
            assert!(error.starts_with(&format!("`{text}` is no route: {expected}")), "{error}");
        }
    }
}
