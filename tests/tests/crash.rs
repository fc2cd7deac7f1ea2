//! `kill -9` of the daemon right after each of its steps: nothing leaks, nothing is half there, no flow is lost.
//!
//! The list of steps is the daemon's own: each scenario is first run to its end with `NETD_STEP_LOG`, and then once
//! for each step that this wrote, with `NETD_CRASH_AT`.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use tests::{
    Attached, Flow, Host, Lan, PATIENCE, Ping, Scenario, crash_after_each, difference, eventually, fetch, kind, within,
};

const SERVER: [&str; 7] = ["busybox", "httpd", "-f", "-p", "80", "-h", "/etc"];

/// A network that only some scenarios make.
const SPARE: &str = "spare";
/// The host's address on the LAN.
const HOST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// The LAN's own, where containers on it are: what is for another address of the host comes back to it by their bridge.
const GATEWAY6_ON_LAN: &str = "2001:db8:1::10";
/// What makes networks that were changed what they were.
const AS_BEFORE: [&[&str]; 2] = [
    &["network", "update", "back", "--internal=false", "--icc", "--gateway-mode", "nat"],
    &["network", "update", "web", "--mtu", "auto", "--gateway-mode", "nat", "--dns", "auto"],
];

/// What a healthy host looks like while only the bystanders run, and what they look like inside.
struct Baseline {
    kernel: String,
    holdings: Vec<String>,
}

impl Baseline {
    fn of(host: &Host) -> Self {
        Self { kernel: host.kernel_state() + &host.kernel_state_inside(), holdings: host.holdings() }
    }

    #[track_caller]
    fn assert_reached(&self, host: &Host, when: &str) {
        let mut seen = Self { kernel: String::new(), holdings: Vec::new() };
        let reached = within(PATIENCE, || {
            seen = Self::of(host);
            (seen.kernel == self.kernel && seen.holdings == self.holdings).then_some(())
        });
        let used = &host.json(&["network", "inspect", "web"])["usage"]["used"];
        assert_eq!(*used, 4, "{when}: leases of the two bystanders, of both families");
        assert_eq!(host.json(&["network", "inspect", "back"])["usage"]["used"], 0, "{when}: nobody is left there");
        if reached.is_none() {
            assert_eq!(seen.holdings, self.holdings, "{when}: mounts, processes and groups");
            panic!("{when}: links, addresses, routes and rules:\n{}", difference(&self.kernel, &seen.kernel));
        }
    }
}

/// Somebody on the LAN talks to a container by its published port, and a container pings it, over both families.
fn bystanders(host: &Host, lan: &Lan) -> ([Flow; 2], [Ping; 2]) {
    let server: Attached = host.run("server", "web", &["-p", "7000:7"], &["nc", "-ll", "-p", "7", "-e", "cat"]);
    let client = host.run("client", "web", &[], &["sleep", "10000"]);
    let listening = || server.namespace().run(&["ss", "-tlnH", "sport", "=", ":7"]);
    eventually("the server listens", || (!listening().is_empty()).then_some(()));
    let on_lan = [IpAddr::from(lan.host_address), HOST6.into()];
    let flows = on_lan.map(|to| Flow::start(&lan.namespace, &server.namespace(), to, 7000));
    (flows, host.addresses("server").map(|to| Ping::start(&client.namespace(), to)))
}

/// The victim, by whichever of its names, is in a state that the scenario brings it to, or gone.
fn assert_whole_or_gone(host: &Host, when: &str, scenario: &[Vec<&str>]) {
    let ends = scenario.iter().any(|request| ["stop", "kill"].contains(&request[0]));
    let removes_itself = scenario.iter().any(|request| request.contains(&"--rm"));
    for name in ["victim", "renamed"] {
        if removes_itself {
            let gone = || (host.fabric(&["inspect", name]).code != 0).then_some(());
            eventually(&format!("{when}: what removes itself is gone"), gone);
            continue;
        }
        let waits = || host.fabric(&["inspect", name, "--format", "{{.state}}"]).stdout.trim() == "restarting";
        eventually("its restart policy has started it", || (!waits()).then_some(()));
        let outcome = host.fabric(&["inspect", name, "--format", "json"]);
        if outcome.code != 0 {
            continue;
        }
        let is = |state: &str| outcome.stdout.contains(&format!("\"state\": \"{state}\""));
        assert!(is("running") || is("created") || (ends && is("exited")), "{when}: in no state to be in\n{outcome}");
        if is("running") {
            assert_works(host, when, name);
            assert_reaches_its_gateways(host, when, name);
            assert_asks_its_gateways(host, when, name);
        }
        host.ok(&["rm", "-f", name]);
    }
}

