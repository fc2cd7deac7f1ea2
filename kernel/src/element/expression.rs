//! Elements in the form of nft, for the transaction that puts the whole table in place.

use std::collections::{BTreeMap, BTreeSet};

use model::{Element, Family};
use nftables::{
    expr::{Expression, NamedExpression, Prefix, Range},
    schema::{self, NfCmd, NfListObject},
    types::NfFamily,
};

use super::{TABLE, set::Set};

/// The commands of nft that add those elements that are in `table inet fabric`, one for each set or map.
pub(crate) fn commands(elements: &BTreeSet<Element>) -> Vec<NfCmd<'static>> {
    let mut contents: BTreeMap<Set, Vec<Expression<'static>>> = BTreeMap::new();
    for (set, entry) in elements.iter().flat_map(expressions) {
        contents.entry(set).or_default().push(entry);
    }
    let add = |(set, entries): (Set, Vec<_>)| {
        let element = schema::Element {
            family: NfFamily::INet,
            table: TABLE.into(),
            name: set.name().into(),
            elem: entries.into(),
        };
        NfCmd::Add(NfListObject::Element(element))
    };
    contents.into_iter().map(add).collect()
}

/// The entries of an element. A pair is a key and its value.
fn expressions(element: &Element) -> Vec<(Set, Expression<'static>)> {
    let word = |word: &dyn ToString| Expression::String(word.to_string().into());
    let number = |port: u16| Expression::Number(port.into());
    let concat = |parts| Expression::Named(NamedExpression::Concat(parts));
    match element {
        Element::Bridge(name) => vec![(Set::Bridges, word(name))],
        Element::SameBridge(name) => vec![(Set::SameBridge, concat(vec![word(name), word(name)]))],
        Element::Icc(name) => vec![(Set::Icc, concat(vec![word(name), word(name)]))],
        Element::Masqueraded(name) => vec![(Set::Masqueraded, word(name))],
        Element::Internal(name) => vec![(Set::Internal, word(name))],
        Element::ForwardingGuard(Family::Ipv4) => vec![(Set::Guarded, word(&"ipv4"))],
        Element::ForwardingGuard(Family::Ipv6) => vec![(Set::Guarded, word(&"ipv6"))],
        Element::Gateway { bridge, address } => {
            let family = Family::of(*address);
            vec![
                (Set::Gateways(family), word(address)),
                (Set::BridgeOfGateway(family), Expression::List(vec![word(address), word(bridge)])),
            ]
        }
        // In the other table.
        Element::Sender { .. } | Element::Source { .. } | Element::Holder { .. } => Vec::new(),
        Element::Published(published) => {
            let (first, last) = (published.host_ports.first().get(), published.host_ports.last().get());
            let host = published.host_ip.map(|address| word(&address));
            let (addresses, ports) = Set::of_published(published);
            let (host, dport) = if ports.is_none() {
                let range = Range { range: [number(first), number(last)] };
                (Some(host.unwrap_or_else(|| every(published.to.ip()))), Expression::Range(Box::new(range)))
            } else {
                (host, number(first))
            };
            let key = concat(host.into_iter().chain([word(&published.protocol), dport]).collect());
            let to = (addresses, Expression::List(vec![key.clone(), word(&published.to.ip())]));
            let port = ports.map(|ports| (ports, Expression::List(vec![key, number(published.to.port())])));
            [to].into_iter().chain(port).collect()
        }
    }
}

/// Every address of the family of `address`.
fn every(address: std::net::IpAddr) -> Expression<'static> {
    let unspecified = match Family::of(address) {
        Family::Ipv4 => "0.0.0.0",
        Family::Ipv6 => "::",
    };
    let prefix = Prefix { addr: Box::new(Expression::String(unspecified.into())), len: 0 };
    Expression::Named(NamedExpression::Prefix(prefix))
}
