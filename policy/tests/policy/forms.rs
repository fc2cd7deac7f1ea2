//! Documents in every way they can be written mean the same.

use policy::{Policies, Syntax, parse};

use crate::rig::effects;

const YAML: &str = r#"
apiVersion: fabric/v1
kind: Policy
metadata: {name: guard}
networks: [shop]
tier: 10
subject: {labels: {tier: [back, middle]}}
ingress:
- {action: allow, from: [{names: [web]}], ports: [80, 8000-8010/tcp], log: true, rate: 10/s, connections: 5}
- {action: deny, order: 200, expires: 2030-01-01T00:00:00Z}
"#;

const TOML: &str = r#"
apiVersion = "fabric/v1"
kind = "Policy"
networks = ["shop"]
tier = 10

[metadata]
name = "guard"

[subject.labels]
tier = ["back", "middle"]

[[ingress]]
action = "allow"
from = [{ names = ["web"] }]
ports = [80, "8000-8010/tcp"]
log = true
rate = "10/s"
connections = 5

[[ingress]]
action = "deny"
order = 200
expires = 2030-01-01T00:00:00Z
"#;

#[test]
fn yaml_json_and_toml_say_the_same() {
    let json = r#"{"apiVersion": "fabric/v1", "kind": "Policy", "metadata": {"name": "guard"}, "networks": ["shop"], "tier": 10,
        "subject": {"labels": {"tier": ["back", "middle"]}}, "ingress": [{"action": "allow", "from": [{"names": ["web"]}],
        "ports": [80, "8000-8010/tcp"], "log": true, "rate": "10/s", "connections": 5}, {"action": "deny", "order": 200,
        "expires": "2030-01-01T00:00:00Z"}]}"#;
    let listed = format!("{{\"apiVersion\": \"v1\", \"kind\": \"List\", \"metadata\": {{}}, \"items\": [{json}]}}");
    for (syntax, text) in [(Syntax::Yaml, YAML), (Syntax::Toml, TOML), (Syntax::Yaml, json), (Syntax::Yaml, &listed)] {
        let documents = parse("p", syntax, text, None).unwrap_or_else(|errors| panic!("{errors:?} in {text}"));
        let policies = Policies::new(documents).expect("one policy");
        let found = ["web -> api:80", "web -> api:81", "web -> db:8005", "bare -> api:80", "bare -> web:80"]
            .map(|flow| effects(&policies, flow)[0].to_string());
        assert_eq!(found, ["allow", "deny", "allow", "deny", "allow"], "{text}");
        let rule = &policies.policies()[0].rules[0];
        assert!(rule.rate.is_some() && rule.connections.is_some_and(|limit| limit.get() == 5));
    }
}

#[test]
fn several_documents_in_toml_are_a_list() {
    let item = TOML
        .replace("[[ingress]]", "[[items.ingress]]")
        .replace("[subject", "[items.subject")
        .replace("[metadata]", "[items.metadata]");
    let second = item.replace("\"guard\"", "\"other\"");
    let text = format!("apiVersion = \"v1\"\nkind = \"List\"\n[[items]]\n{item}\n[[items]]\n{second}");
    let documents = parse("p", Syntax::Toml, &text, None).unwrap_or_else(|errors| panic!("{errors:?} in {text}"));
    assert_eq!(Policies::new(documents).expect("two names").policies().len(), 2);
}

#[test]
fn every_rule_knows_its_line() {
    for (syntax, text, lines) in [(Syntax::Yaml, YAML, [9, 10]), (Syntax::Toml, TOML, [13, 21])] {
        let policies = Policies::new(parse("p", syntax, text, None).expect("valid")).expect("one policy");
        let found: Vec<u32> = policies.policies()[0].rules.iter().map(|rule| rule.place.position.line).collect();
        assert_eq!(found, lines, "{syntax:?}");
    }
}

#[test]
fn lists_of_kubernetes_are_read_with_and_without_kinds() {
    let item = "{metadata: {name: p, namespace: shop}, spec: {podSelector: {}}}";
    let with_kind = item.replacen('{', "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, ", 1);
    for (list, item) in [
        ("networking.k8s.io/v1, kind: NetworkPolicyList", item),
        ("networking.k8s.io/v1, kind: NetworkPolicyList", with_kind.as_str()),
        ("v1, kind: List", with_kind.as_str()),
    ] {
        let text = format!(
            "{{apiVersion: {list}, metadata: {{resourceVersion: '1'}}, items: [{item}]}}\n---\n---\n# nothing\n"
        );
        assert_eq!(parse("p", Syntax::Yaml, &text, None).expect(&text).len(), 1);
    }
}

#[test]
fn a_manifest_as_a_cluster_prints_it_is_read() {
    let text = r#"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  annotations: {note: "any text\nat all"}
  creationTimestamp: "2025-01-01T00:00:00Z"
  generation: 1
  labels: {app: web}
  name: web.v1
  namespace: shop
  resourceVersion: "123"
  uid: 0a1b2c3d-0000-0000-0000-000000000000
spec:
  podSelector: {}
  policyTypes:
  - Ingress
"#;
    assert_eq!(parse("p", Syntax::Yaml, text, None).expect("valid").len(), 1);
    let without = text.replace("  namespace: shop\n", "");
    parse("p", Syntax::Yaml, &without, None).expect_err("no network");
    let network = "ops".parse().expect("literal");
    assert_eq!(parse("p", Syntax::Yaml, &without, Some(&network)).expect("given").len(), 1);
}
