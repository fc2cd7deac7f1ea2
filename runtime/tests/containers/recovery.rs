//! Daemons and shims that die.

use std::{
    io::{BufRead, BufReader, Read},
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::{Command as Process, ExitCode, Stdio},
    time::{Duration, Instant},
};

use model::Frame;
use runtime::{ContainerSpec, Directories, ExecStreams, Exit, Observed, Runtime, RuntimeError};
use rustix::process::{Pid, Signal};

use crate::bed::{Bed, Case, ENOUGH, case, command, is_gone, shell, shim_of};

pub(crate) const CASES: &[Case] = &[
    case!(a_new_daemon_finds_its_containers),
    case!(delete_after_the_shim_was_killed),
    case!(delete_after_the_shim_was_killed, unified),
    case!(a_shim_that_hangs_is_told_and_deleted),
    case!(a_container_ends_whatever_its_exec_does),
    case!(a_lost_container_is_told),
    case!(a_setuid_program_does_not_outlive_its_shim),
    case!(a_reboot_is_told),
    case!(what_runs_without_its_run_directory_is_told_and_can_be_ended),
    case!(without_the_zygote_the_rest_goes_on),
];

/// Set in a process that plays the daemon until it is killed: the directories and a container, as JSON.
pub(crate) const DAEMON: &str = "RUNTIME_TEST_DAEMON";

/// The life of such a process.
pub(crate) fn be_the_daemon(order: &str) -> ExitCode {
    let zygote = Runtime::spawn_zygote().expect("the zygote starts");
    let (directories, spec): (Directories, ContainerSpec) = serde_json::from_str(order).expect("an order");
    let runtime = Runtime::new(zygote, directories);
    Bed::block_on(async {
        runtime.create(&spec).await.expect("creates");
        runtime.start(&spec.id).await.expect("starts");
        println!("ready");
        std::future::pending().await
    });
    ExitCode::SUCCESS
}

fn signal(pid: i32, signal: Signal) {
    rustix::process::kill_process(Pid::from_raw(pid).expect("a process"), signal).expect("exists");
}

/// The children of a process.
fn children(pid: u32) -> Vec<i32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().map(|pid| pid.parse().expect("a number")).collect()
}

async fn a_new_daemon_finds_its_containers(bed: &Bed) {
    let spec = bed.container(&shell("trap 'echo bye; exit 11' TERM; echo up; while :; do sleep 0.05; done"));
    let order = serde_json::to_string(&(bed.runtime.directories(), &spec)).expect("serialises");
    let mut daemon = Process::new(std::env::current_exe().expect("has a program"))
        .env(DAEMON, order)
        .stdout(Stdio::piped())
        .spawn()
        .expect("runs itself");
    let mut line = String::new();
    BufReader::new(daemon.stdout.take().expect("is piped")).read_line(&mut line).expect("says something");
    assert_eq!(line, "ready\n");
    let zygotes = children(daemon.id());
    assert_eq!(zygotes.len(), 1);
    daemon.kill().expect("kills");
    daemon.wait().expect("ends");

    assert_eq!(bed.runtime.list().expect("lists"), std::slice::from_ref(&spec.id));
    let observed = bed.runtime.state(&spec.id).await.expect("tells");
    assert!(matches!(observed, Some(Observed::Running { .. })), "{observed:?}");
    let seen = bed.exec(&spec.id, &command(&["hostname"]), b"").await;
    assert_eq!((seen.text().as_str(), seen.last), ("tester\n", Some(Frame::Exit(0))));
    let client = bed.attach(&spec.id, b"").await;
    // It catches the signal by then.
    bed.wait_for_output(&spec.id).await;
    bed.runtime.kill(&spec.id, 15).await.expect("signals");
    assert_eq!(bed.wait(&spec.id).await.exit_code, 11);
    assert_eq!(client.await.expect("does not panic").last, Some(Frame::Exit(11)));
    let log: String = bed.runtime.read_log(&spec.id).read().expect("reads").into_iter().map(|line| line.log).collect();
    assert_eq!(log, "up\nbye\n");
    bed.runtime.delete(&spec.id).await.expect("deletes");
    assert_eq!(bed.traces(&spec.id), [""; 0]);
    // The zygote ends with its daemon.
    is_gone(zygotes[0]).await;
}

