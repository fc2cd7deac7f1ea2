//! A verdict in words: what decided where, and what would have to change.

use std::{fmt, num::NonZeroU32};

use serde::Serialize;

use crate::{
    course::Course,
    evaluate::{Decision, Reason, Verdict},
    policies::RuleOf,
    rule::{Direction, Effect, Layer, Logging, Policy, Rate, Rule},
};

/// What becomes of a connection, and why, for people and for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Who opens it.
    pub from: String,
    /// Whom it is opened to.
    pub to: String,
    /// What is asked for: `80/tcp` or `ping`.
    pub asks: String,
    /// Where that leads, and what is asked for there, if it is a port that the host publishes: policies judge that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leads_to: Option<String>,
    /// `allow` or `deny`.
    pub verdict: String,
    /// The rules by which it might be the other way round, depending on what nobody said of the ends, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<String>,
    /// What is decided where it leaves; none if that is no endpoint.
    pub egress: Option<EndExplanation>,
    /// What is decided where it arrives; none if that is no endpoint.
    pub ingress: Option<EndExplanation>,
}

/// What is decided at one end, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EndExplanation {
    /// `allow` or `deny`.
    pub verdict: String,
    /// What goes with it and changes no verdict, in words: limits, and whether it is logged.
    pub terms: Vec<String>,
    /// What decided, in words.
    pub reason: String,
    /// What decided, as a person knows it: a policy or a stance; none where nothing was written.
    pub policy: Option<String>,
    /// Where that stands: `FILE:LINE:COLUMN`.
    pub place: Option<String>,
    /// What would have to change for the opposite; none where nothing can.
    pub change: Option<String>,
    /// The rules that would only have counted and logged it, in words.
    pub audits: Vec<String>,
}

/// What is told of what is a line of the log.
const LOGGED: &str = "logged";

impl Explanation {
    /// Puts a verdict on a connection into words.
    pub fn new(course: &Course<'_>, verdict: &Verdict<'_>) -> Self {
        let Course { opened, judged } = course;
        let end = |direction, decision: &Option<Decision<'_>>| {
            decision.as_ref().map(|decision| EndExplanation::new(direction, decision))
        };
        Self {
            from: opened.from.to_string(),
            to: opened.to.to_string(),
            asks: opened.asks.to_string(),
            leads_to: course.is_led().then(|| format!("{}: {}", judged.to, judged.asks)),
            verdict: verdict.effect().to_string(),
            doubts: verdict.doubts().iter().map(|doubt| doubt.told(judged)).collect(),
            egress: end(Direction::Egress, &verdict.egress),
            ingress: end(Direction::Ingress, &verdict.ingress),
        }
    }
}

impl EndExplanation {
    fn new(direction: Direction, decision: &Decision<'_>) -> Self {
        let (reason, policy, place) = match &decision.reason {
            Reason::Rule(found) => (told(*found), Some(found.policy.title()), Some(found.rule.place.to_string())),
            Reason::Isolated(policies) => {
                let reason = format!("isolated by {}, of which no rule allows it", listed(policies));
                let first = policies.first();
                (reason, first.map(|policy| policy.title()), first.map(|policy| policy.place.to_string()))
            }
            Reason::OwnHost(policies) => {
                let reason = format!("isolated by {}, but never from its own host", listed(policies));
                (reason, None, None)
            }
            Reason::Stance(stance) => {
                let reason = format!("no policy has a say; stance `{}` at {}", stance.name, stance.place);
                (reason, Some(stance.name.to_string()), Some(stance.place.to_string()))
            }
            Reason::Nothing => ("no policy has a say".to_owned(), None, None),
            Reason::Itself => ("a container always reaches itself".to_owned(), None, None),
        };
        Self {
            verdict: decision.effect.to_string(),
            terms: match &decision.reason {
                Reason::Rule(found) => terms(found.rule),
                Reason::Stance(stance) if stance.logged.contains(&direction) => vec![LOGGED.to_owned()],
                Reason::Isolated(policies) if policies.iter().any(|policy| policy.logged.contains(&direction)) => {
                    vec![LOGGED.to_owned()]
                }
                _ => Vec::new(),
            },
            reason,
            policy,
            place,
            change: change(direction, decision),
            audits: decision.audits.iter().map(|found| with_terms(told(*found), &terms(found.rule))).collect(),
        }
    }
}

fn told(RuleOf { policy, rule }: RuleOf<'_>) -> String {
    let (direction, number) = (rule.direction, rule.number);
    format!("{direction} rule {number} of policy `{}` at {}", policy.title(), rule.place)
}

