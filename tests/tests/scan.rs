//! A neighbour on the LAN that knows the way to the containers' subnets knocks at every port there is.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

use tests::{Frame, Host, Mac, Namespace, RecordType, Wire, ask_within, eventually};

const EVERY_PORT: std::ops::RangeInclusive<u16> = 1..=u16::MAX;
/// Ports that something in the container listens on, the first of which is published to all and the second to the
/// host's loopback.
const LISTENING: [u16; 4] = [80, 90, 22, 65535];
const PUBLISHED: u16 = 8080;
const ON_LOOPBACK: u16 = 8081;

/// What came back from a port.
#[derive(Debug, Default, PartialEq, Eq)]
struct Answers {
    /// Ports that took the connection.
    open: BTreeSet<u16>,
    /// Ports that refused it, and so told that somebody is there.
    closed: BTreeSet<u16>,
}

/// Knocks from the LAN, octet by octet, straight at the host's MAC address.
struct Scanner {
    wire: Wire,
    to: Mac,
    from: Mac,
    source: IpAddr,
}

impl Scanner {
    fn new(host: &Host, lan: &Namespace, source: IpAddr) -> Self {
        // Of one protocol: what it sends itself it does not hear.
        let wire = Wire::open(lan, "eth0", if source.is_ipv4() { 0x0800 } else { 0x86dd });
        Self { wire, to: host.namespace().mac("lan0"), from: lan.mac("eth0"), source }
    }

    fn knock(&self, target: IpAddr, ports: impl IntoIterator<Item = u16>) -> Answers {
        const SOURCE_PORT: u16 = 40000;
        let mut answers = Answers::default();
        let mut listen = |quiet| {
            for frame in self.wire.frames(quiet) {
                let (header, next) = if self.source.is_ipv4() { (14 + 20, 14 + 9) } else { (14 + 40, 14 + 6) };
                let Some(segment) = frame.get(header..header + 14).filter(|_| frame[next] == 6) else { continue };
                let number = |at: usize| u16::from_be_bytes([segment[at], segment[at + 1]]);
                // SYN with ACK, or RST.
                match segment[13] & 0b10110 {
                    _ if number(2) != SOURCE_PORT => false,
                    0b10010 => answers.open.insert(number(0)),
                    _ => answers.closed.insert(number(0)),
                };
            }
        };
        for (sent, port) in ports.into_iter().enumerate() {
            let addresses = [self.source, target];
            self.wire.send(&Frame::tcp_syn(self.to, self.from, addresses, [SOURCE_PORT, port]));
            // The socket's buffer holds some two hundred.
            if sent % 64 == 0 {
                listen(Duration::from_micros(100));
            }
        }
        listen(Duration::from_millis(300));
        answers
    }
}

struct Scene {
    host: Host,
    lan: Namespace,
    scanners: [Scanner; 2],
    /// The container's addresses, of both families.
    container: [IpAddr; 2],
    /// The host's on the LAN.
    on_lan: [IpAddr; 2],
    _listeners: Vec<TcpListener>,
    server: UdpSocket,
}

impl Scene {
    fn new() -> Self {
        let host = Host::new();
        let lan = host.lan();
        let [lan6, host6] = lan.speak_ipv6(host.namespace());
        host.ok(&["network", "create", "web", "--ipv6"]);
        let [all, loopback] = [format!("{PUBLISHED}:80"), format!("127.0.0.1:{ON_LOOPBACK}:90")];
        let inside = host.run("api", "web", &["-p", &all, "-p", &loopback], &["sleep", "1000"]).namespace();
        let container = host.addresses("api");
        let listen = |port| inside.enter(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).expect("free"));
        let server = inside.enter(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 53)).expect("free"));
        server.set_read_timeout(Some(Duration::from_millis(300))).expect("not zero");
        let scanner = |source| Scanner::new(&host, &lan.namespace, source);
        Self {
            scanners: [scanner(lan.address.into()), scanner(lan6.into())],
            container,
            on_lan: [lan.host_address.into(), host6.into()],
            _listeners: LISTENING.map(listen).into(),
            server,
            lan: lan.namespace.clone(),
            host,
        }
    }

    fn each(&self) -> impl Iterator<Item = (&Scanner, IpAddr)> {
        self.scanners.iter().zip(self.container)
    }

    /// Whether a datagram from the LAN gets to the container, and whether an echo request is answered. Soon, so that
    /// `false` does not take long: what is to be true is tried again.
    fn others(&self, target: IpAddr) -> [bool; 2] {
        let any: IpAddr = if target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let client = self.lan.enter(|| UdpSocket::bind((any, 0)).expect("free"));
        client.send_to(b"?", (target, 53)).expect("there is a route");
        let ping = ["ping", "-n", "-c", "1", "-W", "1", &target.to_string()];
        [self.server.recv(&mut [0; 8]).is_ok(), self.lan.try_run(&ping).code == 0]
    }
}

