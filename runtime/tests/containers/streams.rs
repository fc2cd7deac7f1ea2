//! Standard streams, signals and logs.

use std::{
    io::{Read, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    time::{Duration, Instant},
};

use model::{ContainerId, Frame, Stream};
use runtime::ExecStreams;

use crate::bed::{Bed, Case, ENOUGH, case, command, converse, is_gone, is_there, listen, shell, shim_of};

pub(crate) const CASES: &[Case] = &[
    case!(a_mebioctet_goes_through_cat),
    case!(the_two_streams_stay_apart),
    case!(a_client_that_vanishes_changes_nothing),
    case!(a_client_that_does_not_read_is_only_slow),
    case!(a_slow_client_gets_everything_of_a_deleted_container),
    case!(a_client_that_does_not_read_does_not_delay_deletion),
    case!(signals_come_as_frames),
    case!(without_open_stdin_it_has_ended),
    case!(several_clients_see_the_same),
    case!(exec_has_its_own_streams),
    case!(sigpipe_is_not_ignored),
];

const NO_INPUT: ExecStreams = ExecStreams::Pipes { stdin: false };

fn pattern() -> Vec<u8> {
    (0..1 << 20).map(|index: u32| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

async fn a_mebioctet_goes_through_cat(bed: &Bed) {
    let mut spec = bed.container(&["cat"]);
    spec.open_stdin = true;
    let seen = bed.run(&spec, &pattern()).await;
    assert_eq!(seen.last, Some(Frame::Exit(0)));
    assert!(seen.stdout == pattern(), "{} octets came back", seen.stdout.len());
}

async fn the_two_streams_stay_apart(bed: &Bed) {
    let spec = bed.container(&shell("echo out; echo err >&2; printf rest"));
    bed.runtime.create(&spec).await.expect("creates");
    let client = bed.attach(&spec.id, b"").await;
    bed.runtime.start(&spec.id).await.expect("starts");
    let seen = client.await.expect("does not panic");
    assert_eq!((&seen.stdout[..], &seen.stderr[..]), (&b"out\nrest"[..], &b"err\n"[..]));
    bed.wait(&spec.id).await;
    let log = bed.runtime.read_log(&spec.id).read().expect("reads");
    let mut lines: Vec<_> = log.iter().map(|line| (line.stream, line.log.as_str(), line.partial)).collect();
    lines.sort();
    let expected = [(Stream::Stdout, "out\n", false), (Stream::Stdout, "rest", true), (Stream::Stderr, "err\n", false)];
    assert_eq!(lines, expected);
    bed.runtime.delete(&spec.id).await.expect("deletes");
}

async fn a_client_that_vanishes_changes_nothing(bed: &Bed) {
    let mut spec = bed.container(&shell("cat; for i in $(seq 20); do echo $i; sleep 0.02; done; exit 4"));
    spec.open_stdin = true;
    bed.runtime.create(&spec).await.expect("creates");
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    // Received before the client was handed over.
    let early = Frame::Stdin(b"early\n".to_vec()).encode();
    bed.runtime.attach(&spec.id, OwnedFd::from(theirs), early).await.expect("attaches");
    bed.runtime.start(&spec.id).await.expect("starts");
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(ours);
    assert_eq!(bed.wait(&spec.id).await.exit_code, 4);
    let log: Vec<String> =
        bed.runtime.read_log(&spec.id).read().expect("reads").into_iter().map(|line| line.log).collect();
    assert_eq!((log.len(), log[0].as_str(), log[20].as_str()), (21, "early\n", "20\n"));
    bed.runtime.delete(&spec.id).await.expect("deletes");
}

async fn a_client_that_does_not_read_is_only_slow(bed: &Bed) {
    let spec = bed.container(&shell("dd if=/dev/zero bs=4096 count=1024 2>/dev/null | tr '\\0' x; echo; exit 5"));
    bed.runtime.create(&spec).await.expect("creates");
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    bed.runtime.attach(&spec.id, OwnedFd::from(theirs), Vec::new()).await.expect("attaches");
    bed.runtime.start(&spec.id).await.expect("starts");
    // Blocked by the client, the container waits, and its shim still answers.
    assert!(tokio::time::timeout(Duration::from_millis(300), bed.runtime.wait(&spec.id)).await.is_err());
    assert!(bed.runtime.state(&spec.id).await.expect("tells").is_some());
    let seen = tokio::task::spawn_blocking(|| listen(ours)).await.expect("does not panic");
    assert_eq!((seen.stdout.len(), seen.last), ((4 << 20) + 1, Some(Frame::Exit(5))));
    bed.runtime.delete(&spec.id).await.expect("deletes");
}

async fn a_slow_client_gets_everything_of_a_deleted_container(bed: &Bed) {
    // More than a socket holds, and less than would make the container wait for its client.
    let spec = bed.container(&shell("seq 80000; exit 7"));
    let created = bed.runtime.create(&spec).await.expect("creates");
    let shim = shim_of(created.pid);
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    bed.runtime.attach(&spec.id, OwnedFd::from(theirs), Vec::new()).await.expect("attaches");
    bed.runtime.start(&spec.id).await.expect("starts");
    assert_eq!(bed.wait(&spec.id).await.exit_code, 7);
    delete_quickly(bed, &spec.id, shim).await;
    assert_eq!(bed.runtime.state(&spec.id).await.expect("tells"), None);

    // What is left has nothing but its client.
    assert_eq!(std::fs::read_link(format!("/proc/{shim}/cwd")).expect("is there"), std::path::Path::new("/"));
    let open = || -> Vec<String> {
        let entries = std::fs::read_dir(format!("/proc/{shim}/fd")).expect("is there");
        let targets = entries.filter_map(|entry| std::fs::read_link(entry.expect("reads").path()).ok());
        targets.map(|target| target.display().to_string()).collect()
    };
    // The connection on which the deletion is awaited goes last, and its end is told while others are being closed.
    let begin = Instant::now();
    while open().len() > 4 && begin.elapsed() < ENOUGH {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let open = open();
    let (sockets, others): (Vec<_>, Vec<_>) = open.into_iter().partition(|target| target.starts_with("socket:"));
    // Named from a /dev that is detached.
    assert_eq!((sockets.len(), others), (1, vec!["/null".to_owned(); 3]));
    let mounts = std::fs::read_to_string(format!("/proc/{shim}/mountinfo")).expect("is there");
    assert_eq!(mounts.lines().count(), 1, "{mounts}");

    let seen = tokio::task::spawn_blocking(|| listen(ours)).await.expect("does not panic");
    let expected: String = (1..=80000).map(|number| format!("{number}\n")).collect();
    assert_eq!((seen.stdout.len(), seen.last.as_ref()), (expected.len(), Some(&Frame::Exit(7))));
    assert!(seen.text() == expected, "other octets");
    is_gone(shim).await;
}

async fn a_client_that_does_not_read_does_not_delay_deletion(bed: &Bed) {
    let spec = bed.container(&["yes"]);
    let created = bed.runtime.create(&spec).await.expect("creates");
    let shim = shim_of(created.pid);
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    bed.runtime.attach(&spec.id, OwnedFd::from(theirs), Vec::new()).await.expect("attaches");
    bed.runtime.start(&spec.id).await.expect("starts");
    tokio::time::sleep(Duration::from_millis(300)).await;
    delete_quickly(bed, &spec.id, shim).await;
    drop(ours);
    is_gone(shim).await;
}

/// Deletes a container whose client keeps its shim busy: nobody's patience ends, at which the shim would be killed.
async fn delete_quickly(bed: &Bed, id: &ContainerId, shim: i32) {
    bed.runtime.delete(id).await.expect("deletes");
    assert!(is_there(shim), "it was not killed for being slow");
    assert_eq!(bed.traces(id), [""; 0]);
}

async fn signals_come_as_frames(bed: &Bed) {
    let spec = bed.container(&shell("trap 'echo got it; exit 9' TERM; echo ready; while :; do sleep 0.05; done"));
    bed.runtime.create(&spec).await.expect("creates");
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    bed.runtime.attach(&spec.id, OwnedFd::from(theirs), Vec::new()).await.expect("attaches");
    bed.runtime.start(&spec.id).await.expect("starts");
    let mut log = bed.runtime.read_log(&spec.id);
    while log.read().expect("reads").is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    (&ours).write_all(&Frame::Signal(15).encode()).expect("writes");
    let seen = converse(ours, Vec::new()).await.expect("does not panic");
    assert_eq!((seen.text().as_str(), seen.last), ("ready\ngot it\n", Some(Frame::Exit(9))));
    bed.runtime.delete(&spec.id).await.expect("deletes");
}

async fn without_open_stdin_it_has_ended(bed: &Bed) {
    let spec = bed.container(&shell("readlink /proc/self/fd/0; cat; echo end"));
    let seen = bed.run(&spec, b"ignored").await;
    // Not the host's /dev/null, whose mode the container could change.
    let text = seen.text();
    assert!(text.starts_with("pipe:[") && text.ends_with("]\nend\n"), "{text}");
}

async fn several_clients_see_the_same(bed: &Bed) {
    let spec = bed.container(&["seq", "1000"]);
    bed.runtime.create(&spec).await.expect("creates");
    let (one, two) = (bed.attach(&spec.id, b"").await, bed.attach(&spec.id, b"").await);
    bed.runtime.start(&spec.id).await.expect("starts");
    let (one, two) = (one.await.expect("does not panic"), two.await.expect("does not panic"));
    assert_eq!(one.stdout.len(), 3893);
    assert_eq!(one, two);
    bed.runtime.delete(&spec.id).await.expect("deletes");
}

async fn exec_has_its_own_streams(bed: &Bed) {
    let spec = bed.container(&["sleep", "100"]);
    bed.start_in_background(&spec).await;
    let seen = bed.exec(&spec.id, &command(&shell("cat; echo err >&2; exit 6")), &pattern()).await;
    assert!(
        seen.stdout == pattern() && seen.stderr == b"err\n" && seen.last == Some(Frame::Exit(6)),
        "{:?}",
        seen.last
    );
    let seen = bed.exec(&spec.id, &command(&shell("hostname; kill -TERM $$")), b"").await;
    assert_eq!((seen.text().as_str(), seen.last), ("tester\n", Some(Frame::Exit(143))));
    let mut as_user = command(&["id", "-un"]);
    as_user.user = Some("www".into());
    assert_eq!(bed.exec(&spec.id, &as_user, b"").await.text(), "www\n");
    // A large environment does not fit into one packet.
    let mut large = command(&shell("echo ${#BIG}"));
    large.environment.push(format!("BIG={}", "x".repeat(100_000)).parse().expect("a variable"));
    assert_eq!(bed.exec(&spec.id, &large, b"").await.text(), "100000\n");
    // Programs end with their container.
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let command = command(&shell("echo up; sleep 200"));
    bed.runtime.exec(&spec.id, &command, NO_INPUT, OwnedFd::from(theirs), Vec::new()).await.expect("hands over");
    let reader = ours.try_clone().expect("duplicates");
    tokio::task::spawn_blocking(move || (&reader).read_exact(&mut [0; Frame::HEADER + 3]))
        .await
        .expect("does not panic")
        .expect("it is up");
    bed.runtime.kill(&spec.id, 9).await.expect("kills");
    let seen = converse(ours, Vec::new()).await.expect("does not panic");
    assert_eq!(seen.last, Some(Frame::Exit(137)));
    bed.runtime.delete(&spec.id).await.expect("deletes");
    assert_eq!(bed.traces(&spec.id), [""; 0]);
}

async fn sigpipe_is_not_ignored(bed: &Bed) {
    let spec = bed.container(&["grep", "-E", "SigIgn|SigBlk", "/proc/self/status"]);
    let seen = bed.run(&spec, b"").await;
    assert_eq!(seen.text(), "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}
