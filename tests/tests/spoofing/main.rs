//! A container cannot speak as another, as a router, as a DHCP server or as a switch.
//!
//! Containers have `CAP_NET_RAW`, so each attack is a frame made octet by octet and sent from inside one. The control
//! of all is the same frame where the rules are gone.

mod ipv4;
mod ipv6;
mod multicast;
mod noise;

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use tests::{ALL, Attached, Frame, Host, Mac, Wire};

const QUIET: Duration = Duration::from_millis(300);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: Mac = Mac([0x33, 0x33, 0, 0, 0, 1]);
const STRANGER_MAC: Mac = Mac([2, 0, 0, 0, 0, 0x99]);

/// Three containers on one network, of which one attacks.
struct Scene {
    host: Host,
    attacker: Attached,
    victim: Attached,
    neighbour: Attached,
    gateway: Ipv4Addr,
}

impl Scene {
    fn new(options: &[&str]) -> Self {
        let host = Host::new();
        // Where bridges call iptables they cut a packet where its header says that it ends, and the mark with it.
        for setting in ["iptables", "ip6tables"] {
            let off = format!("echo 0 > /proc/sys/net/bridge/bridge-nf-call-{setting} || true");
            host.namespace().run(&["sh", "-c", &off]);
        }
        host.ok(&[&["network", "create", "web"], options].concat());
        let run = |name| host.run(name, "web", &[], &["sleep", "1000"]);
        let [attacker, victim, neighbour] = ["attacker", "victim", "neighbour"].map(run);
        let gateway = host.json(&["network", "inspect", "web"])["subnets"][0]["gateway"].as_str().map(str::parse);
        let gateway = gateway.expect("a gateway").expect("an address");
        Self { host, attacker, victim, neighbour, gateway }
    }

    /// Takes the protection away: nobody is there to put it back.
    fn unprotect(&self) {
        self.host.kill();
        self.host.namespace().run(&["nft", "delete", "table", "bridge", "fabric"]);
    }

    /// The port of a container's, in the host's namespace.
    fn port(&self, container: &Attached) -> String {
        let link = container.namespace().run(&["ip", "-o", "link", "show", "eth0"]);
        let (_, rest) = link.split_once("@if").expect("one end of a pair");
        let index = format!("{}: ", rest.split(':').next().expect("an index"));
        let links = self.host.namespace().run(&["ip", "-o", "link"]);
        let line = links.lines().find(|line| line.starts_with(&index)).expect("the other end is on the host");
        line.split(": ").nth(1).expect("a name").split('@').next().expect("a name").to_owned()
    }
}

fn mac(container: &Attached) -> Mac {
    container.namespace().mac("eth0")
}

fn link_local(Mac([a, b, c, d, e, f]): Mac) -> Ipv6Addr {
    let pair = |high, low| u16::from_be_bytes([high, low]);
    Ipv6Addr::new(0xfe80, 0, 0, 0, pair(a ^ 2, b), pair(c, 0xff), pair(0xfe, d), pair(e, f))
}

/// Who is to hear a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    /// A container may send it, and the victim is to hear it.
    Victim,
    /// A container may send it, and nobody but the host is to hear it.
    HostAlone,
    /// It is dropped: no container may send it, or it is for nobody here.
    Nobody,
}

/// Whom frames reached, by their names.
#[derive(Debug, PartialEq, Eq)]
struct Arrivals {
    victim: BTreeSet<&'static str>,
    host: BTreeSet<&'static str>,
}