async fn delete_after_the_shim_was_killed(bed: &Bed) {
    for started in [false, true] {
        let spec = bed.container(&shell("sleep 100 & sleep 100"));
        let created = bed.runtime.create(&spec).await.expect("creates");
        if started {
            bed.runtime.start(&spec.id).await.expect("starts");
        }
        signal(shim_of(created.pid), Signal::KILL);
        bed.runtime.delete(&spec.id).await.expect("deletes");
        assert_eq!(bed.traces(&spec.id), [""; 0], "started: {started}");
    }
}

async fn a_shim_that_hangs_is_told_and_deleted(bed: &Bed) {
    let spec = bed.container(&["sleep", "100"]);
    let created = bed.runtime.create(&spec).await.expect("creates");
    bed.runtime.start(&spec.id).await.expect("starts");
    signal(shim_of(created.pid), Signal::STOP);

    let begin = Instant::now();
    let client = || OwnedFd::from(UnixStream::pair().expect("a pair").0);
    let program = command(&["hostname"]);
    let answers = tokio::time::timeout(ENOUGH, async {
        tokio::join!(
            async { bed.runtime.state(&spec.id).await.map(drop) },
            bed.runtime.kill(&spec.id, 15),
            bed.runtime.attach(&spec.id, client(), Vec::new()),
            bed.runtime.exec(&spec.id, &program, ExecStreams::Pipes { stdin: false }, client(), Vec::new()),
        )
    });
    let answers = <[_; 4]>::from(answers.await.expect("nobody waits for a shim that is silent"));
    for answer in answers {
        assert!(matches!(answer, Err(RuntimeError::ShimSilent { .. })), "{answer:?}");
    }
    // Each of them, and the deletion, is patient for 5 s.
    assert!(begin.elapsed() < Duration::from_secs(20), "told after {:?}", begin.elapsed());

    let begin = Instant::now();
    bed.runtime.delete(&spec.id).await.expect("deletes");
    assert!(begin.elapsed() < Duration::from_secs(20), "deleted after {:?}", begin.elapsed());
    assert_eq!(bed.traces(&spec.id), [""; 0]);
}

/// Its first process cannot end before what was run in it was reaped, by a process that does not do so here.
async fn a_container_ends_whatever_its_exec_does(bed: &Bed) {
    let spec = bed.container(&["sleep", "100"]);
    let created = bed.runtime.create(&spec).await.expect("creates");
    bed.runtime.start(&spec.id).await.expect("starts");
    let (client, theirs) = UnixStream::pair().expect("a pair");
    let pipes = ExecStreams::Pipes { stdin: false };
    let program = command(&shell("echo up; exec sleep 100"));
    bed.runtime.exec(&spec.id, &program, pipes, OwnedFd::from(theirs), Vec::new()).await.expect("hands over");
    // It runs.
    (&client).read_exact(&mut [0]).expect("it writes");
    let shim = shim_of(created.pid);
    let is_helper =
        |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|it| it == "fabric-exec\n");
    let helpers: Vec<i32> = children(u32::try_from(shim).expect("a process")).into_iter().filter(is_helper).collect();
    assert_eq!(helpers.len(), 1);
    signal(helpers[0], Signal::STOP);
    bed.runtime.kill(&spec.id, 9).await.expect("signals");
    assert_eq!(bed.wait(&spec.id).await.exit_code, 137);
    is_gone(helpers[0]).await;
    bed.runtime.delete(&spec.id).await.expect("deletes");
    assert_eq!(bed.traces(&spec.id), [""; 0]);
}

async fn a_lost_container_is_told(bed: &Bed) {
    for started in [false, true] {
        let spec = bed.container(&["sleep", "100"]);
        let created = bed.runtime.create(&spec).await.expect("creates");
        if started {
            bed.runtime.start(&spec.id).await.expect("starts");
        }
        signal(shim_of(created.pid), Signal::KILL);
        let exit = bed.wait(&spec.id).await;
        assert_eq!(exit.exit_code, Exit::LOST);
        let observed = bed.runtime.state(&spec.id).await.expect("tells");
        assert_eq!(observed, Some(Observed::Exited(exit)), "the same each time");
        // It does not go on unobserved.
        is_gone(created.pid).await;
        bed.runtime.delete(&spec.id).await.expect("deletes");
        assert_eq!(bed.traces(&spec.id), [""; 0]);
    }
}

