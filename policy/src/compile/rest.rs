//! What becomes of what no rule matches, where that is logged.

use model::data_path::{Chain, ChainName, ChainRule, CounterName, PacketVerdict, Then};

use crate::{
    document::Document,
    rule::{Direction, Effect, Policy, Stance},
};

/// What a document logs besides what its rules do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rest {
    /// Of which it is, in words: `ingress stance` or `ingress isolation`.
    pub title: String,
    /// What becomes of it.
    pub effect: Effect,
    /// The chain that stands for it in the log.
    pub chain: ChainName,
    /// Where it counts.
    pub counter: CounterName,
    /// For people.
    pub(super) about: String,
}

/// What a document logs besides what its rules do, for each direction of which it does.
pub fn rests(document: &Document) -> Vec<Rest> {
    let of = |direction| match document {
        Document::Policy(policy) => Rest::of_policy(policy, direction),
        Document::Stance(stance) => Rest::of_stance(stance, direction),
    };
    [Direction::Ingress, Direction::Egress].into_iter().filter_map(of).collect()
}

impl Rest {
    /// Of a policy that isolates.
    pub(super) fn of_policy(policy: &Policy, direction: Direction) -> Option<Self> {
        let is_logged = policy.logged.contains(&direction);
        is_logged.then(|| Self::new(&policy.title(), format!("{direction} isolation"), Effect::Deny))
    }

    pub(super) fn of_stance(stance: &Stance, direction: Direction) -> Option<Self> {
        let is_logged = stance.logged.contains(&direction);
        is_logged.then(|| Self::new(&stance.name.to_string(), format!("{direction} stance"), stance.effect(direction)))
    }

    fn new(name: &str, title: String, effect: Effect) -> Self {
        let about = format!("{title} of {name}: {effect}");
        let (chain, counter) = (ChainName::hashed("rest", &about), CounterName::hashed(&about));
        Self { title, effect, chain, counter, about }
    }

    /// The chain that logs, counts and decides.
    pub(super) fn rules(&self, verdict: PacketVerdict) -> Chain {
        let rules = [Then::Log, Then::Count(self.counter.clone()), Then::Verdict(verdict)];
        let rules = rules.map(|then| ChainRule::new([], then)).into();
        Chain { about: self.about.clone(), hook: None, rules }
    }
}
