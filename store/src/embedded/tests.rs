use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{
    image::{HISTORY, HISTORY_OCTETS},
    *,
};
use crate::{Change, Durability, Guard, OnFullDisk, WatchEnd, Write, conformance};

mod crash;
mod disk;
mod model;
mod refusal;

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// How long what has to happen may take: a machine that stands still for seconds changes nothing about it.
const ENOUGH: Duration = Duration::from_secs(60);

/// Opens a store that this process alone uses. A child of another test that has not executed its program yet holds
/// every descriptor of this process, locks included.
fn open(directory: &TempDir) -> Embedded {
    let begin = Instant::now();
    loop {
        match Embedded::open(directory.path()) {
            Err(OpenError::InUse { .. }) if begin.elapsed() < ENOUGH => {}
            opened => return opened.expect("the store opens"),
        }
    }
}

fn key(text: &str) -> Key {
    text.parse().expect("the tests' keys are valid")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conforms() {
    let directories = Mutex::new(Vec::new());
    conformance::run(|| async {
        let directory = directory();
        let store: Arc<dyn Store> = Arc::new(open(&directory));
        directories.lock().expect("no test panics with it").push(directory);
        store
    })
    .await;
}

#[tokio::test]
async fn a_closed_store_goes_on_where_it_was() {
    let directory = directory();
    let store = open(&directory);
    let durable = store.commit(Transaction::durable().put(key("a"), "1")).await.expect("commits");
    let relaxed = store.commit(Transaction::relaxed().put(key("b"), "2")).await.expect("commits");
    let before = store.list("").await.expect("reads");
    drop(store);

    let store = open(&directory);
    assert_eq!(store.list("").await.expect("reads"), before, "a clean end keeps relaxed commits");
    assert_eq!(before.revision, relaxed);
    assert!(relaxed > durable);
}

/// Within how many seconds a relaxed change is on the disk of a machine that does not stand still.
const SOON: Duration = Duration::from_secs(3);

#[tokio::test]
async fn relaxed_commits_reach_the_disk_by_themselves() {
    let directory = directory();
    let store = open(&directory);
    let mut least = Duration::MAX;
    for name in ["a", "b", "c", "d", "e"] {
        store.commit(Transaction::relaxed().put(key(name), "1")).await.expect("commits");
        let begin = Instant::now();
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            // What a crash now would leave, unless it was written to while it was copied.
            let copy = tempfile::tempdir().expect("a temporary directory");
            std::fs::copy(store.path(), copy.path().join("state.redb")).expect("copies");
            let copied = Embedded::open(copy.path());
            if let Ok(copied) = copied
                && copied.entry(&key(name)).await.expect("reads").is_some()
            {
                break;
            }
            assert!(begin.elapsed() < ENOUGH, "it is not on the disk");
        }
        least = least.min(begin.elapsed());
        if least < SOON {
            return;
        }
    }
    panic!("it is on the disk after {least:?}");
}

#[tokio::test]
async fn revisions_lost_in_a_crash_are_not_given_out_again() {
    let directory = directory();
    let store = open(&directory);
    store.commit(Transaction::durable().put(key("a"), "1")).await.expect("commits");
    let mut last = Revision::ZERO;
    for turn in 0..3_u8 {
        let crashed = tempfile::tempdir().expect("a temporary directory");
        let lost = store.commit(Transaction::relaxed().put(key("b"), [turn])).await.expect("commits");
        std::fs::copy(store.path(), crashed.path().join("state.redb")).expect("copies");
        let reborn = open(&crashed);
        let revision = reborn.commit(Transaction::durable().put(key("c"), "")).await.expect("commits");
        assert!(revision > lost, "{revision} was {lost} before the crash");
        last = last.max(revision);
    }
}

#[tokio::test]
async fn a_watch_that_lags_too_far_is_told_to_list_again() {
    let directory = directory();
    let store = open(&directory);
    let start = store.commit(Transaction::durable().put(key("w/0"), "")).await.expect("commits");
    let mut lagging = store.watch("w/", start).await.expect("watches");
    let mut elsewhere = store.watch("x/", start).await.expect("watches");
    let mut last = start;
    for turn in 0..=HISTORY {
        last = store.commit(Transaction::relaxed().put(key("w/1"), turn.to_string())).await.expect("commits");
    }
    let relist = WatchEnd::Relist { prefix: "w/".to_owned(), after: start };
    assert_eq!(lagging.next().await, Err(relist.clone()));
    assert_eq!(lagging.next().await, Err(relist));
    assert!(matches!(elsewhere.next().await, Err(WatchEnd::Relist { .. })), "it cannot know that it missed nothing");

    let mut recent = store.watch("w/", Revision::from_number(last.number() - 1)).await.expect("watches");
    assert_eq!(recent.next().await.expect("an event").revision, last);
}

