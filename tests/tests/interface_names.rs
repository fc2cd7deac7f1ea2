//! Names that are chosen for interfaces inside containers: on bridges and on a LAN, from the pool and anew, and
//! whatever the container makes of them.

use std::net::IpAddr;

use tests::{Host, Namespace, eventually, fetch, pings};

/// A server with an interface of either kind, each with a name of its own, and one that got what was free.
const NAMED: [&str; 4] = ["--network", "back", "--network", "wire:ifname=lan.0"];
const SERVER: [&str; 6] = ["httpd", "-f", "-p", "80", "-h", "/etc"];

fn host() -> Host {
    let host = Host::with_config("upstreams = []\nnamespace_pool = 2");
    host.ok(&["network", "create", "web", "--subnet", "10.9.1.0/24", "--subnet", "fd09:1::/64"]);
    host.ok(&["network", "create", "back", "--subnet", "10.9.2.0/24", "--internal"]);
    host
}

/// The interfaces in a namespace besides the loopback.
fn links(namespace: &Namespace) -> Vec<String> {
    let listed = namespace.run(&["ip", "-o", "link", "show"]);
    let name = |line: &str| line.split(": ").nth(1).and_then(|name| name.split('@').next()).map(str::to_owned);
    let mut names: Vec<_> = listed.lines().filter_map(name).filter(|name| name != "lo").collect();
    names.sort_unstable();
    names
}

/// By which interface a namespace reaches an address.
fn way(namespace: &Namespace, to: &str) -> String {
    let route = namespace.run(&["ip", "route", "get", to]);
    route.split_whitespace().skip_while(|word| *word != "dev").nth(1).unwrap_or_default().to_owned()
}

/// The field of the container's endpoints, in their order.
fn told(host: &Host, container: &str, field: &str) -> Vec<String> {
    let container = host.json(&["inspect", container]);
    let endpoints = container["endpoints"].as_array().expect("a list").iter();
    endpoints.map(|endpoint| endpoint[field].as_str().expect("a text").to_owned()).collect()
}

fn index(namespace: &Namespace, interface: &str) -> String {
    let shown = namespace.run(&["ip", "-o", "link", "show", "dev", interface]);
    shown.split(':').next().expect("a number").to_owned()
}

#[test]
fn interfaces_have_the_names_that_were_chosen_and_packets_go_by_them() {
    let host = host();
    let lan = host.lan();
    let wire = ["network", "create", "wire", "--driver", "macvlan", "--opt", "parent=lan0", "--subnet", "192.0.2.0/24"];
    host.ok(&[&wire[..], &["--ip-range", "192.0.2.128/25", "--gateway", "192.0.2.10"]].concat());
    let neighbour = host.run("neighbour", "back", &[], &["sleep", "1000"]);
    let waiting = eventually("a pair waits", || host.spare_interfaces().pop());
    let api = host.run("api", "web:ifname=up0,gw-priority=1", &NAMED, &SERVER);
    assert_eq!(format!("fe-{}", &told(&host, "api", "id")[0][..12]), waiting, "it is the pair that waited");
    assert_eq!(told(&host, "api", "interface"), ["up0", "eth0", "lan.0"]);

    let works = |what: &str, inside: &Namespace| {
        assert_eq!(links(inside), ["eth0", "lan.0", "up0"], "{what}");
        assert_eq!(way(inside, "198.51.100.1"), "up0", "{what}: the default route");
        assert!(pings(host.namespace(), api.ipv4), "{what}: from the host");
        assert!(pings(inside, neighbour.ipv4), "{what}: to a neighbour");
        assert_eq!(way(inside, &neighbour.ipv4.to_string()), "eth0", "{what}");
        assert!(inside.try_run(&["ping", "-6", "-n", "-c", "1", "-W", "10", "fd09:1::1"]).code == 0, "{what}: by IPv6");
        let [_, _, on_lan] = <[String; 3]>::try_from(told(&host, "api", "ipv4")).expect("three");
        let on_lan: IpAddr = on_lan.parse().expect("an address");
        let answer = || fetch(&lan.namespace, on_lan, 80, "hostname").ok();
        assert_eq!(eventually("the LAN reaches it", answer).trim(), "api", "{what}");
        host.assert_healthy();
    };
    works("new", &api.namespace());
    host.kill();
    host.start();
    works("after a crash of the daemon", &api.namespace());
    host.ok(&["restart", "-t", "0", "api"]);
    works("started again", &host.attached("api").namespace());
    host.ok(&["stop", "-t", "0", "api"]);
    host.restart();
    host.ok(&["start", "api"]);
    works("started by another daemon", &host.attached("api").namespace());
}

