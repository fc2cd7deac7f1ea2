//! Published ports in all their forms: ranges, SCTP, many at once, and who has which port of the host.

mod lab;

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use lab::{ENOUGH, HOST, Lab, PEER, Place, SILENCE, attachment, conntrack, patience, sh, state};
use model::{Attachment, Element, Family, Protocol, Published, Scope};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrV4, SocketType, sockopt::Timeout};

const WEB: Place = Place::Container(12);
const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;

fn host(lab: &Lab, publishes: &[&str]) -> Vec<String> {
    lab.settle(&state(&[attachment(12, publishes), attachment(13, &[])]))
}

fn element_count() -> usize {
    sh("nft -j list table inet fabric").matches("\"range\"").count()
}

#[test]
fn a_range_is_one_element_and_each_port_leads_to_its_own() {
    lab::run(|lab| {
        sh("ip addr add 192.0.2.3/24 dev lan0");
        host(lab, &["9000-9009:9000-9009", "192.0.2.3:7000-7001:7000-7001"]);
        assert_eq!(element_count(), 2, "one element for each range");
        for port in [9000, 9003, 9009, 9010, 7000, 7001] {
            lab.serve(WEB, port);
        }
        let other: Ipv4Addr = [192, 0, 2, 3].into();
        for (from, to, port, seen) in [
            (Place::Lan, HOST, 9000, Some(PEER)),
            (Place::Lan, HOST, 9003, Some(PEER)),
            (Place::Lan, other, 9009, Some(PEER)),
            (Place::Lan, HOST, 9010, None),
            (Place::Lan, HOST, 8999, None),
            (Place::Host, LOOPBACK, 9003, Some(lab::gateway(1))),
            (Place::Container(13), HOST, 9003, Some(lab::gateway(1))),
            (WEB, HOST, 9003, Some(lab::gateway(1))),
            (Place::Lan, other, 7001, Some(PEER)),
            (Place::Lan, HOST, 7001, None),
            (Place::Host, LOOPBACK, 7001, None),
        ] {
            let reached = lab.ask_within(patience(&seen), from, to, port);
            assert_eq!(reached, seen, "{from:?} to {to}:{port}");
        }
    });
}

#[test]
fn a_range_that_changes_its_numbers_leads_each_port_to_the_one_at_its_place() {
    lab::run(|lab| {
        host(lab, &["9000-9009:80-89"]);
        assert_eq!(element_count(), 0);
        // On each port of the container another answer: none on 83, where nobody listens.
        lab.serve(WEB, 80);
        lab.serve(WEB, 89);
        let reached: Vec<u16> = (8998..9012).filter(|port| lab.ask(Place::Lan, HOST, *port).is_some()).collect();
        assert_eq!(reached, [9000, 9009]);
    });
}

#[test]
fn ranges_are_repaired_like_everything_else() {
    lab::run(|lab| {
        let intent = ["9000-9009:9000-9009", "192.0.2.1:7000-7001:7000-7001/udp"];
        host(lab, &intent);
        for damage in [
            "nft flush map inet fabric published_range",
            "nft add element inet fabric published_range '{ 0.0.0.0/0 . tcp . 9100-9109 : 10.89.1.12 }'",
            "nft delete element inet fabric published_range '{ 0.0.0.0/0 . tcp . 9000-9009 }'
             nft add element inet fabric published_range '{ 0.0.0.0/0 . tcp . 9000-9009 : 10.89.1.13 }'",
            "nft delete element inet fabric published_range '{ 0.0.0.0/0 . tcp . 9000-9009 }'
             nft add element inet fabric published_range '{ 0.0.0.0/0 . tcp . 9005-9019 : 10.89.1.12 }'",
            "nft delete table inet fabric",
        ] {
            sh(damage);
            let changes = host(lab, &intent);
            assert!(!changes.is_empty(), "{damage}");
            lab.serve(WEB, 9007);
            assert_eq!(lab.ask(Place::Lan, HOST, 9007), Some(PEER), "{damage}");
            lab.settle(&state(&[attachment(13, &[])]));
            assert_eq!(element_count(), 0, "{damage}");
            host(lab, &intent);
        }
    });
}

