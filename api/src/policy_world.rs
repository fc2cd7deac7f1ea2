//! Whom policies are about, and which are in force: all that a verdict depends on.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use jiff::Timestamp;
use model::{ContainerName, ContainerPort, Labels, NetworkName, PortName, Publish};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema;

/// Whom policies are about, and which are in force: what `GET /v1/policy/world` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyWorld {
    /// The moment it is, by which rules have expired or not.
    pub now: Timestamp,
    /// The networks, by their names.
    #[schema(value_type = BTreeMap<String, PolicyNetwork>)]
    pub networks: BTreeMap<NetworkName, PolicyNetwork>,
    /// The host's addresses, those of gateways among them.
    #[schema(value_type = BTreeSet<String>)]
    pub host: BTreeSet<IpAddr>,
    /// The endpoints of containers.
    pub endpoints: Vec<PolicyEndpoint>,
    /// The names outside that policies are about and that containers have asked for, with the addresses that they were
    /// answered.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, BTreeSet<String>>)]
    pub names: BTreeMap<String, BTreeSet<IpAddr>>,
    /// The ports of the host that lead to containers.
    #[serde(default)]
    pub published: Vec<PolicyPublish>,
    /// The files of policies that have documents in force.
    pub in_force: Vec<PolicyInForce>,
}

/// A network, as policies see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyNetwork {
    /// Its labels, without the one that every network has.
    #[schema(value_type = BTreeMap<String, String>)]
    pub labels: Labels,
    /// The host's addresses on it.
    #[schema(value_type = BTreeSet<String>)]
    pub gateways: BTreeSet<IpAddr>,
    /// The ranges that its endpoints are addressed from.
    #[serde(default)]
    #[schema(value_type = BTreeSet<String>)]
    pub subnets: BTreeSet<IpNet>,
}

/// One attachment of a container to a network, as policies see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyEndpoint {
    /// Its container's name.
    #[schema(value_type = schema::Name)]
    pub name: ContainerName,
    /// Its network.
    #[schema(value_type = schema::Name)]
    pub network: NetworkName,
    /// Its container's labels.
    #[schema(value_type = BTreeMap<String, String>)]
    pub labels: Labels,
    /// Its addresses.
    #[schema(value_type = BTreeSet<String>)]
    pub addresses: BTreeSet<IpAddr>,
    /// Its ports that have names.
    #[schema(value_type = BTreeMap<String, String>)]
    pub ports: BTreeMap<PortName, ContainerPort>,
}

/// Ports of the host that lead to a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyPublish {
    /// Which ports of the host, and to which of the container: `[HOST_ADDRESS:]HOST_PORTS:CONTAINER_PORTS[/PROTOCOL]`.
    #[schema(value_type = String)]
    pub publish: Publish,
    /// The container's address.
    #[schema(value_type = String)]
    pub to: IpAddr,
}

/// A file of policies, and which of them are in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyInForce {
    /// The file's name, which rules are told by; TOML ends in `.toml`, all else is YAML or JSON.
    pub name: String,
    /// The network of its policies of Kubernetes that have no `metadata.namespace`.
    #[schema(value_type = Option<schema::Name>)]
    pub network: Option<NetworkName>,
    /// What it holds.
    pub text: String,
    /// The names of those of its policies and stances that are in force.
    pub documents: BTreeSet<String>,
}
