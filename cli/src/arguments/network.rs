//! Arguments about networks.

use std::net::Ipv4Addr;

use api::{Mtu, Network};
use clap::{Args, Subcommand};
use ipnet::Ipv4Net;
use model::{Driver, Label, NameServer, NetworkName};

use crate::filter::Filter;

/// What can be done with networks.
#[derive(Debug, Subcommand)]
pub(crate) enum NetworkCommand {
    /// Make a network.
    Create(CreateNetworkArguments),
    /// List networks.
    Ls(ListNetworksArguments),
    /// Show everything about networks.
    Inspect(InspectNetworksArguments),
    /// Remove networks that no container is attached to.
    Rm(RemoveNetworksArguments),
}

/// `fabric network create`.
#[derive(Debug, Args)]
pub(crate) struct CreateNetworkArguments {
    /// The network's name: lower-case letters, digits and hyphens.
    pub(crate) name: NetworkName,
    /// What makes the network.
    #[arg(long)]
    pub(crate) driver: Option<Driver>,
    /// The addresses of its containers, such as 10.1.2.0/24 [default: a free range].
    #[arg(long, value_name = "RANGE")]
    pub(crate) subnet: Option<Ipv4Net>,
    /// The gateway's address [default: the first of the subnet].
    #[arg(long, value_name = "ADDRESS", requires = "subnet")]
    pub(crate) gateway: Option<Ipv4Addr>,
    /// The maximum transmission unit, in octets.
    #[arg(long, value_name = "OCTETS")]
    pub(crate) mtu: Option<Mtu>,
    /// Ask this server for names that are not containers' [default: the host's]; can be repeated.
    #[arg(long = "dns", value_name = "ADDRESS[:PORT]")]
    pub(crate) name_servers: Vec<NameServer>,
    /// Attach a label; can be repeated.
    #[arg(short, long = "label", value_name = "KEY=VALUE")]
    pub(crate) labels: Vec<Label>,
}

/// `fabric network inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectNetworksArguments {
    /// The networks' names.
    #[arg(required = true, value_name = "NAME")]
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

/// `fabric network rm`.
#[derive(Debug, Args)]
pub(crate) struct RemoveNetworksArguments {
    /// The networks' names.
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<NetworkName>,
}
