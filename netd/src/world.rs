//! The daemon's memory of what the store holds, with the indexes that keep a request from looking at everything.
//!
//! No I/O. A request first reserves here, under one short lock, then commits, then either confirms or withdraws: so
//! that two requests at once cannot both pass a check, and a commit that fails leaves nothing behind.

mod attachments;
mod desired;
mod endpoints;
mod ports;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ipam::{Lease, LeaseTable};
use model::{
    Container, ContainerId, ContainerName, Digest, Endpoint, EndpointId, Family, MacAddress, NamespaceName, Network,
    NetworkId, NetworkName, Protocol,
};
use runtime::Exit;
use store::Revision;

pub(crate) use ports::PortSet;
use ports::Ports;

use crate::{
    failure::{Failure, Noun},
    life::Life,
    namespaces::SpareNamespaces,
    record::{Goal, Record},
};

/// All networks and containers.
#[derive(Debug, Default)]
pub(crate) struct World {
    networks: BTreeMap<NetworkId, NetworkEntry>,
    network_names: BTreeMap<NetworkName, NetworkId>,
    containers: BTreeMap<ContainerId, ContainerEntry>,
    container_names: BTreeMap<ContainerName, ContainerId>,
    /// Host ports of live containers.
    published: Ports,
    /// Which container lives in which namespace.
    inhabited: BTreeMap<NamespaceName, ContainerId>,
    pub(crate) namespaces: SpareNamespaces,
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

/// The leases an endpoint holds.
pub(crate) fn leases(endpoint: &Endpoint) -> impl Iterator<Item = Lease> {
    let lease = |address| Lease { network: endpoint.network.clone(), address, endpoint: endpoint.id.clone() };
    endpoint.addresses().map(lease)
}

impl World {
    // --- networks ---

    /// Takes the network's name and range; it exists once it is confirmed.
    pub(crate) fn reserve_network(&mut self, network: Network) -> Result<(), Failure> {
        if self.network_names.contains_key(&network.name) {
            return Err(Failure::NameTaken { noun: Noun::Network, name: network.name.to_string() });
        }
        self.insert_network(network, false);
        Ok(())
    }

    /// The network has been committed.
    pub(crate) fn confirm_network(&mut self, id: &NetworkId) {
        if let Some(entry) = self.networks.get_mut(id) {
            entry.committed = true;
        }
    }

    /// A network read from the store.
    pub(crate) fn insert_committed_network(&mut self, network: Network, leases: LeaseTable) {
        self.insert_network(network.clone(), true);
        if let Some(entry) = self.networks.get_mut(&network.id) {
            entry.leases = leases;
        }
    }

    fn insert_network(&mut self, network: Network, committed: bool) {
        self.network_names.insert(network.name.clone(), network.id.clone());
        let leases = LeaseTable::new(network.id.clone(), &network.subnets, &network.reserved);
        self.networks.insert(
            network.id.clone(),
            NetworkEntry {
                network,
                leases,
                containers: BTreeSet::new(),
                macs: BTreeMap::new(),
                published_to_loopback: 0,
                committed,
            },
        );
    }

    /// Checks that nothing is on the network, and takes it out of use: no container can join it from now on.
    pub(crate) fn retire_network(&mut self, name: &NetworkName) -> Result<Network, Failure> {
        let network = self.network_by_name(name)?.clone();
        let entry = self.networks.get_mut(&network.id).expect("the name index leads to networks that exist");
        if !entry.containers.is_empty() {
            let containers = entry.containers.iter().filter_map(|id| self.containers.get(id));
            let containers = containers.map(|entry| entry.record.container.name.to_string()).collect();
            return Err(Failure::NetworkInUse { network: name.clone(), containers });
        }
        entry.committed = false;
        Ok(network)
    }

    /// The network is gone, or never came to be.
    pub(crate) fn forget_network(&mut self, network: &Network) {
        self.networks.remove(&network.id);
        if self.network_names.get(&network.name) == Some(&network.id) {
            self.network_names.remove(&network.name);
        }
    }

    pub(crate) fn network_by_name(&self, name: &NetworkName) -> Result<&Network, Failure> {
        let found = self.network_names.get(name).and_then(|id| self.networks.get(id));
        found.filter(|entry| entry.committed).map(|entry| &entry.network).ok_or_else(|| {
            Failure::unknown(Noun::Network, name.as_str(), self.network_names.keys().map(NetworkName::as_str))
        })
    }

    pub(crate) fn network(&self, id: &NetworkId) -> Option<&Network> {
        self.networks.get(id).filter(|entry| entry.committed).map(|entry| &entry.network)
    }

    /// Every network that exists, by identifier.
    pub(crate) fn networks(&self) -> impl Iterator<Item = &Network> {
        self.networks.values().filter(|entry| entry.committed).map(|entry| &entry.network)
    }

    /// Every network whose range is in use, those being made or removed included.
    pub(crate) fn reserved_networks(&self) -> impl Iterator<Item = &Network> {
        self.networks.values().map(|entry| &entry.network)
    }

