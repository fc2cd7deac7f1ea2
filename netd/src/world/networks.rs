//! Networks: their names, and who is on them.

use std::{collections::BTreeSet, net::IpAddr};

use ipam::{Lease, LeaseTable};
use model::{Container, Endpoint, MacAddress, Network, NetworkId};
use store::Revision;

use super::{World, entries::NetworkEntry};
use crate::{
    failure::{Failure, Noun},
    record::Record,
};

impl World {
    /// Takes the network's name and range; it exists once it is confirmed.
    pub(crate) fn reserve_network(&mut self, network: Network) -> Result<(), Failure> {
        if self.network_names.contains_key(&network.name) {
            return Err(Failure::NameTaken { noun: Noun::Network, name: network.name.to_string() });
        }
        self.check_parent(&network)?;
        self.insert_network(network, false);
        Ok(())
    }

    /// The MAC address of a new network's gateway: the one that belongs to its address, unless somebody has it.
    pub(crate) fn free_gateway_mac(&self, id: &NetworkId, address: IpAddr) -> MacAddress {
        let derived = MacAddress::of(address);
        if self.holder_of_mac(derived, id).is_none() { derived } else { id.mac() }
    }

    /// The network has been committed.
    pub(crate) fn confirm_network(&mut self, id: &NetworkId) {
        self.networks.set_committed(id, true);
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
        self.networks.insert(network, committed);
    }

    /// Checks that nothing is on the network, and takes it out of use: no container can join it from now on.
    pub(crate) fn retire_network(&mut self, id: &NetworkId) -> Result<Network, Failure> {
        let unknown = || Failure::unknown(Noun::Network, id.as_str(), std::iter::empty());
        let network = self.network(id).ok_or_else(unknown)?.clone();
        let entry = self.networks.get(&network.id).expect("the name index leads to networks that exist");
        if !entry.containers.is_empty() {
            let containers = entry.containers.iter().filter_map(|id| self.containers.get(id));
            let containers = containers.map(|entry| entry.record.container.name.to_string()).collect();
            return Err(Failure::NetworkInUse { network: network.name, containers });
        }
        self.networks.set_committed(id, false);
        Ok(network)
    }

    /// The same for a network that could not be made. Tells whether there was anything to retire: somebody else may
    /// have removed it, and made another of its name.
    pub(crate) fn retire_unmade(&mut self, network: &Network) -> Result<bool, Failure> {
        if self.network(&network.id).is_none() {
            return Ok(false);
        }
        self.retire_network(&network.id).map(|_| true)
    }

    /// The network is gone, or never came to be.
    pub(crate) fn forget_network(&mut self, network: &Network) {
        self.networks.remove(&network.id);
        if self.network_names.get(&network.name) == Some(&network.id) {
            self.network_names.remove(&network.name);
        }
    }

    pub(crate) fn network(&self, id: &NetworkId) -> Option<&Network> {
        self.networks.get(id).and_then(NetworkEntry::committed)
    }

    /// Every network that exists, by identifier.
    pub(crate) fn networks(&self) -> impl Iterator<Item = &Network> {
        self.networks.values().filter_map(NetworkEntry::committed)
    }

    /// Every network whose range is in use, those being made or removed included.
    pub(crate) fn reserved_networks(&self) -> impl Iterator<Item = &Network> {
        self.networks.values().map(NetworkEntry::reserved)
    }

    /// How many of the network's addresses are leased.
    pub(crate) fn usage(&self, network: &Network) -> ipam::Usage {
        self.leases(&network.id).map(LeaseTable::usage).unwrap_or_default()
    }

    /// The network's addresses that are leased to endpoints that do not exist.
    pub(crate) fn leaked(&self, id: &NetworkId) -> Vec<IpAddr> {
        let Some(network) = self.networks.get(id) else { return Vec::new() };
        let containers = network.containers.iter().filter_map(|id| self.containers.get(id));
        let endpoints = containers.flat_map(|entry| entry.record.held().chain(&entry.arriving));
        let held: BTreeSet<_> = endpoints.map(|endpoint| &endpoint.id).collect();
        let leases = network.leases.leases().filter(|(lease, _)| !held.contains(&lease.endpoint));
        leases.map(|(lease, _)| lease.address).collect()
    }

    /// The network's addresses as they are leased.
    pub(crate) fn leases(&self, id: &NetworkId) -> Option<&LeaseTable> {
        self.networks.get(id).map(|entry| &entry.leases)
    }

    /// Every endpoint, those that are being made or are leaving included, with its container.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = (&Endpoint, &Container)> {
        self.containers.values().flat_map(|entry| entry.endpoints().map(|endpoint| (endpoint, &entry.record.container)))
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
}
