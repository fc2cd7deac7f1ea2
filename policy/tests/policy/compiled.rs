//! Data paths: what they do with packets is what the evaluator says, and a change of one costs what it should.

use model::{
    Family,
    data_path::{DataPath, Hook, NEIGHBOURS, SetKind},
};
use policy::{Action, Asked, Decision, Effect, Flow, Logging, Party, Reason, RuleOf, Suite, Syntax, compile, evaluate};
use proptest::prelude::*;

use crate::{
    interpreter::{Packet, run},
    rig::{self, now},
    scene::{draw, drawn, policies, world},
};

/// Where the kernel takes what one party sends to another.
pub(crate) fn hooks(from: &Party<'_>, to: &Party<'_>) -> &'static [Hook] {
    match (from, to) {
        (Party::Host { .. }, _) => &[Hook::Output],
        (_, Party::Host { .. }) => &[Hook::Input],
        _ => &[Hook::ForwardEgress, Hook::ForwardIngress],
    }
}

/// The rules of one end that count the connection, as chains name them: those that audit, and the one that decides if
/// it logs or limits.
fn counting(decision: &Decision<'_>) -> Vec<String> {
    let title =
        |of: &RuleOf<'_>| format!("policy {}, {} rule {}", of.policy.title(), of.rule.direction, of.rule.number);
    let is_special = |of: &RuleOf<'_>| {
        of.rule.action == Action::Audit
            || of.rule.logging == Logging::On
            || of.rule.rate.is_some()
            || of.rule.connections.is_some()
    };
    let deciding = match &decision.reason {
        Reason::Rule(rule) if is_special(rule) => Some(rule),
        _ => None,
    };
    decision.audits.iter().chain(deciding).map(title).collect()
}

proptest! {
    // 1,000 sets of policies, 50 connections each: 50,000 in all.
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_data_path_does_what_the_evaluator_says(
        policies in policies(),
        world in world(),
        draws in prop::collection::vec(draw(), 50),
    ) {
        let path = compile(&policies, &world, now());
        let closed = path.closed();
        for draw in &draws {
            let (from, to, asks) = drawn(&world, draw);
            let (source, target) = (world.party_with(from), world.party_with(to));
            let flow = Flow { from: source, to: target, asks };
            let verdict = evaluate(&policies, &world, &flow, now());
            let ran = run(&path, &Packet { from, to, asks, hooks: hooks(&source, &target) });
            if matches!(asks, Asked::Icmp(Family::Ipv6, kind, _) if NEIGHBOURS.contains(&kind)) {
                prop_assert!(!ran.is_dropped && ran.counted.is_empty(), "{}", flow);
                continue;
            }

            let is_denied = verdict.effect() == Effect::Deny;
            prop_assert_eq!(ran.is_dropped, is_denied, "{}\n{}", flow, path.commands("t"));
            let meanwhile = run(&closed, &Packet { from, to, asks, hooks: hooks(&source, &target) });
            prop_assert!(meanwhile.is_dropped || !is_denied, "{}\n{}", flow, closed.commands("t"));
            // What egress drops never comes to ingress.
            let mut counted = Vec::new();
            for (_, decision) in verdict.decisions() {
                counted.extend(counting(decision));
                if decision.effect == Effect::Deny {
                    break;
                }
            }
            prop_assert_eq!(&ran.counted, &counted, "{}\n{}", flow, path.commands("t"));
        }
    }

    #[test]
    fn a_difference_makes_the_new_of_the_old(
        (before, after) in (policies(), policies()),
        (world_before, world_after) in (world(), world()),
    ) {
        let paths = [
            DataPath::default(),
            compile(&before, &world_before, now()),
            compile(&before, &world_after, now()),
            compile(&after, &world_after, now()),
        ];
        for old in &paths {
            for new in &paths {
                let difference = old.difference(new);
                let mut changed = old.clone();
                changed.apply(&difference);
                prop_assert_eq!(&changed, new);
                prop_assert_eq!(difference.is_empty(), old == new);
                let has_same_shape = old.chains == new.chains && old.sets.keys().eq(new.sets.keys());
                prop_assert_eq!(difference.is_of_elements(), has_same_shape);
            }
        }
    }
}

#[test]
fn a_rule_that_says_something_else_asks_other_ports() {
    let world = "networks: {shop: }\nendpoints: [{name: a, network: shop, addresses: [10.0.0.2]},
  {name: b, network: shop, addresses: [10.0.0.3]}, {name: c, network: shop, addresses: [10.0.0.4]}]\n";
    let world = Suite::parse("w.yaml", Syntax::Yaml, world).expect("valid").world;
    let path = |rule: &str| {
        let text = format!(
            "apiVersion: fabric/v1\nkind: Policy\nmetadata: {{name: p}}\nnetworks: ['*']\nsubject: {{names: [a]}}\n\
             ingress: [{rule}, {{action: deny, order: 900, from: [{{entity: world}}]}}]\n"
        );
        compile(&rig::policies(&text), &world, now())
    };
    let before = path("{action: deny, from: [{names: [b]}], ports: [53/udp]}");
    let only_ports = before.difference(&path("{action: deny, from: [{names: [b]}], ports: [54/udp]}"));
    assert!(only_ports.is_of_elements() && !only_ports.is_empty(), "{only_ports}");
    for rule in [
        "{action: allow, from: [{names: [b]}], ports: [123/udp]}",
        "{action: deny, from: [{names: [c]}], ports: [123/udp]}",
        "{action: deny, order: 7, from: [{names: [b]}], ports: [123/udp]}",
    ] {
        let difference = before.difference(&path(rule));
        let mut stay = difference.sets().filter(|set| !difference.new_sets.contains(set));
        assert!(stay.all(|set| set.kind != SetKind::Ports), "{rule}: {difference}");
        assert!(difference.new_sets.iter().any(|set| set.kind == SetKind::Ports), "control: it asks some");
    }
}
