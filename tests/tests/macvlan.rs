//! Networks whose containers are neighbours on a LAN of the host's, with DNS inside their own namespaces.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tests::{
    Answer, Attached, Host, Namespace, PATIENCE, RecordType, advertise_router, answer_everything, ask, ask_within,
    difference, eventually, fetch, within,
};

/// Where a container on such a network asks.
const RESOLVER: ([u8; 4], u16) = ([127, 0, 0, 11], 53);

/// How long is waited for what is not to come.
const SOON: Duration = Duration::from_secs(2);

fn resolver() -> SocketAddr {
    RESOLVER.into()
}

fn create(host: &Host, name: &str, more: &[&str]) {
    let basic = ["network", "create", name, "--driver", "macvlan", "--opt", "parent=lan0"];
    let subnet = ["--subnet", "192.0.2.0/24", "--ip-range", "192.0.2.128/25", "--gateway", "192.0.2.10"];
    host.ok(&[&basic[..], &subnet, more].concat());
}

fn records(namespace: &Namespace, name: &str, kind: RecordType) -> Vec<String> {
    let Answer { records, .. } =
        ask(namespace, resolver(), name, kind).unwrap_or_else(|error| panic!("{name}: {error}"));
    records
}

fn server(host: &Host, name: &str, network: &str, options: &[&str]) -> Attached {
    host.run(name, network, options, &["httpd", "-f", "-p", "80", "-h", "/etc"])
}

/// Links of containers that are gone are removed in the background, and only then is a parent what it was.
#[track_caller]
fn assert_soon_as_it_was(host: &Host, before: &str) {
    let mut after = String::new();
    let same = within(PATIENCE, || {
        after = host.kernel_state();
        (after == before).then_some(())
    });
    assert!(same.is_some(), "the host is as it was:\n{}", difference(before, &after));
}

#[test]
fn containers_are_neighbours_on_the_lan_and_find_each_other_by_name() {
    let host = Host::with_config("upstreams = [\"192.0.2.10:5300\"]");
    let lan = host.lan();
    answer_everything(&lan.namespace, SocketAddr::from(([192, 0, 2, 10], 5300)), Ipv4Addr::new(198, 51, 100, 7));
    lan.speak_ipv6(host.namespace());
    let before = host.kernel_state();
    let ipv6 = ["--subnet", "2001:db8::/64", "--gateway", "2001:db8::10", "--ip-range", "2001:db8::8000/113"];
    create(&host, "wire", &ipv6);
    let api = server(&host, "api", "wire:alias=www", &[]);
    let web = server(&host, "web", "wire", &["--dns-search", "."]);
    assert_eq!(host.namespace().run(&["ip", "-o", "link", "show", "type", "bridge"]), "", "no bridge is made");

    // In, out, and between them.
    let answer = |from: &Namespace, to: Ipv4Addr| fetch(from, to, 80, "hostname").ok();
    assert_eq!(eventually("the LAN reaches it", || answer(&lan.namespace, api.ipv4)).trim(), "api");
    assert_eq!(eventually("they reach each other", || answer(&web.namespace(), api.ipv4)).trim(), "api");
    assert_eq!(eventually("the way back", || answer(&api.namespace(), web.ipv4)).trim(), "web");
    api.namespace().run(&["ping", "-n", "-c", "1", "-W", "30", "192.0.2.10"]);
    let ipv6 = host.json(&["inspect", "api"])["endpoints"][0]["ipv6"].as_str().expect("an address").to_owned();
    let reached = || lan.namespace.try_run(&["ping", "-n", "-c", "1", "-W", "1", &ipv6]);
    eventually("the LAN reaches it by IPv6", || (reached().code == 0).then_some(()));
    let routes = api.namespace().run(&["ip", "route", "show", "default"]);
    assert!(routes.starts_with("default via 192.0.2.10 dev eth0"), "{routes}");

    // Names: its neighbours', its aliases', and those of the rest of the world.
    assert_eq!(host.ok(&["exec", "web", "cat", "/etc/resolv.conf"]), "nameserver 127.0.0.11\noptions ndots:0");
    let inside = web.namespace();
    assert_eq!(records(&inside, "api", RecordType::A), [api.ipv4.to_string()]);
    assert_eq!(records(&inside, "www.wire", RecordType::A), [api.ipv4.to_string()]);
    assert_eq!(records(&inside, "api", RecordType::Aaaa), [ipv6]);
    assert_eq!(records(&inside, "example.com", RecordType::A), ["198.51.100.7"]);
    host.ok(&["exec", "web", "nslookup", "api"]);
    let outside = SocketAddr::new(web.ipv4.into(), 53);
    let stranger = ask_within(SOON, &lan.namespace, outside, "api", RecordType::A);
    assert!(stranger.is_err(), "nobody else is answered");

    // Nothing of it depends on the daemon that made it.
    host.kill();
    host.start();
    host.assert_healthy();
    assert_eq!(records(&inside, "api", RecordType::A), [api.ipv4.to_string()]);
    host.ok(&["restart", "-t", "0", "api"]);
    assert_eq!(records(&inside, "api", RecordType::A), [api.ipv4.to_string()]);
    drop(inside);
    host.ok(&["rm", "-f", "api", "web"]);
    host.ok(&["network", "rm", "wire"]);
    host.assert_healthy();
    assert_soon_as_it_was(&host, &before);
}

