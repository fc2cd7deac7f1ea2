//! The shortcut from port to port: what takes it, who is reached by it, when it is there, and what it is worth.

#[path = "../lab/mod.rs"]
mod lab;
mod names;
mod packet;
mod presence;
mod speed;

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
};

use lab::{Lab, Place, address, attachment, ipv6, network, sh, state, with_passages};
use model::{IfName, MacAddress, Scope, State};

/// The host's end of a container's pair.
fn port(number: u8) -> IfName {
    attachment(number, &[]).endpoint.host_interface()
}

fn mac(number: u8) -> MacAddress {
    attachment(number, &[]).endpoint.mac.expect("every container of the lab has one")
}

/// A host with these containers, all of which take the shortcut.
fn spliced(numbers: &[u8]) -> State {
    let attachments: Vec<_> = numbers.iter().map(|number| attachment(*number, &[])).collect();
    with_passages(&state(&attachments), numbers)
}

/// Whether a frame that comes in by a container's port takes the shortcut.
fn takes(lab: &Lab, number: u8, frame: &[u8]) -> bool {
    lab.wait(lab.kernel.takes_shortcut(port(number), frame.to_vec())).expect("can be asked")
}

/// A frame of TCP from a container to another, which a test then spoils.
fn tcp(from: u8, to: u8) -> Vec<u8> {
    let mut frame = [mac(to).octets(), mac(from).octets()].concat();
    frame.extend([0x08, 0x00, 0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0]);
    frame.extend([address(from), address(to)].map(|address: Ipv4Addr| address.octets()).concat());
    frame.extend([0; 20]);
    frame
}

/// The same over IPv6.
fn tcp6(from: u8, to: u8) -> Vec<u8> {
    let mut frame = [mac(to).octets(), mac(from).octets()].concat();
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 6, 64]);
    frame.extend([ipv6(from), ipv6(to)].map(|address| address.octets()).concat());
    frame.extend([0; 20]);
    frame
}

/// A frame with other octets at a place.
fn with(mut frame: Vec<u8>, at: usize, octets: &[u8]) -> Vec<u8> {
    frame[at..at + octets.len()].copy_from_slice(octets);
    frame
}

#[test]
fn only_plain_frames_between_two_ports_of_one_network_take_it() {
    lab::run(|lab| {
        let all = spliced(&[12, 13, 22]);
        lab.settle(&all);
        let udp = |frame, ports: &[u8]| {
            let frame: Vec<u8> = frame;
            let (next, behind) = if frame[12] == 0x08 { (23, 34) } else { (20, 54) };
            with(with(frame, next, &[17]), behind, ports)
        };
        let (v4, v6) = (tcp(12, 13), tcp6(12, 13));
        let (dns, dns6) = (udp(v4.clone(), &[0, 99, 0, 53]), udp(v6.clone(), &[0, 99, 0, 53]));
        let honest = [("TCP", &v4), ("UDP", &dns), ("TCP over IPv6", &v6), ("UDP over IPv6", &dns6)];
        for (name, frame) in honest {
            assert!(takes(lab, 12, frame), "{name}");
            // Nothing of it is decided by anything but these ports.
            for other in [13, 22] {
                assert!(!takes(lab, other, frame), "{name} from the port of {other}");
            }
            // Any one bit of what says from whom and to whom it is matters.
            let ends = if frame[12] == 0x08 { 26..34 } else { 22..54 };
            for at in (0..14).chain(ends) {
                for bit in 0..8 {
                    let spoilt = with(frame.clone(), at, &[frame[at] ^ (1 << bit)]);
                    assert!(!takes(lab, 12, &spoilt), "{name} with bit {bit} of octet {at} turned");
                }
            }
        }
        let spoilt = [
            ("another's MAC address", with(v4.clone(), 6, &mac(13).octets())),
            ("from no address", with(v4.clone(), 26, &[0; 4])),
            ("from no address of IPv6", with(v6.clone(), 22, &[0; 16])),
            ("another network's MAC address", with(v4.clone(), 0, &mac(22).octets())),
            ("another network's IP address", with(v4.clone(), 30, &address(22).octets())),
            ("another network's container", tcp(12, 22)),
            ("the same over IPv6", tcp6(12, 22)),
            ("to oneself", tcp(12, 12)),
            ("to the gateway's address, by a neighbour", with(v4.clone(), 30, &lab::gateway(1).octets())),
            ("to all", with(v4.clone(), 0, &[0xff; 6])),
            ("options", with(v4.clone(), 14, &[0x46])),
            ("a first fragment", with(v4.clone(), 20, &[0x20, 0])),
            ("a later fragment", with(v4.clone(), 20, &[0, 1])),
            ("ICMP", with(v4.clone(), 23, &[1])),
            ("SCTP", with(v4.clone(), 23, &[132])),
            ("a DHCP server", udp(v4.clone(), &[0, 67, 0, 68])),
            ("a DHCPv6 server", udp(v6.clone(), &[2, 35, 2, 34])),
            ("ICMPv6", with(v6.clone(), 20, &[58])),
            ("a fragment of IPv6", with(v6.clone(), 20, &[44])),
            ("options for hops", with(v6.clone(), 20, &[0])),
            ("ARP", with(v4.clone(), 12, &[0x08, 0x06])),
            ("a VLAN tag", with(v4.clone(), 12, &[0x81, 0])),
            ("too long", [v4.clone(), vec![0; 1461]].concat()),
            ("too short", v4[..37].to_vec()),
            ("too short for IPv6", v6[..57].to_vec()),
        ];
        for (name, frame) in &spoilt {
            assert!(!takes(lab, 12, frame), "{name}");
        }
        for left in [12, 13] {
            let number = if left == 12 { 13 } else { 12 };
            let closed = format!("close the passage of {}", port(number));
            assert_eq!(lab.reconcile(Scope::Shortcut, &with_passages(&all, &[left, 22])), [closed]);
            assert!(!takes(lab, 12, &v4), "{number} is gone");
            assert_eq!(lab.reconcile(Scope::Shortcut, &all).len(), 1);
            assert!(takes(lab, 12, &v4), "{number} is back");
        }
    });
}

