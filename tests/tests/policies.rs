//! Policies that are in force: what passes and what does not, in every direction that policies are about.

use std::{
    fs,
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    sync::Arc,
    time::Duration,
};

use tests::{Attached, Flow, Host, Lan, Namespace, PATIENCE, eventually, fetch, within};

const HTTP: [&str; 6] = ["httpd", "-f", "-p", "80", "-h", "/etc"];
const ECHO: [&str; 6] = ["nc", "-ll", "-p", "7", "-e", "cat"];
const SLEEP: [&str; 2] = ["sleep", "1000"];
/// What takes longer to come about is filtered.
const FILTERED: Duration = Duration::from_millis(700);

/// A server with a published port and a client on network `web`, a stranger on network `ops`, and a neighbour of the
/// host.
struct Stage {
    host: Host,
    lan: Arc<Lan>,
    server: Attached,
    /// The server's.
    addresses: [IpAddr; 2],
    client: Attached,
    stranger: Attached,
}

impl Stage {
    fn new() -> Self {
        let host = Host::with_config("upstreams = []");
        let lan = host.lan();
        host.ok(&["network", "create", "web", "--ipv6"]);
        host.ok(&["network", "create", "ops"]);
        let server = host.run("server", "web", &["-p", "8080:80", "-l", "app=server"], &HTTP);
        let client = host.run("client", "web", &["-l", "app=client"], &SLEEP);
        let stranger = host.run("stranger", "ops", &[], &SLEEP);
        let listens = || fetch(&server.namespace(), Ipv4Addr::LOCALHOST, 80, "hostname").ok();
        eventually("the server listens", listens);
        Self { addresses: host.addresses("server"), host, lan, server, client, stranger }
    }

    /// By which ways somebody reaches somebody.
    fn ways(&self) -> Vec<&'static str> {
        let (host, server, client) = (self.host.namespace(), self.server.namespace(), self.client.namespace());
        let [ipv4, ipv6] = self.addresses;
        let gateway = gateway(&client);
        let gets = |from: &Namespace, to: IpAddr, port| fetch(from, to, port, "hostname").is_ok();
        let pings = |to: &str| client.try_run(&["ping", "-n", "-c", "1", "-W", "1", to]).code == 0;
        let published = self.lan.host_address.into();
        let ways = [
            ("TCP over IPv4", gets(&client, ipv4, 80)),
            ("TCP over IPv6", gets(&client, ipv6, 80)),
            ("UDP over IPv4", asks(&client, &server, ipv4, 5353)),
            ("UDP over IPv6", asks(&client, &server, ipv6, 5353)),
            ("ICMP", pings(&ipv4.to_string())),
            ("ICMPv6", pings(&ipv6.to_string())),
            ("link-local", pings(&link_local(&server))),
            ("from the host, IPv4", gets(host, ipv4, 80)),
            ("from the host, IPv6", gets(host, ipv6, 80)),
            ("to the host", connects(&client, host, gateway)),
            ("published, from the LAN", gets(&self.lan.namespace, published, 8080)),
            ("published, from another network", gets(&self.stranger.namespace(), published, 8080)),
            ("published, from the host itself", gets(host, Ipv4Addr::LOCALHOST.into(), 8080)),
            ("out to the LAN", asks(&client, &self.lan.namespace, self.lan.address.into(), 5353)),
        ];
        ways.into_iter().filter(|(_, open)| *open).map(|(way, _)| way).collect()
    }

    #[track_caller]
    fn assert_open(&self, expected: &[&str], when: &str) {
        let mut ways = Vec::new();
        // Who was not found is sought anew after a while, and a ping may be lost where much is going on.
        let fits = within(Duration::from_secs(20), || {
            ways = self.ways();
            (ways == expected).then_some(())
        });
        assert!(fits.is_some(), "{when}: open are {ways:#?}\ninstead of {expected:#?}\n{}", self.host.log_tail());
    }

    #[track_caller]
    fn apply(&self, policies: &str) -> String {
        apply(&self.host, policies)
    }
}

#[track_caller]
fn apply(host: &Host, policies: &str) -> String {
    let file = host.path("policies.yaml");
    fs::write(&file, policies).expect("the directory is ours");
    host.ok(&["policy", "apply", "-f", &file.to_string_lossy()])
}

fn gateway(namespace: &Namespace) -> IpAddr {
    let routes = namespace.run(&["ip", "-4", "route", "show", "default"]);
    routes.split_whitespace().nth(2).expect("there is a gateway").parse().expect("an address")
}

fn link_local(namespace: &Namespace) -> String {
    let address = || {
        let shown = namespace.run(&["ip", "-6", "-o", "address", "show", "dev", "eth0", "scope", "link"]);
        shown.split_whitespace().find_map(|word| word.strip_suffix("/64").map(str::to_owned))
    };
    format!("{}%eth0", eventually("it has one", address))
}

