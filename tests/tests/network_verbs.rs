//! `fabric network create|ls|inspect|rm|prune`.

use std::{collections::BTreeSet, net::Ipv4Addr};

use serde_json::Value;
use tests::{Host, difference, eventually, fetch};

fn subnet(network: &Value) -> String {
    network["subnets"][0]["range"].as_str().unwrap_or_else(|| panic!("a range in {network:#}")).to_owned()
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().map(|item| item["name"].as_str().expect("a name")).collect()
}

#[test]
fn a_network_is_created_listed_inspected_and_removed() {
    let host = Host::new();
    // The first network of a host switches forwarding on, and that stays.
    host.ok(&["network", "create", "first"]);
    host.ok(&["network", "rm", "first"]);
    let before = host.kernel_state();
    host.ok(&[
        "network",
        "create",
        "web",
        "--subnet",
        "10.9.8.0/24",
        "--gateway",
        "10.9.8.254",
        "--label",
        "tier=front",
    ]);
    host.ok(&["network", "create", "db"]);
    assert_eq!(names(&host.json(&["network", "ls"])), ["db", "web"]);

    let web = host.json(&["network", "inspect", "web"]);
    assert_eq!(web["driver"], "bridge");
    assert_eq!(subnet(&web), "10.9.8.0/24");
    assert_eq!(web["subnets"][0]["gateway"], "10.9.8.254");
    assert_eq!(web["labels"]["tier"], "front");
    assert_eq!(web["usage"]["used"], 0);
    assert_eq!(web["endpoints"], serde_json::json!([]));
    let fields: BTreeSet<&str> = web.as_object().expect("one object").keys().map(String::as_str).collect();
    let expected = [
        "created_at",
        "default_route",
        "driver",
        "endpoints",
        "gateway_mode",
        "icc",
        "id",
        "internal",
        "labels",
        "mtu",
        "mtu_source",
        "name",
        "name_servers",
        "reserved",
        "routes",
        "subnets",
        "usage",
    ];
    assert_eq!(fields, BTreeSet::from(expected));

    let addresses = host.namespace().run(&["ip", "-4", "-o", "address"]);
    assert!(addresses.contains("10.9.8.254/24"), "the gateway's address is on the host:\n{addresses}");
    host.ok(&["network", "rm", "web"]);
    host.ok(&["network", "rm", "db"]);
    assert_eq!(host.json(&["network", "ls"]), serde_json::json!([]));
    assert_eq!(difference(&before, &host.kernel_state()), "", "a removed network leaves nothing in the kernel");
}

#[test]
fn a_network_in_use_stays() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    host.run("user", "web", &[], &["sleep", "1000"]);
    let refused = host.fabric(&["network", "rm", "web"]).expect_code(1);
    assert!(refused.stderr.contains("user"), "the error names who uses it:\n{refused}");
    assert!(host.ok(&["exec", "user", "ip", "route"]).contains("default via"));
    host.ok(&["rm", "-f", "user"]);
    host.ok(&["network", "rm", "web"]);
}

#[test]
fn prune_takes_what_nobody_uses_and_asks_first() {
    let host = Host::new();
    for name in ["used", "stopped", "b", "a"] {
        host.ok(&["network", "create", name]);
    }
    host.ok(&["network", "create", "kept", "--label", "keep"]);
    host.run("user", "used", &[], &["sleep", "1000"]);
    host.ok(&["run", "--name", "ended", "--network", "stopped", "busybox", "true"]);
    let unasked = host.fabric(&["network", "prune"]).expect_code(1);
    assert!(unasked.stderr.contains("--force"), "{unasked}");
    assert_eq!(host.ok(&["network", "prune", "-f", "--filter", "name=b", "--filter", "name=used"]), "b");
    assert_eq!(names(&host.json(&["network", "ls"])), ["a", "kept", "stopped", "used"]);
    assert_eq!(host.ok(&["network", "prune", "-f", "--filter", "label=keep"]), "kept");
    assert_eq!(host.ok(&["network", "prune", "-f"]), "a");
    assert_eq!(names(&host.json(&["network", "ls"])), ["stopped", "used"]);
    assert_eq!(host.ok(&["network", "prune"]), "", "with nothing to remove nobody is asked");
}

