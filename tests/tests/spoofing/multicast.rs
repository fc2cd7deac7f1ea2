//! What bridges learn of multicast from containers' frames.

use std::{
    net::{Ipv4Addr, UdpSocket},
    time::Duration,
};

use tests::{ALL, Frame, Mac, Wire, eventually};

use super::{Scene, mac};

/// As many groups can be joined behind one bridge as Linux makes one.
const GROUPS: u32 = 4096;

impl Scene {
    fn bridge(&self) -> String {
        let bridges = self.host.namespace().run(&["ip", "-o", "link", "show", "type", "bridge"]);
        bridges.split(": ").nth(1).expect("the network's bridge").to_owned()
    }

    /// Has the bridge listen to what is said of groups, as Linux makes one.
    fn snoop(&self) {
        self.host.namespace().run(&["ip", "link", "set", &self.bridge(), "type", "bridge", "mcast_snooping", "1"]);
    }

    /// Whether the bridge sends multicast into the attacker's port, whoever joined what.
    fn is_way_to_router(&self) -> bool {
        let (shown, port) = (self.host.namespace().run(&["bridge", "-d", "mdb", "show"]), self.port(&self.attacker));
        shown.lines().any(|line| line.starts_with("router ports on") && line.contains(&port))
    }

    /// How many groups are joined behind the attacker's port.
    fn groups(&self) -> usize {
        let (groups, port) = (self.host.namespace().run(&["bridge", "mdb", "show"]), self.port(&self.attacker));
        groups.lines().filter(|line| line.contains(&format!("port {port} grp "))).count()
    }
}

/// A report of a group (IGMP version 2, RFC 2236) and what is sent to a group's members.
fn igmp((mac, address): (Mac, Ipv4Addr), kind: u8, group: Ipv4Addr, to: Ipv4Addr) -> Frame {
    let [_, b, c, d] = to.octets();
    let mut message = [&[kind, 0, 0, 0][..], &group.octets()].concat();
    let sum: u32 = message.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = u16::try_from((sum & 0xffff) + (sum >> 16)).expect("two words of a sum make no third");
    message[2..4].copy_from_slice(&(!folded).to_be_bytes());
    Frame::ipv4(Mac([1, 0, 0x5e, b & 0x7f, c, d]), mac, [address, to], 2, &message)
}

#[test]
fn a_container_is_no_way_to_multicast_routers() {
    const QUERY: u8 = 0x11;
    let scene = Scene::new(&[]);
    let wire = Wire::open(&scene.attacker.namespace(), "eth0", ALL);
    let me = (mac(&scene.attacker), scene.attacker.ipv4);
    let to_routers = Ipv4Addr::new(224, 0, 0, 13);
    let pim = Frame::ipv4(Mac([1, 0, 0x5e, 0, 0, 13]), me.0, [me.1, to_routers], 103, &[0x20, 0, 0xdf, 0xff]);
    let query = igmp(me, QUERY, Ipv4Addr::UNSPECIFIED, Ipv4Addr::new(224, 0, 0, 1));
    let pose = || {
        for frame in [&pim, &query] {
            wire.send(frame);
        }
        scene.is_way_to_router()
    };
    assert!(!pose());
    scene.unprotect();
    assert!(!pose(), "even without the rules it is not believed");
    scene.snoop();
    eventually("the control: a bridge as Linux makes it believes", || pose().then_some(()));
    scene.host.start();
    assert!(!pose(), "a new start of netd puts it right");
    scene.host.assert_healthy();
}

#[test]
fn a_container_cannot_fill_the_bridge_with_groups() {
    const REPORT: u8 = 0x16;
    let scene = Scene::new(&[]);
    let wire = Wire::open(&scene.attacker.namespace(), "eth0", ALL);
    let me = (mac(&scene.attacker), scene.attacker.ipv4);
    let join = || {
        for number in 0..GROUPS {
            let group = Ipv4Addr::from(u32::from(Ipv4Addr::new(239, 1, 0, 0)) + number);
            wire.send(&igmp(me, REPORT, group, group));
        }
    };
    join();
    assert_eq!(scene.groups(), 0);
    scene.unprotect();
    join();
    assert_eq!(scene.groups(), 0, "even without the rules none is remembered");
    scene.snoop();
    let filled = || {
        join();
        (scene.groups() > 1000).then_some(())
    };
    eventually("the control: a bridge as Linux makes it remembers them", filled);
    scene.host.start();
    assert_eq!(scene.groups(), 0, "a new start of netd puts it right");
    scene.host.assert_healthy();
}

#[test]
fn multicast_reaches_whoever_is_on_the_network() {
    let scene = Scene::new(&[]);
    let group = Ipv4Addr::new(239, 1, 2, 3);
    let wire = Wire::open(&scene.attacker.namespace(), "eth0", ALL);
    scene.snoop();
    let bridge = scene.bridge();
    eventually("what somebody else changes of the bridge is put back", || {
        let shown = scene.host.namespace().run(&["ip", "-d", "link", "show", &bridge]);
        shown.contains("mcast_snooping 0").then_some(())
    });
    let victim = scene.victim.namespace();
    let socket = victim.enter(|| UdpSocket::bind((scene.victim.ipv4, 0)).expect("free"));
    eventually("nobody has to join for it", || {
        socket.send_to(b"to a group", (group, 7000)).expect("there is a route");
        let heard = wire.frames(Duration::from_millis(100));
        heard.iter().any(|frame| frame.ends_with(b"to a group")).then_some(())
    });
}
