//! What rules are made of, in the words of nft: each function is named after what it is in a listing.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use model::Family;
use nftables::{
    expr::{
        CT, Expression, Fib, FibFlag, FibResult, Map, Meta, MetaKey, NamedExpression, Payload, PayloadField, Prefix,
        SetItem,
    },
    schema,
    stmt::{JumpTarget, Match, NAT, NATFamily, Operator, Statement, VerdictMap},
    types::{NfChainPolicy, NfChainType, NfFamily, NfHook},
};

use crate::element::TABLE;

/// A chain and its rules.
pub(super) struct Chain {
    chain: schema::Chain<'static>,
    rules: Vec<schema::Rule<'static>>,
}

impl Chain {
    /// A chain that rules jump to.
    pub(super) fn new<const N: usize>(name: &'static str, rules: [Rule; N]) -> Self {
        let chain = schema::Chain {
            family: NfFamily::INet,
            table: TABLE.into(),
            name: name.into(),
            ..schema::Chain::default()
        };
        let rules = rules.into_iter().map(|Rule { statements, comment }| schema::Rule {
            family: NfFamily::INet,
            table: TABLE.into(),
            chain: name.into(),
            expr: statements.into(),
            comment: comment.map(Into::into),
            ..schema::Rule::default()
        });
        Self { chain, rules: rules.collect() }
    }

    /// A chain that the kernel's hook calls.
    pub(super) fn base<const N: usize>(
        name: &'static str,
        kind: NfChainType,
        hook: NfHook,
        priority: i32,
        rules: [Rule; N],
    ) -> Self {
        let mut base = Self::new(name, rules);
        base.chain._type = Some(kind);
        base.chain.hook = Some(hook);
        base.chain.prio = Some(priority);
        base.chain.policy = Some(NfChainPolicy::Accept);
        base
    }

    /// The declaration of the chain, and its rules.
    pub(super) fn into_parts(self) -> (schema::Chain<'static>, Vec<schema::Rule<'static>>) {
        (self.chain, self.rules)
    }
}

/// What is done with a packet that fits.
pub(super) struct Rule {
    statements: Vec<Statement<'static>>,
    comment: Option<&'static str>,
}

pub(super) fn rule<const N: usize>(statements: [Statement<'static>; N]) -> Rule {
    Rule { statements: statements.into(), comment: None }
}

impl Rule {
    /// Says why, also to those who list the table; at most 127 octets.
    pub(super) fn comment(self, text: &'static str) -> Self {
        Self { comment: Some(text), ..self }
    }
}

// Statements.

pub(super) fn accept() -> Statement<'static> {
    Statement::Accept(None)
}

pub(super) fn drop() -> Statement<'static> {
    Statement::Drop(None)
}

/// `return`
pub(super) fn leave() -> Statement<'static> {
    Statement::Return(None)
}

pub(super) fn masquerade() -> Statement<'static> {
    Statement::Masquerade(None)
}

pub(super) fn jump(chain: &'static str) -> Statement<'static> {
    Statement::Jump(JumpTarget { target: chain.into() })
}

/// `dnat ip to KEY map @ADDRESSES : KEY map @PORTS`: to the address and the port that two maps hold under one key.
/// Without an entry in both the rule does not apply. Without a map of ports the port stays what it is.
pub(super) fn dnat<const N: usize>(
    family: Family,
    key: [Expression<'static>; N],
    addresses: &'static str,
    ports: Option<&'static str>,
) -> Statement<'static> {
    let key = concat(key);
    let looked_up_in = |map| {
        let map = Map { key: key.clone(), data: named(map) };
        Expression::Named(NamedExpression::Map(Box::new(map)))
    };
    let family = match family {
        Family::Ipv4 => NATFamily::IP,
        Family::Ipv6 => NATFamily::IP6,
    };
    Statement::DNAT(Some(NAT {
        addr: Some(looked_up_in(addresses)),
        family: Some(family),
        port: ports.map(looked_up_in),
        flags: None,
    }))
}

/// `KEY vmap { VALUE : VERDICT, … }`
pub(super) fn vmap<const N: usize>(
    key: Expression<'static>,
    verdicts: [(&'static str, Statement<'static>); N],
) -> Statement<'static> {
    // The crate writes a verdict that is an expression as a word, which nft does not take; as a statement it does.
    let items = verdicts.map(|(value, verdict)| SetItem::MappingStatement(Expression::String(value.into()), verdict));
    Statement::VerdictMap(VerdictMap { key, data: Expression::Named(NamedExpression::Set(items.into())) })
}

// Matches.

fn matches(left: Expression<'static>, op: Operator, right: Expression<'static>) -> Statement<'static> {
    Statement::Match(Match { left, right, op })
}

