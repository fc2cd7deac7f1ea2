//! What holds whatever is written.

use std::collections::BTreeMap;

use model::{Family, Protocol};
use policy::{Asked, Effect, Flow, Matrix, Party, Policies, Suite, Syntax, evaluate, parse};
use proptest::prelude::*;

use crate::rig::{documents, effects, now, world};

/// Texts that look like documents, so that more than the first line of them is read.
fn almost_a_document() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "apiVersion: fabric/v1\n",
        "apiVersion: networking.k8s.io/v1\n",
        "kind: Policy\n",
        "kind: NetworkPolicy\n",
        "kind: Stance\n",
        "metadata: {name: a, namespace: b}\n",
        "networks: [a]\n",
        "spec:\n",
        "  ingress:\n",
        "  - from: [{}]\n",
        "  - {}\n",
        "egress:\n",
        "- action: allow\n",
        "  to:\n",
        "  - cidr: ::/0\n",
        "    except: [1::/16]\n",
        "  ports: [80-90/udp, a]\n",
        "---\n",
        "items: []\n",
        "- &a [*a]\n",
        "podSelector: null\n",
        "\t",
        ": ",
        "'",
        "{",
        "]",
        "\u{0}",
        "é",
        "<<: *a\n",
        "!!binary x\n",
        "expires: 9999\n",
    ]);
    prop_oneof![prop::collection::vec(word, 0..14).prop_map(|words| words.concat()), any::<String>()]
}

/// A rule of a Kubernetes policy, one of some that matter on the world of these tests.
fn rule() -> impl Strategy<Value = String> {
    let peers = prop::sample::subsequence(
        vec![
            "{podSelector: {matchLabels: {app: web}}}",
            "{podSelector: {matchExpressions: [{key: tier, operator: NotIn, values: [back]}]}}",
            "{namespaceSelector: {matchLabels: {team: ops}}}",
            "{namespaceSelector: {}, podSelector: {matchLabels: {app: admin}}}",
            "{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}",
            "{ipBlock: {cidr: 203.0.113.0/24}}",
        ],
        0..3,
    );
    let ports = prop::sample::subsequence(
        vec!["{port: 80}", "{port: 1, endPort: 100}", "{protocol: UDP}", "{port: http}"],
        0..3,
    );
    (peers, ports).prop_map(|(peers, ports)| format!("{{SIDE: [{}], ports: [{}]}}", peers.join(", "), ports.join(", ")))
}

/// The `spec` of a Kubernetes policy.
fn spec() -> impl Strategy<Value = String> {
    let subject = prop::sample::select(vec![
        "{}",
        "{matchLabels: {app: web}}",
        "{matchLabels: {tier: back}}",
        "{matchLabels: {app: db}}",
    ]);
    let types = prop::sample::select(vec!["[]", "[Ingress]", "[Egress]", "[Ingress, Egress]"]);
    (subject, types, prop::collection::vec(rule(), 0..3), prop::collection::vec(rule(), 0..3)).prop_map(
        |(subject, types, ingress, egress)| {
            let (ingress, egress) =
                (ingress.join(", ").replace("SIDE", "from"), egress.join(", ").replace("SIDE", "to"));
            format!("{{podSelector: {subject}, policyTypes: {types}, ingress: [{ingress}], egress: [{egress}]}}")
        },
    )
}

fn set(specs: &[String]) -> Policies {
    let document = |(number, spec): (usize, &String)| {
        format!(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p{number}, namespace: shop}}\nspec: {spec}\n---\n"
        )
    };
    let text: String = specs.iter().enumerate().map(document).collect();
    Policies::new(documents(&text)).expect("each has a name of its own")
}

const FLOWS: [&str; 12] = [
    "web -> db:80",
    "web -> api:80",
    "db -> api:80",
    "api -> web:53/udp",
    "admin -> web:8080",
    "probe -> db:1",
    "bare -> db:99",
    "web -> db",
    "203.0.113.7 -> db:80",
    "db -> 203.0.113.7:80",
    "host -> db:80",
    "db -> admin:80/udp",
];

