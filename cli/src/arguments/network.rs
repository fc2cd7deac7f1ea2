//! Arguments about networks.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use api::{Mtu, MtuChoice, Network, Reference};
use clap::{ArgAction, Args, Subcommand};
use ipnet::IpNet;
use model::{
    ContainerIfName, ContainerName, Driver, Family, GatewayMode, Label, MacAddress, NameServer, NetworkName,
    NetworkRoute, Reservation, whole_number,
};

use crate::{filter::Filter, objects};

/// What can be done with networks.
#[derive(Debug, Subcommand)]
pub(crate) enum NetworkCommand {
    /// Make a network.
    Create(CreateNetworkArguments),
    /// List networks.
    Ls(ListNetworksArguments),
    /// Show everything about networks.
    Inspect(InspectNetworksArguments),
    /// Attach a container to a network, while it runs or not.
    Connect(ConnectArguments),
    /// Change a network while it is used: all that is said, or nothing.
    Update(UpdateNetworkArguments),
    /// End a container's attachment to a network.
    Disconnect(DisconnectArguments),
    /// Remove networks that no container is attached to.
    Rm(RemoveNetworksArguments),
    /// Remove every network that no container is attached to.
    Prune(PruneNetworksArguments),
}

/// `fabric network create`.
#[derive(Debug, Args)]
pub(crate) struct CreateNetworkArguments {
    /// The network's name: lower-case letters, digits and hyphens.
    pub(crate) name: NetworkName,
    /// What makes the network: bridge, or macvlan or ipvlan on an interface of the host [default: bridge].
    #[arg(long)]
    pub(crate) driver: Option<Driver>,
    /// The addresses of its containers, such as 10.1.2.0/24 or fd00:1:2::/64; can be repeated [default: a free range].
    #[arg(long = "subnet", value_name = "RANGE", value_parser = range)]
    pub(crate) subnets: Vec<IpNet>,
    /// The gateway's address in one of the subnets; can be repeated [default: the first of each].
    #[arg(long = "gateway", value_name = "ADDRESS", requires = "subnets")]
    pub(crate) gateways: Vec<IpAddr>,
    /// The part of a subnet that automatic addresses come from; can be repeated [default: all of each].
    #[arg(long = "ip-range", value_name = "RANGE", value_parser = range, requires = "subnets")]
    pub(crate) ip_ranges: Vec<IpNet>,
    /// An address of a subnet that no container is given, and why; can be repeated.
    #[arg(long, value_name = "ADDRESS[=WHY]", requires = "subnets")]
    pub(crate) reserve: Vec<Reservation>,
    /// With IPv6: in a free unique local range (RFC 4193) unless a subnet is given.
    #[arg(long)]
    pub(crate) ipv6: bool,
    /// Without IPv4.
    #[arg(long)]
    pub(crate) no_ipv4: bool,
    /// Without a way out or in: containers reach each other and the host, DNS knows containers only.
    #[arg(long)]
    pub(crate) internal: bool,
    /// Whether its containers reach each other by it.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = ArgAction::Set)]
    pub(crate) icc: bool,
    /// Give its containers no default route.
    #[arg(long)]
    pub(crate) no_default_route: bool,
    /// A route that its containers have besides, by the gateway of their subnet unless another is named; can be
    /// repeated.
    #[arg(long = "route", value_name = "RANGE[,GATEWAY[,METRIC]]")]
    pub(crate) routes: Vec<NetworkRoute>,
    /// How it is joined to the outside: nat (behind the host's address), routed (with its own), isolated (not even to
    /// the host) [default: nat].
    #[arg(long, value_name = "MODE")]
    pub(crate) gateway_mode: Option<GatewayMode>,
    /// The maximum transmission unit, in octets [default: the uplink's, or the parent's].
    #[arg(long, value_name = "OCTETS")]
    pub(crate) mtu: Option<Mtu>,
    /// Ask this server for names that are not containers' [default: the host's]; can be repeated.
    #[arg(long = "dns", value_name = "ADDRESS[:PORT]")]
    pub(crate) name_servers: Vec<NameServer>,
    /// An option of the driver: mtu, gateway-mode; parent and mode of macvlan and ipvlan, flag of ipvlan; can be
    /// repeated.
    #[arg(short, long = "opt", value_name = "KEY=VALUE")]
    pub(crate) options: Vec<Label>,
    /// Attach a label; can be repeated.
    #[arg(short, long = "label", value_name = "KEY=VALUE")]
    pub(crate) labels: Vec<Label>,
}

/// A range of addresses. What `ipnet` says of one that is none does not tell which part is wrong.
fn range(text: &str) -> Result<IpNet, String> {
    let expected = "expected an address and the length of its prefix, such as 10.1.2.0/24 or fd00:1:2::/64";
    let (address, prefix) = text.split_once('/').ok_or(expected)?;
    let address: IpAddr = address.parse().map_err(|_| format!("`{}` is not an address", address.escape_debug()))?;
    let family = Family::of(address);
    let prefix = prefix.parse::<u8>().ok().filter(|prefix| *prefix <= family.bits());
    let prefix =
        prefix.ok_or_else(|| format!("the prefix of an {family} range is a number from 0 to {}", family.bits()))?;
    Ok(IpNet::new(address, prefix).expect("the prefix is not longer than the address"))
}

