//! The leases of one network, and the choice of a free address.

mod reshaped;

use std::{collections::BTreeMap, net::IpAddr};

use model::{ContainerName, EndpointId, Family, MacAddress, NetworkId, Reservation, Subnet};
use store::{Listing, Revision, Store, Transaction};

use crate::{Former, IpamError, Lease, Parting, formers::Formers, range::Range};

/// How many free addresses of a network are remembered with who had them last.
const REMEMBERED: usize = 1024;

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
    formers: Formers,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    endpoint: EndpointId,
    claimed: Revision,
}

/// Which address an endpoint is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request<'a> {
    /// Any of this family that is free.
    Any(Family),
    /// The one that a container of this name gave back last; if that is not free, the one that was found at the MAC
    /// address last; and any if that is not free either.
    Again {
        /// Its family.
        family: Family,
        /// What the container is called.
        container: &'a ContainerName,
        /// The MAC address that the endpoint is to have, if that is known.
        mac: Option<MacAddress>,
    },
    /// This one.
    Fixed(IpAddr),
}

/// How full subnets are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// How many addresses endpoints hold.
    pub used: u64,
    /// How many they could hold.
    pub capacity: u128,
    /// How many nobody holds and somebody held before: each is its last holder's until there is no other for the rest.
    pub resting: u64,
}

impl Usage {
    /// How many nobody holds or is remembered to have held.
    pub fn free(&self) -> u128 {
        self.capacity - u128::from(self.used) - u128::from(self.resting)
    }
}

impl LeaseTable {
    /// The table of a network without leases.
    pub fn new(network: NetworkId, subnets: &[Subnet], reserved: &[Reservation]) -> Self {
        let ranges = subnets.iter().map(|subnet| Range::new(*subnet, reserved)).collect();
        Self { network, ranges, leases: BTreeMap::new(), formers: Formers::default() }
    }

    /// The table that the listings of [`Lease::prefix`] and [`Former::prefix`] show. Choices go on behind the youngest
    /// lease of each subnet.
    ///
    /// # Errors
    /// [`IpamError::Unreadable`], [`IpamError::Misplaced`] or [`IpamError::UnreadableFormer`] name the first record
    /// that is not what it should be.
    pub fn from_listing(
        network: NetworkId,
        subnets: &[Subnet],
        reserved: &[Reservation],
        leases: &Listing,
        formers: &Listing,
    ) -> Result<Self, IpamError> {
        Self::new(network, subnets, reserved).with(leases, formers)
    }

