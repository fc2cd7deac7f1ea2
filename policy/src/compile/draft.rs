//! A data path in the making: its chains, what is constant in its sets, and who is to be in the others.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
};

use model::{
    Family, NetworkName,
    data_path::{
        Chain, ChainName, ChainRule, CounterName, Elements, Hook, Match, PacketVerdict, Part, SetKind, SetName, Then,
    },
};

use super::{
    roster::{Element, Roster, SetPair, element, per_family},
    rules::Rules,
    step::StepWriter,
};
use crate::rule::Direction;

/// What is there before anybody's elements are.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) chains: BTreeMap<ChainName, Chain>,
    pub(super) counters: BTreeMap<CounterName, String>,
    pub(super) constants: BTreeMap<SetName, Elements>,
    pub(super) roster: Roster,
}

/// Up to so many classes are asked for one after the other; more are told apart by bits first.
const CLASSES_OF_A_CHAIN: usize = 4;
/// The kernel follows 16 jumps (`NFT_JUMP_STACK_SIZE` of `include/net/netfilter/nf_tables.h`), and what comes before
/// and after these needs up to eight of them.
const BITS: u32 = 7;

/// What leads from an endpoint's own address to its class, in one direction.
#[derive(Debug)]
pub(super) struct Entrance {
    /// The sets that its addresses are in, by the chain of its class: that of the class, and one for each bit that is
    /// set in its number.
    classes: BTreeMap<ChainName, Vec<SetPair>>,
    /// The sets of those who have one.
    judged: SetPair,
}

impl Entrance {
    /// The elements that an endpoint's address is which has a class.
    pub(super) fn elements(&self, class: &ChainName, address: IpAddr) -> impl Iterator<Item = Element> {
        let sets = self.classes.get(class).into_iter().flatten().chain([&self.judged]);
        sets.map(move |sets| (element(*sets, address), None))
    }
}

impl Draft {
    /// Adds the chain of a class, unless it would let everything through.
    pub(super) fn class(&mut self, rules: &Rules, network: &NetworkName, selecting: &[usize]) -> Option<ChainName> {
        let outline = rules.outline(network, selecting)?;
        let titles = rules.titles_of(selecting);
        let titles = if titles.is_empty() { "no policy".to_owned() } else { titles.join(", ") };
        let about = format!("{} of network {network} under {titles}", rules.direction);
        let name = ChainName::hashed(&rules.direction.to_string(), &about);
        let jump = |step| ChainRule::new([], Then::Verdict(PacketVerdict::Jump(step)));
        let mut writer = StepWriter { rules, draft: self };
        let mut asked: Vec<ChainRule> = outline.steps.iter().map(|step| jump(writer.step(network, step))).collect();
        let rest = match outline.logged {
            None => outline.rest,
            Some(rest) => {
                self.counters.insert(rest.counter.clone(), rest.about.clone());
                self.chains.insert(rest.chain.clone(), rest.rules(outline.rest));
                PacketVerdict::Goto(rest.chain)
            }
        };
        asked.push(ChainRule::new([], Then::Verdict(rest)));
        self.chains.insert(name.clone(), Chain { about, hook: None, rules: asked });
        Some(name)
    }

