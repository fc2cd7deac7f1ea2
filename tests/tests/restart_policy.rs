//! Containers that are started again when they have ended: by themselves, by a crash of the daemon, by a reboot.

use std::{
    net::Ipv4Addr,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tests::{Attached, Host, PATIENCE, eventually, fetch, within};

/// Fails at once, each time.
const FAIL: [&str; 4] = ["busybox", "sh", "-c", "echo ran; exit 3"];
const SLEEP: [&str; 3] = ["busybox", "sleep", "10000"];

/// What the container's restart policy has come to: its state, and how often it was started again.
fn policy(host: &Host, name: &str) -> (String, u64) {
    let container = host.json(&["inspect", name]);
    let state = container["state"].as_str().expect("a word").to_owned();
    (state, container["restart_count"].as_u64().expect("a number"))
}

fn run(host: &Host, name: &str, policy: &str, command: &[&str]) {
    host.ok(&[&["run", "-d", "--name", name, "--network", "web", "--restart", policy], command].concat());
}

/// Ends the container's first process as an error in it would.
fn crash(container: &Attached) {
    let killed = Command::new("kill").args(["-9", &container.pid.to_string()]).status();
    assert!(killed.expect("kill runs").success());
}

/// The container, once it runs in other processes than `before`.
#[track_caller]
fn next_run(host: &Host, name: &str, before: &Attached) -> Attached {
    let is_next = |container: &Value| container["pid"].as_i64().is_some_and(|pid| pid != before.pid);
    eventually("it runs again", || is_next(&host.json(&["inspect", name])).then_some(()));
    host.attached(name)
}

/// Waits until the pause before the next start is long enough to do something in it; how often it was started again
/// until then.
#[track_caller]
fn in_a_long_pause(host: &Host, name: &str) -> u64 {
    // While it is being started it counts as restarting too, but that does not last.
    let paused = || {
        let seen = policy(host, name);
        sleep(Duration::from_millis(300));
        (seen.0 == "restarting" && seen.1 >= 5 && seen == policy(host, name)).then_some(seen.1)
    };
    eventually("its pauses have grown to 3.2 s", paused)
}

/// What comes of something that is done in one pause, at the latest in the third, each of which is twice as long as the
/// last.
#[track_caller]
fn within_a_pause<T>(host: &Host, name: &str, act: impl Fn() -> T) -> T {
    for _ in 0..3 {
        let count = in_a_long_pause(host, name);
        let came_of_it = act();
        if policy(host, name) == ("restarting".to_owned(), count) {
            return came_of_it;
        }
    }
    panic!("no pause is long enough");
}

/// Ends a container in a pause, and holds that nobody waits for its end. A machine that stands still may take as long;
/// it does not each time.
#[track_caller]
fn end_in_a_pause(host: &Host, name: &str, end: &[&str], again: impl Fn()) {
    let mut took = Vec::new();
    for _ in 0..3 {
        in_a_long_pause(host, name);
        let begun = Instant::now();
        host.ok(end);
        took.push(begun.elapsed());
        if took.last() < Some(&Duration::from_secs(2)) {
            return;
        }
        again();
    }
    panic!("somebody waits for the pause: {took:?}");
}

/// What happened to the container, in order.
fn actions(host: &Host, name: &str) -> Vec<String> {
    let text = host.ok(&["events", "--filter", &format!("name={name}"), "--format", "{{.action}}"]);
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_container_that_crashes_is_started_again_as_the_same() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    let options = ["--restart", "always", "-p", "8080:80"];
    let first = host.run("api", "web", &options, &["sh", "-c", "echo run >>/runs; exec httpd -f -p 80 -h /"]);
    let shown = host.json(&["inspect", "api"]);
    assert_eq!((&shown["restart_policy"], &shown["restart_count"]), (&json!("always"), &json!(0)));
    let runs = || fetch(host.namespace(), Ipv4Addr::LOCALHOST, 8080, "runs").ok();
    assert_eq!(eventually("its port answers", runs).trim(), "run");
    crash(&first);
    let again = next_run(&host, "api", &first);
    assert_eq!((&again.id, again.ipv4), (&first.id, first.ipv4));
    let twice = || runs().filter(|text| text.lines().count() == 2);
    eventually("its port leads to it again, and it has its files", twice);
    host.ok(&["run", "--rm", "--network", "web", "busybox", "ping", "-c", "1", "-W", "30", "api"]);
    assert_eq!(policy(&host, "api"), ("running".to_owned(), 1));
    assert_eq!(actions(&host, "api"), ["create", "start", "exit", "restart", "start"]);
    host.ok(&["restart", "-t", "0", "api"]);
    assert_eq!(policy(&host, "api"), ("running".to_owned(), 0), "a person's start counts anew");
    host.assert_healthy();
}

#[test]
fn a_policy_does_what_it_says() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    run(&host, "failing", "on-failure:2", &FAIL);
    run(&host, "done", "on-failure", &["busybox", "true"]);
    run(&host, "never", "no", &FAIL);
    let ended = || (policy(&host, "failing") == ("exited".to_owned(), 2)).then_some(());
    eventually("it was started twice again, and no more", ended);
    assert_eq!(host.ok(&["logs", "failing"]).lines().count(), 3);
    for name in ["done", "never"] {
        let ended = || Some(policy(&host, name)).filter(|(state, _)| state == "exited");
        assert_eq!(eventually("it has ended", ended).1, 0, "{name}");
    }
    run(&host, "steady", "unless-stopped", &["busybox", "true"]);
    eventually("it is started again whatever its code", || (policy(&host, "steady").1 > 1).then_some(()));
    let listed = host.ok(&["ps", "-q"]);
    assert!(listed.contains(host.json(&["inspect", "steady"])["id"].as_str().expect("an id")), "{listed}");
    let refused = host.fabric(&["run", "--rm", "--restart", "always", "busybox", "true"]).expect_code(2);
    assert_eq!(
        refused.stderr,
        "error: a container that is removed when it ends cannot have restart policy `always`\n\
         hint: leave out `--rm` or `--restart`\n"
    );
    host.ok(&["prune", "-f"]);
    let left: Vec<_> = host.ok(&["ps", "-a", "--format", "{{.name}}"]).lines().map(str::to_owned).collect();
    assert_eq!(left, ["steady"], "who is started again is not pruned");
}

