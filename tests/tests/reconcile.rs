//! The kernel is brought to what was asked for, from wherever it is.

use std::net::{IpAddr, Ipv4Addr};

use tests::{Attached, Host, PATIENCE, difference, eventually, fetch, within, without_carrier};

fn host_with_a_server() -> (Host, Attached) {
    let host = Host::new();
    host.ok(&["network", "create", "web", "--ipv6"]);
    let api = host.run("api", "web", &["-p", "8080:80"], &["httpd", "-f", "-p", "80", "-h", "/etc"]);
    eventually("the server listens", || works(&host).then_some(()));
    (host, api)
}

/// Tells whether the LAN, on a cable made now, reaches the published port over both families.
fn from_outside(host: &Host) -> impl Fn() -> bool + use<> {
    let lan = host.lan();
    let [_, host6] = lan.speak_ipv6(host.namespace());
    let on_lan = [IpAddr::from(lan.host_address), host6.into()];
    move || on_lan.iter().all(|to| fetch(&lan.namespace, *to, 8080, "hostname").is_ok())
}

/// Whether the container is reached by its addresses, by its published port, and by its name from a neighbour.
fn works(host: &Host) -> bool {
    let direct = host.addresses("api").iter().all(|own| fetch(host.namespace(), *own, 80, "hostname").is_ok());
    let published = fetch(host.namespace(), Ipv4Addr::LOCALHOST, 8080, "hostname").is_ok();
    let named = ["run", "--rm", "--network", "web", "busybox", "timeout", "3", "wget", "-qO-", "http://api/hostname"];
    direct && published && host.fabric(&named).code == 0
}

#[test]
fn reconciling_again_changes_nothing() {
    let (host, _) = host_with_a_server();
    host.restart();
    let first = host.kernel_state();
    host.restart();
    assert_eq!(difference(&first, &host.kernel_state()), "");
    host.terminate();
    assert_eq!(difference(&first, &host.kernel_state()), "", "the daemon's end changes nothing");
    host.start();
    assert_eq!(difference(&first, &host.kernel_state()), "");
    host.assert_healthy();
}

#[test]
fn damage_from_outside_is_repaired_by_a_restart() {
    let bridge = |host: &Host| host.interface("fb-");
    let port = |host: &Host| host.interface("fe-");
    type Damage<'a> = (&'a str, Box<dyn Fn(&Host) -> Vec<String>>);
    let words = |line: &str, link: String| line.split(' ').map(|word| word.replace("LINK", &link)).collect();
    let damages: Vec<Damage<'_>> = vec![
        ("the firewall is flushed", Box::new(|_| ["nft", "flush", "ruleset"].map(str::to_owned).to_vec())),
        ("the bridge is gone", Box::new(move |host| words("ip link delete LINK", bridge(host)))),
        ("the bridge is down", Box::new(move |host| words("ip link set LINK down", bridge(host)))),
        ("the gateway's addresses are gone", Box::new(move |host| words("ip address flush dev LINK", bridge(host)))),
        (
            "the gateway's address of IPv6 is gone",
            Box::new(move |host| words("ip -6 address flush dev LINK scope global", bridge(host))),
        ),
        (
            "the bridge speaks no IPv6",
            Box::new(move |host| words("sysctl -qw net.ipv6.conf.LINK.disable_ipv6=1", bridge(host))),
        ),
        ("the port has left the bridge", Box::new(move |host| words("ip link set LINK nomaster", port(host)))),
        ("the port is down", Box::new(move |host| words("ip link set LINK down", port(host)))),
        ("the veth pair is gone", Box::new(move |host| words("ip link delete LINK", port(host)))),
        ("forwarding is off", Box::new(|_| ["sysctl", "-qw", "net.ipv4.ip_forward=0"].map(str::to_owned).to_vec())),
        (
            "forwarding of IPv6 is off",
            Box::new(|_| ["sysctl", "-qw", "net.ipv6.conf.all.forwarding=0"].map(str::to_owned).to_vec()),
        ),
    ];
    let (host, api) = host_with_a_server();
    let outside = from_outside(&host);
    assert!(outside(), "the control: at first it is reached");
    for (what, damage) in damages {
        host.kill();
        let command = damage(&host);
        host.namespace().run(&command.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(!outside(), "the control, {what}: it did harm");
        // It is the start that repairs it, not a look some time later.
        host.spawn(host.netd_command().env("NETD_HANDS_OFF", "1"));
        host.wait_until_ready();
        // What is remembered of who is where would do for a while.
        host.namespace().run(&["ip", "neighbour", "flush", "all"]);
        let again = || (works(&host) && outside()).then_some(());
        assert!(within(PATIENCE, again).is_some(), "{what}: not repaired\n{}", host.kernel_state());
        host.assert_healthy();
        assert_eq!(host.attached("api"), api, "{what}: the container itself went on");
    }
}

