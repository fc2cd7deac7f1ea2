//! Questions for names: what is answered at the port, what goes on to the server, and whether checksums are right.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::Path,
};

use kernel::{Fact, Kernel};
use model::{Scope, Switch};

use crate::{
    lab::{self, Lab, Place, address, gateway, network, state, with_passages},
    packet, spliced,
};

/// What the server says to whatever comes to it.
const SERVER: &[u8] = b"the server";
const TTL: u32 = 5;

fn wire(name: &str) -> Vec<u8> {
    let labels = name.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
    labels.chain([0]).collect()
}

fn named(number: u8, name: &str, at: u8) -> Fact {
    let name = wire(name).to_ascii_lowercase().into();
    Fact::Address { network: network(number / 10), name, address: address(at), ttl: TTL }
}

fn asker(number: u8) -> Fact {
    let net = number / 10;
    let mac = model::MacAddress::local([2, 0, 0, 0, 1, net]);
    Fact::Asker { network: network(net), address: address(number), gateway: gateway(net), mac }
}

fn know(lab: &Lab, facts: &[Fact]) {
    lab.kernel.names().change(&[], facts, || ());
}

fn forget(lab: &Lab, facts: &[Fact]) {
    lab.kernel.names().change(facts, &[], || ());
}

/// A question with these flags, and with something behind it.
fn question(flags: [u8; 2], name: &[u8], kind: [u8; 4], behind: &[u8]) -> Vec<u8> {
    let header = [0x12, 0x34, flags[0], flags[1], 0, 1, 0, 0, 0, 0, 0, 0];
    [&header, name, &kind, behind].concat()
}

fn plain(name: &str) -> Vec<u8> {
    question([1, 0], &wire(name), [0, 1, 0, 1], &[])
}

/// What such a question is answered (RFC 1035, 4.1).
fn answer(question: &[u8], address: Ipv4Addr) -> Vec<u8> {
    let mut answer = question.to_vec();
    (answer[2], answer[3]) = (0x84 | question[2] & 1, 0x80 | question[3] & 0x10);
    answer[7] = 1;
    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, TTL as u8, 0, 4]);
    answer.extend(address.octets());
    answer
}

/// A server on both gateways.
fn serve(lab: &Lab) {
    for net in [1, 2] {
        let socket = lab.at(Place::Host, || UdpSocket::bind((gateway(net), 53)).expect("the port is free"));
        std::thread::spawn(move || {
            let mut octets = [0; 4096];
            while let Ok((_, client)) = socket.recv_from(&mut octets) {
                let _ = socket.send_to(SERVER, client);
            }
        });
    }
}

fn socket(lab: &Lab, number: u8) -> UdpSocket {
    let socket = lab.at(Place::Container(number), || UdpSocket::bind((address(number), 0)).expect("has its address"));
    socket.set_read_timeout(Some(lab::ENOUGH)).expect("not zero");
    socket
}

fn ask(socket: &UdpSocket, server: Ipv4Addr, question: &[u8]) -> Vec<u8> {
    let server: SocketAddr = (server, 53).into();
    socket.send_to(question, server).expect("the network is there");
    let mut octets = [0; 2048];
    let (length, from) = socket.recv_from(&mut octets).expect("somebody answers");
    assert_eq!(from, server);
    octets[..length].to_vec()
}

/// A network whose containers may be answered, and one more.
fn known(lab: &Lab) {
    lab.settle(&spliced(&[12, 13, 14, 22]));
    serve(lab);
    know(lab, &[asker(12), asker(13), asker(22), named(12, "api", 13), named(22, "db", 22)]);
}

#[test]
fn a_known_name_is_answered_as_the_server_would() {
    lab::run(|lab| {
        known(lab);
        let socket = socket(lab, 12);
        let mut asked = 0;
        let label = "abcdefghijklmnopqrstuvwxyz0123456789-zyxwvutsrqponmlkj";
        // Names of all lengths, so that what follows them is at all places.
        let names: Vec<_> = (1..=53).map(|length| label[..length].replace('-', "x")).collect();
        let facts: Vec<_> = names.iter().map(|name| named(12, name, 13)).collect();
        know(lab, &facts);
        for (number, name) in names.iter().enumerate() {
            let mixed: String = name.bytes().enumerate().fold(String::new(), |mut text, (at, octet)| {
                let octet = if (at * 7 + number) % 3 == 0 { octet.to_ascii_uppercase() } else { octet };
                text.push(octet.into());
                text
            });
            for (flags, name) in [([1, 0], name), ([0, 0x10], &mixed), ([1, 0x20], &mixed), ([0, 0], name)] {
                let question = question(flags, &wire(name), [0, 1, 0, 1], &[]);
                assert_eq!(ask(&socket, gateway(1), &question), answer(&question, address(13)), "{name}");
                asked += 1;
            }
        }
        assert_eq!(lab.kernel.names().answered(), asked);
        forget(lab, &facts[..1]);
        assert_eq!(ask(&socket, gateway(1), &plain("a")), SERVER);
        assert_eq!(lab.kernel.names().answered(), asked);
    });
}

