//! A set of addresses kept as runs of neighbours, in which the next free one is found at once.

use std::collections::BTreeMap;

/// Numbers in a set, as disjoint runs with at least one free number between two of them.
///
/// Adding, removing and finding the next free number take time logarithmic in the number of runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Runs {
    /// First number of a run to its last.
    runs: BTreeMap<u128, u128>,
}

impl Runs {
    /// The run that holds `number`.
    fn run(&self, number: u128) -> Option<(u128, u128)> {
        let (first, last) = self.runs.range(..=number).next_back()?;
        (number <= *last).then_some((*first, *last))
    }

    /// The first number from `number` on that is not in the set; none if the set goes on to the end of all numbers.
    pub(crate) fn next_free(&self, number: u128) -> Option<u128> {
        match self.run(number) {
            None => Some(number),
            Some((_, last)) => last.checked_add(1),
        }
    }

    /// Adds `number`.
    pub(crate) fn insert(&mut self, number: u128) {
        if self.run(number).is_some() {
            return;
        }
        let before = number.checked_sub(1).and_then(|before| self.run(before));
        let after = number.checked_add(1).and_then(|after| self.run(after));
        if let Some((first, _)) = after {
            self.runs.remove(&first);
        }
        let first = before.map_or(number, |(first, _)| first);
        let last = after.map_or(number, |(_, last)| last);
        self.runs.insert(first, last);
    }

    /// Removes `number`.
    pub(crate) fn remove(&mut self, number: u128) {
        let Some((first, last)) = self.run(number) else {
            return;
        };
        self.runs.remove(&first);
        if first < number {
            self.runs.insert(first, number - 1);
        }
        if number < last {
            self.runs.insert(number + 1, last);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn numbers() -> impl Strategy<Value = u128> {
        prop_oneof![0_u128..40, u128::MAX - 5..=u128::MAX]
    }

    proptest! {
        #[test]
        fn runs_are_a_set(steps in prop::collection::vec((any::<bool>(), numbers()), 0..200), probe in numbers()) {
            let mut runs = Runs::default();
            let mut set = BTreeSet::new();
            for (insert, number) in steps {
                if insert {
                    runs.insert(number);
                    set.insert(number);
                } else {
                    runs.remove(number);
                    set.remove(&number);
                }
                prop_assert_eq!(runs.next_free(probe), (probe..=u128::MAX).find(|number| !set.contains(number)));
            }
            // Runs are maximal: as many as there are members without a predecessor.
            let beginnings = set.iter().filter(|number| !number.checked_sub(1).is_some_and(|it| set.contains(&it)));
            prop_assert_eq!(runs.runs.len(), beginnings.count());
        }
    }
}
