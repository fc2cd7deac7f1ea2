//! What neighbours are told, on the wire, when an address moves to another container.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use tests::{ALL, Frame, Host, Mac, Wire, eventually};

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Flags of a neighbour advertisement (RFC 4861 §4.4): it overrides, and nobody asked for it.
const OVERRIDE: u8 = 0x20;

/// A gratuitous ARP request (RFC 5227 §2.3) and an unsolicited neighbour advertisement (RFC 4861 §7.2.6), as every
/// neighbour should hear them.
fn expected(mac: Mac, ipv4: Ipv4Addr, ipv6: Ipv6Addr) -> [Vec<u8>; 2] {
    let arp = Frame::arp(Mac::BROADCAST, mac, 1, (mac, ipv4), (Mac([0; 6]), ipv4));
    let body = Frame::neighbour(OVERRIDE, ipv6, 2, mac);
    let to_all = Mac([0x33, 0x33, 0, 0, 0, 1]);
    let advertisement = Frame::icmpv6(to_all, mac, [ipv6, ALL_NODES], 136, &body);
    [arp.octets().to_vec(), advertisement.octets().to_vec()]
}

/// Listens in a container until both were heard.
#[track_caller]
fn hears(wire: &Wire, expected: &[Vec<u8>; 2], what: &str) {
    let mut heard: Vec<Vec<u8>> = Vec::new();
    eventually(what, || {
        heard.extend(wire.frames(Duration::from_millis(100)));
        // The kernel may pad what is shorter than Ethernet's least.
        let was_heard = |frame: &Vec<u8>| heard.iter().any(|heard| heard.starts_with(frame));
        expected.iter().all(was_heard).then_some(())
    });
}

#[test]
fn both_families_are_announced_when_an_address_moves_to_another_container() {
    let host = Host::new();
    let web = ["network", "create", "web", "--subnet", "10.9.8.0/24", "--subnet", "fd00:9::/64"];
    host.ok(&web);
    let ear = host.run("ear", "web", &[], &["sleep", "1000"]).namespace();
    let (ipv4, ipv6) = (Ipv4Addr::new(10, 9, 8, 50), "fd00:9::50".parse::<Ipv6Addr>().expect("literal"));
    let [first, second] = ["02:00:00:00:00:01", "02:00:00:00:00:02"];
    let at = |mac: &str| format!("web:ip={ipv4},ip6={ipv6},mac={mac}");
    host.run("old", &at(first), &[], &["sleep", "1000"]);
    host.ok(&["rm", "-f", "old"]);

    let wire = Wire::open(&ear, "eth0", ALL);
    let new = host.run("new", &at(second), &[], &["sleep", "1000"]);
    assert_eq!(host.addresses("new"), [IpAddr::from(ipv4), ipv6.into()]);
    hears(&wire, &expected(Mac::parse(second), ipv4, ipv6), "another container is told that a new one has the address");

    // So it is with one that runs already, and with one that is made ready long before it is started.
    host.ok(&["network", "disconnect", "web", "new"]);
    host.ok(&["run", "-d", "--name", "heir", "busybox", "sleep", "1000"]);
    let connect = ["network", "connect", "--ip", "10.9.8.50", "--ip6", "fd00:9::50", "--mac", first, "web", "heir"];
    host.ok(&connect);
    hears(&wire, &expected(Mac::parse(first), ipv4, ipv6), "… that one that runs has it");
    assert!(wire.frames(Duration::from_millis(100)).len() < 100, "no storm");
    drop(new);
}
