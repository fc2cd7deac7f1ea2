//! The chains of one step: who the other end is, and what is asked for.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use model::{
    Family, NetworkName, Protocol,
    data_path::{Chain, ChainName, ChainRule, Elements, Key, Match, PacketVerdict, Part, SetKind, SetName, Then},
};

use super::{
    draft::Draft,
    ranges::{Ranges, joined},
    roster::is_relative,
    rules::{Rules, Step},
};
use crate::{
    block::AddressBlock,
    peer::Peer,
    rule::Direction,
    service::{IcmpMessages, Ports, Service},
};

/// Up to so many peers of a step are asked for one by one. An address in a set that several rules share is one element,
/// in maps it is one for each step; but a map is one rule, however many peers there are.
const SETS_OF_A_STEP: usize = 8;

/// Writes steps, and what their chains lead to, into a draft: those of one direction.
pub(super) struct StepWriter<'r, 'd> {
    pub(super) rules: &'r Rules,
    pub(super) draft: &'d mut Draft,
}

impl StepWriter<'_, '_> {
    /// Adds the chain of a step, seen from an endpoint of a network.
    ///
    /// Whatever matches ends it, so that what only counts does so once: all that is said about anybody and about the
    /// world stands before the maps, and an address in a map of addresses leads to what is said about the ranges it
    /// lies in, too.
    pub(super) fn step(&mut self, network: &NetworkName, step: &Step) -> ChainName {
        let having = |is: &dyn Fn(&Peer) -> bool| -> BTreeSet<usize> {
            let numbers = step.clauses.iter().copied();
            numbers.filter(|number| self.rules.peers(*number).iter().any(is)).collect()
        };
        let is_of_own = !having(&is_relative).is_empty();
        let seen_from = if is_of_own { format!(" seen from network {network}") } else { String::new() };
        let about = format!("{}{seen_from}", self.rules.titles(&step.clauses));
        let name = ChainName::hashed("step", &about);
        if self.draft.chains.contains_key(&name) {
            return name;
        }
        for (chain, rules, counter) in step.clauses.iter().filter_map(|number| self.rules.special(*number)) {
            self.draft.counters.insert(counter, rules.about.clone());
            self.draft.chains.insert(chain, rules);
        }
        let world = having(&|peer| matches!(peer, Peer::World));
        let exact = having(&is_exact);
        let anybody: BTreeSet<usize> =
            step.clauses.iter().copied().filter(|number| self.rules.peers(*number).is_empty()).collect();
        let other = match self.rules.direction {
            Direction::Ingress => Part::Source,
            Direction::Egress => Part::Destination,
        };

        let mut rules = Vec::new();
        if !anybody.is_empty() {
            rules.extend(self.asked(&anybody, &step.then, |_| None));
        }
        if !world.is_empty() {
            let inside = self.draft.roster.inside();
            rules.extend(self.asked(&world, &step.then, |family| {
                let name = inside.iter().find(|name| name.kind == SetKind::Addresses(family));
                name.map(|name| Match::NotIn(other, name.clone()))
            }));
        }
        let ranges = Family::ALL.map(|family| Ranges::new(family, self.blocks(&step.clauses)));
        let peers = exact.iter().map(|number| self.rules.peers(*number).iter().filter(|peer| is_exact(peer)).count());
        if peers.sum::<usize>() <= SETS_OF_A_STEP {
            rules.extend(self.in_sets(network, &exact, &step.then, other));
        } else {
            rules.extend(self.in_map(network, &exact, ranges.clone(), &step.then, other, &about));
        }
        for (family, ranges) in Family::ALL.into_iter().zip(&ranges) {
            if ranges.parts().next().is_none() {
                continue;
            }
            let lead = |(first, last, numbers): (IpAddr, IpAddr, &BTreeSet<usize>)| {
                (Key::Range(first, last), Some(self.services(numbers, &step.then)))
            };
            let elements = ranges.parts().map(lead).collect();
            let map = SetName::hashed(SetKind::RangeMap(family), &about);
            rules.push(ChainRule::new([], Then::Lookup(other, map.clone())));
            self.draft.constants.insert(map, elements);
        }
        self.draft.chains.insert(name.clone(), Chain { about, hook: None, rules });
        name
    }

