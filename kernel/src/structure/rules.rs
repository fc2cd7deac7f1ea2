//! The rules of Fabric. They never change while it runs: networks, endpoints and published ports are elements of the
//! sets and maps.
//!
//! No base chain has a policy of its own. What neither enters nor leaves by a bridge of Fabric is not judged, save by
//! the guard at the end of `forward`.
//!
//! `tests/fabric.nft` is the same table as nft's own text, and a test compares the two.

use std::{collections::HashSet, net::Ipv4Addr};

use ipnet::Ipv4Net;
use model::Family;
use nftables::{
    expr::Expression,
    schema::{self, Map, NfCmd, NfListObject, SetFlag, SetType, SetTypeValue},
    types::{
        NfChainType::{Filter, NAT},
        NfFamily,
        NfHook::{Forward, Output, Postrouting, Prerouting},
    },
};
use serde_json::{Value, json};

use super::{
    command,
    marker::MARKER,
    words::{
        Chain, accept, both_interfaces_in, ct_state, ct_state_is, ct_status_is_dnat, dnat, dport, dport_is, drop,
        iif_is_none, iifname_in, iifname_not_in, ip_daddr, ip_daddr_among, ip_daddr_in, ip_saddr_in, ip6_daddr,
        ip6_daddr_among, ip6_daddr_is, jump, l4proto, l4proto_one_of, leave, masquerade, nfproto_in, not_from_the_host,
        oifname_in, oifname_not_in, rule, to_the_host, to_the_host_here, vmap,
    },
};
use crate::element::{Set, TABLE};

// Where chains are called, in the order of the way through the kernel.
// `include/uapi/linux/netfilter_ipv4.h`
const RAW: i32 = -300;
const DSTNAT: i32 = -100;
const FILTER: i32 = 0;
const SRCNAT: i32 = 100;

const LOOPBACK: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);

/// The commands of nft that declare everything in the table.
pub(super) fn commands() -> Vec<Value> {
    let chains = [ingress(), prerouting(), output(), publish(), postrouting(), forward(), inward()];
    let (chains, rules): (Vec<_>, Vec<_>) = chains.into_iter().map(Chain::into_parts).unzip();
    let add = |object| command(NfCmd::Add(object));
    let mut commands = sets();
    // A rule can jump only to a chain that is there.
    commands.extend(chains.into_iter().map(|chain| add(NfListObject::Chain(chain))));
    commands.extend(rules.into_iter().flatten().map(|rule| add(NfListObject::Rule(rule))));
    commands
}