/// Every network that the victim is said to be on answers it, and it has one default route of each family.
fn assert_reaches_its_gateways(host: &Host, when: &str, name: &str) {
    let victim = host.json(&["inspect", name]);
    for endpoint in victim["endpoints"].as_array().expect("a list") {
        // A network that nothing leaves has none.
        for gateway in ["gateway", "gateway6"].into_iter().filter_map(|field| endpoint[field].as_str()) {
            let answer = host.fabric(&["exec", name, "ping", "-c", "1", "-W", "10", gateway]);
            assert_eq!(answer.code, 0, "{when}: {gateway} does not answer\n{answer}");
        }
    }
    for family in ["-4", "-6"] {
        let routes = host.ok(&["exec", name, "ip", family, "route"]);
        assert_eq!(routes.lines().filter(|line| line.starts_with("default")).count(), 1, "{when}:\n{routes}");
    }
}

/// Its resolvers are those of the networks that it is on, as they are now: all, or as many as a resolver asks.
fn assert_asks_its_gateways(host: &Host, when: &str, name: &str) {
    let victim = host.json(&["inspect", name]);
    let networks = victim["endpoints"].as_array().expect("a list").iter().map(|endpoint| endpoint["network"].as_str());
    let networks = networks.map(|name| host.json(&["network", "inspect", name.expect("a name")]));
    let bridges = networks.filter(|network| network["driver"] == "bridge" && network["gateway_mode"] != "isolated");
    let subnets = bridges.flat_map(|network| network["subnets"].as_array().expect("a list").clone());
    let wanted = subnets.map(|subnet| format!("nameserver {}", subnet["gateway"].as_str().unwrap_or("")));
    let wanted: BTreeSet<String> = wanted.collect();
    let file = host.ok(&["exec", name, "cat", "/etc/resolv.conf"]);
    let asked = file.lines().filter(|line| line.starts_with("nameserver ")).map(str::to_owned);
    let asked: BTreeSet<String> = asked.collect();
    let enough = wanted.len().min(3);
    assert!(asked.is_subset(&wanted) && asked.len() == enough, "{when}: {asked:?} of {wanted:?}\n{victim:#}");
}

