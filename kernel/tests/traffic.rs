//! Real packets: what reaches whom, and what does not.

mod lab;

use lab::{HOST, Lab, PEER, Place, address, attachment, sh, state};
use model::{Scope, State};

const WEB: Place = Place::Container(12);
const NEIGHBOUR: Place = Place::Container(13);
const STRANGER: Place = Place::Container(22);

/// Two containers on network 1 and one on network 2; the first publishes as given and serves on port 80.
fn host(lab: &Lab, publishes: &[&str]) {
    lab.settle(&state(&[attachment(12, publishes), attachment(13, &[]), attachment(22, &[])]));
    lab.serve(WEB, 80);
}

#[test]
fn a_container_reaches_its_network_its_gateway_and_the_outside() {
    lab::run(|lab| {
        host(lab, &[]);
        lab.serve(Place::Lan, 9000);
        lab.serve(Place::Host, 9001);
        assert_eq!(lab.ask(WEB, PEER, 9000), Some(HOST), "the outside sees the host's address");
        assert_eq!(lab.ask(NEIGHBOUR, address(12), 80), Some(address(13)), "neighbours see each other");
        assert_eq!(lab.ask(WEB, lab::gateway(1), 9001), Some(address(12)), "the host sees the container's address");
        assert_eq!(lab.ask(Place::Host, address(12), 80), Some(lab::gateway(1)));
        assert_eq!(lab.sh_at(WEB, "ip -6 addr"), "", "IPv6 is off");
        lab.sh_at(WEB, "ping -c 1 -W 30 192.0.2.2");
    });
}

#[test]
fn the_first_packet_passes() {
    lab::run(|lab| {
        for _ in 0..5 {
            lab.settle(&State::empty());
            lab.reconcile(Scope::Everything, &state(&[attachment(12, &[])]));
            lab::ping_once(lab, WEB, lab::gateway(1));
            lab::assert_asked_once(lab, Place::Host, address(12));
            lab.reconcile(Scope::Everything, &State::empty());
            lab.reconcile(Scope::Everything, &state(&[attachment(12, &[])]));
            lab::ping_once(lab, Place::Host, address(12));
            lab::assert_asked_once(lab, WEB, lab::gateway(1));
        }
    });
}

#[test]
fn a_published_port_is_reached_from_everywhere() {
    lab::run(|lab| {
        host(lab, &["8080:80"]);
        for (from, to, seen) in [
            (Place::Lan, HOST, Some(PEER)),
            (Place::Host, HOST, Some(HOST)),
            (Place::Host, [127, 0, 0, 1].into(), Some(lab::gateway(1))),
            (Place::Host, [127, 0, 0, 53].into(), Some(lab::gateway(1))),
            (NEIGHBOUR, HOST, Some(lab::gateway(1))),
            (WEB, HOST, Some(lab::gateway(1))),
            (NEIGHBOUR, lab::gateway(1), Some(lab::gateway(1))),
            (STRANGER, HOST, Some(address(22))),
        ] {
            assert_eq!(lab.ask(from, to, 8080), seen, "{from:?} to {to}");
        }
    });
}

#[test]
fn a_port_published_to_one_address_is_reached_at_that_address_only() {
    lab::run(|lab| {
        sh("ip addr add 192.0.2.3/24 dev lan0");
        host(lab, &["127.0.0.1:8080:80", "192.0.2.3:8081:80"]);
        assert_eq!(lab.ask(Place::Host, [127, 0, 0, 1].into(), 8080), Some(lab::gateway(1)));
        assert_eq!(lab.ask_in_vain(Place::Host, HOST, 8080), None);
        assert_eq!(lab.ask_in_vain(Place::Lan, HOST, 8080), None);
        assert_eq!(lab.ask(Place::Lan, [192, 0, 2, 3].into(), 8081), Some(PEER));
        assert_eq!(lab.ask_in_vain(Place::Lan, HOST, 8081), None);
    });
}

