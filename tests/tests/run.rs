//! `fabric run` and `fabric exec`: what a process is given, and what comes back of it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tests::{Halted, Host, eventually, within};

#[test]
fn exit_codes_are_the_containers_own_or_say_what_failed() {
    let host = Host::new();
    host.ok(&["run", "-d", "--name", "long", "busybox", "sleep", "1000"]);
    for (command, code) in [
        (&["true"][..], 0),
        (&["sh", "-c", "exit 3"], 3),
        (&["sh", "-c", "sh -c 'kill -9 $$'; exit $?"], 137),
        (&["/etc/passwd"], 126),
        (&["no-such-program"], 127),
        (&["/no/such/program"], 127),
    ] {
        host.fabric(&[&["run", "--rm", "busybox"], command].concat()).expect_code(code);
        host.fabric(&[&["exec", "long"], command].concat()).expect_code(code);
    }
    host.fabric(&["run", "--rm", "no-such-image", "true"]).expect_code(125);
    host.fabric(&["run", "--rm", "--network", "none-such", "busybox", "true"]).expect_code(125);
    host.fabric(&["exec", "no-such-container", "true"]).expect_code(125);
    host.fabric(&["run", "--no-such-flag", "busybox"]).expect_code(2);
    let names = host.json(&["ps", "-a"]);
    assert_eq!(names.as_array().expect("a list").len(), 1, "failed runs leave no container: {names:#}");
}

#[test]
fn a_detached_containers_exit_code_is_kept() {
    let host = Host::new();
    host.ok(&["run", "-d", "--name", "job", "busybox", "sh", "-c", "sleep 0.3; exit 5"]);
    assert_eq!(host.fabric(&["wait", "job"]).success(), "5");
    let job = host.json(&["inspect", "job"]);
    assert_eq!((&job["state"], &job["exit_code"], &job["pid"]), (&json!("exited"), &json!(5), &json!(null)));
    assert_eq!(host.json(&["ps"]), json!([]), "ps lists what runs");
    assert_eq!(host.json(&["ps", "-a"])[0]["name"], "job");
}

