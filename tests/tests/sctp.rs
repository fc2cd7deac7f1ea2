//! SCTP through published ports. Not every kernel has SCTP sockets: the packets of an association are made by hand, and
//! pass through translation and connection tracking as any would; and a guest's kernel makes them itself.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::OwnedFd,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, ipproto, recv, sendto, socket_with},
};
use tests::{
    Guest, Host, Namespace, PATIENCE,
    sctp::{COOKIE_ACK, COOKIE_ECHO, DATA, INIT, INIT_ACK, SACK, checksum, opening, packet},
};

/// What nobody says within this is not said.
const SILENCE: Duration = Duration::from_millis(500);

/// A side of an association.
struct Side {
    socket: OwnedFd,
    address: Ipv4Addr,
}

/// What was heard: from whom, by which ports, and the packet.
#[derive(Debug, PartialEq, Eq)]
struct Heard {
    from: Ipv4Addr,
    ports: [u16; 2],
    packet: Vec<u8>,
}

impl Side {
    fn new(namespace: &Namespace, address: Ipv4Addr) -> Self {
        let open = || {
            let (family, kind) = (AddressFamily::INET, SocketType::RAW);
            let socket = socket_with(family, kind, SocketFlags::CLOEXEC, Some(ipproto::SCTP))?;
            bind(&socket, &SocketAddrV4::new(address, 0))?;
            rustix::io::Result::Ok(socket)
        };
        Self { socket: namespace.enter(open).expect("root may open it"), address }
    }

    fn say(&self, to: Ipv4Addr, packet: &[u8]) {
        let sent = sendto(&self.socket, packet, SendFlags::empty(), &SocketAddrV4::new(to, 0)).expect("a route");
        assert_eq!(sent, packet.len());
    }

    /// The next packet; none if there is none for so long.
    fn hear(&self, limit: Duration) -> Option<Heard> {
        let limit = Timespec::try_from(limit).expect("minutes");
        let mut ready = [PollFd::new(&self.socket, PollFlags::IN)];
        if poll(&mut ready, Some(&limit)).expect("poll") == 0 {
            return None;
        }
        let mut buffer = [0; 256];
        let (length, _) = recv(&self.socket, &mut buffer[..], RecvFlags::empty()).expect("it is ready");
        let (header, body) = buffer[..length].split_at(usize::from(buffer[0] & 0xf) * 4);
        let address = |at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&header[at..at + 4]).expect("four octets"));
        assert_eq!(address(16), self.address, "it is for this side");
        let mut bare = body.to_vec();
        bare[8..12].fill(0);
        assert_eq!(body[8..12], checksum(&bare).to_le_bytes(), "translated with its checksum");
        let port = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
        Some(Heard { from: address(12), ports: [port(0), port(2)], packet: body.to_vec() })
    }
}

#[test]
fn an_association_comes_about_through_a_published_port_and_carries_data_both_ways() {
    let host = Host::new();
    let lan = host.lan();
    host.ok(&["network", "create", "web"]);
    let run = ["-p", "3868:3869/sctp", "-p", "3870:80/tcp"];
    let api = host.run("api", "web", &run, &["sleep", "1000"]);
    assert!(host.ok(&["port", "api"]).contains("3869/sctp"), "{}", host.ok(&["port", "api"]));
    let (server, client) = (Side::new(&api.namespace(), api.ipv4), Side::new(&lan.namespace, lan.address));
    const CLIENT: u16 = 4000;
    const TAG_OF_CLIENT: u32 = 0x0bad_cafe;
    const TAG_OF_SERVER: u32 = 0x1234_5678;
    let data = [&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0][..], b"some data"].concat();
    let acknowledged = [0, 0, 0, 1, 0, 0, 0xff, 0xff, 0, 0, 0, 0];
    // Who says what: each goes to the other side's port under the tag that it asked for, an INIT under none.
    for (is_asked, tag, kind, value) in [
        (true, 0, INIT, opening(TAG_OF_CLIENT)),
        (false, TAG_OF_CLIENT, INIT_ACK, opening(TAG_OF_SERVER)),
        (true, TAG_OF_SERVER, COOKIE_ECHO, b"cookie".to_vec()),
        (false, TAG_OF_CLIENT, COOKIE_ACK, Vec::new()),
        (true, TAG_OF_SERVER, DATA, data.clone()),
        (false, TAG_OF_CLIENT, SACK, acknowledged.to_vec()),
        (false, TAG_OF_CLIENT, DATA, data),
        (true, TAG_OF_SERVER, SACK, acknowledged.to_vec()),
    ] {
        let heard = if is_asked {
            client.say(lan.host_address, &packet([CLIENT, 3868], tag, kind, &value));
            let expected = packet([CLIENT, 3869], tag, kind, &value);
            (server.hear(PATIENCE), Heard { from: lan.address, ports: [CLIENT, 3869], packet: expected })
        } else {
            server.say(lan.address, &packet([3869, CLIENT], tag, kind, &value));
            let expected = packet([3868, CLIENT], tag, kind, &value);
            (client.hear(PATIENCE), Heard { from: lan.host_address, ports: [3868, CLIENT], packet: expected })
        };
        assert_eq!(heard.0.as_ref(), Some(&heard.1), "chunk {kind}");
    }

    // What is published for TCP, or not at all, is not for SCTP; neither is the container's port by its own address.
    for (to, port) in [(lan.host_address, 3870), (lan.host_address, 3869), (api.ipv4, 3869)] {
        client.say(to, &packet([CLIENT + 1, port], 0, INIT, &opening(TAG_OF_CLIENT)));
        assert_eq!(server.hear(SILENCE), None, "to {to}:{port}");
    }
    host.ok(&["rm", "-f", "api"]);
    assert_eq!(host.json(&["ps"]).as_array().map(Vec::len), Some(0));
}

#[test]
fn a_kernel_with_sctp_is_led_through_a_published_port() {
    let modules = ["veth", "bridge", "br_netfilter", "overlay", "nf_conntrack_netlink", "sctp", "sctp_diag"];
    let guest = Guest::new(&modules, &[]).with_program("perl");
    let (console, code) = guest.run(include_str!("../guests/sctp.sh"), Duration::from_secs(300));
    assert_eq!(code, Some(0), "the guest's console:\n{console}");
    let told: Vec<&str> = console.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(told, SEEN.lines().collect::<Vec<_>>(), "the guest's console:\n{console}");
}

const SEEN: &str = "\
== published
answered with 11 octets
answered with 1010 octets
== published over IPv6
answered with 11 octets
answered with 1010 octets
== from the host
answered with 11 octets
answered with 1010 octets
== heard
listening
asked from 192.0.2.10
ended
asked from 2001:db8:0:0:0:0:0:10
ended
asked from 192.0.2.1
ended
== removed
connect: Connection refused
ended with 111
== taken
error: cannot publish 3868:3869/sctp: perl (pid of it) listens on [::]:3868/sctp
hint: stop it, choose another host port, or leave the choice to Fabric: `-p 3869/sctp`
== over";
