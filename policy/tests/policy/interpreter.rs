//! What a kernel would do with a data path, one packet at a time.

use std::net::IpAddr;

use model::{
    Family,
    data_path::{ChainName, DataPath, Hook, Key, Match, NEIGHBOURS, PacketVerdict, Part, SetName, Then},
};
use policy::Asked;

/// The packet that opens a connection.
pub(crate) struct Packet {
    pub(crate) from: IpAddr,
    pub(crate) to: IpAddr,
    pub(crate) asks: Asked,
    /// Where the kernel takes it, in order.
    pub(crate) hooks: &'static [Hook],
}

/// What became of a packet.
#[derive(Debug, Default)]
pub(crate) struct Ran {
    pub(crate) is_dropped: bool,
    /// What the chains stand for that counted it.
    pub(crate) counted: Vec<String>,
    /// How many rules it met.
    pub(crate) rules: usize,
}

enum End {
    Accepted,
    Dropped,
    /// The chain said nothing.
    Reached,
}

pub(crate) fn run(path: &DataPath, packet: &Packet) -> Ran {
    let mut ran = Ran::default();
    for hook in packet.hooks {
        let base = path.chains.iter().filter(|(_, chain)| chain.hook == Some(*hook));
        for (name, _) in base {
            if let End::Dropped = chain(path, packet, name, 1, &mut ran) {
                ran.is_dropped = true;
                return ran;
            }
        }
    }
    ran
}

fn chain(path: &DataPath, packet: &Packet, name: &ChainName, depth: usize, ran: &mut Ran) -> End {
    // `NFT_JUMP_STACK_SIZE` of `include/net/netfilter/nf_tables.h`; `goto` takes no place in it, which is not relied
    // on.
    assert!(depth <= 16, "{name} is jumped to too deep");
    let chain = path.chains.get(name).unwrap_or_else(|| panic!("{name} is led to and not there"));
    for rule in &chain.rules {
        ran.rules += 1;
        if !rule.matches.iter().all(|found| matches(path, packet, found)) {
            continue;
        }
        let verdict = match &rule.then {
            Then::Verdict(verdict) => verdict,
            Then::Lookup(part, map) => match look_up(path, packet, *part, map) {
                Some(verdict) => verdict.as_ref().expect("a map has verdicts"),
                None => continue,
            },
            // A connection is judged as the first of its kind.
            Then::DropOverRate(..) | Then::DropOverConnections(_) | Then::Log => continue,
            Then::Count(counter) => {
                let about = path.counters.get(counter).unwrap_or_else(|| panic!("{counter} is not there"));
                ran.counted.push(about.clone());
                continue;
            }
        };
        match verdict {
            PacketVerdict::Accept => return End::Accepted,
            PacketVerdict::Drop => return End::Dropped,
            PacketVerdict::Goto(next) => return self::chain(path, packet, next, depth + 1, ran),
            PacketVerdict::Jump(next) => match self::chain(path, packet, next, depth + 1, ran) {
                End::Reached => {}
                end => return end,
            },
        }
    }
    End::Reached
}

fn matches(path: &DataPath, packet: &Packet, found: &Match) -> bool {
    match found {
        Match::Established | Match::MidStream => false,
        Match::NeighbourDiscovery => {
            matches!(packet.asks, Asked::Icmp(Family::Ipv6, kind, _) if NEIGHBOURS.contains(&kind))
        }
        Match::In(part, set) => look_up(path, packet, *part, set).is_some(),
        Match::NotIn(part, set) => {
            set.kind.family() == Some(Family::of(packet.from)) && look_up(path, packet, *part, set).is_none()
        }
    }
}

/// The verdict of the element that the packet is in; there must not be two.
fn look_up<'p>(path: &'p DataPath, packet: &Packet, part: Part, name: &SetName) -> Option<&'p Option<PacketVerdict>> {
    let set = path.sets.get(name).unwrap_or_else(|| panic!("{name} is asked and not there"));
    let Packet { from, to, asks, .. } = packet;
    let address = if part == Part::Source { from } else { to };
    let mut found = set.iter().filter(|(key, _)| match (part, key) {
        (Part::Source | Part::Destination, Key::Address(only)) => address == only,
        (Part::Source | Part::Destination, Key::Range(first, last)) => {
            Family::of(*address) == Family::of(*first) && (first..=last).contains(&address)
        }
        (Part::Whole, Key::Pair(one, other)) => (from, to) == (one, other),
        (Part::Whole, Key::Ports(of, first, last)) => {
            matches!(asks, Asked::Port(protocol, port) if protocol == of && (*first..=*last).contains(&port.get()))
        }
        (Part::Whole, Key::Messages([first, last], [from, to])) => {
            matches!(asks, Asked::Icmp(family, kind, code)
                if name.kind.family() == Some(*family) && (first..=last).contains(&kind) && (from..=to).contains(&code))
        }
        (Part::Whole, Key::Target(target, of, number)) => {
            matches!(asks, Asked::Port(protocol, port) if to == target && protocol == of && port.get() == *number)
        }
        (part, key) => panic!("{name} is asked for {part:?} and has {key:?}"),
    });
    let first = found.next().map(|(_, verdict)| verdict);
    assert!(found.next().is_none(), "elements of {name} overlap: {set:?}");
    first
}
