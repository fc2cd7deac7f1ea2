//! What changes from one data path to another.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{Chain, ChainName, CounterName, DataPath, Elements, Key, PacketVerdict, SetKind, SetName};

/// What makes one data path of another, each thing once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// Sets and maps that come, without elements.
    pub new_sets: BTreeSet<SetName>,
    /// Sets and maps that go, with all their elements.
    pub old_sets: BTreeSet<SetName>,
    /// Counters that come, with what they count.
    pub new_counters: BTreeMap<CounterName, String>,
    /// Counters that go, with what they have counted.
    pub old_counters: BTreeSet<CounterName>,
    /// Chains that come.
    pub new_chains: BTreeMap<ChainName, Chain>,
    /// Chains that stay and get these rules instead of theirs.
    pub changed_chains: BTreeMap<ChainName, Chain>,
    /// Chains that go.
    pub old_chains: BTreeSet<ChainName>,
    /// Elements that leave sets that stay. One whose verdict changes leaves and comes.
    pub old_elements: BTreeSet<(SetName, Key)>,
    /// Elements that come, to new sets too.
    pub new_elements: BTreeMap<(SetName, Key), Option<PacketVerdict>>,
}

impl DataPath {
    /// What makes `new` of this. It costs what changes, if one was made of the other.
    pub fn difference(&self, new: &Self) -> Difference {
        let mut difference = Difference::default();
        self.sets.for_each_difference(&new.sets, |name, before, after| match (before, after) {
            (Some(before), Some(after)) => difference.of_set(name, before, after),
            (Some(_), None) => drop(difference.old_sets.insert(name.clone())),
            (None, Some(after)) => {
                difference.new_sets.insert(name.clone());
                difference.of_set(name, &Elements::default(), after);
            }
            (None, None) => {}
        });
        self.counters.for_each_difference(&new.counters, |name, before, after| match (before, after) {
            (None, Some(about)) => drop(difference.new_counters.insert(name.clone(), about.clone())),
            (_, None) => drop(difference.old_counters.insert(name.clone())),
            (Some(_), Some(_)) => {}
        });
        self.chains.for_each_difference(&new.chains, |name, before, after| match (before, after) {
            (_, None) => drop(difference.old_chains.insert(name.clone())),
            (None, Some(chain)) => drop(difference.new_chains.insert(name.clone(), chain.clone())),
            (Some(before), Some(chain)) if before != chain => {
                difference.changed_chains.insert(name.clone(), chain.clone());
            }
            (Some(_), Some(_)) => {}
        });
        difference
    }

    /// The same, changed. What is to go and is not there is passed over, as is an element of a set that is not there.
    pub fn apply(&mut self, difference: &Difference) {
        let Difference {
            new_sets,
            old_sets,
            new_counters,
            old_counters,
            new_chains,
            changed_chains,
            old_chains,
            old_elements,
            new_elements,
        } = difference;
        for name in old_sets {
            self.sets.remove(name);
        }
        for name in new_sets {
            self.sets.insert(name.clone(), Elements::default());
        }
        for (name, key) in old_elements {
            if let Some(elements) = self.sets.get_mut(name) {
                elements.remove(key);
            }
        }
        for ((name, key), verdict) in new_elements {
            if let Some(elements) = self.sets.get_mut(name) {
                elements.insert(*key, verdict.clone());
            }
        }
        for name in old_counters {
            self.counters.remove(name);
        }
        for (name, about) in new_counters {
            self.counters.insert(name.clone(), about.clone());
        }
        for name in old_chains {
            self.chains.remove(name);
        }
        for (name, chain) in new_chains.iter().chain(changed_chains) {
            self.chains.insert(name.clone(), chain.clone());
        }
    }
}

impl Difference {
    /// Adds what makes the elements of a set those after.
    fn of_set(&mut self, name: &SetName, before: &Elements, after: &Elements) {
        before.for_each_difference(after, |key, old, new| {
            // One whose verdict changes leaves and comes.
            if old != new {
                self.old_elements.extend(old.map(|_| (name.clone(), *key)));
                self.new_elements.extend(new.map(|verdict| ((name.clone(), *key), verdict.clone())));
            }
        });
    }

    /// What can come ahead of the rest, because no rule asks it yet: sets of ports and messages. The kernel has their
    /// elements a little later than the rules of one and the same transaction (`nft_set_commit_update`), and nobody
    /// would be in them meanwhile.
    pub fn divided(mut self) -> (Self, Self) {
        let is_late = |name: &SetName| matches!(name.kind, SetKind::Ports | SetKind::Messages(_));
        let (new_sets, later) = self.new_sets.into_iter().partition(is_late);
        self.new_sets = later;
        let is_ahead = |((name, _), _): &((SetName, Key), _)| BTreeSet::contains(&new_sets, name);
        let (new_elements, later) = self.new_elements.into_iter().partition(is_ahead);
        self.new_elements = later;
        (Self { new_sets, new_elements, ..Self::default() }, self)
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The sets that elements leave or come to, once for each of them.
    pub fn sets(&self) -> impl Iterator<Item = &SetName> {
        self.old_elements.iter().map(|(name, _)| name).chain(self.new_elements.keys().map(|(name, _)| name))
    }

    /// Whether no set, counter, chain or rule comes, changes or goes.
    pub fn is_of_elements(&self) -> bool {
        let Self { new_sets, old_sets, new_counters, old_counters, new_chains, changed_chains, old_chains, .. } = self;
        let (sets, counters) = (new_sets.len() + old_sets.len(), new_counters.len() + old_counters.len());
        let chains = new_chains.len() + changed_chains.len() + old_chains.len();
        sets + counters + chains == 0
    }
}

/// How much of what comes and goes.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("elements come", self.new_elements.len()),
            ("elements go", self.old_elements.len()),
            ("sets come", self.new_sets.len()),
            ("sets go", self.old_sets.len()),
            ("counters come", self.new_counters.len()),
            ("counters go", self.old_counters.len()),
            ("chains come", self.new_chains.len()),
            ("chains change", self.changed_chains.len()),
            ("chains go", self.old_chains.len()),
        ];
        let some = parts.into_iter().filter(|(_, count)| *count > 0);
        f.write_str(&some.map(|(what, count)| format!("{count} {what}")).collect::<Vec<_>>().join(", "))
    }
}
