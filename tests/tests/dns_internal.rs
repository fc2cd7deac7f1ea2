//! Names that are not containers' are asked for by nobody on an internal network, whatever its driver.

use std::{
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use tests::{Answer, Host, PATIENCE, RecordType, ask, ask_within};

const REFUSED: u8 = 5;

/// What is asked for where nothing may leave, and where something must.
const KEPT: &str = "kept.example.com";
const ASKED: &str = "asked.example.com";

/// Whether a query that has come is for this name, by its first label.
fn is_for(query: &[u8], name: &str) -> bool {
    let label = name.split('.').next().expect("a name has a label");
    query.windows(label.len()).any(|octets| octets.eq_ignore_ascii_case(label.as_bytes()))
}

/// Neither the host's upstreams are asked, nor a container's own; both are on the LAN.
#[test]
fn nobody_on_an_internal_network_asks_outside() {
    let host = Host::with_config("upstreams = ['192.0.2.10:5300']");
    let lan = host.lan();
    let upstream = SocketAddr::from((lan.address, 5300));
    let socket = lan.namespace.enter(|| UdpSocket::bind(upstream).expect("the port is free"));
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    let wire = ["--driver", "macvlan", "--opt", "parent=lan0", "--subnet", "192.0.2.0/24", "--gateway", "192.0.2.10"];
    let wire = [&wire[..], &["--ip-range", "192.0.2.128/25"]].concat();
    for (driver, internal) in [(&[][..], true), (&[], false), (&wire, true), (&wire, false)] {
        let kind = if internal { &["--internal"][..] } else { &[] };
        host.ok(&[&["network", "create", "net"], driver, kind].concat());
        let neighbour = host.run("neighbour", "net", &[], &["sleep", "1000"]);
        for upstreams in [&[][..], &["--dns", "192.0.2.10:5300"]] {
            let what = format!("{driver:?} {kind:?} {upstreams:?}");
            let asker = host.run("asker", "net", upstreams, &["sleep", "1000"]).namespace();
            let file = host.ok(&["exec", "asker", "cat", "/etc/resolv.conf"]);
            let line = file.lines().find_map(|line| line.strip_prefix("nameserver ")).expect("a name server");
            let server = SocketAddr::new(line.trim().parse().expect("an address"), 53);
            let routes = asker.run(&["ip", "route", "show", "default"]);
            assert_eq!(routes.is_empty(), internal, "{what}: {routes}");
            let known = ask(&asker, server, "neighbour", RecordType::A).expect("an answer");
            assert_eq!(known, Answer { code: 0, records: vec![neighbour.ipv4.to_string()] }, "{what}");
            if internal {
                let refused = ask(&asker, server, KEPT, RecordType::A).expect("an answer");
                assert_eq!(refused, Answer { code: REFUSED, records: Vec::new() }, "{what}");
            } else {
                // Nobody answers.
                let _ = ask_within(Duration::from_millis(100), &asker, server, ASKED, RecordType::A);
                let mut query = [0; 512];
                let length = socket.recv(&mut query).unwrap_or_else(|error| panic!("the control: {what}: {error}"));
                // Nothing that was asked for before has come either.
                assert!(is_for(&query[..length], ASKED) && !is_for(&query[..length], KEPT), "{what}: {query:x?}");
            }
            drop(asker);
            host.ok(&["rm", "-f", "asker"]);
        }
        host.ok(&["rm", "-f", "neighbour"]);
        host.ok(&["network", "rm", "net"]);
    }
    socket.set_nonblocking(true).expect("a socket");
    let mut query = [0; 512];
    while let Ok(length) = socket.recv(&mut query) {
        assert!(!is_for(&query[..length], KEPT), "{query:x?}");
    }
}