    /// The table, which is empty, with what these listings have.
    fn with(self, leases: &Listing, formers: &Listing) -> Result<Self, IpamError> {
        let mut table = self;
        let parsed = formers.entries.iter().map(|(key, entry)| Ok((entry.modified, Former::parse(key, entry)?)));
        let mut formers = parsed.collect::<Result<Vec<_>, IpamError>>()?;
        // Of two addresses that one name had, the one it had last is its own.
        formers.sort_by_key(|(freed, _)| *freed);
        for (freed, former) in formers {
            if let Some(range) = table.range_mut(former.address) {
                range.remember(former.address);
            }
            table.formers.note(former, freed);
        }
        let mut youngest = vec![Revision::ZERO; table.ranges.len()];
        for (key, entry) in &leases.entries {
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

    /// Reads leases and formers again, keeping the places where choices go on.
    ///
    /// # Errors
    /// [`IpamError::Store`], or as [`LeaseTable::from_listing`]; the table is then as it was.
    pub async fn refresh(&mut self, store: &dyn Store) -> Result<(), IpamError> {
        let leases = store.list(&Lease::prefix(&self.network)).await?;
        let formers = store.list(&Former::prefix(&self.network)).await?;
        let ranges = self.ranges.iter().map(Range::emptied).collect();
        let empty =
            Self { network: self.network.clone(), ranges, leases: BTreeMap::new(), formers: Formers::default() };
        let mut next = empty.with(&leases, &formers)?;
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

    /// A free address. Of any, it is the next behind the one chosen last that nobody had yet, in the first subnet that
    /// has one; when somebody had them all, the one that has been free for longest. So an address rests for as long as
    /// there is another, and none that is free is ever refused.
    ///
    /// # Errors
    /// [`IpamError::Exhausted`], or for a fixed address [`IpamError::Outside`], [`IpamError::Reserved`] or
    /// [`IpamError::InUse`].
    pub fn choose(&self, request: Request) -> Result<IpAddr, IpamError> {
        let any = |family| {
            self.next_free(family).ok_or_else(|| {
                let Usage { used, capacity, .. } = self.usage_where(|subnet| subnet.family() == family);
                let ranges = self.ranges.iter().map(Range::subnet).filter(|subnet| subnet.family() == family);
                let ranges = ranges.map(|subnet| subnet.pool().unwrap_or_else(|| subnet.range())).collect();
                IpamError::Exhausted { ranges, used, capacity }
            })
        };
        match request {
            Request::Any(family) => any(family),
            Request::Again { family, container, mac } => {
                let own = self.formers.of(container, family);
                // Neighbours who remember where it was are right again.
                let there = mac.and_then(|mac| self.formers.at(mac, family));
                let free = own.into_iter().chain(there).find_map(|address| self.check(address).ok());
                free.map_or_else(|| any(family), Ok)
            }
            Request::Fixed(address) => self.check(address),
        }
    }

    fn next_free(&self, family: Family) -> Option<IpAddr> {
        let ranges = || self.ranges.iter().filter(|range| range.subnet().family() == family);
        let rested = || self.formers.resting().find(|address| ranges().any(|range| range.is_automatic(*address)));
        ranges().find_map(Range::next_free).or_else(rested)
    }

    fn check(&self, address: IpAddr) -> Result<IpAddr, IpamError> {
        let Some(range) = self.ranges.iter().find(|range| range.subnet().range().contains(&address)) else {
            let family = Family::of(address);
            let ranges = self.ranges.iter().map(|range| range.subnet().range()).collect();
            if self.ranges.iter().any(|range| range.subnet().family() == family) {
                return Err(IpamError::Outside { address, ranges });
            }
            return Err(IpamError::NoSubnet { address, family, ranges });
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
        if self.leases.insert(lease.address, held).is_some() {
            return;
        }
        let rested = self.formers.wake(lease.address);
        if let Some(range) = self.range_mut(lease.address) {
            range.hold(lease.address, rested);
        }
    }

    /// Notes that the lease of `address` is gone, and came to nothing: who had it before is still who had it last. That
    /// it was not there is success.
    pub fn remove(&mut self, address: IpAddr) {
        if self.leases.remove(&address).is_none() {
            return;
        }
        let rests = self.formers.rest(address);
        if let Some(range) = self.range_mut(address) {
            range.free(address, rests);
        }
    }

    /// The MAC address that neighbours may still believe the address to be at: that of its last holder, if there was
    /// one and it is remembered.
    pub fn last_mac(&self, address: IpAddr) -> Option<MacAddress> {
        self.formers.mac(address)
    }

    /// The free addresses that neighbours may still believe to be at this MAC address.
    pub fn last_at(&self, mac: MacAddress) -> impl Iterator<Item = IpAddr> {
        let last = Family::ALL.into_iter().filter_map(move |family| self.formers.at(mac, family));
        last.filter(|address| !self.leases.contains_key(address))
    }

    /// Adds to `transaction` what gives back those of `addresses` that are leased, and remembers that `parting` had
    /// them.
    ///
    /// No more than a fixed number of free addresses are remembered; those that have been free for longest are dropped.
    /// Of many releases at once, some may drop the same ones, and the store keep a few more than it should.
    pub fn release(
        &self,
        transaction: Transaction,
        addresses: impl IntoIterator<Item = IpAddr>,
        parting: Parting<'_>,
    ) -> Transaction {
        let held: Vec<_> = addresses.into_iter().filter_map(|address| self.lease(address)).collect();
        let surplus = (self.formers.count() + held.len()).saturating_sub(REMEMBERED);
        let released = held.into_iter().fold(transaction, |transaction, (lease, claimed)| {
            transaction.guarded(lease.release(claimed)).write(self.former(lease.address, parting).remember())
        });
        let dropped = self.formers.resting().take(surplus);
        dropped.fold(released, |transaction, address| transaction.delete(Former::key_of(&self.network, address)))
    }

    /// Notes that [`LeaseTable::release`] of an address was committed at `freed`.
    pub fn rest(&mut self, address: IpAddr, parting: Parting<'_>, freed: Revision) {
        if self.leases.remove(&address).is_none() {
            return;
        }
        self.formers.note(self.former(address, parting), freed);
        if let Some(range) = self.range_mut(address) {
            range.free(address, true);
        }
        while self.formers.count() > REMEMBERED {
            let oldest = self.formers.resting().next().expect("there are more than none");
            self.formers.forget(oldest);
            if let Some(range) = self.range_mut(oldest) {
                range.forget(oldest);
            }
        }
    }

    fn former(&self, address: IpAddr, parting: Parting<'_>) -> Former {
        let mac = parting.mac.filter(|mac| *mac != MacAddress::of(address));
        Former { network: self.network.clone(), address, container: parting.container.clone(), mac }
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

    /// How full the subnets are, all together. Leases outside them, left from before they were changed, do not count.
    pub fn usage(&self) -> Usage {
        self.usage_where(|_| true)
    }

    /// How full each subnet is, in their order.
    pub fn usages(&self) -> impl Iterator<Item = (&Subnet, Usage)> {
        self.ranges.iter().map(|range| (range.subnet(), range.usage()))
    }

    fn usage_where(&self, counts: impl Fn(&Subnet) -> bool) -> Usage {
        let ranges = self.ranges.iter().filter(|range| counts(range.subnet()));
        ranges.map(Range::usage).fold(Usage::default(), |all, usage| Usage {
            used: all.used + usage.used,
            capacity: all.capacity.saturating_add(usage.capacity),
            resting: all.resting + usage.resting,
        })
    }
}

#[cfg(test)]
mod tests;
