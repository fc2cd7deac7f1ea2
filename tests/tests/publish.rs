//! Published ports: reachable exactly from where they were published to.

use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};

use tests::{Attached, Host, Lan, Namespace, PATIENCE, eventually, fetch, serve};

const SERVER: [&str; 6] = ["httpd", "-f", "-p", "80", "-h", "/etc"];

fn server(host: &Host, name: &str, options: &[&str]) -> Attached {
    let container = host.run(name, "web", options, &SERVER);
    let inside = container.namespace();
    eventually("the server listens", || fetch(&inside, Ipv4Addr::LOCALHOST, 80, "hostname").ok());
    container
}

/// Where each port can be reached from: the LAN by the host's address there, the host by that address, the host by its
/// loopback, and a container by the gateway's address.
fn reach(host: &Host, lan: &Lan, inside: &Namespace, port: u16) -> [bool; 4] {
    let gateway = host.json(&["network", "inspect", "web"])["subnets"][0]["gateway"].as_str().map(str::parse);
    let gateway: Ipv4Addr = gateway.expect("a gateway").expect("an address");
    [
        fetch(&lan.namespace, lan.host_address, port, "hostname").is_ok(),
        fetch(host.namespace(), lan.host_address, port, "hostname").is_ok(),
        fetch(host.namespace(), Ipv4Addr::LOCALHOST, port, "hostname").is_ok(),
        fetch(inside, gateway, port, "hostname").is_ok(),
    ]
}

#[test]
fn a_port_is_reachable_from_where_it_was_published_to() {
    let host = Host::new();
    let lan = host.lan();
    host.ok(&["network", "create", "web"]);
    let on_lan = format!("{}:8082:80", lan.host_address);
    server(&host, "all", &["-p", "8080:80"]);
    server(&host, "loopback", &["-p", "127.0.0.1:8081:80"]);
    server(&host, "lan", &["-p", &on_lan]);
    let client = host.run("client", "web", &[], &["sleep", "1000"]).namespace();
    for (port, expected) in [
        (8080, [true, true, true, true]),
        (8081, [false, false, true, false]),
        (8082, [true, true, false, false]),
        (8083, [false, false, false, false]),
    ] {
        assert_eq!(reach(&host, &lan, &client, port), expected, "LAN, host, loopback, container to port {port}");
    }
    assert_eq!(reach(&host, &lan, &client, 8080), [true; 4], "and again");
    host.ok(&["rm", "-f", "all"]);
    assert_eq!(reach(&host, &lan, &client, 8080), [false; 4], "a removed container's port is closed");
}

#[test]
fn a_container_reaches_its_own_published_port() {
    let host = Host::new();
    let lan = host.lan();
    host.ok(&["network", "create", "web"]);
    let inside = server(&host, "api", &["-p", "8080:80"]).namespace();
    fetch(&inside, lan.host_address, 8080, "hostname").expect("hairpin");
}

#[test]
fn what_is_not_published_is_closed_to_a_lan_with_a_route_to_the_subnet() {
    let host = Host::new();
    let lan = host.lan();
    host.ok(&["network", "create", "web"]);
    let api = server(&host, "api", &["-p", "8080:80"]);
    // The LAN's default route leads to the host, which forwards.
    let direct = fetch(&lan.namespace, api.ipv4, 80, "hostname");
    assert!(direct.is_err(), "the LAN reached {}:80 directly", api.ipv4);
    fetch(host.namespace(), api.ipv4, 80, "hostname").expect("the control: the host itself reaches it");
    let ping = lan.namespace.try_run(&["ping", "-n", "-c", "2", "-i", "0.1", "-W", "1", &api.ipv4.to_string()]);
    assert_ne!(ping.code, 0, "{ping}");
}