    /// How many of the network's addresses are leased.
    pub(crate) fn usage(&self, network: &Network) -> ipam::Usage {
        let unused = || LeaseTable::new(network.id.clone(), &network.subnets, &network.reserved).usage();
        self.networks.get(&network.id).map_or_else(unused, |entry| entry.leases.usage())
    }

    /// Every endpoint, those that are being made or are leaving included, with its container.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = (&Endpoint, &Container)> {
        self.containers.values().flat_map(|entry| {
            let endpoints = entry.record.held().chain(&entry.arriving);
            endpoints.map(|endpoint| (endpoint, &entry.record.container))
        })
    }

    /// The lease is held by nobody any more.
    pub(crate) fn forget_lease(&mut self, lease: &Lease) {
        if let Some(entry) = self.networks.get_mut(&lease.network) {
            entry.leases.remove(lease.address);
        }
    }

    /// The lease was committed at `revision`.
    pub(crate) fn note_lease(&mut self, lease: &Lease, revision: Revision) {
        if let Some(entry) = self.networks.get_mut(&lease.network) {
            entry.leases.insert(lease, revision);
        }
    }

    /// The containers that have an endpoint on the network, stopped ones too.
    pub(crate) fn on_network(&self, id: &NetworkId) -> impl Iterator<Item = &Record> {
        self.networks
            .get(id)
            .into_iter()
            .flat_map(|entry| &entry.containers)
            .filter_map(|id| self.containers.get(id))
            .map(|entry| &entry.record)
    }

    // --- containers ---

    /// Takes the container's name, addresses and host ports; it exists once it is confirmed.
    pub(crate) fn reserve_container(&mut self, record: Record) -> Result<Arc<Life>, Failure> {
        let container = &record.container;
        if self.container_names.contains_key(&container.name) {
            return Err(Failure::NameTaken { noun: Noun::Container, name: container.name.to_string() });
        }
        self.check_publishes(container)?;
        Ok(self.insert_container(record, false))
    }

    /// The container has been committed, and its leases with it.
    pub(crate) fn confirm_container(&mut self, id: &ContainerId, revision: Revision) {
        let Some(entry) = self.containers.get_mut(id) else { return };
        entry.committed = true;
        for endpoint in entry.record.container.endpoints.clone() {
            self.confirm_leases(&endpoint, revision);
        }
    }

    /// A container read from the store. Its networks must have been inserted before, with their leases.
    pub(crate) fn insert_committed_container(&mut self, record: Record) {
        self.insert_container(record, true);
    }

    fn insert_container(&mut self, record: Record, committed: bool) -> Arc<Life> {
        let container = &record.container;
        for endpoint in record.held() {
            self.hold_endpoint(endpoint, &container.id);
        }
        self.namespaces.forget(&container.namespace);
        self.inhabited.insert(container.namespace.clone(), container.id.clone());
        self.container_names.insert(container.name.clone(), container.id.clone());
        if record.is_live() {
            self.claim_ports(&record.container);
        }
        let life = Arc::new(Life::new());
        self.containers.insert(
            record.container.id.clone(),
            ContainerEntry { record, arriving: None, committed, life: life.clone() },
        );
        life
    }

    /// The container is gone, or never came to be: its name, addresses and ports are free, and who waits for it is told.
    pub(crate) fn forget_container(&mut self, id: &ContainerId) {
        let Some(ContainerEntry { record, life, .. }) = self.containers.remove(id) else { return };
        life.set_removed();
        if record.is_live() {
            self.release_ports(&record.container);
        }
        self.container_names.remove(&record.container.name);
        self.inhabited.remove(&record.container.namespace);
        for endpoint in record.held() {
            self.free_endpoint(endpoint, id);
        }
    }

    /// Changes what is remembered of a container and returns its record as it is now; none if it is gone.
    pub(crate) fn change_container(&mut self, id: &ContainerId, change: impl FnOnce(&mut Record)) -> Option<Record> {
        let entry = self.containers.get_mut(id)?;
        let before = entry.record.clone();
        change(&mut entry.record);
        let record = entry.record.clone();
        // Ports are counted where they lead, and that may be elsewhere now.
        let moves = before.container.endpoints != record.container.endpoints;
        if before.is_live() && (moves || !record.is_live()) {
            self.release_ports(&before.container);
            if record.is_live() {
                self.claim_ports(&record.container);
            }
        }
        Some(record)
    }

    /// Records that the container's first process has ended; none if that was known or the container is gone.
    pub(crate) fn record_exit(&mut self, id: &ContainerId, exit: Exit) -> Option<Record> {
        if self.record(id)?.exit.is_some() {
            return None;
        }
        self.change_container(id, |record| {
            let started_at = exit.started_at.or(record.started_at);
            record.exit = Some(Exit { started_at, ..exit });
        })
    }