pub(super) fn iifname_in(set: &'static str) -> Statement<'static> {
    matches(meta(MetaKey::Iifname), Operator::EQ, named(set))
}

pub(super) fn iifname_not_in(set: &'static str) -> Statement<'static> {
    matches(meta(MetaKey::Iifname), Operator::NEQ, named(set))
}

pub(super) fn oifname_in(set: &'static str) -> Statement<'static> {
    matches(meta(MetaKey::Oifname), Operator::EQ, named(set))
}

pub(super) fn oifname_not_in(set: &'static str) -> Statement<'static> {
    matches(meta(MetaKey::Oifname), Operator::NEQ, named(set))
}

/// `iifname . oifname @SET`
pub(super) fn both_interfaces_in(set: &'static str) -> Statement<'static> {
    matches(concat([meta(MetaKey::Iifname), meta(MetaKey::Oifname)]), Operator::EQ, named(set))
}

/// `iif 0`: without an interface where it came in. In `postrouting` such is what the host itself sends, and what a
/// bridge passes on. `br_nf_post_routing` in `net/bridge/br_netfilter_hooks.c`; since Linux 5.4
/// `net/netfilter/nft_meta.c` has 0 for what is missing.
pub(super) fn iif_is_none() -> Statement<'static> {
    matches(meta(MetaKey::Iif), Operator::EQ, Expression::Number(0))
}

pub(super) fn nfproto_in(set: &'static str) -> Statement<'static> {
    matches(meta(MetaKey::Nfproto), Operator::EQ, named(set))
}

/// `meta l4proto { PROTOCOL, … }`
pub(super) fn l4proto_one_of<const N: usize>(protocols: [&'static str; N]) -> Statement<'static> {
    let items = protocols.map(|protocol| SetItem::Element(Expression::String(protocol.into())));
    matches(l4proto(), Operator::EQ, Expression::Named(NamedExpression::Set(items.into())))
}

pub(super) fn dport_is(port: u16) -> Statement<'static> {
    matches(dport(), Operator::EQ, Expression::Number(port.into()))
}

pub(super) fn ip_saddr_in(net: Ipv4Net) -> Statement<'static> {
    matches(field("ip", "saddr"), Operator::EQ, prefix(net))
}

pub(super) fn ip_daddr_in(net: Ipv4Net) -> Statement<'static> {
    matches(ip_daddr(), Operator::EQ, prefix(net))
}

/// `ip daddr @SET`
pub(super) fn ip_daddr_among(set: &'static str) -> Statement<'static> {
    matches(ip_daddr(), Operator::EQ, named(set))
}

/// `ip6 daddr @SET`
pub(super) fn ip6_daddr_among(set: &'static str) -> Statement<'static> {
    matches(ip6_daddr(), Operator::EQ, named(set))
}

pub(super) fn ip6_daddr_is(address: &'static str) -> Statement<'static> {
    matches(ip6_daddr(), Operator::EQ, Expression::String(address.into()))
}

/// `fib daddr type local`: to an address of the host.
pub(super) fn to_the_host() -> Statement<'static> {
    fib_type_local([FibFlag::Daddr], Operator::EQ)
}

/// `fib daddr . iif type local`: to an address that the host has on the interface where it came in.
pub(super) fn to_the_host_here() -> Statement<'static> {
    fib_type_local([FibFlag::Daddr, FibFlag::Iif], Operator::EQ)
}

/// `fib saddr type != local`: from no address of the host.
pub(super) fn not_from_the_host() -> Statement<'static> {
    fib_type_local([FibFlag::Saddr], Operator::NEQ)
}

fn fib_type_local<const N: usize>(flags: [FibFlag; N], op: Operator) -> Statement<'static> {
    let fib = Fib { result: FibResult::Type, flags: flags.into() };
    matches(Expression::Named(NamedExpression::Fib(fib)), op, Expression::String("local".into()))
}

pub(super) fn ct_state_is(state: &'static str) -> Statement<'static> {
    matches(ct_state(), Operator::IN, Expression::String(state.into()))
}

/// `ct status dnat`: of a connection that `dnat` led elsewhere.
pub(super) fn ct_status_is_dnat() -> Statement<'static> {
    matches(ct("status"), Operator::IN, Expression::String("dnat".into()))
}

// Expressions.

pub(super) fn ip_daddr() -> Expression<'static> {
    field("ip", "daddr")
}

pub(super) fn ip6_daddr() -> Expression<'static> {
    field("ip6", "daddr")
}

pub(super) fn l4proto() -> Expression<'static> {
    meta(MetaKey::L4proto)
}

/// `th dport`, whichever transport protocol it is.
pub(super) fn dport() -> Expression<'static> {
    field("th", "dport")
}

pub(super) fn ct_state() -> Expression<'static> {
    ct("state")
}

fn ct(key: &'static str) -> Expression<'static> {
    Expression::Named(NamedExpression::CT(CT { key: key.into(), family: None, dir: None }))
}

fn meta(key: MetaKey) -> Expression<'static> {
    Expression::Named(NamedExpression::Meta(Meta { key }))
}

fn field(protocol: &'static str, field: &'static str) -> Expression<'static> {
    let field = PayloadField { protocol: protocol.into(), field: field.into() };
    Expression::Named(NamedExpression::Payload(Payload::PayloadField(field)))
}

fn concat<const N: usize>(parts: [Expression<'static>; N]) -> Expression<'static> {
    Expression::Named(NamedExpression::Concat(parts.into()))
}

fn prefix(net: Ipv4Net) -> Expression<'static> {
    let address = |address: Ipv4Addr| Expression::String(address.to_string().into());
    let prefix = Prefix { addr: Box::new(address(net.network())), len: net.prefix_len().into() };
    Expression::Named(NamedExpression::Prefix(prefix))
}

/// `@NAME`, a set or map.
fn named(set: &str) -> Expression<'static> {
    Expression::String(format!("@{set}").into())
}
