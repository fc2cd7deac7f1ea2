//! It is held against the map of the standard library.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn listed<K: Ord + Copy, V: Copy>(map: &SharedMap<K, V>) -> Vec<(K, V)> {
    map.iter().map(|(key, value)| (*key, *value)).collect()
}

/// What is told of the way from one map to another, without what stays as it is.
fn told(old: &SharedMap<u8, u8>, new: &SharedMap<u8, u8>) -> Vec<(u8, Option<u8>, Option<u8>)> {
    let mut told = Vec::new();
    old.for_each_difference(new, |key, before, after| {
        if before != after {
            told.push((*key, before.copied(), after.copied()));
        }
    });
    told
}

proptest! {
    #[test]
    fn it_does_what_a_map_does_and_copies_stay_as_they_are(
        first in prop::collection::vec((any::<u8>(), any::<u8>()), 0..40),
        steps in prop::collection::vec((any::<u8>(), prop::option::of(any::<u8>())), 0..80),
    ) {
        let mut map: SharedMap<u8, u8> = first.iter().copied().collect();
        let mut expected: BTreeMap<u8, u8> = first.into_iter().collect();
        prop_assert_eq!(listed(&map), listed(&expected.iter().map(|(key, value)| (*key, *value)).collect()));
        let mut former = vec![(map.clone(), expected.clone())];
        for (key, value) in steps {
            let (was, should_have_been) = match value {
                Some(value) => (map.insert(key, value), expected.insert(key, value)),
                None => (map.remove(&key), expected.remove(&key)),
            };
            prop_assert_eq!(was, should_have_been);
            former.push((map.clone(), expected.clone()));
        }
        for (map, expected) in &former {
            prop_assert!(map.iter().eq(expected));
            prop_assert_eq!(map.len(), expected.len());
            prop_assert!(expected.iter().all(|(key, value)| map.get(key) == Some(value)));
            let at_most = |key| expected.range(..=key).next_back();
            prop_assert!((0..64).all(|key| map.last_at_most(&key) == at_most(key)));
            // In whatever order it was made, it is the same.
            prop_assert_eq!(map, &expected.iter().map(|(key, value)| (*key, *value)).collect());
        }
        let ((old, before), (new, after)) = (&former[0], &former[former.len() - 1]);
        let keys: std::collections::BTreeSet<u8> = before.keys().chain(after.keys()).copied().collect();
        let differences = keys.into_iter().map(|key| (key, before.get(&key).copied(), after.get(&key).copied()));
        let differences: Vec<_> = differences.filter(|(_, before, after)| before != after).collect();
        prop_assert_eq!(old == new, differences.is_empty());
        prop_assert_eq!(told(old, new), differences);
    }
}

#[test]
fn what_two_share_is_not_looked_at() {
    let many: SharedMap<u32, u32> = (0..100_000).map(|number| (number, number)).collect();
    for key in [0, 50_000, 99_999, 100_000] {
        let mut other = many.clone();
        other.insert(key, 7);
        let (mut looked_at, mut found) = (0, Vec::new());
        many.for_each_difference(&other, |key, before, after| {
            looked_at += 1;
            found.extend((before != after).then_some(*key));
        });
        assert_eq!(found, [key]);
        assert!(looked_at < 200, "the way to one of 100,000 is short: {looked_at}");
    }
}

#[test]
fn a_value_is_changed_in_place_and_not_in_copies() {
    let mut map: SharedMap<u8, u8> = [(1, 1), (2, 2)].into();
    let copy = map.clone();
    *map.get_mut(&2).expect("it is there") = 3;
    assert_eq!(map.get_mut(&3), None);
    assert_eq!((listed(&map), listed(&copy)), (vec![(1, 1), (2, 3)], vec![(1, 1), (2, 2)]));
}
