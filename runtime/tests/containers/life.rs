//! From creation to deletion.

use std::time::{Duration, Instant};

use model::Frame;
use runtime::{FailureKind, Observed, RuntimeError};

use crate::bed::{Bed, Case, case, command, shell};

pub(crate) const CASES: &[Case] = &[
    case!(output_and_exit_code),
    case!(output_and_exit_code, unified),
    case!(exit_codes),
    case!(programs_that_cannot_be_executed),
    case!(unknown_users_are_refused),
    case!(users_home_and_working_directory),
    case!(many_layers_with_odd_names),
    case!(links_to_nowhere_can_be_mounted_over),
    case!(errors_name_their_object_and_cause),
    case!(states_follow_each_other),
    case!(delete_at_every_stage),
    case!(delete_at_every_stage, unified),
    case!(fifty_at_once),
    case!(fifty_at_once, unified),
    case!(what_a_start_costs),
];

async fn output_and_exit_code(bed: &Bed) {
    let spec = bed.container(&["echo", "hello"]);
    let seen = bed.run(&spec, b"").await;
    assert_eq!((seen.text().as_str(), seen.last), ("hello\n", Some(Frame::Exit(0))));
    assert_eq!(bed.traces(&spec.id), [""; 0]);
}

async fn exit_codes(bed: &Bed) {
    for (script, expected) in [
        ("exit 3", 3),
        // The first process of a PID namespace cannot be killed from within.
        ("kill -9 $$", 0),
        ("sh -c 'kill -9 $$'; exit $?", 137),
        ("sleep 100", 137),
    ] {
        let spec = bed.container(&shell(script));
        bed.start_in_background(&spec).await;
        if script == "sleep 100" {
            bed.runtime.kill(&spec.id, 9).await.expect("kills");
        }
        assert_eq!(bed.wait(&spec.id).await.exit_code, expected, "{script}");
        bed.runtime.delete(&spec.id).await.expect("deletes");
    }
}

async fn programs_that_cannot_be_executed(bed: &Bed) {
    for (program, kind, code) in [
        ("nothing-here", FailureKind::ProgramNotFound, 127),
        ("/bin/nothing-here", FailureKind::ProgramNotFound, 127),
        ("/bin/data", FailureKind::ProgramNotExecutable, 126),
        ("data", FailureKind::ProgramNotExecutable, 126),
        ("/etc", FailureKind::ProgramNotExecutable, 126),
    ] {
        let spec = bed.container(&[program]);
        bed.runtime.create(&spec).await.expect("creates");
        let error = bed.runtime.start(&spec.id).await.expect_err("does not start");
        assert_eq!(error.exit_code(), code, "{program}: {error}");
        let RuntimeError::Container { failure, .. } = &error else { panic!("{error:?}") };
        assert_eq!(failure.kind, kind, "{program}");
        assert!(error.to_string().contains(program), "{error}");
        assert_eq!(bed.wait(&spec.id).await.exit_code, i32::from(code), "{program}");
        bed.runtime.delete(&spec.id).await.expect("deletes");
    }
    let spec = bed.container(&["sleep", "100"]);
    bed.start_in_background(&spec).await;
    for (program, code) in [("nothing-here", 127), ("/bin/data", 126)] {
        let seen = bed.exec(&spec.id, &command(&[program]), b"").await;
        let Some(Frame::Failed { code: seen, message }) = seen.last else { panic!("{seen:?}") };
        assert_eq!(seen, code, "{message}");
        assert!(message.contains(program), "{message}");
    }
    bed.runtime.delete(&spec.id).await.expect("deletes");
}

async fn unknown_users_are_refused(bed: &Bed) {
    let mut spec = bed.container(&["true"]);
    spec.command.user = Some("nobody-here".into());
    let error = bed.runtime.create(&spec).await.expect_err("is refused");
    let RuntimeError::Container { failure, .. } = &error else { panic!("{error:?}") };
    assert_eq!(failure.kind, FailureKind::UnknownUser);
    assert!(failure.causes[0].contains("nobody-here"), "{failure}");
    bed.runtime.delete(&spec.id).await.expect("deletes");
    assert_eq!(bed.traces(&spec.id), [""; 0]);
}

