//! Rules and the policies they stand in: what every kind of document becomes.

use std::{collections::BTreeSet, fmt, num::NonZeroU32, str::FromStr, sync::Arc};

use jiff::Timestamp;
use model::{NetworkName, data_path::Period};

use crate::{
    label::shown,
    peer::{EndpointSelector, Networks, Peer},
    place::Place,
    service::Service,
};

/// A policy's name: 1 to 253 lower-case letters, digits, `-` and `.` (RFC 1123 §2.1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyName(Arc<str>);

/// Why a text is not a policy's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}` is not a policy's name: write 1 to 253 lower-case letters, digits, `-` and `.`, a letter or digit first and last",
    shown(.0)
)]
pub struct ParsePolicyNameError(String);

/// Which way, seen from the endpoint that a policy selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// Connections that others open to it.
    Ingress,
    /// Connections that it opens.
    Egress,
}

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// It is let through.
    Allow,
    /// It is dropped.
    Deny,
}

/// What a rule does. At equal order the lesser is asked first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Count and log, and go on with the next rule.
    Audit,
    /// Drop.
    Deny,
    /// Let through.
    Allow,
}

/// When a policy is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layer {
    /// Among those of the tier, of which the lowest is asked first.
    Tier(u16),
    /// After all tiers. Whatever of the endpoints it selects is isolated in these directions: only what some policy of
    /// this layer allows is let through. This is the one layer of Kubernetes.
    Additive(BTreeSet<Direction>),
}

/// Whether what a rule decides is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logging {
    /// It is only counted.
    Off,
    /// Each connection is a line in the log.
    On,
}

/// How many connections may be opened in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// So many,
    pub connections: NonZeroU32,
    /// in each of these.
    pub per: Period,
}

/// What a policy says of some connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Where it stands.
    pub place: Place,
    /// Which way it is about.
    pub direction: Direction,
    /// The how manieth of its direction in its policy, from 1.
    pub number: usize,
    /// When it is asked among those of its tier: the lowest first.
    pub order: u16,
    /// What it does.
    pub action: Action,
    /// Who the other end is: one of these; anybody where there is none.
    pub peers: Vec<Peer>,
    /// What is asked for: one of these; anything where there is none.
    pub services: Vec<Service>,
    /// Whether it is logged.
    pub logging: Logging,
    /// How many connections may be opened in a time; further ones are dropped.
    pub rate: Option<Rate>,
    /// How many connections there may be at once; further ones are dropped.
    pub connections: Option<NonZeroU32>,
    /// From when on the rule is no longer there.
    pub expires: Option<Timestamp>,
}

/// Rules for some endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Unique among native policies, and among those of a network in Kubernetes.
    pub name: PolicyName,
    /// Where its document begins.
    pub place: Place,
    /// When it is asked.
    pub layer: Layer,
    /// The networks whose endpoints it is for,
    pub networks: Networks,
    /// and which endpoints of them.
    pub subject: EndpointSelector,
    /// What it says.
    pub rules: Vec<Rule>,
    /// In which directions is logged what it isolates from and no rule allows; none of one that does not isolate.
    pub logged: BTreeSet<Direction>,
}

/// What becomes of connections that no policy has a say about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stance {
    /// For messages.
    pub name: PolicyName,
    /// Where its document begins.
    pub place: Place,
    /// The networks it is for.
    pub networks: BTreeSet<NetworkName>,
    /// Of connections to their endpoints.
    pub ingress: Effect,
    /// Of connections that their endpoints open.
    pub egress: Effect,
    /// In which directions what it decides is logged.
    pub logged: BTreeSet<Direction>,
}

impl FromStr for PolicyName {
    type Err = ParsePolicyNameError;

    fn from_str(text: &str) -> Result<Self, ParsePolicyNameError> {
        let within = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit();
        let is_label = |label: &str| {
            let octets = label.as_bytes();
            octets.first().is_some_and(|first| within(*first))
                && octets.last().is_some_and(|last| within(*last))
                && octets.iter().all(|octet| within(*octet) || *octet == b'-')
        };
        if text.len() <= 253 && text.split('.').all(is_label) {
            Ok(Self(text.into()))
        } else {
            Err(ParsePolicyNameError(text.to_owned()))
        }
    }
}

impl Policy {
    /// Its name as a person knows it: `NETWORK/NAME` of one of Kubernetes, whose networks each have names of their own.
    pub fn title(&self) -> String {
        match (&self.layer, &self.networks) {
            (Layer::Additive(_), Networks::Named(names)) if names.len() == 1 => {
                names.iter().map(|network| format!("{network}/{}", self.name)).collect()
            }
            _ => self.name.to_string(),
        }
    }
}

impl Rule {
    /// Whether it is there no more.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

impl Stance {
    /// What becomes of connections of this direction.
    pub fn effect(&self, direction: Direction) -> Effect {
        match direction {
            Direction::Ingress => self.ingress,
            Direction::Egress => self.egress,
        }
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        })
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Audit => "audit",
            Self::Deny => "deny",
            Self::Allow => "allow",
        })
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        })
    }
}

impl FromStr for Rate {
    type Err = ParseRateError;

    fn from_str(text: &str) -> Result<Self, ParseRateError> {
        let error = || ParseRateError(text.to_owned());
        let (number, period) = text.split_once('/').ok_or_else(error)?;
        let per = match period {
            "s" => Period::Second,
            "m" => Period::Minute,
            "h" => Period::Hour,
            _ => return Err(error()),
        };
        let connections = number.parse().ok().filter(|_| !number.starts_with('+')).ok_or_else(error)?;
        Ok(Self { connections, per })
    }
}

/// Why a text is not a rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a rate: write NUMBER/s, NUMBER/m or NUMBER/h", shown(.0))]
pub struct ParseRateError(String);