#[test]
fn flows_through_a_range_are_forgotten_with_it() {
    lab::run(|lab| {
        host(lab, &["9000-9009:9000-9009", "7000-7009:80-89"]);
        for port in [9004, 80] {
            lab.serve(WEB, port);
        }
        assert_eq!((lab.ask(Place::Lan, HOST, 9004), lab.ask(Place::Lan, HOST, 7000)), (Some(PEER), Some(PEER)));
        assert_eq!((conntrack("dport=9004"), conntrack("dport=7000")), (1, 1), "control: they are there");
        host(lab, &["7000-7009:80-89"]);
        assert_eq!((conntrack("dport=9004"), conntrack("dport=7000")), (0, 1));
        host(lab, &[]);
        assert_eq!(conntrack("dport=7000"), 0);
    });
}

/// Answers on all IPv6 addresses of a place with the address of the client.
fn serve6(lab: &Lab, place: Place, port: u16) {
    let listener = lab.at(place, || TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).expect("the port is free"));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let address = stream.peer_addr().map(|address| address.ip().to_string()).unwrap_or_default();
            let _ = stream.write_all(address.as_bytes());
        }
    });
}

/// The address that such a server saw; what a client that is refused at once, or hears nothing, met otherwise.
fn ask6(lab: &Lab, patience: Duration, place: Place, to: &str) -> Result<String, ErrorKind> {
    let to = to.parse().expect("literal");
    lab.at(place, || {
        let mut stream = TcpStream::connect_timeout(&to, patience).map_err(|error| error.kind())?;
        stream.set_read_timeout(Some(patience)).expect("a timeout can be set");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer).map_err(|error| error.kind())
    })
}

#[test]
fn ipv6_is_led_to_the_container_and_its_client_seen_as_itself() {
    lab::run(|lab| {
        let mut intent = state(&[attachment(12, &["8080:80"]), attachment(13, &[])]);
        let to = "fd00:89::12".parse().expect("literal");
        let publishes = ["8080:80", "9000-9009:9000-9009", "[2001:db8::1]:8081:80", "7000-7001:90-91"];
        let publishes = publishes.map(|text| text.parse().expect("literal"));
        let elements = publishes.iter().flat_map(|publish| Published::of(publish, to)).map(Element::Published);
        intent.elements.extend(elements);
        for number in [12, 13] {
            let mut endpoint = attachment(number, &[]).endpoint;
            endpoint.ipv6 = Some(format!("fd00:89::{number}").parse().expect("an address"));
            intent.elements.extend(endpoint.sources());
        }
        lab.settle(&intent);
        // The lab's networks are without IPv6; this is what one with it has.
        let bridge = lab::network(1).bridge();
        sh(&format!(
            "echo 0 > /proc/sys/net/ipv6/conf/{bridge}/disable_ipv6; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
             ip -6 addr add fd00:89::1/64 dev {bridge} nodad; ip -6 addr add 2001:db8::1/64 dev lan0 nodad"
        ));
        lab.sh_at(
            Place::Lan,
            "ip -6 addr add 2001:db8::2/64 dev eth0 nodad; ip -6 route add fd00:89::/64 via 2001:db8::1",
        );
        for (place, number) in [(WEB, 12), (Place::Container(13), 13)] {
            let script =
                "echo 0 > /proc/sys/net/ipv6/conf/all/disable_ipv6; echo 0 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6";
            let address =
                format!("ip -6 addr add fd00:89::{number}/64 dev eth0 nodad; ip -6 route add default via fd00:89::1");
            lab.sh_at(place, &format!("{script}; {address}"));
        }
        for place in [Place::Host, Place::Lan, WEB, Place::Container(13)] {
            // Link-local addresses are looked for twins first (RFC 4862 §5.4); neighbours are found from them.
            lab.sh_at(place, "while ip -6 addr | grep -q tentative; do sleep 0.05; done");
        }
        for port in [80, 91, 9003] {
            serve6(lab, WEB, port);
        }
        for (from, to, seen) in [
            (Place::Lan, "[2001:db8::1]:8080", Ok("2001:db8::2")),
            (Place::Lan, "[2001:db8::1]:9003", Ok("2001:db8::2")),
            (Place::Lan, "[2001:db8::1]:8081", Ok("2001:db8::2")),
            (Place::Lan, "[2001:db8::1]:7001", Ok("2001:db8::2")),
            (Place::Host, "[2001:db8::1]:8080", Ok("2001:db8::1")),
            (Place::Host, "[fd00:89::1]:8081", Err(ErrorKind::ConnectionRefused)),
            (Place::Host, "[::1]:8080", Err(ErrorKind::ConnectionRefused)),
            (Place::Container(13), "[2001:db8::1]:8080", Ok("fd00:89::1")),
            (WEB, "[2001:db8::1]:9003", Ok("fd00:89::1")),
            (Place::Lan, "[fd00:89::12]:80", Err(ErrorKind::TimedOut)),
        ] {
            let patience = if seen == Err(ErrorKind::TimedOut) { SILENCE } else { ENOUGH };
            assert_eq!(ask6(lab, patience, from, to).as_deref(), seen.as_ref().copied(), "{from:?} to {to}");
        }
        let flows =
            || sh("conntrack -L -f ipv6 2> /dev/null").lines().filter(|line| line.contains("dport=9003")).count();
        assert_ne!(flows(), 0, "control: they are there");
        intent.elements.retain(|element| !matches!(element, Element::Published(one) if one.to.is_ipv6()));
        lab.reconcile(Scope::Firewall, &intent);
        // Beside the kernel thread, and soon.
        let forgotten = (0..1000).any(|_| {
            flows() == 0 || {
                thread::sleep(Duration::from_millis(30));
                false
            }
        });
        assert!(forgotten, "with the publish");
        assert!(ask6(lab, SILENCE, Place::Lan, "[2001:db8::1]:8080").is_err());
    });
}