#[test]
fn pauses_double() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    run(&host, "failing", "always", &FAIL);
    eventually("it failed five times", || (policy(&host, "failing").1 >= 4).then_some(()));
    let text = host.ok(&["events", "--filter", "name=failing", "--format", "{{.action}} {{.time}}"]);
    let times = |wanted: &str| -> Vec<jiff::Timestamp> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(wanted)?.trim().parse().ok());
        lines.collect()
    };
    let pauses: Vec<i128> = times("exit ")
        .iter()
        .zip(times("restart "))
        .map(|(exit, restart)| restart.duration_since(*exit).as_millis())
        .collect();
    for (pause, least) in pauses.iter().zip([100, 200, 400, 800]) {
        assert!((least..least + 10_000).contains(pause), "{pauses:?}");
    }
    assert!(pauses.len() >= 4, "{text}");
}

#[test]
fn a_person_counts_more_also_during_a_pause() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    run(&host, "failing", "always", &[&["-p", "8080:80"], &FAIL[..]].concat());
    let (taken, refused) = within_a_pause(&host, "failing", || {
        let taken = host.fabric(&["run", "-d", "--network", "web", "-p", "8080:81", "busybox", "true"]);
        (taken.expect_code(125), host.fabric(&["rm", "failing"]).expect_code(1))
    });
    assert!(taken.stderr.contains("already published by container `failing`"), "its port waits for it: {taken}");
    assert_eq!(
        refused.stderr,
        "error: container `failing` has ended, and is about to be started again\n\
         hint: stop it first with `fabric stop failing`, or use `fabric rm -f failing`\n"
    );
    end_in_a_pause(&host, "failing", &["stop", "failing"], || drop(host.ok(&["start", "failing"])));
    let (state, count) = policy(&host, "failing");
    assert_eq!(state, "exited");
    // Longer than the pause would have been.
    sleep(Duration::from_secs(4));
    assert_eq!(policy(&host, "failing"), ("exited".to_owned(), count));
    host.restart();
    sleep(Duration::from_millis(500));
    assert_eq!(policy(&host, "failing"), ("exited".to_owned(), count), "a new daemon is no boot");
    host.ok(&["start", "failing"]);
    end_in_a_pause(&host, "failing", &["rm", "-f", "failing"], || run(&host, "failing", "always", &FAIL));
    // By a person's signal that leaves no choice it ends for good, by any other as by itself.
    let script = "trap 'exit 0' HUP; echo up; while :; do sleep 0.1; done";
    run(&host, "steady", "always", &["busybox", "sh", "-c", script]);
    eventually("it has set its trap", || (host.ok(&["logs", "steady"]) == "up").then_some(()));
    let first = host.attached("steady");
    host.ok(&["kill", "-s", "HUP", "steady"]);
    next_run(&host, "steady", &first);
    host.ok(&["kill", "steady"]);
    host.ok(&["wait", "steady"]);
    sleep(Duration::from_millis(500));
    assert_eq!(policy(&host, "steady"), ("exited".to_owned(), 1));
}

