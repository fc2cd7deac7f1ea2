//! A container cannot speak as another, as a router, as a DHCP server or as a switch.
//!
//! Containers have `CAP_NET_RAW`, so each attack is a frame made octet by octet and sent from inside one. The control of
//! all is the same frame where the rules are gone.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use tests::{ALL, Attached, Frame, Host, Mac, Ping, Wire, within};

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
    fn new() -> Self {
        let host = Host::new();
        // Where bridges call iptables they cut a packet where its header says that it ends, and the mark with it.
        for setting in ["iptables", "ip6tables"] {
            let off = format!("echo 0 > /proc/sys/net/bridge/bridge-nf-call-{setting} || true");
            host.namespace().run(&["sh", "-c", &off]);
        }
        host.ok(&["network", "create", "web"]);
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
    let link = container.namespace().run(&["ip", "-o", "link", "show", "eth0"]);
    Mac::parse(link.split_whitespace().skip_while(|word| *word != "link/ether").nth(1).expect("an address"))
}

fn link_local(Mac([a, b, c, d, e, f]): Mac) -> Ipv6Addr {
    let pair = |high, low| u16::from_be_bytes([high, low]);
    Ipv6Addr::new(0xfe80, 0, 0, 0, pair(a ^ 2, b), pair(c, 0xff), pair(0xfe, d), pair(e, f))
}

/// Whether a frame is one that a container may send.
type Honest = bool;

/// Every frame of the attack, and a few that are honest and must arrive.
fn frames(scene: &Scene) -> Vec<(&'static str, Honest, Frame)> {
    let (me, you, her) = (mac(&scene.attacker), mac(&scene.victim), mac(&scene.neighbour));
    let (my_ip, your_ip, her_ip) = (scene.attacker.ipv4, scene.victim.ipv4, scene.neighbour.ipv4);
    let v4 = |source: Ipv4Addr| [source, your_ip].map(IpAddr::from);
    let all = Mac::BROADCAST;
    let nobody = Ipv4Addr::UNSPECIFIED;
    let arp = |from, sender| Frame::arp(you, from, 2, sender, (you, your_ip));
    let ll = link_local(me);
    let to_all = |source| [source, ALL_NODES];
    // Lifetime 1800 s, router preference high.
    let advertisement = [[64, 8, 7, 8].as_slice(), &[0; 8], &[1, 1], &me.0].concat();
    let claim = Frame::neighbour(0x20, link_local(her), 2, me);
    let ask_for_own = Frame::neighbour(0, ll, 1, me)[..20].to_vec();
    let options = [&[58, 0, 1, 4, 0, 0, 0, 0], &[134, 0, 0, 0][..], &advertisement].concat();
    vec![
        ("honest udp", true, Frame::udp(you, me, v4(my_ip), [4000, 4000])),
        ("honest broadcast", true, Frame::udp(all, me, [my_ip, Ipv4Addr::BROADCAST].map(IpAddr::from), [4000, 4000])),
        ("honest arp answer", true, arp(me, (me, my_ip))),
        ("honest arp question", true, Frame::arp(all, me, 1, (me, my_ip), (Mac([0; 6]), your_ip))),
        ("honest arp probe", true, Frame::arp(all, me, 1, (me, nobody), (Mac([0; 6]), my_ip))),
        ("another mac", false, Frame::udp(you, STRANGER_MAC, v4(my_ip), [4000, 4000])),
        ("the neighbour's mac", false, Frame::udp(you, her, v4(her_ip), [4000, 4000])),
        ("the neighbour's ip", false, Frame::udp(you, me, v4(her_ip), [4000, 4000])),
        ("the gateway's ip", false, Frame::udp(you, me, v4(scene.gateway), [53, 4000])),
        ("an ip from elsewhere", false, Frame::udp(you, me, v4(Ipv4Addr::new(192, 0, 2, 7)), [4000, 4000])),
        ("no ip", false, Frame::udp(you, me, v4(nobody), [4000, 4000])),
        ("arp for the neighbour", false, arp(me, (me, her_ip))),
        ("arp for the gateway", false, arp(me, (me, scene.gateway))),
        ("arp with her mac inside", false, arp(me, (her, my_ip))),
        ("arp from her", false, arp(her, (her, her_ip))),
        ("gratuitous arp", false, Frame::arp(all, me, 1, (me, scene.gateway), (Mac([0; 6]), scene.gateway))),
        ("arp answer from nobody", false, arp(me, (me, nobody))),
        ("reverse arp", false, Frame::new(all, me, 0x8035, &[0; 28])),
        ("dhcp offer", false, Frame::udp(all, me, [my_ip, Ipv4Addr::BROADCAST].map(IpAddr::from), [67, 68])),
        ("icmp redirect", false, Frame::ipv4(you, me, [my_ip, your_ip], 1, &[5, 1, 0, 0, 0, 0, 0, 0])),
        (
            "igmp query",
            false,
            Frame::ipv4(all, me, [my_ip, Ipv4Addr::new(224, 0, 0, 1)], 2, &[0x11, 0, 0, 0, 0, 0, 0, 0]),
        ),
        ("router advertisement", false, Frame::icmpv6(ALL_NODES_MAC, me, to_all(ll), 134, &advertisement)),
        ("hidden router advertisement", false, Frame::ipv6(ALL_NODES_MAC, me, to_all(ll), 60, &options)),
        ("neighbour advertisement", false, Frame::icmpv6(ALL_NODES_MAC, me, to_all(ll), 136, &claim)),
        ("ipv6 redirect", false, Frame::icmpv6(you, me, [ll, link_local(you)], 137, &[0; 36])),
        ("mld query", false, Frame::icmpv6(ALL_NODES_MAC, me, to_all(ll), 130, &[0; 20])),
        ("dhcpv6 reply", false, Frame::udp(you, me, [ll, link_local(you)].map(IpAddr::from), [547, 546])),
        ("ipv6 where there is none", false, Frame::udp(you, me, [ll, link_local(you)].map(IpAddr::from), [4000, 4000])),
        (
            "duplicate address detection",
            false,
            Frame::icmpv6(ALL_NODES_MAC, me, to_all(Ipv6Addr::UNSPECIFIED), 135, &ask_for_own),
        ),
        ("vlan tag", false, Frame::udp(you, me, v4(my_ip), [4000, 4000]).tagged(7)),
        ("priority tag", false, Frame::udp(you, me, v4(my_ip), [4000, 4000]).tagged(0x2000)),
        ("two vlan tags", false, Frame::udp(you, me, v4(my_ip), [4000, 4000]).tagged(7).tagged(8)),
        ("bpdu", false, Frame::new(Mac([1, 0x80, 0xc2, 0, 0, 0]), me, 38, &[&[0x42, 0x42, 3][..], &[0; 35]].concat())),
        ("an unknown protocol", false, Frame::new(you, me, 0x88b5, &[0; 28])),
    ]
}