#[test]
fn binary_input_comes_back_as_it_went_in() {
    let host = Host::new();
    host.ok(&["run", "-d", "--name", "long", "busybox", "sleep", "1000"]);
    // Every octet, in no order that a block boundary could hide in.
    let input: Vec<u8> = (0_u32..1 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for command in [&["run", "-i", "--rm", "busybox", "cat"][..], &["exec", "-i", "long", "cat"]] {
        let (output, code) = host.fabric_with_input(command, &input);
        assert_eq!(code, 0, "{command:?}");
        assert_eq!(output.len(), input.len(), "{command:?}");
        assert!(output == input, "{command:?}: octets were changed");
    }
}

#[test]
fn without_i_input_is_empty() {
    let host = Host::new();
    let (output, code) = host.fabric_with_input(&["run", "--rm", "busybox", "cat"], b"unseen");
    assert_eq!((output, code), (Vec::new(), 0));
}

#[test]
fn output_streams_are_kept_apart() {
    let host = Host::new();
    let script = "i=0; while [ $i -lt 200 ]; do echo out$i; echo err$i >&2; i=$((i+1)); done";
    host.ok(&["run", "-d", "--name", "both", "busybox", "sh", "-c", script]);
    host.ok(&["wait", "both"]);
    let expected = |word: &str| (0..200).map(|number| format!("{word}{number}\n")).collect::<String>();
    for command in [&["run", "--rm", "busybox", "sh", "-c", script][..], &["logs", "both"]] {
        let outcome = host.fabric(command).expect_code(0);
        assert_eq!(outcome.stdout, expected("out"), "{command:?}");
        assert_eq!(outcome.stderr, expected("err"), "{command:?}");
    }
}

#[test]
fn logs_can_be_followed_to_the_end() {
    let host = Host::new();
    host.ok(&["run", "-d", "--name", "job", "busybox", "sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.2; done"]);
    assert_eq!(host.ok(&["logs", "-f", "job"]), "1\n2\n3");
}

#[test]
fn logs_are_cut_to_a_time_and_dated() {
    let host = Host::new();
    // A line has its time when it is received, so the next waits for that.
    let script = "for i in 1 2 3; do echo $i; until [ -e /got$i ]; do sleep 0.05; done; done; echo 4";
    host.ok(&["run", "-d", "--name", "job", "busybox", "sh", "-c", script]);
    for (number, so_far) in (1..).zip(["1", "1\n2", "1\n2\n3"]) {
        eventually("the line is received", || (host.ok(&["logs", "job"]) == so_far).then_some(()));
        host.ok(&["exec", "job", "touch", &format!("/got{number}")]);
    }
    host.ok(&["wait", "job"]);
    let dated = host.ok(&["logs", "--timestamps", "job"]);
    let lines: Vec<(&str, &str)> = dated.lines().map(|line| line.split_once(' ').expect("time and text")).collect();
    assert_eq!(lines.iter().map(|line| line.1).collect::<Vec<_>>(), ["1", "2", "3", "4"]);
    assert!(lines.is_sorted() && lines.iter().all(|line| line.0.ends_with('Z')), "{dated}");
    let (second, fourth) = (lines[1].0, lines[3].0);
    for (options, expected) in [
        (&["--since", second][..], "2\n3\n4"),
        (&["--until", fourth], "1\n2\n3"),
        (&["--since", second, "--until", fourth], "2\n3"),
        (&["--until", fourth, "-n", "1"], "3"),
        (&["--since", "1h", "-n", "2"], "3\n4"),
        (&["--since", "2999-01-01T00:00:00Z"], ""),
    ] {
        assert_eq!(host.ok(&[&["logs"], options, &["job"]].concat()), expected, "{options:?}");
    }
    host.ok(&["run", "-d", "--name", "long", "busybox", "sh", "-c", "echo first; sleep 1000"]);
    eventually("it has written", || (host.ok(&["logs", "long"]) == "first").then_some(()));
    let soon = Command::new("date").args(["-u", "-d", "2 seconds", "+%Y-%m-%dT%H:%M:%SZ"]).output().expect("date runs");
    let soon = String::from_utf8(soon.stdout).expect("text");
    assert_eq!(host.ok(&["logs", "-f", "--until", soon.trim(), "long"]), "first");
}

#[test]
fn signals_to_an_attached_run_reach_the_container() {
    let host = Host::new();
    let script = "trap 'echo got INT; exit 7' INT; trap 'echo got TERM; exit 8' TERM; echo ready; \
                  while :; do sleep 0.05; done";
    for (signal, word, code) in [(Signal::INT, "got INT", 7), (Signal::TERM, "got TERM", 8)] {
        let mut command = host.fabric_command(&["run", "--rm", "busybox", "sh", "-c", script]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("fabric runs");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        lines.read_line(&mut line).expect("text");
        assert_eq!(line, "ready\n");
        kill_process(Pid::from_child(&child), signal).expect("it is our child");
        let mut rest = String::new();
        lines.read_to_string(&mut rest).expect("text");
        assert_eq!(rest.trim(), word);
        assert_eq!(child.wait().expect("it is our child").code(), Some(code));
    }
}

#[test]
fn stop_asks_first_and_kill_does_not() {
    let host = Host::new();
    let script = "trap 'echo asked; exit 9' TERM; echo up; while :; do sleep 0.05; done";
    for (verb, code, said) in [("stop", 9, "up\nasked"), ("kill", 137, "up")] {
        host.ok(&["run", "-d", "--name", verb, "busybox", "sh", "-c", script]);
        eventually("it has set its trap", || (host.ok(&["logs", verb]) == "up").then_some(()));
        host.ok(&[verb, verb]);
        assert_eq!(host.ok(&["wait", verb]), code.to_string());
        assert_eq!(host.ok(&["logs", verb]), said);
    }
}

#[test]
fn rm_refuses_what_runs_unless_forced() {
    let host = Host::new();
    host.ok(&["run", "-d", "--name", "long", "busybox", "sleep", "1000"]);
    let refused = host.fabric(&["rm", "long"]).expect_code(1);
    assert!(refused.stderr.contains("long"), "{refused}");
    host.ok(&["rm", "-f", "long"]);
    host.fabric(&["inspect", "long"]).expect_code(1);
}

#[test]
fn rm_after_exit_leaves_nothing() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    host.ok(&["run", "--rm", "--network", "web", "-p", "8080:80", "busybox", "true"]);
    let (kernel, holdings) = (host.kernel_state(), host.holdings());
    for attempt in 0..5 {
        host.ok(&["run", "--rm", "--network", "web", "-p", "8080:80", "busybox", "true"]);
        assert_eq!(host.json(&["ps", "-a"]), json!([]), "attempt {attempt}");
    }
    host.ok(&["run", "-d", "--rm", "--name", "brief", "--network", "web", "busybox", "sleep", "0.2"]);
    eventually("the container removes itself", || (host.json(&["ps", "-a"]) == json!([])).then_some(()));
    assert_eq!(host.json(&["network", "inspect", "web"])["usage"]["used"], 0);
    eventually("the kernel's state as before", || (host.kernel_state() == kernel).then_some(()));
    eventually("as many mounts, processes and groups as before", || (host.holdings() == holdings).then_some(()));
}

#[test]
fn options_take_effect() {
    let host = Host::new();
    let options =
        ["-e", "COLOUR=light blue", "-e", "EMPTY=", "-w", "/tmp", "--hostname", "db.example", "-l", "tier=back"];
    let script = "echo $COLOUR; echo ${EMPTY-unset}; pwd; hostname; cat /etc/hostname; sleep 1000";
    host.ok(&[&["run", "-d", "--name", "db"], &options[..], &["busybox", "sh", "-c", script]].concat());
    eventually("five lines", || {
        (host.ok(&["logs", "db"]) == "light blue\n\n/tmp\ndb.example\ndb.example").then_some(())
    });
    assert_eq!(host.json(&["inspect", "db"])["labels"], json!({ "tier": "back" }));
    assert_eq!(
        host.ok(&["exec", "-e", "X=1", "-w", "/etc", "db", "sh", "-c", "echo $X $COLOUR; pwd"]),
        "1 light blue\n/etc"
    );
}

#[test]
fn a_container_has_the_fields_that_were_promised() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    host.run("api", "web", &[], &["sleep", "1000"]);
    let container = host.json(&["inspect", "api"]);
    for field in ["id", "name", "image", "state", "exit_code", "pid", "created_at", "labels", "endpoints"] {
        assert!(container.get(field).is_some(), "{field} in {container:#}");
    }
    let endpoint = &container["endpoints"][0];
    for field in ["id", "network", "ipv4", "ipv6", "mac", "gateway", "aliases", "interface", "gateway_priority"] {
        assert!(endpoint.get(field).is_some(), "{field} in {endpoint:#}");
    }
    assert_eq!((&container["image"], &endpoint["network"]), (&json!("busybox"), &json!("web")));
}