/// `fabric network update`.
#[derive(Debug, Args)]
pub(crate) struct UpdateNetworkArguments {
    /// The network's name.
    #[arg(add = objects::networks())]
    pub(crate) name: NetworkName,
    /// What makes the network: no network changes that.
    #[arg(long, hide = true)]
    pub(crate) driver: Option<Driver>,
    /// The maximum transmission unit, in octets; auto for the uplink's, or the parent's, whatever that is.
    #[arg(long, value_name = "OCTETS|auto")]
    pub(crate) mtu: Option<MtuChoice>,
    /// Whether it is without a way out or in.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) internal: Option<bool>,
    /// Whether its containers reach each other by it.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) icc: Option<bool>,
    /// Whether its containers have no default route from it.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) no_default_route: Option<bool>,
    /// Another route that its containers have; can be repeated.
    #[arg(long = "add-route", value_name = "RANGE[,GATEWAY[,METRIC]]")]
    pub(crate) add_routes: Vec<NetworkRoute>,
    /// The range of a route that they are to be without; can be repeated.
    #[arg(long = "rm-route", value_name = "RANGE", value_parser = range)]
    pub(crate) remove_routes: Vec<IpNet>,
    /// Ask this server for names that are not containers', in place of those it has; auto for the host's; can be
    /// repeated.
    #[arg(long = "dns", value_name = "ADDRESS[:PORT]|auto")]
    pub(crate) name_servers: Vec<NameServerArgument>,
    /// How it is joined to the outside: nat, routed, isolated.
    #[arg(long, value_name = "MODE")]
    pub(crate) gateway_mode: Option<GatewayMode>,
    /// Another range for its containers' addresses; can be repeated.
    #[arg(long = "add-subnet", value_name = "RANGE", value_parser = range)]
    pub(crate) add_subnets: Vec<IpNet>,
    /// A range that no container has an address of, to be without; can be repeated.
    #[arg(long = "rm-subnet", value_name = "RANGE", value_parser = range)]
    pub(crate) remove_subnets: Vec<IpNet>,
    /// The part of a subnet that automatic addresses come from, the whole subnet for all of it; can be repeated.
    #[arg(long = "ip-range", value_name = "RANGE", value_parser = range)]
    pub(crate) ip_ranges: Vec<IpNet>,
    /// An address that no container is to be given, and why; can be repeated.
    #[arg(long, value_name = "ADDRESS[=WHY]")]
    pub(crate) reserve: Vec<Reservation>,
    /// An address that is reserved no more; can be repeated.
    #[arg(long = "reserve-rm", value_name = "ADDRESS")]
    pub(crate) release: Vec<IpAddr>,
    /// Attach a label; can be repeated.
    #[arg(short, long = "label", value_name = "KEY=VALUE")]
    pub(crate) labels: Vec<Label>,
    /// Take a label away; can be repeated.
    #[arg(long = "label-rm", value_name = "KEY")]
    pub(crate) remove_labels: Vec<String>,
    /// An option of the driver, mtu or gateway-mode; can be repeated.
    #[arg(short, long = "opt", value_name = "KEY=VALUE")]
    pub(crate) options: Vec<Label>,
}

/// Whom a network's names that are not containers' are to be asked of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NameServerArgument {
    /// This server.
    Server(NameServer),
    /// Those of the host.
    Auto,
}

impl FromStr for NameServerArgument {
    type Err = <NameServer as FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "auto" { Ok(Self::Auto) } else { text.parse().map(Self::Server) }
    }
}

/// `fabric network inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectNetworksArguments {
    /// The networks' names or ids.
    #[arg(required = true, value_name = "NAME", add = objects::networks())]
    pub(crate) names: Vec<NetworkName>,
}

/// `fabric network ls`.
#[derive(Debug, Args)]
pub(crate) struct ListNetworksArguments {
    /// Print names only.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Only those with this driver, id, label or name; can be repeated.
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    pub(crate) filters: Vec<Filter<Network>>,
}

/// `fabric network connect`.
#[derive(Debug, Args)]
pub(crate) struct ConnectArguments {
    /// The IPv4 address to have [default: a free one].
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip: Option<Ipv4Addr>,
    /// The IPv6 address to have [default: a free one].
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip6: Option<Ipv6Addr>,
    /// The MAC address to have [default: one that follows from its address].
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) mac: Option<MacAddress>,
    /// The interface's name inside the container [default: the lowest free one of eth0, eth1 and so on].
    #[arg(long, value_name = "NAME")]
    pub(crate) ifname: Option<ContainerIfName>,
    /// Another name that DNS answers for on this network; can be repeated.
    #[arg(long = "alias", value_name = "NAME")]
    pub(crate) aliases: Vec<ContainerName>,
    /// The default route leads over the endpoint with the highest; of several, over the oldest.
    #[arg(long, value_name = "NUMBER", default_value_t = 0, allow_negative_numbers = true)]
    #[arg(value_parser = whole_number::<i32>)]
    pub(crate) gw_priority: i32,
    /// The network's name or id.
    #[arg(add = objects::networks())]
    pub(crate) network: NetworkName,
    /// The container's name or id.
    #[arg(add = objects::containers())]
    pub(crate) container: Reference,
}

/// `fabric network disconnect`.
#[derive(Debug, Args)]
pub(crate) struct DisconnectArguments {
    /// The network's name or id.
    #[arg(add = objects::networks())]
    pub(crate) network: NetworkName,
    /// The container's name or id.
    #[arg(add = objects::containers())]
    pub(crate) container: Reference,
}

/// `fabric network rm`.
#[derive(Debug, Args)]
pub(crate) struct RemoveNetworksArguments {
    /// The networks' names or ids.
    #[arg(required = true, value_name = "NAME", add = objects::networks())]
    pub(crate) names: Vec<NetworkName>,
}

/// `fabric network prune`.
#[derive(Debug, Args)]
pub(crate) struct PruneNetworksArguments {
    /// Do not ask.
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Only those with this driver, id, label or name; can be repeated.
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    pub(crate) filters: Vec<Filter<Network>>,
}
