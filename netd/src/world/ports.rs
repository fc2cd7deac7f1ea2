//! Which host ports are taken, and which to take where a person leaves that to Fabric.

use std::{collections::BTreeMap, num::NonZeroU16};

use model::{ContainerId, PortRange, Protocol, Publish};

/// Host ports and who has them.
///
/// Ranges are few and are looked through one by one; single ports may be thousands and are found by their number.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    single: BTreeMap<(Protocol, NonZeroU16), Vec<Claim>>,
    ranges: Vec<Claim>,
}

/// Host ports that a container has.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    pub(crate) publish: Publish,
    pub(crate) holder: ContainerId,
}

impl Ports {
    /// A claim to a port that `publish` claims as well, at an address of the host that both mean.
    pub(crate) fn conflict(&self, publish: &Publish) -> Option<&Claim> {
        let (protocol, ports) = (publish.protocol(), publish.host_ports());
        let single = self.single.range((protocol, ports.first())..=(protocol, ports.last()));
        single.flat_map(|(_, claims)| claims).chain(&self.ranges).find(|claim| claim.publish.collides(publish))
    }

    pub(crate) fn claim(&mut self, publish: Publish, holder: ContainerId) {
        let claim = Claim { publish, holder };
        match publish.host_ports().count() {
            1 => self.single.entry((publish.protocol(), publish.host_ports().first())).or_default().push(claim),
            _ => self.ranges.push(claim),
        }
    }

    pub(crate) fn release(&mut self, publish: &Publish, holder: &ContainerId) {
        let others = |claim: &Claim| claim.publish != *publish || claim.holder != *holder;
        if publish.host_ports().count() > 1 {
            self.ranges.retain(others);
            return;
        }
        let key = (publish.protocol(), publish.host_ports().first());
        if let Some(claims) = self.single.get_mut(&key) {
            claims.retain(others);
            if claims.is_empty() {
                self.single.remove(&key);
            }
        }
    }

    /// Every port of the protocol that is taken, at whatever address.
    pub(crate) fn taken(&self, protocol: Protocol) -> PortSet {
        let claims = self.single.values().flatten().chain(&self.ranges);
        let own = claims.filter(|claim| claim.publish.protocol() == protocol);
        own.fold(PortSet::empty(), |taken, claim| taken.with(claim.publish.host_ports()))
    }
}

/// Any of the 65,536 ports.
#[derive(Debug, Clone)]
pub(crate) struct PortSet(Box<[bool]>);

impl PortSet {
    fn empty() -> Self {
        Self(vec![false; 1 << 16].into())
    }

    /// These ports as well.
    pub(crate) fn with(mut self, ports: PortRange) -> Self {
        self.0[usize::from(ports.first().get())..=usize::from(ports.last().get())].fill(true);
        self
    }

    /// The first of `count` free ports that follow each other, if there are so many: the first such from `start` on, in
    /// the best region that has any.
    ///
    /// Best is above the ports that the kernel gives to programs (`local`), where nothing is by accident; then below
    /// them; then among them. Ports below 1024 are never chosen: each means something.
    pub(crate) fn choose(&self, count: u16, local: (u16, u16), start: u16) -> Option<NonZeroU16> {
        const LOWEST: u16 = 1024;
        let (low, high) = (local.0.max(LOWEST), local.1.max(LOWEST));
        let above = high.checked_add(1).map(|first| (first, u16::MAX));
        let mut regions = above.into_iter().chain([(LOWEST, low - 1), (LOWEST, u16::MAX)]);
        regions.find_map(|region| self.run_within(region, count, start))
    }

    fn run_within(&self, (low, high): (u16, u16), count: u16, start: u16) -> Option<NonZeroU16> {
        let last = high.checked_sub(count - 1).filter(|last| *last >= low)?;
        let starts = u32::from(last - low) + 1;
        let order = (0..starts).map(|step| (u32::from(start) + step) % starts + u32::from(low));
        // Free ports in a row that end at the port looked at last; the row begins anew where the order wraps.
        let (mut previous, mut run_end) = (None, 0_u32);
        for first in order {
            if previous != Some(first.wrapping_sub(1)) {
                run_end = first;
            }
            previous = Some(first);
            run_end = run_end.max(first);
            let wanted = first + u32::from(count);
            while run_end < wanted && !self.0[run_end as usize] {
                run_end += 1;
            }
            if run_end == wanted {
                return NonZeroU16::new(u16::try_from(first).expect("a port of the region"));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(first: u16, last: u16) -> PortRange {
        let port = |number| NonZeroU16::new(number).expect("literal");
        PortRange::new(port(first), port(last)).expect("literal")
    }

    #[test]
    fn ports_are_chosen_clear_of_what_programs_get() {
        const LOCAL: (u16, u16) = (32768, 60999);
        for (taken, count, start, chosen) in [
            (&[][..], 1, 0, Some(61000)),
            (&[], 1, 7, Some(61007)),
            (&[range(61000, 61004)], 1, 0, Some(61005)),
            (&[range(61005, 61005)], 10, 0, Some(61006)),
            (&[range(65535, 65535)], 1, 4535, Some(61000)),
            (&[range(61000, 65535)], 1, 0, Some(1024)),
            (&[range(61000, 65534)], 2, 0, Some(1024)),
            (&[], 5000, 0, Some(1024)),
            (&[range(61000, 65535), range(1024, 32767)], 1, 0, Some(32768)),
            (&[range(1, 65535)], 1, 0, None),
            (&[], 64512, 9, Some(1024)),
            (&[], 64513, 0, None),
        ] {
            let set = taken.iter().fold(PortSet::empty(), |set, range| set.with(*range));
            let found = set.choose(count, LOCAL, start).map(NonZeroU16::get);
            assert_eq!(found, chosen, "{taken:?} {count} {start}");
        }
        let everything_is_given = PortSet::empty().choose(1, (1, 65535), 5).map(NonZeroU16::get);
        assert_eq!(everything_is_given, Some(1029));
    }

    proptest! {
        #[test]
        fn what_is_chosen_is_free_and_what_is_free_is_found(
            taken in proptest::collection::vec((1024_u16..=65535, 0_u16..5000), 0..40),
            count in 1_u16..3000,
            start: u16,
            local in (0_u16..=65535, 0_u16..=65535),
        ) {
            let set = taken.iter().fold(PortSet::empty(), |set, (first, more)| {
                set.with(range(*first, first.saturating_add(*more)))
            });
            let is_free = |first: u16| (first..=first + (count - 1)).all(|port| !set.0[usize::from(port)]);
            match set.choose(count, (local.0.min(local.1), local.0.max(local.1)), start) {
                Some(first) => prop_assert!(first.get() >= 1024 && is_free(first.get())),
                None => prop_assert!(!(1024..=65535 - (count - 1)).any(is_free)),
            }
        }
    }
}
