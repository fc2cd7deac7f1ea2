//! On a network with IPv6, where a container may send most of what it may not send elsewhere, but only as itself.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use tests::{ALL, Attached, Frame, Mac, PATIENCE, Wire, within};

use super::{
    ALL_NODES, ALL_NODES_MAC,
    Heard::{self, HostAlone, Nobody, Victim},
    STRANGER_MAC, Scene, assert_only_honest_arrive, link_local, mac,
};

// Next headers (RFC 8200 §4).
const HOP_BY_HOP: u8 = 0;
const UDP: u8 = 17;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const ICMPV6: u8 = 58;
const DESTINATION: u8 = 60;

// Types of ICMPv6.
const MLD_QUERY: u8 = 130;
const MLD_REPORT: u8 = 131;
const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;

const ALL_ROUTERS_DHCP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
/// Of an advertisement: it answers, and overrides what is known.
const SOLICITED_OVERRIDE: u8 = 0x60;

fn scene() -> Scene {
    Scene::new(&["--ipv6"])
}

pub(super) fn address(scene: &Scene, container: &Attached, field: &str) -> Ipv6Addr {
    let shown = scene.host.json(&["inspect", &container.id]);
    shown["endpoints"][0][field].as_str().expect("the network has IPv6").parse().expect("an address")
}

/// An extension header without content, before a header of the type `next`.
fn options(next: u8) -> [u8; 8] {
    [next, 0, 1, 4, 0, 0, 0, 0]
}

/// A routing header with nothing left to route by (RFC 8200 §4.4).
fn routing(next: u8) -> [u8; 8] {
    [next, 0, 253, 0, 0, 0, 0, 0]
}

/// A fragment header (§4.5): where its part begins, in units of eight octets, and whether more follow.
fn fragment(next: u8, offset: u16, more: bool) -> [u8; 8] {
    let [high, low] = (offset << 3 | u16::from(more)).to_be_bytes();
    [next, 0, high, low, 0, 0, 0, 1]
}

/// The ports of a UDP datagram, its length, no content, and no checksum.
fn datagram(sport: u16, dport: u16) -> Vec<u8> {
    [&sport.to_be_bytes()[..], &dport.to_be_bytes(), &[0, 8, 0, 0]].concat()
}