fn sets() -> Vec<Value> {
    use SetType::{Ifname, InetProto, InetService, Ipv4Addr, Ipv6Addr, Mark};
    let mut sets = vec![
        // The bridges of networks.
        set("bridges", &[Ifname]),
        // Each bridge with itself: what enters and leaves by it stays inside a network.
        set("same_bridge", &[Ifname, Ifname]),
        set("icc", &[Ifname, Ifname]),
        // Bridges whose containers leave the host with its address.
        set("masqueraded", &[Ifname]),
        // Bridges that nothing is forwarded from or to.
        set("internal", &[Ifname]),
        // Holds `ipv4` and `ipv6` where Fabric turned on forwarding. The crate has no word for this type of set.
        json!({ "add": { "set": { "family": "inet", "table": TABLE, "name": "guarded", "type": "nf_proto" } } }),
        // 1: hash of these commands; 2: hash of what the kernel made of them.
        map(MARKER, &[Mark], Mark),
    ];
    let families: [(Family, SetType, &'static [SetType]); 2] = [
        (Family::Ipv4, Ipv4Addr, &[Ipv4Addr, InetProto, InetService]),
        (Family::Ipv6, Ipv6Addr, &[Ipv6Addr, InetProto, InetService]),
    ];
    for (family, address, at_address) in families {
        sets.extend([
            // The host's addresses on networks, and the bridges that have them.
            set(Set::Gateways(family).name(), at_address.get(..1).expect("it begins with the address")),
            map(Set::BridgeOfGateway(family).name(), at_address.get(..1).expect("it begins with the address"), Ifname),
            // Ports published on one address of the host: the address and the port that each leads to. They are apart
            // because nft 1.0.6 takes no map to both in JSON; they change in one transaction.
            map(Set::AddressOfOne(family).name(), at_address, address),
            map(Set::PortOfOne(family).name(), at_address, InetService),
            // Ports published on every address of the host.
            map(Set::AddressOfAny(family).name(), &[InetProto, InetService], address),
            map(Set::PortOfAny(family).name(), &[InetProto, InetService], InetService),
            // Ranges of ports that keep their numbers, one element each.
            intervals(Set::Range(family).name(), at_address, address),
        ]);
    }
    sets
}

/// Bridges with published ports may route the loopback network, so that 127.0.0.1:PORT works on the host. Containers
/// must not reach it that way. Each frame between containers comes by here: what costs less is compared first.
fn ingress() -> Chain {
    Chain::base("ingress", Filter, Prerouting, RAW, [rule([ip_daddr_in(LOOPBACK), iifname_in("bridges"), drop()])])
}

fn prerouting() -> Chain {
    Chain::base(
        "prerouting",
        NAT,
        Prerouting,
        DSTNAT,
        [
            rule([ip_daddr_in(LOOPBACK), leave()])
                .comment("from outside, a port published on the loopback address does not exist"),
            rule([iifname_in("bridges"), l4proto_one_of(["tcp", "udp"]), dport_is(53), to_the_host_here(), leave()])
                .comment("the gateway's own DNS, whatever is published on port 53"),
            rule([to_the_host(), jump("publish")]),
            rule([
                l4proto_one_of(["tcp", "udp"]),
                dport_is(53),
                iifname_not_in("bridges"),
                ip_daddr_among("gateways"),
                drop(),
            ])
            .comment("names are for containers and the host itself"),
            rule([
                l4proto_one_of(["tcp", "udp"]),
                dport_is(53),
                iifname_not_in("bridges"),
                ip6_daddr_among("gateways6"),
                drop(),
            ]),
        ],
    )
}

fn output() -> Chain {
    Chain::base(
        "output",
        NAT,
        Output,
        DSTNAT,
        [
            // No setting lets an answer to ::1 in by a bridge, so a client is refused instead of left to wait.
            rule([ip6_daddr_is("::1"), leave()]).comment("Linux translates no connection to ::1"),
            rule([to_the_host(), jump("publish")]),
        ],
    )
}

fn publish() -> Chain {
    let at_address = |address: fn() -> Expression<'static>| [address(), l4proto(), dport()];
    let rules = |family, address| {
        [
            rule([dnat(
                family,
                at_address(address),
                Set::AddressOfOne(family).name(),
                Some(Set::PortOfOne(family).name()),
            )]),
            rule([dnat(
                family,
                [l4proto(), dport()],
                Set::AddressOfAny(family).name(),
                Some(Set::PortOfAny(family).name()),
            )]),
            rule([dnat(family, at_address(address), Set::Range(family).name(), None)]),
        ]
    };
    let [one, any, range] = rules(Family::Ipv4, ip_daddr);
    let [one6, any6, range6] = rules(Family::Ipv6, ip6_daddr);
    Chain::new("publish", [one, any, range, one6, any6, range6])
}

fn postrouting() -> Chain {
    Chain::base(
        "postrouting",
        NAT,
        Postrouting,
        SRCNAT,
        [
            // A container that reaches its own network through the host's address would otherwise get its answer
            // straight from the neighbour, who is not whom it asked.
            rule([both_interfaces_in("same_bridge"), ct_status_is_dnat(), masquerade()])
                .comment("lest a neighbour answers directly who was asked through the host"),
            // Where bridges call iptables (`net.bridge.bridge-nf-call-iptables`) such a packet does not come up to the
            // host: the bridge passes it on, and here it has no interface where it came in. Nor has what the host
            // itself sends, whose address stays.
            rule([iif_is_none(), oifname_in("bridges"), ct_status_is_dnat(), not_from_the_host(), masquerade()])
                .comment("the same where bridges call iptables"),
            rule([ip_saddr_in(LOOPBACK), oifname_in("bridges"), masquerade()]),
            rule([iifname_in("masqueraded"), oifname_not_in("bridges"), masquerade()]),
        ],
    )
}

fn forward() -> Chain {
    Chain::base(
        "forward",
        Filter,
        Forward,
        FILTER,
        [
            rule([both_interfaces_in("icc"), accept()]),
            rule([iifname_in("internal"), drop()]),
            rule([oifname_in("internal"), drop()]),
            rule([oifname_in("bridges"), jump("inward")]),
            rule([iifname_in("bridges"), ct_state_is("invalid"), drop()]),
            rule([iifname_in("bridges"), accept()]),
            rule([nfproto_in("guarded"), drop()]).comment("forwarding is on for networks of Fabric only"),
        ],
    )
}

/// Into a network: answers, and what was published. All else, from the LAN or from another network, stays outside.
fn inward() -> Chain {
    Chain::new(
        "inward",
        [
            rule([both_interfaces_in("same_bridge"), drop()])
                .comment("containers that are kept apart, however long they have been talking"),
            rule([vmap(ct_state(), [("established", accept()), ("related", accept()), ("invalid", drop())])]),
            rule([ct_status_is_dnat(), accept()]),
            rule([drop()]),
        ],
    )
}

fn set(name: &'static str, key: &'static [SetType]) -> Value {
    let set = schema::Set {
        family: NfFamily::INet,
        table: TABLE.into(),
        name: name.into(),
        set_type: types(key),
        ..schema::Set::default()
    };
    command(NfCmd::Add(NfListObject::Set(Box::new(set))))
}

fn map(name: &'static str, key: &'static [SetType], value: SetType) -> Value {
    map_with(name, key, value, None)
}

/// A map whose keys are intervals.
fn intervals(name: &'static str, key: &'static [SetType], value: SetType) -> Value {
    map_with(name, key, value, Some(HashSet::from([SetFlag::Interval])))
}

fn map_with(name: &'static str, key: &'static [SetType], value: SetType, flags: Option<HashSet<SetFlag>>) -> Value {
    let map = Map {
        family: NfFamily::INet,
        table: TABLE.into(),
        name: name.into(),
        set_type: types(key),
        map: SetTypeValue::Single(value),
        flags,
        ..Map::default()
    };
    command(NfCmd::Add(NfListObject::Map(Box::new(map))))
}

fn types(of: &'static [SetType]) -> SetTypeValue<'static> {
    match of {
        [one] => SetTypeValue::Single(*one),
        several => SetTypeValue::Concatenated(several.into()),
    }
}
