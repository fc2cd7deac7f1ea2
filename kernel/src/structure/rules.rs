//! The rules of Fabric. They never change while it runs: networks, endpoints and published ports are elements of the
//! sets and maps.
//!
//! No base chain has a policy of its own. What neither enters nor leaves by a bridge of Fabric is not judged, save by
//! the guard at the end of `forward`.
//!
//! `tests/fabric.nft` is the same table as nft's own text, and a test compares the two.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use nftables::{
    schema::{Map, NfCmd, NfListObject, Set, SetType, SetTypeValue},
    types::{
        NfChainType::{Filter, NAT},
        NfFamily,
        NfHook::{Forward, Output, Postrouting, Prerouting},
    },
};
use serde_json::{Value, json};

use super::{
    MARKER, command,
    words::{
        Chain, accept, both_interfaces_in, ct_state, ct_state_is, ct_status_is_dnat, dnat_ip_to, dport, dport_is, drop,
        iif_is_none, iifname_in, ip_daddr, ip_daddr_in, ip_saddr_in, jump, l4proto, l4proto_one_of, leave, masquerade,
        nfproto_in, nfproto_is, not_from_the_host, oifname_in, oifname_not_in, rule, to_the_host, to_the_host_here,
        vmap,
    },
};
use crate::element::TABLE;

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
    use SetType::{Ifname, InetProto, InetService, Ipv4Addr, Mark};
    vec![
        // The bridges of networks.
        set("bridges", &[Ifname]),
        // Each bridge with itself: what enters and leaves by it stays inside a network.
        set("same_bridge", &[Ifname, Ifname]),
        // Holds `ipv4` if Fabric turned on forwarding. The crate has no word for this type of set.
        json!({ "add": { "set": { "family": "inet", "table": TABLE, "name": "guarded", "type": "nf_proto" } } }),
        // Ports published on one address of the host: the address and the port that each leads to. They are apart
        // because nft 1.0.6 takes no map to both in JSON; they change in one transaction.
        map("published_at_address", &[Ipv4Addr, InetProto, InetService], Ipv4Addr),
        map("published_at_port", &[Ipv4Addr, InetProto, InetService], InetService),
        // Ports published on every address of the host.
        map("published_address", &[InetProto, InetService], Ipv4Addr),
        map("published_port", &[InetProto, InetService], InetService),
        // 1: hash of these commands; 2: hash of what the kernel made of them.
        map(MARKER, &[Mark], Mark),
    ]
}

/// Bridges with published ports may route the loopback network, so that 127.0.0.1:PORT works on the host. Containers
/// must not reach it that way.
fn ingress() -> Chain {
    Chain::base("ingress", Filter, Prerouting, RAW, [rule([iifname_in("bridges"), ip_daddr_in(LOOPBACK), drop()])])
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
        ],
    )
}

fn output() -> Chain {
    Chain::base("output", NAT, Output, DSTNAT, [rule([to_the_host(), jump("publish")])])
}

fn publish() -> Chain {
    Chain::new(
        "publish",
        [
            rule([dnat_ip_to([ip_daddr(), l4proto(), dport()], "published_at_address", "published_at_port")]),
            rule([dnat_ip_to([l4proto(), dport()], "published_address", "published_port")]),
        ],
    )
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
            rule([nfproto_is("ipv4"), iifname_in("bridges"), oifname_not_in("bridges"), masquerade()]),
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
            rule([both_interfaces_in("same_bridge"), accept()]),
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
            rule([vmap(ct_state(), [("established", accept()), ("related", accept()), ("invalid", drop())])]),
            rule([ct_status_is_dnat(), accept()]),
            rule([drop()]),
        ],
    )
}

fn set(name: &'static str, key: &'static [SetType]) -> Value {
    let set =
        Set { family: NfFamily::INet, table: TABLE.into(), name: name.into(), set_type: types(key), ..Set::default() };
    command(NfCmd::Add(NfListObject::Set(Box::new(set))))
}

fn map(name: &'static str, key: &'static [SetType], value: SetType) -> Value {
    let map = Map {
        family: NfFamily::INet,
        table: TABLE.into(),
        name: name.into(),
        set_type: types(key),
        map: SetTypeValue::Single(value),
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