pub(super) fn frames(scene: &Scene) -> Vec<(&'static str, Heard, Frame)> {
    let (me, you, her) = (mac(&scene.attacker), mac(&scene.victim), mac(&scene.neighbour));
    let of = |container| address(scene, container, "ipv6");
    let (my_ip, your_ip, her_ip) = (of(&scene.attacker), of(&scene.victim), of(&scene.neighbour));
    let gateway = address(scene, &scene.attacker, "gateway6");
    let (my_ll, her_ll) = (link_local(me), link_local(her));
    let nobody = Ipv6Addr::UNSPECIFIED;
    let elsewhere: Ipv6Addr = "2001:db8::7".parse().expect("literal");

    let udp = |from, source: Ipv6Addr| Frame::udp(you, from, [source, your_ip].map(IpAddr::from), [4000, 4000]);
    let packet = |source, next, parts: &[&[u8]]| Frame::ipv6(you, me, [source, your_ip], next, &parts.concat());
    let message = |source, kind, body: &[u8]| Frame::icmpv6(you, me, [source, your_ip], kind, body);
    let to_all = |source, kind, body: &[u8]| Frame::icmpv6(ALL_NODES_MAC, me, [source, ALL_NODES], kind, body);
    let raw = |source, kind, body: &[u8]| Frame::icmpv6_message([source, your_ip], kind, body);

    let advertise = |target, mac| Frame::neighbour(SOLICITED_OVERRIDE, target, 2, mac);
    let solicit = |target, mac| Frame::neighbour(0, target, 1, mac);
    let probe = |target| Frame::neighbour(0, target, 1, me)[..20].to_vec();
    // Lifetime 1800 s, router preference high.
    let router = [[64, 8, 7, 8].as_slice(), &[0; 8], &[1, 1], &me.0].concat();
    let hidden_router = raw(my_ll, ROUTER_ADVERTISEMENT, &router);
    let hidden_claim = raw(my_ip, ADVERTISEMENT, &advertise(her_ip, me));
    let own_claim = raw(my_ip, ADVERTISEMENT, &advertise(my_ip, me));
    let query = [&[0, 1, 0, 0][..], &[0; 16]].concat();
    let dhcp_server = datagram(547, 546);
    // An error quotes the packet that it is about, behind four octets of which one kind is an MTU.
    let quote = |source: Ipv6Addr, target: Ipv6Addr| {
        let about = Frame::udp(you, me, [source, target].map(IpAddr::from), [4000, 4000]);
        [&[0, 0, 5, 0], about.packet()].concat()
    };

    vec![
        ("honest udp", Victim, udp(me, my_ip)),
        ("honest udp between link-local addresses", Victim, udp(me, my_ll)),
        ("honest options", Victim, packet(my_ip, DESTINATION, &[&options(UDP), &datagram(4000, 4000)])),
        ("honest first fragment", Victim, packet(my_ip, FRAGMENT, &[&fragment(UDP, 0, true), &datagram(4000, 4000)])),
        ("honest later fragment", Victim, packet(my_ip, FRAGMENT, &[&fragment(UDP, 2, false), &[7; 8]])),
        ("honest later fragment of an echo", Victim, packet(my_ip, FRAGMENT, &[&fragment(ICMPV6, 2, false), &[7; 8]])),
        ("honest echo", Victim, message(my_ip, 128, &[0; 8])),
        ("honest solicitation", Victim, message(my_ip, SOLICITATION, &solicit(your_ip, me))),
        ("honest advertisement", Victim, message(my_ip, ADVERTISEMENT, &advertise(my_ip, me))),
        ("honest link-local advertisement", Victim, to_all(my_ll, ADVERTISEMENT, &advertise(my_ll, me))),
        ("solicitation of another", Nobody, message(my_ip, SOLICITATION, &solicit(her_ip, me))),
        ("duplicate address detection, for the host", HostAlone, to_all(nobody, SOLICITATION, &probe(my_ip))),
        ("router solicitation, for the host", HostAlone, to_all(nobody, ROUTER_SOLICITATION, &[0; 4])),
        ("listener report, for the host", HostAlone, to_all(my_ll, MLD_REPORT, &query)),
        (
            "honest dhcpv6 client",
            Victim,
            Frame::udp(Mac([0x33, 0x33, 0, 1, 0, 2]), me, [my_ll, ALL_ROUTERS_DHCP].map(IpAddr::from), [546, 547]),
        ),
        ("honest unreachable", Victim, message(my_ip, 1, &quote(your_ip, my_ip))),
        ("honest too big, about a link-local address", Victim, message(my_ll, 2, &quote(her_ll, my_ll))),
        ("unreachable, about her flow", Nobody, message(my_ip, 1, &quote(your_ip, her_ip))),
        ("too big, about a flow to the outside", Nobody, message(my_ip, 2, &quote(your_ip, elsewhere))),
        ("time exceeded, about her flow", Nobody, message(my_ip, 3, &quote(your_ip, her_ip))),
        ("parameter problem, about her flow", Nobody, message(my_ip, 4, &quote(your_ip, her_ip))),
        ("unreachable in her name", Nobody, message(her_ip, 1, &quote(your_ip, my_ip))),
        ("unreachable, about nothing", Nobody, message(my_ip, 1, &[0; 4])),
        (
            "hidden too big, about her flow",
            Nobody,
            packet(my_ip, DESTINATION, &[&options(ICMPV6), &raw(my_ip, 2, &quote(your_ip, her_ip))]),
        ),
        (
            "first fragment of too big",
            Nobody,
            packet(my_ip, FRAGMENT, &[&fragment(ICMPV6, 0, true), &raw(my_ip, 2, &quote(your_ip, her_ip))[..8]]),
        ),
        ("pim hello", Nobody, packet(my_ll, 103, &[&[0x20, 0, 0xdf, 0xff]])),
        ("multicast router advertisement", Nobody, to_all(my_ll, 151, &[0; 4])),
        ("another mac", Nobody, udp(STRANGER_MAC, my_ip)),
        ("the neighbour's mac", Nobody, udp(her, her_ip)),
        ("the neighbour's ip", Nobody, udp(me, her_ip)),
        ("the neighbour's link-local ip", Nobody, udp(me, her_ll)),
        ("the gateway's ip", Nobody, udp(me, gateway)),
        ("an ip from elsewhere", Nobody, udp(me, elsewhere)),
        ("another ip of the subnet", Nobody, udp(me, Ipv6Addr::from(u128::from(my_ip) + 0x1000))),
        ("no ip", Nobody, udp(me, nobody)),
        ("an echo from her", Nobody, message(her_ip, 128, &[0; 8])),
        ("an echo from nobody", Nobody, to_all(nobody, 128, &[0; 8])),
        ("an error from the gateway", Nobody, message(gateway, 2, &[0; 4])),
        ("advertisement for her", Nobody, message(my_ip, ADVERTISEMENT, &advertise(her_ip, me))),
        ("advertisement for the gateway", Nobody, to_all(my_ll, ADVERTISEMENT, &advertise(gateway, me))),
        ("advertisement as the gateway", Nobody, to_all(gateway, ADVERTISEMENT, &advertise(gateway, me))),
        ("advertisement for her link-local address", Nobody, to_all(my_ll, ADVERTISEMENT, &advertise(her_ll, me))),
        (
            "advertisement for her in two fragments",
            Nobody,
            packet(my_ip, FRAGMENT, &[&fragment(ICMPV6, 0, true), &hidden_claim[..8]]),
        ),
        (
            "advertisement of one's own in two fragments",
            Nobody,
            packet(my_ip, FRAGMENT, &[&fragment(ICMPV6, 0, true), &own_claim[..8]]),
        ),
        ("advertisement that is cut off", Nobody, packet(my_ip, ICMPV6, &[&hidden_claim[..8]])),
        ("advertisement from nobody", Nobody, to_all(nobody, ADVERTISEMENT, &advertise(my_ip, me))),
        (
            "advertisement with her mac",
            Nobody,
            Frame::icmpv6(you, her, [my_ip, your_ip], ADVERTISEMENT, &advertise(my_ip, her)),
        ),
        ("solicitation as her", Nobody, message(her_ip, SOLICITATION, &solicit(your_ip, me))),
        ("solicitation as the gateway", Nobody, message(gateway, SOLICITATION, &solicit(your_ip, me))),
        ("duplicate address detection for her", Nobody, to_all(nobody, SOLICITATION, &probe(her_ip))),
        ("duplicate address detection for the gateway", Nobody, to_all(nobody, SOLICITATION, &probe(gateway))),
        ("router advertisement", Nobody, to_all(my_ll, ROUTER_ADVERTISEMENT, &router)),
        ("router advertisement from the address", Nobody, message(my_ip, ROUTER_ADVERTISEMENT, &router)),
        ("redirect", Nobody, message(my_ll, REDIRECT, &[0; 36])),
        ("redirect from the gateway", Nobody, message(gateway, REDIRECT, &[0; 36])),
        ("mld query", Nobody, to_all(my_ll, MLD_QUERY, &query)),
        ("dhcpv6 server", Nobody, packet(my_ll, UDP, &[&dhcp_server])),
        ("advertisement behind options", Nobody, packet(my_ip, DESTINATION, &[&options(ICMPV6), &hidden_claim])),
        ("advertisement behind hops", Nobody, packet(my_ip, HOP_BY_HOP, &[&options(ICMPV6), &hidden_claim])),
        ("advertisement behind routing", Nobody, packet(my_ip, ROUTING, &[&routing(ICMPV6), &hidden_claim])),
        (
            "advertisement behind four headers",
            Nobody,
            packet(
                my_ip,
                HOP_BY_HOP,
                &[&options(DESTINATION), &options(ROUTING), &routing(DESTINATION), &options(ICMPV6), &hidden_claim],
            ),
        ),
        (
            "advertisement in a fragment that is the whole",
            Nobody,
            packet(my_ip, FRAGMENT, &[&fragment(ICMPV6, 0, false), &hidden_claim]),
        ),
        (
            "router advertisement behind options",
            Nobody,
            packet(my_ll, DESTINATION, &[&options(ICMPV6), &hidden_router]),
        ),
        (
            "router advertisement in a fragment that is the whole",
            Nobody,
            packet(my_ll, FRAGMENT, &[&fragment(ICMPV6, 0, false), &hidden_router]),
        ),
        // RFC 7113 §3: the first fragment ends before the header that would give it away.
        (
            "first fragment with nothing but options",
            Nobody,
            packet(my_ll, FRAGMENT, &[&fragment(DESTINATION, 0, true), &options(ICMPV6)]),
        ),
        // The frame is longer than the packet in it, and what is behind reads like the header.
        (
            "first fragment that seems to have more",
            Nobody,
            packet(my_ll, FRAGMENT, &[&fragment(DESTINATION, 0, true), &options(UDP)])
                .followed_by(&datagram(4000, 4000)),
        ),
        (
            "router advertisement in a later fragment",
            Nobody,
            packet(my_ll, FRAGMENT, &[&fragment(DESTINATION, 1, false), &hidden_router]),
        ),
        (
            "mld query behind hops",
            Nobody,
            packet(my_ll, HOP_BY_HOP, &[&options(ICMPV6), &raw(my_ll, MLD_QUERY, &query)]),
        ),
        ("dhcpv6 server behind options", Nobody, packet(my_ll, DESTINATION, &[&options(UDP), &dhcp_server])),
        (
            "dhcpv6 server in a fragment",
            Nobody,
            packet(my_ll, FRAGMENT, &[&fragment(UDP, 0, true), &dhcp_server, &[0; 8]]),
        ),
        (
            "dhcpv6 server behind options in a later fragment",
            Nobody,
            packet(my_ll, FRAGMENT, &[&fragment(DESTINATION, 1, false), &dhcp_server]),
        ),
        ("ip cut before its source", Nobody, udp(me, my_ip).cut(0)),
        ("ip cut within its source", Nobody, udp(me, my_ip).cut(12)),
        ("vlan tag", Nobody, udp(me, my_ip).tagged(7)),
        ("a provider's and a vlan tag", Nobody, udp(me, my_ip).tagged(7).tagged_as(0x88a8, 8)),
        ("ip behind snap", Nobody, udp(me, my_ip).in_snap()),
    ]
}

