//! Policies and worlds at random, as texts.

use std::net::IpAddr;

use model::{Family, Protocol};
use policy::{Asked, Policies, Suite, Syntax, World, parse};
use proptest::prelude::*;

const LABELS: [&str; 5] =
    ["{}", "{app: web}", "{app: api, tier: back}", "{app: db, tier: back}", "{app: web, tier: front}"];

/// Addresses of whoever is outside; some have names, and some lie in ranges that networks have, too.
const OUTSIDE: [&str; 9] = [
    "203.0.113.7",
    "203.0.113.9",
    "203.0.113.200",
    "198.51.100.1",
    "10.0.0.99",
    "255.255.255.255",
    "2001:db8::7",
    "fd00:1::99",
    "2001:db8:ffff::1",
];

/// Containers on one network or two, each with addresses of one family or both.
pub(crate) fn world() -> impl Strategy<Value = World> {
    let container = (0..LABELS.len(), 0..3usize, any::<bool>(), 0..3usize, any::<bool>());
    prop::collection::vec(container, 1..7).prop_map(|containers| {
        let mut endpoints = String::new();
        for (number, (labels, network, has_second, ports, has_ipv6)) in containers.into_iter().enumerate() {
            for network in [Some(network), has_second.then_some((network + 1) % 3)].into_iter().flatten() {
                let address = format!("10.{network}.0.{}", number + 2);
                let ipv6 = if has_ipv6 { format!(", \"fd00:{network}::{}\"", number + 2) } else { String::new() };
                let ports = ["{}", "{http: 80}", "{http: 8080, dns: 53/udp}"][ports];
                let labels = LABELS[labels];
                endpoints.push_str(&format!(
                    "- {{name: c{number}, network: n{network}, labels: {labels}, addresses: [{address}{ipv6}], ports: {ports}}}\n"
                ));
            }
        }
        let text = format!(
            "networks:\n  n0: {{labels: {{env: prod}}, gateways: [10.0.0.1, \"fd00:0::1\"]}}\n  n1: {{gateways: [10.1.0.1]}}\n  \
             n2: {{labels: {{env: test}}}}\nhost: [192.0.2.10, \"2001:db8:2::10\"]\nnames:\n  api.example.com: [203.0.113.7, \
             \"2001:db8::7\", 10.0.0.2]\n  v2.api.example.com: [203.0.113.9]\n  example.org: [203.0.113.200, 203.0.113.7]\nendpoints:\n\
             {endpoints}"
        );
        Suite::parse("w.yaml", Syntax::Yaml, &text).unwrap_or_else(|error| panic!("{error}\n{text}")).world
    })
}

fn listed(of: &'static [&'static str], most: usize) -> impl Strategy<Value = String> {
    prop::sample::subsequence(of.to_vec(), 0..=most).prop_map(|chosen| chosen.join(", "))
}

fn one_of(of: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(of.to_vec())
}

const PEERS: [&str; 17] = [
    "{labels: {app: web}}",
    "{labels: {tier: back}}",
    "{names: [c0, c1]}",
    "{networks: [n0]}",
    "{networks: ['*'], labels: {app: [web, db]}}",
    "{networkLabels: {env: prod}}",
    "{expressions: [{key: tier, operator: DoesNotExist}]}",
    "{identity: {app: web}}",
    "{cidr: 0.0.0.0/0}",
    "{cidr: '::/0', except: ['fd00::/16']}",
    "{cidr: 10.0.0.0/8, except: [10.0.0.0/16, 10.0.0.0/24, 10.1.0.3/32]}",
    "{cidr: 10.0.0.0/24}",
    "{cidr: 10.0.0.2/31}",
    "{cidr: 203.0.113.0/24, except: [203.0.113.128/25]}",
    "{cidr: 'fd00::/15'}",
    "{entity: host}",
    "{entity: world}",
];
const NAMES: [&str; 2] = ["{dns: [api.example.com, example.org]}", "{dns: ['*.example.com']}"];
const PORTS: [&str; 9] = ["80", "80-90", "85-8080", "53/udp", "any/udp", "http", "dns/udp", "http/udp", "65535/sctp"];
const ICMP: [&str; 4] = ["any", "echo-request", "8/1", "3/4"];
const ICMPV6: [&str; 4] = ["any", "echo-request", "128/3", "1"];

