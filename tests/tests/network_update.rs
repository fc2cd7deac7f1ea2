//! `fabric network update`: networks that change while they are used.

use std::{
    net::{IpAddr, Ipv4Addr},
    process::Child,
    time::{Duration, Instant},
};

use tests::{Attached, Flow, Host, Namespace, eventually, fetch, serve, within};

const SLEEP: [&str; 2] = ["sleep", "10000"];
const ECHO: [&str; 6] = ["nc", "-ll", "-p", "7", "-e", "cat"];
const HTTP: [&str; 6] = ["httpd", "-f", "-p", "80", "-h", "/etc"];

fn mtu(namespace: &Namespace, interface: &str) -> String {
    let link = namespace.run(&["ip", "-o", "link", "show", interface]);
    let mut words = link.split_whitespace().skip_while(|word| *word != "mtu");
    words.nth(1).unwrap_or_else(|| panic!("an MTU in {link}")).to_owned()
}

/// The MTUs of the network's bridge, the container's two ends, and what the network is said to have.
fn mtus(host: &Host, network: &str, container: &Attached) -> [String; 4] {
    let network = host.json(&["network", "inspect", network]);
    let digits = |id: &serde_json::Value| id.as_str().expect("an identifier")[..12].to_owned();
    let bridge = format!("fb-{}", digits(&network["id"]));
    let own = network["endpoints"].as_array().expect("a list").iter();
    let own = own.clone().find(|endpoint| endpoint["container_id"] == container.id.as_str());
    let port = format!("fe-{}", digits(&own.expect("it is on the network")["id"]));
    [
        mtu(host.namespace(), &bridge),
        mtu(host.namespace(), &port),
        mtu(&container.namespace(), "eth0"),
        network["mtu"].to_string(),
    ]
}

fn listens(container: &Attached, port: &str) {
    let listening = || container.namespace().run(&["ss", "-tlnH", "sport", "=", port]);
    eventually("the server listens", || (!listening().is_empty()).then_some(()));
}

fn echo_server(host: &Host, name: &str, network: &str, options: &[&str]) -> Attached {
    let server = host.run(name, network, options, &ECHO);
    listens(&server, ":7");
    server
}

/// A process that is ended with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_mtu_changes_on_every_link_and_no_connection_breaks() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    let server = echo_server(&host, "server", "web", &[]);
    let client = host.run("client", "web", &[], &SLEEP);
    let flow = Flow::start(&client.namespace(), &server.namespace(), server.ipv4, 7);
    assert_eq!(mtus(&host, "web", &server), ["1500"; 4]);
    for (asked, expected) in [("1400", "1400"), ("9000", "9000"), ("auto", "1500")] {
        assert_eq!(host.ok(&["network", "update", "web", "--mtu", asked]), "web");
        for container in [&server, &client] {
            assert_eq!(mtus(&host, "web", container), [expected; 4], "--mtu {asked}");
        }
        let after = flow.echoed();
        eventually("the connection goes on", || (flow.echoed() > after + 3).then_some(()));
    }
    // As large as a packet of the network may be, and not fragmented.
    host.ok(&["network", "update", "web", "--opt", "mtu=3000"]);
    client.namespace().run(&["ping", "-c", "1", "-W", "30", "-M", "do", "-s", "2972", &server.ipv4.to_string()]);
    let too_large = client.namespace().try_run(&["ping", "-c", "1", "-W", "1", "-M", "do", "-s", "2973", "10.0.0.1"]);
    assert_ne!(too_large.code, 0, "{too_large}");
    let report = flow.finish();
    assert!(report.broken.is_none(), "{report:?}");
    host.restart();
    assert_eq!(mtus(&host, "web", &server), ["3000"; 4]);
    host.assert_healthy();
}