/// Waits until the namespace has a route from a router's advertisement that it did not have before.
fn hear_router(believer: &Namespace, lan: &Namespace) {
    believer.run(&["ip", "-6", "route", "flush", "proto", "ra"]);
    eventually("the control: who believes the router has its route", || {
        advertise_router(lan, "eth0");
        believer.run(&["ip", "-6", "route"]).contains("proto ra").then_some(())
    });
}

/// A container's program may listen on all addresses, and whoever runs it on such a network means those of IPv4
/// (CVE-2024-32473).
#[test]
fn ipv6_is_off_where_the_network_has_none_though_the_lan_speaks_it() {
    let host = Host::with_config("upstreams = []");
    let lan = host.lan();
    lan.speak_ipv6(host.namespace());
    create(&host, "plain", &[]);
    let both = ["network", "create", "both", "--driver", "macvlan", "--opt", "parent=lan0"];
    host.ok(&[&both[..], &["--subnet", "198.51.100.0/24", "--subnet", "2001:db8::/64"]].concat());
    let sleeper = |name, network, more: &[&str]| host.run(name, network, more, &["sleep", "1000"]).namespace();
    let plain = sleeper("plain", "plain", &[]);
    let both = sleeper("both", "both", &[]);
    let mixed = sleeper("mixed", "plain", &["--network", "both"]);
    let later = sleeper("later", "both", &[]);
    host.ok(&["network", "connect", "plain", "later"]);
    // An interface on the same parent that nobody has turned anything off for.
    host.ok(&["run", "-d", "--name", "believer", "--network", "none", "busybox", "sleep", "1000"]);
    let pid = host.json(&["inspect", "believer"])["pid"].as_i64().expect("it runs");
    let believer = Namespace::of_process(pid);
    let made = ["ip", "link", "add", "link", "lan0", "name", "eth0", "netns", &pid.to_string(), "type", "macvlan"];
    host.namespace().run(&[&made[..], &["mode", "bridge"]].concat());
    believer.run(&["sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=0"]);
    believer.run(&["ip", "link", "set", "eth0", "up"]);
    // Everybody on a parent is handed what is for all, one frame after the other: when the second has been heard, the
    // first has been by all.
    hear_router(&believer, &lan.namespace);
    hear_router(&believer, &lan.namespace);

    assert_eq!(plain.run(&["ip", "-6", "-o", "address"]), "", "not even a link-local one");
    assert_eq!(plain.run(&["ip", "-6", "route"]), "");
    let address = |of: &Namespace, interface| of.run(&["ip", "-6", "-o", "address", "show", "dev", interface]);
    for (name, namespace, on, off) in [
        ("both", &both, "eth0", None),
        ("mixed", &mixed, "eth1", Some("eth0")),
        ("later", &later, "eth0", Some("eth1")),
    ] {
        let on = address(namespace, on);
        assert!(on.contains("2001:db8:") && on.contains("fe80:"), "the control: {name} has them: {on}");
        assert_eq!(off.map(|off| address(namespace, off)).unwrap_or_default(), "", "{name}, the network without IPv6");
        let routes = namespace.run(&["ip", "-6", "route"]);
        assert!(!routes.contains("proto ra"), "{name} believes no router: {routes}");
    }
    host.ok(&["rm", "-f", "believer"]);
    host.assert_healthy();
}

