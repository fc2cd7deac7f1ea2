//! What the policies say of one connection. Naive on purpose: it asks every rule of every policy in turn, so that
//! whoever reads it sees that it is right, and what a kernel does can be held against it.

use jiff::Timestamp;

use crate::{
    policies::{Policies, RuleOf},
    rule::{Action, Direction, Effect, Policy, Rule, Stance},
    world::{Endpoint, Flow, Party, World},
};

/// What becomes of a connection, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict<'p> {
    /// What is decided where it leaves; none if that is no endpoint.
    pub egress: Option<Decision<'p>>,
    /// What is decided where it arrives; none if that is no endpoint.
    pub ingress: Option<Decision<'p>>,
}

/// What is decided at one end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision<'p> {
    /// What becomes of it.
    pub effect: Effect,
    /// Why.
    pub reason: Reason<'p>,
    /// The rules that would only have counted and logged it, in the order in which they were asked.
    pub audits: Vec<RuleOf<'p>>,
}

/// What decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason<'p> {
    /// This rule.
    Rule(RuleOf<'p>),
    /// These policies isolate the endpoint, and no rule of theirs allows it.
    Isolated(Vec<&'p Policy>),
    /// These policies isolate the endpoint, but not from its own host.
    OwnHost(Vec<&'p Policy>),
    /// The stance of the endpoint's network, as it was written.
    Stance(&'p Stance),
    /// Nothing was written about it.
    Nothing,
    /// What a container says to itself reaches no network.
    Itself,
}

impl Verdict<'_> {
    /// A connection is allowed if both ends allow it.
    pub fn effect(&self) -> Effect {
        let denied = self.decisions().any(|(_, decision)| decision.effect == Effect::Deny);
        if denied { Effect::Deny } else { Effect::Allow }
    }
}

impl<'p> Verdict<'p> {
    /// What was decided, where it leaves first.
    pub fn decisions(&self) -> impl Iterator<Item = (Direction, &Decision<'p>)> {
        let egress = self.egress.iter().map(|decision| (Direction::Egress, decision));
        egress.chain(self.ingress.iter().map(|decision| (Direction::Ingress, decision)))
    }
}

/// What becomes of a connection at this moment: it is allowed if egress at its source *and* ingress at its destination
/// allow it. The order in which the rules of an end are asked stands in the documentation of the crate.
pub fn evaluate<'p>(policies: &'p Policies, world: &World, flow: &Flow<'_>, now: Timestamp) -> Verdict<'p> {
    let judged = |direction, own: Party<'_>, peer: Party<'_>| {
        let own = own.endpoint()?;
        let end = End { world, flow, now, direction, own, peer };
        Some(end.decide(policies))
    };
    Verdict {
        egress: judged(Direction::Egress, flow.from, flow.to),
        ingress: judged(Direction::Ingress, flow.to, flow.from),
    }
}

/// One end of a connection.
struct End<'w> {
    world: &'w World,
    flow: &'w Flow<'w>,
    now: Timestamp,
    direction: Direction,
    own: &'w Endpoint,
    peer: Party<'w>,
}

impl End<'_> {
    fn decide<'p>(&self, policies: &'p Policies) -> Decision<'p> {
        let mut audits = Vec::new();
        if self.peer.endpoint().is_some_and(|peer| peer.is_of_same_container(self.own)) {
            return Decision { effect: Effect::Allow, reason: Reason::Itself, audits };
        }

        for found in policies.tiered() {
            if !self.is_for(found.policy) || !self.matches(found.rule) {
                continue;
            }
            let effect = match found.rule.action {
                Action::Audit => {
                    audits.push(found);
                    continue;
                }
                Action::Deny => Effect::Deny,
                Action::Allow => Effect::Allow,
            };
            return Decision { effect, reason: Reason::Rule(found), audits };
        }

        let isolating: Vec<&Policy> = policies.isolating(self.direction).filter(|policy| self.is_for(policy)).collect();
        for policy in &isolating {
            if let Some(rule) = policy.rules.iter().find(|rule| self.matches(rule)) {
                let reason = Reason::Rule(RuleOf { policy, rule });
                return Decision { effect: Effect::Allow, reason, audits };
            }
        }
        if !isolating.is_empty() {
            // "Traffic is allowed to a pod [...] if the traffic source is the pod's local node": API reference.
            let is_own_host = self.direction == Direction::Ingress && matches!(self.peer, Party::Host { .. });
            return match is_own_host {
                true => Decision { effect: Effect::Allow, reason: Reason::OwnHost(isolating), audits },
                false => Decision { effect: Effect::Deny, reason: Reason::Isolated(isolating), audits },
            };
        }

        let reason = policies.stance_of(&self.own.network).map_or(Reason::Nothing, Reason::Stance);
        Decision { effect: policies.stance(&self.own.network, self.direction), reason, audits }
    }

    fn is_for(&self, policy: &Policy) -> bool {
        policy.networks.include(&self.own.network, self.world) && policy.subject.selects(self.own)
    }

    fn matches(&self, rule: &Rule) -> bool {
        let is_there = !rule.has_expired(self.now);
        let is_peer =
            rule.peers.is_empty() || rule.peers.iter().any(|peer| peer.is(&self.peer, &self.own.network, self.world));
        // A port's name is the target's, whichever end asks.
        let called =
            |name: &_, protocol, port| self.flow.to.endpoint().is_some_and(|target| target.calls(name, protocol, port));
        let is_asked =
            rule.services.is_empty() || rule.services.iter().any(|service| service.includes(self.flow.asks, called));
        is_there && rule.direction == self.direction && is_peer && is_asked
    }
}