#[test]
fn rules_flushed_while_the_daemon_runs_are_told_and_come_back() {
    let (host, _) = host_with_a_server();
    let outside = from_outside(&host);
    host.namespace().run(&["nft", "flush", "ruleset"]);
    let told = host.fabric(&["doctor"]);
    // The daemon may have looked just now; then there is nothing to tell.
    assert!(outside() || told.code == 1 && told.stdout.contains("table inet fabric"), "{told}");
    assert!(within(PATIENCE, || outside().then_some(())).is_some(), "{}", host.kernel_state());
    eventually("all else works", || works(&host).then_some(()));
    host.assert_healthy();
}

#[test]
fn what_netd_puts_back_by_itself_is_told() {
    let (host, _) = host_with_a_server();
    let (bridge, port) = (host.interface("fb-"), host.interface("fe-"));
    let is_told = |what: &str| {
        let log = std::fs::read_to_string(host.path("netd.log")).expect("netd writes it");
        let told = |line: &str| line.contains(" INFO ") && line.contains("put back on this host's network: ");
        log.lines().any(|line| told(line) && line.contains(what))
    };
    let damages: [(&[&str], String); 3] = [
        (&["ip", "link", "set", &port, "down"], format!("interface {port} of container `api`: should have up")),
        // Soon after the first, these are told with the next look at everything.
        (
            &["ip", "address", "flush", "dev", &bridge],
            format!("interface {bridge} of network `web`: lacks the address"),
        ),
        (&["nft", "flush", "ruleset"], "table inet fabric or bridge fabric: is missing or was altered".to_owned()),
    ];
    for (damage, what) in &damages {
        assert!(!is_told(what), "the control: {what}");
        host.namespace().run(damage);
    }
    for (_, what) in &damages {
        eventually(what, || is_told(what).then_some(()));
    }
    host.assert_healthy();
}

#[test]
fn what_is_not_ours_is_not_touched() {
    let host = Host::stopped("");
    let namespace = host.namespace();
    namespace.run(&["ip", "link", "add", "br-other", "type", "bridge"]);
    namespace.run(&["ip", "address", "add", "10.200.0.1/24", "dev", "br-other"]);
    namespace.run(&["ip", "link", "set", "br-other", "up"]);
    namespace.run(&["nft", "add table inet other"]);
    namespace.run(&["nft", "add chain inet other input { type filter hook input priority 0; policy accept; }"]);
    namespace.run(&["nft", "add rule inet other input tcp dport 22 accept"]);
    let theirs = |host: &Host| {
        [
            // Whether it leads anywhere the kernel may tell up to a second later.
            without_carrier(&host.namespace().run(&["ip", "-o", "link", "show", "br-other"])),
            host.namespace().run(&["ip", "-o", "-4", "address", "show", "br-other"]),
            host.namespace().run(&["nft", "list", "table", "inet", "other"]),
        ]
    };
    let before = theirs(&host);
    host.start();
    host.import_busybox();
    host.ok(&["network", "create", "web"]);
    host.run("api", "web", &["-p", "8080:80"], &["sleep", "1000"]);
    host.restart();
    host.ok(&["rm", "-f", "api"]);
    host.ok(&["network", "rm", "web"]);
    assert_eq!(theirs(&host), before);
    namespace.run(&["nft", "delete table inet other"]);
}
