//! What is told of documents that are none: where, what, and what to do.

use policy::{Policies, Suite, Syntax, parse};

use crate::rig::documents;

/// What is told of each of these texts.
fn told(syntax: Syntax, texts: &[&str]) -> String {
    let mut told = String::new();
    for text in texts {
        let errors = parse("p.yaml", syntax, text, None).expect_err(text);
        assert!(!errors.is_empty());
        for error in errors {
            told.push_str(&format!("{error}\n"));
            if let Some(hint) = error.hint() {
                told.push_str(&format!("  hint: {hint}\n"));
            }
        }
    }
    told
}

fn with_spec(spec: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p, namespace: shop}}\nspec:\n  {spec}\n"
    )
}

fn with_rule(rule: &str) -> String {
    format!("apiVersion: fabric/v1\nkind: Policy\nmetadata: {{name: p}}\nnetworks: [shop]\negress:\n- {rule}\n")
}

#[test]
fn of_kubernetes() {
    let specs = [
        "podSelecter: {}",
        "podSelector: {matchLabel: {a: b}}",
        "podSelector: {matchLabels: {app: 1}}",
        "podSelector: {matchLabels: {app: yes}}",
        "podSelector: {matchLabels: {\"a;b\": c}}",
        "podSelector: {matchLabels: {a: \"b\\0\"}}",
        "podSelector: {matchExpressions: [{key: a, operator: in, values: [b]}]}",
        "podSelector: {matchExpressions: [{key: a, operator: In}]}",
        "podSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}",
        "podSelector: {matchExpressions: [{operator: Exists}]}",
        "policyTypes: [ingress]",
        "ingress: {}",
        "ingress: [{from: [{}]}]",
        "ingress: [{to: []}]",
        "ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}]}]",
        "ingress: [{from: [{ipBlock: {}}]}]",
        "ingress: [{from: [{ipBlock: {cidr: 10.0.0.1}}]}]",
        "ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}}]}]",
        "ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16, fd00::/64]}}]}]",
        "ingress: [{ports: [{port: 0}]}]",
        "ingress: [{ports: [{port: 65536}]}]",
        "ingress: [{ports: [{port: \"80\"}]}]",
        "ingress: [{ports: [{port: HTTP}]}]",
        "ingress: [{ports: [{port: 80, protocol: tcp}]}]",
        "ingress: [{ports: [{endPort: 80}]}]",
        "ingress: [{ports: [{port: http, endPort: 80}]}]",
        "ingress: [{ports: [{port: 80, endPort: 79}]}]",
    ];
    let specs: Vec<String> = specs.into_iter().map(with_spec).collect();
    insta::assert_snapshot!(told(Syntax::Yaml, &specs.iter().map(String::as_str).collect::<Vec<_>>()));
}

#[test]
fn of_the_native_form() {
    let rules = [
        "{}",
        "{action: drop}",
        "{action: allow, form: []}",
        "{action: allow, from: [{entity: host}]}",
        "{action: allow, to: []}",
        "{action: allow, to: [{}]}",
        "{action: allow, to: [{cidr: 10.0.0.0/8, dns: [a.b]}]}",
        "{action: allow, to: [{names: [web], except: [10.0.0.0/8]}]}",
        "{action: allow, to: [{names: []}]}",
        "{action: allow, to: [{names: [Web]}]}",
        "{action: allow, to: [{entity: internet}]}",
        "{action: allow, to: [{dns: [web]}]}",
        "{action: allow, to: [{dns: [\"a.*.com\"]}]}",
        "{action: allow, to: [{labels: {a: []}}]}",
        "{action: allow, to: [{labels: {a: true}}]}",
        "{action: allow, to: [{networks: [a], networkLabels: {b: c}}]}",
        "{action: allow, to: [{networks: [a, \"*\"]}]}",
        "{action: allow, ports: []}",
        "{action: allow, ports: [0]}",
        "{action: allow, ports: [80/icmp]}",
        "{action: allow, icmp: [packet-too-big]}",
        "{action: deny, rate: 1/s}",
        "{action: allow, rate: 1/d}",
        "{action: allow, connections: 0}",
        "{action: allow, order: -1}",
        "{action: allow, log: maybe}",
        "{action: allow, expires: tomorrow}",
    ];
    let mut texts: Vec<String> = rules.into_iter().map(with_rule).collect();
    texts.push(
        with_rule("{action: allow}").replace("egress", "ingress").replace("allow}", "allow, from: [{dns: [a.b]}]}"),
    );
    texts.push(with_rule("{action: allow}").replace("[shop]", "[]"));
    texts.push(with_rule("{action: allow}").replace("name: p", "name: a/b"));
    texts.push(with_rule("{action: allow}").replace("networks: [shop]\n", ""));
    texts.push("apiVersion: fabric/v1\nkind: Stance\nmetadata: {name: s}\nnetworks: [\"*\"]\n".to_owned());
    texts.push("apiVersion: fabric/v1\nkind: Stance\nmetadata: {name: s}\nnetworks: [a]\ningress: audit\n".to_owned());
    insta::assert_snapshot!(told(Syntax::Yaml, &texts.iter().map(String::as_str).collect::<Vec<_>>()));
}

