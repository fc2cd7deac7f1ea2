//! What can be wrong with what is asked of a new network.

use std::net::IpAddr;

use ipnet::IpNet;
use model::{
    Driver, Family, GatewayMode, IPV6_MTU, NetworkName, NetworkRoute, ParseGatewayModeError, SubInterfaceKind,
    SubnetError,
};

use crate::{Mtu, ParseMtuError};

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
    /// It would be taken for something else.
    #[error("a network cannot be called `{name}`: `--network {name}` is a mode of containers; choose another name")]
    ReservedName {
        /// The network.
        name: NetworkName,
    },
    /// The driver needs to know what to sit on.
    #[error("network `{name}` needs an interface of the host to sit on; add --opt parent=INTERFACE")]
    NoParent {
        /// The network.
        name: NetworkName,
    },
    /// The driver cannot choose addresses on somebody else's LAN.
    #[error("network `{name}` needs the {family} subnet of the LAN, or to be without {family}")]
    NeedsSubnet {
        /// The network.
        name: NetworkName,
        /// The family without a subnet.
        family: Family,
    },
    /// It is for another driver.
    #[error("network `{name}` cannot have {what} with driver {driver}")]
    NotOfDriver {
        /// The network.
        name: NetworkName,
        /// What cannot be had.
        what: &'static str,
        /// The driver.
        driver: Driver,
    },
    /// An option's value cannot be used.
    #[error("network `{name}` cannot have the option `{option}`: {reason}")]
    ParentOption {
        /// The network.
        name: NetworkName,
        /// The option.
        option: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A gateway is a neighbour, and there are none.
    #[error(
        "network `{name}` cannot have the gateway {gateway}: with {kind} the host's kernel routes what containers send"
    )]
    NoNeighbours {
        /// The network.
        name: NetworkName,
        /// The gateway asked for.
        gateway: IpAddr,
        /// What its endpoints are.
        kind: SubInterfaceKind,
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
    /// A route that its containers could not have, or that would lead nowhere.
    #[error("network `{name}` cannot have the route {route}: {reason}")]
    Route {
        /// The network.
        name: NetworkName,
        /// The route.
        route: NetworkRoute,
        /// What is wrong with it.
        reason: String,
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
    #[error("network `{name}` cannot be internal with gateway mode {mode}; give none, or isolated")]
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
    #[error("network `{name}` cannot have the option `{}`; known: {}", .key.escape_debug(), .known.join(", "))]
    UnknownOption {
        /// The network.
        name: NetworkName,
        /// The option's key.
        key: String,
        /// The keys that the driver knows.
        known: &'static [&'static str],
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