#[test]
fn the_gateways_dns_is_not_shadowed_by_a_published_port_53() {
    lab::run(|lab| {
        host(lab, &["53:80"]);
        lab.serve(Place::Host, 53);
        assert_eq!(lab.ask(NEIGHBOUR, lab::gateway(1), 53), Some(address(13)), "the host itself answers");
        assert_eq!(lab.ask(Place::Lan, HOST, 53), Some(PEER), "the container answers");
        assert_eq!(lab.sh_at(WEB, "ss -Htn state all sport = :80 | wc -l").trim(), "2", "one listens, one was asked");
    });
}

#[test]
fn an_unpublished_port_is_closed_to_a_peer_that_knows_the_route() {
    lab::run(|lab| {
        host(lab, &["8080:80"]);
        lab.serve(WEB, 81);
        assert_eq!(lab.ask_in_vain(Place::Lan, address(12), 81), None);
        assert_eq!(
            lab.ask_in_vain(Place::Lan, address(12), 80),
            None,
            "published at the host's address, not at the container's"
        );
        sh("nft delete table inet fabric");
        assert_eq!(lab.ask(Place::Lan, address(12), 81), Some(PEER), "control: without the table it is open");
    });
}

#[test]
fn networks_are_apart() {
    lab::run(|lab| {
        host(lab, &[]);
        assert_eq!(lab.ask_in_vain(STRANGER, address(12), 80), None);
        sh("nft delete table inet fabric");
        assert_eq!(lab.ask(STRANGER, address(12), 80), Some(address(22)), "control: without the table they are not");
    });
}

/// Lets a place send to 127.0.0.1 of the host: no loopback of its own, and a route instead.
fn aim_at_loopback(lab: &Lab, place: Place, gateway: std::net::Ipv4Addr) {
    lab.sh_at(
        place,
        &format!(
            "echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet
         echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter; echo 0 > /proc/sys/net/ipv4/conf/eth0/rp_filter
         ip addr flush dev lo
         ip route add 127.0.0.1/32 via {gateway}"
        ),
    );
}

/// Removes the rule of a chain that has this text.
fn delete_rule(chain: &str, text: &str) {
    let rules = sh(&format!("nft -a list chain inet fabric {chain}"));
    let line = rules.lines().find(|line| line.contains(text)).expect("the rule is there");
    let handle = line.rsplit(' ').next().expect("a handle ends the line");
    sh(&format!("nft delete rule inet fabric {chain} handle {handle}"));
}

#[test]
fn the_lan_never_reaches_a_port_published_to_loopback() {
    lab::run(|lab| {
        host(lab, &["127.0.0.1:8080:80"]);
        aim_at_loopback(lab, Place::Lan, HOST);
        assert_eq!(lab.ask_in_vain(Place::Lan, [127, 0, 0, 1].into(), 8080), None);
        delete_rule("prerouting", "127.0.0.0/8");
        assert_eq!(lab.ask(Place::Lan, [127, 0, 0, 1].into(), 8080), Some(PEER), "control: that rule kept it out");
    });
}

#[test]
fn a_container_never_reaches_the_hosts_loopback() {
    lab::run(|lab| {
        host(lab, &["8080:80"]);
        lab.serve(Place::Host, 7000);
        aim_at_loopback(lab, NEIGHBOUR, lab::gateway(1));
        assert_eq!(lab.ask_in_vain(NEIGHBOUR, [127, 0, 0, 1].into(), 7000), None);
        delete_rule("ingress", "127.0.0.0/8");
        assert_eq!(lab.ask(NEIGHBOUR, [127, 0, 0, 1].into(), 7000), Some(address(13)), "control");
    });
}

