//! What is known of each network and each container. Whatever may change what policies say about one is noted here, as
//! there is no other way to change it.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    ops::Deref,
    sync::Arc,
};

use ipam::LeaseTable;
use model::{ContainerId, Endpoint, EndpointId, MacAddress, Network, NetworkId};

use crate::{life::Life, record::Record};

/// All networks.
#[derive(Debug, Default)]
pub(super) struct Networks {
    entries: BTreeMap<NetworkId, NetworkEntry>,
    times_changed: u64,
}

#[derive(Debug)]
pub(super) struct NetworkEntry {
    network: Network,
    is_committed: bool,
    pub(super) leases: LeaseTable,
    pub(super) containers: BTreeSet<ContainerId>,
    /// Whose MAC address is whose.
    pub(super) macs: BTreeMap<MacAddress, EndpointId>,
    /// How many of its live containers' ports can be reached from the host's loopback address.
    pub(super) published_to_loopback: usize,
}

/// All containers.
#[derive(Debug, Default)]
pub(super) struct Containers {
    entries: BTreeMap<ContainerId, Box<ContainerEntry>>,
    unjudged: RefCell<Unjudged>,
}

#[derive(Debug)]
pub(super) struct ContainerEntry {
    pub(super) record: Record,
    /// An endpoint that is being committed.
    pub(super) arriving: Option<Endpoint>,
    pub(super) committed: bool,
    pub(super) life: Arc<Life>,
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

impl NetworkEntry {
    /// The network, whether it is being made or removed or neither.
    pub(super) fn reserved(&self) -> &Network {
        &self.network
    }

    /// The network, if it exists.
    pub(super) fn committed(&self) -> Option<&Network> {
        self.is_committed.then_some(&self.network)
    }
}

impl Deref for Networks {
    type Target = BTreeMap<NetworkId, NetworkEntry>;

    fn deref(&self) -> &Self::Target {
        &self.entries
    }
}

impl Networks {
    /// For what policies say nothing about: who is on it, and what they have.
    pub(super) fn get_mut(&mut self, id: &NetworkId) -> Option<&mut NetworkEntry> {
        self.entries.get_mut(id)
    }

    /// Adds one that nobody is on.
    pub(super) fn insert(&mut self, network: Network, is_committed: bool) {
        self.times_changed += 1;
        let leases = LeaseTable::new(network.id.clone(), &network.subnets, &network.reserved);
        let id = network.id.clone();
        let (containers, macs) = (BTreeSet::new(), BTreeMap::new());
        self.entries
            .insert(id, NetworkEntry { network, is_committed, leases, containers, macs, published_to_loopback: 0 });
    }

    /// From now on it exists, or does not.
    pub(super) fn set_committed(&mut self, id: &NetworkId, is_committed: bool) {
        self.times_changed += 1;
        if let Some(entry) = self.entries.get_mut(id) {
            entry.is_committed = is_committed;
        }
    }

    /// One that is there is this now.
    pub(super) fn update(&mut self, new: &Network) {
        self.times_changed += 1;
        if let Some(entry) = self.entries.get_mut(&new.id) {
            entry.network = new.clone();
        }
    }

    pub(super) fn remove(&mut self, id: &NetworkId) {
        self.times_changed += 1;
        self.entries.remove(id);
    }

    /// How often one may have come, changed or gone.
    pub(super) fn times_changed(&self) -> u64 {
        self.times_changed
    }
}

impl ContainerEntry {
    /// Its endpoints, those that are being made or are leaving included.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.record.held().chain(&self.arriving)
    }
}

impl Deref for Containers {
    type Target = BTreeMap<ContainerId, Box<ContainerEntry>>;

    fn deref(&self) -> &Self::Target {
        &self.entries
    }
}

impl Containers {
    pub(super) fn get_mut(&mut self, id: &ContainerId) -> Option<&mut ContainerEntry> {
        self.note(id);
        self.entries.get_mut(id).map(|entry| &mut **entry)
    }

    pub(super) fn insert(&mut self, id: ContainerId, entry: ContainerEntry) {
        self.note(&id);
        self.entries.insert(id, Box::new(entry));
    }

    pub(super) fn remove(&mut self, id: &ContainerId) -> Option<ContainerEntry> {
        self.note(id);
        self.entries.remove(id).map(|entry| *entry)
    }

    fn note(&mut self, id: &ContainerId) {
        let unjudged = self.unjudged.get_mut();
        unjudged.ids.insert(id.clone());
        unjudged.times += 1;
    }

    /// How often one may have come, changed or gone.
    pub(super) fn times_changed(&self) -> u64 {
        self.unjudged.borrow().times
    }

    /// Those that may have since this was so often; none if that is not known.
    pub(super) fn changed_since(&self, times: u64) -> Option<BTreeSet<ContainerId>> {
        let mut unjudged = self.unjudged.borrow_mut();
        let ids = std::mem::take(&mut unjudged.ids);
        let is_known = times >= unjudged.asked;
        unjudged.asked = unjudged.times;
        is_known.then_some(ids)
    }
}
