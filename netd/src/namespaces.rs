//! Namespaces that stand but belong to no container yet, some of them with a veth pair in them already.

use std::collections::{BTreeMap, BTreeSet};

use model::{EndpointId, NamespaceName, Spare, Subject};

/// What a namespace is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A container whose first interface leads to a bridge: half of a veth pair.
    Bridged,
    /// Any other container: nothing may be in it.
    Other,
}

/// Namespaces that stand, or are being made, without a container's record that mentions them.
#[derive(Debug, Default)]
pub(crate) struct SpareNamespaces {
    /// Those ready for the next container.
    idle: Vec<NamespaceName>,
    /// Those that are being made: they may stand already, or not.
    making: BTreeSet<NamespaceName>,
    /// All, idle ones and those being made included: none of them is to be cleared away.
    reserved: BTreeSet<NamespaceName>,
    /// Whose first endpoint's veth pair is there already, or about to be. Of a namespace with a container it is kept
    /// until that is committed.
    pairs: BTreeMap<NamespaceName, EndpointId>,
    /// No more are made, and none is kept.
    closed: bool,
}

impl SpareNamespaces {
    /// How many are ready or about to be.
    pub(crate) fn coming(&self) -> usize {
        self.idle.len() + self.making.len()
    }

    /// How many of those have a pair.
    fn coming_with_pair(&self) -> usize {
        self.idle.iter().chain(&self.making).filter(|name| self.pairs.contains_key(*name)).count()
    }

    /// Whether one is ready.
    pub(crate) fn has_idle(&self) -> bool {
        !self.idle.is_empty()
    }

    /// Every one that is to stand.
    pub(crate) fn reserved(&self) -> impl Iterator<Item = &NamespaceName> {
        self.reserved.iter()
    }

    /// Whether this one is to stand.
    pub(crate) fn is_reserved(&self, name: &NamespaceName) -> bool {
        self.reserved.contains(name)
    }

    /// Every pair that is to stand without an endpoint.
    pub(crate) fn spares(&self) -> impl Iterator<Item = Spare> {
        let spare = |(name, id): (&NamespaceName, &EndpointId)| Spare { namespace: name.clone(), endpoint: id.clone() };
        self.pairs.iter().map(spare)
    }

    /// Whose pair waits in the namespace, if one does.
    pub(crate) fn pair_in(&self, name: &NamespaceName) -> Option<&EndpointId> {
        self.pairs.get(name)
    }

    /// One that is ready; it stays reserved until a container's record mentions it, or it is given back. Without a pair
    /// it suits everybody.
    pub(crate) fn take(&mut self, purpose: Purpose) -> Option<NamespaceName> {
        let place = |with_pair| self.idle.iter().rposition(|name| self.pairs.contains_key(name) == with_pair);
        let found = match purpose {
            Purpose::Bridged => place(true).or_else(|| place(false)),
            Purpose::Other => place(false),
        };
        found.map(|place| self.idle.remove(place))
    }

    /// Those that are being made.
    pub(crate) fn making(&self) -> &BTreeSet<NamespaceName> {
        &self.making
    }

    /// The namespaces and interfaces that are being made.
    pub(crate) fn unfinished(&self) -> BTreeSet<Subject> {
        let ports = self.making.iter().filter_map(|name| self.pairs.get(name)).map(EndpointId::host_interface);
        self.making.iter().cloned().map(Subject::Namespace).chain(ports.map(Subject::Link)).collect()
    }

    /// One is being made.
    pub(crate) fn begin(&mut self, name: NamespaceName) {
        self.making.insert(name.clone());
        self.reserved.insert(name);
    }

    /// One is being made, and its pair if it is to have one, unless so many are ready or about to be already; for what
    /// it is. Half of all have a pair.
    pub(crate) fn begin_up_to(&mut self, limit: usize, spare: &Spare) -> Option<Purpose> {
        if self.closed || self.coming() >= limit {
            return None;
        }
        let purpose = if self.coming_with_pair() < limit.div_ceil(2) { Purpose::Bridged } else { Purpose::Other };
        if purpose == Purpose::Bridged {
            self.pairs.insert(spare.namespace.clone(), spare.endpoint.clone());
        }
        self.begin(spare.namespace.clone());
        Some(purpose)
    }

    /// One has been made, for a container that waits for it.
    pub(crate) fn finish(&mut self, name: &NamespaceName) {
        self.making.remove(name);
    }

    /// One is ready for a container, for the first time or again because the container did not come to be.
    pub(crate) fn give_back(&mut self, name: NamespaceName) {
        if self.closed {
            return self.forget(&name);
        }
        self.making.remove(&name);
        self.reserved.insert(name.clone());
        self.idle.push(name);
    }

