//! The rules of one direction, numbered in the order in which they are asked.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use model::{
    NetworkName,
    data_path::{Chain, ChainName, ChainRule, CounterName, PacketVerdict, Then},
};

use super::{
    index::{Index, Where},
    rest::Rest,
};
use crate::{
    peer::Peer,
    policies::Policies,
    rule::{Action, Direction, Effect, Layer, Logging, Policy, Rule},
    service::Service,
    world::{Endpoint, World},
};

/// All rules of a direction, as long as none of them expires.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) direction: Direction,
    policies: Policies,
    /// In the order in which they are asked. The last one of ingress stands for what Kubernetes lets the own host do.
    clauses: Vec<Clause>,
    /// Their numbers by the number of their policy.
    of_policy: Vec<Vec<usize>>,
    /// The numbers of the policies that have something to say in this direction.
    subjects: Index<usize>,
}

/// A rule, or what stands for one.
#[derive(Debug)]
struct Clause {
    /// Unique, and for people.
    title: String,
    /// The number of its policy, and its own there; none of what stands for one.
    place: Option<(usize, usize)>,
    then: Consequence,
    /// Where it counts, if it does.
    counter: Option<CounterName>,
}

#[derive(Debug, Clone, Copy)]
enum Consequence {
    /// One that may share a step.
    Plain(Effect),
    /// One that also counts, logs or limits, and how its action is called in the name of the chain that does so.
    Special(&'static str),
}

/// Who may come in whatever isolates, as the API reference of Kubernetes has it.
static OWN_HOST: [Peer; 1] = [Peer::Host];

/// Rules that are asked together, by their numbers, and what becomes of what one of them matches.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) clauses: Vec<usize>,
    pub(super) then: PacketVerdict,
}

/// What the endpoints of a class are asked, and what becomes of what no step matches.
#[derive(Debug)]
pub(super) struct Outline {
    pub(super) steps: Vec<Step>,
    pub(super) rest: PacketVerdict,
    /// The same where it is logged.
    pub(super) logged: Option<Rest>,
}

impl Rules {
    pub(super) fn new(policies: &Policies, direction: Direction, now: Timestamp) -> Self {
        let all = policies.policies();
        let (mut clauses, mut of_policy) = (Vec::new(), vec![Vec::new(); all.len()]);
        let mut counters: Vec<_> = all.iter().map(counters).collect();
        let mut add = |number: usize, place: usize| {
            let (policy, rule) = (&all[number], &all[number].rules[place]);
            if rule.direction == direction && !rule.has_expired(now) {
                of_policy[number].push(clauses.len());
                let title = title_of_rule(policy, rule);
                let counter = counters[number].remove(&place);
                clauses.push(Clause { title, place: Some((number, place)), then: consequence(policy, rule), counter });
            }
        };
        policies.tiered_numbers().iter().for_each(|(policy, rule)| add(*policy, *rule));
        for (number, policy) in all.iter().enumerate().filter(|(_, policy)| isolates(policy, direction)) {
            (0..policy.rules.len()).for_each(|rule| add(number, rule));
        }
        if direction == Direction::Ingress {
            let then = Consequence::Plain(Effect::Allow);
            clauses.push(Clause { title: "the own host".to_owned(), place: None, then, counter: None });
        }
        let mut subjects = Index::default();
        for (number, policy) in all.iter().enumerate() {
            if !of_policy[number].is_empty() || isolates(policy, direction) {
                subjects.add(Where::In(&policy.networks), &policy.subject, number);
            }
        }
        Self { direction, policies: policies.clone(), clauses, of_policy, subjects }
    }

    /// The numbers of the policies that select an endpoint and have something to say in this direction.
    pub(super) fn selecting(&self, endpoint: &Endpoint, world: &World) -> Vec<usize> {
        let policies = self.policies.policies();
        let is_for = |number: &usize| {
            let policy = &policies[*number];
            policy.networks.include(&endpoint.network, world) && policy.subject.selects(endpoint)
        };
        let mut selecting: Vec<usize> = self.subjects.candidates(endpoint).filter(is_for).collect();
        selecting.sort();
        selecting
    }

