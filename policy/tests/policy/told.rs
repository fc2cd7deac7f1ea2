//! Verdicts and warnings as people read them.

use policy::{Explanation, Policies, Question, evaluate, warnings};

use crate::rig::{documents, effects, now, policies, world};

const POLICIES: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: api}}}]
---
apiVersion: fabric/v1
kind: Policy
metadata: {name: guard}
networks: [shop]
tier: 10
ingress:
- {action: audit, from: [{entity: world}]}
- {action: deny, from: [{cidr: 203.0.113.0/24}], order: 5}
- {action: allow, from: [{networks: [ops]}], ports: [22]}
---
apiVersion: fabric/v1
kind: Stance
metadata: {name: closed}
networks: [ops]
ingress: deny
";

fn explained(policies: &Policies, flow: &str) -> String {
    let world = world();
    let (from, to) = flow.split_once(" -> ").expect("an arrow");
    let told = Question::read(from, to)
        .expect(flow)
        .each_flow(&world, |it| Explanation::new(it, &evaluate(policies, &world, &it.judged, now())).to_string());
    told.expect(flow).concat()
}

#[test]
fn a_verdict_says_what_decided_and_what_would_have_to_change() {
    let policies = policies(POLICIES);
    let flows = [
        "api -> db:5432",
        "web -> db:5432",
        "host -> db:22",
        "admin -> web:22",
        "203.0.113.7 -> web:80",
        "198.51.100.1 -> web:80",
        "web -> admin:80",
        "admin -> web:80",
        "shop/app=api -> db:1",
        "db -> db:1",
        "shop/app=api -> shop/app=db:1",
        "host -> 203.0.113.7:443",
    ];
    insta::assert_snapshot!(flows.map(|flow| explained(&policies, flow)).join("\n"));
}

#[test]
fn limits_and_the_log_are_told_and_change_no_verdict() {
    let text = "
apiVersion: fabric/v1
kind: Policy
metadata: {name: limits}
networks: [shop]
subject: {names: [db]}
ingress:
- {action: audit, from: [{networks: [ops]}], log: true}
- {action: allow, from: [{names: [web]}], rate: 10/s, connections: 5, log: true}
- {action: allow, from: [{names: [api]}], connections: 1}
- {action: allow, from: [{networks: [ops]}], rate: 1/h, order: 101}
- {action: deny, from: [{names: [bare]}], log: true}
";
    let limited = policies(text);
    let flows = ["web -> db:1", "api -> db:1", "admin -> db:1", "bare -> db:1"];
    insta::assert_snapshot!(flows.map(|flow| explained(&limited, flow)).join("\n"));
    let without = [", log: true", ", rate: 10/s", ", rate: 1/h", ", connections: 5", ", connections: 1"];
    let bare = without.iter().fold(text.to_owned(), |text, field| text.replace(field, ""));
    for flow in flows {
        assert_eq!(effects(&limited, flow), effects(&policies(&bare), flow), "{flow}");
    }
}

#[test]
fn what_is_probably_not_meant_is_told() {
    let text = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: nobody, namespace: shop}
spec:
  podSelector: {matchLabels: {app: dbs}}
  policyTypes: [Egress]
  ingress: [{}]
  egress: [{to: [{podSelector: {matchLabels: {app: wbe}}}, {namespaceSelector: {matchLabels: {team: ops}}}]}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: early, namespace: later}
spec: {podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: x}}}]}]}
---
apiVersion: fabric/v1
kind: Policy
metadata: {name: first}
networks: ['*']
tier: 1
ingress:
- {action: deny, from: [{cidr: 10.0.0.0/8}], ports: [1-100, any/udp]}
- {action: audit}
egress:
- {action: deny, to: [{entity: world}], expires: '2025-01-01T00:00:00Z'}
---
apiVersion: fabric/v1
kind: Policy
metadata: {name: second}
networks: [shop]
subject: {names: [web]}
ingress:
- {action: allow, from: [{cidr: 10.2.0.0/16}], ports: [80, 53/udp]}
- {action: allow, from: [{cidr: 10.2.0.0/16}], ports: [80, 101]}
- {action: allow, from: [{cidr: 11.0.0.0/8}], ports: [80]}
- {action: allow, ports: [80]}
egress:
- {action: allow, to: [{entity: world}]}
---
apiVersion: fabric/v1
kind: Stance
metadata: {name: closed}
networks: [nowhere]
egress: deny
";
    let policies = Policies::new(documents(text)).expect("each name once");
    let told: Vec<_> = warnings(&policies, Some(&world()), now()).iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(told.join("\n"));
    let none = warnings(&self::policies(POLICIES), Some(&world()), now());
    assert_eq!(none, []);
}

#[test]
fn what_is_advised_to_come_before_a_rule_can() {
    for (order, action, advised) in [
        ("tier: 0\norder: 0", "deny", "to allow it, change that rule: nothing comes before it"),
        ("tier: 0\norder: 1", "deny", "let an `allow` come before it: in tier 0 with order 0\n"),
        ("tier: 0", "deny", "come before it: in tier 0 with order 99 or lower\n"),
        ("tier: 1\norder: 0", "deny", "come before it: in a lower tier than 1\n"),
        ("tier: 2\norder: 7", "deny", "in a lower tier than 2, or in tier 2 with order 6 or lower\n"),
        (
            "tier: 0\norder: 0",
            "allow",
            "to deny it, change that rule, or let a `deny` come before it: in tier 0 with order 0\n",
        ),
        ("tier: 2\norder: 7", "allow", "in a lower tier than 2, or in tier 2 with order 7 or lower\n"),
    ] {
        let text = format!(
            "apiVersion: fabric/v1\nkind: Policy\nmetadata: {{name: p}}\nnetworks: [shop]\n{order}\ningress: [{{action: {action}}}]\n"
        );
        let told = explained(&policies(&text), "admin -> web:80");
        assert!(told.contains(advised), "{order} {action}: {told}");
    }
}
