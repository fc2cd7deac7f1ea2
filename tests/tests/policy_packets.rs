//! Packets that were made to get past policies: in pieces, behind other headers, in somebody else's name. Each arrives
//! where the rule that it is held against is not there.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::OwnedFd,
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with},
};
use tests::{
    ALL, Attached, Frame, Host, Mac, Wire, eventually,
    sctp::{self, COOKIE_ACK, COOKIE_ECHO, DATA, INIT, INIT_ACK},
    within,
};

const SLEEP: [&str; 2] = ["sleep", "1000"];
/// What takes longer to come is dropped.
const FILTERED: Duration = Duration::from_millis(500);
const OPEN: u16 = 7000;
const DENIED: u16 = 7001;
const OWN: u16 = 4000;
/// Protocols, and headers of IPv6 (RFC 8200 §4).
const TCP: u8 = 6;
const UDP: u8 = 17;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;

/// A server, and others on its network, some of which make frames of their own.
struct Stage {
    host: Host,
    server: Attached,
    client: Attached,
    stranger: Attached,
    /// Of each, IPv4 and IPv6.
    addresses: BTreeMap<&'static str, [IpAddr; 2]>,
}

/// Frames that are one attempt, known by the port that they come from.
struct Attempt {
    name: String,
    own: u16,
    frames: Vec<Frame>,
}

impl Stage {
    fn new() -> Self {
        let host = Host::with_config("upstreams = []");
        host.ok(&["network", "create", "web", "--ipv6"]);
        let names = ["server", "client", "stranger"];
        let [server, client, stranger] = names.map(|name| host.run(name, "web", &[], &SLEEP));
        let addresses = names.map(|name| (name, host.addresses(name))).into();
        Self { host, server, client, stranger, addresses }
    }

    /// Puts these rules about what comes to the server in force.
    #[track_caller]
    fn apply(&self, rules: &str) {
        let file = self.host.path("policies.yaml");
        let policy = format!(
            "{{apiVersion: fabric/v1, kind: Policy, metadata: {{name: server}}, networks: [web], subject: {{names: \
             [server]}}, ingress: [{rules}]}}"
        );
        std::fs::write(&file, policy).expect("the directory is ours");
        self.host.ok(&["policy", "apply", "-f", &file.to_string_lossy()]);
    }

    /// Takes a table away, which stays away for want of a daemon.
    fn without(&self, table: &str) {
        self.host.namespace().run(&["nft", &format!("delete table {table}")]);
    }

    /// Addresses of a sender and of the server, of one family.
    fn pair(&self, from: &str, family: usize) -> [IpAddr; 2] {
        [self.addresses[from][family], self.addresses["server"][family]]
    }

    fn listen(&self, port: u16) -> (Vec<UdpSocket>, Vec<TcpListener>) {
        let bind = |address: IpAddr| {
            let socket = UdpSocket::bind((address, port)).expect("free");
            socket.set_read_timeout(Some(FILTERED)).expect("not zero");
            (socket, TcpListener::bind((address, port)).expect("free"))
        };
        self.server.namespace().enter(|| self.addresses["server"].map(bind).into_iter().unzip())
    }
}

/// Begins a connection from one of several addresses.
fn dial(from: IpAddr, to: SocketAddr) -> rustix::io::Result<OwnedFd> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    bind(&socket, &SocketAddr::new(from, 0))?;
    match connect(&socket, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error),
    }
}

fn mac(of: &Attached) -> Mac {
    of.namespace().mac("eth0")
}

/// What a frame carries behind the header of IP.
fn segment(frame: &Frame, address: IpAddr) -> Vec<u8> {
    frame.packet()[if address.is_ipv4() { 20 } else { 40 }..].to_vec()
}