/// Sends every frame and returns the names of those that reached the victim.
fn arrivals(scene: &Scene, frames: &[(&'static str, Honest, Frame)]) -> BTreeSet<&'static str> {
    let wire = Wire::open(&scene.attacker.namespace(), "eth0", ALL);
    let victim = Wire::open(&scene.victim.namespace(), "eth0", ALL);
    for (number, (_, _, frame)) in frames.iter().enumerate() {
        wire.send(&frame.clone().marked(&format!("mark-{number:04}")));
    }
    let arrived = victim.frames(QUIET);
    let mark = |frame: &Vec<u8>| {
        let tail = String::from_utf8_lossy(&frame[frame.len().saturating_sub(9)..]).into_owned();
        tail.strip_prefix("mark-").and_then(|number| number.parse::<usize>().ok())
    };
    arrived.iter().filter_map(mark).map(|number| frames[number].0).collect()
}

#[test]
fn only_honest_frames_leave_a_container() {
    let scene = Scene::new();
    let frames = frames(&scene);
    let honest: BTreeSet<_> = frames.iter().filter(|(_, honest, _)| *honest).map(|(name, ..)| *name).collect();
    assert_eq!(arrivals(&scene, &frames), honest);
    scene.unprotect();
    let every: BTreeSet<_> = frames.iter().map(|(name, ..)| *name).collect();
    assert_eq!(arrivals(&scene, &frames), every, "the control: without the rules each of them arrives");
    scene.host.start();
    assert_eq!(arrivals(&scene, &frames), honest, "and a new start of netd puts them back");
    scene.host.assert_healthy();
}

#[test]
fn forged_arp_changes_no_neighbours_cache() {
    let scene = Scene::new();
    let inside = scene.victim.namespace();
    Ping::start(&inside, scene.gateway).finish();
    let known = || {
        let cache = inside.run(&["ip", "neigh", "show", &scene.gateway.to_string()]);
        cache.split_whitespace().skip_while(|word| *word != "lladdr").nth(1).map(str::to_owned)
    };
    let before = known().expect("the gateway is known");
    let (me, you) = (mac(&scene.attacker), mac(&scene.victim));
    let wire = Wire::open(&scene.attacker.namespace(), "eth0", ALL);
    let forge = || {
        let forged = Frame::arp(you, me, 2, (me, scene.gateway), (you, scene.victim.ipv4));
        wire.send(&forged);
        known().filter(|now| *now != before)
    };
    // An entry takes no other address within a second of its last change (`locktime` of arp(7)).
    assert_eq!(within(Duration::from_secs(2), forge), None);
    scene.unprotect();
    assert!(within(Duration::from_secs(3), forge).is_some(), "the control");
    scene.host.start();
}

/// What is for switches only, the bridge hands to the host without most rules, LLDP without any; and where it may, it
/// learns from all of it.
#[test]
fn a_container_is_neither_heard_nor_learnt_by_way_of_frames_for_switches() {
    const EAPOL: u16 = 0x888e;
    const LLDP: u16 = 0x88cc;
    let scene = Scene::new();
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
    let scene = Scene::new();
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