#[test]
fn networks_that_come_and_go_bring_and_take_their_names() {
    let host = host();
    let api = host.run("api", "web", &[], &["sleep", "1000"]);
    let inside = api.namespace();
    for round in 0..2 {
        host.ok(&["network", "connect", "--ifname", "db-side", "back", "api"]);
        assert_eq!((links(&inside), told(&host, "api", "interface")), {
            let names = ["db-side", "eth0"].map(str::to_owned);
            (names.to_vec(), ["eth0", "db-side"].map(str::to_owned).to_vec())
        });
        assert!(pings(&inside, "10.9.2.1"), "round {round}");
        host.assert_healthy();
        host.ok(&["network", "disconnect", "back", "api"]);
        assert_eq!(links(&inside), ["eth0"], "round {round}");
    }
    // The name is free again for who gets one that is free.
    host.ok(&["network", "disconnect", "web", "api"]);
    host.ok(&["network", "connect", "--ifname", "eth1", "web", "api"]);
    host.ok(&["network", "connect", "back", "api"]);
    assert_eq!(told(&host, "api", "interface"), ["eth1", "eth0"]);
    assert!(pings(&inside, "10.9.1.1") && pings(&inside, "10.9.2.1"));
    host.assert_healthy();
}

#[test]
fn what_a_container_does_to_a_name_is_undone() {
    let host = host();
    let api = host.run("api", "web:ifname=up0", &[], &["sleep", "1000"]);
    let inside = api.namespace();
    let before = index(&inside, "up0");
    let restored = |what: &str| {
        host.ok(&["doctor", "--fix"]);
        assert_eq!(links(&inside), ["up0"], "{what}");
        assert!(pings(&inside, "10.9.1.1") && pings(host.namespace(), api.ipv4), "{what}");
        host.assert_healthy();
    };
    inside.run(&["sh", "-c", "ip link set up0 down; ip link set up0 name eth0"]);
    restored("renamed");
    assert_eq!(index(&inside, "up0"), before, "it is the same interface");
    inside.run(&["sh", "-c", "ip link set up0 down; ip link set up0 name other; ip link set other up"]);
    restored("renamed and up");
    inside.run(&["ip", "link", "del", "up0"]);
    restored("removed");
    host.kill();
    inside.run(&["sh", "-c", "ip link set up0 down; ip link set up0 name eth0"]);
    host.start();
    restored("renamed while no daemon ran");
}

#[test]
fn names_that_cannot_be_had_are_refused_and_nothing_is_changed() {
    let host = host();
    let refused = |arguments: &[&str], code: i32, expected: &str| {
        let outcome = host.fabric(arguments).expect_code(code);
        assert!(outcome.stderr.contains(expected), "{arguments:?}: {outcome}");
    };
    let run = |networks: &[&'static str]| {
        let networks = networks.iter().flat_map(|network| ["--network", *network]);
        ["run", "-d", "--name", "api"]
            .into_iter()
            .chain(networks)
            .chain(["busybox", "sleep", "1000"])
            .collect::<Vec<_>>()
    };
    let taken = "error: container `api` cannot have interface `up0` on network `back`: that on network `web` has the name\n\
                 hint: choose another name, or none to have the lowest free `eth0`, `eth1` and so on\n";
    let twice =
        "error: the container cannot have interface `up0` on network `web` and on network `back`\nhint: choose another";
    refused(&run(&["web:ifname=up0", "back:ifname=up0"]), 2, twice);
    for (name, why) in [
        ("lo", "the kernel keeps the name `lo` for itself"),
        ("default", "the kernel keeps the name `default` for itself"),
        ("a/b", "`a/b` is not a container's interface name"),
        ("..", "`..` is not a container's interface name"),
        ("eth 0", "`eth 0` is not a container's interface name"),
        ("abcdefghijklmnop", "`abcdefghijklmnop` is not a container's interface name"),
    ] {
        refused(&["network", "connect", "--ifname", name, "web", "api"], 2, why);
    }
    assert_eq!(host.json(&["ps", "-a"]), serde_json::json!([]), "nothing was made");
    host.ok(&run(&["web:ifname=up0"]));
    refused(&["network", "connect", "--ifname", "up0", "back", "api"], 1, taken);
    assert_eq!(told(&host, "api", "interface"), ["up0"]);
    host.ok(&["network", "connect", "back", "api"]);
    assert_eq!(told(&host, "api", "interface"), ["up0", "eth0"]);
    host.assert_healthy();
}
