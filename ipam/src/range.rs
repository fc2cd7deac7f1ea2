//! Which addresses of one subnet are free.

use std::net::IpAddr;

use model::Subnet;

use crate::{
    IpamError, Role,
    number::{address, number},
    runs::Runs,
};

/// The addresses of one subnet that endpoints hold, or may not have.
#[derive(Debug, Clone)]
pub(crate) struct Range {
    subnet: Subnet,
    occupied: Runs,
    /// How many addresses that an endpoint may have are held.
    used: u64,
    /// Where the search goes on: behind the address that was chosen last.
    next: u128,
}

impl Range {
    pub(crate) fn new(subnet: Subnet) -> Self {
        let mut occupied = Runs::default();
        let range = subnet.range();
        occupied.insert(number(subnet.gateway()));
        for edge in [range.network(), range.broadcast()] {
            if !subnet.is_endpoint_address(edge) {
                occupied.insert(number(edge));
            }
        }
        Self { subnet, occupied, used: 0, next: number(range.network()) }
    }

    pub(crate) fn subnet(&self) -> &Subnet {
        &self.subnet
    }

    pub(crate) fn used(&self) -> u64 {
        self.used
    }

    /// The next free address behind the one chosen last, from the beginning if there is none.
    pub(crate) fn next_free(&self) -> Option<IpAddr> {
        let range = self.subnet.range();
        [self.next, number(range.network())]
            .into_iter()
            .filter_map(|from| address(self.subnet.family(), self.occupied.next_free(from)?))
            .find(|address| range.contains(address))
    }

    /// Whether an endpoint may have `address`, which is in the range, if nobody holds it.
    pub(crate) fn check(&self, address: IpAddr) -> Result<(), IpamError> {
        let range = self.subnet.range();
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
        if self.subnet.is_endpoint_address(address) {
            self.occupied.insert(number(address));
            self.used += 1;
        }
    }

    pub(crate) fn free(&mut self, address: IpAddr) {
        if self.subnet.is_endpoint_address(address) {
            self.occupied.remove(number(address));
            self.used -= 1;
        }
    }
}