#[test]
fn a_container_answers_nobody_who_was_not_invited() {
    let scene = Scene::new();
    for (scanner, target) in scene.each() {
        assert_eq!(scanner.knock(target, EVERY_PORT), Answers::default(), "{target}");
        assert_eq!(scene.others(target), [false; 2], "UDP, ping to {target}");
    }
    scene.host.kill();
    scene.host.namespace().run(&["nft", "delete", "table", "inet", "fabric"]);
    for (scanner, target) in scene.each() {
        // A full buffer loses some.
        let mut told = Answers::default();
        eventually("the control: every port answers without the rules", || {
            let silent = EVERY_PORT.filter(|port| !told.open.contains(port) && !told.closed.contains(port));
            let more = scanner.knock(target, silent.collect::<Vec<_>>());
            told.open.extend(more.open);
            told.closed.extend(more.closed);
            (told.open.len() + told.closed.len() == EVERY_PORT.len()).then_some(())
        });
        assert_eq!(told.open, BTreeSet::from(LISTENING), "{target}");
        let reached = || (scene.others(target) == [true; 2]).then_some(());
        eventually(&format!("the control: UDP, ping to {target}"), reached);
    }
    scene.host.start();
    for (scanner, target) in scene.each() {
        assert_eq!(scanner.knock(target, LISTENING), Answers::default(), "{target}");
    }
    scene.host.assert_healthy();
}

#[test]
fn the_host_answers_on_what_was_published_to_the_lan() {
    let scene = Scene::new();
    for (scanner, target) in scene.scanners.iter().zip(scene.on_lan) {
        let told = scanner.knock(target, 8000..9000);
        assert_eq!(told.open, BTreeSet::from([PUBLISHED]), "{target}");
        assert!(told.closed.contains(&ON_LOOPBACK), "the control: the others are refused by the host itself");
    }
    // Not by the host's other addresses either.
    let [v4, v6] = &scene.scanners;
    let loopback = [(v4, IpAddr::from(Ipv4Addr::LOCALHOST)), (v6, Ipv6Addr::LOCALHOST.into())];
    for (scanner, target) in loopback {
        assert_eq!(scanner.knock(target, [PUBLISHED, ON_LOOPBACK]), Answers::default(), "{target}");
    }
}

/// The DNS server of a network listens at its gateway's address, which is the host's.
#[test]
fn names_are_told_to_nobody_on_the_lan() {
    const DNS: u16 = 53;
    let scene = Scene::new();
    let shown = scene.host.json(&["network", "inspect", "web"]);
    let gateway = |at: usize| shown["subnets"][at]["gateway"].as_str().expect("both families").parse::<IpAddr>();
    let gateways = [0, 1].map(|at| gateway(at).expect("an address"));
    let inside = scene.host.attached("api").namespace();
    let asked = |namespace: &Namespace, gateway| {
        let to = SocketAddr::new(gateway, DNS);
        let by_tcp = namespace.enter(|| TcpStream::connect_timeout(&to, Duration::from_millis(500)));
        let by_udp = ask_within(Duration::from_secs(2), namespace, to, "api", RecordType::A);
        [by_udp.is_ok(), by_tcp.is_ok()]
    };
    let refused = |scanner: &Scanner, gateway: IpAddr| {
        assert_eq!(scanner.knock(gateway, [DNS]), Answers::default(), "{gateway}");
        assert_eq!(asked(&scene.lan, gateway), [false; 2], "the LAN asks {gateway} by UDP, TCP");
    };
    for (scanner, gateway) in scene.scanners.iter().zip(gateways) {
        refused(scanner, gateway);
        for (who, namespace) in [("the container", &inside), ("the host", scene.host.namespace())] {
            let answered = || (asked(namespace, gateway) == [true; 2]).then_some(());
            eventually(&format!("{who} asks {gateway} by UDP, TCP"), answered);
        }
    }
    scene.host.kill();
    scene.host.spawn(scene.host.netd_command().env("NETD_HANDS_OFF", "1"));
    scene.host.wait_until_ready();
    for set in ["gateways", "gateways6"] {
        scene.host.namespace().run(&["nft", "flush", "set", "inet", "fabric", set]);
    }
    for (scanner, gateway) in scene.scanners.iter().zip(gateways) {
        let open = scanner.knock(gateway, [DNS]).open;
        assert_eq!(open, BTreeSet::from([DNS]), "the control: without the addresses there is an answer at {gateway}");
    }
    scene.host.restart();
    for (scanner, gateway) in scene.scanners.iter().zip(gateways) {
        refused(scanner, gateway);
    }
    scene.host.assert_healthy();
}
