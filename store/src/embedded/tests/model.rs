//! The store against a map.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const KEYS: [&str; 6] = ["a", "a/b", "a/c", "ab", "b", "b/a"];

#[derive(Debug, Clone)]
enum Step {
    Commit { guards: Vec<(usize, Expectation)>, writes: Vec<(usize, Option<Vec<u8>>)>, durability: Durability },
    Reopen,
}

#[derive(Debug, Clone, Copy)]
enum Expectation {
    Absent,
    Present,
    Unchanged,
    Stale,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = || 0..KEYS.len();
    let expectation = prop_oneof![
        Just(Expectation::Absent),
        Just(Expectation::Present),
        Just(Expectation::Unchanged),
        Just(Expectation::Stale)
    ];
    let value = prop::option::weighted(0.7, prop::collection::vec(any::<u8>(), 0..5));
    let durability = prop_oneof![Just(Durability::Durable), Just(Durability::Relaxed)];
    let commit = (
        prop::collection::vec((key(), expectation), 0..2),
        prop::collection::btree_map(key(), value, 0..4),
        durability,
    )
        .prop_map(|(guards, writes, durability)| Step::Commit {
            guards,
            writes: writes.into_iter().collect(),
            durability,
        });
    prop::collection::vec(prop_oneof![9 => commit, 1 => Just(Step::Reopen)], 1..30)
}

type Model = BTreeMap<Key, Entry>;

fn guard(model: &Model, (index, expectation): (usize, Expectation)) -> (Guard, bool) {
    let key = key(KEYS[index]);
    let entry = model.get(&key);
    match expectation {
        Expectation::Absent => (Guard::Absent(key), entry.is_none()),
        Expectation::Present => (Guard::Present(key), entry.is_some()),
        Expectation::Unchanged => {
            let revision = entry.map_or(Revision::ZERO, |entry| entry.modified);
            (Guard::Unchanged(key, revision), entry.is_some())
        }
        Expectation::Stale => {
            let revision = entry.map_or(1, |entry| entry.modified.number() + 1);
            (Guard::Unchanged(key, Revision::from_number(revision)), false)
        }
    }
}

async fn check(steps: Vec<Step>) {
    let directory = directory();
    let mut store = open(&directory);
    let mut model = Model::new();
    let mut last = Revision::ZERO;
    let mut watch = store.watch("a", last).await.expect("watches");
    // What someone knows who only follows the watch.
    let mut followed = BTreeMap::new();
    for step in steps {
        match step {
            Step::Reopen => {
                drop(store);
                store = open(&directory);
                last = store.list("").await.expect("reads").revision;
                watch = store.watch("a", last).await.expect("watches");
            }
            Step::Commit { guards, writes, durability } => {
                let (guards, hold): (Vec<_>, Vec<_>) = guards.into_iter().map(|it| guard(&model, it)).unzip();
                let failing =
                    guards.iter().zip(&hold).find(|(_, holds)| !**holds).map(|(guard, _)| guard.key().clone());
                let transaction = Transaction {
                    guards,
                    writes: writes
                        .iter()
                        .map(|(index, value)| match value {
                            Some(value) => Write::put(key(KEYS[*index]), value.clone()),
                            None => Write::delete(key(KEYS[*index])),
                        })
                        .collect(),
                    durability,
                    on_full_disk: OnFullDisk::Fail,
                };
                match store.commit(transaction).await {
                    Err(CommitError::Conflict { key }) => assert_eq!(Some(key), failing),
                    Err(error) => panic!("{error}"),
                    Ok(revision) => {
                        assert_eq!(failing, None);
                        apply(&mut model, &writes, revision, &mut last);
                    }
                }
            }
        }
        let listing = store.list("").await.expect("reads");
        assert_eq!(listing.revision, last);
        assert_eq!(listing.entries, model.clone().into_iter().collect::<Vec<_>>());
        let expected: BTreeMap<_, _> = model
            .iter()
            .filter(|(key, _)| key.as_str().starts_with('a'))
            .map(|(key, entry)| (key.clone(), entry.value.clone()))
            .collect();
        while followed != expected {
            let event = watch.next().await.expect("the watch goes on");
            match event.change {
                Change::Put(value) => followed.insert(event.key, value),
                Change::Delete => followed.remove(&event.key),
            };
        }
    }
}

fn apply(model: &mut Model, writes: &[(usize, Option<Vec<u8>>)], revision: Revision, last: &mut Revision) {
    let mut changed = false;
    for (index, value) in writes {
        let key = key(KEYS[*index]);
        match value {
            Some(value) => {
                let created = model.get(&key).map_or(revision, |entry| entry.created);
                model.insert(key, Entry::new(value.clone().into(), created, revision));
                changed = true;
            }
            None => changed |= model.remove(&key).is_some(),
        }
    }
    assert_eq!(revision > *last, changed, "{revision} after {last}");
    *last = revision;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_store_is_a_map(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(check(steps));
    }
}
