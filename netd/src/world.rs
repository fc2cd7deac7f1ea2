//! The daemon's memory of what the store holds, with the indexes that keep a request from looking at everything.
//!
//! No I/O. A request first reserves here, under one short lock, then commits, then either confirms or withdraws: so
//! that two requests at once cannot both pass a check, and a commit that fails leaves nothing behind.

mod attachments;
mod containers;
mod desired;
mod endpoints;
mod entries;
mod modes;
mod names;
mod networks;
mod parents;
mod policies;
mod ports;
mod publishing;
mod update;

use std::collections::{BTreeMap, BTreeSet};

use ipam::Lease;
use model::{ContainerId, ContainerName, Endpoint, EndpointId, NamespaceName, NetworkId, NetworkName};

use entries::{Containers, Networks};
pub(crate) use modes::Readiness;
pub(crate) use policies::{Compiled, as_alone, is_judged};
pub(crate) use ports::PortSet;
use ports::Ports;

use crate::namespaces::SpareNamespaces;

/// All networks and containers.
#[derive(Debug, Default)]
pub(crate) struct World {
    networks: Networks,
    network_names: BTreeMap<NetworkName, NetworkId>,
    containers: Containers,
    container_names: BTreeMap<ContainerName, ContainerId>,
    /// Host ports of live containers.
    published: Ports,
    /// Whose endpoint is whose, those that arrive or leave included.
    holders: BTreeMap<EndpointId, ContainerId>,
    /// Which container a namespace was made for.
    inhabited: BTreeMap<NamespaceName, ContainerId>,
    /// Who lives in which namespace besides.
    sharers: BTreeMap<NamespaceName, BTreeSet<ContainerId>>,
    pub(crate) namespaces: SpareNamespaces,
    judgement: policies::Judgement,
}

/// The leases an endpoint holds.
pub(crate) fn leases(endpoint: &Endpoint) -> impl Iterator<Item = Lease> {
    let lease = |address| Lease { network: endpoint.network.clone(), address, endpoint: endpoint.id.clone() };
    endpoint.addresses().map(lease)
}

#[cfg(test)]
mod tests;