    /// What is asked about endpoints of a network that these policies select; none if all is let through.
    pub(super) fn outline(&self, network: &NetworkName, selecting: &[usize]) -> Option<Outline> {
        let mut clauses: Vec<usize> = selecting.iter().flat_map(|policy| &self.of_policy[*policy]).copied().collect();
        clauses.sort();
        let is_isolated = selecting.iter().any(|policy| isolates(&self.policies.policies()[*policy], self.direction));
        let rest = match is_isolated {
            true => Effect::Deny,
            false => self.policies.stance(network, self.direction),
        };
        if is_isolated && self.direction == Direction::Ingress {
            clauses.push(self.clauses.len() - 1);
        }
        let mut steps = self.steps(&clauses);
        let all = self.policies.policies();
        let logged = match is_isolated {
            true => selecting.iter().find_map(|number| Rest::of_policy(&all[*number], self.direction)),
            false => self.policies.stance_of(network).and_then(|stance| Rest::of_stance(stance, self.direction)),
        };
        // Rules at the end that say what becomes of the rest, too.
        while logged.is_none() && steps.last().is_some_and(|step| step.then == plain(rest)) {
            steps.pop();
        }
        let says_nothing = steps.is_empty() && rest == Effect::Allow && logged.is_none();
        (!says_nothing).then(|| Outline { steps, rest: plain(rest), logged })
    }

    fn steps(&self, clauses: &[usize]) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        for number in clauses {
            let then = self.verdict(*number);
            match steps.last_mut().filter(|step| step.then == then && !matches!(then, PacketVerdict::Goto(_))) {
                Some(step) => step.clauses.push(*number),
                None => steps.push(Step { clauses: vec![*number], then }),
            }
        }
        steps
    }

    /// What becomes of what a rule matches.
    fn verdict(&self, number: usize) -> PacketVerdict {
        let Clause { title, then, .. } = &self.clauses[number];
        match then {
            Consequence::Plain(effect) => plain(*effect),
            Consequence::Special(prefix) => PacketVerdict::Goto(ChainName::hashed(prefix, title)),
        }
    }

    /// The chain that says what becomes of what a rule matches, where that is more than one verdict, and the counter
    /// that it counts in.
    pub(super) fn special(&self, number: usize) -> Option<(ChainName, Chain, CounterName)> {
        let Clause { title, then: Consequence::Special(prefix), counter, .. } = &self.clauses[number] else {
            return None;
        };
        let (rule, counter) = (self.rule(number)?, counter.clone()?);
        let verdict = match rule.action {
            Action::Audit => None,
            Action::Deny => Some(PacketVerdict::Drop),
            Action::Allow => Some(PacketVerdict::Accept),
        };
        let log = (rule.logging == Logging::On).then_some(Then::Log);
        let limits = [
            rule.rate.map(|rate| Then::DropOverRate(rate.connections, rate.per)),
            rule.connections.map(Then::DropOverConnections),
        ];
        let count = [Then::Count(counter.clone())];
        let rules = limits.into_iter().flatten().chain(log).chain(count).chain(verdict.map(Then::Verdict));
        let rules = rules.map(|then| ChainRule::new([], then)).collect();
        Some((ChainName::hashed(prefix, title), Chain { about: title.clone(), hook: None, rules }, counter))
    }

    /// What becomes of what these rules match, whatever is asked for: nothing but that if one of them is about
    /// anything, otherwise what a chain says that asks what is asked for.
    pub(super) fn asking(&self, numbers: &BTreeSet<usize>, then: &PacketVerdict) -> PacketVerdict {
        match numbers.iter().any(|number| self.services(*number).is_empty()) {
            true => then.clone(),
            false => PacketVerdict::Goto(ChainName::hashed("asked", &self.asked_about(numbers))),
        }
    }

    pub(super) fn asked_about(&self, numbers: &BTreeSet<usize>) -> String {
        format!("what is asked for by {}", self.titles(numbers))
    }

    pub(super) fn titles<'a>(&self, numbers: impl IntoIterator<Item = &'a usize>) -> String {
        numbers.into_iter().map(|number| self.clauses[*number].title.as_str()).collect::<Vec<_>>().join("; ")
    }

    /// All that these rules say but what is asked for. What changes only that finds the same text again.
    pub(super) fn meaning(&self, numbers: &BTreeSet<usize>) -> String {
        let of = |number: &usize| {
            let Some((policy, rule)) = self.clauses[*number].place else { return String::new() };
            let Policy { layer, networks, subject, rules, .. } = &self.policies.policies()[policy];
            let Rule { order, action, peers, logging, rate, connections, .. } = &rules[rule];
            format!(
                "{layer:?} {networks:?} {subject:?} {order} {action:?} {peers:?} {logging:?} {rate:?} {connections:?}"
            )
        };
        format!("{}: {}", self.titles(numbers), numbers.iter().map(of).collect::<Vec<_>>().join("; "))
    }

    /// The titles of policies.
    pub(super) fn titles_of(&self, policies: &[usize]) -> Vec<String> {
        policies.iter().map(|number| title(&self.policies.policies()[*number])).collect()
    }

    pub(super) fn peers(&self, number: usize) -> &[Peer] {
        self.rule(number).map_or(&OWN_HOST, |rule| &rule.peers)
    }

    pub(super) fn services(&self, number: usize) -> &[Service] {
        self.rule(number).map_or(&[], |rule| &rule.services)
    }

    fn rule(&self, number: usize) -> Option<&Rule> {
        self.clauses[number].place.map(|(policy, rule)| &self.policies.policies()[policy].rules[rule])
    }
}