/// All are due at the same moment; the daemon tells `restart` when it begins with one, and `start` when that is done.
#[test]
fn after_a_reboot_no_more_are_started_at_a_time_than_there_are_processors_for() {
    const COUNT: usize = 10;
    let places = std::thread::available_parallelism().expect("Linux knows").get().max(2);
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    let names: Vec<String> = (0..COUNT.max(places * 2)).map(|number| format!("many-{number}")).collect();
    names.iter().for_each(|name| run(&host, name, "always", &SLEEP));
    host.reboot();
    for name in &names {
        eventually("it runs again", || (policy(&host, name).0 == "running").then_some(()));
    }
    let events = host.ok(&["events", "--format", "{{.action}}"]);
    let (mut begun, mut most, mut done) = (0, 0, 0);
    for action in events.lines().skip_while(|action| *action != "restart") {
        match action {
            "restart" => begun += 1,
            "start" => done += 1,
            _ => {}
        }
        most = most.max(begun - done);
    }
    assert_eq!((begun, done), (names.len(), names.len()), "{events}");
    assert!((1..=places).contains(&most), "{most} at a time, of {places}:\n{events}");
    host.assert_healthy();
}

#[test]
fn a_crash_of_the_daemon_loses_no_start() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    run(&host, "failing", "always", &FAIL);
    run(&host, "ends", "on-failure", &SLEEP);
    let before = host.attached("ends");
    let count = in_a_long_pause(&host, "failing");
    host.kill();
    crash(&before);
    host.start();
    let after = next_run(&host, "ends", &before);
    assert_eq!((&after.id, after.ipv4), (&before.id, before.ipv4));
    let on = || (policy(&host, "failing").1 > count).then_some(());
    eventually("its count and its pauses go on where they were", on);
    host.assert_healthy();
}

#[test]
fn after_a_reboot_those_run_again_that_are_to() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    let policies = ["no", "on-failure", "always", "unless-stopped"];
    let stopped = |policy: &str| format!("{policy}-stopped");
    for policy in policies {
        run(&host, policy, policy, &SLEEP);
        run(&host, &stopped(policy), policy, &[&["--stop-timeout", "0"], &SLEEP[..]].concat());
        host.ok(&["stop", &stopped(policy)]);
    }
    let address = |name: &str| host.json(&["inspect", name])["endpoints"][0]["ipv4"].clone();
    let addresses = policies.map(address);
    host.reboot();
    let runs = |name: &str| within(PATIENCE, || (policy(&host, name).0 == "running").then_some(()));
    for name in ["on-failure", "always", "unless-stopped", "always-stopped"] {
        assert!(runs(name).is_some(), "{name}: {}", host.ok(&["inspect", name]));
    }
    for name in ["no", "no-stopped", "on-failure-stopped", "unless-stopped-stopped"] {
        assert_eq!(policy(&host, name).0, "exited", "{name}");
    }
    assert_eq!(policies.map(address), addresses);
    host.ok(&["exec", "always", "ping", "-c", "1", "-W", "30", "unless-stopped"]);
    host.assert_healthy();
}

#[test]
fn who_cannot_be_started_is_tried_again() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    run(&host, "owner", "no", &SLEEP);
    let sharer = ["run", "-d", "--name", "sharer", "--network", "container:owner", "--restart", "always"];
    host.ok(&[&sharer, &SLEEP[..]].concat());
    let before = host.json(&["inspect", "sharer"])["pid"].as_i64().expect("it runs");
    host.ok(&["stop", "-t", "0", "owner"]);
    assert!(Command::new("kill").args(["-9", &before.to_string()]).status().expect("kill runs").success());
    let tried = || (policy(&host, "sharer").1 >= 2).then_some(());
    eventually("it is tried, and the network that it shares is away", tried);
    assert_eq!(policy(&host, "sharer").0, "restarting");
    host.ok(&["start", "owner"]);
    eventually("it runs once it can", || (policy(&host, "sharer").0 == "running").then_some(()));
}
