//! The chains of one step: who the other end is, and what is asked for.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use model::{
    Family, NetworkName, Protocol,
    data_path::{Chain, ChainName, ChainRule, Key, Match, PacketVerdict, Part, SetKind, SetName, Then},
};

use super::{
    Compiler, Step,
    ranges::{Ranges, joined},
};
use crate::{
    peer::Peer,
    rule::Direction,
    service::{IcmpMessages, Ports, Service},
    world::Party,
};

/// Up to so many peers of a step are asked for one by one. An address in a set that several rules share is one element,
/// in maps it is one for each step; but a map is one rule, however many peers there are.
const SETS_OF_A_STEP: usize = 8;

impl<'p> Compiler<'p, '_> {
    /// Adds the chain of a step, seen from an endpoint of a network.
    ///
    /// Whatever matches ends it, so that what only counts does so once: all that is said about anybody and about the
    /// world stands before the maps, and an address in a map of addresses leads to what is said about the ranges it
    /// lies in, too.
    pub(super) fn step(&mut self, network: &'p NetworkName, step: &Step) -> ChainName {
        let having = |is: &dyn Fn(&Peer) -> bool| -> BTreeSet<usize> {
            let numbers = step.clauses.iter().copied();
            numbers.filter(|number| self.clauses[*number].peers.iter().any(is)).collect()
        };
        let is_of_own = !having(&is_relative).is_empty();
        let seen_from = if is_of_own { format!(" seen from network {network}") } else { String::new() };
        let about = format!("{}{seen_from}", self.titles(&step.clauses));
        let name = ChainName::hashed("step", &about);
        if self.path.chains.contains_key(&name) {
            return name;
        }
        let world = having(&|peer| matches!(peer, Peer::World));
        let exact = having(&is_exact);
        let anybody: BTreeSet<usize> =
            step.clauses.iter().copied().filter(|number| self.clauses[*number].peers.is_empty()).collect();
        let other = match self.direction {
            Direction::Ingress => Part::Source,
            Direction::Egress => Part::Destination,
        };

        let mut rules = Vec::new();
        if !anybody.is_empty() {
            rules.extend(self.asked(&anybody, &step.then, |_| None));
        }
        if !world.is_empty() {
            let inside = Family::ALL.map(|family| self.inside(family));
            rules.extend(self.asked(&world, &step.then, |family| {
                let name = inside.iter().find(|name| name.kind == SetKind::Addresses(family));
                name.map(|name| Match::NotIn(other, name.clone()))
            }));
        }
        let ranges = Family::ALL.map(|family| Ranges::new(family, self.blocks(&step.clauses)));
        let peers = exact.iter().map(|number| self.clauses[*number].peers.iter().filter(|peer| is_exact(peer)).count());
        if peers.sum::<usize>() <= SETS_OF_A_STEP {
            rules.extend(self.in_sets(network, &exact, &step.then, other));
        } else {
            rules.extend(self.in_map(network, &exact, &ranges, &step.then, other, &about));
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
            self.path.sets.insert(map, elements);
        }
        self.path.chains.insert(name.clone(), Chain { about, hook: None, rules });
        name
    }

    /// Rules that ask who the other end is, one for each peer of a family. A set is one for all rules that name its
    /// peer.
    fn in_sets(
        &mut self,
        network: &'p NetworkName,
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
            for peer in self.clauses[*number].peers.iter().filter(|peer| is_exact(peer)) {
                let seen_from = is_relative(peer).then_some(network);
                for family in Family::ALL {
                    let set = SetName::hashed(SetKind::Addresses(family), &format!("{seen_from:?} {peer:?}"));
                    rules.push(ChainRule::new([Match::In(other, set.clone())], Then::Verdict(verdict.clone())));
                    if !self.path.sets.contains_key(&set) {
                        let members = self.members(network, peer).iter();
                        let members = members.filter(|address| Family::of(**address) == family);
                        let elements = members.map(|address| (Key::Address(*address), None)).collect();
                        self.path.sets.insert(set, elements);
                    }
                }
            }
        }
        rules
    }

    /// Rules that look the other end up in a map of this step's own, which leads from an address to all that is said
    /// about it.
    fn in_map(
        &mut self,
        network: &'p NetworkName,
        numbers: &BTreeSet<usize>,
        ranges: &[Ranges],
        then: &PacketVerdict,
        other: Part,
        about: &str,
    ) -> Vec<ChainRule> {
        // So that the first endpoint of those that a rule is about brings no chain along.
        for number in numbers {
            self.services(&BTreeSet::from([*number]), then);
        }
        let mut known: BTreeMap<IpAddr, BTreeSet<usize>> = BTreeMap::new();
        for number in numbers {
            for peer in self.clauses[*number].peers.iter().filter(|peer| is_exact(peer)) {
                for address in self.members(network, peer) {
                    known.entry(*address).or_default().insert(*number);
                }
            }
        }
        for (address, numbers) in &mut known {
            numbers.extend(ranges.iter().flat_map(|ranges| ranges.of(*address)));
        }
        let mut rules = Vec::new();
        for family in Family::ALL {
            let of_family = known.iter().filter(|(address, _)| Family::of(**address) == family);
            let lead = |(address, numbers): (&IpAddr, &BTreeSet<usize>)| {
                (Key::Address(*address), Some(self.services(numbers, then)))
            };
            let elements = of_family.map(lead).collect();
            let map = SetName::hashed(SetKind::AddressMap(family), about);
            rules.push(ChainRule::new([], Then::Lookup(other, map.clone())));
            self.path.sets.insert(map, elements);
        }
        rules
    }

    fn titles<'a>(&self, numbers: impl IntoIterator<Item = &'a usize>) -> String {
        numbers.into_iter().map(|number| self.clauses[*number].title.as_str()).collect::<Vec<_>>().join("; ")
    }

    /// The ranges of these rules, with the numbers of the rules.
    fn blocks(&self, numbers: &[usize]) -> Vec<(usize, &'p crate::block::AddressBlock)> {
        let blocks = numbers.iter().flat_map(|number| {
            self.clauses[*number].peers.iter().filter_map(move |peer| match peer {
                Peer::Block(block) => Some((*number, block)),
                _ => None,
            })
        });
        blocks.collect()
    }

    /// The addresses of those whom a peer is, if they are known one by one.
    fn members(&mut self, network: &'p NetworkName, peer: &'p Peer) -> &[IpAddr] {
        let world = self.world;
        self.members.entry((is_relative(peer).then_some(network), peer)).or_insert_with(|| match peer {
            Peer::Endpoints(..) => {
                let is = |endpoint: &&_| peer.is(&Party::Endpoint { endpoint, address: None }, network, world);
                let endpoints = world.endpoints().iter().filter(is);
                endpoints.flat_map(|endpoint| &endpoint.addresses).copied().collect()
            }
            Peer::Host => world.host().collect(),
            Peer::Names(patterns) => world.addresses_matching(patterns).collect(),
            Peer::Block(_) | Peer::World => Vec::new(),
        })
    }

    /// Whoever is not the world.
    fn inside(&mut self, family: Family) -> SetName {
        let name = SetName::new(SetKind::Addresses(family), if family == Family::Ipv4 { "inside4" } else { "inside6" });
        let world = self.world;
        self.path.sets.entry(name.clone()).or_insert_with(|| {
            let endpoints = world.endpoints().iter().flat_map(|endpoint| &endpoint.addresses).copied();
            let addresses = endpoints.chain(world.host()).filter(|address| Family::of(*address) == family);
            addresses.map(|address| (Key::Address(address), None)).collect()
        });
        name
    }

    /// What becomes of whom these rules are about, whatever is asked for: a chain says it, unless it is no question.
    fn services(&mut self, numbers: &BTreeSet<usize>, then: &PacketVerdict) -> PacketVerdict {
        let numbers = self.decisive(numbers);
        if numbers.iter().any(|number| self.clauses[*number].services.is_empty()) {
            return then.clone();
        }
        let about = format!("what is asked for by {}", self.titles(&numbers));
        let name = ChainName::hashed("asked", &about);
        if !self.path.chains.contains_key(&name) {
            let rules = self.asked(&numbers, then, |_| None);
            self.path.chains.insert(name.clone(), Chain { about, hook: None, rules });
        }
        PacketVerdict::Goto(name)
    }

    /// The same rules, or only one that is about whatever is asked for.
    fn decisive(&self, numbers: &BTreeSet<usize>) -> BTreeSet<usize> {
        let everything = numbers.iter().find(|number| self.clauses[**number].services.is_empty());
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
        let services: Vec<&Service> = numbers.iter().flat_map(|number| self.clauses[*number].services).collect();
        let about = self.titles(&numbers);
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
        let mut sets: Vec<(SetName, BTreeMap<Key, Option<PacketVerdict>>)> = Vec::new();
        if services.iter().any(|service| matches!(service, Service::Ports(_, Ports::All | Ports::Range(_)))) {
            let name = SetName::hashed(SetKind::Ports, &about);
            rules.extend(guards().into_iter().map(|only| rule(only, Some(Match::In(Part::Whole, name.clone())))));
            sets.push((name, ports(&services)));
        }
        for family in Family::ALL {
            let mut found = |kind, elements| {
                let name = SetName::hashed(kind, &about);
                rules.push(rule(only(family), Some(Match::In(Part::Whole, name.clone()))));
                sets.push((name, elements));
            };
            if services.iter().any(|service| matches!(service, Service::Icmp(of, _) if *of == family)) {
                found(SetKind::Messages(family), messages(family, &services));
            }
            if services.iter().any(|service| matches!(service, Service::Ports(_, Ports::Named(_)))) {
                found(SetKind::Targets(family), self.called(family, &services));
            }
        }
        self.path.sets.extend(sets);
        rules
    }

    /// Whoever calls a port as one of these services does.
    fn called(&self, family: Family, services: &[&Service]) -> BTreeMap<Key, Option<PacketVerdict>> {
        let names = services.iter().filter_map(|service| match service {
            Service::Ports(protocol, Ports::Named(name)) => Some((name, *protocol)),
            _ => None,
        });
        let targets = names.flat_map(|(name, protocol)| {
            let targets = self.targets.get(&(name, protocol)).into_iter().flatten();
            targets.map(move |(address, port)| Key::Target(*address, protocol, *port))
        });
        let is_of_family = |key: &Key| matches!(key, Key::Target(address, ..) if Family::of(*address) == family);
        targets.filter(is_of_family).map(|key| (key, None)).collect()
    }
}

/// Whether a peer is somebody else for an endpoint of another network.
fn is_relative(peer: &Peer) -> bool {
    matches!(peer, Peer::Endpoints(None, _))
}

/// Whether a peer's addresses are known one by one.
fn is_exact(peer: &Peer) -> bool {
    matches!(peer, Peer::Endpoints(..) | Peer::Host | Peer::Names(_))
}

fn ports(services: &[&Service]) -> BTreeMap<Key, Option<PacketVerdict>> {
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

fn messages(family: Family, services: &[&Service]) -> BTreeMap<Key, Option<PacketVerdict>> {
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