fn rule(is_egress: bool) -> impl Strategy<Value = String> {
    // Many peers of a step are looked up otherwise than few.
    let peers = prop_oneof![4 => listed(&PEERS, 3), 1 => listed(&PEERS, PEERS.len())];
    let peers = (peers, listed(&NAMES, 1));
    let asked = (listed(&PORTS, 3), listed(&ICMP, 2), listed(&ICMPV6, 2), 0..5u8);
    let action = one_of(&["allow", "allow", "deny", "deny", "audit"]);
    let others = (one_of(&["", "", ", order: 1", ", order: 200"]), one_of(&["", "", "", ", log: true"]));
    let limits = one_of(&["", "", "", ", rate: 10/m", ", connections: 3"]);
    let expires = one_of(&["", "", "", ", expires: 2025-01-01T00:00:00Z", ", expires: 2027-01-01T00:00:00Z"]);
    (action, peers, asked, others, limits, expires).prop_map(
        move |(action, (peers, names), (ports, icmp, icmpv6, kinds), (order, log), limits, expires)| {
            let mut text = format!("{{action: {action}{order}{log}{expires}");
            if action == "allow" {
                text.push_str(limits);
            }
            let names = if is_egress { names } else { String::new() };
            let peers = [peers, names].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(", ");
            if !peers.is_empty() {
                text.push_str(&format!(", {}: [{peers}]", if is_egress { "to" } else { "from" }));
            }
            // Most rules are about ports only, some about anything.
            let fields = [("ports", ports, 1), ("icmp", icmp, 3), ("icmpv6", icmpv6, 4)];
            for (field, list, from) in fields {
                if !list.is_empty() && kinds >= from {
                    text.push_str(&format!(", {field}: [{list}]"));
                }
            }
            text + "}"
        },
    )
}

fn native() -> impl Strategy<Value = String> {
    let subject =
        one_of(&["{}", "{labels: {app: web}}", "{labels: {tier: back}}", "{names: [c0, c2]}", "{identity: {}}"]);
    let networks = one_of(&["[n0]", "[n0, n1]", "['*']"]);
    let rules = (prop::collection::vec(rule(false), 0..4), prop::collection::vec(rule(true), 0..4));
    (networks, subject, 0..3u16, rules).prop_map(|(networks, subject, tier, (ingress, egress))| {
        format!(
            "apiVersion: fabric/v1\nkind: Policy\nmetadata: {{name: NAME}}\nnetworks: {networks}\ntier: {tier}\nsubject: {subject}\n\
             ingress: [{}]\negress: [{}]\n",
            ingress.join(", "),
            egress.join(", ")
        )
    })
}

const PODS: [&str; 6] = [
    "{podSelector: {matchLabels: {app: web}}}",
    "{podSelector: {matchExpressions: [{key: tier, operator: NotIn, values: [back]}]}}",
    "{namespaceSelector: {matchLabels: {env: prod}}}",
    "{namespaceSelector: {}, podSelector: {matchLabels: {app: api}}}",
    "{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}",
    "{ipBlock: {cidr: 203.0.113.0/24}}",
];
const POD_PORTS: [&str; 4] = ["{port: 80}", "{port: 1, endPort: 100}", "{protocol: UDP}", "{port: http}"];

fn kubernetes() -> impl Strategy<Value = String> {
    let rules = |side: &'static str| {
        let rule = (listed(&PODS, 2), listed(&POD_PORTS, 2));
        let rule = rule.prop_map(move |(peers, ports)| format!("{{{side}: [{peers}], ports: [{ports}]}}"));
        prop::collection::vec(rule, 0..3).prop_map(|rules| rules.join(", "))
    };
    let subject = one_of(&["{}", "{matchLabels: {app: web}}", "{matchLabels: {tier: back}}"]);
    let types = one_of(&["[]", "[Ingress]", "[Egress]", "[Ingress, Egress]"]);
    (one_of(&["n0", "n1", "n2"]), subject, types, rules("from"), rules("to")).prop_map(
        |(network, subject, types, ingress, egress)| {
            format!(
                "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: NAME, namespace: {network}}}\nspec: \
                 {{podSelector: {subject}, policyTypes: {types}, ingress: [{ingress}], egress: [{egress}]}}\n"
            )
        },
    )
}

