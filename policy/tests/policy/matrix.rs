//! Who reaches whom where there are many.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use model::Family;
use policy::{Asked, Effect, Flow, Matrix, Network, Party, Question, World, evaluate};

use crate::rig::{now, policies, world};

const POLICIES: &str = r#"
apiVersion: fabric/v1
kind: Policy
metadata: {name: native}
networks: ["*"]
tier: 10
subject: {labels: {app: web}}
ingress:
- {action: deny, from: [{cidr: 10.1.0.0/25}, {cidr: "fd00:1::/64"}], ports: [http, 22]}
- {action: allow, from: [{labels: {app: db}}]}
egress:
- {action: deny, to: [{networks: [ops]}, {entity: host}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: api}}}, {namespaceSelector: {matchLabels: {team: ops}}}]
    ports: [{port: 5432}]
"#;

/// The world of the other tests, each endpoint so many times.
fn crowd(times: u8) -> World {
    let few = world();
    let network = |name: &model::NetworkName| {
        let mut labels = few.labels_of(name);
        labels.remove(policy::NAME_LABEL);
        (name.clone(), Network { labels, gateways: few.gateways_of(name).collect(), ..Network::default() })
    };
    let of = |number: u8| {
        few.endpoints().iter().map(move |endpoint| {
            let mut endpoint = endpoint.clone();
            let name = endpoint.name.as_ref().expect("it has one");
            endpoint.name = Some(format!("{name}-{number}").parse().expect("a name"));
            // Some above and some below the middle of their network.
            let moved = |address: IpAddr| match address {
                IpAddr::V4(address) => Ipv4Addr::from(u32::from(address) + 12 * u32::from(number)).into(),
                IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) + 256 * u128::from(number)).into(),
            };
            endpoint.addresses = endpoint.addresses.iter().copied().map(moved).collect();
            endpoint
        })
    };
    let mut endpoints: Vec<_> = (0..times).flat_map(of).collect();
    // One that is on both networks.
    let mut second = endpoints[0].clone();
    second.network = "ops".parse().expect("literal");
    second.addresses = ["10.2.0.250".parse().expect("literal")].into();
    endpoints.push(second);
    World::new(few.networks().map(network).collect(), endpoints, Default::default(), few.host().collect())
        .expect("valid")
}

#[test]
fn of_many_those_together_that_no_policy_tells_apart() {
    let (policies, world) = (policies(POLICIES), crowd(20));
    let matrix = Matrix::new(&policies, &world, now());
    let shown = matrix.to_string();
    assert!(shown.contains("like it"), "{shown}");
    assert!(shown.lines().count() < 40 && matrix.left_out() == 0, "{shown}");
    let asked: Vec<Asked> = ["a:80", "a:8080", "a:22", "a:5432", "a:53/udp"]
        .iter()
        .map(|text| Question::read("host", text).expect("literal").port.expect("a port"))
        .map(|port| Asked::Port(port.protocol, port.port))
        .chain([Asked::echo(Family::Ipv4)])
        .collect();
    let mut verdicts = BTreeSet::new();
    for (from, to) in world.endpoints().iter().flat_map(|from| world.endpoints().iter().map(move |to| (from, to))) {
        if from.is_of_same_container(to) {
            assert_eq!(matrix.passes(&from.title(), &to.title(), Family::Ipv4, asked[0]), None);
            continue;
        }
        let ipv4 = |endpoint: &policy::Endpoint| endpoint.addresses.iter().copied().find(|it| it.is_ipv4());
        for asks in asked.iter().copied() {
            let party = |endpoint| Party::Endpoint { endpoint, address: ipv4(endpoint) };
            let flow = Flow { from: party(from), to: party(to), asks };
            let allowed = evaluate(&policies, &world, &flow, now()).effect() == Effect::Allow;
            verdicts.insert(allowed);
            let found = matrix.passes(&from.title(), &to.title(), Family::Ipv4, asks);
            assert_eq!(found, Some(allowed), "{} -> {}: {asks}", from.title(), to.title());
        }
    }
    assert_eq!(verdicts.len(), 2, "control: some is denied and some allowed");
}

#[test]
fn of_too_many_kinds_it_is_said_how_many_are_left_out() {
    let text: String = (0..120)
        .map(|number| {
            format!(
                "apiVersion: fabric/v1\nkind: Policy\nmetadata: {{name: p{number}}}\nnetworks: [shop]\nsubject: {{names: \
                 [web-{number}]}}\ningress: [{{action: deny, ports: [{}]}}]\n---\n",
                number + 1
            )
        })
        .collect();
    let matrix = Matrix::new(&policies(text.trim_end_matches("---\n")), &crowd(120), now());
    assert!(matrix.left_out() > 0);
    assert!(matrix.to_string().lines().count() < 400);
}

#[test]
fn of_one_on_several_networks_those_are_meant_that_it_shares() {
    let world = crowd(1);
    let flows = |from: &str, to: &str| {
        let question = Question::read(from, to).expect("literal");
        question
            .each_flow(&world, |it| format!("{} -> {}", it.opened.from, it.opened.to))
            .map_err(|error| error.to_string())
    };
    let only = |text: &str| Ok(vec![text.to_owned()]);
    assert_eq!(flows("web-0", "admin-0:80"), only("ops/web-0 (10.2.0.250) -> ops/admin-0 (10.2.0.2)"));
    assert_eq!(flows("api-0", "web-0:80"), only("shop/api-0 (10.1.0.3) -> shop/web-0 (10.1.0.2)"));
    assert_eq!(flows("web-0", "10.1.0.3:80"), only("shop/web-0 (10.1.0.2) -> shop/api-0 (10.1.0.3)"));
    let told = "`web-0` is an endpoint of several networks: write one of `ops/web-0`, `shop/web-0`";
    assert_eq!(flows("web-0", "203.0.113.7:80"), Err(told.to_owned()));
    assert_eq!(flows("host", "web-0"), Err(told.to_owned()));
}
