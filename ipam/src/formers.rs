//! Who had the addresses of a network last, and which of those that are free has been free for longest.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use model::{ContainerName, Family, MacAddress};
use store::Revision;

use crate::Former;

/// The addresses of one network that somebody had, of which some are leased again.
///
/// Everything takes time logarithmic in the number of addresses that are remembered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Formers {
    known: BTreeMap<IpAddr, Last>,
    /// The address of each family that a name gave back last.
    by_name: BTreeMap<(ContainerName, Family), IpAddr>,
    /// The address of each family that was found at a MAC address last.
    by_mac: BTreeMap<(MacAddress, Family), IpAddr>,
    /// The free ones of `known`, those that were given back first first.
    resting: BTreeSet<(Revision, IpAddr)>,
}

/// The last holder of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Last {
    container: ContainerName,
    mac: MacAddress,
    /// The transaction that gave it back.
    freed: Revision,
}

impl Formers {
    /// The address was given back as `former` says at `freed`, and is free. What was known of it before is forgotten.
    pub(crate) fn note(&mut self, former: Former, freed: Revision) {
        let (address, mac) = (former.address, former.found_at());
        self.forget(address);
        self.known.insert(address, Last { container: former.container.clone(), mac, freed });
        self.by_name.insert((former.container, Family::of(address)), address);
        self.by_mac.insert((mac, Family::of(address)), address);
        self.resting.insert((freed, address));
    }

    /// The address is leased; who had it before stays known, should the lease come to nothing. Says whether it rested.
    pub(crate) fn wake(&mut self, address: IpAddr) -> bool {
        self.known.get(&address).is_some_and(|last| self.resting.remove(&(last.freed, address)))
    }

    /// The address is free, and nobody has had it meanwhile. Says whether anybody had it before.
    pub(crate) fn rest(&mut self, address: IpAddr) -> bool {
        let last = self.known.get(&address);
        last.is_some_and(|last| {
            self.resting.insert((last.freed, address));
            true
        })
    }

    /// Nobody had the address before.
    pub(crate) fn forget(&mut self, address: IpAddr) {
        let Some(last) = self.known.remove(&address) else { return };
        self.resting.remove(&(last.freed, address));
        let name = (last.container, Family::of(address));
        if self.by_name.get(&name) == Some(&address) {
            self.by_name.remove(&name);
        }
        let mac = (last.mac, Family::of(address));
        if self.by_mac.get(&mac) == Some(&address) {
            self.by_mac.remove(&mac);
        }
    }

    /// The address of the family that a container of that name gave back last, leased or free; none if somebody else
    /// gave it back after that.
    pub(crate) fn of(&self, container: &ContainerName, family: Family) -> Option<IpAddr> {
        self.by_name.get(&(container.clone(), family)).copied()
    }

    /// The address of the family that was found at this MAC address last, leased or free; none if nobody is known to
    /// have had it.
    pub(crate) fn at(&self, mac: MacAddress, family: Family) -> Option<IpAddr> {
        self.by_mac.get(&(mac, family)).copied()
    }

    /// The MAC address that the last holder of the address was found at; none if nobody is known to have had it.
    pub(crate) fn mac(&self, address: IpAddr) -> Option<MacAddress> {
        self.known.get(&address).map(|last| last.mac)
    }

    /// The free addresses, those that were given back first first.
    pub(crate) fn resting(&self) -> impl Iterator<Item = IpAddr> {
        self.resting.iter().map(|(_, address)| *address)
    }

    /// How many of the remembered addresses are free.
    pub(crate) fn count(&self) -> usize {
        self.resting.len()
    }
}
