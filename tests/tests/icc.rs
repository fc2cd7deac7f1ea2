//! Networks whose containers are kept apart from each other (`--icc=false`).

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use tests::{ALL, Attached, Flow, Frame, Host, Lan, Mac, Namespace, PATIENCE, Wire, eventually, fetch, within};

const HTTP: [&str; 6] = ["httpd", "-f", "-p", "80", "-h", "/etc"];
const ECHO: [&str; 6] = ["nc", "-ll", "-p", "7", "-e", "cat"];

/// A server with a published port, and a client, on network `web` of both families, which is made with `options`.
struct Stage {
    host: Host,
    lan: Arc<Lan>,
    server: Attached,
    client: Attached,
}

impl Stage {
    fn new(options: &[&str]) -> Self {
        let host = Host::with_config("upstreams = []");
        let lan = host.lan();
        host.ok(&[&["network", "create", "web", "--ipv6"], options].concat());
        let server = host.run("server", "web", &["-p", "8080:80"], &HTTP);
        let client = host.run("client", "web", &[], &["sleep", "1000"]);
        let listens = || fetch(&server.namespace(), Ipv4Addr::LOCALHOST, 80, "hostname").ok();
        eventually("the server listens", listens);
        Self { host, lan, server, client }
    }

    /// The address that the server's interface has given itself, as it is reached by the client's.
    fn link_local(&self) -> String {
        let address = || {
            let show = ["ip", "-6", "-o", "address", "show", "dev", "eth0", "scope", "link"];
            let shown = self.server.namespace().run(&show);
            shown.split_whitespace().find_map(|word| word.strip_suffix("/64").map(str::to_owned))
        };
        format!("{}%eth0", eventually("it has one", address))
    }

    /// By which ways the client reaches the server.
    fn ways(&self) -> Vec<&'static str> {
        let inside = self.client.namespace();
        let pings = |address: &str| inside.try_run(&["ping", "-n", "-c", "1", "-W", "1", address]).code == 0;
        let [ipv4, ipv6] = self.host.addresses("server");
        let ways = [
            ("TCP over IPv4", fetch(&inside, ipv4, 80, "hostname").is_ok()),
            ("TCP over IPv6", fetch(&inside, ipv6, 80, "hostname").is_ok()),
            ("ICMP", pings(&ipv4.to_string())),
            ("ICMPv6", pings(&ipv6.to_string())),
            ("link-local", pings(&self.link_local())),
            ("a published port", fetch(&inside, self.lan.host_address, 8080, "hostname").is_ok()),
            ("the gateway, IPv4", by_the_gateway(&inside, ipv4)),
            ("the gateway, IPv6", by_the_gateway(&inside, ipv6)),
        ];
        ways.into_iter().filter(|(_, open)| *open).map(|(way, _)| way).collect()
    }

    /// The client reaches the server by all ways, once it has looked anew for whom it could not reach before.
    #[track_caller]
    fn assert_all_ways_are_open(&self) {
        let mut ways = Vec::new();
        let all = within(PATIENCE, || {
            ways = self.ways();
            (ways.len() == 8).then_some(())
        });
        assert!(all.is_some(), "{ways:?}");
    }

    fn others_get_through(&self, when: &str) {
        let from_host = fetch(self.host.namespace(), self.server.ipv4, 80, "hostname");
        from_host.unwrap_or_else(|error| panic!("{when}, from the host: {error}"));
        let from_lan = fetch(&self.lan.namespace, self.lan.host_address, 8080, "hostname");
        from_lan.unwrap_or_else(|error| panic!("{when}, from the LAN by the published port: {error}"));
        let ping = ["ping", "-n", "-c", "1", "-W", "10", &self.lan.address.to_string()];
        let out = self.client.namespace().try_run(&ping);
        assert_eq!(out.code, 0, "{when}, from the client to the LAN\n{out}");
        self.host.ok(&["exec", "client", "nslookup", "server"]);
    }
}

