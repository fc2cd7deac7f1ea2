//! Ends of which nobody said everything: what is certain all the same, and what is not.

use std::{collections::BTreeSet, net::IpAddr};

use model::Family;
use policy::{Endpoint, Explanation, Flow, Matrix, Party, Policies, Question, Suite, Syntax, World, evaluate};
use proptest::prelude::*;

use crate::{
    rig::{now, policies},
    scene,
};

const WORLD: &str = "
networks: {web: {subnets: [10.1.0.0/24, 'fd00:1::/64'], gateways: [10.1.0.1, 'fd00:1::1']}, bare: , v4: {subnets: [10.3.0.0/24]}}
endpoints:
- {name: server, network: web, labels: {app: server}, addresses: [10.1.0.2], ports: {http: 80}}
- {name: unsaid, network: web, labels: {app: unsaid}}
- {name: nowhere, network: bare, labels: {app: nowhere}}
- {name: four, network: v4, labels: {app: four}, addresses: [10.3.0.2]}
";

fn world() -> World {
    Suite::parse("world.yaml", Syntax::Yaml, WORLD).expect("valid").world
}

fn native(rule: &str) -> Policies {
    policies(&format!("apiVersion: fabric/v1\nkind: Policy\nmetadata: {{name: p}}\nnetworks: ['*']\n{rule}\n"))
}

/// The verdicts on a connection, each with what is not certain of it.
fn told(policies: &Policies, from: &str, to: &str) -> Vec<String> {
    let world = world();
    let question = Question::read(from, to).expect("literal");
    let told = question.each_flow(&world, |course| {
        let explanation = Explanation::new(course, &evaluate(policies, &world, &course.judged, now()));
        [vec![explanation.verdict], explanation.doubts].concat().join("; ")
    });
    let mut told = told.expect("somebody");
    told.dedup();
    told
}

#[test]
fn what_does_not_depend_on_what_nobody_said_is_certain() {
    let kubernetes = |spec: &str| {
        let head = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: web}\n";
        policies(&format!("{head}spec: {spec}\n"))
    };
    let from_all = kubernetes("{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}");
    let deny = |cidr: &str| native(&format!("ingress: [{{action: deny, from: [{{cidr: '{cidr}'}}]}}]"));
    for (policies, from, to, expected) in [
        // The server has an address of IPv4 only, so that is what is spoken.
        (&from_all, "web/app=new", "server:80", &["allow"][..]),
        (&from_all, "bare/app=new", "server:80", &["allow"]),
        (&from_all, "web/app=new", "web/app=other:80", &["allow", "deny"]),
        (&deny("10.1.0.0/24"), "web/app=new", "server:80", &["deny"]),
        (&deny("10.0.0.0/8"), "unsaid", "server:80", &["deny"]),
        (&deny("10.1.0.0/24"), "web/app=new", "web/app=other:80", &["deny", "allow"]),
        (&deny("10.2.0.0/24"), "web/app=new", "server:80", &["allow"]),
        (&deny("fd00:1::/64"), "bare/app=new", "server:80", &["allow"]),
        (&deny("0.0.0.0/0"), "nowhere", "server:80", &["deny"]),
        (&deny("0.0.0.0/0"), "nowhere", "nowhere:80", &["allow"]),
    ] {
        assert_eq!(told(policies, from, to), expected, "{from} -> {to}");
    }
    // What decides anyway, and what denies at the other end.
    let first = native("ingress: [{action: deny, order: 1}, {action: allow, from: [{cidr: 10.1.0.0/25}]}]");
    assert_eq!(told(&first, "web/app=new", "server:80"), ["deny"]);
    let both = native("egress: [{action: deny}]\ningress: [{action: deny, from: [{cidr: 10.1.0.0/25}]}]");
    assert_eq!(told(&both, "web/app=new", "server:80"), ["deny"]);
}

