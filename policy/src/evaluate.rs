//! What the policies say of one connection. Naive on purpose: it asks every rule of every policy in turn, so that
//! whoever reads it sees that it is right, and what a kernel does can be held against it.

use jiff::Timestamp;

use crate::{
    doubt::{Doubt, Fit},
    peer::Peer,
    policies::{Policies, RuleOf},
    rule::{Action, Direction, Effect, Policy, Rule, Stance},
    service::Service,
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
    /// The rules that would have decided otherwise, or not, depending on what nobody said of the ends.
    pub doubts: Vec<Doubt<'p>>,
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
    /// The rules by which it might be the other way round, depending on what nobody said of the ends: none where it is
    /// as it is in any case.
    pub fn doubts(&self) -> Vec<&Doubt<'p>> {
        let effect = self.effect();
        let deciding: Vec<_> = self.decisions().filter(|(_, decision)| decision.effect == effect).collect();
        // One end that denies it is enough.
        let is_sure = effect == Effect::Deny && deciding.iter().any(|(_, decision)| decision.doubts.is_empty());
        let doubts = deciding.into_iter().filter(|_| !is_sure).flat_map(|(_, decision)| &decision.doubts);
        doubts.collect()
    }

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
        let (mut audits, mut doubts) = (Vec::new(), Vec::new());
        let (effect, reason) = self.reason(policies, &mut audits, &mut doubts);
        doubts.retain(|doubt| doubt.effect != effect);
        Decision { effect, reason, audits, doubts }
    }

    fn reason<'p>(
        &self,
        policies: &'p Policies,
        audits: &mut Vec<RuleOf<'p>>,
        doubts: &mut Vec<Doubt<'p>>,
    ) -> (Effect, Reason<'p>) {
        if self.peer.endpoint().is_some_and(|peer| peer.is_of_same_container(self.own)) {
            return (Effect::Allow, Reason::Itself);
        }

        for found in policies.tiered().filter(|found| self.is_for(found.policy)) {
            let effect = match found.rule.action {
                Action::Audit => None,
                Action::Deny => Some(Effect::Deny),
                Action::Allow => Some(Effect::Allow),
            };
            match (self.fits(found.rule), effect) {
                (Fit::Yes, None) => audits.push(found),
                (Fit::Yes, Some(effect)) => return (effect, Reason::Rule(found)),
                (Fit::Unknown, Some(effect)) => doubts.push(self.doubt(found, effect)),
                (Fit::Unknown, None) | (Fit::No, _) => {}
            }
        }

        let isolating: Vec<&Policy> = policies.isolating(self.direction).filter(|policy| self.is_for(policy)).collect();
        for policy in &isolating {
            for rule in &policy.rules {
                let found = RuleOf { policy, rule };
                match self.fits(rule) {
                    Fit::Yes => return (Effect::Allow, Reason::Rule(found)),
                    Fit::Unknown => doubts.push(self.doubt(found, Effect::Allow)),
                    Fit::No => {}
                }
            }
        }
        if !isolating.is_empty() {
            // "Traffic is allowed to a pod [...] if the traffic source is the pod's local node": API reference.
            let is_own_host = self.direction == Direction::Ingress && matches!(self.peer, Party::Host { .. });
            return match is_own_host {
                true => (Effect::Allow, Reason::OwnHost(isolating)),
                false => (Effect::Deny, Reason::Isolated(isolating)),
            };
        }

        let reason = policies.stance_of(&self.own.network).map_or(Reason::Nothing, Reason::Stance);
        (policies.stance(&self.own.network, self.direction), reason)
    }

    fn is_for(&self, policy: &Policy) -> bool {
        policy.networks.include(&self.own.network, self.world) && policy.subject.selects(self.own)
    }

    /// Whether a rule matches.
    fn fits(&self, rule: &Rule) -> Fit {
        let is_there = !rule.has_expired(self.now) && rule.direction == self.direction;
        // All of it has to hold.
        Fit::from(is_there).min(self.is_peer(rule)).min(self.is_asked(rule))
    }

    fn is_peer(&self, rule: &Rule) -> Fit {
        let fits = |peer: &Peer| peer.fits(&self.peer, self.flow.family(), &self.own.network, self.world);
        if rule.peers.is_empty() { Fit::Yes } else { rule.peers.iter().map(fits).max().unwrap_or(Fit::No) }
    }

    fn is_asked(&self, rule: &Rule) -> Fit {
        // A port's name is the target's, whichever end asks.
        let target = self.flow.to.endpoint();
        let called = |name: &_, protocol, port| target.is_some_and(|target| target.calls(name, protocol, port));
        let is_any =
            |includes: &dyn Fn(&Service) -> bool| rule.services.is_empty() || rule.services.iter().any(includes);
        if is_any(&|service| service.includes(self.flow.asks, called)) {
            return Fit::Yes;
        }
        let is_unsaid = target.is_some_and(|target| !target.has_known_ports());
        match is_unsaid && is_any(&|service| service.includes(self.flow.asks, |_, _, _| true)) {
            true => Fit::Unknown,
            false => Fit::No,
        }
    }

    fn doubt<'p>(&self, found: RuleOf<'p>, effect: Effect) -> Doubt<'p> {
        let (is_of_address, is_of_ports) =
            (self.is_peer(found.rule) == Fit::Unknown, self.is_asked(found.rule) == Fit::Unknown);
        Doubt { found, effect, is_of_address, is_of_ports }
    }
}