/// Whether an answer comes from a neighbour whom `namespace` seeks behind the gateway, as a program with root rights in
/// a container can.
fn by_the_gateway(namespace: &Namespace, to: IpAddr) -> bool {
    let routes = namespace.run(&["ip", if to.is_ipv4() { "-4" } else { "-6" }, "route", "show", "default"]);
    let gateway = routes.split_whitespace().nth(2).expect("there is a gateway").to_owned();
    namespace.try_run(&["ping", "-n", "-c", "1", "-W", "1", &gateway]);
    let host = if to.is_ipv4() { format!("{to}/32") } else { format!("{to}/128") };
    namespace.run(&["ip", "route", "add", &host, "via", &gateway, "dev", "eth0"]);
    let answered = fetch(namespace, to, 80, "hostname").is_ok();
    namespace.run(&["ip", "route", "del", &host]);
    answered
}

#[test]
fn containers_that_are_kept_apart_reach_everybody_but_each_other() {
    let open = Stage::new(&[]);
    // The control.
    open.assert_all_ways_are_open();
    drop(open);

    let stage = Stage::new(&["--icc=false"]);
    assert_eq!(stage.ways(), Vec::<&str>::new());
    stage.others_get_through("kept apart");
    assert_eq!(stage.host.json(&["network", "inspect", "web"])["icc"], false);
    assert!(stage.host.ok(&["network", "inspect", "web"]).contains("icc"));
    stage.host.assert_healthy();

    // What a person undoes comes back.
    let port =
        stage.host.json(&["inspect", "server"])["endpoints"][0]["id"].as_str().expect("an identifier")[..12].to_owned();
    stage.host.namespace().run(&["bridge", "link", "set", "dev", &format!("fe-{port}"), "isolated", "off"]);
    let isolated = || stage.host.namespace().run(&["bridge", "-d", "link", "show", "dev", &format!("fe-{port}")]);
    eventually("the port is kept apart again", || isolated().contains("isolated on").then_some(()));
    assert_eq!(stage.ways(), Vec::<&str>::new());
}

#[test]
fn who_is_kept_apart_later_is_so_at_once_and_may_be_joined_again() {
    let stage = Stage::new(&["--subnet", "10.9.1.0/24", "--subnet", "10.9.2.0/24"]);
    let echo_server = |name, network, options: &[&str]| {
        let server = stage.host.run(name, network, options, &ECHO);
        let listening = || server.namespace().run(&["ss", "-tlnH", "sport", "=", ":7"]);
        eventually("the echo server listens", || (!listening().is_empty()).then_some(()));
        server
    };
    let echo = echo_server("echo", "web", &["-p", "7000:7"]);
    let far = echo_server("far", "web:ip=10.9.2.9", &[]);
    let inside = stage.client.namespace();
    let between = [
        Flow::start(&inside, &echo.namespace(), echo.ipv4, 7),
        Flow::start(&inside, &echo.namespace(), stage.lan.host_address, 7000),
        Flow::start(&inside, &far.namespace(), far.ipv4, 7),
    ];
    let published = Flow::start(&stage.lan.namespace, &echo.namespace(), stage.lan.host_address, 7000);
    let counts = || between.each_ref().map(Flow::echoed);
    eventually("they talk", || (counts().into_iter().all(|count| count > 20) && published.echoed() > 20).then_some(()));

    stage.host.ok(&["network", "update", "web", "--icc=false"]);
    // Now also by the gateway, to which connections that stand are known.
    inside.run(&["ip", "route", "add", &format!("{}/32", echo.ipv4), "via", &gateway(&inside), "dev", "eth0"]);
    let (stopped, going) = (counts(), published.echoed());
    let goes_on = || counts().iter().zip(&stopped).any(|(now, then)| *now > then + 1).then(counts);
    // One number may have been on its way. The kernel repeats what is not confirmed several times meanwhile.
    let seen = within(Duration::from_secs(3), goes_on);
    assert_eq!(seen, None, "a connection between them goes on, of {stopped:?}");
    inside.run(&["ip", "route", "del", &format!("{}/32", echo.ipv4)]);
    eventually("others go on", || (published.echoed() > going + 50).then_some(()));
    assert_eq!(stage.ways(), Vec::<&str>::new());
    stage.others_get_through("kept apart later");

    stage.host.kill();
    stage.host.start();
    assert_eq!(stage.ways(), Vec::<&str>::new(), "the next daemon knows");
    stage.host.ok(&["network", "update", "web", "--icc"]);
    stage.assert_all_ways_are_open();
    published.finish().assert_nothing_lost();
    drop(between.map(Flow::finish));
    stage.host.assert_healthy();
}

