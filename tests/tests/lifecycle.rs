//! The verbs between a container's creation and its removal.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tests::{Host, PATIENCE, eventually, within};

/// Everything of a container that an end and a new start leave as it is.
fn lasting(host: &Host, name: &str) -> Value {
    let mut container = host.json(&["inspect", name]);
    for field in ["state", "pid", "started_at", "finished_at", "exit_code"] {
        container.as_object_mut().expect("an object").remove(field);
    }
    container
}

#[test]
fn a_created_container_waits_for_its_start() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    let id = host.ok(&["create", "--name", "job", "--network", "web", "busybox", "sh", "-c", "echo ran; exit 4"]);
    assert_eq!(host.json(&["inspect", "job"])["state"], "created");
    assert_eq!(host.ok(&["logs", "job"]), "");
    host.restart();
    assert_eq!(
        (host.json(&["inspect", "job"])["state"].clone(), id),
        (
            json!("created"),
            host.ok(&["inspect", "job", "--format", "json"]).split('"').nth(3).expect("an id").to_owned()
        )
    );
    for (request, remedy) in [
        (&["attach", "job"][..], "hint: start it attached: fabric start -a job\n"),
        (&["exec", "job", "true"], "hint: start it: `fabric start job`\n"),
    ] {
        let refused = host.fabric(request).expect_code(125);
        assert!(refused.stderr.contains("container `job` was not started"), "{refused}");
        assert!(refused.stderr.ends_with(remedy), "{refused}");
    }
    assert_eq!(host.ok(&["start", "job"]), "job");
    assert_eq!(host.ok(&["wait", "job"]), "4");
    assert_eq!(host.ok(&["logs", "job"]), "ran");
    let refused = host.fabric(&["attach", "job"]).expect_code(125);
    assert!(refused.stderr.contains("container `job` has exited"), "{refused}");
    assert!(refused.stderr.contains("fabric logs job"), "{refused}");
}

#[test]
fn an_ended_container_starts_again_as_the_same_with_fresh_processes() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    let script = "echo run >>/runs; cat /runs; sleep 1000";
    let first = host.run("api", "web", &["-p", "8080:80"], &["sh", "-c", script]);
    let (before, started) = (lasting(&host, "api"), host.json(&["inspect", "api"])["started_at"].clone());
    // A container runs before its program has come to anything.
    let told = |lines: usize| {
        let all = || (host.ok(&["logs", "api"]).lines().count() == lines).then_some(());
        eventually("it has told of all its runs, and the log goes on", all);
    };
    told(1);
    for runs in 2..4 {
        host.ok(&["stop", "-t", "0", "api"]);
        let ended = host.json(&["inspect", "api"]);
        assert_eq!((&ended["state"], ended["started_at"].is_string()), (&json!("exited"), true), "{ended:#}");
        host.ok(&["start", "api"]);
        let again = host.attached("api");
        assert_eq!((&again.id, again.ipv4, lasting(&host, "api")), (&first.id, first.ipv4, before.clone()));
        assert_ne!(again.pid, first.pid);
        assert_ne!(host.json(&["inspect", "api"])["started_at"], started);
        told((1..=runs).sum());
        assert_eq!(host.ok(&["exec", "api", "wc", "-l", "/runs"]), format!("{runs} /runs"), "it keeps its files");
        host.ok(&["run", "--rm", "--network", "web", "busybox", "ping", "-c", "1", "-W", "30", "api"]);
        host.assert_healthy();
    }
    host.fabric(&["start", "api"]).expect_code(1);
    host.restart();
    host.ok(&["exec", "api", "true"]);
}

#[test]
fn an_ended_container_holds_nothing_that_it_cannot_use() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    host.run("other", "web", &[], &["sleep", "1000"]);
    let before = host.holdings();
    host.run("api", "web", &["-p", "8080:80"], &["sleep", "1000"]);
    host.ok(&["stop", "-t", "0", "api"]);
    let mut after = Vec::new();
    let same = within(PATIENCE, || {
        after = host.holdings();
        (after == before).then_some(())
    });
    assert!(same.is_some(), "{before:#?} {after:#?}");
    // Its port is another's now, which its start tells, and nothing has changed.
    host.run("thief", "web", &["-p", "8080:80"], &["sleep", "1000"]);
    let refused = host.fabric(&["start", "api"]).expect_code(1);
    assert!(refused.stderr.contains("8080") && refused.stderr.contains("thief"), "{refused}");
    let api = host.json(&["inspect", "api"]);
    assert_eq!((&api["state"], &api["exit_code"]), (&json!("exited"), &json!(137)));
    host.ok(&["rm", "-f", "thief"]);
    host.ok(&["start", "api"]);
}