/// What a rule asks for besides its verdict.
fn terms(rule: &Rule) -> Vec<String> {
    let plural = |number: NonZeroU32| if number.get() == 1 { "connection" } else { "connections" };
    let rate =
        rule.rate.map(|Rate { connections, per }| format!("at most {connections} {} {per}", plural(connections)));
    let at_once = rule.connections.map(|number| format!("at most {number} {} at once", plural(number)));
    let logged = match rule.logging {
        Logging::On => Some(LOGGED.to_owned()),
        Logging::Off => None,
    };
    [rate, at_once, logged].into_iter().flatten().collect()
}

fn with_terms(text: String, terms: &[String]) -> String {
    [text].iter().chain(terms).map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn listed(policies: &[&Policy]) -> String {
    const SHOWN: usize = 3;
    let names = policies.iter().take(SHOWN).map(|policy| format!("policy `{}` at {}", policy.title(), policy.place));
    let mut text = names.collect::<Vec<_>>().join(", ");
    if policies.len() > SHOWN {
        text.push_str(&format!(" and {} more", policies.len() - SHOWN));
    }
    text
}

fn change(direction: Direction, decision: &Decision<'_>) -> Option<String> {
    let change = match (&decision.reason, decision.effect) {
        (Reason::Rule(RuleOf { policy, rule }), effect) => match (&policy.layer, effect) {
            (Layer::Tier(tier), Effect::Deny) => {
                format!("to allow it, {}", instead_of(*tier, "an `allow`", rule.order.checked_sub(1)))
            }
            (Layer::Tier(tier), Effect::Allow) => {
                format!("to deny it, {}", instead_of(*tier, "a `deny`", Some(rule.order)))
            }
            (Layer::Additive(_), _) => {
                "to deny it, take it out of that rule and of whatever other rule allows it, or write a \
                                        `deny` in any tier"
                    .to_owned()
            }
        },
        (Reason::Isolated(_), _) => {
            format!("to allow it, add a rule of {direction} to one of these policies, or write an `allow` in any tier")
        }
        (Reason::OwnHost(_), _) => "to deny it, write a `deny` in any tier".to_owned(),
        (Reason::Stance(stance), Effect::Deny) => {
            format!("to allow it, write an `allow` in any tier, or `{direction}: allow` in stance `{}`", stance.name)
        }
        (Reason::Stance(stance), Effect::Allow) => {
            format!("to deny it, write a `deny` in any tier, or `{direction}: deny` in stance `{}`", stance.name)
        }
        (Reason::Nothing, _) => {
            format!("to deny it, write a `deny` in any tier, or a stance with `{direction}: deny` for the network")
        }
        (Reason::Itself, _) => return None,
    };
    Some(change)
}

/// How something else decides instead of a rule of this tier: `other`, with the order `last` or a lower one there.
fn instead_of(tier: u16, other: &str, last: Option<u16>) -> String {
    let lower = (tier > 0).then(|| format!("in a lower tier than {tier}"));
    let within = last.map(|last| match last {
        0 => format!("in tier {tier} with order 0"),
        _ => format!("in tier {tier} with order {last} or lower"),
    });
    let places: Vec<String> = lower.into_iter().chain(within).collect();
    match places.is_empty() {
        true => "change that rule: nothing comes before it".to_owned(),
        false => format!("change that rule, or let {other} come before it: {}", places.join(", or ")),
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} -> {}: {}: {}", self.from, self.to, self.asks, self.verdict)?;
        if let Some(target) = &self.leads_to {
            writeln!(f, "  published: leads to {target}, which is what policies judge")?;
        }
        if self.egress.is_none() && self.ingress.is_none() {
            writeln!(f, "  neither end is an endpoint, so no policy has a say")?;
        }
        for (name, end) in [("egress", &self.egress), ("ingress", &self.ingress)] {
            let Some(end) = end else { continue };
            writeln!(f, "  {name}: {}: {}", with_terms(end.verdict.clone(), &end.terms), end.reason)?;
            for audit in &end.audits {
                writeln!(f, "    audited by {audit}")?;
            }
            // Where it is denied, the end that allows it is not what has to change.
            if let Some(change) = &end.change
                && end.verdict == self.verdict
            {
                writeln!(f, "    {change}")?;
            }
        }
        self.doubts.iter().try_for_each(|doubt| writeln!(f, "  not certain: {doubt}"))
    }
}