/// Whether a datagram comes to a socket, and an answer back.
fn asks(from: &Namespace, to: &Namespace, address: IpAddr, port: u16) -> bool {
    let server = to.enter(|| UdpSocket::bind((address, port)).expect("free"));
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { [0; 16].into() };
    let client = from.enter(|| UdpSocket::bind((any, 0)).expect("free"));
    for socket in [&server, &client] {
        socket.set_read_timeout(Some(FILTERED)).expect("not zero");
    }
    let talk = || {
        client.send_to(b"?", (address, port)).ok()?;
        let (_, asker) = server.recv_from(&mut [0; 8]).ok()?;
        server.send_to(b"!", asker).ok()?;
        client.recv_from(&mut [0; 8]).ok()
    };
    talk().is_some()
}

/// Whether a connection comes about.
fn connects(from: &Namespace, to: &Namespace, address: IpAddr) -> bool {
    let listener = to.enter(|| TcpListener::bind((address, 9000)).expect("free"));
    let at = listener.local_addr().expect("it is bound");
    from.enter(|| TcpStream::connect_timeout(&at, FILTERED).is_ok())
}

const ALL_WAYS: [&str; 14] = [
    "TCP over IPv4",
    "TCP over IPv6",
    "UDP over IPv4",
    "UDP over IPv6",
    "ICMP",
    "ICMPv6",
    "link-local",
    "from the host, IPv4",
    "from the host, IPv6",
    "to the host",
    "published, from the LAN",
    "published, from another network",
    "published, from the host itself",
    "out to the LAN",
];

fn stance(ingress: &str, egress: &str) -> String {
    format!(
        "{{apiVersion: fabric/v1, kind: Stance, metadata: {{name: closed}}, networks: [web], ingress: {ingress}, \
         egress: {egress}}}\n---\n"
    )
}

/// Whether the kernel has the table of policies.
fn has_table(host: &Host) -> bool {
    host.namespace().run(&["nft", "list", "tables"]).contains("table inet fabric-policy")
}

#[test]
fn every_direction_is_judged_and_what_is_taken_out_of_force_no_longer() {
    let stage = Stage::new();
    stage.assert_open(&ALL_WAYS, "without policies");
    assert!(!has_table(&stage.host));

    let told = stage.apply(&stance("deny", "allow"));
    assert_eq!(told, "Stance closed created");
    stage.assert_open(&["to the host", "out to the LAN"], "nothing comes in");
    stage.host.assert_healthy();

    assert_eq!(stage.apply(&stance("allow", "deny")), "Stance closed changed");
    let into = &ALL_WAYS[7..];
    let expected: Vec<&str> =
        into.iter().copied().filter(|way| !["to the host", "out to the LAN"].contains(way)).collect();
    stage.assert_open(&expected, "nothing goes out");
    assert_eq!(stage.apply(&stance("allow", "deny")), "Stance closed unchanged");

    let by_port = "{apiVersion: fabric/v1, kind: Policy, metadata: {name: http}, networks: [web], subject: \
                   {labels: {app: server}}, ingress: [{action: allow, from: [{labels: {app: client}}], ports: [80]}]}\n";
    stage.apply(&format!("{}{by_port}", stance("deny", "allow")));
    stage.assert_open(
        &["TCP over IPv4", "TCP over IPv6", "to the host", "out to the LAN"],
        "from the client, by a port",
    );

    // By who it is, not by the host's address that it came to.
    let lan = stage.lan.address;
    let by_address = format!(
        "{{apiVersion: fabric/v1, kind: Policy, metadata: {{name: http}}, networks: [web], ingress: [{{action: allow, \
         from: [{{cidr: {lan}/32}}], ports: [80]}}]}}\n"
    );
    stage.apply(&by_address);
    stage.assert_open(&["to the host", "published, from the LAN", "out to the LAN"], "from the LAN");

    let kubernetes = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: server, namespace: web}\n\
                      spec:\n  podSelector: {matchLabels: {app: server}}\n  ingress:\n  - from: [{podSelector: \
                      {matchLabels: {app: client}}}]\n    ports: [{port: 5353, protocol: UDP}]\n";
    stage.host.ok(&["policy", "rm", "closed", "http"]);
    assert_eq!(stage.apply(kubernetes), "NetworkPolicy web/server created");
    let expected = ALL_WAYS.into_iter().filter(|way| {
        ["UDP", "from the host,", "to the host", "published, from the host", "out"]
            .iter()
            .any(|open| way.starts_with(open))
    });
    let expected: Vec<&str> = expected.collect();
    stage.assert_open(&expected, "what Kubernetes lets in");

    stage.host.ok(&["policy", "rm", "web/server"]);
    stage.assert_open(&ALL_WAYS, "no policies any more");
    assert!(!has_table(&stage.host));
    stage.host.assert_healthy();
}