/// Every way to say something to a port so that it is not where one looks for it. Each protocol and port has another
/// source port, so that none is answered in another's place.
fn attempts([to, from]: [Mac; 2], pairs: [[IpAddr; 2]; 2], port: u16) -> Vec<Attempt> {
    let mut attempts = Vec::new();
    let mut own = OWN;
    for [source, target] in pairs {
        for protocol in [UDP, TCP] {
            let mut add = |name: &str, make: &dyn Fn(u16, &[u8]) -> Vec<Frame>| {
                own += 1;
                let whole = match protocol {
                    UDP => Frame::udp(to, from, [source, target], [own, port]),
                    _ => Frame::tcp_syn(to, from, [source, target], [own, port]),
                };
                let frames = make(own, &segment(&whole, source));
                attempts.push(Attempt { name: format!("{name}, {protocol} to {target}"), own, frames });
            };
            match [source, target] {
                [IpAddr::V4(source), IpAddr::V4(target)] => {
                    let piece = |number: u16, content: &[u8], offset: u16, more: bool| {
                        let packet = Frame::ipv4(to, from, [source, target], protocol, content);
                        packet.fragment(offset, more).numbered(number)
                    };
                    add("whole", &|number, all| vec![piece(number, all, 0, false)]);
                    add("two fragments", &|number, all| {
                        vec![piece(number, &all[..8], 0, true), piece(number, &all[8..], 1, false)]
                    });
                    add("the later fragment first", &|number, all| {
                        vec![piece(number, &all[8..], 1, false), piece(number, &all[..8], 0, true)]
                    });
                    add("one fragment twice", &|number, all| {
                        let first = piece(number, &all[..8], 0, true);
                        vec![first.clone(), first, piece(number, &all[8..], 1, false)]
                    });
                }
                [IpAddr::V6(source), IpAddr::V6(target)] => {
                    let packet =
                        |next: u8, content: &[&[u8]]| Frame::ipv6(to, from, [source, target], next, &content.concat());
                    // Six octets of padding (RFC 8200 §4.2).
                    let options = [protocol, 0, 1, 4, 0, 0, 0, 0];
                    add("whole", &|_, all| vec![packet(protocol, &[all])]);
                    add("hop-by-hop options", &|_, all| vec![packet(HOP_BY_HOP, &[&options, all])]);
                    add("destination options", &|_, all| vec![packet(DESTINATION, &[&options, all])]);
                    add("options upon options", &|_, all| {
                        let leads = |next: u8| [next, 0, 1, 4, 0, 0, 0, 0];
                        vec![packet(HOP_BY_HOP, &[&leads(DESTINATION), &leads(DESTINATION), &options, all])]
                    });
                    // Of a type that nobody knows, with no segments left (§4.4).
                    add("a routing header", &|_, all| vec![packet(ROUTING, &[&[protocol, 0, 9, 0, 0, 0, 0, 0], all])]);
                    let part = |next: u8, number: u16, content: &[u8], offset: u16, more: bool| {
                        let [high, low] = (offset << 3 | u16::from(more)).to_be_bytes();
                        let [first, second] = number.to_be_bytes();
                        packet(FRAGMENT, &[&[next, 0, high, low, 0, 0, first, second], content])
                    };
                    add("an atomic fragment", &|number, all| vec![part(protocol, number, all, 0, false)]);
                    let halves = if protocol == UDP { "two fragments" } else { "headers in two fragments" };
                    add(halves, &|number, all| {
                        vec![part(protocol, number, &all[..8], 0, true), part(protocol, number, &all[8..], 1, false)]
                    });
                    add("headers in two fragments, of options", &|number, all| {
                        vec![part(DESTINATION, number, &options, 0, true), part(DESTINATION, number, all, 1, false)]
                    });
                }
                _ => unreachable!("of two families"),
            }
        }
    }
    attempts
}

/// Which of them the server's programs heard of: it took the datagram, or answers the segment.
fn heard(stage: &Stage, sender: &Attached, port: u16, attempts: Vec<Attempt>) -> Vec<(String, bool)> {
    let (datagrams, _listeners) = stage.listen(port);
    let (wire, seen) =
        (Wire::open(&sender.namespace(), "eth0", ALL), Wire::open(&stage.server.namespace(), "eth0", ALL));
    attempts.iter().flat_map(|attempt| &attempt.frames).for_each(|frame| wire.send(frame));
    let asked_by = |frame: Vec<u8>| {
        let at = if frame[12] == 8 { 34 } else { 54 };
        let protocol = *frame.get(if at == 34 { 23 } else { 20 })?;
        let number = |at: usize| Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]));
        // SYN and ACK, from the server's port.
        let is_answer = protocol == TCP && number(at)? == port && *frame.get(at + 13)? == 0x12;
        number(at + 2).filter(|_| is_answer)
    };
    let mut taken: BTreeSet<u16> = seen.frames(FILTERED).into_iter().filter_map(asked_by).collect();
    for socket in &datagrams {
        socket.set_nonblocking(true).expect("it can");
        taken.extend(std::iter::from_fn(|| Some(socket.recv_from(&mut [0; 16]).ok()?.1.port())));
    }
    attempts.into_iter().map(|attempt| (attempt.name, taken.contains(&attempt.own))).collect()
}

