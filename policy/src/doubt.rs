//! What cannot be told, because nobody said enough about an end.

use model::Family;

use crate::{
    policies::RuleOf,
    rule::{Direction, Effect},
    service::Asked,
    world::{Flow, Party},
};

/// Whether something holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fit {
    /// It does not.
    No,
    /// It depends on what nobody said.
    Unknown,
    /// It does.
    Yes,
}

/// A rule that decides otherwise, or does not, depending on what nobody said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt<'p> {
    /// The rule.
    pub found: RuleOf<'p>,
    /// What it does if it matches.
    pub effect: Effect,
    /// Whether it depends on the address of the other end.
    pub is_of_address: bool,
    /// Whether it depends on what the target calls its ports.
    pub is_of_ports: bool,
}

impl From<bool> for Fit {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

impl Flow<'_> {
    /// The family that is spoken, if it is known.
    pub(crate) fn family(&self) -> Option<Family> {
        let asked = match self.asks {
            Asked::Icmp(family, ..) => Some(family),
            Asked::Port(..) | Asked::Other(_) => None,
        };
        self.from.family().or(self.to.family()).or(asked)
    }
}

impl Doubt<'_> {
    /// In words: which rule, what is not known, and how to make it known.
    pub fn told(&self, flow: &Flow<'_>) -> String {
        let RuleOf { policy, rule } = self.found;
        let peer = if rule.direction == Direction::Egress { &flow.to } else { &flow.from };
        let address = self.is_of_address.then(|| missing_address(peer));
        let target = flow.to.endpoint().map(|target| target.title()).unwrap_or_default();
        let ports = self.is_of_ports.then(|| {
            format!(
                "nobody said what `{target}` calls its ports (name a container, or an endpoint of a file of tests with \
                 its `ports`)"
            )
        });
        let missing: Vec<String> = address.into_iter().chain(ports).collect();
        format!(
            "{} rule {} of policy `{}` at {} might {} it: {}",
            rule.direction,
            rule.number,
            policy.title(),
            rule.place,
            self.effect,
            missing.join(", and ")
        )
    }
}

fn missing_address(party: &Party<'_>) -> String {
    match party {
        Party::Within { endpoint, subnet } => format!(
            "nobody said which address of {subnet} `{}` has (name a container, or an endpoint of a file of tests with \
             its `addresses`)",
            endpoint.title()
        ),
        Party::Endpoint { endpoint, .. } => format!(
            "nobody said which address `{0}` has (in a file of tests, give network `{1}` its `subnets`, or an endpoint \
             its `addresses`)",
            endpoint.title(),
            endpoint.network
        ),
        Party::Host { .. } => {
            "nobody said which address the host has (in a file of tests, give the network its `gateways`)".to_owned()
        }
        // Of whoever is outside nothing is known but that.
        Party::Outside(address) => format!("who is {address}"),
    }
}
