//! What `fabric network create` can make: IPv6, several subnets, reserved addresses, and networks that do not reach
//! everywhere.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::Arc,
};

use tests::{Host, Lan, Namespace, RecordType, advertise_router, ask, eventually, fetch, serve};

/// An address that the command line shows of a container.
fn address(host: &Host, container: &str, field: &str) -> IpAddr {
    let container = host.json(&["inspect", container]);
    let text = container["endpoints"][0][field].as_str().unwrap_or_else(|| panic!("{field} in {container:#}"));
    text.parse().expect("an address")
}

fn inside(host: &Host, container: &str) -> Namespace {
    let pid = host.json(&["inspect", container])["pid"].as_i64().expect("it runs");
    Namespace::of_process(pid)
}

fn sleeper(host: &Host, name: &str, network: &str) {
    host.ok(&["run", "-d", "--name", name, "--network", network, "busybox", "sleep", "1000"]);
}

const LAN6: &str = "2001:db8::10";
const HOST6: &str = "2001:db8::1";

/// A neighbour with addresses of both families, and routes of both to the host.
fn lan(host: &Host) -> Arc<Lan> {
    let lan = host.lan();
    assert_eq!(lan.speak_ipv6(host.namespace()).map(|address| address.to_string()), [LAN6, HOST6]);
    lan
}

/// Who a server on the LAN sees when something in `namespace` asks it; none if it does not get there.
fn seen_from(namespace: &Namespace, lan: &Lan, address: IpAddr, port: u16) -> Option<String> {
    let server = serve(&lan.namespace, address, port);
    let seen = fetch(namespace, address, port, "").ok();
    if seen.is_none() {
        // It waits for a client.
        fetch(&lan.namespace, address, port, "").expect("the control: the server answers its own host");
    }
    server.join().expect("the server does not panic");
    seen
}

#[test]
fn ipv6_works_from_the_first_packet_on() {
    let host = Host::with_config("upstreams = []");
    let lan = lan(&host);
    let lan6: IpAddr = LAN6.parse().expect("literal");
    host.ok(&["network", "create", "web", "--subnet", "fd00:1::/64", "--ipv6"]);
    // The first thing the container does needs its address, its route, its gateway, and the host to forward.
    let server = serve(&lan.namespace, lan6, 8000);
    let first =
        host.ok(&["run", "--rm", "--network", "web", "busybox", "wget", "-qO-", &format!("http://[{LAN6}]:8000/")]);
    server.join().expect("the server does not panic");
    assert_eq!(first.trim(), HOST6, "it has the host's address outside");

    sleeper(&host, "api", "web");
    sleeper(&host, "client", "web");
    let (api, client) = (address(&host, "api", "ipv6"), inside(&host, "client"));
    let ping = client.run(&["ping", "-6", "-n", "-c", "3", "-i", "0.1", "-W", "30", &api.to_string()]);
    assert!(ping.contains(" 0% packet loss"), "{ping}");
    assert_eq!(address(&host, "client", "gateway6"), "fd00:1::1".parse::<IpAddr>().expect("literal"));

    let gateway6 = SocketAddr::new("fd00:1::1".parse().expect("literal"), 53);
    let gateway4 = SocketAddr::new(address(&host, "client", "gateway"), 53);
    for server in [gateway6, gateway4] {
        let records = |name: &str, kind| ask(&client, server, name, kind).expect("the gateway answers").records;
        assert_eq!(records("api", RecordType::Aaaa), [api.to_string()]);
        assert_eq!(records("api", RecordType::A), [address(&host, "api", "ipv4").to_string()]);
        let IpAddr::V6(octets) = api else { panic!("{api} is of IPv6") };
        let nibbles: Vec<_> =
            octets.octets().iter().rev().map(|octet| format!("{:x}.{:x}", octet & 15, octet >> 4)).collect();
        let reverse = format!("{}.ip6.arpa", nibbles.join("."));
        assert_eq!(records(&reverse, RecordType::Ptr), ["api.web.fabric.internal"]);
    }
    let looked_up = host.ok(&["exec", "client", "cat", "/etc/resolv.conf", "/etc/hosts"]);
    assert!(looked_up.contains("nameserver fd00:1::1"), "{looked_up}");

    // Closed to the LAN, which knows the way.
    let server = serve(&inside(&host, "api"), api, 80);
    fetch(&lan.namespace, api, 80, "").expect_err("nothing is published");
    let ping = lan.namespace.try_run(&["ping", "-6", "-n", "-c", "2", "-i", "0.1", "-W", "1", &api.to_string()]);
    assert_ne!(ping.code, 0, "{ping}");
    fetch(host.namespace(), api, 80, "").expect("the control: the host itself reaches it");
    server.join().expect("the server does not panic");
    host.assert_healthy();
    host.restart();
    assert_eq!(seen_from(&client, &lan, lan6, 8001).as_deref(), Some(HOST6), "also after a restart");
}

