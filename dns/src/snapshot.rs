//! What DNS knows at one moment: names, addresses, and which source address belongs to which container.
//!
//! A snapshot is immutable and made from its predecessor. All maps are persistent (they share what did not change),
//! so that a change costs O(log n) in the number of endpoints, and so does dropping the predecessor.

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;
use model::{ContainerName, NetworkName};
use rpds::{HashTrieMapSync, RedBlackTreeMapSync};

use crate::{DnsError, Domain};

/// One address of one container on one network, which DNS gives and takes queries from, and the names it goes by. A
/// container with an address of each family on a network has two of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The network, whose zone the names are in.
    pub network: NetworkName,
    /// The container; all attachments with an equal name make one client with one view.
    pub container: ContainerName,
    /// Its address on the network.
    pub address: IpAddr,
    /// Further names; several containers may have the same.
    pub aliases: Vec<ContainerName>,
}

impl Attachment {
    fn names(&self) -> impl Iterator<Item = &ContainerName> {
        std::iter::once(&self.container).chain(&self.aliases)
    }
}

/// What DNS answers from; see the module.
#[derive(Debug, Clone)]
pub struct Snapshot {
    domain: Domain,
    /// Counts changes; the serial number of SOA records.
    serial: u32,
    zones: HashTrieMapSync<NetworkName, Zone>,
    /// By first address. Subnets never overlap, so the one that holds an address begins at or before it.
    subnets: RedBlackTreeMapSync<IpAddr, (IpNet, NetworkName)>,
    attachments: HashTrieMapSync<IpAddr, Arc<Attachment>>,
    /// The networks of each container, in the order of attaching; one entry for each attachment.
    memberships: HashTrieMapSync<ContainerName, Vec<NetworkName>>,
}

/// What DNS answers for one network.
#[derive(Debug, Clone)]
struct Zone {
    subnets: Vec<IpNet>,
    /// Sorted addresses by name, IPv4 first. The key is text because queries ask with text.
    names: HashTrieMapSync<Arc<str>, Vec<IpAddr>>,
}

impl Snapshot {
    /// No network and no name.
    pub fn new(domain: Domain) -> Self {
        Self {
            domain,
            serial: 1,
            zones: HashTrieMapSync::new_sync(),
            subnets: RedBlackTreeMapSync::new_sync(),
            attachments: HashTrieMapSync::new_sync(),
            memberships: HashTrieMapSync::new_sync(),
        }
    }

    /// The snapshot with a zone for `network`. A network that is there keeps its endpoints in those of its subnets that
    /// stay, and loses the others.
    ///
    /// # Errors
    /// [`DnsError::SubnetsOverlap`] names the network that has some of the addresses already.
    pub fn with_network(&self, network: &NetworkName, subnets: &[IpNet]) -> Result<Self, DnsError> {
        let subnets: Vec<IpNet> = subnets.iter().map(IpNet::trunc).collect();
        let known = self.zones.get(network);
        if known.is_some_and(|zone| zone.subnets == subnets) {
            return Ok(self.clone());
        }
        let mut next = self.without_network(network);
        next.zones.insert_mut(network.clone(), Zone { subnets: subnets.clone(), names: HashTrieMapSync::new_sync() });
        for subnet in &subnets {
            next.check_overlap(network, *subnet)?;
            next.subnets.insert_mut(subnet.network(), (*subnet, network.clone()));
        }
        for address in known.iter().flat_map(|zone| zone.names.values()).flatten() {
            if subnets.iter().any(|subnet| subnet.contains(address))
                && next.attachment(*address).is_none()
                && let Some(attachment) = self.attachment(*address)
            {
                next.attach(attachment.clone());
            }
        }
        Ok(next.changed())
    }

    /// Ranges overlap only if one holds the other, and those that are there do not overlap: the last one to begin inside or
    /// before the new one is the only candidate.
    fn check_overlap(&self, network: &NetworkName, subnet: IpNet) -> Result<(), DnsError> {
        match self.subnet_before(subnet.broadcast()) {
            Some((other_subnet, other)) if other_subnet.contains(&subnet) || subnet.contains(other_subnet) => {
                Err(DnsError::SubnetsOverlap {
                    network: network.clone(),
                    subnet,
                    other: other.clone(),
                    other_subnet: *other_subnet,
                })
            }
            _ => Ok(()),
        }
    }

    /// The snapshot without `network` and its endpoints; unchanged if it has none such.
    pub fn without_network(&self, network: &NetworkName) -> Self {
        let Some(zone) = self.zones.get(network) else { return self.clone() };
        let mut next = self.clone();
        for address in zone.names.values().flatten() {
            next.detach(*address);
        }
        next.zones.remove_mut(network);
        for subnet in &zone.subnets {
            next.subnets.remove_mut(&subnet.network());
        }
        next.changed()
    }