/// The counters of the packets that a policy's rules decide or audit, by the places of the rules in it; none of a rule
/// that counts nothing. What a rule says makes its counter, not its number: so it stays where another rule comes before
/// it, and is another where it says something else. Of several that say the same each has its own.
pub fn counters(policy: &Policy) -> BTreeMap<usize, CounterName> {
    let mut alike: BTreeMap<String, usize> = BTreeMap::new();
    let counting = policy.rules.iter().enumerate().filter(|(_, rule)| is_special(policy, rule));
    let counter = |(place, rule): (usize, &Rule)| {
        let Rule { direction, order, action, peers, services, logging, rate, connections, expires, .. } = rule;
        let said = format!(
            "{}, {direction} {order} {action} {peers:?} {services:?} {logging:?} {rate:?} {connections:?} {expires:?}",
            title(policy)
        );
        let number = alike.entry(said.clone()).or_default();
        *number += 1;
        (place, CounterName::hashed(&format!("{said} {number}")))
    };
    counting.map(counter).collect()
}

/// The chain that stands for a rule in the log; none of a rule that logs nothing.
pub fn log_chain(policy: &Policy, rule: &Rule) -> Option<ChainName> {
    match consequence(policy, rule) {
        Consequence::Special(prefix) if rule.logging == Logging::On => {
            Some(ChainName::hashed(prefix, &title_of_rule(policy, rule)))
        }
        _ => None,
    }
}

fn is_special(policy: &Policy, rule: &Rule) -> bool {
    matches!(consequence(policy, rule), Consequence::Special(_))
}

fn consequence(policy: &Policy, rule: &Rule) -> Consequence {
    let is_special = rule.logging == Logging::On || rule.rate.is_some() || rule.connections.is_some();
    match (&policy.layer, rule.action) {
        // What matches in this layer is allowed, and it has no words for more.
        (Layer::Additive(_), _) => Consequence::Plain(Effect::Allow),
        (Layer::Tier(_), Action::Audit) => Consequence::Special("audit"),
        (Layer::Tier(_), Action::Deny) if is_special => Consequence::Special("deny"),
        (Layer::Tier(_), Action::Allow) if is_special => Consequence::Special("allow"),
        (Layer::Tier(_), Action::Deny) => Consequence::Plain(Effect::Deny),
        (Layer::Tier(_), Action::Allow) => Consequence::Plain(Effect::Allow),
    }
}

/// Unique among the rules of all policies.
fn title_of_rule(policy: &Policy, rule: &Rule) -> String {
    format!("{}, {} rule {}", title(policy), rule.direction, rule.number)
}

/// Unique among all policies.
fn title(policy: &Policy) -> String {
    let kind = if matches!(policy.layer, Layer::Additive(_)) { "NetworkPolicy" } else { "policy" };
    format!("{kind} {}", policy.title())
}

fn isolates(policy: &Policy, direction: Direction) -> bool {
    matches!(&policy.layer, Layer::Additive(directions) if directions.contains(&direction))
}

fn plain(effect: Effect) -> PacketVerdict {
    match effect {
        Effect::Allow => PacketVerdict::Accept,
        Effect::Deny => PacketVerdict::Drop,
    }
}