#[test]
fn ipv6_is_off_where_the_network_has_none() {
    let host = Host::new();
    host.ok(&["network", "create", "plain"]);
    host.ok(&["network", "create", "both", "--ipv6"]);
    sleeper(&host, "plain", "plain");
    sleeper(&host, "both", "both");
    let addresses = |container: &str| host.ok(&["exec", container, "ip", "-6", "-o", "address"]);
    // What it prints is what a program sees that asks at once.
    for _ in 0..10 {
        let seen = host.ok(&["run", "--rm", "--network", "both", "busybox", "ip", "-6", "-o", "address"]);
        assert!(seen.contains("fe80:"), "{seen}");
    }
    assert_eq!(addresses("plain").trim(), "", "not even a link-local one");
    let both = addresses("both");
    for expected in ["::1/128", "fd", "fe80:"] {
        assert!(both.contains(expected), "{expected} in {both}");
    }
    assert!(!both.contains("tentative"), "all can be used at once: {both}");
    let range = host.json(&["network", "inspect", "both"])["subnets"][1]["range"].as_str().map(str::to_owned);
    let range = range.expect("a subnet of IPv6");
    assert!(range.starts_with("fd") && range.ends_with("::/64"), "{range} is a unique local /64");
    // A container that says it is a router is believed by nobody.
    sleeper(&host, "rogue", "both");
    let rogue = inside(&host, "rogue");
    advertise_router(&rogue, "eth0");
    // What it says afterwards has been heard, so what it said before has, too.
    let gateway = address(&host, "rogue", "gateway6");
    for heard in [gateway, address(&host, "both", "ipv6")] {
        rogue.run(&["ping", "-6", "-n", "-c", "1", "-W", "30", &heard.to_string()]);
    }
    for namespace in [host.namespace().clone(), inside(&host, "both")] {
        let routes = namespace.run(&["ip", "-6", "route"]);
        assert!(!routes.contains("proto ra"), "{routes}");
    }
}

#[test]
fn a_network_without_ipv4_has_none() {
    let host = Host::new();
    let lan = lan(&host);
    host.ok(&["network", "create", "six", "--ipv6", "--no-ipv4"]);
    sleeper(&host, "api", "six");
    let container = host.json(&["inspect", "api"]);
    assert!(container["endpoints"][0]["ipv4"].is_null(), "{container:#}");
    assert_eq!(host.ok(&["exec", "api", "ip", "-4", "-o", "address", "show", "eth0"]).trim(), "");
    let found = seen_from(&inside(&host, "api"), &lan, LAN6.parse().expect("literal"), 8000);
    assert_eq!(found.as_deref(), Some(HOST6));
    assert!(host.ok(&["ps"]).contains(container["endpoints"][0]["ipv6"].as_str().expect("an address")));
}

#[test]
fn the_host_keeps_heeding_its_router_when_it_begins_to_forward() {
    let host = Host::new();
    let lan = host.lan();
    let default = || host.namespace().run(&["ip", "-6", "route", "show", "default", "proto", "ra"]);
    eventually("the host has the route that its router advertises", || {
        advertise_router(&lan.namespace, "eth0");
        default().contains("via fe80:").then_some(())
    });
    host.ok(&["network", "create", "web", "--ipv6"]);
    assert_eq!(host.namespace().run(&["cat", "/proc/sys/net/ipv6/conf/all/forwarding"]).trim(), "1");
    assert!(default().contains("via fe80:"), "what it learned it still knows");
    host.namespace().run(&["ip", "-6", "route", "flush", "default"]);
    assert_eq!(default(), "", "the control");
    eventually("it learns the route again", || {
        advertise_router(&lan.namespace, "eth0");
        default().contains("via fe80:").then_some(())
    });
}

