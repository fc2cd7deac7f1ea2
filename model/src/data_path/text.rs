//! Data paths in the language of nft, as its version 1.0.6 takes it.

use std::{collections::BTreeMap, fmt};

use super::{
    Chain, ChainRule, DataPath, Difference, Hook, Key, LOG_GROUP, Match, NEIGHBOURS, PRIORITY_EGRESS, PRIORITY_INGRESS,
    PacketVerdict, Part, Period, SetKind, SetName, Then,
};
use crate::Family;

/// Of what a rule logs so many in a second are told: who sends more gives `netd` no more to do.
const LOGGED: u32 = 1000;

impl DataPath {
    /// The commands that make all of it in a table of the family `inet`, which they make, too. They are one transaction
    /// of `nft -f`. No word of its language, such as `policy`, can be the table's name.
    pub fn commands(&self, table: &str) -> String {
        format!("add table inet {table}\n{}", Self::default().difference(self).commands(table))
    }
}

impl Difference {
    /// The commands that make this change in a table of the family `inet` that holds the old data path. They are one
    /// transaction of `nft -f`, in an order in which nothing is named before it is there, and nothing goes that
    /// something still leads to.
    pub fn commands(&self, table: &str) -> String {
        let Self {
            new_sets,
            old_sets,
            new_counters,
            old_counters,
            new_chains,
            changed_chains,
            old_chains,
            old_elements,
            new_elements,
        } = self;
        let mut text = String::new();
        let mut line = |words: String| {
            text.push_str(&words);
            text.push('\n');
        };
        // nft 1.0.6 hands the kernel a new map of intervals with its elements, so the chains that those lead to come
        // before it.
        for (name, chain) in new_chains {
            line(format!("add chain inet {table} {name}{}", hook(chain)));
        }
        for name in new_sets {
            let (word, kind) = (word(name), declaration(name.kind));
            line(format!("add {word} inet {table} {name} {{ {kind}; }}"));
        }
        for (name, about) in new_counters {
            line(format!("# {name}: {about}"));
            line(format!("add counter inet {table} {name}"));
        }
        for name in changed_chains.keys().chain(old_chains) {
            line(format!("flush chain inet {table} {name}"));
        }
        for (name, chain) in new_chains.iter().chain(changed_chains) {
            line(format!("# {name}: {}", chain.about));
            for rule in &chain.rules {
                line(format!("add rule inet {table} {name} {}", rule_text(rule, name)));
            }
        }
        let mut gone: BTreeMap<&SetName, Vec<String>> = BTreeMap::new();
        for (name, key) in old_elements {
            gone.entry(name).or_default().push(shown(key));
        }
        for (name, keys) in gone {
            line(format!("delete element inet {table} {name} {{ {} }}", keys.join(", ")));
        }
        let mut come: BTreeMap<&SetName, Vec<String>> = BTreeMap::new();
        for ((name, key), verdict) in new_elements {
            let leads = verdict.as_ref().map(|verdict| format!(" : {verdict}")).unwrap_or_default();
            come.entry(name).or_default().push(format!("{}{leads}", shown(key)));
        }
        for (name, elements) in come {
            line(format!("add element inet {table} {name} {{ {} }}", elements.join(", ")));
        }
        // A base chain that goes keeps its rules until it is unhooked, a little after the elements of maps are gone
        // (`nf_tables_commit`, `nf_tables_commit_chain_prepare`); those of sets are not, unless they are deleted one by
        // one. Whoever is judged and led nowhere would be dropped meanwhile.
        for name in old_sets.iter().filter(|name| matches!(name.kind, SetKind::Addresses(_))) {
            line(format!("flush set inet {table} {name}"));
        }
        for name in old_sets {
            line(format!("delete {} inet {table} {name}", word(name)));
        }
        for name in old_chains {
            line(format!("delete chain inet {table} {name}"));
        }
        for name in old_counters {
            line(format!("delete counter inet {table} {name}"));
        }
        text
    }
}

fn word(name: &SetName) -> &'static str {
    if name.kind.is_map() { "map" } else { "set" }
}

fn declaration(kind: SetKind) -> String {
    let address = |family| match family {
        Family::Ipv4 => "ipv4_addr",
        Family::Ipv6 => "ipv6_addr",
    };
    match kind {
        SetKind::Addresses(family) => format!("type {}", address(family)),
        SetKind::AddressMap(family) => format!("type {} : verdict", address(family)),
        SetKind::RangeMap(family) => format!("type {} : verdict; flags interval", address(family)),
        SetKind::Pairs(family) => format!("type {0} . {0}", address(family)),
        SetKind::Ports => "type inet_proto . inet_service; flags interval".to_owned(),
        SetKind::Messages(Family::Ipv4) => "type icmp_type . icmp_code; flags interval".to_owned(),
        SetKind::Messages(Family::Ipv6) => "type icmpv6_type . icmpv6_code; flags interval".to_owned(),
        SetKind::Targets(family) => format!("type {} . inet_proto . inet_service", address(family)),
    }
}

