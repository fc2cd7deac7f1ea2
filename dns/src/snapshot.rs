//! What DNS knows at one moment: names, addresses, and which source address belongs to which container.
//!
//! A snapshot is immutable and made from its predecessor. All maps are persistent (they share what did not change),
//! so that a change costs O(log n) in the number of endpoints, and so does dropping the predecessor.

mod content;

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;
use model::{ContainerName, NetworkName};
use rpds::{HashTrieMapSync, RedBlackTreeMapSync};

pub use self::content::{Attachment, Forwarding, Service, ZoneConfig};
use crate::{DnsError, Domain};

/// How long an answer, or its absence, may be kept unless it is said otherwise, in seconds. Names move when containers
/// do.
pub const DEFAULT_TTL: u32 = 5;

/// What DNS answers from; see the module.
#[derive(Debug, Clone)]
pub struct Snapshot {
    domain: Domain,
    ttl: u32,
    /// Counts changes; the serial number of SOA records.
    serial: u32,
    zones: HashTrieMapSync<NetworkName, Zone>,
    /// By first address. Subnets never overlap, so the one that holds an address begins at or before it.
    subnets: RedBlackTreeMapSync<IpAddr, (IpNet, NetworkName)>,
    /// By each of their addresses.
    attachments: HashTrieMapSync<IpAddr, Arc<Attachment>>,
    /// The networks of each container, in the order of attaching; one entry for each attachment.
    memberships: HashTrieMapSync<ContainerName, Vec<NetworkName>>,
}

/// What DNS answers for one network.
#[derive(Debug, Clone)]
struct Zone {
    config: ZoneConfig,
    /// Who goes by a name, sorted by address. The key is text because queries ask with text.
    names: HashTrieMapSync<Arc<str>, Vec<Arc<Attachment>>>,
}

impl Snapshot {
    /// No network and no name. All full names end in `domain`; answers may be kept for `ttl` seconds.
    pub fn new(domain: Domain, ttl: u32) -> Self {
        Self {
            domain,
            ttl,
            serial: 1,
            zones: HashTrieMapSync::new_sync(),
            subnets: RedBlackTreeMapSync::new_sync(),
            attachments: HashTrieMapSync::new_sync(),
            memberships: HashTrieMapSync::new_sync(),
        }
    }

    /// The snapshot with a zone as `config` has it. A network that is there keeps its endpoints' addresses in those of
    /// its subnets that stay, and loses the others.
    ///
    /// # Errors
    /// [`DnsError::SubnetsOverlap`] names the network that has some of the addresses already.
    pub fn with_network(&self, mut config: ZoneConfig) -> Result<Self, DnsError> {
        config.subnets.iter_mut().for_each(|subnet| *subnet = subnet.trunc());
        let network = config.network.clone();
        let known = self.zones.get(&network);
        if known.is_some_and(|zone| zone.config == config) {
            return Ok(self.clone());
        }
        let mut next = self.without_network(&network);
        for subnet in &config.subnets {
            next.check_overlap(&network, *subnet)?;
            next.subnets.insert_mut(subnet.network(), (*subnet, network.clone()));
        }
        let subnets = config.subnets.clone();
        next.zones.insert_mut(network, Zone { config, names: HashTrieMapSync::new_sync() });
        for attachment in known.iter().flat_map(|zone| zone.names.values()).flatten() {
            let stays = |address: &&IpAddr| subnets.iter().any(|subnet| subnet.contains(*address));
            let addresses: Vec<_> = attachment.addresses.iter().filter(stays).copied().collect();
            // It stands under several names.
            if addresses.first().is_some_and(|address| next.attachment(*address).is_none()) {
                next.attach(Arc::new(Attachment { addresses, ..(**attachment).clone() }));
            }
        }
        Ok(next.changed())
    }

