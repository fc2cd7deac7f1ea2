//! The leases of one network, and the choice of a free address.

use std::{collections::BTreeMap, net::Ipv4Addr};

use model::{EndpointId, NetworkId, Subnet};
use store::{Guard, Listing, Revision, Store, Write};

use crate::{IpamError, Lease, Role, runs::Runs};

/// The leases of one network, as they were in the store at some time.
///
/// The table decides nothing for good: an address is its endpoint's once the claim is committed. Choosing, inserting
/// and removing take logarithmic time, however many leases there are.
#[derive(Debug, Clone)]
pub struct LeaseTable {
    network: NetworkId,
    subnet: Subnet,
    leases: BTreeMap<Ipv4Addr, Held>,
    /// Leased addresses an endpoint may have, and the three none may have.
    occupied: Runs,
    /// How many of the leased addresses are ones an endpoint may have.
    used: u32,
    /// Where the search goes on: behind the address that was chosen last.
    next: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    endpoint: EndpointId,
    claimed: Revision,
}

/// Which address an endpoint is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Any that is free.
    Any,
    /// This one.
    Fixed(Ipv4Addr),
}

/// How full a subnet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// How many addresses endpoints hold.
    pub used: u32,
    /// How many they could hold.
    pub capacity: u32,
}

impl LeaseTable {
    /// The table of a network without leases.
    pub fn new(network: NetworkId, subnet: Subnet) -> Self {
        let mut occupied = Runs::default();
        for address in [subnet.range().network(), subnet.gateway(), subnet.range().broadcast()] {
            occupied.insert(address.into());
        }
        let next = subnet.range().network().into();
        Self { network, subnet, leases: BTreeMap::new(), occupied, used: 0, next }
    }

    /// The table that `listing` of [`Lease::prefix`] shows. Choices go on behind the youngest lease.
    ///
    /// # Errors
    /// [`IpamError::Unreadable`] or [`IpamError::Misplaced`] name the first record that is not a lease of the network.
    pub fn from_listing(network: NetworkId, subnet: Subnet, listing: &Listing) -> Result<Self, IpamError> {
        let mut table = Self::new(network, subnet);
        let mut youngest = Revision::ZERO;
        for (key, entry) in &listing.entries {
            let lease = Lease::parse(key, entry)?;
            if lease.network != table.network {
                return Err(IpamError::Misplaced { key: key.clone(), address: lease.address, network: lease.network });
            }
            if entry.created > youngest && table.subnet.is_endpoint_address(lease.address) {
                youngest = entry.created;
                table.next = u32::from(lease.address) + 1;
            }
            table.hold(&lease, entry.modified);
        }
        Ok(table)
    }

    /// Reads the leases again, keeping the place where choices go on.
    ///
    /// # Errors
    /// [`IpamError::Store`], or as [`LeaseTable::from_listing`]; the table is then as it was.
    pub async fn refresh(&mut self, store: &dyn Store) -> Result<(), IpamError> {
        let listing = store.list(&Lease::prefix(&self.network)).await?;
        let next = self.next;
        *self = Self::from_listing(self.network.clone(), self.subnet, &listing)?;
        self.next = next;
        Ok(())
    }

    /// The network whose leases these are.
    pub fn network(&self) -> &NetworkId {
        &self.network
    }

    /// A free address. Of any, it is the next behind the one chosen last, so that an address that was given back
    /// rests until all others had their turn.
    ///
    /// # Errors
    /// [`IpamError::Exhausted`], or for a fixed address [`IpamError::Outside`], [`IpamError::Reserved`] or
    /// [`IpamError::InUse`].
    pub fn choose(&self, request: Request) -> Result<Ipv4Addr, IpamError> {
        match request {
            Request::Any => self.next_free().ok_or_else(|| IpamError::Exhausted {
                network: self.network.clone(),
                range: self.subnet.range(),
                used: self.used,
                capacity: self.subnet.capacity(),
            }),
            Request::Fixed(address) => self.check(address),
        }
    }

    fn next_free(&self) -> Option<Ipv4Addr> {
        let range = self.subnet.range();
        [self.next, range.network().into()]
            .into_iter()
            .filter_map(|from| self.occupied.next_free(from).map(Ipv4Addr::from))
            .find(|address| range.contains(address))
    }

    fn check(&self, address: Ipv4Addr) -> Result<Ipv4Addr, IpamError> {
        let range = self.subnet.range();
        let role = if !range.contains(&address) {
            return Err(IpamError::Outside { address, range });
        } else if address == self.subnet.gateway() {
            Role::Gateway
        } else if address == range.network() {
            Role::Network
        } else if address == range.broadcast() {
            Role::Broadcast
        } else if let Some(held) = self.leases.get(&address) {
            return Err(IpamError::InUse { address, endpoint: held.endpoint.clone() });
        } else {
            return Ok(address);
        };
        Err(IpamError::Reserved { address, range, role })
    }

    /// Notes a lease that was committed at `revision`. A lease of another network is none of the table's and ignored.
    pub fn insert(&mut self, lease: &Lease, revision: Revision) {
        if lease.network != self.network {
            return;
        }
        // A fixed address does not move the place of the search, or it would cut the rest of others short.
        if self.next_free() == Some(lease.address) {
            self.next = u32::from(lease.address) + 1;
        }
        self.hold(lease, revision);
    }

    fn hold(&mut self, lease: &Lease, claimed: Revision) {
        let held = Held { endpoint: lease.endpoint.clone(), claimed };
        let was_free = self.leases.insert(lease.address, held).is_none();
        if was_free && self.subnet.is_endpoint_address(lease.address) {
            self.occupied.insert(lease.address.into());
            self.used += 1;
        }
    }

    /// Notes that the lease of `address` is gone; that it was not there is success.
    pub fn remove(&mut self, address: Ipv4Addr) {
        if self.leases.remove(&address).is_some() && self.subnet.is_endpoint_address(address) {
            self.occupied.remove(address.into());
            self.used -= 1;
        }
    }

    /// The lease of `address`, and the revision of its claim.
    pub fn lease(&self, address: Ipv4Addr) -> Option<(Lease, Revision)> {
        self.leases.get(&address).map(|held| (self.of(address, held), held.claimed))
    }

    /// All leases, ordered by address, with the revisions of their claims.
    pub fn leases(&self) -> impl Iterator<Item = (Lease, Revision)> {
        self.leases.iter().map(|(address, held)| (self.of(*address, held), held.claimed))
    }

    fn of(&self, address: Ipv4Addr, held: &Held) -> Lease {
        Lease { network: self.network.clone(), address, endpoint: held.endpoint.clone() }
    }

    /// What a transaction needs in it to give `address` back, if it is leased.
    pub fn release(&self, address: Ipv4Addr) -> Option<(Guard, Write)> {
        self.lease(address).map(|(lease, claimed)| lease.release(claimed))
    }

    /// How full the subnet is. Leases outside it, left from before it was changed, do not count.
    pub fn usage(&self) -> Usage {
        Usage { used: self.used, capacity: self.subnet.capacity() }
    }
}

#[cfg(test)]
mod tests;
