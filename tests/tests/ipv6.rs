//! IPv6 has what IPv4 has: published ports, several networks, and flows that end with what allowed them.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv6Addr, TcpListener, UdpSocket},
    time::Duration,
};

use serde_json::Value;
use tests::{Flow, Host, Namespace, Ping, difference, eventually, fetch, serve};

#[track_caller]
fn endpoint(host: &Host, container: &str, network: &str) -> Value {
    let inspected = host.json(&["inspect", container]);
    let endpoints = inspected["endpoints"].as_array().expect("a list");
    let found = endpoints.iter().find(|endpoint| endpoint["network"] == network);
    found.unwrap_or_else(|| panic!("{container} on {network}: {inspected:#}")).clone()
}

#[track_caller]
fn address(host: &Host, container: &str, network: &str) -> Ipv6Addr {
    endpoint(host, container, network)["ipv6"].as_str().expect("an address").parse().expect("an address")
}

fn inside(host: &Host, container: &str) -> Namespace {
    Namespace::of_process(host.json(&["inspect", container])["pid"].as_i64().expect("it runs"))
}

fn sleeper(host: &Host, name: &str, options: &[&str]) -> Namespace {
    host.ok(&[&["run", "-d", "--name", name], options, &["busybox", "sleep", "1000"]].concat());
    inside(host, name)
}

/// Tells each client its address, over both families, for as long as the test process lives.
fn tell_clients(namespace: &Namespace, port: u16) {
    let listener = namespace.enter(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).expect("free"));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            // What is not read when a socket is closed ends the connection before its answer.
            let _ = stream.read(&mut [0; 1024]);
            let peer = stream.peer_addr().map(|peer| peer.ip().to_canonical().to_string()).unwrap_or_default();
            // The client may be gone.
            let _ = write!(stream, "HTTP/1.0 200 OK\r\n\r\n{peer}");
        }
    });
}

#[test]
fn published_ports_lead_in_over_ipv6_and_clients_are_seen_as_themselves() {
    let host = Host::new();
    let lan = host.lan();
    let [lan6, host6] = lan.speak_ipv6(host.namespace());
    host.ok(&["network", "create", "web", "--ipv6"]);
    host.ok(&["network", "create", "other", "--ipv6"]);
    host.ok(&["network", "create", "plain"]);
    let on_lan = format!("[{host6}]:8081:80");
    let publish = ["-p", "8080:80", "-p", &on_lan, "-p", "[::]:8082:80", "-p", "9000-9002:90-92"];
    let api = sleeper(&host, "api", &[&["--network", "web"], &publish[..]].concat());
    for port in [80, 91] {
        tell_clients(&api, port);
    }
    let neighbour = sleeper(&host, "neighbour", &["--network", "web"]);
    let stranger = sleeper(&host, "stranger", &["--network", "other"]);
    let four = sleeper(&host, "four", &["--network", "plain", "-p", "8090:80"]);
    tell_clients(&four, 80);
    let (own, theirs) = (address(&host, "api", "web"), address(&host, "stranger", "other"));
    let gateway = endpoint(&host, "api", "web")["gateway6"].as_str().expect("it has one").to_owned();
    let (lan6, to6, to4) = (lan6.to_string(), IpAddr::from(host6), IpAddr::from(lan.host_address));
    let table: [(&str, &Namespace, IpAddr, u16, Option<&str>); 14] = [
        ("the LAN", &lan.namespace, to6, 8080, Some(&lan6)),
        ("the LAN, one address", &lan.namespace, to6, 8081, Some(&lan6)),
        ("the LAN, one family", &lan.namespace, to6, 8082, Some(&lan6)),
        ("the LAN, a range", &lan.namespace, to6, 9001, Some(&lan6)),
        ("the LAN, another address", &lan.namespace, to4, 8081, None),
        ("the LAN, another family", &lan.namespace, to4, 8082, None),
        ("the LAN, not published", &lan.namespace, to6, 8083, None),
        ("the LAN, past the host", &lan.namespace, own.into(), 80, None),
        ("the LAN, a container without IPv6", &lan.namespace, to6, 8090, None),
        ("the host", host.namespace(), to6, 8080, Some("2001:db8::1")),
        ("itself", &api, to6, 8080, Some(&gateway)),
        ("a neighbour", &neighbour, to6, 8080, Some(&gateway)),
        ("another network", &stranger, to6, 8080, Some(&theirs.to_string())),
        ("another network, past the host", &stranger, own.into(), 80, None),
    ];
    for round in ["at first", "after a restart"] {
        for (who, from, to, port, seen) in &table {
            let answer = fetch(from, *to, *port, "").ok();
            assert_eq!(answer.as_deref(), *seen, "{who} to {to} port {port}, {round}");
        }
        host.restart();
    }
    fetch(&lan.namespace, to4, 8090, "").expect("the control: over IPv4 it is published");
    host.assert_healthy();
    host.ok(&["rm", "-f", "api"]);
    fetch(&lan.namespace, to6, 8080, "").expect_err("a removed container's port is closed");
}