#[test]
fn a_start_that_fails_ends_as_it_had_ended() {
    let host = Host::new();
    host.ok(&["run", "-d", "--name", "job", "busybox", "sh", "-c", "rm /bin/sh; exit 3"]);
    assert_eq!(host.ok(&["wait", "job"]), "3");
    let before = (host.json(&["inspect", "job"]), host.holdings());
    let failed = host.fabric(&["start", "job"]).expect_code(1);
    assert!(failed.stderr.contains("`sh`"), "{failed}");
    eventually("everything as before", || ((host.json(&["inspect", "job"]), host.holdings()) == before).then_some(()));
}

#[test]
fn an_attached_start_shows_everything_and_ends_with_the_containers_code() {
    let host = Host::new();
    host.ok(&["create", "-i", "--name", "job", "busybox", "sh", "-c", "cat; echo done; exit 6"]);
    for _ in 0..2 {
        let (output, code) = host.fabric_with_input(&["start", "-a", "-i", "job"], b"input\n");
        assert_eq!((String::from_utf8_lossy(&output).as_ref(), code), ("input\ndone\n", 6));
    }
    host.fabric(&["start", "-a", "job", "job"]).expect_code(2);
    assert_eq!(host.ok(&["wait", "job"]), "6", "it was not removed");
}

#[test]
fn a_restart_stops_first_and_is_refused_where_it_would_remove() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    let script = "trap 'echo asked; exit 0' TERM; echo up; while :; do sleep 0.05; done";
    let first = host.run("api", "web", &[], &["sh", "-c", script]);
    eventually("it is up", || (host.ok(&["logs", "api"]) == "up").then_some(()));
    assert_eq!(host.ok(&["restart", "-t", "20", "api"]), "api");
    assert_ne!(host.attached("api").pid, first.pid);
    eventually("it was asked", || (host.ok(&["logs", "api"]) == "up\nasked\nup").then_some(()));
    host.ok(&["kill", "api"]);
    host.ok(&["wait", "api"]);
    host.ok(&["restart", "api"]);
    host.attached("api");
    host.ok(&["run", "-d", "--rm", "--name", "brief", "busybox", "sleep", "1000"]);
    let refused = host.fabric(&["restart", "brief"]).expect_code(1);
    assert!(refused.stderr.contains("removed when it ends"), "{refused}");
    assert_eq!(host.json(&["inspect", "brief"])["state"], "running");
}

#[test]
fn dns_follows_a_new_name_at_once() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    let api = host.run("api", "web", &[], &["sleep", "1000"]);
    host.run("client", "web", &[], &["sleep", "1000"]);
    for (old, new) in [("api", "backend"), ("backend", "api")] {
        assert_eq!(host.ok(&["rename", old, new]), new);
        let found = host.ok(&["exec", "client", "nslookup", new]);
        assert!(found.contains(&api.ipv4.to_string()), "{found}");
        host.fabric(&["exec", "client", "nslookup", old]).expect_code(1);
        host.fabric(&["inspect", old]).expect_code(1);
        assert_eq!(host.attached(new), api);
    }
    let taken = host.fabric(&["rename", "api", "client"]).expect_code(1);
    assert!(taken.stderr.contains("already a container `client`"), "{taken}");
    host.ok(&["rename", "api", "api"]);
    host.ok(&["rename", "api", "kept"]);
    host.restart();
    assert_eq!(host.attached("kept"), api);
    host.ok(&["run", "-d", "--name", "api", "busybox", "sleep", "1000"]);
}

#[test]
fn prune_removes_what_has_exited_and_asks_first() {
    let host = Host::new();
    host.ok(&["run", "-d", "--name", "runs", "busybox", "sleep", "1000"]);
    host.ok(&["create", "--name", "waits", "busybox", "true"]);
    for name in ["b-done", "a-done"] {
        host.ok(&["run", "-d", "--name", name, "busybox", "true"]);
        host.ok(&["wait", name]);
    }
    let unasked = host.fabric(&["prune"]).expect_code(1);
    assert!(unasked.stderr.contains("--force"), "{unasked}");
    assert_eq!(host.json(&["ps", "-a"]).as_array().expect("a list").len(), 4);
    assert_eq!(host.ok(&["prune", "-f", "--filter", "name=b-done"]), "b-done");
    assert_eq!(host.ok(&["prune", "-f"]), "a-done");
    assert_eq!(host.ok(&["container", "prune"]), "", "with nothing to remove nobody is asked");
    assert_eq!(host.json(&["ps", "-a"]).as_array().expect("a list").len(), 2);
}

