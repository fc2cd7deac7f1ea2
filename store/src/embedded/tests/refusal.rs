//! Files that are not opened, and are left as they are.

use std::fs;

use redb::{Database, TableDefinition};

use super::*;

/// Opens a directory whose state file has these octets, and checks that it still has them afterwards.
fn refusal(octets: &[u8]) -> OpenError {
    let directory = directory();
    let path = directory.path().join("state.redb");
    fs::write(&path, octets).expect("writes");
    let error = Embedded::open(directory.path()).expect_err("the file is refused");
    assert!(fs::read(&path).expect("reads") == octets, "the file is as it was after: {error}");
    assert!(error.to_string().contains(path.to_str().expect("the path is text")), "{error}");
    assert_eq!(fs::read_dir(directory.path()).expect("lists").count(), 1, "nothing else was left");
    error
}

async fn sample() -> Vec<u8> {
    let directory = directory();
    let store = open(&directory);
    for n in 0..200 {
        store.commit(Transaction::relaxed().put(key(&format!("k/{n:03}")), vec![n; 100])).await.expect("commits");
    }
    drop(store);
    fs::read(directory.path().join("state.redb")).expect("reads")
}

fn meta(octets: &[u8], name: &str, number: u64) -> Vec<u8> {
    let directory = directory();
    let path = directory.path().join("state.redb");
    fs::write(&path, octets).expect("writes");
    let database = Database::open(&path).expect("opens");
    let transaction = database.begin_write().expect("writes");
    let table = TableDefinition::<&str, u64>::new("fabric_meta");
    transaction.open_table(table).expect("the table").insert(name, number).expect("inserts");
    transaction.commit().expect("commits");
    drop(database);
    fs::read(&path).expect("reads")
}

#[test]
fn files_of_others_are_refused() {
    for octets in [&b""[..], b"x", b"[settings]\nport = 1\n", &[0; 8192], b"redb"] {
        let error = refusal(octets);
        assert!(matches!(error, OpenError::Foreign { .. } | OpenError::Damaged { .. }), "{error:?}");
    }
    let directory = directory();
    let path = directory.path().join("other.redb");
    let database = Database::create(&path).expect("creates");
    let transaction = database.begin_write().expect("writes");
    transaction.open_table(TableDefinition::<u64, u64>::new("things")).expect("a table");
    transaction.commit().expect("commits");
    drop(database);
    assert!(matches!(refusal(&fs::read(path).expect("reads")), OpenError::Foreign { .. }));
}

#[tokio::test]
async fn newer_and_inconsistent_files_are_refused() {
    let sample = sample().await;
    let error = refusal(&meta(&sample, "format", 2));
    assert!(matches!(error, OpenError::Newer { found: 2, supported: 1, .. }), "{error:?}");
    let error = refusal(&meta(&sample, "ceiling", 3));
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    let error = refusal(&meta(&sample, "format", 0));
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
}

/// Damage is either noticed or has not changed what was stored; it never ends the process.
#[tokio::test]
async fn damaged_files_are_refused() {
    let sample = sample().await;
    let whole = {
        let directory = directory();
        fs::write(directory.path().join("state.redb"), &sample).expect("writes");
        open(&directory).list("").await.expect("reads").entries
    };
    let mut refused = 0;
    let used = sample.len() - sample.iter().rev().take_while(|octet| matches!(octet, 0 | 0xff)).count();
    let pages = (0..used).step_by(4096);
    let cut = pages.clone().step_by(8).map(|length| sample[..length].to_vec());
    let garbled = pages.step_by(2).map(|start| {
        let mut octets = sample.clone();
        let end = (start + 4096).min(octets.len());
        octets[start + 16..end].fill(0xa5);
        octets
    });
    for octets in cut.chain(garbled) {
        let directory = directory();
        fs::write(directory.path().join("state.redb"), octets).expect("writes");
        match Embedded::open(directory.path()) {
            Ok(store) => assert_eq!(store.list("").await.expect("reads").entries, whole),
            Err(OpenError::Damaged { .. } | OpenError::Foreign { .. }) => refused += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(refused > 0);
}

#[tokio::test]
async fn a_second_opener_is_told_who_has_it() {
    let directory = directory();
    let store = open(&directory);
    let error = Embedded::open(directory.path()).expect_err("it is in use");
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    assert_eq!(error.to_string(), format!("state file {} is in use by another netd", store.path().display()));
    store.commit(Transaction::durable().put(key("a"), "1")).await.expect("the first goes on");
}

#[test]
fn one_of_many_first_openers_wins() {
    for _ in 0..5 {
        let directory = directory();
        let opened: Vec<_> = std::thread::scope(|scope| {
            let openers: Vec<_> = (0..4).map(|_| scope.spawn(|| Embedded::open(directory.path()))).collect();
            openers.into_iter().map(|opener| opener.join().expect("does not panic")).collect()
        });
        assert_eq!(opened.iter().filter(|opened| opened.is_ok()).count(), 1);
        for error in opened.into_iter().filter_map(Result::err) {
            assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
        }
    }
}

#[test]
fn a_missing_directory_is_named() {
    let directory = directory();
    let error = Embedded::open(directory.path().join("absent")).expect_err("there is no such directory");
    assert!(matches!(error, OpenError::Io { .. }), "{error:?}");
    assert!(error.to_string().contains("absent/state.redb"), "{error}");
}

#[tokio::test]
async fn what_a_crash_left_of_a_creation_is_in_nobodys_way() {
    let directory = directory();
    fs::write(directory.path().join("state.redb.new"), [1; 5000]).expect("writes");
    let store = open(&directory);
    store.commit(Transaction::durable().put(key("a"), "1")).await.expect("commits");
    assert!(!directory.path().join("state.redb.new").exists());
}