#[test]
fn only_honest_frames_leave_a_container() {
    let scene = scene();
    assert_only_honest_arrive(&scene, &frames(&scene));
}

/// What a victim takes for the gateway's MAC address.
fn known(scene: &Scene, gateway: Ipv6Addr) -> Option<String> {
    let cache = scene.victim.namespace().run(&["ip", "-6", "neigh", "show", &gateway.to_string()]);
    cache.split_whitespace().skip_while(|word| *word != "lladdr").nth(1).map(str::to_owned)
}

/// What the victim, who knows where the gateway is, takes for that after these frames of the attacker's.
struct Forging<'a> {
    scene: &'a Scene,
    wire: Wire,
    gateway: Ipv6Addr,
    truth: String,
}

impl<'a> Forging<'a> {
    fn new(scene: &'a Scene) -> Self {
        let wire = Wire::open(&scene.attacker.namespace(), "eth0", ALL);
        let gateway = address(scene, &scene.attacker, "gateway6");
        let mut forging = Self { scene, wire, gateway, truth: String::new() };
        forging.truth = forging.learn();
        forging
    }

    fn learn(&self) -> String {
        self.scene.victim.namespace().run(&["ip", "-6", "neigh", "flush", "dev", "eth0"]);
        self.scene.victim.namespace().run(&["ping", "-6", "-n", "-c", "1", "-W", "30", &self.gateway.to_string()]);
        known(self.scene, self.gateway).expect("the gateway is known")
    }

