//! What waits for containers to come: namespaces, and veth pairs in some of them.

use std::fs;

use tests::{Host, eventually};

/// The one pair that waits, once it does.
fn waiting(host: &Host) -> String {
    eventually("a veth pair waits", || {
        let [one] = <[String; 1]>::try_from(host.spare_interfaces()).ok()?;
        (host.fabric(&["doctor"]).code == 0).then_some(one)
    })
}

fn port_of(host: &Host, container: &str) -> String {
    let id = host.json(&["inspect", container])["endpoints"][0]["id"].as_str().expect("an identifier").to_owned();
    format!("fe-{}", &id[..12])
}

#[test]
fn the_pair_that_waits_becomes_the_first_container_s() {
    let host = Host::with_config("upstreams = []\nnamespace_pool = 2");
    host.ok(&["network", "create", "web", "--mtu", "1400"]);
    // The second is begun when the first, which has the pair, can be had.
    let begun = || fs::read_dir(host.run_dir().join("netns")).expect("netd made it").count();
    eventually("two namespaces wait", || (begun() == 2).then_some(()));
    let pair = waiting(&host);
    let api = host.run("api", "web", &[], &["sleep", "1000"]);
    assert_eq!(port_of(&host, "api"), pair);
    let mtu = |link: String| assert!(link.contains(" mtu 1400 "), "{link}");
    mtu(host.namespace().run(&["ip", "link", "show", "dev", &pair]));
    mtu(api.namespace().run(&["ip", "link", "show", "dev", "eth0"]));
    host.namespace().run(&["ping", "-n", "-c", "1", "-W", "30", &api.ipv4.to_string()]);
    let next = waiting(&host);
    assert_ne!(next, pair);
    // A container that is started again keeps the identifier of its endpoint, which no pair has.
    host.ok(&["restart", "-t", "0", "api"]);
    assert_eq!((port_of(&host, "api"), waiting(&host)), (pair, next));
    host.namespace().run(&["ping", "-n", "-c", "1", "-W", "30", &api.ipv4.to_string()]);
    host.assert_healthy();
}

#[test]
fn nobody_else_finds_a_pair() {
    // The only one that waits has a pair.
    let host = Host::with_config("upstreams = []\nnamespace_pool = 1");
    let lan = host.lan();
    let create = ["network", "create", "wire", "--driver", "macvlan", "--opt", "parent=lan0"];
    host.ok(&[&create[..], &["--subnet", "192.0.2.0/24", "--ip-range", "192.0.2.128/25"]].concat());
    host.ok(&["network", "create", "web"]);
    let pair = waiting(&host);
    let inside = |options: &[&str]| {
        let links = host.ok(&[&["run", "--rm"], options, &["busybox", "ls", "/sys/class/net"]].concat());
        links.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(inside(&["--network", "none"]), ["lo"]);
    assert_eq!(inside(&["--network", "wire", "--network", "web"]), ["eth0", "eth1", "lo"]);
    assert_eq!(inside(&["--network", "wire"]), ["eth0", "lo"]);
    assert_eq!(waiting(&host), pair, "it still waits");
    assert_eq!(inside(&["--network", "web", "--network", "wire"]), ["eth0", "eth1", "lo"]);
    assert_ne!(waiting(&host), pair);
    drop(lan);
}

#[test]
fn pairs_of_a_daemon_that_was_killed_are_gone_after_the_next_start() {
    let host = Host::with_config("upstreams = []\nnamespace_pool = 1");
    let pair = waiting(&host);
    host.kill();
    assert_eq!(host.spare_interfaces(), std::slice::from_ref(&pair), "the control");
    host.start();
    assert_ne!(waiting(&host), pair);
    host.terminate();
    assert_eq!(host.spare_interfaces(), [] as [&str; 0], "a daemon that ends takes its own away");
}
