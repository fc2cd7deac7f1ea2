//! What judges connections by policies: sets, verdict maps, counters, and chains of rules, as nftables has them in one
//! table.
//!
//! The crate `policy` makes one of policies and of who there is; what it says is its business. Here is what it is made
//! of, what makes another of it, and both in the language of nft.

mod difference;
mod text;

use std::{fmt, net::IpAddr, num::NonZeroU32, sync::Arc};

pub use difference::Difference;

use crate::{Family, Protocol, SharedMap};

/// Sets, verdict maps, counters and chains: one table of the family `inet`. Empty where no policy has a say about
/// anybody.
///
/// Whatever a verdict leads to is there, and so is each set that a rule asks, and each counter. Elements of one set never overlap, so a
/// key is found at most once. A copy costs nothing, and what two differ in is found soon if one was made of the other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DataPath {
    /// Sets and maps.
    pub sets: SharedMap<SetName, Elements>,
    /// Counters, with what each counts, for people. What one has counted stays with it whatever becomes of the rules.
    pub counters: SharedMap<CounterName, String>,
    /// Chains.
    pub chains: SharedMap<ChainName, Chain>,
}

/// The keys of a set, with the verdicts that they lead to: each in a map, none in a set.
pub type Elements = SharedMap<Key, Option<PacketVerdict>>;

/// The name of a set or a map, and of what kind it is. The one makes the other: no name is there in two kinds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetName {
    /// Of what its keys are, and whether they lead to verdicts.
    pub kind: SetKind,
    name: Arc<str>,
}

/// The name of a chain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainName(Arc<str>);

/// The name of a counter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CounterName(Arc<str>);

/// Of what the keys of a set are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SetKind {
    /// [`Key::Address`].
    Addresses(Family),
    /// [`Key::Address`], each with a verdict.
    AddressMap(Family),
    /// [`Key::Range`], each with a verdict.
    RangeMap(Family),
    /// [`Key::Pair`].
    Pairs(Family),
    /// [`Key::Ports`].
    Ports,
    /// [`Key::Messages`].
    Messages(Family),
    /// [`Key::Target`].
    Targets(Family),
}

/// What is found in a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// An address.
    Address(IpAddr),
    /// Addresses from the first to the last, both included.
    Range(IpAddr, IpAddr),
    /// Who sends and who receives.
    Pair(IpAddr, IpAddr),
    /// A protocol and its ports from the first to the last, both included.
    Ports(Protocol, u16, u16),
    /// Types of ICMP and their codes, each from the first to the last, both included.
    Messages([u8; 2], [u8; 2]),
    /// Who receives, and under which port.
    Target(IpAddr, Protocol, u16),
}

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PacketVerdict {
    /// This base chain lets it through; the next one of its hook is asked.
    Accept,
    /// It is dropped, whatever other chains say.
    Drop,
    /// Another chain is asked, and after it the next rule of this one.
    Jump(ChainName),
    /// Another chain is asked instead of the rest of this one.
    Goto(ChainName),
}

/// Rules, asked in order. At its end a base chain accepts; any other returns to where it was jumped to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// What it stands for, for people.
    pub about: String,
    /// Where the kernel calls it; none if only other chains do.
    pub hook: Option<Hook>,
    /// The rules.
    pub rules: Vec<ChainRule>,
}

/// Where a base chain is called: [`PRIORITY_EGRESS`] and [`PRIORITY_INGRESS`] say when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// What goes through the host, as it leaves its source.
    ForwardEgress,
    /// The same, as it arrives at its destination.
    ForwardIngress,
    /// What is for the host itself.
    Input,
    /// What the host itself sends.
    Output,
}

/// The table of the family `inet` that it is put in place as.
pub const TABLE: &str = "fabric-policy";
/// The priority of chains that judge egress: after translation of destinations, before what filters.
pub const PRIORITY_EGRESS: i32 = -20;
/// The priority of chains that judge ingress: after those that judge egress.
pub const PRIORITY_INGRESS: i32 = -10;

/// A rule of nftables: if all of its matches hold, something becomes of the packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainRule {
    /// What must hold.
    pub matches: Vec<Match>,
    /// What is done then.
    pub then: Then,
}

/// What must hold of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// It belongs to a connection that is there, or is an error about one.
    Established,
    /// It is a segment of TCP that opens nothing, and of no connection that is known: by whom that was opened nobody
    /// can say, and the kernel would take whoever sends it.
    MidStream,
    /// It asks who has an IPv6 address, answers that, or asks for a router (RFC 4861 §4.1, §4.3, §4.4): [`NEIGHBOURS`].
    /// Nobody has forwarded it: its hop limit is 255 (§6.1, §7.1).
    NeighbourDiscovery,
    /// It is in a set. A packet of another family, or another protocol, never is.
    In(Part, SetName),
    /// It is of the set's family and not in it.
    NotIn(Part, SetName),
}

/// The types of ICMPv6 of [`Match::NeighbourDiscovery`].
pub const NEIGHBOURS: [u8; 3] = [133, 135, 136];

/// What of a packet is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Who sends it.
    Source,
    /// Who receives it.
    Destination,
    /// What the kind of the set says: both addresses, protocol and port, type and code, or who receives it and under
    /// which port.
    Whole,
}