#[test]
fn enforcement_stands_without_the_daemon_and_is_left_alone_by_the_next_one() {
    let stage = Stage::new();
    stage.apply(&stance("deny", "allow"));
    let open = ["to the host", "out to the LAN"];
    stage.assert_open(&open, "nothing comes in");
    // Every object has a number, which another that takes its place has not.
    let objects = || stage.host.namespace().run(&["nft", "-a", "list", "table", "inet", "fabric-policy"]);
    let before = objects();
    stage.host.kill();
    stage.assert_open(&open, "netd is dead");
    stage.host.start();
    stage.assert_open(&open, "the next one");
    assert_eq!(before, objects(), "nothing is put in place anew");
    assert!(stage.host.ok(&["policy", "ls"]).contains("closed"));
    stage.host.assert_healthy();
}

#[test]
fn who_comes_has_the_policy_before_the_first_packet() {
    let stage = Stage::new();
    let address = stage.server.ipv4.to_string();
    let sends = ["timeout", "1", "nslookup", "somebody", &address];
    let receiver = stage.server.namespace().enter(|| UdpSocket::bind((stage.server.ipv4, 53)).expect("free"));
    receiver.set_read_timeout(Some(Duration::from_millis(300))).expect("not zero");
    // All of them, so that none is left for the next.
    let received = || std::iter::from_fn(|| receiver.recv(&mut [0; 64]).ok()).count() > 0;
    let run = || stage.host.fabric(&[&["run", "--rm", "--network", "web", "busybox"], &sends[..]].concat());
    run();
    assert!(received(), "control: it sends at once");
    stage.apply(&stance("deny", "allow"));
    for _ in 0..5 {
        run();
        assert!(!received(), "somebody spoke before the policy did");
    }
    // What waits for its network is in force from the first moment on, too.
    let other = stance("deny", "allow").replace("closed", "later").replace("[web]", "[later]");
    stage.apply(&other);
    let listed = stage.host.ok(&["policy", "ls"]);
    assert!(listed.contains("pending: later"), "{listed}");
    stage.host.ok(&["network", "create", "later"]);
    let server = stage.host.run("late", "later", &[], &HTTP);
    let client = stage.host.run("early", "later", &[], &SLEEP);
    eventually("it listens", || fetch(&server.namespace(), Ipv4Addr::LOCALHOST, 80, "hostname").ok());
    assert!(fetch(&client.namespace(), server.ipv4, 80, "hostname").is_err());
    assert!(!stage.host.ok(&["policy", "ls"]).contains("pending"));
    stage.host.assert_healthy();
}

#[test]
fn what_is_forbidden_is_cut_at_once_and_what_is_not_loses_nothing() {
    let stage = Stage::new();
    let echo_server = |name: &str| {
        let server = stage.host.run(name, "web", &["-l", &format!("app={name}")], &ECHO);
        let listening = || server.namespace().run(&["ss", "-tlnH", "sport", "=", ":7"]);
        eventually("it listens", || (!listening().is_empty()).then_some(()));
        server
    };
    let (kept, cut) = (echo_server("kept"), echo_server("cut"));
    let rule = |subject: &str, action: &str| {
        format!(
            "{{apiVersion: fabric/v1, kind: Policy, metadata: {{name: {subject}}}, networks: [web], subject: {{labels: \
             {{app: {subject}}}}}, ingress: [{{action: {action}, from: [{{labels: {{app: client}}}}], ports: [7]}}]}}\n---\n"
        )
    };
    stage.apply(&format!("{}{}{}", stance("deny", "allow"), rule("kept", "allow"), rule("cut", "allow")));
    let inside = stage.client.namespace();
    let going = Flow::start(&inside, &kept.namespace(), kept.ipv4, 7);
    let ending = Flow::start(&inside, &cut.namespace(), cut.ipv4, 7);
    eventually("they talk", || (going.echoed() > 20 && ending.echoed() > 20).then_some(()));
    // Something else changes.
    for number in 0..5 {
        stage.apply(&rule(&format!("other{number}"), "deny"));
    }
    let count = ending.echoed();
    eventually("both go on", || (ending.echoed() > count + 20).then_some(()));

    stage.apply(&rule("cut", "deny"));
    let stopped = ending.echoed();
    let seen = within(Duration::from_secs(3), || (ending.echoed() > stopped + 1).then(|| ending.echoed()));
    assert_eq!(seen, None, "it goes on, of {stopped}");
    let count = going.echoed();
    eventually("the other goes on", || (going.echoed() > count + 50).then_some(()));
    // Who is told by its name is somebody else under another.
    let named = "{apiVersion: fabric/v1, kind: Policy, metadata: {name: named}, networks: [web], tier: 1, subject: \
                 {names: [renamed]}, ingress: [{action: deny}]}";
    stage.apply(named);
    let count = going.echoed();
    eventually("it goes on", || (going.echoed() > count + 50).then_some(()));
    going.finish().assert_nothing_lost();
    let again = Flow::start(&inside, &kept.namespace(), kept.ipv4, 7);
    stage.host.ok(&["rename", "kept", "renamed"]);
    let stopped = again.echoed();
    let seen = within(Duration::from_secs(3), || (again.echoed() > stopped + 1).then(|| again.echoed()));
    assert_eq!(seen, None, "it goes on, of {stopped}");
    drop((ending, again));
    stage.host.assert_healthy();
}

