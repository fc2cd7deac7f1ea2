//! Endpoints as they come and go: what a new one is given, and what an old one gives back.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use api::{ContainerCreateError, EndpointCreate};
use ipam::{IpamError, Parting, Request};
use model::{
    Container, ContainerId, ContainerIfName, ContainerName, Endpoint, EndpointId, Family, IfName, MacAddress, Network,
    NetworkId,
};
use store::{Revision, Transaction};

use super::{World, entries::NetworkEntry, leases};
use crate::{
    failure::{Failure, Noun},
    record::Record,
};

impl World {
    /// Decides what the container's next endpoint is like, of all that are asked for together. Nothing is taken yet:
    /// the caller reserves it in the same lock.
    pub(crate) fn plan_endpoint(
        &self,
        id: EndpointId,
        container: &Container,
        request: &EndpointCreate,
        together: &[EndpointCreate],
    ) -> Result<Endpoint, Failure> {
        let network = self.network_by_reference(&request.network).map_err(Failure::wanted)?;
        if container.endpoints.iter().any(|endpoint| endpoint.network == network.id) {
            // Named in two ways, by its name and by its id.
            if self.record(&container.id).is_none() {
                return Err(ContainerCreateError::NetworkTwice { network: network.name.clone() }.into());
            }
            return Err(Failure::AlreadyConnected { container: container.name.clone(), network: network.name.clone() });
        }
        let (ipv4, ipv6) = self.choose_addresses(network, &container.name, request)?;
        let addresses: Vec<_> = ipv4.map(IpAddr::from).into_iter().chain(ipv6.map(IpAddr::from)).collect();
        let mut aliases = Vec::new();
        for alias in &request.aliases {
            if !aliases.contains(alias) {
                aliases.push(alias.clone());
            }
        }
        Ok(Endpoint {
            mac: self.choose_mac(network, request.mac, &addresses, &id)?,
            id,
            network: network.id.clone(),
            ipv4,
            ipv6,
            aliases,
            interface: self.choose_interface(container, network, request, together)?,
            gateway_priority: request.gateway_priority,
        })
    }

    /// The interface's name inside the container: the one asked for, or the lowest of `eth0`, `eth1` and so on that is
    /// neither taken nor asked for by another of those that are asked for together.
    fn choose_interface(
        &self,
        container: &Container,
        network: &Network,
        request: &EndpointCreate,
        together: &[EndpointCreate],
    ) -> Result<IfName, Failure> {
        // The kernel may still have those of endpoints that are on their way out.
        let leaving = self.containers.get(&container.id).map(|entry| entry.record.leaving.as_slice());
        let mut held = container.endpoints.iter().chain(leaving.unwrap_or_default());
        if let Some(asked) = &request.interface {
            let asked = asked.as_if_name();
            return match held.find(|endpoint| endpoint.interface == *asked) {
                Some(holder) => Err(Failure::InterfaceTaken {
                    container: container.name.clone(),
                    interface: asked.clone(),
                    network: network.name.clone(),
                    holder: self.network(&holder.network).map_or_else(|| network.name.clone(), |it| it.name.clone()),
                }),
                None => Ok(asked.clone()),
            };
        }
        let chosen = together.iter().filter_map(|other| other.interface.as_ref()).map(ContainerIfName::as_if_name);
        let taken: BTreeSet<&IfName> = held.map(|endpoint| &endpoint.interface).chain(chosen).collect();
        let name = |number: usize| format!("eth{number}").parse().expect("three letters and a short number");
        let free = (0..).map(name).find(|name| !taken.contains(name));
        Ok(free.expect("a container has fewer endpoints than there are numbers"))
    }

    /// Chooses an address of each family of the network: the one asked for, or the one that a container of that name
    /// had last, or another that is free now.
    pub(crate) fn choose_addresses(
        &self,
        network: &Network,
        container: &ContainerName,
        request: &EndpointCreate,
    ) -> Result<(Option<Ipv4Addr>, Option<Ipv6Addr>), Failure> {
        let entry = self.networks.get(&network.id).expect("the caller found the network in this world");
        let mut chosen = (None, None);
        let has = |family: &Family| network.subnets_of(*family).next().is_some();
        let asked = |family: Family| request.addresses().find(|address| Family::of(*address) == family);
        for family in Family::ALL.into_iter().filter(|family| has(family) || asked(*family).is_some()) {
            let address = match asked(family) {
                Some(address) => entry.leases.choose(Request::Fixed(address)).map_err(|source| match source {
                    IpamError::InUse { endpoint, .. } => Failure::AddressTaken {
                        network: network.name.clone(),
                        address,
                        holder: self.holder(network, &endpoint),
                    },
                    source => Failure::AddressRefused { network: network.name.clone(), address, source: source.into() },
                })?,
                None => entry
                    .leases
                    .choose(Request::Again { family, container, mac: request.mac })
                    .map_err(|source| Failure::Address { network: network.name.clone(), source: source.into() })?,
            };
            match address {
                IpAddr::V4(address) => chosen.0 = Some(address),
                IpAddr::V6(address) => chosen.1 = Some(address),
            }
        }
        Ok(chosen)
    }