#[test]
fn nothing_leaves_an_internal_network() {
    let host = Host::with_config("upstreams = ['192.0.2.10']");
    let lan = lan(&host);
    let upstream = lan.namespace.enter(|| UdpSocket::bind(("192.0.2.10", 53)).expect("free"));
    upstream.set_nonblocking(true).expect("it is a socket");
    host.ok(&["network", "create", "open", "--ipv6"]);
    host.ok(&["network", "create", "secret", "--ipv6", "--internal"]);
    for name in ["open", "secret"] {
        sleeper(&host, name, name);
    }
    sleeper(&host, "neighbour", "secret");
    let (open, secret) = (inside(&host, "open"), inside(&host, "secret"));
    assert!(!host.ok(&["exec", "secret", "ip", "route"]).contains("default"));
    // Not even one that makes itself a route gets out.
    for (version, name) in [("-4", "gateway"), ("-6", "gateway6")] {
        let network = host.json(&["network", "inspect", "secret"]);
        let gateway = network["subnets"][usize::from(name == "gateway6")]["gateway"].as_str().expect("it has one");
        secret.run(&["ip", version, "route", "add", "default", "via", gateway]);
    }
    for (port, target) in [(8000, IpAddr::V4(lan.address)), (8002, LAN6.parse().expect("literal"))] {
        assert!(
            seen_from(&open, &lan, target, port).is_some(),
            "the control: {target} from a network that reaches out"
        );
        assert_eq!(seen_from(&secret, &lan, target, port + 1), None, "{target} from an internal one");
    }
    let network = host.json(&["network", "inspect", "secret"]);
    for (number, family, kind) in [(0, "ipv4", RecordType::A), (1, "ipv6", RecordType::Aaaa)] {
        // Nor in.
        let neighbour = address(&host, "neighbour", family);
        let server = serve(&inside(&host, "neighbour"), neighbour, 80);
        fetch(&lan.namespace, neighbour, 80, "").expect_err("from the LAN");
        fetch(&open, neighbour, 80, "").expect_err("from another network");
        fetch(&secret, neighbour, 80, "").expect("the control: on the same network");
        server.join().expect("the server does not panic");
        // Names of neighbours are answered, others asked of nobody.
        let gateway = network["subnets"][number]["gateway"].as_str().expect("it has one");
        let server = SocketAddr::new(gateway.parse().expect("an address"), 53);
        let answer = ask(&secret, server, "neighbour", kind).expect("the gateway answers");
        assert_eq!(answer.records, [neighbour.to_string()]);
        let answer = ask(&secret, server, "data.example.com", kind).expect("the gateway answers");
        assert!(answer.code != 0 && answer.records.is_empty(), "{answer:?}");
    }
    let mut query = [0; 512];
    assert!(upstream.recv(&mut query).is_err(), "the upstream was asked by an internal network");
    let server = SocketAddr::new(address(&host, "open", "gateway"), 53);
    std::thread::scope(|scope| {
        // It has no answer: nobody answers upstream.
        scope.spawn(|| ask(&open, server, "data.example.com", RecordType::A).ok());
        eventually("the control: another network's query goes upstream", || upstream.recv(&mut query).ok());
    });
    host.assert_healthy();
}

