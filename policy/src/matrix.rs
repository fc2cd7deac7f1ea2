//! Who reaches whom: for any two that there are, all that policies let through.

mod alike;
mod text;

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    num::NonZeroU16,
};

use jiff::Timestamp;
use model::{Family, Protocol};
use serde::Serialize;

use crate::{
    course::spoken,
    evaluate::evaluate,
    policies::Policies,
    rule::Effect,
    service::{Asked, IcmpMessages, Ports, Service},
    world::{Endpoint, Flow, Party, World},
};

/// What becomes of every connection between the endpoints of a world, and its host if it has one.
///
/// What can be asked for is divided where a rule or a port's name makes a difference, and the evaluator is asked once
/// for each part: nothing is left out. Of many endpoints, those that no policy tells apart are one end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matrix {
    ends: Vec<End>,
    /// How many ends are not in it, because they are too many.
    left_out: usize,
    /// Who opens it, whom it is opened to, and what passes; none of two ends of one container.
    cells: Vec<Vec<Option<Passage>>>,
    /// The rules that would let something else pass, or not, depending on what nobody said, in words.
    doubts: BTreeSet<String>,
}

/// More endpoints than that are told by their kinds.
const SINGLE: usize = 32;
/// Of more kinds than that the rest is left out.
const KINDS: usize = 100;

/// Who opens connections, or whom they are opened to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct End {
    title: String,
    /// Others of whom the same is true.
    alike: Vec<String>,
}

/// What passes from one end to another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Passage {
    /// By the family of addresses that they speak with; a family that they do not share is not there.
    by_family: BTreeMap<Family, Vec<Span>>,
}

/// What is asked for, without the part that a [`Span`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Port(Protocol),
    Icmp(Family),
}

/// Ports that follow each other, or messages of ICMP, as numbers whose upper octet is the type and whose lower is the
/// code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    kind: Kind,
    first: u16,
    last: u16,
}

/// Where it makes a difference what is asked for: the first of each run that all rules treat alike.
type Cuts = BTreeMap<Kind, BTreeSet<u16>>;

/// One pair, for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Pair<'m> {
    from: &'m str,
    to: &'m str,
    /// Others of whom the same is true.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    from_alike: &'m [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    to_alike: &'m [String],
    /// What passes, by the family of addresses.
    passes: BTreeMap<Family, Vec<String>>,
}