#[test]
fn a_network_that_becomes_internal_is_cut_off_at_once_and_nothing_else_is() {
    let host = Host::with_config("upstreams = []");
    let lan = host.lan();
    host.ok(&["network", "create", "web"]);
    let server = echo_server(&host, "server", "web", &["-p", "7000:7"]);
    let client = host.run("client", "web", &[], &SLEEP);
    let mut nc = lan.namespace.command("busybox");
    let _outside = Ended(nc.args(["nc", "-ll", "-p", "9", "-e", "cat"]).spawn().expect("busybox runs"));
    let reachable = || {
        let listening = lan.namespace.run(&["ss", "-tlnH", "sport", "=", ":9"]);
        (!listening.is_empty()).then_some(())
    };
    eventually("the server on the LAN listens", reachable);
    let within_network = Flow::start(&client.namespace(), &server.namespace(), server.ipv4, 7);
    let from_host = Flow::start(host.namespace(), &server.namespace(), server.ipv4, 7);
    let out = Flow::start(&client.namespace(), &lan.namespace, lan.address, 9);
    let published = Flow::start(&lan.namespace, &server.namespace(), lan.host_address, 7000);
    // Of containers: who is cut off sends again, and its segments may come to the host itself.
    let known = || {
        let listed = host.namespace().run(&["sh", "-c", "conntrack -L 2> /dev/null || true"]);
        let has = |line: &str, address: Ipv4Addr| line.contains(&format!("src={address} "));
        let with_container = |line: &&str| [server.ipv4, client.ipv4].iter().any(|address| has(line, *address));
        listed.lines().filter(with_container).filter(|line| has(line, lan.address)).count()
    };
    assert!(known() >= 2, "the control: both connections with the outside are known");

    host.ok(&["network", "update", "web", "--internal"]);
    let (sent, received) = (out.echoed(), published.echoed());
    assert_eq!(known(), 0, "connections with the outside are forgotten");
    let before = (within_network.echoed(), from_host.echoed());
    eventually("what stays inside goes on", || {
        (within_network.echoed() > before.0 + 20 && from_host.echoed() > before.1 + 20).then_some(())
    });
    // One number may have been on its way.
    assert!(out.echoed() <= sent + 1, "a container still reaches the outside");
    assert!(published.echoed() <= received + 1, "the outside still reaches a container");
    assert_eq!(host.json(&["network", "inspect", "web"])["internal"], true);
    let routes = client.namespace().run(&["ip", "route"]);
    assert!(!routes.contains("default"), "{routes}");
    let refused = host.ok(&["exec", "client", "sh", "-c", "nslookup example.org 2>&1 || true"]);
    assert!(refused.contains("REFUSED") || refused.contains("can't") || refused.contains("NXDOMAIN"), "{refused}");
    drop((out.finish(), published.finish()));

    host.ok(&["network", "update", "web", "--internal=false"]);
    for flow in [
        Flow::start(&client.namespace(), &lan.namespace, lan.address, 9),
        Flow::start(&lan.namespace, &server.namespace(), lan.host_address, 7000),
    ] {
        assert!(flow.finish().broken.is_none(), "the way out and in is open again");
    }
    within_network.finish().assert_nothing_lost();
    from_host.finish().assert_nothing_lost();
    host.assert_healthy();
}

#[test]
fn the_way_out_changes_its_kind_and_what_was_open_stays_open() {
    let host = Host::with_config("upstreams = []");
    let lan = host.lan();
    host.ok(&["network", "create", "web", "--subnet", "10.9.8.0/24"]);
    let client = host.run("client", "web", &[], &SLEEP);
    lan.namespace.run(&["ip", "route", "add", "10.9.8.0/24", "via", &lan.host_address.to_string()]);
    let mut nc = lan.namespace.command("busybox");
    let _outside = Ended(nc.args(["nc", "-ll", "-p", "9", "-e", "cat"]).spawn().expect("busybox runs"));
    eventually("it listens", || (!lan.namespace.run(&["ss", "-tlnH", "sport", "=", ":9"]).is_empty()).then_some(()));
    let flow = Flow::start(&client.namespace(), &lan.namespace, lan.address, 9);
    for (mode, seen) in [("routed", client.ipv4), ("nat", lan.host_address), ("routed", client.ipv4)] {
        host.ok(&["network", "update", "web", "--gateway-mode", mode]);
        let server = serve(&lan.namespace, lan.address, 8000);
        let answer = fetch(&client.namespace(), lan.address, 8000, "").expect("the LAN answers");
        server.join().expect("the server does not panic");
        assert!(answer.contains(&seen.to_string()), "{mode}: seen as {answer}");
    }
    flow.finish().assert_nothing_lost();
    let resolver = || host.ok(&["exec", "client", "cat", "/etc/resolv.conf"]);
    assert!(resolver().contains("10.9.8.1"));
    host.ok(&["network", "update", "web", "--gateway-mode", "isolated"]);
    assert!(!resolver().contains("10.9.8.1"), "there is no gateway to ask");
    let alone = client.namespace().try_run(&["ping", "-c", "1", "-W", "1", "10.9.8.1"]);
    assert_ne!(alone.code, 0, "the host is not there: {alone}");
    let stays = host.fabric(&["network", "update", "web", "--internal=false"]).expect_code(1);
    assert!(stays.stderr.contains("give it another gateway mode"), "{stays}");
    host.ok(&["network", "update", "web", "--gateway-mode", "nat"]);
    assert!(resolver().contains("10.9.8.1"));
    // Who asked in vain where the host is may be about to give that up.
    let answers = || client.namespace().try_run(&["ping", "-c", "1", "-W", "1", "10.9.8.1"]).code == 0;
    eventually("the host is there again", || answers().then_some(()));
    host.assert_healthy();
}