    /// From now on none is to stand but those that are being made, until they have been.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        for name in self.idle.drain(..) {
            self.pairs.remove(&name);
        }
        self.reserved.clone_from(&self.making);
    }

    /// One that was taken for a container that did not come to be, if one was.
    pub(crate) fn return_unused(&mut self, name: Option<NamespaceName>) {
        if let Some(name) = name {
            self.give_back(name);
        }
    }

    /// A container that is being committed is to live in it.
    pub(crate) fn occupy(&mut self, name: &NamespaceName) {
        self.making.remove(name);
        self.reserved.remove(name);
        self.idle.retain(|idle| idle != name);
    }

    /// The pair in it is an endpoint's from now on, or nobody's.
    pub(crate) fn hand_over_pair(&mut self, name: &NamespaceName) {
        self.pairs.remove(name);
    }

    /// One was not made, or is not to stand.
    pub(crate) fn forget(&mut self, name: &NamespaceName) {
        self.occupy(name);
        self.hand_over_pair(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spare(number: u8) -> Spare {
        let namespace = format!("ns-{number}").parse().expect("literal");
        Spare { namespace, endpoint: EndpointId::from_bytes([number; 8]) }
    }

    fn name(number: u8) -> NamespaceName {
        spare(number).namespace
    }

    #[test]
    fn those_being_made_count_until_they_are_ready() {
        let mut pool = SpareNamespaces::default();
        assert!(pool.begin_up_to(2, &spare(1)).is_some() && pool.begin_up_to(2, &spare(2)).is_some());
        assert_eq!(pool.begin_up_to(2, &spare(3)), None, "two are on their way");
        pool.give_back(name(1));
        assert_eq!(pool.begin_up_to(2, &spare(3)), None, "one is ready, one on its way");
        assert_eq!(pool.take(Purpose::Bridged), Some(name(1)));
        assert!(pool.begin_up_to(2, &spare(3)).is_some());
        assert!(pool.is_reserved(&name(1)) && !pool.is_reserved(&name(4)));
        let port = Subject::Link("fe-030303030303".parse().expect("literal"));
        assert_eq!(pool.unfinished(), [port, Subject::Namespace(name(2)), Subject::Namespace(name(3))].into());
    }

    #[test]
    fn a_pair_is_for_whoever_gets_a_port_of_a_bridge_and_for_nobody_else() {
        let mut pool = SpareNamespaces::default();
        let begun = [1, 2, 3, 4, 5].map(|number| pool.begin_up_to(4, &spare(number)));
        let bridged = Some(Purpose::Bridged);
        assert_eq!(begun, [bridged, bridged, Some(Purpose::Other), Some(Purpose::Other), None], "half and half");
        (1..=4).for_each(|number| pool.give_back(name(number)));
        assert_eq!(pool.take(Purpose::Other), Some(name(4)));
        assert_eq!(pool.take(Purpose::Bridged), Some(name(2)));
        assert_eq!(pool.begin_up_to(4, &spare(5)), bridged, "one with a pair is missing");
        assert_eq!(pool.begin_up_to(4, &spare(6)), Some(Purpose::Other), "and one without");
        assert_eq!(pool.take(Purpose::Other), Some(name(3)));
        assert_eq!(pool.take(Purpose::Other), None, "what is ready has a pair");
        assert_eq!(pool.take(Purpose::Bridged), Some(name(1)));
        pool.give_back(name(3));
        assert_eq!(pool.take(Purpose::Bridged), Some(name(3)), "one without is better than none");
        assert_eq!(pool.begin_up_to(1, &spare(7)), None);
        assert_eq!(SpareNamespaces::default().begin_up_to(1, &spare(1)), bridged);
    }

    #[test]
    fn a_pair_is_wanted_until_it_is_an_endpoint_s() {
        let mut pool = SpareNamespaces::default();
        pool.begin_up_to(1, &spare(1));
        pool.give_back(name(1));
        let wanted = |pool: &SpareNamespaces| pool.spares().collect::<Vec<_>>();
        assert_eq!(pool.take(Purpose::Bridged), Some(name(1)));
        pool.occupy(&name(1));
        assert_eq!((wanted(&pool), pool.pair_in(&name(1))), (vec![spare(1)], Some(&spare(1).endpoint)));
        pool.give_back(name(1));
        assert_eq!(pool.take(Purpose::Bridged), Some(name(1)), "its container did not come to be");
        pool.occupy(&name(1));
        pool.hand_over_pair(&name(1));
        assert_eq!((wanted(&pool), pool.pair_in(&name(1))), (vec![], None));
    }

    #[test]
    fn at_the_end_nothing_stands_but_what_is_being_made_until_it_is() {
        let mut pool = SpareNamespaces::default();
        assert!(pool.begin_up_to(4, &spare(1)).is_some() && pool.begin_up_to(4, &spare(2)).is_some());
        pool.give_back(name(1));
        pool.close();
        assert_eq!(pool.reserved().collect::<Vec<_>>(), [&name(2)]);
        assert_eq!(pool.spares().collect::<Vec<_>>(), [spare(2)]);
        assert_eq!(pool.begin_up_to(9, &spare(3)), None);
        pool.give_back(name(2));
        assert!(pool.making().is_empty() && pool.reserved().next().is_none() && pool.spares().next().is_none());
        assert_eq!(pool.take(Purpose::Bridged), None);
    }
}