fn hook(chain: &Chain) -> String {
    let Some(hook) = chain.hook else { return String::new() };
    let (at, priority) = match hook {
        Hook::ForwardEgress => ("forward", PRIORITY_EGRESS),
        Hook::ForwardIngress => ("forward", PRIORITY_INGRESS),
        Hook::Input => ("input", PRIORITY_EGRESS),
        Hook::Output => ("output", PRIORITY_INGRESS),
    };
    format!(" {{ type filter hook {at} priority {priority}; policy accept; }}")
}

/// A key as nft takes it: protocols, types and codes as numbers.
fn shown(key: &Key) -> String {
    let run = |first: &dyn fmt::Display, last: &dyn fmt::Display| {
        let (first, last) = (first.to_string(), last.to_string());
        if first == last { first } else { format!("{first}-{last}") }
    };
    match key {
        Key::Address(address) => address.to_string(),
        Key::Range(first, last) => run(first, last),
        Key::Pair(one, other) => format!("{one} . {other}"),
        Key::Ports(protocol, first, last) => format!("{} . {}", protocol.number(), run(first, last)),
        Key::Messages([first, last], [from, to]) => format!("{} . {}", run(first, last), run(from, to)),
        Key::Target(address, protocol, port) => format!("{address} . {} . {port}", protocol.number()),
    }
}

fn rule_text(ChainRule { matches, then }: &ChainRule, chain: &dyn fmt::Display) -> String {
    let matches = matches.iter().map(|found| match found {
        Match::Established => "ct state established,related".to_owned(),
        Match::MidStream => "tcp flags & (fin | syn | rst | ack) != syn ct state new".to_owned(),
        Match::NeighbourDiscovery => {
            let types = NEIGHBOURS.map(|kind| kind.to_string()).join(", ");
            format!("ip6 hoplimit 255 icmpv6 type {{ {types} }}")
        }
        Match::In(part, set) => format!("{} @{set}", looked_up(*part, set.kind)),
        Match::NotIn(part, set) => format!("{} != @{set}", looked_up(*part, set.kind)),
    });
    let then = match then {
        Then::Verdict(verdict) => verdict.to_string(),
        Then::Lookup(part, map) => format!("{} vmap @{map}", looked_up(*part, map.kind)),
        Then::DropOverRate(connections, per) => {
            let per = match per {
                Period::Second => "second",
                Period::Minute => "minute",
                Period::Hour => "hour",
            };
            format!("limit rate over {connections}/{per} burst {connections} packets drop")
        }
        Then::DropOverConnections(connections) => format!("ct count over {connections} drop"),
        Then::Log => {
            format!("limit rate {LOGGED}/second burst {LOGGED} packets log prefix \"{chain}\" group {LOG_GROUP}")
        }
        Then::Count(counter) => format!("counter name {counter}"),
    };
    matches.chain([then]).collect::<Vec<_>>().join(" ")
}

fn looked_up(part: Part, kind: SetKind) -> &'static str {
    let is_ipv4 = kind.family() == Some(Family::Ipv4);
    match (part, kind) {
        (Part::Source, _) if is_ipv4 => "ip saddr",
        (Part::Source, _) => "ip6 saddr",
        (Part::Destination, _) if is_ipv4 => "ip daddr",
        (Part::Destination, _) => "ip6 daddr",
        (Part::Whole, SetKind::Pairs(_)) if is_ipv4 => "ip saddr . ip daddr",
        (Part::Whole, SetKind::Pairs(_)) => "ip6 saddr . ip6 daddr",
        (Part::Whole, SetKind::Messages(_)) if is_ipv4 => "icmp type . icmp code",
        (Part::Whole, SetKind::Messages(_)) => "icmpv6 type . icmpv6 code",
        (Part::Whole, SetKind::Targets(_)) if is_ipv4 => "ip daddr . meta l4proto . th dport",
        (Part::Whole, SetKind::Targets(_)) => "ip6 daddr . meta l4proto . th dport",
        (Part::Whole, _) => "meta l4proto . th dport",
    }
}

impl fmt::Display for PacketVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
        }
    }
}