fn assert_works(host: &Host, when: &str, name: &str) {
    for to in [IpAddr::from(Ipv4Addr::LOCALHOST), HOST6.into()] {
        let answer = || fetch(host.namespace(), to, 8081, "hostname").ok();
        if within(PATIENCE, answer).is_none() {
            let neighbours = host.namespace().run(&["ip", "neighbour"]);
            let victim = host.ok(&["inspect", name]);
            panic!("{when}: the published port is dead at {to}\n{victim}\n{neighbours}");
        }
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
    lan.speak_ipv6(host.namespace());
    lan.namespace.run(&["ip", "address", "add", &format!("{GATEWAY6_ON_LAN}/64"), "dev", "eth0", "nodad"]);
    host.ok(&["network", "create", "web", "--ipv6"]);
    host.ok(&["network", "create", "back", "--ipv6"]);
    let (flows, pings) = bystanders(&host, &lan);
    let prepare = || setup.iter().for_each(|request| drop(host.ok(request)));
    let tidy = || {
        if host.fabric(&["inspect", "sharer"]).code == 0 {
            host.ok(&["rm", "-f", "sharer"]);
        }
        host.ok(&["network", "prune", "-f", "--filter", "name=spare"]);
        if scenario.iter().any(|request| request.starts_with(&["network", "update"])) {
            // Refused where it is not there.
            host.fabric(&["network", "update", "back", "--rm-subnet", "10.9.9.0/24"]);
            AS_BEFORE.iter().for_each(|request| drop(host.ok(request)));
        }
    };
    let learn = || {
        prepare();
        let steps = Scenario::of(scenario).play(&host, None).steps;
        host.start();
        if host.fabric(&["inspect", "victim"]).code == 0 {
            host.ok(&["rm", "-f", "victim"]);
        }
        tidy();
        steps
    };
    let steps = learn();
    // What the host happens to be busy with now and then is taken once and not again.
    let again: BTreeSet<String> = learn().iter().map(|step| kind(step)).collect();
    // Links that are still on their way out are none of the baseline.
    host.assert_healthy();
    let baseline = Baseline::of(&host);

    assert!(again.len() > least, "too few kinds of steps to be all: {again:#?}");
    let crash = |step: &str| {
        prepare();
        let taken = Scenario::of(scenario).play(&host, Some(step)).steps;
        let last = taken.last().expect("a daemon that starts takes a step");
        let when = format!("after step {step}, {last}");
        host.start();
        host.assert_healthy();
        if taken.iter().any(|step| step == "stop intended") {
            let ended = || host.fabric(&["inspect", "victim", "--format", "{{.state}}"]).stdout.trim() == "exited";
            assert!(within(PATIENCE, || ended().then_some(())).is_some(), "{when}: it was to be stopped");
        }
        if taken.iter().any(|step| step == "restart intended") && !taken.iter().any(|step| step == "start intended") {
            let actions = || host.ok(&["events", "--filter", "name=victim", "--format", "{{.action}}"]);
            let again = || actions().ends_with("exit\nstart").then_some(());
            assert!(within(PATIENCE, again).is_some(), "{when}: it was to be started again");
        }
        assert_whole_or_gone(&host, &when, scenario);
        tidy();
        let again = ["run", "-d", "--name", "victim", "--network", "web", "-p", "8081:80"];
        host.ok(&[&again, &SERVER[..]].concat());
        assert_works(&host, &when, "victim");
        host.ok(&["rm", "-f", "victim"]);
        baseline.assert_reached(&host, &when);
        taken
    };
    crash_after_each(&steps, |step| again.contains(&kind(step)), crash);
    flows.into_iter().for_each(|flow| flow.finish().assert_nothing_lost());
    pings.into_iter().for_each(|ping| ping.finish().assert_nothing_lost());
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
fn a_failure_and_the_start_by_a_restart_policy() {
    let run = ["run", "-d", "--name", "victim", "--network", "web", "-p", "8081:80", "--restart", "on-failure"];
    let fail_once = "test -e /failed && exec httpd -f -p 80 -h /etc; touch /failed; exit 1";
    crash_after_each_step_of(&[[&run[..], &["busybox", "sh", "-c", fail_once]].concat()]);
}

#[test]
fn a_stop_that_a_restart_policy_heeds() {
    let run = ["run", "-d", "--name", "victim", "--network", "web", "-p", "8081:80", "--restart", "unless-stopped"];
    let run = [&run[..], &["--stop-timeout", "0"], &SERVER].concat();
    crash_after_each_step_of(&[run, vec!["stop", "victim"]]);
}

#[test]
fn a_restart_without_a_policy_and_another_program_in_it() {
    let run = ["run", "-d", "--name", "victim", "--network", "web", "-p", "8081:80", "--stop-timeout", "0"];
    let exec = vec!["exec", "victim", "true"];
    crash_after_each_step_of(&[[&run, &SERVER[..]].concat(), vec!["restart", "victim"], exec]);
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
fn a_network_that_is_made_then_removed_and_one_that_is_pruned() {
    let create = || vec!["network", "create", SPARE, "--ipv6"];
    let prune = vec!["network", "prune", "-f", "--filter", "name=spare"];
    let scenario = [create(), vec!["network", "rm", SPARE], create(), prune];
    crash_after_each_step(&[], &scenario, 8);
}

#[test]
fn networks_that_change_while_they_are_used() {
    let scenario = [
        vec!["network", "update", "web", "--mtu", "1400", "--gateway-mode", "routed", "--dns", "192.0.2.53"],
        vec!["network", "update", "back", "--internal", "--icc=false", "--add-subnet", "10.9.9.0/24"],
        vec!["network", "update", "back", "--rm-subnet", "10.9.9.0/24"],
    ];
    let restore = AS_BEFORE.map(<[_]>::to_vec);
    crash_after_each_step(&[], &[&scenario[..], &restore[..]].concat(), 11);
}

#[test]
fn a_network_that_loses_its_gateway_while_a_container_asks_it() {
    let networks = ["--network", "web:gw-priority=1", "--network", "back"];
    let run = [&["run", "-d", "--name", "victim", "-p", "8081:80"], &networks[..], &SERVER[..]].concat();
    let scenario = ["isolated", "nat"].map(|mode| vec!["network", "update", "back", "--gateway-mode", mode]);
    crash_after_each_step(&[run], &scenario, 8);
}

#[test]
fn a_connection_to_another_network() {
    let run = ["run", "-d", "--name", "victim", "--network", "web", "-p", "8081:80"];
    let connect = ["network", "connect", "--gw-priority", "1", "--alias", "other", "--ifname", "up0", "back", "victim"];
    crash_after_each_step(&[[&run, &SERVER[..]].concat()], &[connect.to_vec()], 8);
}

#[test]
fn a_disconnection_from_the_network_with_the_default_route() {
    let networks = ["--network", "web", "--network", "back:gw-priority=1"];
    let run = [&["run", "-d", "--name", "victim", "-p", "8081:80"], &networks[..], &SERVER[..]].concat();
    crash_after_each_step(&[run], &[vec!["network", "disconnect", "back", "victim"]], 8);
}

#[test]
fn a_container_that_does_not_run_and_changes_its_networks_until_it_is_removed() {
    let create = ["create", "--name", "victim", "--network", "web", "-p", "8081:80"];
    let scenario = [
        vec!["network", "connect", "--gw-priority", "1", "back", "victim"],
        vec!["start", "victim"],
        vec!["stop", "-t", "0", "victim"],
        vec!["network", "disconnect", "back", "victim"],
        vec!["rm", "victim"],
    ];
    crash_after_each_step(&[[&create, &SERVER[..]].concat()], &scenario, 15);
}

#[test]
fn a_container_that_shares_another_s_network() {
    let run = ["run", "-d", "--name", "victim", "--network", "web", "-p", "8081:80"];
    let scenario = [
        [&run, &SERVER[..]].concat(),
        vec!["run", "-d", "--name", "sharer", "--network", "container:victim", "busybox", "sleep", "10000"],
        vec!["stop", "-t", "0", "victim"],
        vec!["start", "victim"],
        vec!["rm", "-f", "victim"],
        vec!["rm", "-f", "sharer"],
    ];
    crash_after_each_step_of(&scenario);
}

#[test]
fn a_container_on_the_lan_and_its_network() {
    let lan = ["network", "create", SPARE, "--driver", "macvlan", "--opt", "parent=lan0", "--subnet", "192.0.2.0/24"];
    let run = ["run", "-d", "--name", "victim", "--network", "web:ifname=up0", "--network", SPARE, "-p", "8081:80"];
    let lan6 = ["--subnet", "2001:db8:1::/64", "--gateway", GATEWAY6_ON_LAN];
    let scenario = [
        [&lan[..], &["--gateway", "192.0.2.10", "--ip-range", "192.0.2.128/25"], &lan6].concat(),
        [&run[..], &SERVER[..]].concat(),
        vec!["rm", "-f", "victim"],
        vec!["network", "rm", SPARE],
    ];
    crash_after_each_step_of(&scenario);
}