/// Entries of conntrack that name an address.
fn flows(host: &Host, address: Ipv6Addr) -> usize {
    let listed = host.namespace().run(&["sh", "-c", "conntrack -L -f ipv6 2> /dev/null || true"]);
    listed.lines().filter(|line| line.contains(&format!("={address} "))).count()
}

#[test]
fn flows_of_ipv6_end_with_what_allowed_them() {
    let host = Host::new();
    let lan = host.lan();
    // No flow is forgotten for its age.
    host.namespace().run(&["sysctl", "-qw", "net.netfilter.nf_conntrack_udp_timeout=600"]);
    let [lan6, host6] = lan.speak_ipv6(host.namespace());
    host.ok(&["network", "create", "web", "--ipv6", "--subnet", "fd09::/64"]);
    let own: Ipv6Addr = "fd09::50".parse().expect("literal");
    let run = |options: &[&str]| sleeper(&host, "api", &[&["--network", "web:ip6=fd09::50"], options].concat());
    let server = |namespace: &Namespace| {
        let socket = namespace.enter(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 53)).expect("free"));
        socket.set_read_timeout(Some(Duration::from_millis(500))).expect("not zero");
        socket
    };
    let client = lan.namespace.enter(|| UdpSocket::bind((lan6, 4000)).expect("free"));
    let bystander = sleeper(&host, "bystander", &["--network", "web"]);
    let outside = lan.namespace.enter(|| UdpSocket::bind((lan6, 6000)).expect("free"));
    outside.set_read_timeout(Some(Duration::from_secs(10))).expect("not zero");
    let send_out = |from: &Namespace| {
        let socket = from.enter(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).expect("free"));
        socket.send_to(b"!", (lan6, 6000)).expect("there is a route");
        outside.recv(&mut [0; 8]).expect("it arrives");
    };
    send_out(&bystander);
    let other = address(&host, "bystander", "web");
    for end in [&["network", "disconnect", "web", "api"][..], &["stop", "-t", "0", "api"], &["rm", "-f", "api"]] {
        let namespace = run(&["-p", "5300:53/udp"]);
        let socket = server(&namespace);
        // From the second round on the client, whose port stays, was answered by the host before.
        eventually("the control: it is published", || {
            client.send_to(b"?", (host6, 5300)).expect("there is a route");
            socket.recv(&mut [0; 8]).ok()
        });
        send_out(&namespace);
        assert_eq!(flows(&host, own), 2, "the control: one in, one out");
        host.ok(end);
        eventually("its flows are forgotten", || (flows(&host, own) == 0).then_some(()));
        assert_eq!(flows(&host, other), 1, "and nobody else's: {end:?}");
        if end[0] != "rm" {
            host.ok(&["rm", "-f", "api"]);
        }
        // Who has the address next does not get what was meant for the last.
        let socket = server(&run(&[]));
        client.send_to(b"?", (host6, 5300)).expect("there is a route");
        assert!(socket.recv(&mut [0; 8]).is_err(), "{end:?}");
        host.ok(&["rm", "-f", "api"]);
    }
    host.assert_healthy();
}

