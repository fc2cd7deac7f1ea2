//! File systems that take no more. Each test runs itself again in a mount namespace of its own, which needs root.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::*;
use crate::StoreError;

const DIRECTORY: &str = "STORE_DISK_TEST_DIRECTORY";

/// The empty file system of 4 MiB this process may fill; in the process that has none, runs `test` in one that has.
fn small_disk(test: &str) -> Option<PathBuf> {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return Some(directory.into());
    }
    let directory = directory();
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-ec"])
        .arg(r#"mount -t tmpfs -o size=4m tmpfs "$0"; exec "$@""#)
        .arg(directory.path())
        .arg(std::env::current_exe().expect("the test binary has a path"))
        .args(["--exact", &format!("embedded::tests::disk::{test}"), "--nocapture"])
        .env(DIRECTORY, directory.path())
        .output()
        .expect("unshare starts");
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|octets| String::from_utf8_lossy(octets));
    assert!(output.status.success(), "{stdout}{stderr}");
    assert!(stdout.contains("1 passed"), "{stdout}");
    None
}

fn remount(directory: &Path, options: &str) {
    let status = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(directory).status();
    assert!(status.expect("mount starts").success(), "remount {options}");
}

#[tokio::test]
async fn a_full_disk_is_named_and_the_store_goes_on_once_it_has_space() {
    let Some(directory) = small_disk("a_full_disk_is_named_and_the_store_goes_on_once_it_has_space") else {
        return;
    };
    let store = Embedded::open(&directory).expect("opens");
    let mut kept = Vec::new();
    let error = loop {
        let name = key(&format!("k/{:03}", kept.len()));
        match store.commit(Transaction::durable().put(name.clone(), vec![7; 100_000])).await {
            Ok(_) => kept.push(name),
            Err(error) => break error,
        }
    };
    let path = store.path().display().to_string();
    assert_eq!(error.to_string(), format!("no space left to write state file {path}"));
    assert!(matches!(error, CommitError::Store(StoreError::Full { .. })), "{error:?}");
    assert!(kept.len() > 3);

    // Again and again, and reads go on meanwhile.
    let mut watch = store.watch("", store.list("").await.expect("reads").revision).await.expect("watches");
    for _ in 0..3 {
        store.commit(Transaction::durable().put(key("big"), vec![7; 1 << 20])).await.expect_err("it is still full");
        let listing = store.list("").await.expect("reads");
        assert_eq!(listing.entries.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>(), kept);
    }
    store.commit(Transaction::relaxed().put(key("relaxed"), "1")).await.expect("memory is not full");

    remount(&directory, "size=16m");
    let revision =
        store.commit(Transaction::durable().put(key("big"), vec![7; 1 << 20])).await.expect("there is space");
    assert_eq!(watch.next().await.expect("an event").key, key("relaxed"));
    assert_eq!(watch.next().await.expect("an event").revision, revision);
    let before = store.list("").await.expect("reads");
    drop(store);
    let store = Embedded::open(&directory).expect("opens");
    assert_eq!(store.list("").await.expect("reads"), before);
}

#[tokio::test]
async fn a_file_system_without_space_is_named() {
    let Some(directory) = small_disk("a_file_system_without_space_is_named") else {
        return;
    };
    std::fs::write(directory.join("ballast"), vec![1; 5 << 20]).expect_err("it is larger than the file system");
    let error = Embedded::open(&directory).expect_err("there is no space");
    assert!(matches!(error, OpenError::Full { .. }), "{error:?}");
    std::fs::remove_file(directory.join("ballast")).expect("removes");
    let store = Embedded::open(&directory).expect("opens");
    store.commit(Transaction::durable().put(key("a"), "1")).await.expect("commits");
}

#[tokio::test]
async fn a_read_only_directory_is_named() {
    let Some(directory) = small_disk("a_read_only_directory_is_named") else {
        return;
    };
    remount(&directory, "ro");
    let error = Embedded::open(&directory).expect_err("nothing can be created");
    assert!(matches!(error, OpenError::ReadOnly { .. }), "{error:?}");
    remount(&directory, "rw");
    drop(Embedded::open(&directory).expect("opens"));
    remount(&directory, "ro");
    let error = Embedded::open(&directory).expect_err("nothing can be written");
    assert!(matches!(error, OpenError::ReadOnly { .. }), "{error:?}");
    assert!(error.to_string().ends_with("state.redb cannot be written"), "{error}");
}

/// Takes what is left of the file system to the last page.
fn fill(directory: &Path) -> PathBuf {
    use std::io::Write;

    let path = directory.join("filler");
    let mut filler = std::fs::File::create(&path).expect("creates");
    let mut block = vec![1; 1 << 16];
    while !block.is_empty() {
        if filler.write_all(&block).is_err() {
            block.truncate(block.len() / 2);
        }
    }
    path
}

#[tokio::test]
async fn what_makes_room_is_committed_on_a_full_disk() {
    let Some(directory) = small_disk("what_makes_room_is_committed_on_a_full_disk") else {
        return;
    };
    let store = Embedded::open(&directory).expect("opens");
    for number in 0..100 {
        let put = Transaction::durable().put(key(&format!("k/{number:03}")), vec![7; 1_000]);
        store.commit(put).await.expect("there is space");
    }
    let filler = fill(&directory);
    let full = |error: &CommitError| matches!(error, CommitError::Store(StoreError::Full { .. }));
    // One that only takes space gets none, again and again.
    for _ in 0..3 {
        let error =
            store.commit(Transaction::durable().put(key("new"), vec![7; 10_000])).await.expect_err("it is full");
        assert!(full(&error), "{error:?}");
    }
    // A mark first, as whoever removes something in steps does it, then the deletion; many times on the same space.
    for number in 0..100 {
        let key = key(&format!("k/{number:03}"));
        let mark = Transaction::durable().put(key.clone(), vec![8; 1_000]).making_room();
        store.commit(mark).await.expect("there is space set aside");
        store.commit(Transaction::relaxed().delete(key)).await.expect("memory is not full");
    }
    store.commit(Transaction::durable().delete(key("k/none")).making_room()).await.expect("flushes");
    drop(store);
    let store = Embedded::open(&directory).expect("opens on a full disk");
    assert!(store.list("k/").await.expect("reads").entries.is_empty());
    std::fs::remove_file(filler).expect("removes");
    store.commit(Transaction::durable().put(key("new"), "1")).await.expect("there is space");
    let reserve = std::fs::metadata(directory.join("state.reserve")).expect("space is set aside again");
    assert_eq!(reserve.len(), Embedded::SPACE_OF_A_COMMIT);
}
