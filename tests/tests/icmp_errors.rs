//! Errors about a flow (ICMP, ICMPv6) reach whom they are for, from those that can know, and from nobody else.

use std::{
    io::{ErrorKind, Result},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use tests::{ALL, Frame, Host, Lan, Mac, Namespace, PATIENCE, Wire, eventually, within};

const PORT: u16 = 7000;
const PUBLISHED: u16 = 7001;

/// A victim on one network, an attacker on another, and a LAN, all of both families.
struct Scene {
    host: Host,
    lan: std::sync::Arc<Lan>,
    /// The neighbour's addresses on the LAN, of both families.
    outside: [IpAddr; 2],
    /// The host's.
    on_lan: [IpAddr; 2],
    victim: Namespace,
    victims: [IpAddr; 2],
    attacker: Namespace,
    attackers: [IpAddr; 2],
    /// Of the gateway of the attacker's network, and the attacker's own.
    macs: (Mac, Mac),
    wire: Wire,
}

/// Two sockets that have heard of each other, and what each knows of the other's address.
struct Talk {
    client: UdpSocket,
    server: UdpSocket,
    /// Where the server sees the client.
    seen: SocketAddr,
}

impl Scene {
    fn new() -> Self {
        let host = Host::new();
        let lan = host.lan();
        let [lan6, host6] = lan.speak_ipv6(host.namespace());
        host.ok(&["network", "create", "web", "--ipv6"]);
        host.ok(&["network", "create", "other", "--ipv6"]);
        let victim = host.run("victim", "web", &["-p", &format!("{PUBLISHED}:{PORT}/udp")], &["sleep", "1000"]);
        let attacker = host.run("attacker", "other", &[], &["sleep", "1000"]);
        let (victims, attackers) = (host.addresses("victim"), host.addresses("attacker"));
        let (victim, attacker) = (victim.namespace(), attacker.namespace());
        let network = host.json(&["network", "inspect", "other"])["id"].as_str().expect("an id")[..12].to_owned();
        let macs = (host.namespace().mac(&format!("fb-{network}")), attacker.mac("eth0"));
        let wire = Wire::open(&attacker, "eth0", ALL);
        let (outside, on_lan) = ([lan.address.into(), lan6.into()], [lan.host_address.into(), host6.into()]);
        Self { host, lan, outside, on_lan, victim, victims, attacker, attackers, macs, wire }
    }

    /// Sends the host an error from the attacker to the sender of a packet: that its port is not open.
    fn forge(&self, from: SocketAddr, to: SocketAddr) {
        self.forge_as([3, 3], [1, 4], from, to);
    }

    /// The same with other types and codes of ICMP and of ICMPv6.
    fn forge_as(&self, kind: [u8; 2], kind6: [u8; 2], from: SocketAddr, to: SocketAddr) {
        let (gateway, mac) = self.macs;
        let about = Frame::udp(gateway, mac, [from.ip(), to.ip()], [from.port(), to.port()]);
        let quoted = [&[0; 4], about.packet()].concat();
        let mine = self.attackers[usize::from(from.is_ipv6())];
        let frame = match (mine, from.ip()) {
            (IpAddr::V4(mine), IpAddr::V4(to)) => Frame::icmp(gateway, mac, [mine, to], kind, &quoted),
            (IpAddr::V6(mine), IpAddr::V6(to)) => Frame::icmpv6_error(gateway, mac, [mine, to], kind6, &quoted),
            _ => unreachable!("the second of the attacker's addresses is of IPv6"),
        };
        for _ in 0..20 {
            self.wire.send(&frame);
        }
    }
}

fn any(like: IpAddr) -> IpAddr {
    if like.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}

/// A socket that sends there and hears what comes of it.
fn connected(from: &Namespace, to: SocketAddr) -> UdpSocket {
    let socket = from.enter(|| UdpSocket::bind((any(to.ip()), 0)).expect("free"));
    socket.connect(to).expect("there is a route");
    socket.set_read_timeout(Some(Duration::from_millis(500))).expect("not zero");
    socket
}

/// A datagram there and one back.
fn talk(client: &Namespace, server: &Namespace, listen: SocketAddr, to: SocketAddr) -> Talk {
    let server = server.enter(|| UdpSocket::bind(listen).expect("free"));
    server.set_read_timeout(Some(Duration::from_secs(10))).expect("not zero");
    let client = connected(client, to);
    client.send(b"there").expect("nobody has complained");
    let (_, seen) = server.recv_from(&mut [0; 8]).expect("the datagram arrives");
    server.connect(seen).expect("it has just been heard of");
    server.send(b"back").expect("nobody has complained");
    client.set_read_timeout(Some(Duration::from_secs(10))).expect("not zero");
    client.recv(&mut [0; 8]).expect("the answer arrives");
    for socket in [&client, &server] {
        socket.set_read_timeout(Some(Duration::from_millis(500))).expect("not zero");
    }
    Talk { client, server, seen }
}

/// Whether the socket has been told that nobody listens.
fn is_refused(heard: Result<usize>) -> bool {
    heard.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

#[test]
fn nobody_is_told_of_a_flow_by_a_container_of_another_network() {
    let scene = Scene::new();
    let (inside, outside) = (&scene.victim, &scene.lan.namespace);
    let mut flows = Vec::new();
    for family in [0, 1] {
        let (victim, neighbour, host) = (scene.victims[family], scene.outside[family], scene.on_lan[family]);
        // The host knows a packet again as it was at the end that the error comes from.
        let asked = SocketAddr::new(neighbour, PORT);
        let out = talk(inside, outside, asked, asked);
        flows.push(("the victim, who asked outside", out.client, out.seen, asked));
        let (published, asked) = (SocketAddr::new(host, PUBLISHED), SocketAddr::new(victim, PORT));
        let within = talk(outside, inside, asked, published);
        flows.push(("the victim, who was asked", within.server, published, within.seen));
        flows.push(("who asked from outside", within.client, within.seen, asked));
    }
    let told = |(name, socket, from, to): &(_, UdpSocket, SocketAddr, SocketAddr)| {
        scene.forge(*from, *to);
        is_refused(socket.recv(&mut [0; 8])).then_some(format!("{name}, {from} to {to}"))
    };
    assert_eq!(flows.iter().filter_map(told).collect::<Vec<_>>(), Vec::<String>::new());
    scene.host.kill();
    scene.host.namespace().run(&["nft", "delete", "table", "bridge", "fabric"]);
    for flow in &flows {
        let believed = within(PATIENCE, || told(flow));
        assert!(believed.is_some(), "the control: without the rules of ports it is believed: {flow:?}");
    }
    scene.host.start();
    scene.host.assert_healthy();
}

#[test]
fn no_kind_of_error_carries_anything_from_one_network_to_another() {
    let scene = Scene::new();
    let asked = SocketAddr::new(scene.outside[1], PORT);
    let flow = talk(&scene.victim, &scene.lan.namespace, asked, asked);
    let wire = Wire::open(&scene.victim, "eth0", ALL);
    let IpAddr::V6(attacker) = scene.attackers[1] else { unreachable!("the second is of IPv6") };
    let arrives = |kind: u8| {
        scene.forge_as([3, 3], [kind, 0], flow.seen, asked);
        let of_attacker = |frame: &Vec<u8>| frame.windows(16).any(|octets| octets == attacker.octets());
        wire.frames(Duration::from_millis(300)).iter().any(of_attacker)
    };
    // Some are defined (RFC 4443), others are not; conntrack takes all below 128 for errors.
    let kinds = [0, 1, 2, 3, 4, 5, 100, 101, 127];
    assert_eq!(kinds.into_iter().filter(|kind| arrives(*kind)).collect::<Vec<_>>(), Vec::<u8>::new());
    scene.host.kill();
    scene.host.namespace().run(&["nft", "delete", "table", "bridge", "fabric"]);
    for kind in [1, 5, 100, 127] {
        let arrived = within(PATIENCE, || arrives(kind).then_some(()));
        assert!(arrived.is_some(), "the control: without the rules of ports type {kind} arrives");
    }
    scene.host.start();
    scene.host.assert_healthy();
}

#[test]
fn whoever_asks_for_a_port_where_nobody_listens_is_told() {
    let scene = Scene::new();
    let neighbour = scene.host.run("neighbour", "web", &[], &["sleep", "1000"]).namespace();
    for family in [0, 1] {
        let [direct, published] =
            [SocketAddr::new(scene.victims[family], PORT), SocketAddr::new(scene.on_lan[family], PUBLISHED)];
        for (who, namespace, to) in [
            ("a neighbour", &neighbour, direct),
            ("a neighbour, by the published port", &neighbour, published),
            ("the host", scene.host.namespace(), direct),
            ("the LAN", &scene.lan.namespace, published),
            ("another network", &scene.attacker, published),
        ] {
            let socket = connected(namespace, to);
            eventually(&format!("{who} is told by {to}"), || {
                // What was told before is told again here.
                let _ = socket.send(b"?");
                is_refused(socket.recv(&mut [0; 8])).then_some(())
            });
        }
    }
}

#[test]
fn a_router_outside_tells_that_the_way_is_narrow() {
    let scene = Scene::new();
    let lan = &scene.lan.namespace;
    for setting in ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"] {
        lan.run(&["sysctl", "-qw", setting]);
    }
    lan.run(&["ip", "link", "add", "narrow", "mtu", "1300", "type", "veth", "peer", "name", "beyond"]);
    lan.run(&["ip", "link", "set", "beyond", "up"]);
    lan.run(&["ip", "link", "set", "narrow", "up"]);
    for beyond in ["203.0.113.9", "2001:db8:1::9"] {
        lan.run(&["ip", "route", "add", beyond, "dev", "narrow"]);
        let ping = ["ping", "-n", "-M", "do", "-s", "1400", "-c", "1", "-W", "1", beyond];
        eventually("the container hears of it", || {
            let said = scene.victim.try_run(&ping).to_string();
            said.replace(" = ", "=").contains("mtu=1300").then_some(())
        });
    }
}
