//! A process that is killed while it writes.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use super::*;

const DIRECTORY: &str = "STORE_CRASH_TEST_DIRECTORY";
const KILLS: u32 = 50;

/// What the killed process does: counts up, and says how far it is durably.
///
/// Run as a test of its own it has no directory to write to and nothing to do.
#[tokio::test]
async fn child() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let store = Embedded::open(directory).expect("the store opens after every kill");
    let mut count = count(&store).await;
    loop {
        count += 1;
        // Two keys that always change together, and one that may be lost.
        let durable = Transaction::durable().put(key("count"), count.to_string()).put(key("copy"), count.to_string());
        store.commit(durable).await.expect("commits");
        println!("\ndurable {count}");
        store.commit(Transaction::relaxed().put(key("relaxed"), count.to_string())).await.expect("commits");
    }
}

async fn number(store: &Embedded, name: &str) -> u64 {
    let entry = store.entry(&key(name)).await.expect("reads");
    entry.map_or(0, |entry| String::from_utf8(entry.value.to_vec()).expect("digits").parse().expect("digits"))
}

async fn count(store: &Embedded) -> u64 {
    let count = number(store, "count").await;
    assert_eq!(count, number(store, "copy").await, "a transaction is whole");
    assert!(number(store, "relaxed").await <= count, "no commit outlives one before it");
    count
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    let directory = directory();
    let mut acknowledged = 0;
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().expect("the test binary has a path"))
            .args(["--exact", "embedded::tests::crash::child", "--nocapture", "--test-threads=1"])
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        let output = child.stdout.take().expect("it is piped");
        let (tell, told) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            let numbers = lines.filter_map(|line| line.strip_prefix("durable ").and_then(|number| number.parse().ok()));
            // Nobody may listen any more.
            numbers.inspect(|_| tell.send(()).unwrap_or_default()).last()
        });
        // While it opens the store or at any time behind that, and each second one certainly at work.
        if kill % 2 == 0 {
            std::thread::sleep(Duration::from_millis(20) + Duration::from_micros(u64::from(kill) * 1700));
        } else {
            told.recv_timeout(ENOUGH).expect("it commits");
            std::thread::sleep(Duration::from_micros(u64::from(kill) * 700));
        }
        child.kill().expect("kills");
        child.wait().expect("ends");
        acknowledged = reader.join().expect("does not panic").unwrap_or(acknowledged);

        let found = count(&open(&directory)).await;
        assert!(found >= acknowledged, "{found} found, {acknowledged} acknowledged, kill {kill}");
    }
    assert!(acknowledged >= u64::from(KILLS / 2), "the kills hit a process at work: {acknowledged}");
}
