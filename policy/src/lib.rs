//! Documents that say who may talk to whom, and what they say of a connection.
//!
//! This crate reads documents, in two forms, into one model of rules, evaluates that, and compiles it to what nftables
//! enforces ([`Compilation`]). It enforces nothing and touches nothing: files are read by its caller, and time is an
//! argument.
//!
//! # When a connection is allowed
//!
//! Only the packet that opens a connection is judged; what belongs to the connection is let through both ways. A
//! connection is allowed if **egress at its source and ingress at its destination** allow it. An end that is no
//! endpoint (the host, or whoever is outside) has no say. What a container says to itself is always allowed. At one
//! end, and in one direction:
//!
//! 1. **Tiers.** The rules of native policies ([`Layer::Tier`]) that select the endpoint are asked in this order: the
//!    lowest tier first; in a tier, the lowest order first; at one order `audit`, then `deny`, then `allow`. The first
//!    `deny` or `allow` that matches decides. An `audit` that matches is noted, and the next rule is asked. A rule
//!    matches if one of its peers is the other end, and one of its services is what is asked for; without peers it is
//!    anybody, without services anything. From the moment on at which it expires, a rule is not there.
//! 2. **Kubernetes.** The policies of Kubernetes that select the endpoint come next, all at once ([`Layer::Additive`]).
//!    If none of them isolates in this direction, they have no say. Otherwise what a rule of one of them allows is
//!    allowed, as is ingress from the endpoint's own host, and the rest is denied.
//! 3. **Stance.** What is left is for the stance of the endpoint's network ([`Stance`]) to decide: allowed, where
//!    nothing else was written.
//!
//! # The host
//!
//! What the host opens to an endpoint carries an address of the host, mostly that of the gateway of the endpoint's
//! network, and what an endpoint opens to the host goes to one. [`Peer::Host`] is the host under whatever address,
//! [`Peer::World`] never is, and no [`Peer::Endpoints`] is. A [`Peer::Block`] is about addresses alone, and so about
//! the host as well if it has the one that is spoken with.
//!
//! Limits (`rate`, `connections`) are no part of this: a connection is judged as the first of its kind.

mod block;
mod compile;
mod course;
mod dns_name;
mod document;
mod doubt;
mod evaluate;
mod explanation;
mod label;
mod matrix;
mod mention;
mod outcome;
mod peer;
mod place;
mod policies;
mod rule;
mod run;
mod selector;
mod service;
mod suite;
mod tree;
mod warnings;
mod world;

pub use block::{AddressBlock, AddressBlockError};
pub use compile::{Compilation, Rest, compile, counters, log_chain, rests};
pub use course::Course;
pub use dns_name::{DnsName, DnsPattern, ParseDnsNameError};
pub use document::{Document, DocumentError, parse};
pub use doubt::Doubt;
pub use evaluate::{Decision, Reason, Verdict, evaluate};
pub use explanation::{EndExplanation, Explanation};
pub use label::{LabelKey, LabelValue, ParseLabelError};
pub use matrix::Matrix;
pub use mention::{Mention, MentionError, Question};
pub use outcome::{Outcome, OutcomeError};
pub use peer::{EndpointSelector, Networks, Peer};
pub use place::{Place, Position};
pub use policies::{Policies, PoliciesError, RuleOf};
pub use rule::{
    Action, Direction, Effect, Layer, Logging, ParsePolicyNameError, ParseRateError, Policy, PolicyName, Rate, Rule,
    Stance,
};
pub use run::{Judge, Packet, Ran};
pub use selector::{Identity, Requirement, Selector};
pub use service::{Asked, IcmpMessages, ParseServiceError, Ports, Service};
pub use suite::{Expectation, Suite};
pub use tree::{FILE_LIMIT, Problem, Syntax};
pub use warnings::{Warning, doubts, warnings};
pub use world::{Endpoint, Flow, NAME_LABEL, Network, Party, World, WorldError};
