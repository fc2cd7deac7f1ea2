//! Who comes and goes, and which names have which addresses, at the cost of what is said about them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use model::{ContainerName, data_path::PacketVerdict};

use super::{Compilation, Side, kind, roster::Found};
use crate::{dns_name::DnsName, world::Endpoint};

impl Compilation {
    /// These containers have these endpoints now, and none besides. Elements change where that is all it takes; where
    /// chains come or go it is made anew.
    ///
    /// Returns whether that can be. If an endpoint is of no network, or has an address that is somebody else's, or its
    /// container has two on one network, nothing has changed.
    pub fn change(&mut self, mut changed: BTreeMap<ContainerName, Vec<Endpoint>>) -> bool {
        changed.retain(|name, endpoints| self.endpoints_of(name) != endpoints.as_slice());
        if !self.has_room_for(&changed) {
            return false;
        }
        let mut former: BTreeMap<ContainerName, Vec<Endpoint>> = BTreeMap::new();
        for name in changed.keys() {
            former.extend(self.endpoints.remove(&Some(name.clone())).map(|endpoints| (name.clone(), endpoints)));
        }
        let is_followed = self.follow(&former, &changed);
        for address in former.values().flatten().flat_map(|endpoint| &endpoint.addresses) {
            self.held.remove(address);
        }
        for (name, endpoints) in changed {
            self.held.extend(endpoints.iter().flat_map(|endpoint| &endpoint.addresses));
            if !endpoints.is_empty() {
                self.endpoints.insert(Some(name), endpoints);
            }
        }
        if !is_followed {
            self.begin_anew();
        }
        true
    }

    /// These names outside have these addresses now, and no others. An address that somebody here has is theirs all the
    /// same. Elements change where that is all it takes.
    pub fn rename(&mut self, names: BTreeMap<DnsName, BTreeSet<IpAddr>>) {
        let before = names.keys().flat_map(|name| self.world.addresses_of(name));
        let addresses: BTreeSet<IpAddr> = before.chain(names.values().flatten().copied()).collect();
        let outside: Vec<IpAddr> = addresses.into_iter().filter(|address| !self.held.contains(address)).collect();
        let old = self.elements_outside(&outside);
        self.world.set_names(names);
        if !self.replace(&old, &self.elements_outside(&outside)) {
            self.begin_anew();
        }
    }

    fn begin_anew(&mut self) {
        let rules = self.sides.each_ref().map(|side| side.rules.clone());
        let (world, endpoints) = (std::mem::take(&mut self.world), std::mem::take(&mut self.endpoints));
        *self = Self::of(rules, world, endpoints);
    }

    fn has_room_for(&self, changed: &BTreeMap<ContainerName, Vec<Endpoint>>) -> bool {
        let former = changed.keys().flat_map(|name| self.endpoints_of(name));
        let leaving: BTreeSet<IpAddr> = former.flat_map(|endpoint| &endpoint.addresses).copied().collect();
        let mut come = BTreeSet::new();
        let mut is_free = |address: &IpAddr| {
            let is_held = self.held.contains(address) && !leaving.contains(address);
            !self.world.is_of_host(*address) && !is_held && come.insert(*address)
        };
        changed.values().all(|endpoints| {
            let mut networks = BTreeSet::new();
            endpoints.iter().all(|Endpoint { network, addresses, .. }| {
                self.world.has_network(network) && networks.insert(network) && addresses.iter().all(&mut is_free)
            })
        })
    }

    /// Changes elements so that whoever was there before is there no more, and others are. Returns whether that is all
    /// it takes; otherwise what is here is good for nothing.
    fn follow(
        &mut self,
        before: &BTreeMap<ContainerName, Vec<Endpoint>>,
        after: &BTreeMap<ContainerName, Vec<Endpoint>>,
    ) -> bool {
        let addresses = |of: &BTreeMap<ContainerName, Vec<Endpoint>>| -> BTreeSet<IpAddr> {
            of.values().flatten().flat_map(|endpoint| &endpoint.addresses).copied().collect()
        };
        let (leaving, come) = (addresses(before), addresses(after));
        // Who has a name outside is told by it as long as nobody here has the address.
        let mut old = self.elements(before);
        old.extend(self.elements_outside(come.difference(&leaving)));
        if !self.count(before, after) {
            return false;
        }
        let mut new = self.elements(after);
        new.extend(self.elements_outside(leaving.difference(&come)));
        self.replace(&old, &new)
    }

    /// Changes elements so that there are some instead of others. Returns whether that is all it takes; otherwise what
    /// is here is good for nothing.
    fn replace(&mut self, old: &Found, new: &Found) -> bool {
        let mut left = BTreeSet::new();
        for (place, verdict) in old.iter().filter(|(place, verdict)| new.get(place) != Some(*verdict)) {
            let Some(elements) = Arc::make_mut(&mut self.path).sets.get_mut(&self.roster.names()[place.0]) else {
                return false;
            };
            elements.remove(&place.1);
            if let Some(PacketVerdict::Goto(chain)) = verdict
                && let Some(times) = self.led_to.get_mut(chain)
            {
                *times -= 1;
                left.insert(chain);
            }
        }
        for (place, verdict) in new.iter().filter(|(place, verdict)| old.get(place) != Some(*verdict)) {
            let Some(elements) = Arc::make_mut(&mut self.path).sets.get_mut(&self.roster.names()[place.0]) else {
                return false;
            };
            elements.insert(place.1, verdict.clone());
            if let Some(PacketVerdict::Goto(chain)) = verdict {
                if !self.path.chains.contains_key(chain) {
                    return false;
                }
                self.led_to.entry(chain.clone()).and_modify(|times| *times += 1);
            }
        }
        left.into_iter().all(|chain| self.led_to.get(chain) != Some(&0))
    }

    /// Counts the endpoints of classes anew. Returns whether those with chains are the same ones.
    fn count(
        &mut self,
        before: &BTreeMap<ContainerName, Vec<Endpoint>>,
        after: &BTreeMap<ContainerName, Vec<Endpoint>>,
    ) -> bool {
        for Side { rules, classes, .. } in &mut self.sides {
            for endpoint in after.values().flatten() {
                let kind = kind(rules, endpoint, &self.world);
                if !classes.contains_key(&kind) && rules.outline(&kind.0, &kind.1).is_some() {
                    return false;
                }
                classes.entry(kind).or_default().endpoints += 1;
            }
            for endpoint in before.values().flatten() {
                let kind = kind(rules, endpoint, &self.world);
                let Some(class) = classes.get_mut(&kind) else { return false };
                class.endpoints -= 1;
                if class.endpoints == 0 {
                    if class.chain.is_some() {
                        return false;
                    }
                    classes.remove(&kind);
                }
            }
        }
        true
    }
}