    /// Ranges overlap only if one holds the other, and those that are there do not overlap: the last one to begin
    /// inside or before the new one is the only candidate.
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
        for attachment in zone.names.values().flatten() {
            next.detach(attachment);
        }
        next.zones.remove_mut(network);
        for subnet in &zone.config.subnets {
            next.subnets.remove_mut(&subnet.network());
        }
        next.changed()
    }

    /// The snapshot with this endpoint, in place of what had its addresses before.
    ///
    /// # Errors
    /// [`DnsError::UnknownNetwork`], [`DnsError::AddressOutside`]: the endpoint does not fit the networks.
    pub fn with_attachment(&self, attachment: Attachment) -> Result<Self, DnsError> {
        let Attachment { network, addresses, .. } = &attachment;
        let Some(zone) = self.zones.get(network) else {
            return Err(DnsError::UnknownNetwork(network.clone()));
        };
        for address in addresses {
            if !zone.config.subnets.iter().any(|subnet| subnet.contains(address)) {
                let (network, subnets) = (network.clone(), zone.config.subnets.clone());
                return Err(DnsError::AddressOutside { network, subnets, address: *address });
            }
        }
        let known = |address| self.attachments.get(address).is_some_and(|known| **known == attachment);
        if addresses.iter().all(known) {
            return Ok(self.clone());
        }
        let mut next = self.clone();
        for address in addresses {
            if let Some(former) = next.attachments.get(address).cloned() {
                next.detach(&former);
            }
        }
        next.attach(Arc::new(attachment));
        Ok(next.changed())
    }

    /// The snapshot without the endpoint that has `address`; unchanged if there is none such.
    pub fn without_attachment(&self, address: IpAddr) -> Self {
        let Some(attachment) = self.attachments.get(&address) else { return self.clone() };
        let mut next = self.clone();
        next.detach(attachment);
        next.changed()
    }

    /// The domain of full names.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// For how many seconds answers may be kept.
    pub fn ttl(&self) -> u32 {
        self.ttl
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

    /// What the zone of `network` was made from.
    pub fn zone(&self, network: &NetworkName) -> Option<&ZoneConfig> {
        self.zones.get(network).map(|zone| &zone.config)
    }

    /// Every network, in no order.
    pub fn all_networks(&self) -> impl Iterator<Item = &NetworkName> {
        self.zones.keys()
    }

    /// The networks that `container` is attached to; one named twice has two of its endpoints.
    pub fn networks(&self, container: &ContainerName) -> &[NetworkName] {
        self.memberships.get(container).map_or(&[], Vec::as_slice)
    }

    /// The endpoints on one network that go by a name, alias or short identifier, in lower case; sorted by address.
    pub fn named(&self, network: &NetworkName, name: &str) -> &[Arc<Attachment>] {
        self.zones.get(network).and_then(|zone| zone.names.get(name)).map_or(&[], Vec::as_slice)
    }

    /// Who goes by a name on the network, once for each name, in no order.
    pub(crate) fn holders(&self, network: &NetworkName) -> impl Iterator<Item = &Arc<Attachment>> {
        self.zones.get(network).into_iter().flat_map(|zone| zone.names.values()).flatten()
    }

    fn subnet_before(&self, address: IpAddr) -> Option<&(IpNet, NetworkName)> {
        self.subnets.range(..=address).next_back().map(|(_, found)| found)
    }

    fn attach(&mut self, attachment: Arc<Attachment>) {
        let zone = self.zones.get_mut(&attachment.network).expect("the caller looked the network up");
        for name in attachment.names() {
            let mut holders = zone.names.get(name).cloned().unwrap_or_default();
            if let Err(place) = holders.binary_search_by(|holder| holder.addresses.cmp(&attachment.addresses)) {
                holders.insert(place, attachment.clone());
            }
            zone.names.insert_mut(name.into(), holders);
        }
        let mut networks = self.networks(&attachment.container).to_vec();
        networks.push(attachment.network.clone());
        self.memberships.insert_mut(attachment.container.clone(), networks);
        for address in &attachment.addresses {
            self.attachments.insert_mut(*address, attachment.clone());
        }
    }

    fn detach(&mut self, attachment: &Arc<Attachment>) {
        // It stands under several names, and the caller may go through all of them.
        if !attachment.addresses.iter().any(|address| self.attachments.contains_key(address)) {
            return;
        }
        for address in &attachment.addresses {
            self.attachments.remove_mut(address);
        }
        if let Some(zone) = self.zones.get_mut(&attachment.network) {
            for name in attachment.names() {
                let Some(holders) = zone.names.get(name) else { continue };
                let left: Vec<_> = holders.iter().filter(|holder| !Arc::ptr_eq(holder, attachment)).cloned().collect();
                if left.is_empty() {
                    zone.names.remove_mut(name);
                } else {
                    zone.names.insert_mut(name.into(), left);
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
