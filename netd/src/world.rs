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
pub(crate) use policies::{Compiled, is_judged};
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
    unjudged: RefCell<Unjudged>,
}

/// Containers that may have come, changed or gone.
#[derive(Debug, Default)]
struct Unjudged {
    /// Those that have since they were asked for last.
    ids: BTreeSet<ContainerId>,
    /// How often one has, and how often one had when they were asked for last.
    times: u64,
    asked: u64,
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
        self.note(id);
        self.entries.get_mut(id).map(|entry| &mut **entry)
    }

    fn insert(&mut self, id: ContainerId, entry: ContainerEntry) {
        self.note(&id);
        self.entries.insert(id, Box::new(entry));
    }

    fn remove(&mut self, id: &ContainerId) -> Option<ContainerEntry> {
        self.note(id);
        self.entries.remove(id).map(|entry| *entry)
    }

    fn note(&mut self, id: &ContainerId) {
        let unjudged = self.unjudged.get_mut();
        unjudged.ids.insert(id.clone());
        unjudged.times += 1;
    }

    /// How often one may have come, changed or gone.
    fn times_changed(&self) -> u64 {
        self.unjudged.borrow().times
    }

    /// Those that may have since this was so often; none if that is not known.
    fn changed_since(&self, times: u64) -> Option<BTreeSet<ContainerId>> {
        let mut unjudged = self.unjudged.borrow_mut();
        let ids = std::mem::take(&mut unjudged.ids);
        let is_known = times >= unjudged.asked;
        unjudged.asked = unjudged.times;
        is_known.then_some(ids)
    }
}

/// The leases an endpoint holds.
pub(crate) fn leases(endpoint: &Endpoint) -> impl Iterator<Item = Lease> {
    let lease = |address| Lease { network: endpoint.network.clone(), address, endpoint: endpoint.id.clone() };
    endpoint.addresses().map(lease)
}

#[cfg(test)]
mod tests;