    /// Rules that ask who the other end is, one for each peer of a family. A set is one for all rules that name its
    /// peer.
    fn in_sets(
        &mut self,
        network: &NetworkName,
        numbers: &BTreeSet<usize>,
        then: &PacketVerdict,
        other: Part,
    ) -> Vec<ChainRule> {
        let mut rules = Vec::new();
        for number in numbers {
            let verdict = match (self.services(&BTreeSet::from([*number]), then), then) {
                // The next rule may be about the same peer.
                (PacketVerdict::Goto(asked), PacketVerdict::Accept | PacketVerdict::Drop) => PacketVerdict::Jump(asked),
                // A rule that counts is alone in its step.
                (verdict, _) => verdict,
            };
            for peer in self.rules.peers(*number).iter().filter(|peer| is_exact(peer)) {
                let asks = |set| ChainRule::new([Match::In(other, set)], Then::Verdict(verdict.clone()));
                rules.extend(self.draft.roster.members(network, peer).map(asks));
            }
        }
        rules
    }

    /// Rules that look the other end up in a map of this step's own, which leads from an address to all that is said
    /// about it.
    fn in_map(
        &mut self,
        network: &NetworkName,
        numbers: &BTreeSet<usize>,
        ranges: [Ranges; 2],
        then: &PacketVerdict,
        other: Part,
        about: &str,
    ) -> Vec<ChainRule> {
        // So that the first endpoint of those that a rule is about brings no chain along.
        for number in numbers {
            self.services(&BTreeSet::from([*number]), then);
        }
        let rules = self.rules;
        let of =
            |number: &usize| rules.peers(*number).iter().filter(|peer| is_exact(peer)).zip(std::iter::repeat(*number));
        let peers = numbers.iter().flat_map(of).map(|(peer, number)| (number, peer));
        let maps = Family::ALL.map(|family| SetName::hashed(SetKind::AddressMap(family), about));
        self.draft.roster.map(network, peers, maps.clone(), (rules.direction, then.clone(), ranges));
        maps.map(|map| ChainRule::new([], Then::Lookup(other, map))).into()
    }

    /// The ranges of these rules, with the numbers of the rules.
    fn blocks(&self, numbers: &[usize]) -> Vec<(usize, &AddressBlock)> {
        let blocks = numbers.iter().flat_map(|number| {
            self.rules.peers(*number).iter().filter_map(move |peer| match peer {
                Peer::Block(block) => Some((*number, block)),
                _ => None,
            })
        });
        blocks.collect()
    }

    /// What becomes of whom these rules are about, whatever is asked for: a chain says it, unless it is no question.
    pub(super) fn services(&mut self, numbers: &BTreeSet<usize>, then: &PacketVerdict) -> PacketVerdict {
        let asking = self.rules.asking(numbers, then);
        if let PacketVerdict::Goto(name) = &asking
            && asking != *then
            && !self.draft.chains.contains_key(name)
        {
            let (about, rules) = (self.rules.asked_about(numbers), self.asked(numbers, then, |_| None));
            self.draft.chains.insert(name.clone(), Chain { about, hook: None, rules });
        }
        asking
    }

    /// The same rules, or only one that is about whatever is asked for.
    fn decisive(&self, numbers: &BTreeSet<usize>) -> BTreeSet<usize> {
        let everything = numbers.iter().find(|number| self.rules.services(**number).is_empty());
        everything.map_or_else(|| numbers.clone(), |number| BTreeSet::from([*number]))
    }