    /// Whether the victim believes them soon.
    fn is_believed(&self, frames: &[Frame], soon: Duration) -> bool {
        let forge = || {
            frames.iter().for_each(|frame| self.wire.send(frame));
            known(self.scene, self.gateway).filter(|now| *now != self.truth)
        };
        within(soon, forge).is_some()
    }

    /// None is believed; without the rules every one is.
    fn assert_none_is_believed(&self, forgeries: &[(&str, Vec<Frame>)]) {
        for (from, frames) in forgeries {
            assert!(!self.is_believed(frames, Duration::from_millis(300)), "{from}");
        }
        self.scene.unprotect();
        for (from, frames) in forgeries {
            assert_eq!(self.learn(), self.truth);
            assert!(self.is_believed(frames, PATIENCE), "the control: {from}");
        }
        self.scene.host.start();
    }
}

#[test]
fn forged_advertisements_and_solicitations_change_no_neighbours_cache() {
    let scene = scene();
    let forging = Forging::new(&scene);
    let (me, you, gateway) = (mac(&scene.attacker), mac(&scene.victim), forging.gateway);
    let [mine, yours] = [&scene.attacker, &scene.victim].map(|container| address(&scene, container, "ipv6"));
    let claim = Frame::neighbour(SOLICITED_OVERRIDE, gateway, 2, me);
    let hidden = [&options(ICMPV6)[..], &Frame::icmpv6_message([mine, yours], ADVERTISEMENT, &claim)].concat();
    let question = Frame::neighbour(0, yours, 1, me);
    forging.assert_none_is_believed(&[
        ("its own address", vec![Frame::icmpv6(you, me, [mine, yours], ADVERTISEMENT, &claim)]),
        ("the gateway's", vec![Frame::icmpv6(you, me, [gateway, yours], ADVERTISEMENT, &claim)]),
        ("behind options", vec![Frame::ipv6(you, me, [mine, yours], DESTINATION, &hidden)]),
        ("a question", vec![Frame::icmpv6(you, me, [gateway, yours], SOLICITATION, &question)]),
    ]);
}