    /// The snapshot with this endpoint, in place of what had its address before.
    ///
    /// # Errors
    /// [`DnsError::UnknownNetwork`], [`DnsError::AddressOutside`]: the endpoint does not fit the networks.
    pub fn with_attachment(&self, attachment: Attachment) -> Result<Self, DnsError> {
        let Attachment { network, address, .. } = &attachment;
        let Some(zone) = self.zones.get(network) else {
            return Err(DnsError::UnknownNetwork(network.clone()));
        };
        if !zone.subnets.iter().any(|subnet| subnet.contains(address)) {
            let subnets = zone.subnets.clone();
            return Err(DnsError::AddressOutside { network: network.clone(), subnets, address: *address });
        }
        if self.attachments.get(address).is_some_and(|known| **known == attachment) {
            return Ok(self.clone());
        }
        let mut next = self.clone();
        next.detach(*address);
        next.attach(attachment);
        Ok(next.changed())
    }

    /// The snapshot without the endpoint that has `address`; unchanged if there is none such.
    pub fn without_attachment(&self, address: IpAddr) -> Self {
        if !self.attachments.contains_key(&address) {
            return self.clone();
        }
        let mut next = self.clone();
        next.detach(address);
        next.changed()
    }

    /// The domain of full names.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// How often the content has changed, modulo 2³².
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// The endpoint that has `address`.
    pub fn attachment(&self, address: IpAddr) -> Option<&Attachment> {
        self.attachments.get(&address).map(|attachment| &**attachment)
    }

    /// The network one of whose subnets holds `address`, and the subnet.
    pub fn network_of(&self, address: IpAddr) -> Option<(&NetworkName, IpNet)> {
        let (subnet, network) = self.subnet_before(address)?;
        subnet.contains(&address).then_some((network, *subnet))
    }

    /// The networks that `container` is attached to; one named twice has two of its endpoints.
    pub fn networks(&self, container: &ContainerName) -> &[NetworkName] {
        self.memberships.get(container).map_or(&[], Vec::as_slice)
    }

    /// The addresses of a container's name or alias, in lower case, on one network, sorted, IPv4 first.
    pub fn addresses(&self, network: &NetworkName, name: &str) -> &[IpAddr] {
        self.zones.get(network).and_then(|zone| zone.names.get(name)).map_or(&[], Vec::as_slice)
    }

    fn subnet_before(&self, address: IpAddr) -> Option<&(IpNet, NetworkName)> {
        self.subnets.range(..=address).next_back().map(|(_, found)| found)
    }

    fn attach(&mut self, attachment: Attachment) {
        let zone = self.zones.get_mut(&attachment.network).expect("the caller looked the network up");
        for name in attachment.names() {
            let mut addresses = zone.names.get(name.as_str()).cloned().unwrap_or_default();
            if let Err(place) = addresses.binary_search(&attachment.address) {
                addresses.insert(place, attachment.address);
            }
            zone.names.insert_mut(name.as_str().into(), addresses);
        }
        let mut networks = self.networks(&attachment.container).to_vec();
        networks.push(attachment.network.clone());
        self.memberships.insert_mut(attachment.container.clone(), networks);
        self.attachments.insert_mut(attachment.address, Arc::new(attachment));
    }

    fn detach(&mut self, address: IpAddr) {
        let Some(attachment) = self.attachments.get(&address).cloned() else { return };
        self.attachments.remove_mut(&address);
        if let Some(zone) = self.zones.get_mut(&attachment.network) {
            for name in attachment.names() {
                let Some(addresses) = zone.names.get(name.as_str()) else { continue };
                let left: Vec<_> = addresses.iter().copied().filter(|other| *other != address).collect();
                if left.is_empty() {
                    zone.names.remove_mut(name.as_str());
                } else {
                    zone.names.insert_mut(name.as_str().into(), left);
                }
            }
        }
        let mut networks = self.networks(&attachment.container).to_vec();
        if let Some(place) = networks.iter().position(|network| *network == attachment.network) {
            networks.remove(place);
        }
        if networks.is_empty() {
            self.memberships.remove_mut(&attachment.container);
        } else {
            self.memberships.insert_mut(attachment.container.clone(), networks);
        }
    }

    fn changed(mut self) -> Self {
        self.serial = self.serial.wrapping_add(1);
        self
    }
}

#[cfg(test)]
mod tests;
