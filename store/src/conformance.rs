//! What every backend must do, as a test suite: a backend's own tests call [`run`].

use std::{future::Future, sync::Arc, time::Duration};

use tokio::task::JoinSet;

use crate::{
    Change, CommitError, Durability, Entry, Event, Guard, Key, Listing, Revision, Store, Transaction, Watch, WatchEnd,
    Write,
};

/// How long an event may take to arrive.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long is waited for an event that must not arrive.
const SILENCE: Duration = Duration::from_millis(50);

/// Checks every property, each on an empty store of its own that `make` supplies.
///
/// # Panics
/// When a property does not hold.
pub async fn run<F, S>(make: F)
where
    F: Fn() -> S,
    S: Future<Output = Arc<dyn Store>>,
{
    an_empty_store_is_empty(&*make().await).await;
    revisions_strictly_increase(&*make().await).await;
    what_changes_nothing_has_no_revision(&*make().await).await;
    values_are_any_octets(&*make().await).await;
    an_entry_knows_its_creation_and_its_last_change(&*make().await).await;
    guards_hold_or_nothing_happens(&*make().await).await;
    no_key_is_written_twice_at_once(&*make().await).await;
    what_is_accepted_is_committed_once_it_is_settled(&*make().await).await;
    a_transaction_is_one_revision(&*make().await).await;
    prefixes_are_plain_text(&*make().await).await;
    relaxed_commits_are_seen_at_once(&*make().await).await;
    a_watch_delivers_every_change_once_in_order(&*make().await).await;
    a_watch_starts_where_it_is_told_to(&*make().await).await;
    a_watch_is_never_silent_about_a_gap(&*make().await).await;
    no_update_is_lost(make().await).await;
    a_listing_is_one_moment(make().await).await;
    a_listing_and_its_watch_miss_nothing(make().await).await;
}

fn key(text: &str) -> Key {
    text.parse().expect("the suite's keys are valid")
}

async fn commit(store: &dyn Store, transaction: Transaction) -> Revision {
    store.commit(transaction).await.expect("the transaction has no failing guard")
}

async fn entry(store: &dyn Store, name: &str) -> Option<Entry> {
    store.entry(&key(name)).await.expect("reads work")
}

async fn list(store: &dyn Store, prefix: &str) -> Listing {
    store.list(prefix).await.expect("reads work")
}

async fn watch(store: &dyn Store, prefix: &str, after: Revision) -> Watch {
    store.watch(prefix, after).await.expect("watches work")
}

async fn next(watch: &mut Watch) -> Result<Event, WatchEnd> {
    tokio::time::timeout(PATIENCE, watch.next()).await.expect("a watch delivers what was committed")
}

fn put(revision: Revision, name: &str, value: &[u8]) -> Event {
    Event { revision, key: key(name), change: Change::Put(value.into()) }
}

fn names(listing: &Listing) -> Vec<&str> {
    listing.entries.iter().map(|(key, _)| key.as_str()).collect()
}

async fn an_empty_store_is_empty(store: &dyn Store) {
    assert_eq!(list(store, "").await.entries, []);
    assert_eq!(entry(store, "a").await, None);
}

async fn revisions_strictly_increase(store: &dyn Store) {
    let mut last = list(store, "").await.revision;
    for turn in 0..20_u8 {
        let durability = if turn % 2 == 0 { Durability::Durable } else { Durability::Relaxed };
        let transaction = Transaction { durability, ..Transaction::durable() };
        let revision = commit(store, transaction.put(key("a"), [turn])).await;
        assert!(revision > last, "{revision} follows {last}");
        assert_eq!(list(store, "none/").await.revision, revision, "a listing shows the last revision");
        last = revision;
    }
}

async fn what_changes_nothing_has_no_revision(store: &dyn Store) {
    let revision = commit(store, Transaction::durable().put(key("a"), "1")).await;
    assert_eq!(commit(store, Transaction::durable()).await, revision);
    assert_eq!(commit(store, Transaction::durable().delete(key("absent"))).await, revision);
    assert_eq!(commit(store, Transaction::relaxed().guard(Guard::Present(key("a")))).await, revision);
    assert!(commit(store, Transaction::durable().put(key("a"), "1")).await > revision, "writing is a change");
}

