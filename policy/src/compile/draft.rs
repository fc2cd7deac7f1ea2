//! A data path in the making: its chains, what is constant in its sets, and who is to be in the others.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    Family, NetworkName,
    data_path::{
        Chain, ChainName, ChainRule, CounterName, Elements, Hook, Match, PacketVerdict, Part, SetKind, SetName, Then,
    },
};

use super::{
    roster::{Roster, SetPair, per_family},
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

/// What leads from an endpoint's own address to its class, in one direction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entrance {
    /// The maps.
    pub(super) classes: SetPair,
    /// The sets of those who have one.
    pub(super) mapped: SetPair,
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
        asked.push(ChainRule::new([], Then::Verdict(outline.rest)));
        self.chains.insert(name.clone(), Chain { about, hook: None, rules: asked });
        Some(name)
    }

    /// Adds the chains that the kernel calls, and the maps that lead to classes.
    pub(super) fn base(&mut self, direction: Direction) -> Entrance {
        let (hooks, own) = match direction {
            Direction::Egress => {
                ([("egress_forward", Hook::ForwardEgress), ("egress_input", Hook::Input)], Part::Source)
            }
            Direction::Ingress => {
                ([("ingress_forward", Hook::ForwardIngress), ("ingress_output", Hook::Output)], Part::Destination)
            }
        };
        let accept = |found| ChainRule::new([found], Then::Verdict(PacketVerdict::Accept));
        let mut rules = [Match::Established, Match::NeighbourDiscovery].map(accept).to_vec();
        rules.extend(self.roster.pairs().map(|pairs| accept(Match::In(Part::Whole, pairs))));
        let called = direction.to_string();
        let classes = Family::ALL.map(|family| SetName::new(SetKind::AddressMap(family), &per_family(&called, family)));
        let mapped = Family::ALL.map(|family| {
            SetName::new(SetKind::Addresses(family), &per_family(&format!("judged_{direction}"), family))
        });
        for ((classes, mapped), judged) in classes.iter().zip(&mapped).zip(self.roster.judged()) {
            let drop = |matches: Vec<Match>| ChainRule::new(matches, Then::Verdict(PacketVerdict::Drop));
            rules.push(drop(vec![Match::MidStream, Match::In(own, judged)]));
            rules.push(ChainRule::new([], Then::Lookup(own, classes.clone())));
            rules.push(drop(vec![Match::In(own, mapped.clone())]));
        }
        for (name, hook) in hooks {
            let about = format!("{direction} of whoever has a class");
            self.chains.insert(ChainName::new(name), Chain { about, hook: Some(hook), rules: rules.clone() });
        }
        Entrance {
            classes: classes.map(|name| self.roster.set(name)),
            mapped: mapped.map(|name| self.roster.set(name)),
        }
    }

    /// Where a map of a step leads whom rules of these numbers are about. Adds the chain that says it, if it is not
    /// there.
    pub(super) fn lead(&mut self, rules: &Rules, numbers: &BTreeSet<usize>, then: &PacketVerdict) -> PacketVerdict {
        StepWriter { rules, draft: self }.services(numbers, then)
    }
}