#[test]
fn the_first_instruction_finds_the_network_in_force() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    let api = host.run("api", "web", &[], &["sleep", "1000"]);
    let script =
        "ip -4 -o addr show dev eth0 && ip route && cat /etc/resolv.conf && nslookup api && ping -c 1 -W 30 api";
    let mut times = Vec::new();
    for attempt in 0..20 {
        let outcome = host.fabric(&["run", "--rm", "--network", "web", "busybox", "sh", "-c", script]).expect_code(0);
        for expected in ["inet 10.", "default via", "nameserver", &api.ipv4.to_string(), " 0% packet loss"] {
            assert!(outcome.stdout.contains(expected), "attempt {attempt} lacks `{expected}`:\n{outcome}");
        }
        let time = outcome.stdout.split_once(" time=").and_then(|(_, rest)| rest.split_once(" ms"));
        times.push(time.and_then(|(time, _)| time.parse::<f64>().ok()).expect("ping tells how long it took"));
    }
    // A question that is lost is asked again after a second.
    times.sort_by(f64::total_cmp);
    assert!(times[times.len() / 2] < 900.0, "{times:?}");
}

#[test]
fn a_container_without_a_network_has_its_loopback_only() {
    let host = Host::new();
    let links = host.ok(&["run", "--rm", "busybox", "ip", "-o", "link"]);
    assert_eq!(links.lines().count(), 1, "{links}");
    assert!(links.contains("lo:") && links.contains(",UP"), "{links}");
}

