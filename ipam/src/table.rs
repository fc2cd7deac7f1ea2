//! The leases of one network, and the choice of a free address.

use std::{collections::BTreeMap, net::IpAddr};

use model::{EndpointId, Family, NetworkId, Reservation, Subnet};
use store::{Guard, Listing, Revision, Store, Write};

use crate::{IpamError, Lease, range::Range};

/// The leases of one network, as they were in the store at some time.
///
/// The table decides nothing for good: an address is its endpoint's once the claim is committed. Choosing, inserting
/// and removing take logarithmic time, however many leases there are.
#[derive(Debug, Clone)]
pub struct LeaseTable {
    network: NetworkId,
    /// One for each subnet, in their order.
    ranges: Vec<Range>,
    leases: BTreeMap<IpAddr, Held>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    endpoint: EndpointId,
    claimed: Revision,
}

/// Which address an endpoint is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Any of this family that is free.
    Any(Family),
    /// This one.
    Fixed(IpAddr),
}

/// How full subnets are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// How many addresses endpoints hold.
    pub used: u64,
    /// How many they could hold; more than 64 bits can say count as the most they can.
    pub capacity: u64,
}

impl LeaseTable {
    /// The table of a network without leases.
    pub fn new(network: NetworkId, subnets: &[Subnet], reserved: &[Reservation]) -> Self {
        let ranges = subnets.iter().map(|subnet| Range::new(*subnet, reserved)).collect();
        Self { network, ranges, leases: BTreeMap::new() }
    }

    /// The table that `listing` of [`Lease::prefix`] shows. Choices go on behind the youngest lease of each subnet.
    ///
    /// # Errors
    /// [`IpamError::Unreadable`] or [`IpamError::Misplaced`] name the first record that is not a lease of the network.
    pub fn from_listing(
        network: NetworkId,
        subnets: &[Subnet],
        reserved: &[Reservation],
        listing: &Listing,
    ) -> Result<Self, IpamError> {
        Self::new(network, subnets, reserved).with_leases(listing)
    }

    /// The table, which has no leases, with those of `listing`.
    fn with_leases(self, listing: &Listing) -> Result<Self, IpamError> {
        let mut table = self;
        let mut youngest = vec![Revision::ZERO; table.ranges.len()];
        for (key, entry) in &listing.entries {
            let lease = Lease::parse(key, entry)?;
            if lease.network != table.network {
                return Err(IpamError::Misplaced { key: key.clone(), address: lease.address, network: lease.network });
            }
            for (range, youngest) in table.ranges.iter_mut().zip(&mut youngest) {
                if entry.created > *youngest && range.subnet().is_endpoint_address(lease.address) {
                    *youngest = entry.created;
                    range.go_on_behind(lease.address);
                }
            }
            table.hold(&lease, entry.modified);
        }
        Ok(table)
    }

    /// Reads the leases again, keeping the places where choices go on.
    ///
    /// # Errors
    /// [`IpamError::Store`], or as [`LeaseTable::from_listing`]; the table is then as it was.
    pub async fn refresh(&mut self, store: &dyn Store) -> Result<(), IpamError> {
        let listing = store.list(&Lease::prefix(&self.network)).await?;
        let ranges = self.ranges.iter().map(Range::emptied).collect();
        let empty = Self { network: self.network.clone(), ranges, leases: BTreeMap::new() };
        let mut next = empty.with_leases(&listing)?;
        for (range, known) in next.ranges.iter_mut().zip(&self.ranges) {
            range.go_on_like(known);
        }
        *self = next;
        Ok(())
    }

    /// The network whose leases these are.
    pub fn network(&self) -> &NetworkId {
        &self.network
    }