    /// Rules that ask whether one of these rules is about what is asked for. `only` is what else must hold of a packet
    /// of a family, or nothing.
    fn asked(
        &mut self,
        numbers: &BTreeSet<usize>,
        then: &PacketVerdict,
        only: impl Fn(Family) -> Option<Match>,
    ) -> Vec<ChainRule> {
        let numbers = self.decisive(numbers);
        let services: Vec<&Service> = numbers.iter().flat_map(|number| self.rules.services(*number)).collect();
        // Elements of some sets are there a little after the rules that ask them, so a rule that begins to say
        // something else asks another set: nobody is judged by what it says now of the ports that it was about.
        let about = self.rules.meaning(&numbers);
        let rule = |only: Option<Match>, found: Option<Match>| {
            ChainRule::new(only.into_iter().chain(found), Then::Verdict(then.clone()))
        };
        // Once for each family where they differ.
        let guards = || match (only(Family::Ipv4), only(Family::Ipv6)) {
            (None, None) => vec![None],
            (ipv4, ipv6) => vec![ipv4, ipv6],
        };
        if services.is_empty() {
            return guards().into_iter().map(|only| rule(only, None)).collect();
        }
        let mut rules = Vec::new();
        if services.iter().any(|service| matches!(service, Service::Ports(_, Ports::All | Ports::Range(_)))) {
            let name = SetName::hashed(SetKind::Ports, &about);
            rules.extend(guards().into_iter().map(|only| rule(only, Some(Match::In(Part::Whole, name.clone())))));
            self.draft.constants.insert(name, ports(&services));
        }
        let names = || {
            services.iter().filter_map(|service| match service {
                Service::Ports(protocol, Ports::Named(name)) => Some((name, *protocol)),
                _ => None,
            })
        };
        let targets = Family::ALL.map(|family| SetName::hashed(SetKind::Targets(family), &about));
        for (family, targets) in Family::ALL.into_iter().zip(&targets) {
            let found = |set: &SetName| rule(only(family), Some(Match::In(Part::Whole, set.clone())));
            if services.iter().any(|service| matches!(service, Service::Icmp(of, _) if *of == family)) {
                let name = SetName::hashed(SetKind::Messages(family), &about);
                rules.push(found(&name));
                self.draft.constants.insert(name, messages(family, &services));
            }
            rules.extend(names().next().map(|_| found(targets)));
        }
        if names().next().is_some() {
            self.draft.roster.targets(targets, names());
        }
        rules
    }
}

/// Whether a peer's addresses are known one by one.
fn is_exact(peer: &Peer) -> bool {
    matches!(peer, Peer::Endpoints(..) | Peer::Host | Peer::Names(_))
}

fn ports(services: &[&Service]) -> Elements {
    let mut runs: BTreeMap<Protocol, Vec<(u16, u16)>> = BTreeMap::new();
    for service in services {
        match service {
            Service::Ports(protocol, Ports::All) => runs.entry(*protocol).or_default().push((0, u16::MAX)),
            Service::Ports(protocol, Ports::Range(range)) => {
                runs.entry(*protocol).or_default().push((range.first().get(), range.last().get()));
            }
            Service::Ports(_, Ports::Named(_)) | Service::Icmp(..) => {}
        }
    }
    let key = |protocol| move |(first, last)| (Key::Ports(protocol, first, last), None);
    runs.into_iter().flat_map(|(protocol, runs)| joined(runs).into_iter().map(key(protocol))).collect()
}

fn messages(family: Family, services: &[&Service]) -> Elements {
    let of_family = services.iter().filter_map(|service| match service {
        Service::Icmp(of, messages) if *of == family => Some(*messages),
        _ => None,
    });
    let of_family: BTreeSet<IcmpMessages> = of_family.collect();
    if of_family.contains(&IcmpMessages::All) {
        return [(Key::Messages([0, u8::MAX], [0, u8::MAX]), None)].into();
    }
    let key = |messages: &IcmpMessages| match *messages {
        IcmpMessages::All => None,
        IcmpMessages::Type(kind) => Some(Key::Messages([kind; 2], [0, u8::MAX])),
        IcmpMessages::Code(kind, _) if of_family.contains(&IcmpMessages::Type(kind)) => None,
        IcmpMessages::Code(kind, code) => Some(Key::Messages([kind; 2], [code; 2])),
    };
    of_family.iter().filter_map(key).map(|key| (key, None)).collect()
}