#[test]
fn of_files() {
    insta::assert_snapshot!(told(
        Syntax::Yaml,
        &[
            "a: [",
            "a: 1\na: 2",
            "- a",
            "text",
            "kind: NetworkPolicy",
            "apiVersion: networking.k8s.io/v1",
            "apiVersion: networking.k8s.io/v1beta1\nkind: NetworkPolicy",
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}",
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}",
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {namespace: p}",
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: Shop}",
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: shop}\nstatus: {condition: []}",
            "apiVersion: v1\nkind: List",
            "apiVersion: v1\nkind: List\nitems: {}",
            "apiVersion: v1\nkind: List\nitem: []",
            "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: List, items: []}]",
            // Each document is told of.
            "kind: A\napiVersion: b\n---\nkind: C\n",
        ],
    ));
    insta::assert_snapshot!(
        "toml",
        told(
            Syntax::Toml,
            &[
                "a = ",
                "apiVersion = 1\n",
                "apiVersion = \"fabric/v1\"\nkind = \"Policy\"\nnetworks = [\"shop\"]\n\n[metadata]\nnam = \"p\"\n"
            ]
        )
    );
}

#[test]
fn of_sets_and_of_tests() {
    let policy = with_rule("{action: allow}");
    let stance = "apiVersion: fabric/v1\nkind: Stance\nmetadata: {name: s}\nnetworks: [a]\n";
    let kubernetes = with_spec("podSelector: {}");
    let mut told: Vec<String> =
        [format!("{policy}---\n{policy}"), format!("{stance}---\n{stance}"), format!("{kubernetes}---\n{kubernetes}")]
            .iter()
            .map(|text| Policies::new(documents(text)).expect_err("twice").to_string())
            .collect();
    // A native policy and one of Kubernetes may have one name, and so may those of two networks.
    for text in
        [format!("{policy}---\n{kubernetes}"), format!("{kubernetes}---\n{}", kubernetes.replace("shop", "ops"))]
    {
        Policies::new(documents(&text)).expect("names of their own");
    }
    let network = "networks: {a: }\n";
    for text in [
        "",
        "expects: []",
        "a: b\n---\nc: d",
        "expect: [{from: a, to: b}]",
        "expect: [{from: a, to: 'b c', verdict: allow}]",
        "expect: [{from: a, to: b, port: 0, verdict: allow}]",
        "expect: [{from: a, to: b, verdict: audit}]",
        "now: today",
        "networks: {A: }",
        "networks: {a: {labels: {'b c': d}}}",
        "endpoints: [{name: a, network: b}]",
        &format!("{network}endpoints: [{{name: a, network: a}}, {{name: a, network: a}}]"),
        &format!(
            "{network}endpoints: [{{name: a, network: a, addresses: [::1]}}, {{name: b, network: a, addresses: [::1]}}]"
        ),
        &format!("{network}endpoints: [{{name: a, network: a, addresses: [x]}}]"),
        &format!("{network}endpoints: [{{name: a, network: a, ports: {{HTTP: 80}}}}]"),
        "names: {a: [::1]}",
    ] {
        told.push(Suite::parse("t.yaml", Syntax::Yaml, text).expect_err(text).to_string());
    }
    insta::assert_snapshot!(told.join("\n"));
}