#[test]
fn everything_unusual_goes_to_the_server() {
    lab::run(|lab| {
        known(lab);
        let one = socket(lab, 12);
        let api = wire("api");
        let a = [0, 1, 0, 1];
        let usual = plain("api");
        let with = |at: usize, octet: u8| {
            let mut question = usual.clone();
            question[at] = octet;
            question
        };
        let opt = [0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0];
        let mut edns = question([1, 0], &api, a, &opt);
        edns[11] = 1;
        let long = format!("{}.api", "a".repeat(51));
        know(lab, &[named(12, &long, 13)]);
        let unusual = [
            ("another name", plain("apj")),
            ("a name that begins so", plain("api.web")),
            ("a name that is too long to be known", plain(&long)),
            ("another network's name", plain("db")),
            ("the root", question([1, 0], &[0], a, &[])),
            ("an address of IPv6", question([1, 0], &api, [0, 28, 0, 1], &[])),
            ("another class", question([1, 0], &api, [0, 1, 0, 3], &[])),
            ("EDNS", edns),
            ("something behind it", question([1, 0], &api, a, &[0])),
            ("an octet of nothing behind the name", question([1, 0], &[&api[..], &[0]].concat(), a, &[])),
            ("a length that is a capital", question([1, 0], b"\x43api\0", a, &[])),
            ("half a question", usual[..usual.len() - 2].to_vec()),
            ("a header alone", usual[..12].to_vec()),
            ("half a header", usual[..11].to_vec()),
            ("an answer", with(2, 0x81)),
            ("another operation", with(2, 0x09)),
            ("truncated", with(2, 0x03)),
            ("authoritative", with(2, 0x05)),
            ("recursion available", with(3, 0x80)),
            ("a code", with(3, 0x01)),
            ("no question", with(5, 0)),
            ("two questions", with(5, 2)),
            ("an answer in it", with(7, 1)),
            ("an authority", with(9, 1)),
        ];
        for (what, question) in &unusual {
            assert_eq!(ask(&one, gateway(1), question), SERVER, "{what}");
        }
        assert_eq!(ask(&one, gateway(2), &usual), SERVER, "the gateway of another network");
        assert_eq!(ask(&socket(lab, 14), gateway(1), &usual), SERVER, "one who sees more than a network");
        assert_eq!(ask(&socket(lab, 22), gateway(2), &usual), SERVER, "one on another network");
        assert_eq!(lab.kernel.names().answered(), 0);
        assert_eq!(ask(&one, gateway(1), &usual), answer(&usual, address(13)), "the control");
        // A datagram that is cut into fragments.
        let cut = [usual.clone(), vec![0; 1900]].concat();
        assert_eq!(ask(&one, gateway(1), &cut), SERVER);
        let withheld = lab.kernel.names().withhold();
        assert_eq!(ask(&one, gateway(1), &usual), SERVER, "somebody reads along");
        know(lab, &[asker(12)]);
        assert_eq!(ask(&one, gateway(1), &usual), SERVER, "and still does");
        drop(withheld);
        assert_eq!(ask(&one, gateway(1), &usual), answer(&usual, address(13)));
        // Who takes no shortcut, because policies judge his network, is answered by the server.
        lab.reconcile(Scope::Shortcut, &with_passages(&spliced(&[12, 13, 14, 22]), &[13, 14, 22]));
        assert_eq!(ask(&one, gateway(1), &usual), SERVER);
    });
}