#[test]
fn top_shows_every_process_of_the_container_and_no_other() {
    let host = Host::new();
    host.ok(&["run", "-d", "--name", "api", "busybox", "sh", "-c", "sleep 1001 & sleep 1002 & wait"]);
    host.ok(&["run", "-d", "--name", "other", "busybox", "sleep", "1003"]);
    let mut exec = host.fabric_command(&["exec", "api", "sleep", "1004"]).spawn().expect("fabric runs");
    let commands = |name: &str| -> Vec<String> {
        let processes = host.json(&["top", name]);
        let list = processes.as_array().expect("a list").iter();
        list.map(|process| process["command"].as_str().expect("a text").to_owned()).collect()
    };
    let expected = ["sh -c sleep 1001 & sleep 1002 & wait", "sleep 1001", "sleep 1002", "sleep 1004"];
    let mut seen = Vec::new();
    // Before that each is a process that becomes it.
    let all = within(PATIENCE, || {
        seen = commands("api");
        seen.sort();
        (seen == expected).then_some(())
    });
    assert!(all.is_some(), "{seen:#?}");
    let text = host.ok(&["top", "api"]);
    assert!(text.starts_with("PID") && text.lines().nth(1).expect("a process").starts_with("1 "), "{text}");
    host.ok(&["kill", "api"]);
    exec.wait().expect("it is our child");
    host.ok(&["wait", "api"]);
    let ended = host.fabric(&["top", "api"]).expect_code(1);
    assert!(ended.stderr.contains("not running"), "{ended}");
}

#[test]
fn several_are_inspected_at_once() {
    let host = Host::new();
    for name in ["a", "b"] {
        host.ok(&["create", "--name", name, "busybox", "true"]);
    }
    let both = host.json(&["inspect", "a", "b"]);
    assert_eq!((&both[0]["name"], &both[1]["name"]), (&json!("a"), &json!("b")));
    let some = host.fabric(&["inspect", "a", "nobody", "b"]).expect_code(1);
    assert_eq!(some.stdout.matches("hostname").count(), 2, "{some}");
    assert!(some.stderr.contains("nobody"), "{some}");
}

#[test]
fn a_container_is_stopped_as_it_or_its_maker_wants() {
    let host = Host::new();
    let script = "trap 'exit 7' USR1; trap 'exit 8' TERM; echo up; while :; do sleep 0.05; done";
    for (options, code) in [(&[][..], "8"), (&["--stop-signal", "USR1"], "7"), (&["--stop-signal", "SIGUSR1"], "7")] {
        let start = [&["run", "-d", "--name", "api"], options, &["busybox", "sh", "-c", script]].concat();
        host.ok(&start);
        eventually("it is up", || (host.ok(&["logs", "api"]) == "up").then_some(()));
        host.ok(&["stop", "api"]);
        assert_eq!(host.ok(&["wait", "api"]), code, "{options:?}");
        host.ok(&["rm", "api"]);
    }
    // The first process of a container ignores what it has no handler for.
    host.ok(&["run", "-d", "--name", "deaf", "--stop-timeout", "1", "busybox", "sleep", "1000"]);
    let begin = Instant::now();
    host.ok(&["stop", "deaf"]);
    let took = begin.elapsed();
    // Without that option it would be ten.
    assert!((Duration::from_secs(1)..Duration::from_secs(10)).contains(&took), "{took:?}");
}

#[test]
fn stopping_what_never_ran_changes_nothing() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    let create = ["create", "--name", "api", "--network", "web", "--restart", "always", "-p", "8080:80"];
    host.ok(&[&create[..], &["busybox", "sleep", "1000"]].concat());
    let before = host.json(&["inspect", "api"]);
    assert_eq!(host.ok(&["stop", "api"]), "api");
    assert_eq!(host.json(&["inspect", "api"]), before);
    assert_eq!(host.ok(&["events", "--filter", "name=api", "--format", "{{.action}}"]), "create");
    host.restart();
    assert_eq!(host.json(&["inspect", "api"])["state"], "created");
    host.ok(&["restart", "-t", "0", "api"]);
    assert_eq!(host.json(&["inspect", "api"])["state"], "running");
    assert_eq!(host.ok(&["events", "--filter", "name=api", "--format", "{{.action}}"]), "create\nstart");
}

#[test]
fn a_stop_during_a_restart_counts() {
    let host = Host::new();
    let stubborn = "trap : TERM; echo up; while :; do sleep 0.1; done";
    host.ok(&["run", "-d", "--name", "api", "busybox", "sh", "-c", stubborn]);
    eventually("it heeds no signal", || (host.ok(&["logs", "api"]) == "up").then_some(()));
    let restart = host.fabric_command(&["restart", "-t", "10", "api"]).stderr(Stdio::piped()).spawn();
    let restart = restart.expect("fabric runs");
    // The next daemon would start it.
    let state = || fs::read(host.data_dir().join("state.redb")).expect("readable");
    let is_noted = || state().windows(16).any(|octets| octets == br#""requested":true"#);
    eventually("the restart is noted", || is_noted().then_some(()));
    assert_eq!(host.ok(&["stop", "-t", "0", "api"]), "api");
    let told = restart.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&told.stderr);
    assert!(!told.status.success() && text.contains("was stopped by somebody else"), "{text}");
    assert_eq!(host.json(&["inspect", "api"])["state"], "exited");
}

