//! Rules of tiers that never decide, because an earlier one always does.
//!
//! Whether one rule hides another is told from the two alone ([`hides`]). Asking that of all pairs would take the
//! square of the rules, so each rule that can hide others is filed under something that whatever it hides must have as
//! well: a network, a label, an address range, a port. Of what it could be filed under it is what the fewest rules
//! have.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use model::{ContainerName, NetworkName, PortName, PortRange, Protocol};

use crate::{
    dns_name::DnsPattern,
    peer::{EndpointSelector, Networks, Peer},
    policies::RuleOf,
    rule::{Action, Rule},
    selector::{Identity, Requirement, Selector},
    service::{IcmpMessages, Ports, Service},
};

/// How many peers, or services, of two rules are held against each other: with more, nothing is told of the two.
const COMPARED: usize = 10_000;

/// Of rules in the order in which they are asked: each one that never decides, and the first that always comes before
/// it.
pub(super) fn shadowed<'p>(rules: &[RuleOf<'p>]) -> Vec<(RuleOf<'p>, RuleOf<'p>)> {
    shadowed_by(rules, hides)
}

/// The same, where `hides` says whether the earlier rule of a pair hides the later one.
fn shadowed_by<'p>(
    rules: &[RuleOf<'p>],
    mut hides: impl FnMut(&RuleOf<'_>, &RuleOf<'_>) -> bool,
) -> Vec<(RuleOf<'p>, RuleOf<'p>)> {
    let choices: Vec<Vec<Filing<'p>>> = rules.iter().map(|rule| filings(*rule)).collect();
    let used: BTreeSet<Mark<'p>> = choices.iter().flatten().flat_map(|filing| filing.0.iter().copied()).collect();
    let lengths: BTreeSet<u8> = used.iter().filter_map(Mark::prefix_length).collect();
    let marked = |rule: &RuleOf<'p>| -> BTreeSet<Mark<'p>> {
        let all = marks(*rule, &lengths);
        all.into_iter().filter(|mark| used.contains(mark)).collect()
    };
    let marked: Vec<BTreeSet<Mark<'p>>> = rules.iter().map(marked).collect();
    let mut asks = BTreeMap::<Mark<'p>, usize>::new();
    for mark in marked.iter().flatten() {
        *asks.entry(*mark).or_default() += 1;
    }
    let cost = |filing: &Filing<'p>| filing.0.iter().map(|mark| asks.get(mark).copied().unwrap_or(0)).sum::<usize>();

    let mut filed = BTreeMap::<Mark<'p>, Vec<usize>>::new();
    let mut found = Vec::new();
    for (index, later) in rules.iter().enumerate() {
        let mut first = index;
        for mark in &marked[index] {
            let mut earlier = filed.get(mark).into_iter().flatten().copied().take_while(|earlier| *earlier < first);
            first = earlier.find(|earlier| hides(&rules[*earlier], later)).unwrap_or(first);
        }
        if first < index {
            found.push((*later, rules[first]));
        }
        if let Some(cheapest) = choices[index].iter().min_by_key(|filing| cost(filing)) {
            cheapest.0.iter().for_each(|mark| filed.entry(*mark).or_default().push(index));
        }
    }
    found
}

/// Whether whatever `later` matches is decided by `earlier`, as far as can be told at a look.
fn hides(earlier: &RuleOf<'_>, later: &RuleOf<'_>) -> bool {
    let networks = match (&earlier.policy.networks, &later.policy.networks) {
        (Networks::Labelled(selector), _) if selector.is_everything() => true,
        (Networks::Named(names), Networks::Named(inner)) => inner.is_subset(names),
        (one, other) => one == other,
    };
    can_hide(earlier.rule)
        && earlier.rule.direction == later.rule.direction
        && networks
        && earlier.policy.subject.is_at_least(&later.policy.subject)
        && covers(&earlier.rule.peers, &later.rule.peers, Peer::is_at_least)
        && covers(&earlier.rule.services, &later.rule.services, Service::is_at_least)
}

/// An `audit` decides nothing, and what expires will not always come first.
fn can_hide(rule: &Rule) -> bool {
    rule.action != Action::Audit && rule.expires.is_none()
}

/// Whether each of `those` is covered by one of `these`; an empty list is everything.
fn covers<T>(these: &[T], those: &[T], is_at_least: impl Fn(&T, &T) -> bool) -> bool {
    these.is_empty()
        || (!those.is_empty()
            && these.len().saturating_mul(those.len()) <= COMPARED
            && those.iter().all(|inner| these.iter().any(|one| is_at_least(one, inner))))
}