/// Gateway and interface of a namespace's default route of a family; an empty text without one.
fn default_route(namespace: &Namespace, family: &str) -> String {
    let route = namespace.run(&["ip", family, "route", "show", "default"]);
    let mut words = route.split_whitespace();
    let mut behind = |word| words.find(|it| *it == word).and_then(|_| words.next()).unwrap_or_default().to_owned();
    [behind("via"), behind("dev")].join(" ").trim().to_owned()
}

#[test]
fn each_familys_default_route_follows_priority_and_never_leads_through_an_internal_network() {
    let host = Host::with_config("upstreams = []");
    let lan = host.lan();
    let [lan6, host6] = lan.speak_ipv6(host.namespace());
    for (name, number, options) in [
        ("a", 1, &[][..]),
        ("b", 2, &[]),
        ("secret", 3, &["--internal"]),
        ("alone", 4, &["--gateway-mode", "isolated"]),
    ] {
        let subnets = [format!("--subnet=10.9.{number}.0/24"), format!("--subnet=fd09:{number}::/64")];
        host.ok(&[&["network", "create", name, &subnets[0], &subnets[1]], options].concat());
    }
    host.ok(&["network", "create", "four", "--subnet=10.9.5.0/24"]);
    host.ok(&["network", "create", "six", "--no-ipv4", "--ipv6", "--subnet=fd09:6::/64"]);
    let app = sleeper(
        &host,
        "app",
        &["--network", "secret:gw-priority=100", "--network", "alone:gw-priority=100", "--network", "a"],
    );
    let reaches = |port| {
        let mut seen = Vec::new();
        for to in [IpAddr::from(lan.address), lan6.into()] {
            let server = serve(&lan.namespace, to, port);
            seen.push(fetch(&app, to, port, "").ok());
            if seen.last() == Some(&None) {
                fetch(&lan.namespace, to, port, "").expect("the control: the server answers its own host");
            }
            server.join().expect("the server does not panic");
        }
        seen
    };
    let out = [Some(lan.host_address.to_string()), Some(host6.to_string())];
    let connect = |priority: &str, network: &str| {
        host.ok(&["network", "connect", "--gw-priority", priority, network, "app"]);
    };
    let disconnect = |network: &str| {
        host.ok(&["network", "disconnect", network, "app"]);
    };
    type Act<'a> = &'a dyn Fn();
    let steps: [(&str, Act<'_>, &str, &str); 9] = [
        ("at first", &|| (), "10.9.1.1 eth2", "fd09:1::1 eth2"),
        ("a higher priority", &|| connect("5", "b"), "10.9.2.1 eth3", "fd09:2::1 eth3"),
        ("IPv6 only", &|| connect("9", "six"), "10.9.2.1 eth3", "fd09:6::1 eth4"),
        ("IPv4 only", &|| connect("7", "four"), "10.9.5.1 eth5", "fd09:6::1 eth4"),
        ("a restart", &|| host.restart(), "10.9.5.1 eth5", "fd09:6::1 eth4"),
        ("without the one of IPv6", &|| disconnect("six"), "10.9.5.1 eth5", "fd09:2::1 eth3"),
        ("without the one of IPv4", &|| disconnect("four"), "10.9.2.1 eth3", "fd09:2::1 eth3"),
        ("without the highest", &|| disconnect("b"), "10.9.1.1 eth2", "fd09:1::1 eth2"),
        ("with none that leads out", &|| disconnect("a"), "", ""),
    ];
    for (port, (what, act, v4, v6)) in (8000..).zip(steps) {
        act();
        assert_eq!((default_route(&app, "-4"), default_route(&app, "-6")), (v4.to_owned(), v6.to_owned()), "{what}");
        let expected = if v4.is_empty() { [None, None] } else { out.clone() };
        assert_eq!(reaches(port), expected, "{what}");
        host.assert_healthy();
    }
    // What is left is as good as ever.
    for network in ["secret", "alone"] {
        let neighbour = sleeper(&host, network, &["--network", network]);
        let to: IpAddr = address(&host, "app", network).into();
        neighbour.run(&["ping", "-6", "-n", "-c", "1", "-W", "10", &to.to_string()]);
    }
}

#[test]
fn networks_come_and_go_and_flows_of_ipv6_on_others_go_on() {
    let host = Host::with_config("upstreams = []");
    let lan = host.lan();
    let [_, host6] = lan.speak_ipv6(host.namespace());
    for (number, name) in (1..).zip(["web", "back"]) {
        let subnets = [format!("--subnet=10.9.{number}.0/24"), format!("--subnet=fd09:{number}::/64")];
        host.ok(&["network", "create", name, &subnets[0], &subnets[1]]);
    }
    let server = |name: &str, network: &str, more: &[&str]| {
        host.run(name, network, more, &["httpd", "-f", "-p", "80", "-h", "/etc"]).namespace()
    };
    let (app, db) = (server("app", "web", &["-p", "8080:80"]), server("db", "back", &[]));
    let echo = host.run("echo", "web", &[], &["nc", "-ll", "-p", "7", "-e", "cat"]).namespace();
    let listening = || echo.run(&["ss", "-tlnH", "sport", "=", ":7"]);
    eventually("the echo server listens", || (!listening().is_empty()).then_some(()));
    let (echo6, db6) = (address(&host, "echo", "web"), address(&host, "db", "back"));
    let (flow, ping) = (Flow::start(&app, &echo, echo6, 7), Ping::start(&app, echo6));
    let published = || fetch(&lan.namespace, host6, 8080, "hostname").ok();
    eventually("the published port answers", published);
    let state = || host.kernel_state() + &host.kernel_state_inside();
    let before = state();
    let there: Ipv6Addr = "fd09:2::50".parse().expect("literal");
    for round in 0..3 {
        host.ok(&["network", "connect", "--ip6", "fd09:2::50", "--gw-priority", "1", "back", "app"]);
        assert_eq!(default_route(&app, "-6"), "fd09:2::1 eth1", "round {round}: the default route moves");
        eventually("db listens", || fetch(&app, db6, 80, "hostname").ok());
        assert_eq!(fetch(&db, there, 80, "hostname").expect("at once"), "app");
        assert_eq!(published().expect("the published port leads there"), "app");
        assert!(flows(&host, there) > 0, "control: the published flow is known");
        host.ok(&["exec", "app", "nslookup", "db"]);
        host.assert_healthy();
        if round == 1 {
            host.restart();
            host.assert_healthy();
        }
        host.ok(&["network", "disconnect", "back", "app"]);
        assert_eq!(default_route(&app, "-6"), "fd09:1::1 eth0", "round {round}: the default route moves back");
        assert_eq!(flows(&host, there), 0, "its flows are forgotten");
        assert_eq!(published().expect("the published port leads back"), "app");
        assert!(fetch(&db, there, 80, "hostname").is_err());
        assert!(!host.ok(&["exec", "app", "cat", "/etc/hosts", "/etc/resolv.conf"]).contains("fd09:2::"));
    }
    assert_eq!(difference(&before, &state()), "");
    flow.finish().assert_nothing_lost();
    ping.finish().assert_nothing_lost();
    host.assert_healthy();
}

#[test]
fn ports_of_bridges_have_no_address_of_their_own() {
    let host = Host::with_config("namespace_pool = 0");
    host.ok(&["network", "create", "web", "--ipv6"]);
    host.ok(&["network", "create", "plain"]);
    for (name, network) in [("six", "web"), ("four", "plain")] {
        sleeper(&host, name, &["--network", network]);
    }
    let gateway = endpoint(&host, "six", "web")["gateway6"].as_str().expect("it has one").to_owned();
    // By then the ports would have addresses too.
    eventually("the gateway has its address", || {
        let addresses = host.namespace().run(&["ip", "-6", "-o", "address", "show"]);
        (addresses.contains(&gateway) && !addresses.contains("tentative")).then_some(())
    });
    let addresses = host.namespace().run(&["ip", "-6", "-o", "address", "show"]);
    assert!(!addresses.contains(" fe-"), "{addresses}");
    let ports = host.namespace().run(&["ip", "-d", "-o", "link", "show"]);
    let ports: Vec<&str> = ports.lines().filter(|line| line.contains(": fe-")).collect();
    assert!(ports.len() == 2 && ports.iter().all(|port| port.contains("addrgenmode none")), "{ports:#?}");
}