#[test]
fn loopback_ports_are_closed_to_a_lan_that_routes_127_to_the_host() {
    let host = Host::new();
    let lan = host.lan();
    host.ok(&["network", "create", "web"]);
    server(&host, "api", &["-p", "127.0.0.1:8081:80"]);
    let attacker = &lan.namespace;
    attacker.run(&["ip", "address", "delete", "127.0.0.1/8", "dev", "lo"]);
    attacker.run(&["sh", "-c", "echo 1 >/proc/sys/net/ipv4/conf/eth0/route_localnet"]);
    attacker.run(&[
        "ip",
        "route",
        "add",
        "127.0.0.0/8",
        "via",
        &lan.host_address.to_string(),
        "src",
        &lan.address.to_string(),
    ]);
    assert!(fetch(attacker, Ipv4Addr::LOCALHOST, 8081, "hostname").is_err());
    fetch(host.namespace(), Ipv4Addr::LOCALHOST, 8081, "hostname").expect("the control: the host reaches it");
    host.kill();
    let rules = host.namespace().run(&["nft", "-a", "list", "chain", "inet", "fabric", "prerouting"]);
    let rule = rules.lines().find(|rule| rule.contains("ip daddr 127.0.0.0/8")).expect("the defence is one rule");
    let handle = rule.split("# handle ").nth(1).expect("nft -a shows it");
    host.namespace().run(&["nft", "delete", "rule", "inet", "fabric", "prerouting", "handle", handle]);
    fetch(attacker, Ipv4Addr::LOCALHOST, 8081, "hostname").expect("the control: without the rule the LAN reaches it");
    host.start();
    assert!(fetch(attacker, Ipv4Addr::LOCALHOST, 8081, "hostname").is_err(), "a new start puts it back");
}

#[test]
fn the_client_is_seen_as_itself_and_the_container_as_the_host() {
    let host = Host::new();
    let lan = host.lan();
    host.ok(&["network", "create", "web"]);
    let api = host.run("api", "web", &["-p", "8080:80"], &["sleep", "1000"]);
    let server = serve(&api.namespace(), api.ipv4, 80);
    let client = fetch(&lan.namespace, lan.host_address, 8080, "").expect("published");
    assert_eq!(client, lan.address.to_string());
    server.join().expect("it served");
    let outside = serve(&lan.namespace, lan.address, 80);
    let seen = fetch(&api.namespace(), lan.address, 80, "").expect("a container reaches the outside");
    assert_eq!(seen, lan.host_address.to_string());
    outside.join().expect("it served");
}

#[test]
fn udp_ports_are_published_too() {
    let host = Host::new();
    let lan = host.lan();
    let [lan6, host6] = lan.speak_ipv6(host.namespace());
    host.ok(&["network", "create", "web", "--ipv6"]);
    let api = host.run("api", "web", &["-p", "5300:53/udp"], &["sleep", "1000"]);
    let [own, own6] = host.addresses("api");
    for (address, on_lan, own) in
        [(IpAddr::from(lan.address), IpAddr::from(lan.host_address), own), (lan6.into(), host6.into(), own6)]
    {
        let server = api.namespace().enter(|| UdpSocket::bind((own, 53)).expect("free"));
        let client = lan.namespace.enter(|| UdpSocket::bind((address, 0)).expect("free"));
        let limit = Some(PATIENCE);
        server.set_read_timeout(limit).expect("not zero");
        client.set_read_timeout(limit).expect("not zero");
        client.send_to(b"question", (on_lan, 5300)).expect("sent");
        let mut buffer = [0; 16];
        let (length, from) = server.recv_from(&mut buffer).expect("the question arrives");
        assert_eq!((&buffer[..length], from.ip()), (&b"question"[..], address));
        server.send_to(b"answer", from).expect("sent");
        let (length, from) = client.recv_from(&mut buffer).expect("the answer arrives");
        assert_eq!((&buffer[..length], from), (&b"answer"[..], (on_lan, 5300).into()));
    }
}

#[test]
fn a_port_that_is_taken_is_refused_and_nothing_changes() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    server(&host, "first", &["-p", "8080:80"]);
    let listener = host.namespace().enter(|| TcpListener::bind(("0.0.0.0", 9090)).expect("free"));
    let before = (host.kernel_state(), host.json(&["ps", "-a"]).as_array().map(Vec::len));
    for (publish, holder) in [("8080:80", "first"), ("127.0.0.1:8080:81", "first"), ("9090:80", "9090")] {
        let run = ["run", "-d", "--name", "second", "--network", "web", "-p", publish, "busybox", "sleep", "1000"];
        let refused = host.fabric(&run).expect_code(125);
        assert!(refused.stderr.contains(holder), "the error names `{holder}`:\n{refused}");
        let after = (host.kernel_state(), host.json(&["ps", "-a"]).as_array().map(Vec::len));
        assert_eq!(after, before, "after {publish}");
    }
    drop(listener);
    host.run("second", "web", &["-p", "9090:80"], &["sleep", "1000"]);
}