#[test]
fn addresses_come_and_go_but_for_those_that_are_held() {
    let host = Host::new();
    host.ok(&["network", "create", "web", "--subnet", "10.9.8.0/24", "--label", "tier=front"]);
    let first = host.run("first", "web", &[], &HTTP);
    listens(&first, ":80");
    assert_eq!(first.ipv4, Ipv4Addr::new(10, 9, 8, 2));
    let before = host.json(&["network", "inspect", "web"]);
    for (arguments, code, told) in [
        (&["--rm-subnet", "10.9.8.0/24", "--add-subnet", "10.9.9.0/24"][..], 1, "10.9.8.2 of container `first`"),
        (&["--reserve", "10.9.8.2"], 1, "10.9.8.2 of container `first`"),
        (&["--reserve", "10.9.8.3", "--mtu", "1400", "--rm-subnet", "10.1.0.0/24"], 1, "no subnet 10.1.0.0/24"),
        (&["--add-subnet", "127.0.0.0/24"], 1, "overlaps loopback"),
        (&[], 2, "nothing is said"),
        (&["--label", "tier=back", "--label-rm", "tier"], 2, "cannot have the label `tier` and be without it"),
        (&["--internal", "--gateway-mode", "nat"], 2, "cannot be internal with gateway mode nat"),
    ] {
        let refused = host.fabric(&[&["network", "update", "web"], arguments].concat()).expect_code(code);
        assert!(refused.stderr.contains(told), "{arguments:?}: {refused}");
        assert_eq!(host.json(&["network", "inspect", "web"]), before, "{arguments:?} changed something");
    }
    host.ok(&["network", "update", "web", "--reserve", "10.9.8.3=printer", "--ip-range", "10.9.8.64/26"]);
    let second = host.run("second", "web", &[], &SLEEP);
    assert_eq!(second.ipv4, Ipv4Addr::new(10, 9, 8, 64));
    let fixed = ["run", "-d", "--network", "web:ip=10.9.8.3", "busybox", "true"];
    let reserved = host.fabric(&fixed).expect_code(125);
    assert!(reserved.stderr.contains("printer"), "{reserved}");

    host.ok(&[
        "network",
        "update",
        "web",
        "--add-subnet",
        "10.9.9.0/24",
        "--add-subnet",
        "fd09::/64",
        "--ip-range",
        "10.9.8.0/24",
        "--reserve-rm",
        "10.9.8.3",
        "--label",
        "tier=back",
        "--label",
        "x=y",
    ]);
    let network = host.json(&["network", "inspect", "web"]);
    assert_eq!(network["labels"], serde_json::json!({"tier": "back", "x": "y"}));
    assert_eq!(network["reserved"], serde_json::json!([]));
    let third = host.json(&["inspect", &host.run("third", "web", &[], &SLEEP).id]);
    let ipv6 = third["endpoints"][0]["ipv6"].as_str().expect("it has IPv6, too").to_owned();
    let inside = |name: &str| Namespace::of_process(host.json(&["inspect", name])["pid"].as_i64().expect("it runs"));
    inside("third").run(&["ping", "-c", "1", "-W", "30", "fd09::1"]);
    assert!(fetch(&inside("third"), IpAddr::V4(first.ipv4), 80, "hostname").is_ok());
    assert!(ipv6.starts_with("fd09::"), "{ipv6}");

    let held = host.fabric(&["network", "update", "web", "--rm-subnet", "fd09::/64"]).expect_code(1);
    assert!(held.stderr.contains("container `third`"), "{held}");
    host.ok(&["rm", "-f", "third"]);
    host.ok(&["network", "update", "web", "--rm-subnet", "fd09::/64", "--rm-subnet", "10.9.9.0/24", "--label-rm", "x"]);
    let addresses = host.namespace().run(&["ip", "-o", "address"]);
    assert!(!addresses.contains("fd09::") && !addresses.contains("10.9.9."), "{addresses}");
    host.restart();
    let network = host.json(&["network", "inspect", "web"]);
    assert_eq!(network["subnets"], before["subnets"]);
    assert_eq!(network["labels"], serde_json::json!({"tier": "back"}));
    assert!(fetch(&inside("second"), first.ipv4, 80, "hostname").is_ok());
    host.assert_healthy();
}