#[test]
fn a_container_is_on_a_lan_and_on_a_bridge_and_what_is_damaged_is_restored() {
    let host = Host::with_config("upstreams = []");
    let lan = host.lan();
    create(&host, "wire", &["--opt", "mode=private"]);
    host.ok(&["network", "create", "back", "--subnet", "10.9.1.0/24", "--internal"]);
    let db = server(&host, "db", "back", &[]);
    let other = server(&host, "other", "wire", &[]);
    let api = server(&host, "api", "wire", &["--network", "back"]);
    let inside = api.namespace();
    let reached = |from: &Namespace, to: Ipv4Addr| fetch(from, to, 80, "hostname").ok();
    eventually("the LAN reaches it", || reached(&lan.namespace, api.ipv4));
    eventually("it reaches the bridge", || reached(&inside, db.ipv4));
    // Both resolvers know both networks.
    for server in [resolver(), "10.9.1.1:53".parse().expect("literal")] {
        let Answer { records, .. } = ask(&inside, server, "db", RecordType::A).expect("an answer");
        assert_eq!(records, [db.ipv4.to_string()], "{server}");
    }
    // Private means that neighbours on the same parent do not reach each other; the control is the LAN, which does.
    assert_eq!(reached(&inside, other.ipv4), None);
    eventually("the LAN reaches the other", || reached(&lan.namespace, other.ipv4));

    // A daemon that looks after everything every so often may mend it before anybody is told.
    host.kill();
    host.spawn(host.netd_command().env("NETD_HANDS_OFF", "1"));
    host.wait_until_ready();
    inside.run(&["ip", "link", "del", "eth0"]);
    let doctor = host.fabric(&["doctor"]);
    assert!(doctor.stdout.contains("of container `api`") && doctor.stdout.contains("is missing"), "{doctor}");
    host.ok(&["doctor", "--fix"]);
    eventually("the LAN reaches it again", || reached(&lan.namespace, api.ipv4));
    inside.run(&["ip", "address", "flush", "dev", "eth0"]);
    host.ok(&["doctor", "--fix"]);
    eventually("its address is back", || reached(&lan.namespace, api.ipv4));
    host.assert_healthy();

    host.ok(&["network", "disconnect", "wire", "api"]);
    assert!(!inside.run(&["ip", "-o", "link"]).contains("macvlan") && !inside.run(&["ip", "link"]).contains("eth0"));
    let closed = ask_within(SOON, &inside, resolver(), "db", RecordType::A);
    assert!(closed.is_err(), "nobody listens inside any more");
    host.ok(&["network", "connect", "wire", "api"]);
    assert!(ask(&inside, resolver(), "other", RecordType::A).is_ok());
    host.assert_healthy();
    let shown = host.ok(&["network", "inspect", "wire"]);
    for line in ["driver        macvlan", "lan0", "private"] {
        assert!(shown.contains(line.split_whitespace().last().expect("a word")), "{line} in:\n{shown}");
    }
}