#[test]
fn whoever_pretends_to_be_another_is_not_answered() {
    lab::run(|lab| {
        known(lab);
        lab.sh_at(Place::Container(12), &format!("ip addr add {}/24 dev eth0", address(13)));
        let socket = lab.at(Place::Container(12), || UdpSocket::bind((address(13), 0)).expect("has that address"));
        socket.set_read_timeout(Some(lab::SILENCE)).expect("not zero");
        socket.send_to(&plain("api"), (gateway(1), 53)).expect("the network is there");
        let silent = socket.recv_from(&mut [0; 512]).expect_err("the bridge's rules drop it");
        assert!(matches!(silent.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{silent}");
        assert_eq!(lab.kernel.names().answered(), 0);
    });
}

/// Rules of others that see questions to the host, though they see nothing that passes a bridge.
#[test]
fn rules_of_others_see_every_question() {
    lab::run(|lab| {
        known(lab);
        let all = spliced(&[12, 13, 14, 22]);
        let socket = socket(lab, 12);
        let usual = plain("api");
        for (family, hook) in [("inet", "input"), ("ip", "prerouting"), ("ip", "output"), ("inet", "postrouting")] {
            lab::sh(&format!(
                "nft 'add table {family} mine; add chain {family} mine c {{ type filter hook {hook} priority 0; }}; \
                 add rule {family} mine c counter'"
            ));
            lab.reconcile(Scope::Shortcut, &all);
            assert_eq!(ask(&socket, gateway(1), &usual), SERVER, "{family} {hook}");
            lab::sh(&format!("nft delete table {family} mine"));
            lab.reconcile(Scope::Shortcut, &all);
            assert_eq!(ask(&socket, gateway(1), &usual), answer(&usual, address(13)), "{family} {hook} is gone");
        }
    });
}

/// Of which the kernel tells nobody.
#[test]
fn iptables_of_old_sees_every_question() {
    lab::run(|lab| {
        known(lab);
        let all = spliced(&[12, 13, 14, 22]);
        let look = |lab: &Lab| {
            let all = all.clone();
            let seen = lab.wait(lab.kernel.look(Scope::Everything, move || all)).expect("it is seen");
            seen.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(look(lab), Vec::<String>::new(), "control");
        let rule = "INPUT -p udp --dport 53 -j DROP";
        lab::sh(&format!("iptables-legacy -I {rule}"));
        let leave = ["leave questions for names to the server"];
        assert_eq!(look(lab), leave);
        assert_eq!(look(lab), leave, "a look changes nothing");
        assert_eq!(lab.reconcile(Scope::Everything, &all), leave);
        assert_eq!(look(lab), Vec::<String>::new());
        let (socket, usual) = (socket(lab, 12), plain("api"));
        socket.set_read_timeout(Some(lab::SILENCE)).expect("not zero");
        socket.send_to(&usual, (gateway(1), 53)).expect("the network is there");
        let silent = socket.recv_from(&mut [0; 512]).expect_err("the rule drops it");
        assert!(matches!(silent.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{silent}");
        socket.set_read_timeout(Some(lab::ENOUGH)).expect("not zero");
        lab::sh(&format!("iptables-legacy -D {rule}"));
        // The table stays, and whoever has one may fill it again unseen.
        assert_eq!(look(lab), Vec::<String>::new());
        assert_eq!(ask(&socket, gateway(1), &usual), SERVER);
        assert_eq!(lab.kernel.names().answered(), 0);
    });
}

/// The next daemon knows of nothing but what it is told; the program goes on.
#[test]
fn nothing_is_answered_that_only_the_daemon_before_knew() {
    lab::run(|lab| {
        known(lab);
        let socket = socket(lab, 12);
        let usual = plain("api");
        assert_eq!(ask(&socket, gateway(1), &usual), answer(&usual, address(13)));
        lab.open_anew();
        assert_eq!(ask(&socket, gateway(1), &usual), SERVER);
        assert_eq!(lab.kernel.names().answered(), 0, "each counts its own time");
        let all = spliced(&[12, 13, 14, 22]);
        assert_eq!(lab.reconcile(Scope::Everything, &all), Vec::<String>::new(), "the program is the same");
        know(lab, &[asker(12), named(12, "api", 14)]);
        assert_eq!(ask(&socket, gateway(1), &usual), answer(&usual, address(14)));
        // Without a program all is kept for the next.
        let plain_state = state(&[12, 13, 14, 22].map(|number| lab::attachment(number, &[])));
        lab::sh(
            "nft 'add table bridge mine; add chain bridge mine c { type filter hook forward priority 0; }; \
                 add rule bridge mine c counter'",
        );
        lab.reconcile(Scope::Shortcut, &plain_state);
        assert_eq!(ask(&socket, gateway(1), &usual), SERVER);
        lab::sh("nft delete table bridge mine");
        lab.reconcile(Scope::Shortcut, &all);
        assert_eq!(ask(&socket, gateway(1), &usual), answer(&usual, address(14)));
        assert_eq!(lab.kernel.names().answered(), 2);
    });
}

/// What stands may answer only what it is told by whoever is there now: one whose map cannot be had is taken away.
#[test]
fn a_program_that_cannot_be_taken_over_answers_nothing_more() {
    lab::run(|lab| {
        known(lab);
        let socket = socket(lab, 12);
        let (all, usual) = (spliced(&[12, 13, 14, 22]), plain("api"));
        let beside = "tc filter add block 64177 prio 2 bpf bytecode '1,6 0 0 0'";
        for (before, wanted) in [("true", Switch::Off), (beside, Switch::On)] {
            assert_eq!(ask(&socket, gateway(1), &usual), answer(&usual, address(13)));
            lab::sh(before);
            lab.kernel = Kernel::open(Path::new(lab::RUN), lab::LIMIT, wanted).expect("the kernel opens");
            assert_eq!(ask(&socket, gateway(1), &usual), SERVER, "before anything else is done, {before}");
            lab.open_anew();
            lab.reconcile(Scope::Everything, &all);
            assert_eq!(ask(&socket, gateway(1), &usual), SERVER, "nobody has told the next one");
            know(lab, &[asker(12), named(12, "api", 13)]);
        }
    });
}

/// The map holds 65,536 facts. Who asks and is not among them is answered by the server, until there is room.
#[test]
fn what_does_not_fit_comes_in_when_there_is_room() {
    lab::run(|lab| {
        known(lab);
        let (socket, usual) = (socket(lab, 14), plain("api"));
        let many: Vec<_> = (0..65_536).map(|number| named(12, &format!("n{number}"), 13)).collect();
        know(lab, &many);
        let names = lab.kernel.names();
        assert_eq!(names.waiting(), 5, "as many as were there before");
        know(lab, &[asker(14)]);
        assert_eq!(names.waiting(), 6);
        assert_eq!(ask(&socket, gateway(1), &usual), SERVER, "there is no room");
        drop(names.withhold());
        assert_eq!(names.waiting(), 6, "whoever waits now, as many do");
        forget(lab, &many[..100]);
        assert_eq!(names.waiting(), 0);
        assert_eq!(ask(&socket, gateway(1), &usual), answer(&usual, address(13)));
        assert_eq!(names.answered(), 1);
    });
}

#[test]
fn checksums_are_right_whoever_makes_them() {
    lab::run(|lab| {
        known(lab);
        know(lab, &[named(12, "even", 14)]);
        let raw = lab.at(Place::Container(12), packet::Raw::open);
        let socket = socket(lab, 12);
        let port = socket.local_addr().expect("it is bound").port();
        for (name, at) in [("api", 13), ("even", 14)] {
            let question = plain(name);
            let expected = answer(&question, address(at));
            for sent in ["by a socket", "with its checksum", "without one"] {
                if sent == "by a socket" {
                    assert_eq!(ask(&socket, gateway(1), &question), expected);
                } else {
                    raw.send(&packet::datagram(port, &question, sent == "with its checksum"));
                    let mut octets = [0; 2048];
                    let length = socket.recv(&mut octets).expect("what the kernel finds right comes");
                    assert_eq!(octets[..length], expected, "{name} {sent}");
                }
                let frame = raw.answer();
                let (ip, udp) = (&frame[14..34], &frame[34..]);
                assert_eq!(packet::sum(ip), 0xffff, "the header's, {name} {sent}");
                let length = u16::from_be_bytes([udp[4], udp[5]]);
                assert_eq!((usize::from(length), &udp[8..]), (udp.len(), &expected[..]), "{name} {sent}");
                let pseudo = [&ip[12..20], &[0, 17], &length.to_be_bytes()].concat();
                let stored = u32::from(u16::from_be_bytes([udp[6], udp[7]]));
                match sent {
                    "by a socket" => {
                        assert_eq!(stored, packet::sum(&pseudo), "what an interface does the rest of, {name}")
                    }
                    "without one" => assert_eq!(stored, 0, "{name}"),
                    _ => assert_eq!(packet::sum(&[&pseudo, udp].concat()), 0xffff, "the datagram's, {name}"),
                }
            }
        }
        assert_eq!(lab.kernel.names().answered(), 6);
    });
}