    /// The MAC address asked for, or the one that follows from the first address. If anybody else on the host has that,
    /// or neighbours may believe one of the addresses to be elsewhere, or another address to be there, it follows from
    /// the endpoint's identifier. None where all have their parent's.
    fn choose_mac(
        &self,
        network: &Network,
        asked: Option<MacAddress>,
        addresses: &[IpAddr],
        id: &EndpointId,
    ) -> Result<Option<MacAddress>, Failure> {
        if let Some(parent) = network.parent.as_ref().filter(|parent| !parent.kind.has_own_mac()) {
            let refuse = |mac| {
                let (network, parent) = (network.name.clone(), parent.interface.clone());
                Err(Failure::MacOfParent { network, parent, mac })
            };
            return asked.map_or(Ok(None), refuse);
        }
        let entry = self.networks.get(&network.id).expect("the caller found the network in this world");
        match asked {
            Some(mac) => match self.holder_of_mac(mac, &network.id) {
                Some(holder) => Err(Failure::MacTaken { network: network.name.clone(), mac, holder }),
                None => Ok(Some(mac)),
            },
            None => {
                let derived = MacAddress::of(*addresses.first().expect("a network has a subnet, and so an address"));
                let mut last = addresses.iter().filter_map(|address| entry.leases.last_mac(*address));
                let is_believed = last.all(|mac| mac == derived)
                    && entry.leases.last_at(derived).all(|address| addresses.contains(&address));
                let is_free = self.holder_of_mac(derived, &network.id).is_none() && is_believed;
                Ok(Some(if is_free { derived } else { id.mac() }))
            }
        }
    }

    /// Who has a MAC address, as somebody of this network is told. Nobody else on the host is to have it: link-local
    /// addresses follow from MAC addresses, the host's on its bridges too, and what judges connections, and remembers
    /// them, knows all of the host by their addresses.
    pub(super) fn holder_of_mac(&self, mac: MacAddress, told: &NetworkId) -> Option<String> {
        let of = |entry: &NetworkEntry| {
            let network = entry.reserved();
            let container = || entry.macs.get(&mac).map(|id| format!("container `{}`", self.holder(network, id)));
            let whose = (network.gateway_mac == mac).then(|| "the gateway".to_owned()).or_else(container)?;
            Some(if network.id == *told { whose } else { format!("{whose} of network `{}`", network.name) })
        };
        self.networks.get(told).and_then(of).or_else(|| self.networks.values().find_map(of))
    }

    /// The name of the container that has an endpoint of the network.
    pub(super) fn holder(&self, network: &Network, endpoint: &EndpointId) -> String {
        let mut records = self.on_network(&network.id);
        let has = |record: &&Record| record.held().any(|held| held.id == *endpoint);
        records.find(has).map_or_else(|| "?".to_owned(), |record| record.container.name.to_string())
    }

    /// Takes what an endpoint needs on its network, for a container that is there or about to be.
    pub(super) fn hold_endpoint(&mut self, endpoint: &Endpoint, container: &ContainerId) {
        self.holders.insert(endpoint.id.clone(), container.clone());
        let Some(entry) = self.networks.get_mut(&endpoint.network) else { return };
        for lease in leases(endpoint) {
            // The revision of the claim is known once it is committed; until then nobody can release it.
            if entry.leases.lease(lease.address).is_none() {
                entry.leases.insert(&lease, Revision::ZERO);
            }
        }
        entry.macs.extend(endpoint.mac.map(|mac| (mac, endpoint.id.clone())));
        entry.containers.insert(container.clone());
    }

    /// Its claims have been committed.
    pub(super) fn confirm_leases(&mut self, endpoint: &Endpoint, revision: Revision) {
        if let Some(network) = self.networks.get_mut(&endpoint.network) {
            for lease in leases(endpoint) {
                network.leases.insert(&lease, revision);
            }
        }
    }