    /// Adds the chains that the kernel calls, and those that lead from them to these classes.
    pub(super) fn base(&mut self, direction: Direction, classes: &BTreeSet<ChainName>) -> Entrance {
        let (hooks, own) = match direction {
            Direction::Egress => {
                ([("egress_forward", Hook::ForwardEgress), ("egress_input", Hook::Input)], Part::Source)
            }
            Direction::Ingress => {
                ([("ingress_forward", Hook::ForwardIngress), ("ingress_output", Hook::Output)], Part::Destination)
            }
        };
        let accept = |found| ChainRule::new([found], Then::Verdict(PacketVerdict::Accept));
        let drop = |matches: Vec<Match>| ChainRule::new(matches, Then::Verdict(PacketVerdict::Drop));
        let mut rules = [Match::Established, Match::NeighbourDiscovery].map(accept).to_vec();
        rules.extend(self.roster.pairs().map(|pairs| accept(Match::In(Part::Whole, pairs))));
        rules.extend(self.roster.judged().map(|judged| drop(vec![Match::MidStream, Match::In(own, judged)])));
        let mut crossing = Crossing { direction, own, bits: Vec::new(), classes: Vec::new() };
        let bits = classes.len().div_ceil(CLASSES_OF_A_CHAIN).next_power_of_two().trailing_zeros().min(BITS);
        crossing.bits = (0..bits).map(|bit| addresses(&format!("{direction}_bit{bit}"))).collect();
        crossing.classes = classes.iter().map(|class| (class.clone(), class_sets(class))).collect();
        rules.push(ChainRule::new([], Then::Verdict(PacketVerdict::Jump(crossing.add_to(&mut self.chains, 0, 0)))));
        let judged = addresses(&format!("judged_{direction}"));
        rules.extend(judged.iter().map(|judged| drop(vec![Match::In(own, judged.clone())])));
        for (name, hook) in hooks {
            let about = format!("{direction} of whoever has a class");
            self.chains.insert(ChainName::new(name), Chain { about, hook: Some(hook), rules: rules.clone() });
        }
        let mut sets = |names: &[SetName; 2]| names.clone().map(|name| self.roster.set(name));
        let bits: Vec<SetPair> = crossing.bits.iter().map(&mut sets).collect();
        let of_class = |(class, own): &(ChainName, [SetName; 2])| {
            let set_bits = (0..).zip(&bits).filter(|(bit, _)| number(class) & (1 << bit) != 0).map(|(_, sets)| *sets);
            (class.clone(), [sets(own)].into_iter().chain(set_bits).collect())
        };
        let classes = crossing.classes.iter().map(of_class).collect();
        Entrance { classes, judged: sets(&judged) }
    }

    /// Where a map of a step leads whom rules of these numbers are about. Adds the chain that says it, if it is not
    /// there.
    pub(super) fn lead(&mut self, rules: &Rules, numbers: &BTreeSet<usize>, then: &PacketVerdict) -> PacketVerdict {
        StepWriter { rules, draft: self }.services(numbers, then)
    }
}

/// What leads to the chains of the classes of one direction.
struct Crossing {
    direction: Direction,
    own: Part,
    /// The sets of those in the numbers of whose classes each bit is set.
    bits: Vec<[SetName; 2]>,
    /// The chains of the classes, with the sets of those who have them.
    classes: Vec<(ChainName, [SetName; 2])>,
}

impl Crossing {
    /// Adds the chain that leads to the classes whose numbers begin with these bits, and those after it.
    fn add_to(&self, chains: &mut BTreeMap<ChainName, Chain>, known: u32, bits: u64) -> ChainName {
        let Self { direction, own, .. } = self;
        let prefix: String = (0..known).map(|bit| if bits & (1 << bit) == 0 { '0' } else { '1' }).collect();
        let lead = |sets: &[SetName; 2], to: &ChainName| {
            sets.clone()
                .map(|set| ChainRule::new([Match::In(*own, set)], Then::Verdict(PacketVerdict::Goto(to.clone()))))
        };
        let (name, about) = match prefix.is_empty() {
            true => (format!("{direction}_classes"), format!("classes of {direction}")),
            false => {
                (format!("{direction}_classes_{prefix}"), format!("classes of {direction} whose bits are {prefix}"))
            }
        };
        let rules = match self.bits.get(known as usize) {
            Some(sets) => {
                let [unset, set] = [0, 1 << known].map(|bit| self.add_to(chains, known + 1, bits | bit));
                let rest = ChainRule::new([], Then::Verdict(PacketVerdict::Goto(unset)));
                lead(sets, &set).into_iter().chain([rest]).collect()
            }
            None => {
                let is_here = |class: &&(ChainName, _)| number(&class.0) & ((1 << known) - 1) == bits;
                self.classes.iter().filter(is_here).flat_map(|(class, sets)| lead(sets, class)).collect()
            }
        };
        let name = ChainName::new(&name);
        chains.insert(name.clone(), Chain { about, hook: None, rules });
        name
    }
}

/// The number of a class, which its chain determines: so it does not depend on which others there are.
fn number(class: &ChainName) -> u64 {
    let mut hasher = DefaultHasher::new();
    class.hash(&mut hasher);
    hasher.finish()
}

fn addresses(name: &str) -> [SetName; 2] {
    Family::ALL.map(|family| SetName::new(SetKind::Addresses(family), &per_family(name, family)))
}

fn class_sets(class: &ChainName) -> [SetName; 2] {
    Family::ALL.map(|family| SetName::hashed(SetKind::Addresses(family), &format!("class {class}")))
}