impl Matrix {
    /// What policies let through at this moment. Of two ends with several addresses of a family, only what passes
    /// between any two of them counts.
    pub fn new(policies: &Policies, world: &World, now: Timestamp) -> Self {
        let mut kinds: Vec<Vec<&Endpoint>> = match world.endpoints().len() > SINGLE {
            true => alike::alike(policies, world),
            false => world.endpoints().iter().map(|endpoint| vec![endpoint]).collect(),
        };
        let left_out = kinds.len().saturating_sub(KINDS);
        kinds.truncate(KINDS);
        let has_host = world.host().next().is_some();
        let mut doubts = BTreeSet::new();
        // The kinds by their numbers, and the host after them.
        let mut cell = |from: usize, to: usize| -> Option<Passage> {
            let (from, to) = match (kinds.get(from), kinds.get(to)) {
                (Some(from), Some(to)) => {
                    let (from, to) = two_of(from, to)?;
                    (world.parties(from), world.parties(to))
                }
                (Some(from), None) => (world.parties(from.first()?), vec![Party::Host { address: None }]),
                (None, Some(to)) => (vec![Party::Host { address: None }], world.parties(to.first()?)),
                (None, None) => return None,
            };
            // Others have no say, and the evaluator asks each one.
            let ends = [&from, &to].into_iter().filter_map(|parties| parties.first()?.endpoint());
            let policies = &policies.about(&ends.collect::<Vec<_>>(), world);
            let cuts = cuts(policies, world);
            let mut allows = |flow: &Flow<'_>| {
                let verdict = evaluate(policies, world, flow, now);
                doubts.extend(verdict.doubts().iter().map(|doubt| doubt.told(flow)));
                verdict.effect() == Effect::Allow
            };
            let mut by_family: BTreeMap<Family, Vec<Span>> = BTreeMap::new();
            let pairs = from.iter().flat_map(|from| to.iter().flat_map(|to| spoken(world, *from, *to, None)));
            for (from, to) in pairs {
                let family = from.family().or(to.family()).unwrap_or(Family::Ipv4);
                let asked = |span: &Span| allows(&Flow { from, to, asks: span.asked() });
                match by_family.entry(family) {
                    Entry::Vacant(entry) => {
                        entry.insert(runs(family, &cuts).filter(asked).collect());
                    }
                    Entry::Occupied(mut entry) => entry.get_mut().retain(asked),
                }
            }
            by_family.values_mut().for_each(|spans| *spans = joined(spans));
            Some(Passage { by_family })
        };
        let count = kinds.len() + usize::from(has_host);
        let cells = (0..count).map(|from| (0..count).map(|to| cell(from, to)).collect()).collect();
        let end = |kind: &Vec<&Endpoint>| {
            let mut titles = kind.iter().map(|endpoint| endpoint.title());
            Some(End { title: titles.next()?, alike: titles.collect() })
        };
        let host = has_host.then(|| End { title: "host".to_owned(), alike: Vec::new() });
        Self { ends: kinds.iter().filter_map(end).chain(host).collect(), left_out, cells, doubts }
    }

    /// How many kinds of endpoints are not in it, because there are too many for anybody to read.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// The rules that would let something else pass, or not, depending on what nobody said of the ends, in words.
    pub fn doubts(&self) -> impl Iterator<Item = &str> {
        self.doubts.iter().map(String::as_str)
    }

    /// Whether what is asked for passes from one end to another, which have these titles, with addresses of a family;
    /// none where there is no such pair, or it is of one container.
    pub fn passes(&self, from: &str, to: &str, family: Family, asked: Asked) -> Option<bool> {
        // Of what a container says to itself nothing is told, also where it is one of many like it.
        let container = |title: &str| title.split_once('/').map(|(_, name)| name.to_owned());
        if from == to || container(from).is_some() && container(from) == container(to) {
            return None;
        }
        let (.., passage) = self.pairs().find(|(one, other, _)| one.is(from) && other.is(to))?;
        Some(passage.by_family.get(&family)?.iter().any(|span| span.includes(asked)))
    }

    /// All pairs but those of one container.
    fn pairs(&self) -> impl Iterator<Item = (&End, &End, &Passage)> {
        self.ends.iter().zip(&self.cells).flat_map(|(from, row)| {
            let to = self.ends.iter().zip(row);
            to.filter_map(move |(to, cell)| cell.as_ref().map(|cell| (from, to, cell)))
        })
    }

    /// As a graph for Graphviz: an arrow from whoever opens connections to whom it opens them to, with what passes.
    pub fn dot(&self) -> String {
        let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let named = |end: &End| quoted(&end.to_string());
        let mut text = "digraph reach {\n  rankdir=LR;\n  node [shape=box];\n".to_owned();
        for end in &self.ends {
            text.push_str(&format!("  {};\n", named(end)));
        }
        for (from, to, passage) in self.pairs().filter(|(.., passage)| !passage.is_empty()) {
            text.push_str(&format!("  {} -> {} [label={}];\n", named(from), named(to), quoted(&passage.to_string())));
        }
        text.push_str("}\n");
        text
    }
}

impl Serialize for Matrix {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let texts = |spans: &Vec<Span>| spans.iter().map(Span::to_string).collect();
        let passes =
            |passage: &Passage| passage.by_family.iter().map(|(family, spans)| (*family, texts(spans))).collect();
        serializer.collect_seq(self.pairs().map(|(from, to, passage)| Pair {
            from: &from.title,
            to: &to.title,
            from_alike: &from.alike,
            to_alike: &to.alike,
            passes: passes(passage),
        }))
    }
}

/// Two of these kinds that are not of one container; none if there are none.
fn two_of<'w>(from: &[&'w Endpoint], to: &[&'w Endpoint]) -> Option<(&'w Endpoint, &'w Endpoint)> {
    let is_other = |one: &Endpoint, other: &Endpoint| !std::ptr::eq(one, other) && !one.is_of_same_container(other);
    from.iter().find_map(|one| Some((*one, *to.iter().find(|other| is_other(one, other))?)))
}