#[test]
fn nothing_is_published_on_networks_that_nobody_comes_into() {
    let host = Host::with_config("upstreams = []");
    let lan = lan(&host);
    host.ok(&["network", "create", "secret", "--ipv6", "--internal"]);
    host.ok(&["network", "create", "alone", "--ipv6", "--gateway-mode", "isolated"]);
    host.ok(&["network", "create", "web", "--ipv6"]);
    let server = ["busybox", "httpd", "-f", "-p", "80", "-h", "/etc"];
    let before = host.kernel_state();
    let both = ["--network", "secret", "--network", "alone"];
    for (networks, named) in [(&both[..2], "network `secret`"), (&both[..], "networks `secret`, `alone`")] {
        let run = [&["run", "-d", "--name", "server", "-p", "8080:80"], networks, &server[..]].concat();
        let refused = host.fabric(&run).expect_code(125);
        for word in ["cannot publish 8080:80", named, "hint: ", "--network NAME"] {
            assert!(refused.stderr.contains(word), "`{word}` in\n{refused}");
        }
    }
    assert_eq!(host.kernel_state(), before);
    let run = ["run", "-d", "--name", "server", "-p", "8080:80", "--network", "secret", "--network", "web"];
    host.ok(&[&run[..], &server[..]].concat());
    let at = |to: IpAddr| fetch(&lan.namespace, to, 8080, "hostname").is_ok();
    let published = || [at(lan.host_address.into()), at(HOST6.parse().expect("literal"))];
    let is_published = || (published() == [true; 2]).then_some(());
    let told = "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080";
    eventually("it is published over the network with a way in", is_published);
    assert_eq!(host.ok(&["port", "server"]), told);
    // Who loses the last such network keeps running, closed, until there is one again.
    host.ok(&["network", "disconnect", "web", "server"]);
    assert_eq!(published(), [false; 2]);
    assert_eq!(host.ok(&["port", "server"]), "");
    host.ok(&["network", "connect", "alone", "server"]);
    assert_eq!(published(), [false; 2]);
    host.ok(&["stop", "-t", "0", "server"]);
    host.ok(&["start", "server"]);
    host.ok(&["network", "connect", "web", "server"]);
    eventually("it is published again", is_published);
    assert_eq!(host.ok(&["port", "server"]), told);
}

#[test]
fn a_routed_network_keeps_its_addresses_and_an_isolated_one_is_alone() {
    let host = Host::new();
    let lan = lan(&host);
    let options = ["--driver", "bridge", "--opt", "mtu=1400", "--opt", "gateway-mode=routed"];
    host.ok(&[&["network", "create", "routed", "--ipv6"][..], &options].concat());
    let publish = ["run", "-d", "--name", "own", "--network", "routed", "-p", "8080:80"];
    host.ok(&[&publish[..], &["busybox", "httpd", "-f", "-p", "80", "-h", "/etc"]].concat());
    let on_lan: [IpAddr; 2] = [lan.host_address.into(), HOST6.parse().expect("literal")];
    let families = [(8000, lan.address.into(), "ipv4"), (8001, LAN6.parse().expect("literal"), "ipv6")];
    for ((port, target, field), published) in families.into_iter().zip(on_lan) {
        let own = address(&host, "own", field);
        let seen = seen_from(&inside(&host, "own"), &lan, target, port).expect("the LAN knows the way back");
        assert_eq!(seen, own.to_string());
        eventually("what is published is open", || fetch(&lan.namespace, published, 8080, "hostname").ok());
        fetch(&lan.namespace, own, 80, "hostname").expect_err("at the host's address alone");
    }
    assert_eq!(host.ok(&["exec", "own", "cat", "/sys/class/net/eth0/mtu"]), "1400");

    host.ok(&["network", "create", "alone", "--ipv6", "--gateway-mode", "isolated"]);
    sleeper(&host, "a", "alone");
    sleeper(&host, "b", "alone");
    for field in ["ipv4", "ipv6"] {
        let b = address(&host, "b", field);
        inside(&host, "a").run(&["ping", "-n", "-c", "1", "-W", "30", &b.to_string()]);
        for from in [host.namespace(), &lan.namespace] {
            let ping = from.try_run(&["ping", "-n", "-c", "1", "-W", "1", &b.to_string()]);
            assert_ne!(ping.code, 0, "the host has no address there:\n{ping}");
        }
    }
    let id = host.json(&["network", "inspect", "alone"])["id"].as_str().expect("an id")[..12].to_owned();
    let bridge = format!("fb-{id}");
    assert_eq!(host.namespace().run(&["ip", "-o", "address", "show", "dev", &bridge]).trim(), "");
    host.assert_healthy();
}

