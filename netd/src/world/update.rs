//! Networks that change while they are used.

use std::{collections::BTreeSet, net::IpAddr};

use model::{Container, Family, Network, NetworkId, NetworkName, Scope, Subnet};

use super::World;
use crate::{failure::Failure, record::Record};

impl World {
    /// Lets `plan` decide what the network is to become, and checks that everybody on it can stay. Returns the network
    /// as it is and as it is to become.
    ///
    /// Until the change is confirmed or withdrawn, nobody is given an address that only one of the two gives. No other
    /// change of the network may be on its way.
    pub(crate) fn reserve_update(
        &mut self,
        name: &NetworkName,
        plan: impl FnOnce(&Self, &Network) -> Result<Network, Failure>,
    ) -> Result<(Network, Network), Failure> {
        let old = self.network_by_reference(name)?.clone();
        let new = plan(self, &old)?;
        self.check_holders(&old, &new)?;
        let entry = self.networks.get_mut(&old.id).expect("it was found by its name");
        let stays = |subnet: &&Subnet| old.subnets.iter().any(|before| before.range() == subnet.range());
        let subnets: Vec<_> = new.subnets.iter().filter(stays).copied().collect();
        let reserved: Vec<_> = old.reserved.iter().chain(&new.reserved).cloned().collect();
        entry.leases = entry.leases.reshaped(&subnets, &reserved);
        Ok((old, new))
    }

    /// Nobody may have an address that the network is to be without, or is not to give.
    fn check_holders(&self, old: &Network, new: &Network) -> Result<(), Failure> {
        let entry = &self.networks[&old.id];
        let reserved = |network: &Network, address| network.reserved.iter().any(|one| one.address() == address);
        let lost =
            |address: IpAddr| new.subnet_with(address).is_none() || reserved(new, address) && !reserved(old, address);
        let held = entry.leases.leases().filter(|(lease, _)| lost(lease.address));
        let held: Vec<_> = held.map(|(lease, _)| (lease.address, self.holder(old, &lease.endpoint))).collect();
        if held.is_empty() { Ok(()) } else { Err(Failure::AddressesHeld { network: old.name.clone(), held }) }
    }

    /// The change has been committed.
    pub(crate) fn confirm_update(&mut self, new: &Network) {
        if !self.networks.contains_key(&new.id) {
            return;
        }
        // Where host ports lead may be elsewhere now, those of a container that waits for its restart too.
        let holding = self.on_network(&new.id).filter(|record| record.holds_ports());
        let containers: Vec<Container> = holding.map(|record| record.container.clone()).collect();
        containers.iter().for_each(|container| self.release_ports(container));
        self.networks.update(new);
        let entry = self.networks.get_mut(&new.id).expect("it is there, as seen above");
        entry.leases = entry.leases.reshaped(&new.subnets, &new.reserved);
        containers.iter().for_each(|container| self.claim_ports(container));
    }

    /// The change never came to be.
    pub(crate) fn withdraw_update(&mut self, old: &Network) {
        if let Some(entry) = self.networks.get_mut(&old.id) {
            entry.leases = entry.leases.reshaped(&old.subnets, &old.reserved);
        }
    }

    /// The containers on the network that live, those that are being made included.
    fn live_on(&self, id: &NetworkId) -> impl Iterator<Item = &Record> {
        self.on_network(id).filter(|record| record.is_live())
    }

    /// All that the kernel has of each container that lives on the network, and all that can have led there before the
    /// network changed, with the container.
    pub(crate) fn scopes_on(&self, id: &NetworkId) -> Vec<(Container, Scope)> {
        let families: BTreeSet<_> = Family::ALL.into();
        let scope = |container: &Container| {
            let mut scope = self.scope_of(container)?;
            if let Scope::Container { attachments, .. } = &mut scope {
                attachments.iter_mut().for_each(|attachment| attachment.default_routes.clone_from(&families));
            }
            Some((container.clone(), scope))
        };
        self.live_on(id).filter_map(|record| scope(&record.container)).collect()
    }
}