#[test]
fn a_parent_that_is_passed_through_has_one_container_and_is_given_back() {
    let host = Host::with_config("upstreams = []");
    let lan = host.lan();
    let before = host.kernel_state();
    create(&host, "wire", &["--opt", "mode=passthru"]);
    let api = server(&host, "api", "wire", &[]);
    // Who shares its network asks the same server.
    host.ok(&["run", "-d", "--name", "side", "--network", "container:api", "busybox", "sleep", "1000"]);
    eventually("the LAN reaches it", || fetch(&lan.namespace, api.ipv4, 80, "hostname").ok());
    assert_eq!(records(&api.namespace(), "api", RecordType::A), [api.ipv4.to_string()]);
    let second = host.fabric(&["run", "-d", "--name", "second", "--network", "wire", "busybox", "true"]);
    assert_eq!(
        second.expect_code(125).stderr,
        "error: network `wire` cannot take another container in: container `api` is on its parent `lan0`, which one can \
         have to itself only\n\
         hint: `fabric stop api` frees it, or `fabric rm api` if it was never started; containers share a parent on \
         networks with another mode than passthru\n"
    );
    host.ok(&["run", "-d", "--name", "second", "busybox", "sleep", "1000"]);
    host.fabric(&["network", "connect", "wire", "second"]).expect_code(1);
    assert_eq!(host.json(&["inspect", "second"])["endpoints"], serde_json::json!([]), "it is as it was");
    // Who is stopped is in nobody's way, and cannot come back meanwhile.
    host.ok(&["stop", "-t", "0", "side", "api"]);
    host.ok(&["network", "connect", "wire", "second"]);
    let refused = host.fabric(&["start", "api"]).expect_code(1);
    assert!(refused.stderr.contains("container `second` is on its parent"), "{refused}");
    host.ok(&["rm", "-f", "side", "api", "second"]);
    host.ok(&["network", "rm", "wire"]);
    assert_soon_as_it_was(&host, &before);
}

#[test]
fn what_a_lan_cannot_have_is_refused() {
    let host = Host::new();
    let _lan = host.lan();
    create(&host, "wire", &[]);
    let macvlan =
        |options: &[&'static str]| [&["network", "create", "other", "--driver", "macvlan"][..], options].concat();
    let ipvlan = |options: &[&'static str]| {
        let basic =
            ["network", "create", "other", "--driver", "ipvlan", "--opt", "parent=lan0", "--subnet", "10.7.0.0/24"];
        [&basic[..], options].concat()
    };
    let requests: Vec<Vec<&str>> = vec![
        macvlan(&[]),
        macvlan(&["--opt", "parent=lan0"]),
        macvlan(&["--opt", "parent=lan1", "--subnet", "10.7.0.0/24"]),
        macvlan(&["--opt", "parent=a/b", "--subnet", "10.7.0.0/24"]),
        macvlan(&["--opt", "parent=lan0", "--opt", "mode=bridged", "--subnet", "10.7.0.0/24"]),
        macvlan(&["--opt", "parent=lan0", "--opt", "colour=red", "--subnet", "10.7.0.0/24"]),
        macvlan(&["--opt", "parent=lan0", "--gateway-mode", "nat", "--subnet", "10.7.0.0/24"]),
        macvlan(&["--opt", "parent=lan0", "--mtu", "9000", "--subnet", "10.7.0.0/24"]),
        macvlan(&["--opt", "parent=lan0", "--subnet", "192.0.2.0/25"]),
        vec!["network", "create", "other", "--opt", "parent=lan0"],
        ipvlan(&["--opt", "mode=bridge"]),
        ipvlan(&["--opt", "flag=passthru"]),
        ipvlan(&["--opt", "mode=l3", "--gateway", "10.7.0.1"]),
        vec!["network", "update", "wire", "--gateway-mode", "nat"],
        vec!["run", "--rm", "--network", "wire", "-p", "80:80", "busybox", "true"],
    ];
    let state = || host.kernel_state() + &format!("{:#}", host.json(&["network", "ls"])) + &host.holdings().join("\n");
    let before = state();
    let mut text = String::new();
    for request in &requests {
        let outcome = host.fabric(request);
        assert_ne!(outcome.code, 0, "{outcome}");
        let line = &outcome.line;
        text.push_str(&format!("$ {line}\n{}\n[exit code {}]\n\n", outcome.stderr.trim_end(), outcome.code));
        let unchanged = within(PATIENCE, || (state() == before).then_some(()));
        assert!(unchanged.is_some(), "`{line}` changed something:\n{}", difference(&before, &state()));
    }
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("macvlan", text);
    });
}
