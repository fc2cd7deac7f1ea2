//! Namespaces that stand but belong to no container yet.

use std::collections::BTreeSet;

use model::NamespaceName;

/// Namespaces that stand, or are being made, without a container's record that mentions them.
#[derive(Debug, Default)]
pub(crate) struct SpareNamespaces {
    /// Those ready for the next container.
    idle: Vec<NamespaceName>,
    /// Those that are being made: they may stand already, or not.
    making: BTreeSet<NamespaceName>,
    /// All, idle ones and those being made included: none of them is to be cleared away.
    reserved: BTreeSet<NamespaceName>,
}

impl SpareNamespaces {
    /// How many are ready or about to be.
    pub(crate) fn coming(&self) -> usize {
        self.idle.len() + self.making.len()
    }

    /// Every one that is to stand.
    pub(crate) fn reserved(&self) -> impl Iterator<Item = &NamespaceName> {
        self.reserved.iter()
    }

    /// Whether this one is to stand.
    pub(crate) fn is_reserved(&self, name: &NamespaceName) -> bool {
        self.reserved.contains(name)
    }

    /// One that is ready; it stays reserved until a container's record mentions it, or it is given back.
    pub(crate) fn take(&mut self) -> Option<NamespaceName> {
        self.idle.pop()
    }

    /// Those that are being made.
    pub(crate) fn making(&self) -> &BTreeSet<NamespaceName> {
        &self.making
    }

    /// One is being made.
    pub(crate) fn begin(&mut self, name: NamespaceName) {
        self.making.insert(name.clone());
        self.reserved.insert(name);
    }

    /// One is being made, unless so many are ready or about to be already; whether it is.
    pub(crate) fn begin_up_to(&mut self, limit: usize, name: &NamespaceName) -> bool {
        let short = self.coming() < limit;
        if short {
            self.begin(name.clone());
        }
        short
    }

    /// One has been made, for a container that waits for it.
    pub(crate) fn finish(&mut self, name: &NamespaceName) {
        self.making.remove(name);
    }

    /// One is ready for a container, for the first time or again because the container did not come to be.
    pub(crate) fn give_back(&mut self, name: NamespaceName) {
        self.making.remove(&name);
        self.reserved.insert(name.clone());
        self.idle.push(name);
    }

    /// One was not made, or a container's record mentions it from now on.
    pub(crate) fn forget(&mut self, name: &NamespaceName) {
        self.making.remove(name);
        self.reserved.remove(name);
        self.idle.retain(|idle| idle != name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_being_made_count_until_they_are_ready() {
        let name = |number: u8| -> NamespaceName { format!("ns-{number}").parse().expect("literal") };
        let mut spare = SpareNamespaces::default();
        assert!(spare.begin_up_to(2, &name(1)) && spare.begin_up_to(2, &name(2)));
        assert!(!spare.begin_up_to(2, &name(3)), "two are on their way");
        spare.give_back(name(1));
        assert!(!spare.begin_up_to(2, &name(3)), "one is ready, one on its way");
        assert_eq!(spare.take(), Some(name(1)));
        assert!(spare.begin_up_to(2, &name(3)));
        assert!(spare.is_reserved(&name(1)) && !spare.is_reserved(&name(4)));
    }
}
