//! Data paths as text, and what they cost.

#![allow(clippy::disallowed_methods, reason = "the crate has no clock, its tests have")]

use std::{net::IpAddr, sync::Arc, time::Instant};

use model::{
    Protocol,
    data_path::{DataPath, Difference, Match, PacketVerdict, Then},
};
use policy::{Asked, Compilation, Judge, Packet, Policies, Suite, Syntax, World, compile};

use crate::rig::{documents, now, policies};

/// A database, and so many of the web with an address of each family and a named port.
fn world(web: usize) -> World {
    let address = |number: usize| format!("10.{}.{}.{}", number / 65_536, number / 256 % 256, number % 256);
    let endpoint = |number: usize| {
        format!(
            "- {{name: web{number}, network: shop, labels: {{app: web}}, addresses: [{}, \"fd00::{number:x}\"], ports: {{http: 8080}}}}\n",
            address(number)
        )
    };
    let web: String = (0..web).map(|number| endpoint(number + 1_000)).collect();
    let text = format!(
        "networks: {{shop: {{gateways: [10.0.0.1]}}, ops: }}\nendpoints:\n- {{name: db, network: shop, labels: {{app: db}}, \
         addresses: [10.0.0.2, \"fd00::2\"]}}\n- {{name: idle, network: ops, addresses: [10.9.0.2]}}\n{web}"
    );
    Suite::parse("w.yaml", Syntax::Yaml, &text).expect("valid").world
}

fn path(text: &str, world: &World) -> DataPath {
    compile(&policies(text), world, now())
}

/// A TCP connection to a port.
fn tcp(from: &str, to: &str, port: u16) -> Packet {
    let [from, to] = [from, to].map(|text| text.parse::<IpAddr>().expect("literal"));
    Packet { from, to, asks: Asked::Port(Protocol::Tcp, port.try_into().expect("from 1 on")) }
}

const DATABASE: &str = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: web}}}]
    ports: [{port: 5432}]
";
const WEB: &str = "apiVersion: fabric/v1
kind: Policy
metadata: {name: web}
networks: [shop]
subject: {labels: {app: web}}
egress:
- {action: audit, to: [{entity: world}], log: true}
- {action: deny, to: [{cidr: 192.0.2.0/24, except: [192.0.2.128/25]}], ports: [25, 465-587], icmp: [echo-request]}
- {action: deny, to: [{labels: {app: web}}], ports: [http]}
- {action: allow, to: [{entity: host}], ports: [53/udp], rate: 10/s, connections: 5}
- {action: deny, to: [{entity: host}]}
";

#[test]
fn a_data_path_as_text() {
    let text = path(&format!("{DATABASE}---\n{WEB}"), &world(2)).commands("policies");
    insta::assert_snapshot!(text);
}

#[test]
fn what_nobody_wrote_about_is_nowhere() {
    assert_eq!(compile(&Policies::default(), &world(2), now()), DataPath::default());
    // Whatever would be let through anyway, too.
    let allow =
        "apiVersion: fabric/v1\nkind: Policy\nmetadata: {name: a}\nnetworks: [shop]\ningress: [{action: allow}]\n";
    assert_eq!(path(allow, &world(2)), DataPath::default());
    let text = path(DATABASE, &world(2)).commands("policies");
    assert!(!text.contains("10.9.0.2"), "the other network has no policy:\n{text}");
}

#[test]
fn established_connections_pass_before_anything_else_is_asked() {
    let path = path(&format!("{DATABASE}---\n{WEB}"), &world(2));
    let bases: Vec<_> = path.chains.values().filter(|chain| chain.hook.is_some()).collect();
    assert_eq!(bases.len(), 4);
    for chain in bases {
        assert_eq!(chain.rules[0].matches, [Match::Established], "{}", chain.about);
        assert_eq!(chain.rules[0].then, Then::Verdict(PacketVerdict::Accept), "{}", chain.about);
    }
}

#[test]
fn one_more_endpoint_is_as_many_elements_with_ten_as_with_a_thousand() {
    let text = format!("{DATABASE}---\n{WEB}");
    let come = |web: usize| {
        let (before, after) = (path(&text, &world(web)), path(&text, &world(web + 1)));
        let Difference { new_elements, old_elements, .. } = before.difference(&after);
        assert!(before.difference(&after).is_of_elements() && old_elements.is_empty());
        new_elements.into_keys().map(|(name, _)| name).collect::<Vec<_>>()
    };
    let (few, many) = (come(10), come(1_000));
    assert_eq!(few, many);
    // Of each family: its class in egress, that it has one there and in any direction, who may come to the database and
    // is denied the web, its named port, the pair with itself, and that it is not the world.
    assert_eq!(few.len(), 14, "{few:?}");
}

