//! `kill -9` of the daemon right after each of its steps: nothing leaks, nothing is half there, no flow is lost.
//!
//! The list of steps is the daemon's own: each scenario is first run to its end with `NETD_STEP_LOG`, and then once
//! for each step that this wrote, with `NETD_CRASH_AT`.

use std::{collections::BTreeSet, fs, net::Ipv4Addr, time::Duration};

use tests::{Attached, Flow, Host, Lan, Ping, difference, eventually, fetch, within};

const SERVER: [&str; 7] = ["busybox", "httpd", "-f", "-p", "80", "-h", "/etc"];

/// What a healthy host looks like while only the bystanders run.
struct Baseline {
    kernel: String,
    holdings: Vec<String>,
}

impl Baseline {
    fn of(host: &Host) -> Self {
        Self { kernel: host.kernel_state(), holdings: host.holdings() }
    }

    #[track_caller]
    fn assert_reached(&self, host: &Host, when: &str) {
        let mut seen = (String::new(), Vec::new());
        let reached = within(Duration::from_secs(5), || {
            seen = (host.kernel_state(), host.holdings());
            (seen.0 == self.kernel && seen.1 == self.holdings).then_some(())
        });
        let used = &host.json(&["network", "inspect", "web"])["usage"]["used"];
        assert_eq!(*used, 2, "{when}: leases of the two bystanders");
        assert_eq!(host.json(&["network", "inspect", "back"])["usage"]["used"], 0, "{when}: nobody is left there");
        if reached.is_none() {
            assert_eq!(seen.1, self.holdings, "{when}: mounts, processes and groups");
            panic!("{when}: links, addresses, routes and rules:\n{}", difference(&self.kernel, &seen.0));
        }
    }
}

fn bystanders(host: &Host, lan: &Lan) -> (Flow, Ping) {
    let server: Attached = host.run("server", "web", &["-p", "7000:7"], &["nc", "-ll", "-p", "7", "-e", "cat"]);
    let client = host.run("client", "web", &[], &["sleep", "10000"]);
    let listening = || server.namespace().run(&["ss", "-tlnH", "sport", "=", ":7"]);
    eventually("the server listens", || (!listening().is_empty()).then_some(()));
    let flow = Flow::start(&lan.namespace, lan.host_address, 7000);
    (flow, Ping::start(&client.namespace(), server.ipv4))
}

/// Runs `scenario` on a daemon that writes its steps, and dies after the `crash_at`th; returns those it has taken.
fn take_steps(host: &Host, scenario: &[Vec<&str>], crash_at: Option<usize>) -> Vec<String> {
    let log = host.path("steps");
    fs::write(&log, "").expect("the directory is ours");
    host.terminate();
    let mut netd = host.netd_command();
    netd.env("NETD_STEP_LOG", &log);
    if let Some(number) = crash_at {
        netd.env("NETD_CRASH_AT", number.to_string());
    }
    host.spawn(&mut netd);
    // The first steps are those of its start.
    if host.is_soon_ready() {
        for request in scenario {
            let outcome = host.fabric(request);
            assert!(outcome.code == 0 || crash_at.is_some(), "without a crash it succeeds: {outcome}");
        }
    }
    // Some steps follow the answer.
    let ended = host.ended_by(Duration::from_millis(500));
    let log = fs::read_to_string(&log).expect("the daemon wrote its steps");
    match ended {
        Some(signal) => assert!(signal == 9 && crash_at.is_some(), "netd ended by itself\n{}", host.log_tail()),
        None => host.kill(),
    }
    log.lines().map(str::to_owned).collect()
}