/// Sends every frame. What the bridge passes up to the host is seen on the bridge itself, whatever the host makes of
/// it.
fn arrivals(scene: &Scene, frames: &[(&'static str, Heard, Frame)]) -> Arrivals {
    let bridges = scene.host.namespace().run(&["ip", "-o", "link", "show", "type", "bridge"]);
    let bridge = bridges.split(": ").nth(1).expect("the network's bridge").to_owned();
    let wire = Wire::open(&scene.attacker.namespace(), "eth0", ALL);
    let victim = Wire::open(&scene.victim.namespace(), "eth0", ALL);
    let host = Wire::open(scene.host.namespace(), &bridge, ALL);
    for (number, (_, _, frame)) in frames.iter().enumerate() {
        wire.send(&frame.clone().marked(&format!("mark-{number:04}")));
    }
    let mark = |frame: &Vec<u8>| {
        let tail = String::from_utf8_lossy(&frame[frame.len().saturating_sub(9)..]).into_owned();
        tail.strip_prefix("mark-").and_then(|number| number.parse::<usize>().ok())
    };
    let [victim, host] = [victim, host].map(|wire| {
        let arrived = wire.frames(QUIET);
        arrived.iter().filter_map(mark).map(|number| frames[number].0).collect()
    });
    Arrivals { victim, host }
}

/// Only the honest frames arrive, and where they are to; without the rules every one does.
fn assert_only_honest_arrive(scene: &Scene, frames: &[(&'static str, Heard, Frame)]) {
    let named = |wanted: Heard| -> BTreeSet<_> {
        frames.iter().filter(|(_, heard, _)| *heard == wanted).map(|(name, ..)| *name).collect()
    };
    let (honest, for_host, forged) = (named(Heard::Victim), named(Heard::HostAlone), named(Heard::Nobody));
    let check = |when: &str| {
        let arrived = arrivals(scene, frames);
        assert_eq!(arrived.victim, honest, "{when}");
        let missing: Vec<_> = for_host.difference(&arrived.host).collect();
        assert!(missing.is_empty(), "{when} the host does not hear {missing:?}");
        let heard: Vec<_> = forged.intersection(&arrived.host).collect();
        assert!(heard.is_empty(), "{when} the host hears {heard:?}");
    };
    check("with the rules");
    scene.unprotect();
    let every: BTreeSet<_> = frames.iter().map(|(name, ..)| *name).collect();
    assert_eq!(every.len(), frames.len(), "each has a name of its own");
    assert_eq!(arrivals(scene, frames).victim, every, "the control: without the rules each of them arrives");
    scene.host.start();
    check("after a new start of netd");
    scene.host.assert_healthy();
}

/// What is for switches only, the bridge hands to the host without most rules, LLDP without any; and where it may, it
/// learns from all of it.
#[test]
fn a_container_is_neither_heard_nor_learnt_by_way_of_frames_for_switches() {
    const EAPOL: u16 = 0x888e;
    const LLDP: u16 = 0x88cc;
    let scene = Scene::new(&[]);
    let (port, victims) = (scene.port(&scene.attacker), scene.port(&scene.victim));
    let (me, you) = (mac(&scene.attacker), mac(&scene.victim));
    let wire = Wire::open(&scene.attacker.namespace(), "eth0", ALL);
    let host = Wire::open(scene.host.namespace(), &port, EAPOL);
    let send = |from| {
        wire.send(&Frame::new(Mac([1, 0x80, 0xc2, 0, 0, 3]), from, EAPOL, &[0; 46]));
        wire.send(&Frame::new(Mac([1, 0x80, 0xc2, 0, 0, 0x0e]), from, LLDP, &[0; 46]));
        host.frames(QUIET).len()
    };
    let place = |mac: Mac| {
        let text = mac.0.map(|octet| format!("{octet:02x}")).join(":");
        let entries = scene.host.namespace().run(&["bridge", "fdb", "show"]);
        let line = entries.lines().find(|line| line.starts_with(&text) && line.contains("master")).map(str::to_owned);
        line.unwrap_or_else(|| panic!("{text} is in no forwarding database:\n{entries}"))
    };
    assert_eq!((send(me), send(you)), (0, 0), "the host hears nothing of it");
    assert!(place(you).contains(&victims) && place(you).contains("static"), "{}", place(you));
    scene.unprotect();
    assert_eq!((send(me), send(you)), (1, 1), "the control: without the rules it does");
    assert!(place(you).contains(&victims), "even then the bridge learns nothing: {}", place(you));
    scene.host.namespace().run(&["bridge", "link", "set", "dev", &port, "learning", "on"]);
    send(you);
    assert!(place(you).contains(&port), "the control: a bridge that learns is led astray: {}", place(you));
    scene.host.start();
    assert!(place(you).contains(&victims), "a new start of netd puts it right");
    scene.host.assert_healthy();
}

#[test]
fn nobody_sees_what_is_for_somebody_else() {
    let scene = Scene::new(&[]);
    let unknown = Mac([2, 0, 0, 0, 0, 0x77]);
    let (her, port) = (mac(&scene.neighbour), scene.port(&scene.attacker));
    let wire = Wire::open(&scene.victim.namespace(), "eth0", ALL);
    let eavesdropper = Wire::open(&scene.attacker.namespace(), "eth0", ALL);
    let addresses = [scene.victim.ipv4, scene.neighbour.ipv4].map(IpAddr::from);
    let from = mac(&scene.victim);
    let heard = |to: Mac| {
        wire.send(&Frame::udp(to, from, addresses, [4000, 4000]));
        eavesdropper.frames(QUIET).iter().any(|frame| frame[..6] == to.0)
    };
    // As it is after five quiet minutes, had the bridge learnt the address.
    assert!(!heard(her) && !heard(unknown));
    scene.host.kill();
    scene.host.namespace().run(&["bridge", "link", "set", "dev", &port, "flood", "on"]);
    assert!(heard(unknown), "the control: a port that is flooded hears it");
    scene.host.start();
    assert!(!heard(unknown));
}