#[test]
fn stopping_what_has_just_ended_is_a_success() {
    let host = Host::new();
    for attempt in 0..5 {
        let name = format!("brief-{attempt}");
        host.ok(&["run", "-d", "--name", &name, "busybox", "sleep", "1000"]);
        host.ok(&["kill", &name]);
        host.ok(&["stop", &name]);
        assert_eq!(host.json(&["inspect", &name])["exit_code"], 137);
    }
}

/// A program that repeats a line and ends at the next one.
const TWO_LINES: &str = "read line && echo $line && read line";

/// Lets [`TWO_LINES`] that `command` is attached to end while netd stands still, and netd go on once `command` has been
/// seen to wait for it, or has been sent a signal; returns its exit code.
fn end_before_netd_knows(host: &Host, command: &[&str], signal: Option<Signal>) -> Option<i32> {
    let mut client = host.fabric_command(command).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starts");
    let mut input = client.stdin.take().expect("piped");
    writeln!(input, "runs").expect("it reads");
    let mut line = String::new();
    let mut output = BufReader::new(client.stdout.take().expect("piped"));
    output.read_line(&mut line).expect("it writes text");
    assert_eq!(line, "runs\n");
    let halted = Halted::new(host.netd_pid());
    writeln!(input, "end").expect("it reads");
    let told = within(Duration::from_secs(1), || client.try_wait().expect("it is our child"));
    let code = signal.map(|signal| {
        kill_process(Pid::from_child(&client), signal).expect("it is our child");
        client.wait().expect("it is our child").code()
    });
    drop(halted);
    assert!(told.is_none(), "{command:?} ends before netd knows that the container has");
    code.unwrap_or_else(|| client.wait().expect("it is our child").code())
}

#[test]
fn a_run_that_has_ended_can_be_removed_and_started_again() {
    let host = Host::new();
    let state = || host.json(&["inspect", "job"])["state"].as_str().map(str::to_owned);
    let run = ["run", "-i", "--name", "job", "busybox", "sh", "-c", TWO_LINES];
    for command in [&run[..], &["start", "-a", "-i", "job"]] {
        assert_eq!(end_before_netd_knows(&host, command, None), Some(0));
        assert_eq!(state().as_deref(), Some("exited"), "{command:?}");
    }
    host.ok(&["start", "job"]);
    assert_eq!(end_before_netd_knows(&host, &["attach", "job"], None), Some(0));
    assert_eq!(state().as_deref(), Some("exited"), "attach");
    // Who is tired of waiting for netd need not.
    assert_eq!(end_before_netd_knows(&host, &["start", "-a", "-i", "job"], Some(Signal::TERM)), Some(0));
    eventually("netd knows, too", || (state()? == "exited").then_some(()));
    host.ok(&["rm", "job"]);
    host.ok(&["create", "--rm", "-i", "--name", "job", "busybox", "sh", "-c", TWO_LINES]);
    assert_eq!(end_before_netd_knows(&host, &["start", "-a", "-i", "job"], None), Some(0));
    host.ok(&["create", "--name", "job", "busybox", "true"]);
}

#[test]
fn who_waits_learns_how_a_container_ended_that_was_removed_by_force() {
    let host = Host::new();
    host.ok(&["run", "-d", "--name", "doomed", "busybox", "sleep", "1000"]);
    let waiting = host.fabric_command(&["wait", "doomed"]).stdout(Stdio::piped()).spawn().expect("fabric runs");
    host.wait_until_asked_by(&waiting);
    host.ok(&["rm", "-f", "doomed"]);
    let waited = waiting.wait_with_output().expect("it is our child");
    assert_eq!(String::from_utf8_lossy(&waited.stdout).trim(), "137");
}

#[test]
fn a_slow_reader_gets_all_output_of_a_run_that_removes_itself() {
    let host = Host::new();
    let mut command = host.fabric_command(&["run", "--rm", "busybox", "seq", "1", "80000"]);
    let mut run = command.stdout(Stdio::piped()).spawn().expect("fabric runs");
    std::thread::sleep(std::time::Duration::from_secs(2));
    let mut text = String::new();
    run.stdout.take().expect("piped").read_to_string(&mut text).expect("it writes text");
    assert_eq!(text.lines().count(), 80000);
    assert_eq!(run.wait().expect("it is our child").code(), Some(0));
}