#[test]
fn what_has_nothing_to_do_with_fabric_is_not_forwarded_just_because_fabric_turned_forwarding_on() {
    lab::run(|lab| {
        sh("ip netns add office
            ip link add office0 type veth peer name eth0 netns office
            ip addr add 198.51.100.1/24 dev office0; ip link set office0 up
            ip -n office addr add 198.51.100.2/24 dev eth0; ip -n office link set eth0 up
            ip -n office route add default via 198.51.100.1
            ip -n lan route add 198.51.100.0/24 via 192.0.2.1");
        let ping = |seconds: u8| {
            lab.sh_at(Place::Lan, &format!("ping -c 1 -W {seconds} 198.51.100.2 > /dev/null && echo yes || echo no"))
        };
        assert_eq!(sh("cat /proc/sys/net/ipv4/ip_forward"), "0\n");
        host(lab, &[]);
        assert_eq!(sh("cat /proc/sys/net/ipv4/ip_forward"), "1\n");
        assert_eq!(ping(1), "no\n");
        lab.ask(WEB, PEER, 9);
        sh("rm /run/fabric/forwarding-enabled-by-fabric");
        host_again(lab);
        assert_eq!(ping(30), "yes\n", "without the note the owner of the host decides");
    });
}

fn host_again(lab: &Lab) {
    lab.settle(&state(&[attachment(12, &[]), attachment(13, &[]), attachment(22, &[])]));
}

/// Every way in which a container comes to a published port. What the bridge does with the packets depends on whether
/// it calls iptables, which is a setting of the whole host; what the container sees does not.
#[test]
fn containers_reach_published_ports_whether_or_not_bridges_call_iptables() {
    for setting in ["0", "1"] {
        lab::run(|lab| {
            // Where br_netfilter is not loaded the setting does not exist, and bridges never call iptables.
            lab::bridges_call_iptables(setting);
            host(lab, &["8080:80"]);
            for (from, to, seen) in [
                (WEB, HOST, lab::gateway(1)),
                (WEB, lab::gateway(1), lab::gateway(1)),
                (NEIGHBOUR, HOST, lab::gateway(1)),
                (NEIGHBOUR, lab::gateway(1), lab::gateway(1)),
                (STRANGER, HOST, address(22)),
                (STRANGER, lab::gateway(1), address(22)),
                (STRANGER, lab::gateway(2), address(22)),
                (Place::Lan, HOST, PEER),
                (Place::Host, HOST, HOST),
                (Place::Host, lab::gateway(1), lab::gateway(1)),
                (Place::Host, [127, 0, 0, 1].into(), lab::gateway(1)),
            ] {
                assert_eq!(lab.ask(from, to, 8080), Some(seen), "{setting}: {from:?} to {to}");
            }
            assert_eq!(lab.ask(NEIGHBOUR, address(12), 80), Some(address(13)), "{setting}: nothing is published here");
            assert_eq!(lab.ask_in_vain(STRANGER, address(12), 80), None, "{setting}: networks are apart");
        });
    }
}

#[test]
fn a_host_that_turns_to_calling_iptables_keeps_published_ports() {
    lab::run(|lab| {
        host(lab, &["8080:80"]);
        assert_eq!(lab.ask(WEB, HOST, 8080), Some(lab::gateway(1)));
        if lab::bridges_call_iptables("1") {
            assert_eq!(lab.ask(WEB, HOST, 8080), Some(lab::gateway(1)));
            let port = attachment(12, &[]).endpoint.host_interface();
            sh(&format!("ip link set {port} type bridge_slave hairpin off"));
            assert_eq!(lab.ask_in_vain(WEB, HOST, 8080), None, "control: it takes a port that reflects");
            sh(&format!("ip link set {port} type bridge_slave hairpin on"));
            delete_rule("postrouting", "iif 0");
            assert_eq!(
                lab.ask_in_vain(WEB, HOST, 8080),
                None,
                "control: and an address that is not the container's own"
            );
        }
    });
}

#[test]
fn only_ports_of_containers_that_publish_reflect() {
    lab::run(|lab| {
        host(lab, &["8080:80"]);
        let hairpin = |number| {
            let port = attachment(number, &[]).endpoint.host_interface();
            sh(&format!("ip -d link show {port} | grep -c 'hairpin on' || true"))
        };
        assert_eq!([hairpin(12), hairpin(13)], ["1\n", "0\n"]);
        let moved = state(&[attachment(12, &[]), attachment(13, &["8080:80"]), attachment(22, &[])]);
        lab.settle(&moved);
        assert_eq!([hairpin(12), hairpin(13)], ["0\n", "1\n"]);
    });
}
