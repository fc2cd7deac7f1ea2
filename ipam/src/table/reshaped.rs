//! A network whose subnets change while its addresses are leased.

use model::{Reservation, Subnet};

use super::LeaseTable;

impl LeaseTable {
    /// The same leases and formers on a network with these subnets and reservations. A subnet that stays goes on behind
    /// the address that was chosen last; leases that lie in none any more stay held and count no longer.
    pub fn reshaped(&self, subnets: &[Subnet], reserved: &[Reservation]) -> Self {
        let mut next = Self::new(self.network.clone(), subnets, reserved);
        next.formers = self.formers.clone();
        for address in self.formers.resting() {
            next.range_mut(address).into_iter().for_each(|range| range.remember(address));
        }
        for (lease, claimed) in self.leases() {
            next.hold(&lease, claimed);
        }
        for range in &mut next.ranges {
            let known = self.ranges.iter().find(|known| known.subnet().range() == range.subnet().range());
            known.into_iter().for_each(|known| range.go_on_like(known));
        }
        next
    }
}