/// The step without what differs each time: addresses and identifiers.
fn kind(step: &str) -> String {
    let word =
        |word: &str| if word.contains(|c: char| c.is_ascii_digit()) { "…".to_owned() } else { word.to_owned() };
    step.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// The victim, by whichever of its names, is in a state that the scenario brings it to, or gone.
fn assert_whole_or_gone(host: &Host, when: &str, scenario: &[Vec<&str>]) {
    let ends = scenario.iter().any(|request| ["stop", "kill"].contains(&request[0]));
    for name in ["victim", "renamed"] {
        let outcome = host.fabric(&["inspect", name, "--format", "json"]);
        if outcome.code != 0 {
            continue;
        }
        let is = |state: &str| outcome.stdout.contains(&format!("\"state\": \"{state}\""));
        assert!(is("running") || is("created") || (ends && is("exited")), "{when}: in no state to be in\n{outcome}");
        if is("running") {
            assert_works(host, when, name);
            assert_reaches_its_gateways(host, when, name);
        }
        host.ok(&["rm", "-f", name]);
    }
}

/// Every network that the victim is said to be on answers it, and it has one default route.
fn assert_reaches_its_gateways(host: &Host, when: &str, name: &str) {
    let victim = host.json(&["inspect", name]);
    for endpoint in victim["endpoints"].as_array().expect("a list") {
        let gateway = endpoint["gateway"].as_str().expect("an address");
        let answer = host.fabric(&["exec", name, "ping", "-c", "1", "-W", "1", gateway]);
        assert_eq!(answer.code, 0, "{when}: {gateway} does not answer\n{answer}");
    }
    let routes = host.ok(&["exec", name, "ip", "route"]);
    assert_eq!(routes.lines().filter(|line| line.starts_with("default")).count(), 1, "{when}:\n{routes}");
}

fn assert_works(host: &Host, when: &str, name: &str) {
    let answer = || fetch(host.namespace(), Ipv4Addr::LOCALHOST, 8081, "hostname").ok();
    if within(Duration::from_secs(3), answer).is_none() {
        let neighbours = host.namespace().run(&["ip", "neighbour"]);
        let victim = host.ok(&["inspect", name]);
        panic!("{when}: the published port is dead\n{victim}\n{neighbours}");
    }
    host.ok(&["exec", name, "nslookup", "server"]);
}

fn crash_after_each_step_of(scenario: &[Vec<&str>]) {
    crash_after_each_step(&[], scenario, 15);
}

/// The same where something is done before the daemon that crashes is started; `least` kinds of steps are to be seen.
fn crash_after_each_step(setup: &[Vec<&str>], scenario: &[Vec<&str>], least: usize) {
    let host = Host::with_config("upstreams = []");
    let lan = host.lan();
    host.ok(&["network", "create", "web"]);
    host.ok(&["network", "create", "back"]);
    let (flow, ping) = bystanders(&host, &lan);
    let prepare = || setup.iter().for_each(|request| drop(host.ok(request)));
    prepare();
    let steps = take_steps(&host, scenario, None);
    host.start();
    if !setup.is_empty() {
        host.ok(&["rm", "-f", "victim"]);
    }
    // Links that are still on their way out are none of the baseline.
    host.assert_healthy();
    let baseline = Baseline::of(&host);

    let mut missing: BTreeSet<String> = steps.iter().map(|step| kind(step)).collect();
    assert!(missing.len() > least, "too few kinds of steps to be all: {missing:#?}");
    let crash = |number: usize| {
        prepare();
        let taken = take_steps(&host, scenario, Some(number));
        let last = taken.last().expect("a daemon that starts takes a step");
        let when = format!("after step {number}, {last}");
        host.start();
        host.assert_healthy();
        assert_whole_or_gone(&host, &when, scenario);
        let again = ["run", "-d", "--name", "victim", "--network", "web", "-p", "8081:80"];
        host.ok(&[&again, &SERVER[..]].concat());
        assert_works(&host, &when, "victim");
        host.ok(&["rm", "-f", "victim"]);
        baseline.assert_reached(&host, &when);
        (taken.len() == number).then(|| kind(last))
    };
    for number in 1..=steps.len() {
        missing.remove(&crash(number).unwrap_or_default());
    }
    // Work in the background moves steps by one or two; what was passed by is looked for around its place.
    for offset in [0, -1, 1, -2, 2].into_iter().cycle().take(40) {
        let Some(place) = steps.iter().position(|step| missing.contains(&kind(step))) else {
            break;
        };
        let number = (place + 1).saturating_add_signed(offset).clamp(1, steps.len());
        missing.remove(&crash(number).unwrap_or_default());
    }
    assert!(missing.is_empty(), "netd was never killed after: {missing:#?}");
    flow.finish().assert_nothing_lost();
    ping.finish().assert_nothing_lost();
}

#[test]
fn run_in_the_background_then_removal() {
    let run = ["run", "-d", "--name", "victim", "--network", "web", "-p", "8081:80"];
    crash_after_each_step_of(&[[&run, &SERVER[..]].concat(), vec!["rm", "-f", "victim"]]);
}

#[test]
fn a_run_that_removes_itself() {
    let run = ["run", "--rm", "--name", "victim", "--network", "web", "-p", "8081:80", "busybox", "true"];
    crash_after_each_step_of(&[run.to_vec()]);
}

#[test]
fn an_end_and_a_new_start() {
    let create = ["create", "--name", "victim", "--network", "web", "-p", "8081:80"];
    let scenario = [
        [&create, &SERVER[..]].concat(),
        vec!["start", "victim"],
        vec!["stop", "-t", "0", "victim"],
        vec!["start", "victim"],
        vec!["rm", "-f", "victim"],
    ];
    crash_after_each_step_of(&scenario);
}

#[test]
fn another_name_then_pruning() {
    let run = ["run", "-d", "--name", "victim", "--network", "web", "-p", "8081:80"];
    let scenario = [
        [&run, &SERVER[..]].concat(),
        vec!["rename", "victim", "renamed"],
        vec!["kill", "renamed"],
        vec!["wait", "renamed"],
        vec!["prune", "-f"],
    ];
    crash_after_each_step_of(&scenario);
}

#[test]
fn a_connection_to_another_network() {
    let run = ["run", "-d", "--name", "victim", "--network", "web", "-p", "8081:80"];
    let connect = ["network", "connect", "--gw-priority", "1", "--alias", "other", "back", "victim"];
    crash_after_each_step(&[[&run, &SERVER[..]].concat()], &[connect.to_vec()], 8);
}

#[test]
fn a_disconnection_from_the_network_with_the_default_route() {
    let networks = ["--network", "web", "--network", "back:gw-priority=1"];
    let run = [&["run", "-d", "--name", "victim", "-p", "8081:80"], &networks[..], &SERVER[..]].concat();
    crash_after_each_step(&[run], &[vec!["network", "disconnect", "back", "victim"]], 8);
}
