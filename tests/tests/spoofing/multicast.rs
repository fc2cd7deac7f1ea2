//! What bridges learn of multicast from containers' frames.

use std::net::Ipv4Addr;

use tests::{ALL, Frame, Mac, Wire, eventually};

use super::{Scene, mac};

/// As many groups make a bridge of Linux stop snooping, unless it is told otherwise.
const BRIDGES_LIMIT: u32 = 4096;
/// As many can be joined behind a container's port.
const PORTS_LIMIT: usize = 128;

impl Scene {
    fn bridge(&self) -> String {
        let bridges = self.host.namespace().run(&["ip", "-o", "link", "show", "type", "bridge"]);
        bridges.split(": ").nth(1).expect("the network's bridge").to_owned()
    }

    /// Puts the attacker's port into its bridge anew, which is how Linux makes one: it learns, and believes routers.
    fn renew_port(&self) {
        let (port, bridge) = (self.port(&self.attacker), self.bridge());
        self.host.namespace().run(&["ip", "link", "set", &port, "nomaster"]);
        self.host.namespace().run(&["ip", "link", "set", &port, "master", &bridge]);
        eventually("the port passes frames", || {
            let shown = self.host.namespace().run(&["bridge", "link", "show", "dev", &port]);
            shown.contains("state forwarding").then_some(())
        });
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

    fn is_snooping(&self) -> bool {
        let shown = self.host.namespace().run(&["ip", "-d", "link", "show", &self.bridge()]);
        shown.contains("mcast_snooping 1")
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
    scene.renew_port();
    eventually("the control: a port as Linux makes it is the way to a router", || pose().then_some(()));
    scene.host.start();
    assert!(!pose(), "a new start of netd puts it right");
    scene.host.assert_healthy();
}

#[test]
fn a_container_cannot_make_the_bridge_send_all_multicast_to_all() {
    const REPORT: u8 = 0x16;
    let scene = Scene::new(&[]);
    let wire = Wire::open(&scene.attacker.namespace(), "eth0", ALL);
    let me = (mac(&scene.attacker), scene.attacker.ipv4);
    let join = || {
        for number in 0..=BRIDGES_LIMIT {
            let group = Ipv4Addr::from(u32::from(Ipv4Addr::new(239, 1, 0, 0)) + number);
            wire.send(&igmp(me, REPORT, group, group));
        }
    };
    join();
    assert!(scene.is_snooping());
    let joined = scene.groups();
    assert_eq!(joined, PORTS_LIMIT, "the control: it can join so many");
    scene.unprotect();
    scene.renew_port();
    join();
    assert!(scene.groups() > PORTS_LIMIT, "the control: a port as Linux makes it has no limit");
    assert!(scene.is_snooping(), "even then the bridge has room for the groups of all its ports");
    scene.host.namespace().run(&[
        "ip",
        "link",
        "set",
        &scene.bridge(),
        "type",
        "bridge",
        "mcast_hash_max",
        &BRIDGES_LIMIT.to_string(),
    ]);
    scene.renew_port();
    let stopped = || {
        join();
        (!scene.is_snooping()).then_some(())
    };
    eventually("the control: a bridge as Linux makes it stops snooping", stopped);
    scene.host.start();
    scene.host.assert_healthy();
}