/// What is done with a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    /// This becomes of it.
    Verdict(PacketVerdict),
    /// What a map says; the next rule is asked if it says nothing.
    Lookup(Part, SetName),
    /// It is dropped if there were so many in the time already; otherwise the next rule is asked.
    DropOverRate(NonZeroU32, Period),
    /// It is dropped if more connections than these are there; otherwise the next rule is asked.
    DropOverConnections(NonZeroU32),
    /// It is handed to the log of group [`LOG_GROUP`], with the chain's name, and the next rule is asked.
    Log,
    /// It is counted, and the next rule is asked.
    Count(CounterName),
}

/// What a rate is counted over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// 1 s.
    Second,
    /// 60 s.
    Minute,
    /// 3,600 s.
    Hour,
}

/// The group of NFLOG that lines of the log go to.
pub const LOG_GROUP: u16 = 64;

impl SetName {
    /// The set of this name.
    pub fn new(kind: SetKind, name: &str) -> Self {
        Self { kind, name: name.into() }
    }

    /// A name that this text determines.
    pub fn hashed(kind: SetKind, text: &str) -> Self {
        let prefix = match kind {
            SetKind::Addresses(Family::Ipv4) => "addresses4",
            SetKind::Addresses(Family::Ipv6) => "addresses6",
            SetKind::AddressMap(Family::Ipv4) => "peers4",
            SetKind::AddressMap(Family::Ipv6) => "peers6",
            SetKind::RangeMap(Family::Ipv4) => "ranges4",
            SetKind::RangeMap(Family::Ipv6) => "ranges6",
            SetKind::Pairs(Family::Ipv4) => "pairs4",
            SetKind::Pairs(Family::Ipv6) => "pairs6",
            SetKind::Ports => "ports",
            SetKind::Messages(Family::Ipv4) => "icmp4",
            SetKind::Messages(Family::Ipv6) => "icmp6",
            SetKind::Targets(Family::Ipv4) => "targets4",
            SetKind::Targets(Family::Ipv6) => "targets6",
        };
        Self::new(kind, &hashed(prefix, text))
    }
}

impl SetKind {
    /// Whether its elements come and go with endpoints; those of others are as constant as rules.
    pub fn is_of_endpoints(self) -> bool {
        matches!(self, Self::Addresses(_) | Self::AddressMap(_) | Self::Pairs(_) | Self::Targets(_))
    }

    /// Whether its keys lead to verdicts.
    pub fn is_map(self) -> bool {
        matches!(self, Self::AddressMap(_) | Self::RangeMap(_))
    }

    /// The family of packets that it is about; none of one that is about both.
    pub fn family(self) -> Option<Family> {
        match self {
            Self::Ports => None,
            Self::Addresses(family)
            | Self::AddressMap(family)
            | Self::RangeMap(family)
            | Self::Pairs(family)
            | Self::Messages(family)
            | Self::Targets(family) => Some(family),
        }
    }
}

impl ChainName {
    /// The chain of this name.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// A name that this text determines.
    pub fn hashed(prefix: &str, text: &str) -> Self {
        Self(hashed(prefix, text).into())
    }
}

impl CounterName {
    /// The counter of this name.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// A name that this text determines.
    pub fn hashed(text: &str) -> Self {
        Self(hashed("counter", text).into())
    }
}

/// The prefix and a 64-bit FNV-1a hash: it keeps apart what differs by accident. Whoever may write policies needs no
/// trick to have them say something else.
fn hashed(prefix: &str, text: &str) -> String {
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| (hash ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("{prefix}_{hash:016x}")
}

impl ChainRule {
    /// If all of these hold, this is done.
    pub fn new(matches: impl IntoIterator<Item = Match>, then: Then) -> Self {
        Self { matches: matches.into_iter().collect(), then }
    }
}

impl DataPath {
    /// Whether there is nothing to judge.
    pub fn is_empty(&self) -> bool {
        self.chains.is_empty() && self.sets.is_empty() && self.counters.is_empty()
    }

    /// The same in which whoever is judged can open no connection, nor be called: with all sets, but with maps that
    /// lead nowhere, and without chains but those that the kernel calls, which lead to no other.
    pub fn closed(&self) -> Self {
        let elements = |name: &SetName, elements: &Elements| match name.kind.is_map() {
            true => Elements::default(),
            false => elements.clone(),
        };
        let leads =
            |rule: &&ChainRule| matches!(rule.then, Then::Verdict(PacketVerdict::Jump(_) | PacketVerdict::Goto(_)));
        let closed = |chain: &Chain| Chain {
            rules: chain.rules.iter().filter(|rule| !leads(rule)).cloned().collect(),
            ..chain.clone()
        };
        let chains = self.chains.iter().filter(|(_, chain)| chain.hook.is_some());
        Self {
            sets: self.sets.iter().map(|(name, set)| (name.clone(), elements(name, set))).collect(),
            counters: self.counters.clone(),
            chains: chains.map(|(name, chain)| (name.clone(), closed(chain))).collect(),
        }
    }

    /// The same without the elements that come and go with endpoints.
    pub fn structure(&self) -> Self {
        let elements = |name: &SetName, elements: &Elements| match name.kind.is_of_endpoints() {
            true => Elements::default(),
            false => elements.clone(),
        };
        let sets = self.sets.iter().map(|(name, set)| (name.clone(), elements(name, set))).collect();
        Self { sets, ..self.clone() }
    }
}

impl fmt::Display for SetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Display for ChainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for CounterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Second => "a second",
            Self::Minute => "a minute",
            Self::Hour => "an hour",
        })
    }
}