/// Something that a rule has, and that whatever it hides has as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mark<'p> {
    Any,
    Network(&'p NetworkName),
    NetworksLabelled(&'p Selector),
    Subject(Who<'p>),
    Peers(Option<&'p Networks>, Who<'p>),
    Range(IpNet),
    Host,
    World,
    Dns(&'p DnsPattern),
    AllPorts(Protocol),
    /// Of the blocks of ports of one size, a power of two, the one that has all of a range: its number, and the
    /// logarithm of the size.
    PortBlock(Protocol, u32, u32),
    PortName(Protocol, &'p PortName),
    Icmp(model::Family, IcmpMessages),
}

/// Something that an endpoint's selector says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Who<'p> {
    Anybody,
    Name(&'p ContainerName),
    Requirement(&'p Requirement),
    Identity(&'p Identity),
}

/// Marks of which whatever a rule hides has at least one.
struct Filing<'p>(Vec<Mark<'p>>);

impl Mark<'_> {
    fn prefix_length(&self) -> Option<u8> {
        match self {
            Self::Range(range) => Some(range.prefix_len()),
            _ => None,
        }
    }
}

/// What a rule can be filed under; nothing if it hides no other.
fn filings<'p>(RuleOf { policy, rule }: RuleOf<'p>) -> Vec<Filing<'p>> {
    if !can_hide(rule) {
        return Vec::new();
    }
    let mut filings = vec![Filing(vec![Mark::Any])];
    match &policy.networks {
        Networks::Named(names) => filings.push(Filing(names.iter().map(Mark::Network).collect())),
        Networks::Labelled(selector) if selector.is_everything() => {}
        Networks::Labelled(selector) => filings.push(Filing(vec![Mark::NetworksLabelled(selector)])),
    }
    filings.extend(selections(&policy.subject).map(|any_of| Filing(any_of.into_iter().map(Mark::Subject).collect())));
    if !rule.peers.is_empty() {
        filings.push(Filing(rule.peers.iter().flat_map(peer_filing).collect()));
    }
    if !rule.services.is_empty() {
        filings.push(Filing(rule.services.iter().map(service_mark).collect()));
    }
    filings
}

/// All that the rules must be filed under that can hide this one. Of several peers, or services, each must be covered,
/// and so must the first.
fn marks<'p>(RuleOf { policy, rule }: RuleOf<'p>, lengths: &BTreeSet<u8>) -> Vec<Mark<'p>> {
    let mut marks = vec![Mark::Any];
    match &policy.networks {
        Networks::Named(names) => marks.extend(names.first().map(Mark::Network)),
        Networks::Labelled(selector) => marks.push(Mark::NetworksLabelled(selector)),
    }
    marks.extend(says(&policy.subject).map(Mark::Subject));
    match rule.peers.first() {
        None => {}
        Some(Peer::Endpoints(networks, selector)) => {
            marks.extend(says(selector).map(|who| Mark::Peers(networks.as_ref(), who)));
        }
        Some(Peer::Block(block)) => {
            let shorter = lengths.range(..=block.range().prefix_len());
            let above = shorter.filter_map(|length| IpNet::new(block.range().addr(), *length).ok());
            marks.extend(above.map(|range| Mark::Range(range.trunc())));
        }
        Some(Peer::Host) => marks.push(Mark::Host),
        Some(Peer::World) => marks.push(Mark::World),
        Some(Peer::Names(patterns)) => marks.extend([Mark::World].into_iter().chain(patterns.first().map(Mark::Dns))),
    }
    match rule.services.first() {
        None => {}
        Some(service @ Service::Ports(protocol, ports)) => {
            marks.extend([Mark::AllPorts(*protocol), service_mark(service)]);
            if let Ports::Range(range) = ports {
                let own = block_size(*range);
                marks.extend((own..=u16::BITS).map(|size| port_block(*protocol, *range, size)));
            }
        }
        Some(Service::Icmp(family, messages)) => {
            let wider = match *messages {
                IcmpMessages::Code(kind, _) => Some(IcmpMessages::Type(kind)),
                IcmpMessages::All | IcmpMessages::Type(_) => None,
            };
            let all = [Some(IcmpMessages::All), wider, Some(*messages)];
            marks.extend(all.into_iter().flatten().map(|messages| Mark::Icmp(*family, messages)));
        }
    }
    marks
}

/// What whatever is selected by at most this selector says: one of each list. Lists of one are the most telling ones.
fn selections(selector: &EndpointSelector) -> impl Iterator<Item = Vec<Who<'_>>> {
    let names = (!selector.names.is_empty()).then(|| selector.names.iter().map(Who::Name).collect());
    let requirements = selector.labels.requirements().map(|requirement| vec![Who::Requirement(requirement)]);
    names.into_iter().chain(selector.identity.iter().map(|identity| vec![Who::Identity(identity)])).chain(requirements)
}

/// All that a selector says, and that it says nothing.
fn says(selector: &EndpointSelector) -> impl Iterator<Item = Who<'_>> {
    let name = selector.names.first().map(Who::Name);
    let requirements = selector.labels.requirements().map(Who::Requirement);
    [Who::Anybody].into_iter().chain(name).chain(selector.identity.as_ref().map(Who::Identity)).chain(requirements)
}

fn peer_filing(peer: &Peer) -> Vec<Mark<'_>> {
    match peer {
        Peer::Endpoints(networks, selector) => {
            let selection = selections(selector).next().unwrap_or_else(|| vec![Who::Anybody]);
            selection.into_iter().map(|who| Mark::Peers(networks.as_ref(), who)).collect()
        }
        Peer::Block(block) => vec![Mark::Range(block.range())],
        Peer::Host => vec![Mark::Host],
        Peer::World => vec![Mark::World],
        Peer::Names(patterns) => patterns.iter().map(Mark::Dns).collect(),
    }
}

fn service_mark(service: &Service) -> Mark<'_> {
    match service {
        Service::Ports(protocol, Ports::All) => Mark::AllPorts(*protocol),
        Service::Ports(protocol, Ports::Range(range)) => port_block(*protocol, *range, block_size(*range)),
        Service::Ports(protocol, Ports::Named(name)) => Mark::PortName(*protocol, name),
        Service::Icmp(family, messages) => Mark::Icmp(*family, *messages),
    }
}

/// The logarithm of the size of the smallest aligned block that has all of a range.
fn block_size(range: PortRange) -> u32 {
    u16::BITS - (range.first().get() ^ range.last().get()).leading_zeros()
}

fn port_block(protocol: Protocol, range: PortRange, size: u32) -> Mark<'static> {
    Mark::PortBlock(protocol, u32::from(range.first().get()) >> size, size)
}

#[cfg(test)]
mod tests;
