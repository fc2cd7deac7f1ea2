//! Containers and policies at random, drawn from a number.

use std::{fmt::Write, net::IpAddr};

use crate::probe::{PORTS, Party};

/// The names of the networks, and the labels of each.
pub(crate) const NETWORKS: [(&str, &str); 2] = [("n0", "env=prod"), ("n1", "env=test")];

/// SplitMix64 (Steele, Lea and Flood, 2014): small, and good enough to draw by.
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    /// A number below this one.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as usize % bound
    }

    pub(crate) fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }

    /// Up to so many of these, as a list.
    fn some(&mut self, most: usize, mut draw: impl FnMut(&mut Self) -> String) -> String {
        let count = self.below(most + 1);
        (0..count).map(|_| draw(self)).collect::<Vec<_>>().join(", ")
    }
}

/// A container: its labels, and which networks it is on.
#[derive(Debug, Clone)]
pub(crate) struct Container {
    pub(crate) name: String,
    pub(crate) labels: Vec<(&'static str, &'static str)>,
    pub(crate) networks: Vec<&'static str>,
}

pub(crate) fn container(draw: &mut Draw, name: String) -> Container {
    let mut labels = Vec::new();
    if draw.below(5) > 0 {
        labels.push(("app", draw.one(&["web", "api", "db"])));
    }
    if draw.below(2) == 0 {
        labels.push(("tier", draw.one(&["front", "back"])));
    }
    let networks: &[&str] = match draw.below(4) {
        0 => &["n1"],
        1 => &["n1", "n0"],
        _ => &["n0"],
    };
    Container { name, labels, networks: networks.to_vec() }
}

/// Policies of both forms and a stance. Their names are always the same, so each draw takes the place of the one
/// before.
pub(crate) fn policies(draw: &mut Draw, parties: &[Party]) -> String {
    let mut text = String::new();
    for number in 0..3 {
        let networks = draw.one(&["[n0]", "[n1]", "[n0, n1]", "['*']"]);
        let subject = match draw.below(4) {
            0 => "{}".to_owned(),
            1 => format!("{{names: [{}]}}", names(draw, parties)),
            _ => selector(draw),
        };
        let tier = draw.below(2);
        let rules = |draw: &mut Draw, side: &'static str| draw.some(3, |draw| rule(draw, parties, side));
        let (ingress, egress) = (rules(draw, "from"), rules(draw, "to"));
        write!(
            text,
            "apiVersion: fabric/v1\nkind: Policy\nmetadata: {{name: p{number}}}\nnetworks: {networks}\ntier: {tier}\nsubject: {subject}\n\
             ingress: [{ingress}]\negress: [{egress}]\n---\n"
        )
        .expect("memory takes all");
    }
    for (number, (network, _)) in NETWORKS.iter().enumerate() {
        // One that nothing matches leaves the rest to the others.
        let subject =
            draw.one(&["{app: web}", "{tier: back}", "{app: api, tier: front}", "{app: none}", "{app: none}"]);
        let types = draw.one(&["[Ingress]", "[Egress]", "[Ingress, Egress]"]);
        let rules = |draw: &mut Draw, side: &'static str| {
            draw.some(2, |draw| {
                let peers = draw.some(2, |draw| pod_peer(draw, parties));
                let ports = draw.some(2, |draw| {
                    let port = PORTS[draw.below(PORTS.len())];
                    let protocol = draw.one(&["TCP", "UDP", "SCTP"]);
                    match draw.below(3) {
                        0 => format!("{{port: {port}, endPort: {}}}", port + 20),
                        1 => format!("{{protocol: {protocol}}}"),
                        _ => format!("{{port: {port}, protocol: {protocol}}}"),
                    }
                });
                format!("{{{side}: [{peers}], ports: [{ports}]}}")
            })
        };
        let (ingress, egress) = (rules(draw, "from"), rules(draw, "to"));
        write!(
            text,
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: k{number}, namespace: {network}}}\nspec: \
             {{podSelector: {{matchLabels: {subject}}}, policyTypes: {types}, ingress: [{ingress}], egress: [{egress}]}}\n---\n"
        )
        .expect("memory takes all");
    }
    let stance = |draw: &mut Draw| draw.one(&["allow", "allow", "allow", "deny"]);
    let (ingress, egress) = (stance(draw), stance(draw));
    write!(
        text,
        "apiVersion: fabric/v1\nkind: Stance\nmetadata: {{name: s0}}\nnetworks: [n0]\ningress: {ingress}\negress: {egress}\n"
    )
    .expect("memory takes all");
    text
}

