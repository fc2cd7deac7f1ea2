//! On a network without IPv6.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use tests::{ALL, Frame, Mac, PATIENCE, Ping, Wire, within};

use super::{
    ALL_NODES, ALL_NODES_MAC,
    Heard::{self, HostAlone, Nobody, Victim},
    STRANGER_MAC, Scene, assert_only_honest_arrive, link_local, mac,
};

/// Every frame of the attack, and a few that are honest and must arrive.
pub(super) fn frames(scene: &Scene) -> Vec<(&'static str, Heard, Frame)> {
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
    // An error quotes the packet that it is about, here behind four octets that say nothing.
    let quote = |source, target| {
        [&[0; 4], Frame::udp(you, me, [source, target].map(IpAddr::from), [4000, 4000]).packet()].concat()
    };
    let error = |kind, quoted: &[u8]| Frame::icmp(you, me, [my_ip, your_ip], [kind, 0], quoted);
    let outside = Ipv4Addr::new(192, 0, 2, 7);
    let options = [&[58, 0, 1, 4, 0, 0, 0, 0], &[134, 0, 0, 0][..], &advertisement].concat();
    vec![
        ("honest udp", Victim, Frame::udp(you, me, v4(my_ip), [4000, 4000])),
        ("honest broadcast", Victim, Frame::udp(all, me, [my_ip, Ipv4Addr::BROADCAST].map(IpAddr::from), [4000, 4000])),
        ("honest arp answer", Victim, arp(me, (me, my_ip))),
        ("honest arp question", Victim, Frame::arp(all, me, 1, (me, my_ip), (Mac([0; 6]), your_ip))),
        ("honest arp probe", Victim, Frame::arp(all, me, 1, (me, nobody), (Mac([0; 6]), my_ip))),
        ("arp question for another", HostAlone, Frame::arp(all, me, 1, (me, my_ip), (Mac([0; 6]), her_ip))),
        ("arp question for the gateway", HostAlone, Frame::arp(all, me, 1, (me, my_ip), (Mac([0; 6]), scene.gateway))),
        ("honest unreachable", Victim, error(3, &quote(your_ip, my_ip))),
        ("honest time exceeded", Victim, error(11, &quote(her_ip, my_ip))),
        ("unreachable, about her flow", Nobody, error(3, &quote(your_ip, her_ip))),
        ("unreachable, about a flow to the outside", Nobody, error(3, &quote(your_ip, outside))),
        ("unreachable, about a flow of my own to another", Nobody, error(3, &quote(my_ip, your_ip))),
        ("source quench, about her flow", Nobody, error(4, &quote(your_ip, her_ip))),
        ("time exceeded, about her flow", Nobody, error(11, &quote(your_ip, her_ip))),
        ("parameter problem, about her flow", Nobody, error(12, &quote(your_ip, her_ip))),
        ("unreachable, about nothing", Nobody, error(3, &[0; 4])),
        ("unreachable, about what is cut", Nobody, error(3, &quote(your_ip, my_ip)[..4 + 10])),
        // What these begin with, where a header would be, would be forged if it were one.
        ("honest later fragment like an error", Victim, error(3, &quote(your_ip, her_ip)).fragment(2, false)),
        ("honest later fragment like a redirect", Victim, error(5, &[0; 4]).fragment(2, false)),
        ("honest later fragment like dhcp", Victim, Frame::udp(you, me, v4(my_ip), [67, 68]).fragment(2, true)),
        ("first fragment of an error about her flow", Nobody, error(3, &quote(your_ip, her_ip)).fragment(0, true)),
        ("first fragment that ends before the quote", Nobody, error(3, &[0; 4]).fragment(0, true)),
        ("first fragment of a redirect", Nobody, error(5, &[0; 4]).fragment(0, true)),
        ("first fragment of a dhcp offer", Nobody, Frame::udp(you, me, v4(my_ip), [67, 68]).fragment(0, true)),
        ("later fragment from the neighbour's ip", Nobody, Frame::udp(you, me, v4(her_ip), [7, 7]).fragment(2, false)),
        ("later fragment of pim", Nobody, Frame::ipv4(you, me, [my_ip, your_ip], 103, &[0; 8]).fragment(2, false)),
        (
            "igmp query in a later fragment",
            Nobody,
            Frame::ipv4(all, me, [my_ip, Ipv4Addr::new(224, 0, 0, 1)], 2, &[0x11, 0, 0, 0, 0, 0, 0, 0])
                .fragment(2, false),
        ),
        ("pim hello", Nobody, Frame::ipv4(all, me, [my_ip, Ipv4Addr::new(224, 0, 0, 13)], 103, &[0x20, 0, 0xdf, 0xff])),
        (
            "multicast router advertisement",
            Nobody,
            Frame::ipv4(all, me, [my_ip, Ipv4Addr::new(224, 0, 0, 106)], 2, &[0x30, 20, 0, 0, 0, 0, 0, 0]),
        ),
        ("another mac", Nobody, Frame::udp(you, STRANGER_MAC, v4(my_ip), [4000, 4000])),
        ("the neighbour's mac", Nobody, Frame::udp(you, her, v4(her_ip), [4000, 4000])),
        ("the neighbour's ip", Nobody, Frame::udp(you, me, v4(her_ip), [4000, 4000])),
        ("the gateway's ip", Nobody, Frame::udp(you, me, v4(scene.gateway), [53, 4000])),
        ("an ip from elsewhere", Nobody, Frame::udp(you, me, v4(Ipv4Addr::new(192, 0, 2, 7)), [4000, 4000])),
        ("no ip", Nobody, Frame::udp(you, me, v4(nobody), [4000, 4000])),
        ("arp for the neighbour", Nobody, arp(me, (me, her_ip))),
        ("arp for the gateway", Nobody, arp(me, (me, scene.gateway))),
        ("arp with her mac inside", Nobody, arp(me, (her, my_ip))),
        ("arp from her", Nobody, arp(her, (her, her_ip))),
        ("gratuitous arp", Nobody, Frame::arp(all, me, 1, (me, scene.gateway), (Mac([0; 6]), scene.gateway))),
        ("arp answer from nobody", Nobody, arp(me, (me, nobody))),
        ("reverse arp", Nobody, Frame::new(all, me, 0x8035, &[0; 28])),
        ("dhcp offer", Nobody, Frame::udp(all, me, [my_ip, Ipv4Addr::BROADCAST].map(IpAddr::from), [67, 68])),
        ("icmp redirect", Nobody, Frame::ipv4(you, me, [my_ip, your_ip], 1, &[5, 1, 0, 0, 0, 0, 0, 0])),
        (
            "igmp query",
            Nobody,
            Frame::ipv4(all, me, [my_ip, Ipv4Addr::new(224, 0, 0, 1)], 2, &[0x11, 0, 0, 0, 0, 0, 0, 0]),
        ),
        ("router advertisement", Nobody, Frame::icmpv6(ALL_NODES_MAC, me, to_all(ll), 134, &advertisement)),
        ("hidden router advertisement", Nobody, Frame::ipv6(ALL_NODES_MAC, me, to_all(ll), 60, &options)),
        ("neighbour advertisement", Nobody, Frame::icmpv6(ALL_NODES_MAC, me, to_all(ll), 136, &claim)),
        ("ipv6 redirect", Nobody, Frame::icmpv6(you, me, [ll, link_local(you)], 137, &[0; 36])),
        ("mld query", Nobody, Frame::icmpv6(ALL_NODES_MAC, me, to_all(ll), 130, &[0; 20])),
        ("dhcpv6 reply", Nobody, Frame::udp(you, me, [ll, link_local(you)].map(IpAddr::from), [547, 546])),
        (
            "ipv6 where there is none",
            Nobody,
            Frame::udp(you, me, [ll, link_local(you)].map(IpAddr::from), [4000, 4000]),
        ),
        (
            "duplicate address detection",
            Nobody,
            Frame::icmpv6(ALL_NODES_MAC, me, to_all(Ipv6Addr::UNSPECIFIED), 135, &ask_for_own),
        ),
        ("vlan tag", Nobody, Frame::udp(you, me, v4(my_ip), [4000, 4000]).tagged(7)),
        ("priority tag", Nobody, Frame::udp(you, me, v4(my_ip), [4000, 4000]).tagged(0x2000)),
        ("two vlan tags", Nobody, Frame::udp(you, me, v4(my_ip), [4000, 4000]).tagged(7).tagged(8)),
        ("bpdu", Nobody, Frame::new(Mac([1, 0x80, 0xc2, 0, 0, 0]), me, 38, &[&[0x42, 0x42, 3][..], &[0; 35]].concat())),
        ("an unknown protocol", Nobody, Frame::new(you, me, 0x88b5, &[0; 28])),
        ("a provider's tag", Nobody, Frame::udp(you, me, v4(my_ip), [4000, 4000]).tagged_as(0x88a8, 7)),
        (
            "a provider's and a vlan tag",
            Nobody,
            Frame::udp(you, me, v4(my_ip), [4000, 4000]).tagged(7).tagged_as(0x88a8, 8),
        ),
        ("arp behind a vlan tag", Nobody, arp(me, (me, her_ip)).tagged(0)),
        ("ip behind snap", Nobody, Frame::udp(you, me, v4(my_ip), [4000, 4000]).in_snap()),
        ("arp behind snap", Nobody, arp(me, (me, my_ip)).in_snap()),
        ("llc", Nobody, Frame::new(you, me, 38, &[&[0x42, 0x42, 3][..], &[0; 35]].concat())),
        // The mark at their ends is less than what is missing.
        ("arp cut before its hardware", Nobody, arp(me, (me, my_ip)).cut(0)),
        ("arp cut before its sender", Nobody, arp(me, (me, my_ip)).cut(4)),
        ("ip cut before its protocol", Nobody, Frame::udp(you, me, v4(my_ip), [4000, 4000]).cut(0)),
        ("ip cut before its source", Nobody, Frame::udp(you, me, v4(my_ip), [4000, 4000]).cut(6)),
    ]
}

#[test]
fn only_honest_frames_leave_a_container() {
    let scene = Scene::new(&[]);
    assert_only_honest_arrive(&scene, &frames(&scene));
}

#[test]
fn forged_arp_changes_no_neighbours_cache() {
    let scene = Scene::new(&[]);
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
    assert!(within(PATIENCE, forge).is_some(), "the control");
    scene.host.start();
}