async fn a_setuid_program_does_not_outlive_its_shim(bed: &Bed) {
    use std::os::unix::fs::PermissionsExt;
    // The name, without an applet's, makes busybox take its first argument as one.
    let mut spec = bed.container(&["/bin/busybox-as-root", "sleep", "100"]);
    std::fs::create_dir_all(spec.upper.join("bin")).expect("makes a directory");
    let program = spec.upper.join("bin/busybox-as-root");
    std::fs::copy("/bin/busybox", &program).expect("copies");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o4755)).expect("changes its mode");
    spec.command.user = Some("www".into());
    let created = bed.runtime.create(&spec).await.expect("creates");
    bed.runtime.start(&spec.id).await.expect("starts");
    signal(shim_of(created.pid), Signal::KILL);
    assert_eq!(bed.wait(&spec.id).await.exit_code, Exit::LOST);
    is_gone(created.pid).await;
    bed.runtime.delete(&spec.id).await.expect("deletes");
    assert_eq!(bed.traces(&spec.id), [""; 0]);
}

async fn a_reboot_is_told(bed: &Bed) {
    let spec = bed.container(&["sleep", "100"]);
    let created = bed.runtime.create(&spec).await.expect("creates");
    bed.runtime.start(&spec.id).await.expect("starts");
    signal(shim_of(created.pid), Signal::KILL);
    is_gone(created.pid).await;
    std::fs::remove_dir_all(bed.runtime.directories().run_of(&spec.id)).expect("removes what a reboot forgets");
    let observed = bed.runtime.state(&spec.id).await.expect("tells");
    assert!(matches!(observed, Some(Observed::Exited(Exit { exit_code: Exit::LOST, .. }))), "{observed:?}");
    bed.runtime.delete(&spec.id).await.expect("deletes");
    assert_eq!(bed.traces(&spec.id), [""; 0]);
}

async fn what_runs_without_its_run_directory_is_told_and_can_be_ended(bed: &Bed) {
    for ended_by_signal in [true, false] {
        let spec = bed.container(&["sleep", "100"]);
        let created = bed.runtime.create(&spec).await.expect("creates");
        bed.runtime.start(&spec.id).await.expect("starts");
        // As the daemon does from the start.
        let mut waiting = std::pin::pin!(bed.runtime.wait(&spec.id));
        let ended = tokio::time::timeout(Duration::from_millis(100), &mut waiting).await;
        assert!(ended.is_err(), "it runs: {ended:?}");
        std::fs::remove_dir_all(bed.runtime.directories().run_of(&spec.id)).expect("it is there");
        for _ in 0..2 {
            let error = bed.runtime.state(&spec.id).await.expect_err("there is nobody to ask");
            assert!(error.is_unreachable(), "{error}");
        }
        assert!(std::path::Path::new(&format!("/proc/{}/exe", created.pid)).exists(), "a look does not end it");
        if ended_by_signal {
            bed.runtime.kill(&spec.id, 9).await.expect("its first process can be found");
            let exit = tokio::time::timeout(ENOUGH, waiting).await.expect("ends in time");
            assert_eq!(exit.expect("who waited is told").exit_code, 137);
        }
        bed.runtime.delete(&spec.id).await.expect("deletes");
        is_gone(created.pid).await;
        assert_eq!(bed.traces(&spec.id), [""; 0]);
    }
}

async fn without_the_zygote_the_rest_goes_on(bed: &Bed) {
    let spec = bed.container(&["sleep", "100"]);
    bed.start_in_background(&spec).await;
    let zygotes = children(std::process::id());
    assert_eq!(zygotes.len(), 1);
    signal(zygotes[0], Signal::KILL);
    let other = bed.container(&["true"]);
    let error = bed.runtime.create(&other).await.expect_err("nobody creates it");
    assert!(matches!(error, RuntimeError::ZygoteGone { .. } | RuntimeError::ShimGone { .. }), "{error}");
    bed.runtime.delete(&other.id).await.expect("deletes");
    let seen = bed.exec(&spec.id, &command(&["hostname"]), b"").await;
    assert_eq!(seen.text(), "tester\n");
    bed.runtime.delete(&spec.id).await.expect("deletes");
    assert_eq!(bed.traces(&spec.id), [""; 0]);
    assert_eq!(bed.traces(&other.id), [""; 0]);
}