    /// Gives back what an endpoint had on its network. Its addresses were given back at `freed`; none if they never
    /// were its own.
    pub(super) fn free_endpoint(&mut self, endpoint: &Endpoint, container: &Container, freed: Option<Revision>) {
        self.holders.remove(&endpoint.id);
        if let Some(entry) = self.networks.get_mut(&endpoint.network) {
            endpoint.addresses().for_each(|address| match freed {
                Some(freed) => {
                    entry.leases.rest(address, Parting { container: &container.name, mac: endpoint.mac }, freed)
                }
                None => entry.leases.remove(address),
            });
            if let Some(mac) = endpoint.mac.filter(|mac| entry.macs.get(mac) == Some(&endpoint.id)) {
                entry.macs.remove(&mac);
            }
            entry.containers.remove(&container.id);
        }
    }

    /// Takes what another endpoint of the container needs, and returns the container's record as it is to become. The
    /// endpoint exists once it is confirmed.
    pub(crate) fn reserve_endpoint(
        &mut self,
        container: &ContainerId,
        id: EndpointId,
        request: &EndpointCreate,
    ) -> Result<(Record, Endpoint), Failure> {
        let unknown = || Failure::unknown(Noun::Container, container.short(), std::iter::empty());
        let mut record = self.record(container).ok_or_else(unknown)?.clone();
        let network = self.network_by_reference(&request.network).map_err(Failure::wanted)?;
        if record.leaving.iter().any(|endpoint| endpoint.network == network.id) {
            return Err(Failure::StillLeaving {
                container: record.container.name.clone(),
                network: network.name.clone(),
            });
        }
        let endpoint = self.plan_endpoint(id, &record.container, request, std::slice::from_ref(request))?;
        let mut container_then = record.container.clone();
        container_then.endpoints.push(endpoint.clone());
        self.check_published(&container_then)?;
        if record.is_live() {
            self.check_parents(&container_then)?;
        }
        self.hold_endpoint(&endpoint, container);
        self.set_arriving(container, Some(endpoint.clone()));
        record.container.endpoints.push(endpoint.clone());
        Ok((record, endpoint))
    }

    /// The endpoint has been committed, and its leases with it.
    pub(crate) fn confirm_endpoint(&mut self, container: &ContainerId, endpoint: &Endpoint, revision: Revision) {
        self.confirm_leases(endpoint, revision);
        self.set_arriving(container, None);
        self.change_container(container, |record| record.container.endpoints.push(endpoint.clone()));
    }

    /// The endpoint never came to be.
    pub(crate) fn forget_endpoint(&mut self, container: &ContainerId, endpoint: &Endpoint) {
        self.set_arriving(container, None);
        if let Some(record) = self.record(container).cloned() {
            self.free_endpoint(endpoint, &record.container, None);
        }
    }

    fn set_arriving(&mut self, container: &ContainerId, endpoint: Option<Endpoint>) {
        if let Some(entry) = self.containers.get_mut(container) {
            entry.arriving = endpoint;
        }
    }

    /// The endpoint is intended no more; it keeps what it has until [`World::forget_leaving`].
    pub(crate) fn part_endpoint(&mut self, container: &ContainerId, endpoint: &EndpointId) {
        self.change_container(container, |record| record.part(endpoint));
    }

    /// Nothing is left of the endpoints that the container was leaving; their addresses were given back at `freed`.
    pub(crate) fn forget_leaving(&mut self, container: &ContainerId, freed: Revision) {
        let Some(entry) = self.containers.get_mut(container) else { return };
        let (left, container) = (std::mem::take(&mut entry.record.leaving), entry.record.container.clone());
        for endpoint in left {
            self.free_endpoint(&endpoint, &container, Some(freed));
        }
    }

    /// Adds to a transaction what gives back the addresses of endpoints that a container of this name had.
    pub(crate) fn release<'a>(
        &self,
        transaction: Transaction,
        endpoints: impl IntoIterator<Item = &'a Endpoint>,
        container: &ContainerName,
    ) -> Transaction {
        endpoints.into_iter().fold(transaction, |transaction, endpoint| match self.leases(&endpoint.network) {
            Some(table) => table.release(transaction, endpoint.addresses(), Parting { container, mac: endpoint.mac }),
            None => transaction,
        })
    }
}