/// CRC32c (RFC 9260, appendix A) of a packet whose checksum field is zero.
fn checksum(packet: &[u8]) -> u32 {
    let bit = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    !packet.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), bit))
}

/// A packet that asks for an SCTP association (RFC 9260 §3.3.2).
fn init(source: u16, destination: u16) -> Vec<u8> {
    let mut packet = Vec::new();
    packet.extend(source.to_be_bytes());
    packet.extend(destination.to_be_bytes());
    packet.extend([0; 8]);
    // INIT, 20 octets; its tag, window, streams out and in, first number.
    packet.extend([1, 0, 0, 20, 0, 0, 0, 1, 0, 0, 0xff, 0xff, 0, 1, 0, 1, 0, 0, 0, 1]);
    let sum = checksum(&packet);
    packet[8..12].copy_from_slice(&sum.to_le_bytes());
    packet
}

#[test]
fn sctp_is_led_to_the_container() {
    lab::run(|lab| {
        host(lab, &["3868:3869/sctp", "5000-5001:5000-5001/sctp"]);
        // Not every kernel has SCTP sockets; its packets pass by all the same.
        let raw = |place| {
            lab.at(place, || {
                let protocol = rustix::net::ipproto::SCTP;
                rustix::net::socket(AddressFamily::INET, SocketType::RAW, Some(protocol)).expect("root may open it")
            })
        };
        let (server, client) = (raw(WEB), raw(Place::Lan));
        for (port, arrives) in [(3868, Some(3869)), (5001, Some(5001)), (3869, None)] {
            let to = SocketAddrV4::new(HOST, 0);
            rustix::net::sendto(&client, &init(4000, port), SendFlags::empty(), &to).expect("it is sent");
            rustix::net::sockopt::set_socket_timeout(&server, Timeout::Recv, Some(patience(&arrives)))
                .expect("a timeout can be set");
            let mut buffer = [0; 128];
            let seen = rustix::net::recv(&server, &mut buffer, RecvFlags::empty()).ok().map(|(length, _)| {
                let packet = &buffer[..length];
                let header = usize::from(packet[0] & 0xf) * 4;
                assert_eq!(packet[12..16], PEER.octets(), "the client is seen as itself");
                u16::from_be_bytes([packet[header + 2], packet[header + 3]])
            });
            assert_eq!(seen, arrives, "to {port}");
        }
    });
}