#[test]
fn connections_from_before_the_first_policy_go_on_where_it_allows_them_and_nowhere_else() {
    let stage = Stage::new();
    let (server, client) = (stage.server.namespace(), stage.client.namespace());
    // Both go past the bridge: who opened them is told by who listens, and of the second by its ports.
    let flow = |port: u16| {
        let listener = server.enter(|| TcpListener::bind((stage.server.ipv4, port)).expect("free"));
        let to = listener.local_addr().expect("it is bound");
        let opened = client.enter(|| TcpStream::connect_timeout(&to, FILTERED).expect("nothing forbids it"));
        let (accepted, _) = listener.accept().expect("a client came");
        for stream in [&opened, &accepted] {
            stream.set_read_timeout(Some(Duration::from_secs(2))).expect("not zero");
        }
        (listener, opened, accepted)
    };
    let says =
        |mut from: &TcpStream, mut to: &TcpStream| from.write_all(b"?").is_ok() && to.read_exact(&mut [0; 1]).is_ok();
    let (_listens, kept, kept_there) = flow(7001);
    let (closed, alone, alone_there) = flow(7002);
    let (_listens_too, cut, cut_there) = flow(7003);
    drop(closed);
    for (one, other) in [(&kept, &kept_there), (&alone, &alone_there), (&cut, &cut_there)] {
        assert!(says(one, other) && says(other, one), "control");
    }
    let rule = "{apiVersion: fabric/v1, kind: Policy, metadata: {name: some}, networks: [web], subject: {labels: {app: \
                server}}, ingress: [{action: allow, from: [{labels: {app: client}}], ports: [7001, 7002]}]}\n";
    stage.apply(&format!("{}{rule}", stance("deny", "allow")));
    // Whoever speaks first.
    assert!(says(&kept_there, &kept) && says(&kept, &kept_there), "it is allowed");
    assert!(says(&alone_there, &alone) && says(&alone, &alone_there), "it is allowed");
    assert!(!says(&cut_there, &cut) && !says(&cut, &cut_there), "it is not");
    // Another change leaves them alone.
    stage.apply(&rule.replace("name: some", "name: other"));
    assert!(says(&kept_there, &kept) && says(&kept, &kept_there));
    stage.host.ok(&["policy", "rm", "some", "other"]);
    assert!(!says(&kept_there, &kept) && !says(&kept, &kept_there), "it was allowed");
    stage.host.assert_healthy();
}

#[test]
fn what_others_do_to_the_table_is_put_back() {
    let stage = Stage::new();
    stage.apply(&stance("deny", "allow"));
    let open = ["to the host", "out to the LAN"];
    stage.assert_open(&open, "nothing comes in");
    let listing = || stage.host.namespace().run(&["nft", "list", "table", "inet", "fabric-policy"]);
    let before = sorted(&listing());
    let server = stage.server.ipv4;
    for damage in [
        "flush ruleset".to_owned(),
        "delete table inet fabric-policy".to_owned(),
        "flush chain inet fabric-policy ingress_forward".to_owned(),
        format!("delete element inet fabric-policy judged_ingress4 {{ {server} }}"),
        "add element inet fabric-policy judged_ingress4 { 192.0.2.77 }".to_owned(),
    ] {
        stage.host.namespace().run(&["nft", &damage]);
        let mut now = Vec::new();
        let is_back = within(PATIENCE, || {
            now = sorted(&stage.host.namespace().try_run(&["nft", "list", "table", "inet", "fabric-policy"]).stdout);
            (now == before).then_some(())
        });
        assert!(is_back.is_some(), "{damage}: it is put back, and not {now:#?}\ninstead of {before:#?}");
    }
    stage.assert_open(&open, "all is put back");
    stage.host.assert_healthy();
}

/// The lines of a listing in no order, and the elements of each.
fn sorted(listing: &str) -> Vec<String> {
    let mut words: Vec<String> = listing
        .split([',', '\n', '{', '}'])
        .map(|word| word.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    // What the table says of itself differs with the order in which it came to be.
    words.retain(|word| !word.is_empty() && !word.starts_with("0x"));
    words.sort();
    words
}