async fn users_home_and_working_directory(bed: &Bed) {
    let mut spec = bed.container(&shell("id -u; id -g; id -G; echo $HOME; pwd; umask; hostname; cat /etc/hosts"));
    spec.command.user = Some("www".into());
    spec.command.working_directory = "/new/place".into();
    let seen = bed.run(&spec, b"").await;
    let expected = "33\n34\n34 40\n/srv/www\n/new/place\n0022\ntester\n127.0.0.1 localhost\n";
    assert_eq!(seen.text(), expected, "{}", String::from_utf8_lossy(&seen.stderr));
    for (directory, expected) in [("/link", "/tmp\n"), ("/link/new/place", "/tmp/new/place\n")] {
        let mut spec = bed.container(&["pwd", "-P"]);
        std::os::unix::fs::symlink("/tmp", spec.upper.join("link")).expect("links");
        spec.command.working_directory = directory.into();
        let seen = bed.run(&spec, b"").await;
        assert_eq!(seen.text(), expected, "{directory}: {}", String::from_utf8_lossy(&seen.stderr));
    }
}

async fn many_layers_with_odd_names(bed: &Bed) {
    let mut spec = bed.container(&shell("cat /layer; ls /layers | wc -l"));
    for number in 0..120 {
        let layer = bed.base().join(format!("layer {number}: with, odd\\names"));
        std::fs::create_dir_all(layer.join("layers")).expect("makes a directory");
        std::fs::write(layer.join("layer"), format!("{number}\n")).expect("writes");
        std::fs::write(layer.join(format!("layers/{number}")), "").expect("writes");
        spec.lower.insert(0, layer);
    }
    let seen = bed.run(&spec, b"").await;
    assert_eq!(seen.text(), "119\n120\n", "the first of the list is on top");
}

async fn links_to_nowhere_can_be_mounted_over(bed: &Bed) {
    let mut spec = bed.container(&shell("cat /etc/hosts"));
    std::fs::create_dir_all(spec.upper.join("etc")).expect("makes a directory");
    std::os::unix::fs::symlink("../run/nothing/hosts", spec.upper.join("etc/hosts")).expect("links");
    assert_eq!(bed.run(&spec, b"").await.text(), "127.0.0.1 localhost\n");
    spec = bed.container(&shell("cat /new/dir/file; touch /new/dir/file && echo writable"));
    spec.mounts[0].destination = "/new/dir/file".into();
    spec.mounts[0].read_only = false;
    assert_eq!(bed.run(&spec, b"").await.text(), "127.0.0.1 localhost\nwritable\n");
}

async fn errors_name_their_object_and_cause(bed: &Bed) {
    let spec = || bed.container(&["true"]);
    let (mut layer, mut namespace, mut mount, mut over_a_file) = (spec(), spec(), spec(), spec());
    layer.lower[0] = "/does/not/exist".into();
    namespace.network_namespace = Some("/proc/self/mountinfo".into());
    mount.mounts[0].source = "/does/not/exist".into();
    // What only libcontainer finds out.
    over_a_file.mounts[0].destination = "/etc/passwd/file".into();
    let directory = bed.runtime.directories().run_of(&mount.id);
    for (spec, expected) in [
        (
            &layer,
            "cannot open the root file system's directory /does/not/exist: No such file or directory (os error 2)",
        ),
        (&namespace, "cannot use /proc/self/mountinfo as the network namespace: it is not a namespace"),
        (&mount, "cannot mount /does/not/exist: No such file or directory (os error 2)"),
        (&over_a_file, "cannot create it: failed to create container: "),
    ] {
        let error = bed.runtime.create(spec).await.expect_err("is refused");
        let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
        let text = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
        assert!(text.starts_with(&format!("container {}: {expected}", spec.id)), "{text}");
        println!("{text}");
        assert_eq!(error.exit_code(), 125);
        bed.runtime.delete(&spec.id).await.expect("deletes");
        assert_eq!(bed.traces(&spec.id), [""; 0]);
    }
    assert!(!directory.exists());
}

