//! Who reaches whom: for any two that there are, all that policies let through.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    fmt,
    num::NonZeroU16,
};

use jiff::Timestamp;
use model::{Family, Protocol};
use serde::Serialize;

use crate::{
    evaluate::evaluate,
    mention::spoken,
    policies::Policies,
    rule::Effect,
    service::{Asked, IcmpMessages, Ports, Service},
    world::{Flow, Party, World},
};

/// What becomes of every connection between the endpoints of a world, and its host if it has one.
///
/// What can be asked for is divided where a rule or a port's name makes a difference, and the evaluator is asked once for each part:
/// nothing is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matrix {
    ends: Vec<String>,
    /// Who opens it, whom it is opened to, and what passes; none of two ends of one container.
    cells: Vec<Vec<Option<Passage>>>,
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

/// Ports that follow each other, or messages of ICMP, as numbers whose upper octet is the type and whose lower is the code.
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
    /// What passes, by the family of addresses.
    passes: BTreeMap<Family, Vec<String>>,
}

impl Matrix {
    /// What policies let through at this moment. Of two ends with several addresses of a family, only what passes between any
    /// two of them counts.
    pub fn new(policies: &Policies, world: &World, now: Timestamp) -> Self {
        let cuts = cuts(policies, world);
        let mut parties: Vec<(String, Vec<Party<'_>>)> = world
            .endpoints()
            .iter()
            .map(|endpoint| {
                let at = |address| Party::Endpoint { endpoint, address };
                let known: Vec<_> = endpoint.addresses.iter().map(|address| at(Some(*address))).collect();
                (endpoint.title(), if known.is_empty() { vec![at(None)] } else { known })
            })
            .collect();
        if world.host().next().is_some() {
            parties.push(("host".to_owned(), vec![Party::Host { address: None }]));
        }
        let allows = |flow: &Flow<'_>| evaluate(policies, world, flow, now).effect() == Effect::Allow;
        let cell = |from: &[Party<'_>], to: &[Party<'_>]| -> Option<Passage> {
            let is_same = |(one, other): (&Party<'_>, &Party<'_>)| match (one.endpoint(), other.endpoint()) {
                (Some(one), Some(other)) => std::ptr::eq(one, other) || one.is_of_same_container(other),
                (None, None) => true,
                _ => false,
            };
            if from.first().zip(to.first()).is_some_and(is_same) {
                return None;
            }
            let mut by_family: BTreeMap<Family, Vec<Span>> = BTreeMap::new();
            let pairs = from.iter().flat_map(|from| to.iter().flat_map(|to| spoken(world, *from, *to)));
            for (from, to) in pairs {
                if from.family().zip(to.family()).is_some_and(|(from, to)| from != to) {
                    continue;
                }
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
        let row = |(_, from): &(_, Vec<Party<'_>>)| parties.iter().map(|(_, to)| cell(from, to)).collect();
        let cells = parties.iter().map(row).collect();
        Self { ends: parties.into_iter().map(|(title, _)| title).collect(), cells }
    }

    /// Whether what is asked for passes from one end to another, which have these titles, with addresses of a family; none where
    /// there is no such pair, or it is of one container.
    pub fn passes(&self, from: &str, to: &str, family: Family, asked: Asked) -> Option<bool> {
        let (.., passage) = self.pairs().find(|(one, other, _)| (*one, *other) == (from, to))?;
        Some(passage.by_family.get(&family)?.iter().any(|span| span.includes(asked)))
    }

    /// All pairs but those of one container.
    fn pairs(&self) -> impl Iterator<Item = (&str, &str, &Passage)> {
        self.ends.iter().zip(&self.cells).flat_map(|(from, row)| {
            let to = self.ends.iter().zip(row);
            to.filter_map(|(to, cell)| cell.as_ref().map(|cell| (from.as_str(), to.as_str(), cell)))
        })
    }

    /// As a graph for Graphviz: an arrow from whoever opens connections to whom it opens them to, with what passes.
    pub fn dot(&self) -> String {
        let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let mut text = "digraph reach {\n  rankdir=LR;\n  node [shape=box];\n".to_owned();
        for end in &self.ends {
            text.push_str(&format!("  {};\n", quoted(end)));
        }
        for (from, to, passage) in self.pairs().filter(|(.., passage)| !passage.is_empty()) {
            text.push_str(&format!("  {} -> {} [label={}];\n", quoted(from), quoted(to), quoted(&passage.to_string())));
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
        serializer.collect_seq(self.pairs().map(|(from, to, passage)| Pair { from, to, passes: passes(passage) }))
    }
}

/// A table: a row for each who opens connections, a column for each to whom, and below it what its letters stand for.
impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kinds: Vec<&Passage> = Vec::new();
        let mut rows = Vec::new();
        for row in &self.cells {
            let mut symbols = Vec::new();
            for cell in row {
                symbols.push(match cell {
                    None => String::new(),
                    Some(passage) if passage.is_empty() => "-".to_owned(),
                    Some(passage) if passage.is_everything() => "+".to_owned(),
                    Some(passage) => {
                        let place = kinds.iter().position(|kind| *kind == passage).unwrap_or_else(|| {
                            kinds.push(passage);
                            kinds.len() - 1
                        });
                        letters(place)
                    }
                });
            }
            rows.push(symbols);
        }
        let titles = self.ends.iter().enumerate().map(|(number, end)| format!("{} {end}", number + 1));
        let titles: Vec<String> = titles.collect();
        let wide = titles.iter().map(|title| title.chars().count()).max().unwrap_or(0).max("FROM \\ TO".len());
        let column = rows.iter().flatten().map(String::len).max().unwrap_or(1).max(self.ends.len().to_string().len());
        write!(f, "{:wide$}", "FROM \\ TO")?;
        for number in 1..=self.ends.len() {
            write!(f, "  {number:>column$}")?;
        }
        for (title, row) in titles.iter().zip(rows) {
            write!(f, "\n{title:wide$}")?;
            let row: String = row.iter().map(|symbol| format!("  {symbol:>column$}")).collect();
            f.write_str(row.trim_end())?;
        }
        f.write_str("\n\n+ everything\n- nothing\n")?;
        kinds.iter().enumerate().try_for_each(|(number, passage)| writeln!(f, "{} {passage}", letters(number)))
    }
}

/// `a` to `z`, then `aa` and so on.
fn letters(number: usize) -> String {
    let last = char::from(b'a' + u8::try_from(number % 26).expect("less than 26"));
    match number / 26 {
        0 => last.to_string(),
        more => letters(more - 1) + &last.to_string(),
    }
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

impl fmt::Display for Passage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = |spans: &Vec<Span>| spans.iter().map(Span::to_string).collect::<Vec<_>>().join(", ");
        let texts: BTreeMap<Family, String> =
            self.by_family.iter().map(|(family, spans)| (*family, listed(spans))).collect();
        if self.is_everything() {
            return f.write_str("everything");
        }
        let first = texts.values().next().cloned().unwrap_or_default();
        if texts.values().all(|text| *text == first) {
            return f.write_str(&first);
        }
        let named = |(family, text): (&Family, &String)| match text.as_str() {
            "" => format!("{family}: nothing"),
            text => format!("{family}: {text}"),
        };
        f.write_str(&texts.iter().map(named).collect::<Vec<_>>().join("; "))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, first, last } = *self;
        let ([kind_first, code_first], [kind_last, code_last]) = (first.to_be_bytes(), last.to_be_bytes());
        match kind {
            Kind::Port(protocol) if self.is_all_of_kind() => write!(f, "any/{protocol}"),
            Kind::Port(protocol) if first == last => write!(f, "{first}/{protocol}"),
            Kind::Port(protocol) => write!(f, "{first}-{last}/{protocol}"),
            Kind::Icmp(_) if self.is_all_of_kind() => f.write_str("any/icmp"),
            Kind::Icmp(_) if (code_first, code_last) == (0, u8::MAX) => match kind_first == kind_last {
                true if matches!(
                    (kind, kind_first),
                    (Kind::Icmp(Family::Ipv4), 8) | (Kind::Icmp(Family::Ipv6), 128)
                ) =>
                {
                    f.write_str("ping")
                }
                true => write!(f, "{kind_first}/icmp"),
                false => write!(f, "{kind_first}-{kind_last}/icmp"),
            },
            Kind::Icmp(_) if first == last => write!(f, "{kind_first}.{code_first}/icmp"),
            Kind::Icmp(_) => write!(f, "{kind_first}.{code_first}-{kind_last}.{code_last}/icmp"),
        }
    }
}
