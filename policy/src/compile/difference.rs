//! What changes from one data path to another.

use std::collections::{BTreeMap, BTreeSet};

use super::path::{Chain, ChainName, DataPath, Key, SetName, Verdict};

/// What makes one data path of another, each thing once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// Sets and maps that come, without elements.
    pub new_sets: BTreeSet<SetName>,
    /// Sets and maps that go, with all their elements.
    pub old_sets: BTreeSet<SetName>,
    /// Chains that come.
    pub new_chains: BTreeMap<ChainName, Chain>,
    /// Chains that stay and get these rules instead of theirs.
    pub changed_chains: BTreeMap<ChainName, Chain>,
    /// Chains that go.
    pub old_chains: BTreeSet<ChainName>,
    /// Elements that leave sets that stay. One whose verdict changes leaves and comes.
    pub old_elements: BTreeSet<(SetName, Key)>,
    /// Elements that come, to new sets too.
    pub new_elements: BTreeMap<(SetName, Key), Option<Verdict>>,
}

impl DataPath {
    /// What makes `new` of this.
    pub fn difference(&self, new: &Self) -> Difference {
        let mut difference = Difference::default();
        for (name, elements) in &new.sets {
            let before = self.sets.get(name);
            if before.is_none() {
                difference.new_sets.insert(name.clone());
            }
            for (key, verdict) in elements {
                let found = before.and_then(|before| before.get(key));
                if found == Some(verdict) {
                    continue;
                }
                if found.is_some() {
                    difference.old_elements.insert((name.clone(), *key));
                }
                difference.new_elements.insert((name.clone(), *key), verdict.clone());
            }
        }
        for (name, elements) in &self.sets {
            let Some(after) = new.sets.get(name) else {
                difference.old_sets.insert(name.clone());
                continue;
            };
            let gone = elements.keys().filter(|key| !after.contains_key(*key));
            difference.old_elements.extend(gone.map(|key| (name.clone(), *key)));
        }
        for (name, chain) in &new.chains {
            match self.chains.get(name) {
                None => difference.new_chains.insert(name.clone(), chain.clone()),
                Some(before) if before != chain => difference.changed_chains.insert(name.clone(), chain.clone()),
                Some(_) => None,
            };
        }
        difference.old_chains = self.chains.keys().filter(|name| !new.chains.contains_key(*name)).cloned().collect();
        difference
    }

    /// The same, changed. What is to go and is not there is passed over, as is an element of a set that is not there.
    pub fn apply(&mut self, difference: &Difference) {
        let Difference { new_sets, old_sets, new_chains, changed_chains, old_chains, old_elements, new_elements } =
            difference;
        self.sets.retain(|name, _| !old_sets.contains(name));
        self.sets.extend(new_sets.iter().map(|name| (name.clone(), BTreeMap::new())));
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
        self.chains.retain(|name, _| !old_chains.contains(name));
        let chains = new_chains.iter().chain(changed_chains);
        self.chains.extend(chains.map(|(name, chain)| (name.clone(), chain.clone())));
    }
}

impl Difference {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether no set, chain or rule comes, changes or goes.
    pub fn is_of_elements(&self) -> bool {
        let Self { new_sets, old_sets, new_chains, changed_chains, old_chains, .. } = self;
        new_sets.is_empty()
            && old_sets.is_empty()
            && new_chains.is_empty()
            && changed_chains.is_empty()
            && old_chains.is_empty()
    }
}
