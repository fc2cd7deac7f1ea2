//! What is found by looking at few pairs is what is found by looking at all.

use proptest::prelude::*;

use super::{hides, shadowed, shadowed_by};
use crate::{Policies, Syntax, parse};

/// A rule that is more or less narrow in every way in which one can hide another.
fn rule() -> impl Strategy<Value = String> {
    let some = |of: &[&'static str]| {
        let choice = prop::sample::subsequence(of.to_vec(), 1..3).prop_map(|chosen| chosen.join(", "));
        prop::option::weighted(0.7, choice)
    };
    let peers = some(&[
        "{labels: {app: web}}",
        "{labels: {app: [web, api]}}",
        "{labels: {app: web, tier: front}}",
        "{names: [web]}",
        "{names: [web, api]}",
        "{names: [api], networks: [ops]}",
        "{networks: ['*']}",
        "{networks: [shop, ops]}",
        "{networkLabels: {team: ops}}",
        "{identity: {app: web}}",
        "{cidr: 10.0.0.0/8}",
        "{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}",
        "{cidr: 10.0.0.0/8, except: [10.1.2.0/24]}",
        "{cidr: 10.1.2.0/24}",
        "{cidr: 0.0.0.0/0}",
        "{cidr: 'fd00::/8'}",
        "{cidr: 'fd00:1::/64'}",
        "{entity: host}",
        "{entity: world}",
        "{dns: [a.example.com]}",
        "{dns: [a.example.com, '*.example.com']}",
    ]);
    let ports =
        some(&["80", "any", "any/udp", "70-90", "64-127", "1-65535", "53/udp", "50-60/udp", "http", "1-2", "65535"]);
    let icmp = some(&["any", "3", "3/4", "8"]);
    let action = prop::sample::select(vec!["allow", "deny", "deny", "audit"]);
    let expires = prop::sample::select(vec!["", "", ", expires: '2030-01-01T00:00:00Z'"]);
    (peers, ports, icmp, action, expires, 0..3_u16).prop_map(|(peers, ports, icmp, action, expires, order)| {
        let field = |name: &str, list: Option<String>| list.map_or(String::new(), |list| format!(", {name}: [{list}]"));
        let (peers, ports, icmp) = (field("to", peers), field("ports", ports), field("icmp", icmp));
        format!("{{action: {action}, order: {order}{peers}{ports}{icmp}{expires}}}")
    })
}

fn policy() -> impl Strategy<Value = String> {
    let networks = prop::sample::select(vec!["['*']", "[shop]", "[shop, ops]", "[ops]"]);
    let subject = prop::sample::select(vec![
        "{}",
        "{}",
        "{labels: {app: web}}",
        "{labels: {app: web, tier: front}}",
        "{labels: {tier: front}}",
        "{names: [web]}",
        "{names: [api, web]}",
        "{names: [web], labels: {app: web}}",
        "{identity: {app: web}}",
        "{expressions: [{key: app, operator: Exists}]}",
    ]);
    (networks, subject, 0..2_u16, prop::collection::vec(rule(), 1..4)).prop_map(|(networks, subject, tier, rules)| {
        format!("networks: {networks}\nsubject: {subject}\ntier: {tier}\negress: [{}]\n", rules.join(", "))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn few_pairs_tell_as_much_as_all(written in prop::collection::vec(policy(), 1..24)) {
        let document = |(number, policy): (usize, &String)| {
            format!("---\napiVersion: fabric/v1\nkind: Policy\nmetadata: {{name: p{number}}}\n{policy}")
        };
        let text: String = written.iter().enumerate().map(document).collect();
        let policies = Policies::new(parse("p.yaml", Syntax::Yaml, &text, None).expect("valid")).expect("names of their own");
        let rules: Vec<_> = policies.tiered().collect();
        let mut all = Vec::new();
        for (index, later) in rules.iter().enumerate() {
            all.extend(rules[..index].iter().find(|earlier| hides(earlier, later)).map(|earlier| (*later, *earlier)));
        }
        prop_assert_eq!(shadowed(&rules), all);
    }
}

#[test]
fn the_rules_above_do_hide_each_other() {
    // Otherwise nothing would be compared there.
    let text = "apiVersion: fabric/v1\nkind: Policy\nmetadata: {name: a}\nnetworks: ['*']\negress:\n";
    for (wide, narrow) in [
        ("{action: deny}", "{action: allow, to: [{labels: {app: web}}], ports: [80]}"),
        ("{action: deny, to: [{cidr: 10.0.0.0/8}]}", "{action: allow, to: [{cidr: 10.1.2.0/24}]}"),
        ("{action: deny, ports: [64-127]}", "{action: allow, ports: [70-90]}"),
        ("{action: deny, ports: [1-65535]}", "{action: allow, ports: [65535]}"),
        ("{action: deny, icmp: [3]}", "{action: allow, icmp: [3/4]}"),
        ("{action: deny, to: [{entity: world}]}", "{action: allow, to: [{dns: [a.example.com]}]}"),
        ("{action: deny, to: [{names: [web, api]}]}", "{action: allow, to: [{names: [web]}]}"),
    ] {
        let text = format!("{text}- {wide}\n- {narrow}\n");
        let policies = Policies::new(parse("p.yaml", Syntax::Yaml, &text, None).expect("valid")).expect("one name");
        let rules: Vec<_> = policies.tiered().collect();
        assert_eq!(shadowed(&rules), [(rules[1], rules[0])], "{wide} {narrow}");
    }
}

#[test]
fn of_many_rules_few_pairs_are_looked_at() {
    const RULES: usize = 3_000;
    for (by, rule) in [
        ("subject", "subject: {labels: {tier: back, app: aN}}\nfrom: {names: [web]}"),
        ("name", "subject: {names: [cN]}\nfrom: {networks: ['*']}"),
        ("peer", "subject: {labels: {app: web}}\nfrom: {labels: {app: aN}}"),
        ("range", "subject: {}\nfrom: {cidr: 10.HIGH.LOW.0/24}"),
        ("port", "subject: {}\nfrom: {cidr: 0.0.0.0/0}\nports: [NEXT-TENTH]"),
    ] {
        let document = |number: usize| {
            let rule = rule.replace("HIGH", &(number / 256).to_string()).replace("LOW", &(number % 256).to_string());
            let rule =
                rule.replace("NEXT", &(10 * number + 1).to_string()).replace("TENTH", &(10 * number + 9).to_string());
            let rule = rule.replace('N', &number.to_string());
            let (subject, rest) = rule.split_once("\nfrom: ").expect("above");
            let (from, ports) = rest.split_once("\nports: ").unwrap_or((rest, "[80]"));
            let rule = format!("{{action: deny, from: [{from}], ports: {ports}}}");
            format!(
                "---\napiVersion: fabric/v1\nkind: Policy\nmetadata: {{name: p{number}}}\nnetworks: [shop]\n{subject}\n\
                 ingress: [{rule}, {rule}]\n"
            )
        };
        let text: String = (0..RULES / 2).map(document).collect();
        let policies =
            Policies::new(parse("p.yaml", Syntax::Yaml, &text, None).expect("valid")).expect("names of their own");
        let rules: Vec<_> = policies.tiered().collect();
        let mut pairs = 0;
        let found = shadowed_by(&rules, |earlier, later| {
            pairs += 1;
            hides(earlier, later)
        });
        assert_eq!(found.len(), RULES / 2, "by {by}: each second rule is the first one of its policy again");
        assert!(pairs <= 20 * RULES, "by {by}: {pairs} pairs of {RULES} rules");
    }
}
