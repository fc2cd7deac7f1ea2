//! The daemon's memory of what the store holds, with the indexes that keep a request from looking at everything.
//!
//! No I/O. A request first reserves here, under one short lock, then commits, then either confirms or withdraws: so
//! that two requests at once cannot both pass a check, and a commit that fails leaves nothing behind.

mod attachments;
mod containers;
mod desired;
mod endpoints;
mod modes;
mod names;
mod networks;
mod parents;
mod policies;
mod ports;
mod publishing;
mod update;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    ops::Deref,
    sync::Arc,
};

use ipam::{Lease, LeaseTable};
use model::{
    ContainerId, ContainerName, Endpoint, EndpointId, MacAddress, NamespaceName, Network, NetworkId, NetworkName,
};

pub(crate) use modes::Readiness;
pub(crate) use policies::is_judged;
pub(crate) use ports::PortSet;
use ports::Ports;

use crate::{life::Life, namespaces::SpareNamespaces, record::Record};

/// All networks and containers.
#[derive(Debug, Default)]
pub(crate) struct World {
    networks: BTreeMap<NetworkId, NetworkEntry>,
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

/// All containers. Whatever may change what policies say about one is noted.
#[derive(Debug, Default)]
struct Containers {
    entries: BTreeMap<ContainerId, Box<ContainerEntry>>,
    /// Those that may have come, changed or gone since they were judged last.
    unjudged: RefCell<BTreeSet<ContainerId>>,
}

#[derive(Debug)]
struct NetworkEntry {
    network: Network,
    leases: LeaseTable,
    containers: BTreeSet<ContainerId>,
    /// Whose MAC address is whose.
    macs: BTreeMap<MacAddress, EndpointId>,
    /// How many of its live containers' ports can be reached from the host's loopback address.
    published_to_loopback: usize,
    committed: bool,
}

#[derive(Debug)]
struct ContainerEntry {
    record: Record,
    /// An endpoint that is being committed.
    arriving: Option<Endpoint>,
    committed: bool,
    life: Arc<Life>,
}

impl ContainerEntry {
    /// Its endpoints, those that are being made or are leaving included.
    fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.record.held().chain(&self.arriving)
    }
}

impl Deref for Containers {
    type Target = BTreeMap<ContainerId, Box<ContainerEntry>>;

    fn deref(&self) -> &Self::Target {
        &self.entries
    }
}

/// To change one is to have it judged anew, so there is no other way.
impl Containers {
    fn get_mut(&mut self, id: &ContainerId) -> Option<&mut ContainerEntry> {
        let entry = self.entries.get_mut(id)?;
        self.unjudged.get_mut().insert(id.clone());
        Some(entry)
    }

    fn insert(&mut self, id: ContainerId, entry: ContainerEntry) {
        self.unjudged.get_mut().insert(id.clone());
        self.entries.insert(id, Box::new(entry));
    }

    fn remove(&mut self, id: &ContainerId) -> Option<ContainerEntry> {
        let entry = self.entries.remove(id)?;
        self.unjudged.get_mut().insert(id.clone());
        Some(*entry)
    }

    /// Those that may have come, changed or gone since this was asked last.
    fn take_unjudged(&self) -> BTreeSet<ContainerId> {
        self.unjudged.take()
    }
}

/// The leases an endpoint holds.
pub(crate) fn leases(endpoint: &Endpoint) -> impl Iterator<Item = Lease> {
    let lease = |address| Lease { network: endpoint.network.clone(), address, endpoint: endpoint.id.clone() };
    endpoint.addresses().map(lease)
}

#[cfg(test)]
mod tests;