/// Where bridges call iptables the host puts fragments together, and who ignores what comes in fragments (RFC 6980)
/// sees none.
#[test]
fn what_the_host_puts_together_changes_no_neighbours_cache() {
    let scene = scene();
    scene.host.namespace().run(&["sh", "-c", "echo 1 > /proc/sys/net/bridge/bridge-nf-call-ip6tables"]);
    let forging = Forging::new(&scene);
    let (me, you) = (mac(&scene.attacker), mac(&scene.victim));
    let [mine, yours] = [&scene.attacker, &scene.victim].map(|container| address(&scene, container, "ipv6"));
    let claim = Frame::neighbour(SOLICITED_OVERRIDE, forging.gateway, 2, me);
    let message = Frame::icmpv6_message([mine, yours], ADVERTISEMENT, &claim);
    let parts = |length: usize| -> Vec<Frame> {
        let (first, second) = message.split_at(length);
        let offset = u16::try_from(length / 8).expect("a short message");
        let part = |mut header: [u8; 8], octets: &[u8]| {
            // An identification of its own: parts of another wait to be put together still.
            header[4] = u8::try_from(length).expect("a short message");
            Frame::ipv6(you, me, [mine, yours], FRAGMENT, &[&header[..], octets].concat())
        };
        vec![part(fragment(ICMPV6, 0, true), first), part(fragment(ICMPV6, offset, false), second)]
    };
    forging.assert_none_is_believed(&[("its target in the second", parts(8)), ("its target in the first", parts(24))]);
}

/// The container itself is told to heed nobody; so that the rules alone are tried, the victim is told to heed
/// everybody.
#[test]
fn no_router_is_believed_by_a_container_that_would_believe_one() {
    let scene = scene();
    let inside = scene.victim.namespace();
    inside.run(&["sysctl", "-qw", "net.ipv6.conf.eth0.accept_ra=2"]);
    let me = mac(&scene.attacker);
    let wire = Wire::open(&scene.attacker.namespace(), "eth0", ALL);
    let router = [[64, 8, 7, 8].as_slice(), &[0; 8], &[1, 1], &me.0].concat();
    let addresses = [link_local(me), ALL_NODES];
    let advertise = || {
        wire.send(&Frame::icmpv6(ALL_NODES_MAC, me, addresses, ROUTER_ADVERTISEMENT, &router));
        inside.run(&["ip", "-6", "route"]).contains("proto ra").then_some(())
    };
    assert_eq!(within(Duration::from_millis(500), advertise), None);
    scene.unprotect();
    assert!(within(PATIENCE, advertise).is_some(), "the control");
    inside.run(&["ip", "-6", "route", "flush", "proto", "ra"]);
    inside.run(&["sysctl", "-qw", "net.ipv6.conf.eth0.accept_ra=0"]);
    scene.host.start();
    scene.host.assert_healthy();
}
