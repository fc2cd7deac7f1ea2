//! One daemon per network namespace: a second would take the first one's networks for leftovers.

use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use tests::{Host, eventually};

/// A daemon with directories of its own in the host's network namespace.
fn second(host: &Host) -> Command {
    let first = host.netd_command();
    let mut command = Command::new(first.get_program());
    let directories = [(host.data_dir(), host.path("data2")), (host.run_dir(), host.path("run2"))];
    for argument in first.get_args() {
        let other = directories.iter().find(|(own, _)| own.as_os_str() == argument);
        command.arg(other.map_or(argument, |(_, other)| other.as_os_str()));
    }
    command
}

/// Runs it to its end and returns what it says.
#[track_caller]
fn refused(host: &Host) -> String {
    let output = second(host).output().expect("nsenter runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
}

#[test]
fn a_second_daemon_is_refused_and_told_who_is_there() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    let container = host.run("container", "web", &[], &["sleep", "1000"]);
    let before = host.kernel_state();
    let said = refused(&host);
    for word in ["error: ", "network namespace", "hint: ", &format!("process {}", host.netd_pid().as_raw_nonzero())] {
        assert!(said.contains(word), "`{word}` in\n{said}");
    }
    assert_eq!(host.kernel_state(), before);
    // What flushes the rules does not open the door.
    host.namespace().run(&["nft", "flush", "ruleset"]);
    refused(&host);
    eventually("the rules are back", || (host.kernel_state() == before).then_some(()));
    assert_eq!(host.attached("container"), container);
}

#[test]
fn the_claim_ends_with_its_daemon_however_that_ends() {
    let host = Host::new();
    for _ in 0..3 {
        host.kill();
        host.start();
        refused(&host);
    }
    host.terminate();
    // Now the other may, and the first is the one that is too many.
    let mut other = second(&host).spawn().expect("nsenter runs");
    let socket = host.path("run2").join("netd.sock");
    eventually("the other daemon serves", || socket.exists().then_some(()));
    let said = host.netd_command().status().expect("nsenter runs");
    kill_process(Pid::from_child(&other), Signal::TERM).expect("it is our child");
    other.wait().expect("it is our child");
    assert_eq!(said.code(), Some(1), "{}", host.log_tail());
    assert!(host.log_tail().contains("works on this network namespace already"), "{}", host.log_tail());
    host.start();
    host.assert_healthy();
}