#[tokio::test]
async fn changes_of_large_values_are_forgotten_by_their_octets() {
    const LARGE: usize = 1 << 20;
    let directory = directory();
    let store = open(&directory);
    let start = store.commit(Transaction::relaxed().put(key("w/0"), "")).await.expect("commits");
    let mut revisions = Vec::new();
    for turn in 0..2 * HISTORY_OCTETS / LARGE {
        let value = vec![u8::try_from(turn).expect("few"); LARGE];
        revisions.push(store.commit(Transaction::relaxed().put(key("w/1"), value)).await.expect("commits"));
    }
    assert!(revisions.len() < HISTORY, "their number alone would be kept");
    let relist = WatchEnd::Relist { prefix: "w/".to_owned(), after: start };
    assert_eq!(store.watch("w/", start).await.expect("watches").next().await, Err(relist));
    let kept = revisions.len() - HISTORY_OCTETS / LARGE;
    let mut recent = store.watch("w/", revisions[kept - 1]).await.expect("watches");
    assert_eq!(
        recent.next().await.expect("an event").revision,
        revisions[kept],
        "as many are kept as there is room for"
    );
    assert!(store.watch("w/", revisions[kept - 2]).await.expect("watches").next().await.is_err(), "and no more");
    // What comes after them is kept as before.
    let last = store.commit(Transaction::relaxed().put(key("w/1"), "small")).await.expect("commits");
    let mut recent = store.watch("w/", revisions[revisions.len() - 1]).await.expect("watches");
    assert_eq!(recent.next().await.expect("an event").revision, last);
}

#[tokio::test]
async fn a_watch_from_another_life_of_the_store_is_told_to_list_again() {
    let directory = directory();
    let store = open(&directory);
    let first = store.commit(Transaction::durable().put(key("a"), "1")).await.expect("commits");
    let last = store.commit(Transaction::durable().put(key("a"), "2")).await.expect("commits");
    drop(store);
    let store = open(&directory);
    for (after, known) in [(first, false), (last, true), (Revision::from_number(last.number() + 1), false)] {
        let mut watch = store.watch("", after).await.expect("watches");
        let next = tokio::time::timeout(Duration::from_millis(50), watch.next()).await;
        assert_eq!(next.is_err(), known, "after {after}: {next:?}");
    }
}

#[tokio::test]
async fn closing_ends_watches_after_their_last_event() {
    let directory = directory();
    let store = open(&directory);
    let mut watch = store.watch("", store.list("").await.expect("reads").revision).await.expect("watches");
    store.commit(Transaction::relaxed().put(key("a"), "1")).await.expect("commits");
    let waiting = tokio::spawn(async move {
        let event = watch.next().await.expect("the change before the end");
        (event.change, watch.next().await)
    });
    drop(store);
    let (change, end) = waiting.await.expect("the watch has not panicked");
    assert_eq!(change, Change::Put(b"1".as_slice().into()));
    assert_eq!(end, Err(WatchEnd::Closed { prefix: String::new() }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_durable_commits_share_waits_for_the_disk() {
    let directory = directory();
    let store = Arc::new(open(&directory));
    let mut rounds = Vec::new();
    for _ in 0..5 {
        let one_by_one = Instant::now();
        for turn in 0..100_u8 {
            store.commit(Transaction::durable().put(key("a"), [turn])).await.expect("commits");
        }
        let one_by_one = one_by_one.elapsed();

        let together = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..100 {
            let store = Arc::clone(&store);
            tasks.spawn(async move { store.commit(Transaction::durable().put(key(&format!("t/{n}")), "")).await });
        }
        let revisions: std::collections::BTreeSet<_> =
            tasks.join_all().await.into_iter().map(|revision| revision.expect("commits")).collect();
        let together = together.elapsed();
        assert_eq!(revisions.len(), 100, "each has a revision of its own");
        // Where the disk is memory there is nothing to wait for, and little to share.
        if together < one_by_one / 2 + Duration::from_secs(1) {
            return;
        }
        // A machine that stood still spoils one round, commits that share nothing all of them.
        rounds.push((together, one_by_one));
    }
    panic!("together, and one by one: {rounds:?}");
}
