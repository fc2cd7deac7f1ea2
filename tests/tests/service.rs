//! What a service manager hears of the daemon.

use std::{fs, os::unix::net::UnixDatagram, path::Path, process::Command};

use tests::{Halted, Host, PATIENCE, eventually, shim_of};

fn heard(socket: &UnixDatagram) -> Option<String> {
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

#[test]
fn it_is_ready_gives_signs_of_life_and_says_that_it_ends() {
    let host = Host::stopped("");
    let path = host.path("notify");
    let socket = UnixDatagram::bind(&path).expect("the directory is ours");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time");
    let mut command: Command = host.netd_command();
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "1000000");
    host.spawn(&mut command);
    let first = heard(&socket).expect("it is told");
    assert!(first.starts_with("READY=1\n"), "{first}");
    host.ok(&["status"]);
    for _ in 0..3 {
        assert_eq!(heard(&socket).as_deref(), Some("WATCHDOG=1\n"));
    }
    host.terminate();
    let last = std::iter::from_fn(|| heard(&socket)).find(|text| text.starts_with("STOPPING=1"));
    assert!(last.is_some());
}

/// A value of PATH that finds, before all others, a `systemctl` that says what `state` holds.
fn path_with_systemctl(host: &Host, state: &Path) -> String {
    let directory = host.path("programs");
    fs::create_dir(&directory).expect("the directory is ours");
    let script = format!("#!/bin/sh\n[ \"$*\" = is-system-running ] && cat {} && exit 1\n", state.display());
    // Written by another process: this one's descriptors may be those of a child that another test starts meanwhile.
    let mut writing = Command::new("sh");
    writing.args(["-c", "printf %s \"$1\" >\"$0\" && chmod 755 \"$0\""]).arg(directory.join("systemctl")).arg(script);
    assert!(writing.status().expect("sh runs").success(), "there is room");
    format!("{}:{}", directory.display(), std::env::var("PATH").expect("there is one"))
}

#[test]
fn containers_end_well_before_the_host_does_and_by_themselves_nobody_else() {
    let host = Host::stopped("");
    let (state, notify) = (host.path("state"), host.path("notify"));
    let socket = UnixDatagram::bind(&notify).expect("the directory is ours");
    socket.set_nonblocking(true).expect("it is ours");
    let path = path_with_systemctl(&host, &state);
    let start = || {
        host.spawn(host.netd_command().env("NOTIFY_SOCKET", &notify).env("PATH", &path));
        host.wait_until_ready();
    };
    start();
    host.import_busybox();
    let program = "trap 'echo ended well; exit 3' TERM; echo begun; while :; do sleep 0.05; done";
    host.ok(&["run", "-d", "--name", "db", "--restart", "always", "busybox", "sh", "-c", program]);
    host.ok(&["run", "-d", "--name", "deaf", "--stop-timeout", "1", "busybox", "sleep", "10000"]);
    host.ok(&["create", "--name", "waiting", "busybox", "true"]);
    let said = || host.ok(&["logs", "db"]);
    let begins = |times: usize| eventually("it runs", || (said().matches("begun").count() == times).then_some(()));
    let pid = |name: &str| host.json(&["inspect", name])["pid"].as_i64().expect("it runs");
    begins(1);
    let before = [pid("db"), pid("deaf")];

    fs::write(&state, "running\n").expect("the directory is ours");
    host.terminate();
    start();
    assert_eq!([pid("db"), pid("deaf")], before, "only the daemon ended");

    fs::write(&state, "stopping\n").expect("the directory is ours");
    while heard(&socket).is_some() {}
    host.terminate();
    let told: Vec<String> = std::iter::from_fn(|| heard(&socket)).collect();
    assert!(told.iter().any(|text| text.starts_with("EXTEND_TIMEOUT_USEC=")), "{told:?}");
    for pid in before {
        assert!(!Path::new("/proc").join(pid.to_string()).exists(), "{}", host.log_tail());
    }
    start();
    begins(2);
    assert_eq!(said(), "begun\nended well\nbegun");
    let deaf = host.json(&["inspect", "deaf"]);
    assert_eq!((&deaf["state"], &deaf["exit_code"]), (&"exited".into(), &137.into()));
    assert_eq!(host.json(&["inspect", "waiting"])["state"], "created");
    fs::write(&state, "running\n").expect("the directory is ours");
    host.assert_healthy();
}

#[test]
fn who_cannot_be_ended_does_not_keep_the_host_from_ending() {
    let host = Host::stopped("");
    let (state, notify) = (host.path("state"), host.path("notify"));
    let _socket = UnixDatagram::bind(&notify).expect("the directory is ours");
    let path = path_with_systemctl(&host, &state);
    fs::write(&state, "stopping\n").expect("the directory is ours");
    let start = || {
        host.spawn(host.netd_command().env("NOTIFY_SOCKET", &notify).env("PATH", &path));
        host.wait_until_ready();
    };
    start();
    host.import_busybox();
    host.ok(&["run", "-d", "--name", "lost", "--stop-timeout", "1", "busybox", "sleep", "10000"]);
    host.ok(&["run", "-d", "--name", "db", "--stop-timeout", "1", "busybox", "sleep", "10000"]);
    let pid = |name: &str| host.json(&["inspect", name])["pid"].as_i64().expect("it runs");
    let (lost, db) = (pid("lost"), pid("db"));
    let runs = |pid: i64| Path::new("/proc").join(pid.to_string()).exists();
    // As long as it stands still nobody can end the container.
    let halted = Halted::new(shim_of(lost));
    host.terminate();
    assert!(runs(lost) && !runs(db), "{}", host.log_tail());
    assert!(host.log_tail().contains("left to the end of the host"), "{}", host.log_tail());
    drop(halted);
    fs::write(&state, "running\n").expect("the directory is ours");
    start();
    assert_eq!(host.json(&["inspect", "lost"])["state"], "running");
    host.assert_healthy();
}
