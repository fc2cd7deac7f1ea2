//! Which addresses of one subnet are free.

use std::{collections::BTreeMap, net::IpAddr};

use model::{Reservation, Subnet};

use crate::{
    IpamError, Role, Usage,
    number::{address, number},
    runs::Runs,
};

/// The addresses of one subnet that endpoints hold, or may not have.
#[derive(Debug, Clone)]
pub(crate) struct Range {
    subnet: Subnet,
    /// Addresses of the subnet that nobody is given, and why.
    reserved: BTreeMap<IpAddr, String>,
    /// What is not there for whoever comes first: held, nobody's, or resting since it was given back.
    occupied: Runs,
    /// How many addresses that an endpoint may have are held.
    used: u64,
    /// How many addresses that an endpoint may have are free, and somebody had them before.
    resting: u64,
    /// Where the search goes on: behind the address that was chosen last.
    next: u128,
}

impl Range {
    /// The range of a subnet that nobody holds an address of. Reservations elsewhere are none of it.
    pub(crate) fn new(subnet: Subnet, reserved: &[Reservation]) -> Self {
        let reserved: BTreeMap<_, _> = reserved
            .iter()
            .filter(|reservation| subnet.is_endpoint_address(reservation.address()))
            .map(|reservation| (reservation.address(), reservation.why().to_owned()))
            .collect();
        let mut occupied = Runs::default();
        let range = subnet.range();
        occupied.insert(number(subnet.gateway()));
        for edge in [range.network(), range.broadcast()] {
            if !subnet.is_endpoint_address(edge) {
                occupied.insert(number(edge));
            }
        }
        reserved.keys().for_each(|address| occupied.insert(number(*address)));
        Self { subnet, reserved, occupied, used: 0, resting: 0, next: number(range.network()) }
    }

    /// The same range with nobody in it.
    pub(crate) fn emptied(&self) -> Self {
        let reserved = self.reserved.clone();
        let mut empty = Self::new(self.subnet, &[]);
        reserved.keys().for_each(|address| empty.occupied.insert(number(*address)));
        Self { reserved, ..empty }
    }

    pub(crate) fn subnet(&self) -> &Subnet {
        &self.subnet
    }

    /// How full it is.
    pub(crate) fn usage(&self) -> Usage {
        Usage { used: self.used, capacity: self.capacity(), resting: self.resting }
    }

    /// Whether addresses that nobody asked for by name may include this one.
    pub(crate) fn is_automatic(&self, address: IpAddr) -> bool {
        self.subnet.pool().unwrap_or_else(|| self.subnet.range()).contains(&address) && self.may_be_held(address)
    }

    /// How many addresses endpoints may have.
    fn capacity(&self) -> u128 {
        self.subnet.capacity() - self.reserved.len() as u128
    }

    fn may_be_held(&self, address: IpAddr) -> bool {
        self.subnet.is_endpoint_address(address) && !self.reserved.contains_key(&address)
    }

    /// The next address that nobody had yet behind the one chosen last, from the beginning if there is none.
    pub(crate) fn next_free(&self) -> Option<IpAddr> {
        let pool = self.subnet.pool().unwrap_or_else(|| self.subnet.range());
        [self.next, number(pool.network())]
            .into_iter()
            .filter_map(|from| address(self.subnet.family(), self.occupied.next_free(from)?))
            .find(|address| pool.contains(address))
    }

    /// Whether an endpoint may have `address`, which is in the range, if nobody holds it.
    pub(crate) fn check(&self, address: IpAddr) -> Result<(), IpamError> {
        let range = self.subnet.range();
        if let Some(why) = self.reserved.get(&address) {
            return Err(IpamError::SetAside { address, why: why.clone() });
        }
        let role = if address == self.subnet.gateway() {
            Role::Gateway
        } else if self.subnet.is_endpoint_address(address) {
            return Ok(());
        } else if address == range.network() {
            Role::Network
        } else {
            Role::Broadcast
        };
        Err(IpamError::Reserved { address, range, role })
    }

    /// The search goes on behind `address`.
    pub(crate) fn go_on_behind(&mut self, address: IpAddr) {
        // Nothing is behind the last address of all; the search wraps around then.
        self.next = number(address).saturating_add(1);
    }

    /// Goes on where `other` does.
    pub(crate) fn go_on_like(&mut self, other: &Self) {
        self.next = other.next;
    }

    /// Somebody has the address, which was free.
    pub(crate) fn hold(&mut self, address: IpAddr, rested: bool) {
        if self.may_be_held(address) {
            self.occupied.insert(number(address));
            self.used += 1;
            self.resting -= u64::from(rested);
        }
    }

    /// Nobody has the address any more.
    pub(crate) fn free(&mut self, address: IpAddr, rests: bool) {
        if self.may_be_held(address) {
            self.used -= 1;
            self.resting += u64::from(rests);
            if !rests {
                self.occupied.remove(number(address));
            }
        }
    }

    /// The address, which nobody has, was had by somebody.
    pub(crate) fn remember(&mut self, address: IpAddr) {
        if self.may_be_held(address) {
            self.occupied.insert(number(address));
            self.resting += 1;
        }
    }

    /// The address, which nobody has, is as if nobody ever had it.
    pub(crate) fn forget(&mut self, address: IpAddr) {
        if self.may_be_held(address) {
            self.resting -= 1;
            self.occupied.remove(number(address));
        }
    }
}
