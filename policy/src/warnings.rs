//! What is valid and probably not meant.

mod population;
mod question;
mod shadow;

use jiff::Timestamp;

use self::population::Population;
pub use self::question::doubts;
use crate::{
    peer::{Networks, Peer},
    place::Place,
    policies::Policies,
    rule::{Layer, Policy, Rule},
    world::World,
};

/// Something that is probably not meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{place}: {what}")]
pub struct Warning {
    /// Where.
    pub place: Place,
    /// What.
    pub what: String,
}

/// What is probably not meant in these policies, as things are; in the order of the places. Without a world nothing is
/// told of who is selected.
pub fn warnings(policies: &Policies, world: Option<&World>, now: Timestamp) -> Vec<Warning> {
    let mut found = Vec::new();
    if let Some(world) = world {
        for stance in policies.stances() {
            for network in stance.networks.iter().filter(|network| !world.has_network(network)) {
                let what = format!("stance `{}` is pending: there is no network `{network}`", stance.name);
                found.push(Warning { place: stance.place.clone(), what });
            }
        }
        let population = Population::of(world);
        found.extend(policies.policies().iter().flat_map(|policy| of_selection(policy, world, &population)));
    }
    found.extend(policies.policies().iter().flat_map(|policy| of_rules(policy, now)));
    let rules: Vec<_> = policies.tiered().collect();
    for (later, earlier) in shadow::shadowed(&rules) {
        let what = format!(
            "{} rule {} of policy `{}` never decides: rule {} of policy `{}` at {} always comes before it",
            later.rule.direction,
            later.rule.number,
            later.policy.title(),
            earlier.rule.number,
            earlier.policy.title(),
            earlier.rule.place
        );
        found.push(Warning { place: later.rule.place.clone(), what });
    }
    found.sort();
    found
}

/// What is about a rule, with the policy's title.
fn at_rule(policy: &Policy, rule: &Rule, what: &str) -> Warning {
    let what = format!("{} rule {} of policy `{}` {what}", rule.direction, rule.number, policy.title());
    Warning { place: rule.place.clone(), what }
}

/// What is wrong with the rules, whoever there is.
fn of_rules(policy: &Policy, now: Timestamp) -> Vec<Warning> {
    let mut found = Vec::new();
    for rule in &policy.rules {
        if rule.has_expired(now) {
            found.push(at_rule(policy, rule, "has expired"));
        }
        if let Layer::Additive(directions) = &policy.layer
            && !directions.contains(&rule.direction)
        {
            found.push(at_rule(policy, rule, "has no effect: `policyTypes` leaves its direction out"));
        }
    }
    found
}

/// Who of those there are is not selected.
fn of_selection(policy: &Policy, world: &World, population: &Population<'_>) -> Vec<Warning> {
    let (title, mut found) = (policy.title(), Vec::new());
    let at_policy = |what| Warning { place: policy.place.clone(), what };
    if let Networks::Named(names) = &policy.networks {
        for network in names.iter().filter(|network| !world.has_network(network)) {
            found.push(at_policy(format!("policy `{title}` is pending: there is no network `{network}`")));
        }
    }
    let is_there = population.has_any_network(&policy.networks);
    if is_there && !population.has_anybody(&policy.networks, &policy.subject) {
        found.push(at_policy(format!("policy `{title}` selects nothing: {} of {}", policy.subject, policy.networks)));
    }
    for rule in &policy.rules {
        let endpoints: Vec<(&Option<Networks>, _)> = rule
            .peers
            .iter()
            .filter_map(|peer| match peer {
                Peer::Endpoints(networks, selector) => Some((networks, selector)),
                _ => None,
            })
            .collect();
        for (networks, selector) in endpoints.iter().filter(|_| is_there) {
            let of = networks.as_ref().unwrap_or(&policy.networks);
            if !population.has_anybody(of, selector) {
                found.push(at_rule(policy, rule, &format!("names a peer that is nobody: {selector} of {of}")));
            }
        }
    }
    found
}
