//! A world to try policies on.

use jiff::Timestamp;
use policy::{Document, Effect, Policies, Question, Suite, Syntax, World, evaluate, parse};

/// Two networks with containers in several roles, and something outside.
const WORLD: &str = r#"
networks:
  shop: {labels: {env: prod}, gateways: [10.1.0.1, "fd00:1::1"]}
  ops: {labels: {team: ops}, gateways: [10.2.0.1]}
host: [192.0.2.10, "2001:db8:2::10"]
endpoints:
- {name: web, network: shop, labels: {app: web, tier: front}, addresses: [10.1.0.2, "fd00:1::2"], ports: {http: 8080}}
- {name: api, network: shop, labels: {app: api, tier: back}, addresses: [10.1.0.3], ports: {http: 80, dns: 53/udp}}
- {name: db, network: shop, labels: {app: db, tier: back}, addresses: [10.1.0.4, "fd00:1::4"]}
- {name: bare, network: shop, addresses: [10.1.0.5]}
- {name: admin, network: ops, labels: {app: admin}, addresses: [10.2.0.2]}
- {name: probe, network: ops, labels: {app: web}, addresses: [10.2.0.3]}
names:
  api.example.com: [203.0.113.7]
  example.org: [203.0.113.9]
"#;

pub(crate) fn world() -> World {
    Suite::parse("world.yaml", Syntax::Yaml, WORLD).expect("the world above is valid").world
}

pub(crate) fn documents(text: &str) -> Vec<Document> {
    let told = |errors: Vec<_>| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    parse("p.yaml", Syntax::Yaml, text, None).map_err(told).unwrap_or_else(|told| panic!("{told}\nin:\n{text}"))
}

pub(crate) fn policies(text: &str) -> Policies {
    Policies::new(documents(text)).expect("no name is there twice")
}

pub(crate) fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().expect("literal")
}

/// What becomes of what is written as `FROM -> TO`, for each family of addresses that both have.
pub(crate) fn effects(policies: &Policies, flow: &str) -> Vec<Effect> {
    let world = world();
    let (from, to) = flow.split_once(" -> ").expect("an arrow");
    let question = Question::read(from, to).expect(flow);
    question.each_flow(&world, |it| evaluate(policies, &world, &it.judged, now()).effect()).expect(flow)
}

/// Holds verdicts against lines of `allow FROM -> TO` and `deny FROM -> TO`.
pub(crate) fn assert_verdicts(text: &str, expected: &str) {
    let policies = policies(text);
    let mut wrong = Vec::new();
    for line in expected.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (verdict, flow) = line.split_once(' ').expect("a verdict and a flow");
        for found in effects(&policies, flow.trim()).iter().map(ToString::to_string) {
            if found != verdict {
                wrong.push(format!("{flow}: expected {verdict}, found {found}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}\nwith:\n{text}", wrong.join("\n"));
}
