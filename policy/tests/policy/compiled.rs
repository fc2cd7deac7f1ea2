//! Data paths: what they do with packets is what the evaluator says, and a change of one costs what it should.

use std::{collections::BTreeSet, sync::Arc};

use model::{
    Family,
    data_path::{ChainName, DataPath, Key, Match, NEIGHBOURS, PacketVerdict, SetKind, Then},
};
use policy::{
    Action, Asked, Decision, Effect, Flow, Judge, Logging, Packet, Reason, RuleOf, Suite, Syntax, compile, evaluate,
};
use proptest::prelude::*;

use crate::{
    rig::{self, now},
    scene::{draw, drawn, policies, world},
};

/// Whether it is as documented: whatever is led to or asked is there, no elements of one set overlap, and no packet can
/// be led deeper than the kernel goes, or in circles.
fn assert_sound(path: &DataPath) {
    for (name, set) in path.sets.iter() {
        let overlap = |one: &Key, other: &Key| match (one, other) {
            (Key::Range(a, b), Key::Range(c, d)) => Family::of(*a) == Family::of(*c) && a <= d && c <= b,
            (Key::Ports(one, a, b), Key::Ports(other, c, d)) => one == other && a <= d && c <= b,
            (Key::Messages([a, b], [c, d]), Key::Messages([e, f], [g, h])) => a <= f && e <= b && c <= h && g <= d,
            (one, other) => one == other,
        };
        let keys: Vec<_> = set.keys().collect();
        for (place, key) in keys.iter().enumerate() {
            assert!(!keys[place + 1..].iter().any(|other| overlap(key, other)), "elements of {name} overlap: {keys:?}");
        }
    }
    fn deep(path: &DataPath, name: &ChainName, depth: usize) {
        // `NFT_JUMP_STACK_SIZE` of `include/net/netfilter/nf_tables.h`; `goto` takes no place in it, which is not
        // relied on.
        assert!(depth <= 16, "{name} is jumped to too deep");
        let chain = path.chains.get(name).unwrap_or_else(|| panic!("{name} is led to and not there"));
        let set = |name| path.sets.get(name).unwrap_or_else(|| panic!("{name} is asked and not there"));
        let follow = |verdict: &PacketVerdict| match verdict {
            PacketVerdict::Goto(next) | PacketVerdict::Jump(next) => deep(path, next, depth + 1),
            PacketVerdict::Accept | PacketVerdict::Drop => {}
        };
        for rule in &chain.rules {
            for found in &rule.matches {
                if let Match::In(_, name) | Match::NotIn(_, name) = found {
                    set(name);
                }
            }
            match &rule.then {
                Then::Verdict(verdict) => follow(verdict),
                Then::Lookup(_, map) => {
                    let verdicts: BTreeSet<_> = set(map).values().collect();
                    verdicts.into_iter().for_each(|verdict| follow(verdict.as_ref().expect("a map has verdicts")));
                }
                Then::Count(counter) => assert!(path.counters.contains_key(counter), "{counter} is not there"),
                Then::DropOverRate(..) | Then::DropOverConnections(_) | Then::Log => {}
            }
        }
    }
    for (name, _) in path.chains.iter().filter(|(_, chain)| chain.hook.is_some()) {
        deep(path, name, 1);
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
        let path = Arc::new(compile(&policies, &world, now()));
        let closed = Arc::new(path.closed());
        assert_sound(&path);
        let [judge, meanwhile] = [&path, &closed].map(|path| Judge::new(path.clone(), world.host()));
        for draw in &draws {
            let (from, to, asks) = drawn(&world, draw);
            let (source, target) = (world.party_with(from), world.party_with(to));
            let flow = Flow { from: source, to: target, asks };
            let verdict = evaluate(&policies, &world, &flow, now());
            let packet = Packet { from, to, asks };
            let ran = judge.run(&packet);
            if matches!(asks, Asked::Icmp(Family::Ipv6, kind, _) if NEIGHBOURS.contains(&kind)) {
                prop_assert!(!ran.is_dropped && ran.counted.is_empty(), "{}", flow);
                continue;
            }

            let is_denied = verdict.effect() == Effect::Deny;
            prop_assert_eq!(ran.is_dropped, is_denied, "{}\n{}", flow, path.commands("t"));
            prop_assert!(meanwhile.run(&packet).is_dropped || !is_denied, "{}\n{}", flow, closed.commands("t"));
            // What egress drops never comes to ingress.
            let mut counted = Vec::new();
            for (_, decision) in verdict.decisions() {
                counted.extend(counting(decision));
                if decision.effect == Effect::Deny {
                    break;
                }
            }
            let told: Vec<&String> = ran.counted.into_iter().filter_map(|counter| path.counters.get(counter)).collect();
            prop_assert_eq!(told, counted.iter().collect::<Vec<_>>(), "{}\n{}", flow, path.commands("t"));
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