async fn states_follow_each_other(bed: &Bed) {
    let spec = bed.container(&shell("until [ -e /end ]; do sleep 0.05; done"));
    let state = async || bed.runtime.state(&spec.id).await.expect("tells");
    assert_eq!(state().await, None);
    let created = bed.runtime.create(&spec).await.expect("creates");
    assert_eq!(state().await, Some(Observed::Created { pid: created.pid }));
    bed.runtime.start(&spec.id).await.expect("starts");
    let running = state().await;
    let Some(Observed::Running { pid, started_at }) = running else { panic!("{running:?}") };
    assert_eq!(pid, created.pid);
    let started_at = Some(started_at);
    assert!(bed.runtime.start(&spec.id).await.is_err(), "twice");
    // A wait that is given up does no harm.
    assert!(tokio::time::timeout(Duration::from_millis(20), bed.runtime.wait(&spec.id)).await.is_err());
    bed.exec(&spec.id, &command(&["touch", "/end"]), b"").await;
    let exit = bed.wait(&spec.id).await;
    assert_eq!((exit.exit_code, exit.started_at), (0, started_at));
    assert_eq!(state().await, Some(Observed::Exited(exit)));
    assert_eq!(bed.wait(&spec.id).await, exit, "again");
    assert!(matches!(bed.runtime.kill(&spec.id, 15).await, Err(RuntimeError::NotRunning { .. })));
    assert_eq!(bed.runtime.list().expect("lists"), std::slice::from_ref(&spec.id));
    bed.runtime.delete(&spec.id).await.expect("deletes");
    assert_eq!(state().await, None);
    assert!(matches!(bed.runtime.wait(&spec.id).await, Err(RuntimeError::NotRunning { .. })));
    bed.runtime.delete(&spec.id).await.expect("already gone is gone");
}

async fn delete_at_every_stage(bed: &Bed) {
    for stage in 0..4 {
        let spec = bed.container(&shell("sleep 100 & sleep 100 & sleep 100"));
        if stage > 0 {
            bed.runtime.create(&spec).await.expect("creates");
        }
        if stage > 1 {
            bed.runtime.start(&spec.id).await.expect("starts");
        }
        if stage > 2 {
            bed.runtime.kill(&spec.id, 9).await.expect("kills");
            bed.wait(&spec.id).await;
        }
        bed.runtime.delete(&spec.id).await.expect("deletes");
        assert_eq!(bed.traces(&spec.id), [""; 0], "stage {stage}");
    }
    // Half-way through: the caller gives up at some moment of the creation.
    for microseconds in [0, 300, 1000, 2000, 4000, 6000, 8000, 12_000] {
        let spec = bed.container(&["sleep", "100"]);
        let _ = tokio::time::timeout(Duration::from_micros(microseconds), bed.runtime.create(&spec)).await;
        bed.runtime.delete(&spec.id).await.expect("deletes");
        assert_eq!(bed.traces(&spec.id), [""; 0], "after {microseconds} µs");
    }
}

async fn fifty_at_once(bed: &Bed) {
    let specs: Vec<_> = (0..50).map(|_| bed.container(&shell("echo hello; exit 7"))).collect();
    let one = async |spec: &runtime::ContainerSpec| {
        bed.runtime.create(spec).await.expect("creates");
        bed.runtime.start(&spec.id).await.expect("starts");
        assert_eq!(bed.wait(&spec.id).await.exit_code, 7);
        let log = bed.runtime.read_log(&spec.id).read().expect("reads");
        assert_eq!(log.len(), 1, "{log:?}");
        bed.runtime.delete(&spec.id).await.expect("deletes");
    };
    let mut pending: Vec<_> = specs.iter().map(|spec| Box::pin(one(spec))).collect();
    std::future::poll_fn(|context| {
        pending.retain_mut(|future| future.as_mut().poll(context).is_pending());
        if pending.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    for spec in &specs {
        assert_eq!(bed.traces(&spec.id), [""; 0]);
    }
}

async fn what_a_start_costs(bed: &Bed) {
    let mut rows = Vec::new();
    for _ in 0..20 {
        let spec = bed.container(&["true"]);
        // As long as it takes the daemon to make a network.
        bed.runtime.expect_create();
        tokio::time::sleep(Duration::from_millis(5)).await;
        let begin = Instant::now();
        bed.runtime.create(&spec).await.expect("creates");
        let created = begin.elapsed();
        bed.runtime.start(&spec.id).await.expect("starts");
        let started = begin.elapsed();
        bed.wait(&spec.id).await;
        let ended = begin.elapsed();
        bed.runtime.delete(&spec.id).await.expect("deletes");
        rows.push([created, started - created, ended - started, begin.elapsed() - ended]);
    }
    let median = |column: usize| {
        let mut times: Vec<Duration> = rows.iter().map(|row| row[column]).collect();
        times.sort();
        times[times.len() / 2]
    };
    println!(
        "medians of 20: create {:?}, start {:?}, until its end is known {:?}, delete {:?}",
        median(0),
        median(1),
        median(2),
        median(3)
    );
    // No machine is so slow; a pause or a retry would be.
    assert!(median(0) + median(1) < Duration::from_millis(500));
}
