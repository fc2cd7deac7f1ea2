//! Which addresses of one subnet are free.

use std::{collections::BTreeMap, net::IpAddr};

use model::{Reservation, Subnet};

use crate::{
    IpamError, Role,
    number::{address, number},
    runs::Runs,
};

/// The addresses of one subnet that endpoints hold, or may not have.
#[derive(Debug, Clone)]
pub(crate) struct Range {
    subnet: Subnet,
    /// Addresses of the subnet that nobody is given, and why.
    reserved: BTreeMap<IpAddr, String>,
    occupied: Runs,
    /// How many addresses that an endpoint may have are held.
    used: u64,
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
        Self { subnet, reserved, occupied, used: 0, next: number(range.network()) }
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

    pub(crate) fn used(&self) -> u64 {
        self.used
    }

    /// How many addresses endpoints may have.
    pub(crate) fn capacity(&self) -> u64 {
        self.subnet.capacity() - self.reserved.len() as u64
    }

    fn may_be_held(&self, address: IpAddr) -> bool {
        self.subnet.is_endpoint_address(address) && !self.reserved.contains_key(&address)
    }

    /// The next free address behind the one chosen last, from the beginning if there is none.
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

    pub(crate) fn hold(&mut self, address: IpAddr) {
        if self.may_be_held(address) {
            self.occupied.insert(number(address));
            self.used += 1;
        }
    }

    pub(crate) fn free(&mut self, address: IpAddr) {
        if self.may_be_held(address) {
            self.occupied.remove(number(address));
            self.used -= 1;
        }
    }
}