/// Without their bridge only the shortcut brings anything from one container to another.
#[test]
fn who_is_no_longer_in_the_maps_is_unreachable_at_once() {
    lab::run(|lab| {
        let all = [12, 13, 14, 22];
        let plain = state(&all.map(|number| attachment(number, &[])));
        lab.settle(&with_passages(&plain, &[12, 13, 22]));
        for from in all {
            for to in all {
                let (address, mac) = (address(to), mac(to));
                // Those of another network are sent to as if they were neighbours.
                let route = if from / 10 == to / 10 { "" } else { "ip route replace ADDRESS dev eth0;" };
                let neighbour = "ip neigh replace ADDRESS lladdr MAC dev eth0";
                let script = format!("{route} {neighbour}");
                let script = script.replace("ADDRESS", &address.to_string()).replace("MAC", &mac.to_string());
                lab.sh_at(Place::Container(from), &script);
            }
        }
        lab.serve(Place::Container(13), 80);
        let listener = lab.at(Place::Container(13), || TcpListener::bind(("0.0.0.0", 81)).expect("the port is free"));
        sh(&format!("ip link set {} down; ip link set {} down", network(1).bridge(), network(2).bridge()));
        let ask = |from| lab.ask(Place::Container(from), address(13), 80);
        let ask_in_vain = |from| lab.ask_in_vain(Place::Container(from), address(13), 80);
        assert_eq!(ask(12), Some(address(12)), "the shortcut needs no bridge");
        assert_eq!(ask_in_vain(14), None, "the control: without it there is no way");
        assert_eq!(ask_in_vain(22), None, "nor is there from another network");
        let mut one = lab.at(Place::Container(12), || TcpStream::connect((address(13), 81)).expect("is reached"));
        let (mut other, _) = listener.accept().expect("somebody connected");
        let mut hears = |octet: u8, patience| {
            other.set_read_timeout(Some(patience)).expect("a timeout can be set");
            one.write_all(&[octet]).expect("is sent, or waits");
            other.read_exact(&mut [0]).is_ok()
        };
        assert!(hears(1, lab::ENOUGH));
        lab.reconcile(Scope::Shortcut, &with_passages(&plain, &[]));
        assert!(!hears(2, lab::SILENCE), "what is connected ends");
        assert_eq!(ask_in_vain(12), None, "and nothing connects");
        // What the bridge's ports are left with is what they had before.
        lab.reconcile(Scope::Everything, &plain);
        assert_eq!(lab.ask(Place::Container(14), address(13), 80), Some(address(14)));
    });
}