fn stance() -> impl Strategy<Value = String> {
    (one_of(&["[n0]", "[n1, n2]"]), one_of(&["allow", "deny"]), one_of(&["allow", "deny"])).prop_map(
        |(networks, ingress, egress)| {
            format!(
                "apiVersion: fabric/v1\nkind: Stance\nmetadata: {{name: NAME}}\nnetworks: {networks}\ningress: {ingress}\n\
                 egress: {egress}\n"
            )
        },
    )
}

/// Policies of both forms, and a stance or none.
pub(crate) fn policies() -> impl Strategy<Value = Policies> {
    let documents = prop::collection::vec(prop_oneof![3 => native(), 2 => kubernetes()], 0..6);
    (documents, prop::option::of(stance())).prop_map(|(documents, stance)| {
        let named = |(number, text): (usize, String)| text.replace("NAME", &format!("p{number}"));
        let text: Vec<String> = documents.into_iter().chain(stance).enumerate().map(named).collect();
        let text = text.join("---\n");
        let told = |errors: Vec<_>| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        let documents = match text.is_empty() {
            true => Vec::new(),
            false => {
                parse("p.yaml", Syntax::Yaml, &text, None).map_err(told).unwrap_or_else(|told| panic!("{told}\n{text}"))
            }
        };
        Policies::new(documents).expect("each has a name of its own")
    })
}

/// What is asked for, mostly near what rules name.
fn asked() -> impl Strategy<Value = (bool, Asked, Asked)> {
    let near = prop::sample::select(vec![1u16, 53, 79, 80, 81, 84, 85, 90, 91, 100, 101, 8080, 8081, 65535]);
    let port = prop_oneof![4 => near, 1 => 1u16..].prop_map(|port| port.try_into().expect("from 1 on"));
    let protocol = prop::sample::select(Protocol::ALL.to_vec());
    let port = (protocol, port).prop_map(|(protocol, port)| Asked::Port(protocol, port));
    let kind = prop_oneof![4 => prop::sample::select(vec![0u8, 1, 3, 8, 128, 135]), 1 => any::<u8>()];
    let code = prop_oneof![4 => 0u8..5, 1 => any::<u8>()];
    (any::<bool>(), port, kind, code).prop_map(|(is_ipv6, port, kind, code)| {
        let family = if is_ipv6 { Family::Ipv6 } else { Family::Ipv4 };
        (is_ipv6, port, Asked::Icmp(family, kind, code))
    })
}

/// A connection of which one end at least is an endpoint, once its numbers are reduced to whoever there is.
pub(crate) type Draw = (prop::sample::Index, prop::sample::Index, bool, bool, (bool, Asked, Asked));

pub(crate) fn draw() -> impl Strategy<Value = Draw> {
    (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<bool>(), prop::bool::weighted(0.2), asked())
}

/// Who opens it, whom it is opened to, and what it asks for.
pub(crate) fn drawn(world: &World, (own, other, is_ingress, is_icmp, asks): &Draw) -> (IpAddr, IpAddr, Asked) {
    let (is_ipv6, port, icmp) = *asks;
    let endpoints: Vec<IpAddr> = world.endpoints().iter().flat_map(|endpoint| endpoint.addresses.clone()).collect();
    let family = match is_ipv6 && endpoints.iter().any(IpAddr::is_ipv6) {
        true => Family::Ipv6,
        false => Family::Ipv4,
    };
    let of_family = |addresses: &mut dyn Iterator<Item = IpAddr>| -> Vec<IpAddr> {
        addresses.filter(|address| Family::of(*address) == family).collect()
    };
    let outside = OUTSIDE.iter().map(|text| text.parse().expect("literal"));
    let everybody = of_family(&mut endpoints.iter().copied().chain(world.host()).chain(outside));
    let own = *own.get(&of_family(&mut endpoints.into_iter()));
    let other = *other.get(&everybody);
    // A message of ICMP is of its packet's family.
    let is_icmp = *is_icmp && matches!(icmp, Asked::Icmp(of, ..) if of == family);
    let asks = if is_icmp { icmp } else { port };
    if *is_ingress { (other, own, asks) } else { (own, other, asks) }
}