#[test]
fn a_port_is_denied_in_whatever_pieces_and_behind_whatever_headers() {
    let stage = Stage::new();
    let ends = [mac(&stage.server), mac(&stage.client)];
    let pairs = [0, 1].map(|family| stage.pair("client", family));
    let of = |port: u16| heard(&stage, &stage.client, port, attempts(ends, pairs, port));
    stage.host.kill();
    stage.without("bridge fabric");
    // Linux itself takes no first fragment that ends within the headers (RFC 8200 §4.5): as good as dropped.
    let is_taken = |name: &str| !name.starts_with("headers in two fragments");
    let unheard = |told: Vec<(String, bool)>| -> Vec<(String, bool)> {
        told.into_iter().filter(|(name, is_heard)| is_taken(name) != *is_heard).collect()
    };
    assert_eq!(unheard(of(DENIED)), [], "the control");
    stage.host.start();
    stage.apply(&format!("{{action: deny, ports: [{DENIED}, {DENIED}/udp]}}"));
    let assert_stands = |by: &str| {
        let told: Vec<_> = of(DENIED).into_iter().filter(|(_, is_heard)| *is_heard).collect();
        assert_eq!(told, [], "{by}");
    };
    assert_stands("with the ports' own rules");
    assert_eq!(unheard(of(OPEN)), [], "another port is open");
    stage.host.kill();
    stage.without("bridge fabric");
    assert_stands("by the policy alone");
    assert_eq!(unheard(of(OPEN)), [], "another port is open");
}

#[test]
fn nobody_passes_a_policy_by_an_address_of_somebody_else() {
    let stage = Stage::new();
    stage.apply("{action: allow, from: [{names: [client]}], order: 1}, {action: deny}");
    let (datagrams, _listeners) = stage.listen(OPEN);
    let wire = Wire::open(&stage.stranger.namespace(), "eth0", ALL);
    let arrives = |family: usize, name: &str, from: Mac| {
        let frame = Frame::udp(mac(&stage.server), from, stage.pair(name, family), [OWN, OPEN]);
        wire.send(&frame);
        datagrams[family].recv(&mut [0; 16]).is_ok()
    };
    let all = |name: &str| {
        let [own, theirs] = [mac(&stage.stranger), mac(&stage.client)];
        [0, 1].map(|family| [arrives(family, name, own), arrives(family, name, theirs)])
    };
    assert_eq!(all("stranger"), [[false; 2]; 2], "it is denied");
    assert_eq!(all("client"), [[false; 2]; 2], "it is not the client");
    stage.host.kill();
    stage.without("bridge fabric");
    assert_eq!(all("stranger"), [[false; 2]; 2], "it is denied by its address");
    assert_eq!(all("client"), [[true; 2]; 2], "the control: without the ports' rules it passes for the client");
}

#[test]
fn datagrams_and_associations_that_are_open_are_cut_at_once() {
    let stage = Stage::new();
    // Judged from the first packet on.
    stage.apply("{action: deny, from: [{names: [stranger]}]}");
    let (datagrams, _listeners) = stage.listen(OPEN);
    let clients = [0, 1].map(|family| {
        let [own, to] = stage.pair("client", family);
        let socket = stage.client.namespace().enter(|| UdpSocket::bind((own, OWN)).expect("free"));
        socket.connect((to, OPEN)).expect("there is a way");
        socket.set_read_timeout(Some(FILTERED)).expect("not zero");
        socket
    });
    let talk = || {
        [0, 1].map(|family| {
            let (client, server) = (&clients[family], &datagrams[family]);
            client.send(b"?").expect("it is sent");
            let asked = server.recv(&mut [0; 8]).is_ok();
            let back = client.local_addr().expect("it is bound");
            server.send_to(b"!", back).expect("it is sent");
            [asked, client.recv(&mut [0; 8]).is_ok()]
        })
    };
    // An association: each chunk goes under the other side's tag.
    let wires = [&stage.client, &stage.server].map(|end| Wire::open(&end.namespace(), "eth0", ALL));
    let [own, to] = stage.pair("client", 0);
    let says = |is_asked: bool, tag: u32, kind: u8, value: &[u8]| {
        let (ends, ports, [near, far]) = if is_asked {
            ([&stage.client, &stage.server], [OWN, OPEN], [&wires[0], &wires[1]])
        } else {
            ([&stage.server, &stage.client], [OPEN, OWN], [&wires[1], &wires[0]])
        };
        let (IpAddr::V4(client), IpAddr::V4(server)) = (own, to) else { panic!("of two families") };
        let addresses = if is_asked { [client, server] } else { [server, client] };
        let packet = sctp::packet(ports, tag, kind, value);
        near.send(&Frame::ipv4(mac(ends[1]), mac(ends[0]), addresses, 132, &packet));
        let is_it =
            |frame: &Vec<u8>| frame[..6] == mac(ends[1]).0 && frame.windows(packet.len()).any(|part| part == packet);
        far.frames(FILTERED).iter().any(is_it)
    };
    const TAGS: [u32; 2] = [0x0bad_cafe, 0x1234_5678];
    let data = [&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0][..], b"data"].concat();
    let carries = || [says(true, TAGS[1], DATA, &data), says(false, TAGS[0], DATA, &data)];
    let opened = [
        says(true, 0, INIT, &sctp::opening(TAGS[0])),
        says(false, TAGS[0], INIT_ACK, &sctp::opening(TAGS[1])),
        says(true, TAGS[1], COOKIE_ECHO, b"cookie"),
        says(false, TAGS[0], COOKIE_ACK, &[]),
    ];
    assert_eq!(opened, [true; 4], "an association comes about");
    let before = (talk(), carries());
    assert_eq!(before, ([[true; 2]; 2], [true; 2]), "the control");
    stage.apply("{action: deny, from: [{names: [stranger, nobody]}]}");
    assert_eq!((talk(), carries()), before, "it is still allowed");
    // Both ways: what only one of them may not send, the other may still begin.
    stage.apply("{action: deny, from: [{names: [client]}]}], egress: [{action: deny, to: [{names: [client]}]}");
    assert_eq!((talk(), carries()), ([[false; 2]; 2], [false; 2]), "cut, whoever speaks");
    assert_eq!((talk(), carries()), ([[false; 2]; 2], [false; 2]), "and does not come back");
}