#[test]
fn what_was_made_ready_again_and_never_started_is_stopped() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    let publish = ["--network", "web", "-p", "8080:80"];
    host.ok(&[&["run", "--name", "api"][..], &publish, &["busybox", "true"]].concat());
    // What `fabric start -a` asks for first, from a client that is gone afterwards.
    let mut prepare = Command::new("curl");
    prepare.args(["-sSf", "-X", "POST", "--unix-socket"]).arg(host.run_dir().join("netd.sock"));
    let prepared = prepare.arg("http://netd/v1/containers/api/start?prepare=true").output().expect("curl runs");
    assert!(prepared.status.success(), "{}", String::from_utf8_lossy(&prepared.stderr));
    assert_eq!(host.json(&["inspect", "api"])["state"], "created");
    host.fabric(&[&["run", "-d"][..], &publish, &["busybox", "sleep", "1000"]].concat()).expect_code(125);
    assert_eq!(host.ok(&["stop", "api"]), "api");
    assert_eq!(host.json(&["inspect", "api"])["state"], "exited");
    host.ok(&[&["run", "-d"][..], &publish, &["busybox", "sleep", "1000"]].concat());
}

#[test]
fn who_waits_is_told_that_the_daemon_ended() {
    let host = Host::new();
    host.ok(&["run", "-d", "--name", "api", "busybox", "sh", "-c", "echo up; sleep 1000"]);
    let start = |arguments: &[&str]| {
        let mut command = host.fabric_command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("fabric runs")
    };
    let mut followed = start(&["logs", "-f", "api"]);
    let mut line = String::new();
    BufReader::new(followed.stdout.take().expect("piped")).read_line(&mut line).expect("text");
    let others = [start(&["wait", "api"]), start(&["stop", "-t", "100", "api"])];
    others.iter().for_each(|child| host.wait_until_asked_by(child));
    host.kill();
    for child in others.into_iter().chain([followed]) {
        let output = child.wait_with_output().expect("it is our child");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1));
        assert!(text.starts_with("error: netd ended before it had answered\nhint: "), "{text}");
    }
    host.start();
    assert_eq!(host.json(&["inspect", "api"])["state"], "running");
}

#[test]
fn a_program_whose_reader_is_gone_is_not_left_running() {
    let host = Host::new();
    host.ok(&["run", "-d", "--name", "api", "busybox", "sleep", "1000"]);
    let mut exec = host.fabric_command(&["exec", "api", "yes"]).stdout(Stdio::piped()).spawn().expect("fabric runs");
    let mut line = String::new();
    // Read once and closed, as `head -1` does.
    BufReader::new(exec.stdout.take().expect("piped")).read_line(&mut line).expect("text");
    assert_eq!(line, "y\n");
    assert_eq!(exec.wait().expect("it is our child").code(), Some(141));
    eventually("only the container's own process is left", || {
        (host.json(&["top", "api"]).as_array().expect("a list").len() == 1).then_some(())
    });
}

#[test]
fn the_log_of_a_container_that_never_stops_writing_has_an_end() {
    let host = Host::new();
    // A small log, so that what it takes to read it all is not what is measured.
    let run = ["run", "-d", "--name", "endless", "--log-opt", "max-size=1m"];
    host.ok(&[&run[..], &["busybox", "sh", "-c", "while :; do printf 0123456789; echo x; done"]].concat());
    eventually("it has written", || (!host.ok(&["logs", "-n", "1", "endless"]).is_empty()).then_some(()));
    for arguments in [&["logs", "endless"][..], &["logs", "-n", "2", "endless"], &["logs", "--tail", "2", "endless"]] {
        let mut logs = host.fabric_command(arguments);
        let mut logs = logs.stdout(Stdio::null()).spawn().expect("starts");
        let ended = within(PATIENCE, || logs.try_wait().expect("a child"));
        if ended.is_none() {
            logs.kill().expect("it runs");
        }
        assert!(ended.is_some_and(|status| status.success()), "{arguments:?} ends");
    }
    assert_eq!(host.ok(&["logs", "-n", "2", "endless"]).lines().count(), 2);
    host.ok(&["rm", "-f", "endless"]);
}