fn rule(draw: &mut Draw, parties: &[Party], side: &str) -> String {
    let action = draw.one(&["allow", "allow", "deny", "deny", "deny"]);
    let order = draw.one(&["", "", ", order: 1", ", order: 200"]);
    // Few peers are asked for one by one, many by a map.
    let most = if draw.below(5) == 0 { 12 } else { 2 };
    let peers = draw.some(most, |draw| peer(draw, parties));
    let ports = draw.some(3, |draw| {
        let port = PORTS[draw.below(PORTS.len())];
        let protocol = draw.one(&["", "/tcp", "/udp", "/sctp"]);
        match draw.below(4) {
            0 => format!("{port}-{}{protocol}", port + 20),
            1 if !protocol.is_empty() => format!("any{protocol}"),
            _ => format!("{port}{protocol}"),
        }
    });
    let peers = if peers.is_empty() { peers } else { format!(", {side}: [{peers}]") };
    let ports = if ports.is_empty() { ports } else { format!(", ports: [{ports}]") };
    format!("{{action: {action}{order}{peers}{ports}}}")
}

fn peer(draw: &mut Draw, parties: &[Party]) -> String {
    match draw.below(9) {
        0 => format!("{{names: [{}]}}", names(draw, parties)),
        1 => format!("{{networks: [{}]}}", draw.one(&["n0", "n1", "'*'"])),
        2 => format!("{{networkLabels: {{env: {}}}}}", draw.one(&["prod", "test"])),
        3 => "{entity: host}".to_owned(),
        4 => "{entity: world}".to_owned(),
        5 | 6 => format!("{{cidr: {}}}", range(draw, parties)),
        7 => format!("{{networks: ['*'], {}", &selector(draw)[1..]),
        _ => selector(draw),
    }
}

fn pod_peer(draw: &mut Draw, parties: &[Party]) -> String {
    match draw.below(4) {
        0 => "{podSelector: {matchLabels: {app: web}}}".to_owned(),
        1 => "{podSelector: {matchExpressions: [{key: tier, operator: NotIn, values: [back]}]}}".to_owned(),
        2 => "{namespaceSelector: {matchLabels: {env: prod}}}".to_owned(),
        _ => format!("{{ipBlock: {{cidr: {}}}}}", range(draw, parties)),
    }
}

fn selector(draw: &mut Draw) -> String {
    draw.one(&[
        "{labels: {app: web}}",
        "{labels: {app: [api, db]}}",
        "{labels: {tier: back}}",
        "{expressions: [{key: tier, operator: DoesNotExist}]}",
        "{expressions: [{key: app, operator: NotIn, values: [db]}]}",
        "{identity: {app: web}}",
    ])
    .to_owned()
}

/// One or two names of containers.
fn names(draw: &mut Draw, parties: &[Party]) -> String {
    let named: Vec<&str> = parties.iter().filter_map(|party| party.name.as_deref()).collect();
    let (one, other) = (draw.one(&named), draw.one(&named));
    if one == other { one.to_owned() } else { format!("{one}, {other}") }
}

/// A range with somebody in it.
fn range(draw: &mut Draw, parties: &[Party]) -> String {
    let party = &parties[draw.below(parties.len())];
    let address = party.addresses[draw.below(party.addresses.len())];
    let lengths: [u8; 4] = if address.is_ipv4() { [32, 31, 28, 0] } else { [128, 127, 120, 0] };
    let length = lengths[draw.below(4)];
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let cut = |number: u128| if length == 0 { 0 } else { number >> (bits - length) << (bits - length) };
    let first: IpAddr = match address {
        IpAddr::V4(address) => {
            std::net::Ipv4Addr::from(u32::try_from(cut(u32::from(address).into())).expect("32 bits")).into()
        }
        IpAddr::V6(address) => std::net::Ipv6Addr::from(cut(address.into())).into(),
    };
    let colon = |text: String| if text.contains(':') { format!("'{text}'") } else { text };
    let whole = colon(format!("{first}/{length}"));
    // An exception lies inside.
    let own = colon(format!("{address}/{bits}"));
    if length < bits && draw.below(2) == 0 { format!("{whole}, except: [{own}]") } else { whole }
}