#[test]
fn how_many_rules_a_packet_meets_depends_on_steps_alone() {
    let policy = |number: usize| {
        let (first, second) = (10_000 + number, number % 200);
        format!(
            "apiVersion: fabric/v1\nkind: Policy\nmetadata: {{name: p{number}}}\nnetworks: [shop]\ningress:\n\
             - {{action: deny, from: [{{labels: {{app: web}}}}, {{cidr: 10.{second}.0.0/16}}], ports: [{first}]}}\n\
             - {{action: allow, order: 200, from: [{{networks: ['*']}}], ports: [{number}]}}\n\
             - {{action: deny, order: 300}}\n---\n"
        )
    };
    let met = |web: usize, several: usize| {
        let text: String = (1..=several).map(policy).collect();
        let world = world(web);
        let judge = Judge::new(Arc::new(path(&text, &world)), world.host());
        // From a peer, from a range and from the world: none may, so all steps are asked.
        ["10.0.3.232", "10.1.7.7", "203.0.113.7"].map(|from| {
            let ran = judge.run(&tcp(from, "10.0.0.2", 9_999));
            assert!(ran.is_dropped, "{from}");
            ran.rules
        })
    };
    let few = met(10, 1);
    assert_eq!(few, met(1_000, 1));
    let many = met(10, 50);
    assert_eq!(many, met(1_000, 50));
    assert_eq!(many, met(10, 100));
    assert!(few.iter().chain(&many).all(|rules| *rules <= 28), "{few:?} {many:?}");
}

#[test]
fn many_classes_are_told_apart_by_few_rules_and_one_more_of_a_class_is_elements() {
    let policy = |number: usize| {
        format!(
            "apiVersion: fabric/v1\nkind: Policy\nmetadata: {{name: p{number}}}\nnetworks: [shop]\n\
             subject: {{labels: {{app: a{number}}}}}\ningress:\n- {{action: deny, ports: [{}]}}\n---\n",
            number + 1
        )
    };
    let endpoint = |number: usize, app: usize| {
        format!(
            "- {{name: c{number}, network: shop, labels: {{app: a{app}}}, addresses: [10.0.1.{number}, \"fd00::{number:x}\"]}}\n"
        )
    };
    let world = |endpoints: String| {
        let text = format!("networks: {{shop: }}\nendpoints:\n{endpoints}");
        Suite::parse("w.yaml", Syntax::Yaml, &text).expect("valid").world
    };
    let most = |classes: usize| {
        let policies = policies(&(0..classes).map(policy).collect::<String>());
        let all: String = (0..classes).map(|number| endpoint(number, number)).collect();
        let before = world(all.clone());
        let path = compile(&policies, &before, now());
        let judge = Judge::new(Arc::new(path.clone()), before.host());
        let mut most = 0;
        for (number, port) in (0..classes).flat_map(|number| [(number, number + 1), (number, number + 2)]) {
            for to in [format!("10.0.1.{number}"), format!("fd00::{number:x}")] {
                let from = if to.contains(':') { "2001:db8::7" } else { "203.0.113.7" };
                let ran = judge.run(&tcp(from, &to, port.try_into().expect("few")));
                assert_eq!(ran.is_dropped, port == number + 1, "{to}: {port}");
                most = most.max(ran.rules);
            }
        }
        for app in [0, classes / 2, classes - 1] {
            let after = compile(&policies, &world(format!("{all}{}", endpoint(200, app))), now());
            let difference = path.difference(&after);
            assert!(difference.is_of_elements() && difference.old_elements.is_empty(), "{difference}");
        }
        most
    };
    let few = most(4);
    for classes in [16_usize, 64, 150] {
        let doubled = classes.ilog2() as usize;
        let most = most(classes);
        // Each bit is up to three rules, and of numbers that are not chosen some have more in common than others.
        assert!(most <= few + 3 * doubled + 20, "{classes}: {most}, of 4 {few}");
    }
}