async fn values_are_any_octets(store: &dyn Store) {
    let all: Vec<u8> = (0..=255).collect();
    for value in [Vec::new(), vec![0], vec![0xff; 3], all, vec![7; 1 << 20]] {
        commit(store, Transaction::durable().put(key("a"), value.clone())).await;
        assert_eq!(entry(store, "a").await.map(|entry| entry.value), Some(value.into()));
    }
}

async fn an_entry_knows_its_creation_and_its_last_change(store: &dyn Store) {
    let created = commit(store, Transaction::durable().put(key("a"), "1")).await;
    assert_eq!(entry(store, "a").await, Some(Entry::new(b"1".as_slice().into(), created, created)));
    let modified = commit(store, Transaction::durable().put(key("a"), "2")).await;
    assert_eq!(entry(store, "a").await, Some(Entry::new(b"2".as_slice().into(), created, modified)));
    commit(store, Transaction::durable().delete(key("a"))).await;
    assert_eq!(entry(store, "a").await, None);
    let again = commit(store, Transaction::durable().put(key("a"), "3")).await;
    assert_eq!(entry(store, "a").await, Some(Entry::new(b"3".as_slice().into(), again, again)));
}

async fn guards_hold_or_nothing_happens(store: &dyn Store) {
    let stale = commit(store, Transaction::durable().put(key("old"), "1")).await;
    let present = commit(store, Transaction::durable().put(key("old"), "2")).await;
    for (guard, holds) in [
        (Guard::Absent(key("new")), true),
        (Guard::Absent(key("old")), false),
        (Guard::Present(key("old")), true),
        (Guard::Present(key("new")), false),
        (Guard::Unchanged(key("old"), present), true),
        (Guard::Unchanged(key("old"), stale), false),
        (Guard::Unchanged(key("new"), present), false),
        (Guard::Unchanged(key("new"), Revision::ZERO), false),
    ] {
        let before = list(store, "").await;
        let name = guard.key().clone();
        // A guard that holds on either side does not save one that does not.
        let transaction = Transaction::durable()
            .guard(Guard::Absent(key("never")))
            .guard(guard.clone())
            .guard(Guard::Absent(key("never")))
            .put(key("x"), "1")
            .put(key("y"), "1");
        match store.commit(transaction).await {
            Ok(revision) => {
                assert!(holds, "{guard:?}");
                assert_eq!(names(&list(store, "").await), ["old", "x", "y"]);
                assert!(revision > before.revision);
                commit(store, Transaction::durable().delete(key("x")).delete(key("y"))).await;
            }
            Err(CommitError::Conflict { key }) => {
                assert!(!holds, "{guard:?}");
                assert_eq!(key, name, "the conflict names its key");
                assert_eq!(list(store, "").await, before, "nothing changed");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

async fn no_key_is_written_twice_at_once(store: &dyn Store) {
    let before = list(store, "").await;
    let twice = Transaction::durable().put(key("b"), "1").put(key("a"), "1").delete(key("a"));
    match store.commit(twice).await {
        Err(CommitError::WrittenTwice { key: name }) => assert_eq!(name, key("a")),
        other => panic!("{other:?}"),
    }
    assert_eq!(list(store, "").await, before);
}

async fn what_is_accepted_is_committed_once_it_is_settled(store: &dyn Store) {
    let first = store.submit(Transaction::durable().create(key("a"), "1")).await.expect("nothing is in its way");
    // Decided already, whether it is on the disk or not.
    let second = store.submit(Transaction::durable().create(key("a"), "2")).await;
    assert!(matches!(&second, Err(CommitError::Conflict { key }) if key.as_str() == "a"), "{second:?}");
    let third = store.submit(Transaction::durable().guard(Guard::Present(key("a"))).put(key("b"), "3")).await;
    let third = third.expect("what it relies on is accepted");
    let revision = first.revision;
    assert!(third.revision > revision);
    first.settled().await.expect("the disk has room");
    let found = entry(store, "a").await.expect("it is settled");
    assert_eq!((&*found.value, found.modified), (b"1".as_slice(), revision));
    // Nobody needs to wait for it.
    drop(third);
    commit(store, Transaction::durable().guard(Guard::Present(key("b"))).put(key("c"), "4")).await;
    let relaxed = store.submit(Transaction::relaxed().delete(key("a"))).await.expect("it has no guard");
    relaxed.settled().await.expect("memory has room");
    assert_eq!(names(&list(store, "").await), ["b", "c"]);
}

async fn a_transaction_is_one_revision(store: &dyn Store) {
    let mut watch = watch(store, "", list(store, "").await.revision).await;
    commit(store, Transaction::durable().put(key("gone"), "1")).await;
    let transaction = Transaction::durable().put(key("c"), "1").put(key("a"), "2").delete(key("gone"));
    let revision = commit(store, transaction).await;
    let listing = list(store, "").await;
    assert_eq!(listing.revision, revision);
    assert!(listing.entries.iter().all(|(_, entry)| entry.modified == revision));
    next(&mut watch).await.expect("the first change");
    assert_eq!(next(&mut watch).await, Ok(put(revision, "c", b"1")), "events come in the order of the writes");
    assert_eq!(next(&mut watch).await, Ok(put(revision, "a", b"2")));
    assert_eq!(next(&mut watch).await, Ok(Event { revision, key: key("gone"), change: Change::Delete }));
}

async fn prefixes_are_plain_text(store: &dyn Store) {
    let all = ["a", "a/b", "a/b/c", "a0", "ab", "b", "b/a"];
    let start = list(store, "").await.revision;
    let mut watches = Vec::new();
    let table: [(&str, &[&str]); 8] = [
        ("", &["a", "a/b", "a/b/c", "a0", "ab", "b", "b/a"]),
        ("a", &["a", "a/b", "a/b/c", "a0", "ab"]),
        ("a/", &["a/b", "a/b/c"]),
        ("a/b", &["a/b", "a/b/c"]),
        ("ab", &["ab"]),
        ("ab/", &[]),
        ("b", &["b", "b/a"]),
        ("z", &[]),
    ];
    for (prefix, _) in table {
        watches.push(watch(store, prefix, start).await);
    }
    for name in all {
        commit(store, Transaction::durable().put(key(name), name)).await;
    }
    for ((prefix, expected), mut watch) in table.into_iter().zip(watches) {
        assert_eq!(names(&list(store, prefix).await), expected, "listing of `{prefix}`, ordered");
        for name in expected {
            assert_eq!(next(&mut watch).await.expect("an event").key.as_str(), *name, "watch of `{prefix}`");
        }
        assert!(tokio::time::timeout(SILENCE, watch.next()).await.is_err(), "watch of `{prefix}` has no more");
    }
}

async fn relaxed_commits_are_seen_at_once(store: &dyn Store) {
    let mut watch = watch(store, "a", list(store, "").await.revision).await;
    let revision = commit(store, Transaction::relaxed().put(key("a"), "1")).await;
    assert_eq!(entry(store, "a").await, Some(Entry::new(b"1".as_slice().into(), revision, revision)));
    assert_eq!(next(&mut watch).await, Ok(put(revision, "a", b"1")));
}

async fn a_watch_delivers_every_change_once_in_order(store: &dyn Store) {
    let start = list(store, "").await.revision;
    let mut early = watch(store, "w/", start).await;
    let mut expected = Vec::new();
    for turn in 0..100_u8 {
        let name = format!("w/{}", turn % 7);
        if turn % 5 == 4 {
            let present = entry(store, &name).await.is_some();
            let revision = commit(store, Transaction::durable().delete(key(&name))).await;
            if present {
                expected.push(Event { revision, key: key(&name), change: Change::Delete });
            }
        } else {
            let revision = commit(store, Transaction::relaxed().put(key(&name), [turn])).await;
            expected.push(put(revision, &name, &[turn]));
        }
        commit(store, Transaction::relaxed().put(key("other"), [turn])).await;
    }
    let mut late = watch(store, "w/", start).await;
    for event in expected {
        assert_eq!(next(&mut early).await, Ok(event.clone()));
        assert_eq!(next(&mut late).await, Ok(event));
    }
    assert!(tokio::time::timeout(SILENCE, early.next()).await.is_err());
    let revision = commit(store, Transaction::durable().put(key("w/end"), "")).await;
    assert_eq!(next(&mut early).await, Ok(put(revision, "w/end", b"")), "a dropped wait takes no event away");
}

async fn a_watch_starts_where_it_is_told_to(store: &dyn Store) {
    let mut revisions = Vec::new();
    for turn in 0..5_u8 {
        revisions.push(commit(store, Transaction::durable().put(key("a"), [turn])).await);
    }
    for (turn, after) in revisions.iter().enumerate() {
        let mut watch = watch(store, "", *after).await;
        for later in &revisions[turn + 1..] {
            assert_eq!(next(&mut watch).await.map(|event| event.revision), Ok(*later));
        }
        assert!(tokio::time::timeout(SILENCE, watch.next()).await.is_err());
    }
}

async fn a_watch_is_never_silent_about_a_gap(store: &dyn Store) {
    let revision = commit(store, Transaction::durable().put(key("a"), "1")).await;
    let mut from_the_start = watch(store, "", Revision::ZERO).await;
    match next(&mut from_the_start).await {
        Ok(event) => assert_eq!(event, put(revision, "a", b"1")),
        Err(end) => {
            assert!(matches!(end, WatchEnd::Relist { .. }), "{end}");
            assert_eq!(next(&mut from_the_start).await, Err(end), "an ended watch stays ended");
        }
    }
}

async fn no_update_is_lost(store: Arc<dyn Store>) {
    const TASKS: u32 = 8;
    const TURNS: u32 = 25;
    commit(&*store, Transaction::durable().put(key("counter"), "0")).await;
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            for _ in 0..TURNS {
                while !increment(&*store).await {}
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(
        entry(&*store, "counter").await.map(|it| it.value),
        Some((TASKS * TURNS).to_string().into_bytes().into())
    );
}

async fn increment(store: &dyn Store) -> bool {
    let entry = entry(store, "counter").await.expect("the counter is never deleted");
    let count: u32 = String::from_utf8(entry.value.to_vec()).expect("digits").parse().expect("digits");
    let transaction = Transaction::durable().guarded((
        Guard::Unchanged(key("counter"), entry.modified),
        Write::put(key("counter"), (count + 1).to_string()),
    ));
    match store.commit(transaction).await {
        Ok(_) => true,
        Err(CommitError::Conflict { .. }) => false,
        Err(error) => panic!("{error}"),
    }
}

/// Keys that always change together are never seen apart.
async fn a_listing_is_one_moment(store: Arc<dyn Store>) {
    let write =
        |turn: u32| (0..50).fold(Transaction::relaxed(), |it, n| it.put(key(&format!("s/{n:02}")), turn.to_be_bytes()));
    commit(&*store, write(0)).await;
    let writer = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            for turn in 1..=200 {
                commit(&*store, write(turn)).await;
            }
        }
    });
    while !writer.is_finished() {
        let listing = list(&*store, "s/").await;
        assert_eq!(listing.entries.len(), 50);
        let (_, first) = &listing.entries[0];
        assert!(listing.entries.iter().all(|(_, entry)| entry == first), "all entries are of one transaction");
        assert_eq!(listing.revision, first.modified);
        tokio::task::yield_now().await;
    }
    writer.await.expect("the writer has not panicked");
}

async fn a_listing_and_its_watch_miss_nothing(store: Arc<dyn Store>) {
    const TURNS: u32 = 300;
    let writer = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            for turn in 1..=TURNS {
                commit(&*store, Transaction::relaxed().put(key("n"), turn.to_be_bytes())).await;
            }
        }
    });
    let listing = loop {
        let listing = list(&*store, "n").await;
        if !listing.entries.is_empty() {
            break listing;
        }
        tokio::task::yield_now().await;
    };
    let number = |value: &[u8]| u32::from_be_bytes(value.try_into().expect("four octets"));
    let seen = number(&listing.entries[0].1.value);
    let mut watch = watch(&*store, "n", listing.revision).await;
    for turn in seen + 1..=TURNS {
        match next(&mut watch).await.expect("the history is long enough").change {
            Change::Put(value) => assert_eq!(number(&value), turn),
            Change::Delete => panic!("nothing was deleted"),
        }
    }
    writer.await.expect("the writer has not panicked");
}