#[test]
fn the_hosts_listeners_are_known_with_their_programs() {
    lab::run(|lab| {
        let place = Place::Host;
        let tcp = |address: &str| lab.at(place, || TcpListener::bind(address).expect("the port is free"));
        let udp = |address: &str| lab.at(place, || UdpSocket::bind(address).expect("the port is free"));
        let held = (tcp("127.0.0.1:7001"), tcp("[::]:7002"), udp("192.0.2.1:7003"), udp("0.0.0.0:7004"));
        let connected = udp("192.0.2.1:7005");
        connected.connect((PEER, 9)).expect("a route");
        let stream = lab.at(place, || TcpStream::connect("127.0.0.1:7001").expect("it listens"));
        let seen = lab.wait(lab.kernel.ports_in_use()).expect("the kernel tells");
        let mut shown: Vec<String> = seen
            .listeners
            .iter()
            .map(|listener| format!("{} {}:{}", listener.protocol, listener.address, listener.port))
            .collect();
        shown.sort();
        assert_eq!(shown, ["tcp 127.0.0.1:7001", "tcp :::7002", "udp 0.0.0.0:7004", "udp 192.0.2.1:7003"]);
        let on = |port| seen.listeners.iter().find(|listener| listener.port == port).expect("it is there");
        for (port, family, at, there) in [
            (7001, Family::Ipv4, None, true),
            (7001, Family::Ipv6, None, false),
            (7001, Family::Ipv4, Some("192.0.2.1"), false),
            (7001, Family::Ipv4, Some("127.0.0.1"), true),
            (7002, Family::Ipv6, None, true),
            (7002, Family::Ipv4, None, true),
            (7002, Family::Ipv4, Some("192.0.2.1"), true),
            (7004, Family::Ipv4, Some("192.0.2.1"), true),
            (7004, Family::Ipv6, None, false),
        ] {
            let at = at.map(|address| address.parse().expect("literal"));
            assert_eq!(on(port).is_at(family, at), there, "{port} {family} {at:?}");
        }
        assert_eq!(on(7003).protocol, Protocol::Udp);
        let own = format!("(pid {})", std::process::id());
        let holder = on(7001).holder().expect("this very process");
        assert!(holder.ends_with(&own), "{holder}");
        drop((held, connected, stream));
    });
}

/// A container with so many single ports from `first` on.
fn with_ports(number: u8, first: u16, count: u16) -> Attachment {
    let mut one = attachment(number, &[]);
    one.publishes = (first..first + count).map(|port| format!("{port}:80").parse().expect("literal")).collect();
    one
}

#[test]
fn what_many_ports_cost_does_not_depend_on_how_many_there_are() {
    lab::run(|lab| {
        const PORTS: u16 = 200;
        let mut least = Vec::new();
        for existing in [10, 10_000] {
            let crowd = with_ports(13, 1000, existing);
            lab.settle(&state(&[crowd.clone(), attachment(12, &[])]));
            let mut times = Vec::new();
            for _ in 0..9 {
                let one = with_ports(12, 30_000, PORTS);
                let (with, without) = (state(std::slice::from_ref(&one)), state(&[attachment(12, &[])]));
                let start = Instant::now();
                let changes = lab.reconcile(Scope::from(one.clone()), &with);
                times.push(start.elapsed());
                assert!(!changes.is_empty());
                lab.reconcile(Scope::from(one), &without);
            }
            // What it costs, whatever else the machine did in the other turns.
            least.push(times.into_iter().min().expect("several turns"));
        }
        println!("{PORTS} ports, with 10 and with 10,000 others: {least:?}");
        // A cost that grows with the others would be a hundred times as high.
        assert!(least[1] < least[0] * 4, "{least:?}");
    });
}