#[test]
fn addresses_come_from_their_part_of_the_subnet_and_from_the_next_one_when_it_is_full() {
    let host = Host::new();
    let lan = lan(&host);
    host.ok(&[
        "network",
        "create",
        "web",
        "--subnet=10.9.8.0/24",
        "--ip-range=10.9.8.128/30",
        "--reserve=10.9.8.129=the printer",
        "--subnet=10.9.9.0/24",
        "--gateway=10.9.9.254",
    ]);
    for name in ["c0", "c1", "c2", "c3"] {
        sleeper(&host, name, "web");
    }
    let addresses = ["c0", "c1", "c2", "c3"].map(|name| address(&host, name, "ipv4").to_string());
    assert_eq!(addresses, ["10.9.8.128", "10.9.8.130", "10.9.8.131", "10.9.9.1"]);
    assert_eq!(address(&host, "c3", "gateway").to_string(), "10.9.9.254");
    for (port, name) in [(8000, "c0"), (8001, "c3")] {
        assert!(seen_from(&inside(&host, name), &lan, lan.address.into(), port).is_some(), "{name} reaches the LAN");
    }
    let shown = host.ok(&["network", "inspect", "web"]);
    let usage = "10.9.8.0/24: 3 of 252 used; 10.9.9.0/24: 1 of 253 used";
    for expected in
        ["10.9.8.0/24, 10.9.9.0/24", "10.9.8.1, 10.9.9.254", "10.9.8.128/30", "10.9.8.129=the printer", usage]
    {
        assert!(shown.contains(expected), "{expected} in:\n{shown}");
    }
}

#[test]
fn a_network_that_cannot_be_had_changes_nothing() {
    let host = Host::new();
    host.namespace().run(&["ip", "link", "add", "vpn", "type", "veth", "peer", "name", "far"]);
    host.namespace().run(&["ip", "link", "set", "vpn", "up"]);
    host.namespace().run(&["ip", "address", "add", "10.77.0.1/20", "dev", "vpn"]);
    host.namespace().run(&["ip", "address", "add", "fd77::1/64", "dev", "vpn", "nodad"]);
    host.ok(&["network", "create", "web", "--subnet", "10.9.8.0/24", "--subnet", "fd09::/64"]);
    let before = host.kernel_state();
    for (options, code, expected) in [
        (&["--subnet=10.9.8.128/25"][..], 1, "10.9.8.128/25 overlaps network web (10.9.8.0/24)"),
        (&["--subnet=fd09::/48"], 1, "fd09::/48 overlaps network web (fd09::/64)"),
        (&["--subnet=10.77.3.0/24"], 1, "10.77.3.0/24 overlaps the host's 10.77.0.0/20 on interface vpn"),
        (&["--subnet=fd77::/64"], 1, "fd77::/64 overlaps the host's fd77::/64 on interface vpn"),
        (&["--subnet=10.1.0.0/24", "--gateway=10.2.0.1"], 2, "no subnet for the gateway 10.2.0.1"),
        (&["--subnet=10.1.0.0/24", "--ip-range=10.2.0.0/25"], 2, "no subnet for the range 10.2.0.0/25"),
        (&["--subnet=10.1.0.0/24", "--reserve=10.2.0.9"], 2, "no subnet for the reserved address 10.2.0.9"),
        (&["--subnet=10.1.0.0/31"], 2, "use a prefix of /30 or shorter"),
        (&["--subnet=10.1.0.0/24", "--subnet=10.1.0.0/25"], 2, "they overlap"),
        (&["--no-ipv4"], 2, "add --ipv6"),
        (&["--internal", "--gateway-mode=routed"], 2, "cannot be internal with gateway mode routed"),
        (&["--opt=colour=red"], 2, "known: gateway-mode, mtu"),
        (&["--opt=mtu=big"], 2, "`big` is not an MTU"),
        (&["--opt=mtu=1400", "--mtu=1400"], 2, "an MTU twice"),
        (&["--opt=gateway-mode=magic"], 2, "known: nat, routed, isolated"),
        (&["--ipv6", "--mtu=1000"], 2, "at least 1280"),
        (&["--gateway-mode=magic"], 2, "known: nat, routed, isolated"),
        (&["--reserve=printer", "--subnet=10.1.0.0/24"], 2, "that is no IP address"),
        (&["--subnet=10.1.0.0"], 2, "--subnet"),
    ] {
        let outcome = host.fabric(&[&["network", "create", "new"], options].concat()).expect_code(code);
        assert!(outcome.stderr.contains(expected), "{expected} in:\n{outcome}");
    }
    host.fabric(&["network", "create", "web"]).expect_code(1);
    assert_eq!(tests::difference(&before, &host.kernel_state()), "");
    assert_eq!(host.json(&["network", "ls"]).as_array().map(Vec::len), Some(1));
}