#[test]
fn what_depends_on_what_nobody_said_is_told_with_how_to_say_it() {
    let half = native("ingress: [{action: deny, from: [{cidr: 10.1.0.0/25}]}]");
    let http = native("ingress: [{action: allow, ports: [http]}, {action: deny, order: 200}]");
    let mut all = String::new();
    for (policies, from, to) in [
        (&half, "web/app=new", "server:80"),
        (&half, "bare/app=new", "server:80"),
        (&half, "nowhere", "server:80"),
        (&half, "host", "bare/app=new:80"),
        (&http, "server", "web/app=new:80"),
        (&http, "server", "web/app=new:80/udp"),
        (&http, "server", "unsaid:80"),
    ] {
        all.push_str(&format!("{from} -> {to}\n  {}\n", told(policies, from, to).join("\n  ")));
    }
    let matrix = Matrix::new(&half, &world(), now());
    all.push_str(&format!("matrix\n  {}\n", matrix.doubts().collect::<Vec<_>>().join("\n  ")));
    insta::assert_snapshot!(all);
}

#[test]
fn an_expectation_that_depends_on_what_nobody_said_is_not_met() {
    let half = native("ingress: [{action: deny, from: [{cidr: 10.1.0.0/25}]}]");
    let expect =
        "expect:\n- {from: unsaid, to: server, port: 80, verdict: allow}\n- {from: four, to: server, verdict: allow}\n";
    let suite = Suite::parse("t.yaml", Syntax::Yaml, &format!("{WORLD}{expect}")).expect("valid");
    let outcomes = suite.outcomes(&half, now()).expect("somebody");
    assert_eq!(outcomes.iter().map(|it| it.holds).collect::<Vec<_>>(), [false, true]);
    assert!(
        outcomes[0].to_string().contains("not certain: ingress rule 1 of policy `p` at p.yaml:5:11"),
        "{}",
        outcomes[0]
    );
    let error =
        Suite::parse("t.yaml", Syntax::Yaml, "networks: {web: {subnets: [10.1.0.0]}}").expect_err("one address");
    assert_eq!(error.to_string(), "t.yaml:1:28: `10.1.0.0` is one address: write `10.1.0.0/32`");
}

/// The same container, of which nobody said what it is called, which address it has and what it calls its ports.
fn imagined(endpoint: &Endpoint) -> Endpoint {
    Endpoint { name: None, addresses: BTreeSet::new(), ports: BTreeSet::new(), ..endpoint.clone() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_certain_is_so_whatever_turns_out(
        policies in scene::policies(),
        world in scene::world(),
        draws in prop::collection::vec(scene::draw(), 1..12),
        last in 2u8..255,
    ) {
        for draw in &draws {
            let (from, to, asks) = scene::drawn(&world, draw);
            for is_from in [true, false] {
                let Party::Endpoint { endpoint, .. } = world.party_with(if is_from { from } else { to }) else { continue };
                let family = Family::of(from);
                let number = endpoint.network.as_str().trim_start_matches('n');
                let subnet = match family {
                    Family::Ipv4 => format!("10.{number}.0.0/24"),
                    Family::Ipv6 => format!("fd00:{number}::/64"),
                };
                let vague = imagined(endpoint);
                let flow = |own: Party<'_>| match is_from {
                    true => evaluate(&policies, &world, &Flow { from: own, to: world.party_with(to), asks }, now()),
                    false => evaluate(&policies, &world, &Flow { from: world.party_with(from), to: own, asks }, now()),
                };
                let verdict = flow(Party::Within { endpoint: &vague, subnet: subnet.parse().expect("a range") });
                if !verdict.doubts().is_empty() {
                    continue;
                }
                let address: IpAddr = match family {
                    Family::Ipv4 => format!("10.{number}.0.{last}"),
                    Family::Ipv6 => format!("fd00:{number}::{last:x}"),
                }.parse().expect("an address");
                for ports in [&endpoint.ports, &BTreeSet::new()] {
                    let real = Endpoint { ports: ports.clone(), ..vague.clone() };
                    let found = flow(Party::Endpoint { endpoint: &real, address: Some(address) }).effect();
                    prop_assert_eq!(found, verdict.effect(), "{} {} {}", address, is_from, asks);
                }
            }
        }
    }
}