fn cuts(policies: &Policies, world: &World) -> Cuts {
    let mut cuts = Cuts::new();
    let mut cut = |kind, first: u16, last: u16| {
        let cuts = cuts.entry(kind).or_default();
        cuts.insert(first);
        cuts.extend(last.checked_add(1));
    };
    for service in policies.policies().iter().flat_map(|policy| &policy.rules).flat_map(|rule| &rule.services) {
        match service {
            Service::Ports(_, Ports::All) | Service::Icmp(_, IcmpMessages::All) => {}
            Service::Ports(protocol, Ports::Range(range)) => {
                cut(Kind::Port(*protocol), range.first().get(), range.last().get());
            }
            Service::Ports(protocol, Ports::Named(name)) => {
                let ports = world.endpoints().iter().flat_map(|endpoint| &endpoint.ports);
                for (_, port) in ports.filter(|(own, port)| own == name && port.protocol == *protocol) {
                    cut(Kind::Port(*protocol), port.port.get(), port.port.get());
                }
            }
            Service::Icmp(family, IcmpMessages::Type(kind)) => {
                cut(Kind::Icmp(*family), message(*kind, 0), message(*kind, u8::MAX));
            }
            Service::Icmp(family, IcmpMessages::Code(kind, code)) => {
                cut(Kind::Icmp(*family), message(*kind, *code), message(*kind, *code));
            }
        }
    }
    cuts
}

fn message(kind: u8, code: u8) -> u16 {
    u16::from_be_bytes([kind, code])
}

/// All that can be asked for with addresses of a family, divided at the cuts.
fn runs(family: Family, cuts: &Cuts) -> impl Iterator<Item = Span> {
    let kinds = Protocol::ALL.map(Kind::Port).into_iter().chain([Kind::Icmp(family)]);
    kinds.flat_map(move |kind| {
        let mut starts: BTreeSet<u16> = cuts.get(&kind).cloned().unwrap_or_default();
        starts.insert(kind.first());
        let ends = starts.iter().skip(1).map(|next| next - 1).chain([u16::MAX]);
        starts.iter().zip(ends).map(|(first, last)| Span { kind, first: *first, last }).collect::<Vec<_>>()
    })
}

/// The same with those joined that follow each other.
fn joined(spans: &[Span]) -> Vec<Span> {
    let mut joined: Vec<Span> = Vec::new();
    for span in spans {
        match joined
            .last_mut()
            .filter(|before| before.kind == span.kind && before.last.checked_add(1) == Some(span.first))
        {
            Some(before) => before.last = span.last,
            None => joined.push(*span),
        }
    }
    joined
}

impl End {
    fn is(&self, title: &str) -> bool {
        self.title == title || self.alike.iter().any(|other| other == title)
    }
}

impl Kind {
    fn first(self) -> u16 {
        match self {
            Self::Port(_) => 1,
            Self::Icmp(_) => 0,
        }
    }
}

impl Span {
    /// One of what it stands for.
    fn asked(&self) -> Asked {
        match self.kind {
            Kind::Port(protocol) => {
                Asked::Port(protocol, NonZeroU16::new(self.first).expect("ports are counted from 1"))
            }
            Kind::Icmp(family) => {
                let [kind, code] = self.first.to_be_bytes();
                Asked::Icmp(family, kind, code)
            }
        }
    }

    fn includes(&self, asked: Asked) -> bool {
        let (kind, number) = match asked {
            Asked::Port(protocol, port) => (Kind::Port(protocol), port.get()),
            Asked::Icmp(family, kind, code) => (Kind::Icmp(family), message(kind, code)),
            // Of these a matrix says nothing.
            Asked::Other(_) => return false,
        };
        kind == self.kind && (self.first..=self.last).contains(&number)
    }

    fn is_all_of_kind(&self) -> bool {
        (self.first, self.last) == (self.kind.first(), u16::MAX)
    }
}

impl Passage {
    fn is_empty(&self) -> bool {
        self.by_family.values().all(Vec::is_empty)
    }

    fn is_everything(&self) -> bool {
        let is_all =
            |spans: &Vec<Span>| spans.len() == Protocol::ALL.len() + 1 && spans.iter().all(Span::is_all_of_kind);
        !self.by_family.is_empty() && self.by_family.values().all(is_all)
    }
}