    /// A free address. Of any, it is the next behind the one chosen last in the first subnet with room, so that an address
    /// that was given back rests until all others of the subnet had their turn.
    ///
    /// # Errors
    /// [`IpamError::Exhausted`], or for a fixed address [`IpamError::Outside`], [`IpamError::Reserved`] or
    /// [`IpamError::InUse`].
    pub fn choose(&self, request: Request) -> Result<IpAddr, IpamError> {
        match request {
            Request::Any(family) => self.next_free(family).ok_or_else(|| {
                let Usage { used, capacity } = self.usage_where(|subnet| subnet.family() == family);
                let ranges = self.ranges.iter().map(Range::subnet).filter(|subnet| subnet.family() == family);
                let ranges = ranges.map(|subnet| subnet.pool().unwrap_or_else(|| subnet.range())).collect();
                IpamError::Exhausted { network: self.network.clone(), ranges, used, capacity }
            }),
            Request::Fixed(address) => self.check(address),
        }
    }

    fn next_free(&self, family: Family) -> Option<IpAddr> {
        self.ranges.iter().filter(|range| range.subnet().family() == family).find_map(Range::next_free)
    }

    fn check(&self, address: IpAddr) -> Result<IpAddr, IpamError> {
        let Some(range) = self.ranges.iter().find(|range| range.subnet().range().contains(&address)) else {
            let ranges = self.ranges.iter().map(|range| range.subnet().range()).collect();
            return Err(IpamError::Outside { address, ranges });
        };
        range.check(address)?;
        match self.leases.get(&address) {
            Some(held) => Err(IpamError::InUse { address, endpoint: held.endpoint.clone() }),
            None => Ok(address),
        }
    }

    /// Notes a lease that was committed at `revision`. A lease of another network is none of the table's and ignored.
    pub fn insert(&mut self, lease: &Lease, revision: Revision) {
        if lease.network != self.network {
            return;
        }
        // A fixed address does not move the place of the search, or it would cut the rest of others short.
        if let Some(range) = self.range_mut(lease.address)
            && range.next_free() == Some(lease.address)
        {
            range.go_on_behind(lease.address);
        }
        self.hold(lease, revision);
    }

    /// The range that holds `address`.
    fn range_mut(&mut self, address: IpAddr) -> Option<&mut Range> {
        self.ranges.iter_mut().find(|range| range.subnet().range().contains(&address))
    }

    fn hold(&mut self, lease: &Lease, claimed: Revision) {
        let held = Held { endpoint: lease.endpoint.clone(), claimed };
        if self.leases.insert(lease.address, held).is_none()
            && let Some(range) = self.range_mut(lease.address)
        {
            range.hold(lease.address);
        }
    }

    /// Notes that the lease of `address` is gone; that it was not there is success.
    pub fn remove(&mut self, address: IpAddr) {
        if self.leases.remove(&address).is_some()
            && let Some(range) = self.range_mut(address)
        {
            range.free(address);
        }
    }

    /// The lease of `address`, and the revision of its claim.
    pub fn lease(&self, address: IpAddr) -> Option<(Lease, Revision)> {
        self.leases.get(&address).map(|held| (self.of(address, held), held.claimed))
    }

    /// All leases, ordered by address, with the revisions of their claims.
    pub fn leases(&self) -> impl Iterator<Item = (Lease, Revision)> {
        self.leases.iter().map(|(address, held)| (self.of(*address, held), held.claimed))
    }

    fn of(&self, address: IpAddr, held: &Held) -> Lease {
        Lease { network: self.network.clone(), address, endpoint: held.endpoint.clone() }
    }

    /// What a transaction needs in it to give `address` back, if it is leased.
    pub fn release(&self, address: IpAddr) -> Option<(Guard, Write)> {
        self.lease(address).map(|(lease, claimed)| lease.release(claimed))
    }

    /// How full the subnets are, all together. Leases outside them, left from before they were changed, do not count.
    pub fn usage(&self) -> Usage {
        self.usage_where(|_| true)
    }

    fn usage_where(&self, counts: impl Fn(&Subnet) -> bool) -> Usage {
        self.ranges.iter().filter(|range| counts(range.subnet())).fold(Usage::default(), |usage, range| Usage {
            used: usage.used + range.used(),
            capacity: usage.capacity.saturating_add(range.capacity()),
        })
    }
}

#[cfg(test)]
mod tests;