    /// A container that has ended is to come up again, in another namespace: it takes its host ports back.
    pub(crate) fn revive_container(
        &mut self,
        id: &ContainerId,
        goal: Goal,
        namespace: NamespaceName,
        incarnation: String,
    ) -> Result<Record, Failure> {
        let record = self.record(id).ok_or_else(|| Failure::NotRunning { name: id.to_string() })?;
        self.check_publishes(&record.container)?;
        self.inhabited.remove(&record.container.namespace.clone());
        self.inhabited.insert(namespace.clone(), id.clone());
        self.namespaces.forget(&namespace);
        let entry = self.containers.get_mut(id).expect("it was found above");
        entry.record = Record {
            container: Container { namespace, ..entry.record.container.clone() },
            goal,
            incarnation,
            started_at: None,
            exit: None,
            last_exit: entry.record.exit,
            leaving: entry.record.leaving.clone(),
        };
        let record = entry.record.clone();
        self.claim_ports(&record.container);
        Ok(record)
    }

    /// Takes a name for the container, which keeps its own until [`World::rename_container`].
    pub(crate) fn reserve_name(&mut self, id: &ContainerId, name: &ContainerName) -> Result<(), Failure> {
        if self.container_names.contains_key(name) {
            return Err(Failure::NameTaken { noun: Noun::Container, name: name.to_string() });
        }
        self.container_names.insert(name.clone(), id.clone());
        Ok(())
    }

    /// Gives back a name that was taken and is not used.
    pub(crate) fn release_name(&mut self, name: &ContainerName) {
        self.container_names.remove(name);
    }

    /// The container is called `name` from now on.
    pub(crate) fn rename_container(&mut self, id: &ContainerId, name: ContainerName) {
        if let Some(entry) = self.containers.get_mut(id) {
            self.container_names.remove(&entry.record.container.name);
            entry.record.container.name = name;
        }
    }

    /// What is known of the container's processes.
    pub(crate) fn life(&self, id: &ContainerId) -> Option<&Arc<Life>> {
        self.containers.get(id).map(|entry| &entry.life)
    }

    pub(crate) fn record(&self, id: &ContainerId) -> Option<&Record> {
        self.containers.get(id).filter(|entry| entry.committed).map(|entry| &entry.record)
    }

    /// Every container that exists, by identifier.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.containers.values().filter(|entry| entry.committed).map(|entry| &entry.record)
    }

    /// The image of each container, those that are being created included.
    pub(crate) fn image_digests(&self) -> impl Iterator<Item = &Digest> {
        self.containers.values().map(|entry| &entry.record.container.image_digest)
    }

    /// The container that a person means by its name, its identifier, or an unambiguous beginning of the identifier.
    pub(crate) fn container_by_reference(&self, reference: &str) -> Result<&Record, Failure> {
        if let Some(record) = reference
            .parse()
            .ok()
            .and_then(|name: ContainerName| self.container_names.get(&name))
            .and_then(|id| self.record(id))
        {
            return Ok(record);
        }
        // Shorter beginnings are more often a name that was mistyped or is gone, `db` for example.
        let long_enough = reference.len() >= 4;
        let mut beginning =
            self.records().filter(|record| long_enough && record.container.id.as_str().starts_with(reference));
        match (beginning.next(), beginning.next()) {
            (Some(record), None) => Ok(record),
            (Some(_), Some(_)) => Err(Failure::Ambiguous { reference: reference.to_owned() }),
            (None, _) => Err(Failure::unknown(
                Noun::Container,
                reference,
                self.container_names.keys().map(ContainerName::as_str),
            )),
        }
    }

    // --- host ports ---

    /// The network that the container's host ports lead into.
    fn publishing_network(&mut self, container: &Container) -> Option<&mut NetworkEntry> {
        let network = self.default_endpoint(container, Family::Ipv4)?.network.clone();
        self.networks.get_mut(&network)
    }

    /// Every host port of the protocol that a live container has.
    pub(crate) fn taken_ports(&self, protocol: Protocol) -> PortSet {
        self.published.taken(protocol)
    }

    fn check_publishes(&self, container: &Container) -> Result<(), Failure> {
        let mut own = Ports::default();
        for publish in &container.publishes {
            if let Some(claim) = self.published.conflict(publish).filter(|claim| claim.holder != container.id) {
                let holder = self.containers.get(&claim.holder).map(|entry| entry.record.container.name.to_string());
                let port = publish.host_ports().first().max(claim.publish.host_ports().first());
                return Err(Failure::PortTaken { publish: *publish, port, holder: holder.unwrap_or_default() });
            }
            if let Some(claim) = own.conflict(publish) {
                let port = publish.host_ports().first().max(claim.publish.host_ports().first());
                return Err(Failure::PublishedTwice { publish: *publish, port });
            }
            own.claim(*publish, container.id.clone());
        }
        Ok(())
    }

    fn claim_ports(&mut self, container: &Container) {
        if let Some(network) = self.publishing_network(container) {
            network.published_to_loopback += from_loopback(container);
        }
        for publish in &container.publishes {
            self.published.claim(*publish, container.id.clone());
        }
    }

    fn release_ports(&mut self, container: &Container) {
        if let Some(network) = self.publishing_network(container) {
            network.published_to_loopback -= from_loopback(container);
        }
        for publish in &container.publishes {
            self.published.release(publish, &container.id);
        }
    }
}

fn from_loopback(container: &Container) -> usize {
    container.publishes.iter().filter(|publish| publish.reaches_from_loopback()).count()
}

#[cfg(test)]
mod tests;