#[test]
fn networks_follow_the_mtu_of_the_uplink_and_fixed_ones_do_not() {
    let host = Host::new();
    let _lan = host.lan();
    host.namespace().run(&["ip", "link", "set", "lan0", "mtu", "1450"]);
    host.ok(&["network", "create", "web"]);
    host.ok(&["network", "create", "fixed", "--mtu", "1400"]);
    let container = host.run("container", "web", &["--network", "fixed"], &SLEEP);
    assert_eq!(mtus(&host, "web", &container), ["1450"; 4]);
    let mut took = Vec::new();
    for uplink in ["1300", "1500", "1300", "1500"] {
        host.namespace().run(&["ip", "link", "set", "lan0", "mtu", uplink]);
        let begun = Instant::now();
        eventually("the network follows", || (mtus(&host, "web", &container) == [uplink; 4]).then_some(()));
        took.push(begun.elapsed());
        assert_eq!(host.json(&["network", "inspect", "fixed"])["mtu"], 1400);
    }
    // The daemon is told. Were it not, each change but the first would come right after a look at everything, and wait
    // for the next one, 10 s later.
    assert!(took[1..].iter().any(|took| *took < Duration::from_secs(5)), "{took:?}");
    // What changes while nobody looks is seen at the start.
    host.terminate();
    host.namespace().run(&["ip", "link", "set", "lan0", "mtu", "1350"]);
    host.start();
    assert_eq!(mtus(&host, "web", &container), ["1350"; 4]);
    host.ok(&["network", "update", "web", "--mtu", "1350"]);
    host.namespace().run(&["ip", "link", "set", "lan0", "mtu", "1500"]);
    let moved = within(Duration::from_millis(500), || (mtus(&host, "web", &container) != ["1350"; 4]).then_some(()));
    assert!(moved.is_none(), "one that a person fixed stays");
    let nobody = || (!host.ok(&["doctor"]).contains("MTU")).then_some(());
    eventually("the control: nobody has more than the uplink", nobody);
    host.ok(&["network", "update", "fixed", "--mtu", "9000"]);
    let told = host.ok(&["doctor"]);
    for word in
        ["warning", "network `fixed`", "an MTU of 9000, and the uplink of 1500", "network update fixed --mtu auto"]
    {
        assert!(told.contains(word), "`{word}` in\n{told}");
    }
    host.ok(&["network", "update", "fixed", "--internal"]);
    assert!(!host.ok(&["doctor"]).contains("MTU"), "what stays inside is nobody's concern");
    host.assert_healthy();
}

#[test]
fn networks_follow_the_default_route_to_another_uplink() {
    let host = Host::new();
    let (first, second) = (host.lan(), host.lan());
    host.namespace().run(&["ip", "link", "set", "lan1", "mtu", "1350"]);
    host.ok(&["network", "create", "web"]);
    let container = host.run("container", "web", &[], &SLEEP);
    assert_eq!(mtus(&host, "web", &container), ["1500"; 4]);
    for (gateway, expected) in [(second.address, "1350"), (first.address, "1500")] {
        host.namespace().run(&["ip", "route", "replace", "default", "via", &gateway.to_string()]);
        eventually("the network follows", || (mtus(&host, "web", &container) == [expected; 4]).then_some(()));
    }
    host.assert_healthy();
}