#[test]
fn who_comes_by_a_published_port_is_judged_by_the_address_of_its_own() {
    let host = Host::with_config("upstreams = []");
    let lan = host.lan();
    let [lan6, host6] = lan.speak_ipv6(host.namespace());
    let [other, other6]: [IpAddr; 2] = ["192.0.2.77", "2001:db8::77"].map(|text| text.parse().expect("literal"));
    for address in [format!("{other}/32"), format!("{other6}/128")] {
        lan.namespace.run(&["ip", "address", "add", &address, "dev", "eth0", "nodad"]);
    }
    let ways = [host.namespace(), &lan.namespace];
    ways[0].run(&["ip", "route", "add", &format!("{other}/32"), "dev", "lan0"]);
    host.ok(&["network", "create", "web", "--ipv6"]);
    let publish = ["-p", "8080:7000", "-p", "8080:7000/udp"];
    let server = host.run("server", "web", &publish, &SLEEP);
    let bound = |address: IpAddr| {
        server.namespace().enter(|| {
            (UdpSocket::bind((address, OPEN)).expect("free"), TcpListener::bind((address, OPEN)).expect("free"))
        })
    };
    let listening = host.addresses("server").map(bound);
    let reaches = |from: IpAddr| {
        let family = usize::from(from.is_ipv6());
        let to: SocketAddr = [(lan.host_address, 8080).into(), (host6, 8080).into()][family];
        let (datagrams, listener) = &listening[family];
        datagrams.set_read_timeout(Some(FILTERED)).expect("not zero");
        let sender = lan.namespace.enter(|| UdpSocket::bind((from, 0)).expect("its own"));
        sender.send_to(b"?", to).expect("there is a way");
        let datagram = datagrams.recv_from(&mut [0; 8]).is_ok_and(|(_, peer)| peer.ip() == from);
        let _dialling = lan.namespace.enter(|| dial(from, to)).expect("its own address, and there is a way");
        listener.set_nonblocking(true).expect("it can");
        let accepted = within(FILTERED, || listener.accept().ok());
        let accepted = accepted.is_some_and(|(_, peer): (TcpStream, _)| peer.ip() == from);
        [datagram, accepted]
    };
    let clients: [IpAddr; 4] = [lan.address.into(), other, lan6.into(), other6];
    eventually("the control: all reach it", || (clients.map(&reaches) == [[true; 2]; 4]).then_some(()));
    let file = host.path("policies.yaml");
    for (allowed, expected) in [
        (format!("{}/32", lan.address), [true, false, false, false]),
        (format!("{other}/32"), [false, true, false, false]),
        (format!("{lan6}/128"), [false, false, true, false]),
        (format!("{other6}/128"), [false, false, false, true]),
    ] {
        let policy = format!(
            "{{apiVersion: fabric/v1, kind: Policy, metadata: {{name: server}}, networks: [web], ingress: [{{action: \
             allow, from: [{{cidr: \"{allowed}\"}}], order: 1}}, {{action: deny}}]}}"
        );
        std::fs::write(&file, policy).expect("the directory is ours");
        host.ok(&["policy", "apply", "-f", &file.to_string_lossy()]);
        assert_eq!(clients.map(&reaches), expected.map(|is_open| [is_open; 2]), "{allowed}");
    }
}