#[test]
fn automatic_subnets_are_apart_and_clear_of_the_hosts_routes() {
    let host = Host::with_config("pools = ['10.77.0.0/16']");
    let namespace = host.namespace();
    namespace.run(&["ip", "link", "add", "vpn", "type", "veth", "peer", "name", "far"]);
    namespace.run(&["ip", "address", "add", "10.77.0.1/20", "dev", "vpn"]);
    namespace.run(&["ip", "link", "set", "vpn", "up"]);
    namespace.run(&["ip", "route", "add", "10.77.16.0/24", "dev", "vpn"]);
    let mut subnets = BTreeSet::new();
    for number in 0..5 {
        let name = format!("net{number}");
        host.ok(&["network", "create", &name]);
        let subnet = subnet(&host.json(&["network", "inspect", &name]));
        let octets: Vec<u8> = subnet.split(['.', '/']).map(|octet| octet.parse().expect("a number")).collect();
        assert_eq!(octets[..2], [10, 77], "{subnet} is of the pool");
        assert!(octets[2] > 16, "{subnet} is clear of the host's routes");
        assert!(subnets.insert(subnet.clone()), "{subnet} is given once");
    }
}

#[test]
fn a_pool_that_is_used_up_is_an_error_and_a_freed_subnet_can_be_had_again() {
    let host = Host::with_config("pools = ['10.77.0.0/24']");
    let mut made = Vec::new();
    let refused = (0..).find_map(|number| {
        let name = format!("net{number}");
        let outcome = host.fabric(&["network", "create", &name]);
        if outcome.code == 0 {
            made.push(name);
        }
        (outcome.code != 0).then_some(outcome)
    });
    let refused = refused.expect("a /24 has an end");
    assert_eq!(refused.code, 1, "{refused}");
    assert!(refused.stderr.contains("hint:"), "{refused}");
    assert!(!made.is_empty(), "the pool has room for one network");
    host.ok(&["network", "rm", &made[0]]);
    host.ok(&["network", "create", "again"]);
}

#[test]
fn the_same_leases_are_never_given_twice_and_run_out_with_an_error() {
    let host = Host::new();
    host.ok(&["network", "create", "tiny", "--subnet", "10.9.8.0/29"]);
    let mut given = BTreeSet::new();
    for number in 0..5 {
        let container = host.run(&format!("c{number}"), "tiny", &[], &["sleep", "1000"]);
        assert!(given.insert(container.ipv4), "{} is given once", container.ipv4);
    }
    let before = host.kernel_state();
    let refused = host.fabric(&["run", "-d", "--network", "tiny", "busybox", "sleep", "1000"]).expect_code(125);
    assert!(refused.stderr.contains("tiny"), "{refused}");
    assert_eq!(difference(&before, &host.kernel_state()), "");
    assert_eq!(host.json(&["network", "inspect", "tiny"])["usage"]["used"], 5);
    host.ok(&["rm", "-f", "c3"]);
    host.run("again", "tiny", &[], &["sleep", "1000"]);
}

#[test]
fn an_address_given_again_leads_to_its_new_holder_at_once() {
    let host = Host::new();
    host.ok(&["network", "create", "tiny", "--subnet", "10.9.8.0/29"]);
    let client = host.run("client", "tiny", &[], &["sleep", "1000"]).namespace();
    for number in 0..3 {
        host.ok(&["run", "-d", "--name", &format!("other{number}"), "--network", "tiny", "busybox", "sleep", "1000"]);
    }
    // One address is left, and everybody who spoke to its last holder remembers that one's MAC address.
    for attempt in 0..4 {
        let server = host.run("server", "tiny", &[], &["httpd", "-f", "-p", "80", "-h", "/etc"]);
        let inside = server.namespace();
        eventually("the server listens", || fetch(&inside, Ipv4Addr::LOCALHOST, 80, "hostname").ok());
        for (who, namespace) in [("the host", host.namespace()), ("a neighbour", &client)] {
            let answer = fetch(namespace, server.ipv4, 80, "hostname");
            let remembered = namespace.run(&["ip", "neighbour"]);
            assert!(answer.is_ok(), "attempt {attempt}: {who} does not reach {server:?}\n{remembered}");
        }
        host.ok(&["rm", "-f", "server"]);
    }
}