/// What a connection may ask for, mostly near what rules name.
fn asked() -> impl Strategy<Value = Asked> {
    let port = prop_oneof![1u16..130, 1u16..].prop_map(|port| port.try_into().expect("from 1 on"));
    let protocol = prop::sample::select(Protocol::ALL.to_vec());
    prop_oneof![
        3 => (protocol, port).prop_map(|(protocol, port)| Asked::Port(protocol, port)),
        1 => (prop::sample::select(Family::ALL.to_vec()), any::<u8>(), any::<u8>())
            .prop_map(|(family, kind, code)| Asked::Icmp(family, kind, code)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reading_never_panics(text in almost_a_document()) {
        for syntax in [Syntax::Yaml, Syntax::Toml] {
            let network = "a".parse().expect("literal");
            let _ = parse("p.yaml", syntax, &text, Some(&network));
            let _ = Suite::parse("p.yaml", syntax, &text);
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_matrix_says_of_everything_what_the_evaluator_says(
        specs in prop::collection::vec(spec(), 0..4),
        questions in prop::collection::vec(asked(), 1..12),
    ) {
        let (policies, world) = (set(&specs), world());
        let matrix = Matrix::new(&policies, &world, now());
        for (from, to) in world.endpoints().iter().flat_map(|from| world.endpoints().iter().map(move |to| (from, to))) {
            for asks in questions.iter().copied() {
                let mut expected = BTreeMap::new();
                for (one, other) in from.addresses.iter().flat_map(|one| to.addresses.iter().map(move |other| (one, other))) {
                    let family = Family::of(*one);
                    let is_other = matches!(asks, Asked::Icmp(of, ..) if of != family);
                    if family != Family::of(*other) || is_other || from == to {
                        continue;
                    }
                    let party = |endpoint, address: &_| Party::Endpoint { endpoint, address: Some(*address) };
                    let flow = Flow { from: party(from, one), to: party(to, other), asks };
                    let allowed = evaluate(&policies, &world, &flow, now()).effect() == Effect::Allow;
                    *expected.entry(family).or_insert(true) &= allowed;
                }
                for (family, expected) in expected {
                    let found = matrix.passes(&from.title(), &to.title(), family, asks);
                    prop_assert_eq!(found, Some(expected), "{} -> {}: {}", from.title(), to.title(), asks);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_more_rule_forbids_nothing(specs in prop::collection::vec(spec(), 1..4), rule in rule(), ingress in any::<bool>()) {
        // The last policy isolates both ways with and without the rule.
        let isolating = |rule: &str| {
            let (from, to) = if ingress { (rule.replace("SIDE", "from"), String::new()) } else { (String::new(), rule.replace("SIDE", "to")) };
            format!("{{podSelector: {{}}, policyTypes: [Ingress, Egress], ingress: [{from}], egress: [{to}]}}")
        };
        let with = |rule: &str| set(&specs.iter().cloned().chain([isolating(rule)]).collect::<Vec<_>>());
        let (before, after) = (with(""), with(&rule));
        for flow in FLOWS {
            for (before, after) in effects(&before, flow).into_iter().zip(effects(&after, flow)) {
                prop_assert!(before == Effect::Deny || after == Effect::Allow, "{}", flow);
            }
        }
    }

    #[test]
    fn the_order_of_documents_does_not_matter(specs in prop::collection::vec(spec(), 2..5)) {
        let reversed: Vec<String> = specs.iter().rev().cloned().collect();
        let (one, other) = (set(&specs), set(&reversed));
        for flow in FLOWS {
            prop_assert_eq!(effects(&one, flow), effects(&other, flow), "{}", flow);
        }
    }

    #[test]
    fn a_deny_of_everything_in_the_first_tier_leaves_nothing(specs in prop::collection::vec(spec(), 0..4)) {
        let deny = "apiVersion: fabric/v1\nkind: Policy\nmetadata: {name: d}\nnetworks: ['*']\ntier: 0\norder: 0\ningress: [{action: deny}]\negress: [{action: deny}]\n";
        let all = set(&specs).policies().iter().cloned().map(policy::Document::Policy).chain(documents(deny)).collect::<Vec<_>>();
        let policies = Policies::new(all).expect("names of their own");
        for flow in FLOWS {
            prop_assert!(effects(&policies, flow).iter().all(|effect| *effect == Effect::Deny), "{}", flow);
        }
    }
}