#[test]
fn another_port_in_a_rule_is_elements() {
    let world = world(10);
    let before = path(&format!("{DATABASE}---\n{WEB}"), &world);
    for (old, new) in [
        ("port: 5432", "port: 5433"),
        ("[25, 465-587]", "[25, 443, 465-587]"),
        ("icmp: [echo-request]", "icmp: [any]"),
        ("ports: [http]", "ports: [https]"),
    ] {
        let text = format!("{DATABASE}---\n{WEB}");
        assert!(text.contains(old));
        let difference = before.difference(&path(&text.replace(old, new), &world));
        assert!(difference.is_of_elements() && !difference.is_empty(), "{old} to {new}: {difference:?}");
    }
}

#[test]
fn one_that_changes_its_class_is_led_elsewhere_by_elements() {
    let (before, text) = (world(10), format!("{DATABASE}---\n{WEB}"));
    let (old, new) = (path(&text, &before), path(&text.replace("app: web}}\negress", "app: db}}\negress"), &before));
    let mut changed = old.clone();
    changed.apply(&old.difference(&new));
    assert_eq!(changed, new);
}

/// `cargo test --release -p policy --test policy -- --ignored --nocapture compile_time` prints it.
#[test]
#[ignore = "it measures, and asserts nothing"]
fn compile_time() {
    let policy = |number: usize| {
        format!(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p{number}, namespace: shop}}\nspec:\n  \
             podSelector: {{matchLabels: {{app: a{number}}}}}\n  policyTypes: [Ingress, Egress]\n  ingress:\n  - from: [{{podSelector: \
             {{matchLabels: {{app: a{}}}}}}}, {{ipBlock: {{cidr: 10.{number}.0.0/16}}}}]\n    ports: [{{port: 80}}, {{port: http}}]\n  \
             egress:\n  - to: [{{podSelector: {{}}}}]\n---\n",
            (number + 1) % 100
        )
    };
    let endpoint = |number: usize| {
        format!(
            "- {{name: c{number}, network: shop, labels: {{app: a{}, tier: t}}, addresses: [10.0.{}.{}, \"fd00::{number:x}\"], ports: {{http: 8080}}}}\n",
            number % 100,
            number / 256 + 1,
            number % 256
        )
    };
    let world = |endpoints: usize| {
        let endpoints: String = (0..endpoints).map(endpoint).collect();
        let text = format!("networks: {{shop: }}\nendpoints:\n{endpoints}");
        Suite::parse("w.yaml", Syntax::Yaml, &text).expect("valid").world
    };
    let policies = Policies::new(documents(&(0..100).map(policy).collect::<String>())).expect("names of their own");
    let (before, after) = (world(1_000), world(1_001));
    let timed = |what: &str, act: &dyn Fn() -> DataPath| {
        let begun = Instant::now();
        let path = act();
        println!("{what}: {:?}", begun.elapsed());
        path
    };
    let old = timed("1,000 endpoints, 100 policies: compiled in", &|| compile(&policies, &before, now()));
    let new = timed("1,001 endpoints: compiled in", &|| compile(&policies, &after, now()));
    let begun = Instant::now();
    let difference = old.difference(&new);
    println!("the difference of the two: {:?}, {} elements", begun.elapsed(), difference.new_elements.len());
    let mut compilation = Compilation::new(&policies, before, now());
    let comer = after.endpoints().last().expect("the last of many").clone();
    let name = comer.name.clone().expect("all have names");
    for (what, endpoints) in [("comes", vec![comer.clone()]), ("goes", vec![]), ("comes again", vec![comer])] {
        let begun = Instant::now();
        let known = compilation.path().clone();
        assert!(compilation.change([(name.clone(), endpoints)].into()));
        let followed = begun.elapsed();
        let difference = known.difference(compilation.path());
        assert!(difference.is_of_elements());
        let elements = difference.new_elements.len() + difference.old_elements.len();
        println!(
            "one endpoint {what}: followed in {followed:?}, with the difference {:?}, {elements} elements",
            begun.elapsed()
        );
    }
    assert_eq!(**compilation.path(), new);
    let elements: usize = old.sets.values().map(|set| set.len()).sum();
    let rules: usize = old.chains.values().map(|chain| chain.rules.len()).sum();
    println!("{} sets with {elements} elements, {} chains with {rules} rules", old.sets.len(), old.chains.len());
}
