//! What a kernel does with a data path, one packet at a time: for connections that are there, each of which would be one
//! more question to all policies, and for tests, which hold it against what the policies say.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use model::{
    Family,
    data_path::{
        ChainName, CounterName, DataPath, Elements, Hook, Key, Match, NEIGHBOURS, PacketVerdict, Part, SetKind,
        SetName, Then,
    },
};

use crate::service::Asked;

/// A data path that packets can be shown to.
#[derive(Debug)]
pub struct Judge {
    path: Arc<DataPath>,
    host: BTreeSet<IpAddr>,
    /// The base chains, in the order in which the kernel calls those of one way through it.
    bases: Vec<(Hook, ChainName)>,
}

/// The packet that opens a connection, behind any translation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Who sends it.
    pub from: IpAddr,
    /// Who receives it.
    pub to: IpAddr,
    /// What it asks for.
    pub asks: Asked,
}

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ran<'p> {
    /// Whether it is dropped.
    pub is_dropped: bool,
    /// The counters that count it, in order.
    pub counted: Vec<&'p CounterName>,
    /// How many rules it meets.
    pub rules: usize,
}

enum End {
    Accepted,
    Dropped,
    /// The chain said nothing.
    Reached,
}

impl Judge {
    /// What this data path does on a host with these addresses. A packet is the first of its kind: it meets no limit of
    /// connections and of their rate.
    pub fn new(path: Arc<DataPath>, host: impl IntoIterator<Item = IpAddr>) -> Self {
        let hooked = path.chains.iter().filter_map(|(name, chain)| Some((chain.hook?, name.clone())));
        let mut bases: Vec<_> = hooked.collect();
        // What is egress to one end comes before what is ingress to the other.
        bases.sort_by_key(|(hook, _)| *hook == Hook::ForwardIngress);
        Self { path, host: host.into_iter().collect(), bases }
    }

    /// What becomes of a packet.
    pub fn run(&self, packet: &Packet) -> Ran<'_> {
        let mut ran = Ran::default();
        let hooks: &[Hook] = match (self.host.contains(&packet.from), self.host.contains(&packet.to)) {
            (true, _) => &[Hook::Output],
            (false, true) => &[Hook::Input],
            (false, false) => &[Hook::ForwardEgress, Hook::ForwardIngress],
        };
        for (_, base) in self.bases.iter().filter(|(hook, _)| hooks.contains(hook)) {
            if let End::Dropped = self.chain(packet, base, &mut ran) {
                ran.is_dropped = true;
                break;
            }
        }
        ran
    }

    fn chain<'p>(&'p self, packet: &Packet, name: &ChainName, ran: &mut Ran<'p>) -> End {
        let rules = self.path.chains.get(name).map_or(&[][..], |chain| &chain.rules);
        for rule in rules {
            ran.rules += 1;
            if !rule.matches.iter().all(|found| self.matches(packet, found)) {
                continue;
            }
            let verdict = match &rule.then {
                Then::Verdict(verdict) => verdict,
                Then::Lookup(part, map) => match self.find(packet, *part, map) {
                    Some(Some(verdict)) => verdict,
                    Some(None) | None => continue,
                },
                Then::DropOverRate(..) | Then::DropOverConnections(_) | Then::Log => continue,
                Then::Count(counter) => {
                    ran.counted.push(counter);
                    continue;
                }
            };
            match verdict {
                PacketVerdict::Accept => return End::Accepted,
                PacketVerdict::Drop => return End::Dropped,
                PacketVerdict::Goto(next) => return self.chain(packet, next, ran),
                PacketVerdict::Jump(next) => match self.chain(packet, next, ran) {
                    End::Reached => {}
                    end => return end,
                },
            }
        }
        End::Reached
    }

    fn matches(&self, packet: &Packet, found: &Match) -> bool {
        match found {
            // It opens a connection.
            Match::Established | Match::MidStream => false,
            Match::NeighbourDiscovery => {
                matches!(packet.asks, Asked::Icmp(Family::Ipv6, kind, _) if NEIGHBOURS.contains(&kind))
            }
            Match::In(part, set) => self.find(packet, *part, set).is_some(),
            Match::NotIn(part, set) => {
                set.kind.family() == Some(Family::of(packet.from)) && self.find(packet, *part, set).is_none()
            }
        }
    }

    fn find(&self, packet: &Packet, part: Part, name: &SetName) -> Option<&Option<PacketVerdict>> {
        find(self.path.sets.get(name)?, name.kind, part, packet)
    }
}

/// The verdict of the element of a set that the packet is in. No two overlap, so in one of ranges it is the last that
/// begins before or with it, or none.
fn find<'p>(
    set: &'p Elements,
    kind: SetKind,
    part: Part,
    Packet { from, to, asks }: &Packet,
) -> Option<&'p Option<PacketVerdict>> {
    let address = if part == Part::Source { from } else { to };
    match (kind, asks) {
        (SetKind::Addresses(_) | SetKind::AddressMap(_), _) => set.get(&Key::Address(*address)),
        (SetKind::RangeMap(family), _) => {
            let (key, verdict) = set.last_at_most(&Key::Range(*address, IpAddr::V6(u128::MAX.into())))?;
            let is_in = matches!(key, Key::Range(_, last) if Family::of(*address) == family && address <= last);
            is_in.then_some(verdict)
        }
        (SetKind::Pairs(_), _) => set.get(&Key::Pair(*from, *to)),
        (SetKind::Ports, Asked::Port(protocol, port)) => {
            let (key, verdict) = set.last_at_most(&Key::Ports(*protocol, port.get(), u16::MAX))?;
            let is_in = matches!(key, Key::Ports(of, _, last) if of == protocol && port.get() <= *last);
            is_in.then_some(verdict)
        }
        (SetKind::Messages(family), Asked::Icmp(of, kind, code)) if family == *of => {
            let is_in = |key: &Key| {
                matches!(key, Key::Messages([first, last], [from, to])
                    if (first..=last).contains(&kind) && (from..=to).contains(&code))
            };
            set.iter().find(|(key, _)| is_in(key)).map(|(_, verdict)| verdict)
        }
        (SetKind::Targets(_), Asked::Port(protocol, port)) => set.get(&Key::Target(*to, *protocol, port.get())),
        (SetKind::Ports | SetKind::Messages(_) | SetKind::Targets(_), _) => None,
    }
}
