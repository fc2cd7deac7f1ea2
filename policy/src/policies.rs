//! All policies there are, as one set.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use jiff::Timestamp;
use model::NetworkName;

use crate::{
    document::Document,
    place::Place,
    rule::{Direction, Effect, Layer, Policy, Rule, Stance},
    world::{Endpoint, World},
};

/// Policies and stances, in the order of their places. A copy costs nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policies {
    policies: Arc<[Policy]>,
    stances: Arc<[Stance]>,
    /// The rules of the tiers in the order in which they are asked: which policy, and which rule of it.
    tiered: Arc<[(usize, usize)]>,
    /// When rules expire.
    expiries: BTreeSet<Timestamp>,
}

/// A rule and the policy it stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleOf<'p> {
    /// The policy.
    pub policy: &'p Policy,
    /// The rule.
    pub rule: &'p Rule,
}

/// Why documents are no set of policies.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoliciesError {
    /// Two policies that have one name.
    #[error("{second}: policy `{title}` is there already: {first}")]
    Twice {
        /// As a person knows it.
        title: String,
        /// The one.
        first: Place,
        /// The other.
        second: Place,
    },
    /// Two stances for one network.
    #[error("{second}: network `{network}` has a stance already: {first}")]
    Stances {
        /// The network.
        network: NetworkName,
        /// The one.
        first: Place,
        /// The other.
        second: Place,
    },
}

impl Policies {
    /// What these documents say together.
    pub fn new(documents: impl IntoIterator<Item = Document>) -> Result<Self, PoliciesError> {
        let (mut policies, mut stances) = (Vec::new(), Vec::new());
        for document in documents {
            match document {
                Document::Policy(policy) => policies.push(policy),
                Document::Stance(stance) => stances.push(stance),
            }
        }
        policies.sort_by(|one, other| one.place.cmp(&other.place));
        stances.sort_by(|one: &Stance, other| one.place.cmp(&other.place));
        let mut names = BTreeMap::new();
        for policy in &policies {
            let is_additive = matches!(policy.layer, Layer::Additive(_));
            if let Some(first) = names.insert((is_additive, policy.title()), &policy.place) {
                let (first, second) = (first.clone(), policy.place.clone());
                return Err(PoliciesError::Twice { title: policy.title(), first, second });
            }
        }
        let mut networks = BTreeMap::new();
        for stance in &stances {
            for network in &stance.networks {
                if let Some(first) = networks.insert(network, &stance.place) {
                    let (first, second) = (first.clone(), stance.place.clone());
                    return Err(PoliciesError::Stances { network: network.clone(), first, second });
                }
            }
        }
        let tiered = in_order(&policies);
        let expiries = policies.iter().flat_map(|policy| &policy.rules).filter_map(|rule| rule.expires).collect();
        Ok(Self { policies: policies.into(), stances: stances.into(), tiered: tiered.into(), expiries })
    }

    /// Those that have a say about connections of these endpoints.
    pub(crate) fn about(&self, endpoints: &[&Endpoint], world: &World) -> Self {
        let is_about = |policy: &&Policy| {
            endpoints.iter().any(|it| policy.networks.include(&it.network, world) && policy.subject.selects(it))
        };
        let policies: Vec<Policy> = self.policies.iter().filter(is_about).cloned().collect();
        Self {
            tiered: in_order(&policies).into(),
            policies: policies.into(),
            stances: self.stances.clone(),
            expiries: self.expiries.clone(),
        }
    }

    /// The policies.
    pub fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// The stances.
    pub fn stances(&self) -> &[Stance] {
        &self.stances
    }

    /// The stance of a network; none was written for most.
    pub fn stance_of(&self, network: &NetworkName) -> Option<&Stance> {
        self.stances.iter().find(|stance| stance.networks.contains(network))
    }

    /// What becomes of connections that no policy has a say about: they are allowed where nothing else was written.
    pub fn stance(&self, network: &NetworkName, direction: Direction) -> Effect {
        self.stance_of(network).map_or(Effect::Allow, |stance| stance.effect(direction))
    }

    /// Whether anything was written about connections of a network's endpoints.
    pub fn concern(&self, network: &NetworkName, world: &World) -> bool {
        self.stance_of(network).is_some() || self.policies.iter().any(|policy| policy.networks.include(network, world))
    }

    /// The last moment until this one at which a rule expired: from then until now all rules have been as they are.
    /// None if none has expired.
    pub fn last_expiry(&self, now: Timestamp) -> Option<Timestamp> {
        self.expiries.range(..=now).next_back().copied()
    }

    /// The moment at which the next rule expires; none if none will.
    pub fn next_expiry(&self, now: Timestamp) -> Option<Timestamp> {
        self.expiries.range((Bound::Excluded(now), Bound::Unbounded)).next().copied()
    }

    /// Every rule of the tiers, in the order in which they are asked: by tier, by order, audit before deny before
    /// allow, and by place.
    pub fn tiered(&self) -> impl ExactSizeIterator<Item = RuleOf<'_>> {
        self.tiered.iter().map(|(policy, rule)| {
            let policy = &self.policies[*policy];
            RuleOf { policy, rule: &policy.rules[*rule] }
        })
    }

    /// The same, each as the number of its policy and its number there, both from 0.
    pub(crate) fn tiered_numbers(&self) -> &[(usize, usize)] {
        &self.tiered
    }

    /// The policies of the layer of Kubernetes that isolate in a direction.
    pub fn isolating(&self, direction: Direction) -> impl Iterator<Item = &Policy> {
        self.policies.iter().filter(
            move |policy| matches!(&policy.layer, Layer::Additive(directions) if directions.contains(&direction)),
        )
    }
}

/// Where the rules of the tiers are, in the order in which they are asked.
fn in_order(policies: &[Policy]) -> Vec<(usize, usize)> {
    let mut rules = Vec::new();
    for (at, policy) in policies.iter().enumerate() {
        if let Layer::Tier(tier) = policy.layer {
            let key = |rule: &Rule| (tier, rule.order, rule.action, rule.place.clone());
            rules.extend(policy.rules.iter().enumerate().map(|(number, rule)| (key(rule), (at, number))));
        }
    }
    rules.sort();
    rules.into_iter().map(|(_, place)| place).collect()
}