fn gateway(namespace: &Namespace) -> String {
    let routes = namespace.run(&["ip", "route", "show", "default"]);
    routes.split_whitespace().nth(2).expect("there is a gateway").to_owned()
}

/// Frames that whoever has raw sockets sends to the server or to all, in his own name.
fn frames(stage: &Stage) -> Vec<(&'static str, Frame)> {
    let (from, to) = (stage.client.namespace().mac("eth0"), stage.server.namespace().mac("eth0"));
    let network = stage.host.json(&["network", "inspect", "web"])["id"].as_str().expect("an id")[..12].to_owned();
    let gateway = stage.host.namespace().mac(&format!("fb-{network}"));
    let ([own4, own6], [its4, its6]) = (stage.host.addresses("client"), stage.host.addresses("server"));
    let (IpAddr::V4(own), IpAddr::V4(its)) = (own4, its4) else { unreachable!("the first is of IPv4") };
    let everybody = [0x33, 0x33, 0, 0, 0, 1];
    let all_nodes = "ff02::1".parse().expect("literal");
    vec![
        ("UDP", Frame::udp(to, from, [own4, its4], [9, 9])),
        ("UDP over IPv6", Frame::udp(to, from, [own6, its6], [9, 9])),
        ("SYN", Frame::tcp_syn(to, from, [own4, its4], [9, 9])),
        ("broadcast", Frame::udp(Mac::BROADCAST, from, [own4, Ipv4Addr::BROADCAST.into()], [9, 9])),
        ("multicast", Frame::udp(Mac(everybody), from, [own6, all_nodes], [9, 9])),
        ("ARP", Frame::arp(Mac::BROADCAST, from, 1, (from, own), (Mac([0; 6]), its))),
        ("UDP by the gateway", Frame::udp(gateway, from, [own4, its4], [9, 9])),
        ("UDP over IPv6 by the gateway", Frame::udp(gateway, from, [own6, its6], [9, 9])),
    ]
}

#[test]
fn no_frame_of_one_is_heard_by_another() {
    for icc in [true, false] {
        let stage = Stage::new(&[&format!("--icc={icc}")]);
        let (wire, victim) =
            (Wire::open(&stage.client.namespace(), "eth0", ALL), Wire::open(&stage.server.namespace(), "eth0", ALL));
        let own = stage.host.addresses("client").map(|address| match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        });
        let is_own = |heard: &Vec<u8>| own.iter().any(|own| heard.windows(own.len()).any(|octets| octets == own));
        for (name, frame) in frames(&stage) {
            let arrives = || {
                wire.send(&frame);
                victim.frames(Duration::from_millis(300)).iter().any(is_own)
            };
            match icc {
                true => eventually(&format!("the control: {name} is heard"), || arrives().then_some(())),
                false => assert!(!(0..3).any(|_| arrives()), "{name} is heard"),
            }
        }
    }
}

#[test]
fn a_network_on_the_lan_cannot_keep_its_containers_apart() {
    let host = Host::new();
    let _lan = host.lan();
    let refused = host.fabric(&[
        "network",
        "create",
        "lan",
        "--driver",
        "macvlan",
        "--opt",
        "parent=lan0",
        "--subnet",
        "192.0.2.0/24",
        "--icc=false",
    ]);
    assert_ne!(refused.code, 0, "{refused}");
    assert!(refused.stderr.contains("kept apart"), "{refused}");
    assert_eq!(host.ok(&["network", "ls", "-q"]), "");
}
