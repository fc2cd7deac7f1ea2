//! What the native form adds: tiers, `deny` and `audit`, more kinds of peers, ICMP, expiry and stances.

use policy::{Question, Reason, evaluate};

use crate::rig::{assert_verdicts, now, policies, world};

/// A native policy of network `shop` with these further fields.
fn native(name: &str, fields: &str) -> String {
    let fields = fields.trim_matches('\n');
    format!("apiVersion: fabric/v1\nkind: Policy\nmetadata: {{name: {name}}}\nnetworks: [shop]\n{fields}\n---\n")
}

fn stance(fields: &str) -> String {
    format!("apiVersion: fabric/v1\nkind: Stance\nmetadata: {{name: s}}\nnetworks: [shop]\n{fields}\n---\n")
}

#[test]
fn the_lowest_tier_and_order_decides_and_deny_before_allow() {
    for (one, other, expected) in [
        ("tier: 1, order: 9, action: allow", "tier: 2, order: 1, action: deny", "allow"),
        ("tier: 1, order: 1, action: allow", "tier: 1, order: 2, action: deny", "allow"),
        ("tier: 1, order: 2, action: allow", "tier: 1, order: 1, action: deny", "deny"),
        ("tier: 1, order: 1, action: allow", "tier: 1, order: 1, action: deny", "deny"),
        ("tier: 1, order: 1, action: audit", "tier: 1, order: 1, action: deny", "deny"),
        ("tier: 1, order: 1, action: audit", "tier: 2, order: 1, action: allow", "allow"),
        // 100 where nothing is said.
        ("action: deny", "tier: 101, action: allow", "deny"),
        ("action: deny", "tier: 99, action: allow", "allow"),
        ("action: deny", "order: 101, action: allow", "deny"),
        ("action: deny", "order: 99, action: allow", "allow"),
    ] {
        let policy = |name, fields: &str| {
            let (head, action) = fields.rsplit_once("action: ").expect("literal");
            native(name, &format!("{}\ningress: [{{action: {action}}}]", head.replace(", ", "\n")))
        };
        for text in [policy("a", one) + &policy("b", other), policy("a", other) + &policy("b", one)] {
            assert_verdicts(&text, &format!("{expected} admin -> web:80"));
        }
    }
}

#[test]
fn the_order_of_a_rule_takes_the_place_of_its_policys() {
    assert_verdicts(
        &native(
            "a",
            "
order: 50
ingress:
- {action: deny}
- {action: allow, order: 10, ports: [80]}
- {action: allow, order: 60, ports: [81]}",
        ),
        "allow admin -> web:80
         deny  admin -> web:81
         deny  admin -> web:82",
    );
}

#[test]
fn tiers_come_before_kubernetes_and_that_before_the_stance() {
    let isolated = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: k, namespace: shop}
spec: {podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: 80}, {port: 81}]}]}
---
";
    let text = native(
        "first",
        "subject: {names: [web]}\ningress: [{action: allow, ports: [82]}, {action: deny, ports: [81]}]",
    );
    assert_verdicts(
        &(text + isolated + &stance("ingress: deny")),
        "allow admin -> web:80
         deny  admin -> web:81
         allow admin -> web:82
         deny  admin -> web:83
         deny  admin -> api:80
         allow api -> admin:80",
    );
    // What Kubernetes isolates is allowed by it, whatever the stance is; what it does not is for the stance.
    assert_verdicts(&(isolated.to_owned() + &stance("ingress: deny")), "allow admin -> web:80\ndeny admin -> db:80");
}

#[test]
fn a_stance_is_of_one_direction_and_of_its_networks() {
    assert_verdicts(
        &stance("egress: deny"),
        "deny  web -> api:80
         deny  web -> 203.0.113.7:443
         deny  web -> host:22
         allow admin -> web:80
         allow 203.0.113.7 -> web:80
         allow web -> web:80",
    );
    assert_verdicts(&stance("ingress: deny"), "deny admin -> web:80\ndeny host -> web:80\nallow web -> admin:80");
    assert_verdicts(&stance("{}").replace("{}\n", ""), "allow web -> api:80");
}

#[test]
fn subjects_and_peers_are_selected_by_all_that_is_said() {
    for (selector, web, api, db, probe) in [
        ("{}", "allow", "allow", "allow", "deny"),
        ("names: [web, db]", "allow", "deny", "allow", "deny"),
        ("labels: {tier: back}", "deny", "allow", "allow", "deny"),
        ("labels: {app: [web, db]}", "allow", "deny", "allow", "deny"),
        ("labels: {app: web}, networks: [ops]", "deny", "deny", "deny", "allow"),
        ("labels: {app: web}, networks: [ops, shop]", "allow", "deny", "deny", "allow"),
        ("labels: {app: web}, networks: ['*']", "allow", "deny", "deny", "allow"),
        ("networkLabels: {team: ops}", "deny", "deny", "deny", "allow"),
        ("names: [api], labels: {tier: back}", "deny", "allow", "deny", "deny"),
        ("identity: {app: web, tier: front}", "allow", "deny", "deny", "deny"),
        ("identity: {app: web}", "deny", "deny", "deny", "deny"),
        ("expressions: [{key: tier, operator: NotIn, values: [front]}]", "deny", "allow", "allow", "deny"),
    ] {
        // No peer is written `{}`: what stands for everybody of the own network is a label that need not be there.
        let selector = match selector {
            "{}" => "expressions: [{key: nothing, operator: DoesNotExist}]",
            other => other,
        };
        let peer = native(
            "p",
            &format!(
                "subject: {{names: [bare]}}\ningress: [{{action: allow, from: [{{{selector}}}]}}, {{action: deny, order: 200}}]"
            ),
        );
        assert_verdicts(
            &peer,
            &format!(
                "{web} web -> bare:1\n{api} api -> bare:1\n{db} db -> bare:1\n{probe} probe -> bare:1\nallow admin -> web:1"
            ),
        );
        if !selector.contains("network") {
            let opposite = |verdict: &str| if verdict == "allow" { "deny" } else { "allow" };
            let subject = native("p", &format!("subject: {{{selector}}}\ningress: [{{action: deny}}]"));
            assert_verdicts(
                &subject,
                &format!(
                    "{} admin -> web:1\n{} admin -> api:1\n{} admin -> db:1",
                    opposite(web),
                    opposite(api),
                    opposite(db)
                ),
            );
        }
    }
}

#[test]
fn the_host_the_world_ranges_and_names_are_peers() {
    let to = |peer: &str| native("p", &format!("egress: [{{action: deny, to: [{peer}]}}]"));
    for (peer, host, endpoint, named, other) in [
        ("{entity: host}", "deny", "allow", "allow", "allow"),
        ("{entity: world}", "allow", "allow", "deny", "deny"),
        ("{cidr: 203.0.113.0/24, except: [203.0.113.9/32]}", "allow", "allow", "deny", "allow"),
        ("{cidr: 10.2.0.0/16}", "allow", "deny", "allow", "allow"),
        ("{dns: [api.example.com]}", "allow", "allow", "deny", "allow"),
        ("{dns: ['*.example.com']}", "allow", "allow", "deny", "allow"),
        ("{dns: ['*.com', '*.example.org']}".replace("*.com", "*.b.com").as_str(), "allow", "allow", "allow", "allow"),
        ("{dns: [api.example.com, example.org]}", "allow", "allow", "deny", "deny"),
    ] {
        assert_verdicts(
            &to(peer),
            &format!(
                "{host} api -> 10.1.0.1:22\n{endpoint} api -> admin:1\n{named} api -> api.example.com:443\n\
                 {named} api -> 203.0.113.7:443\n{other} api -> example.org:443"
            ),
        );
    }
}

#[test]
fn messages_of_icmp_are_services() {
    assert_verdicts(
        &native("p", "ingress: [{action: deny, icmp: [echo-request]}, {action: deny, icmpv6: [128]}]"),
        "deny  admin -> web
         deny  2001:db8::1 -> web
         allow admin -> web:80",
    );
    assert_verdicts(
        &native("p", "ingress: [{action: deny, icmp: [any], ports: [80]}]"),
        "deny admin -> web\ndeny admin -> web:80\nallow admin -> web:81",
    );
}

#[test]
fn a_rule_is_there_until_it_expires() {
    for (expires, expected) in
        [("2025-12-31T23:59:59Z", "allow"), ("2026-01-01T00:00:00Z", "allow"), ("2026-01-01T02:00:00+01:00", "deny")]
    {
        let text = native("p", &format!("ingress: [{{action: deny, expires: '{expires}'}}]"));
        assert_verdicts(&text, &format!("{expected} admin -> web:80"));
    }
}

#[test]
fn audits_are_noted_until_something_decides() {
    let text = native("a", "order: 1\ningress: [{action: audit}, {action: audit, ports: [81]}]")
        + &native("b", "order: 2\ningress: [{action: deny}]")
        + &native("c", "order: 3\ningress: [{action: audit}]");
    let (policies, world) = (policies(&text), world());
    let question = Question::read("admin", "web:80").expect("literal");
    question
        .each_flow(&world, |course| {
            let verdict = evaluate(&policies, &world, &course.judged, now());
            let ingress = verdict.ingress.expect("it is an endpoint");
            let audits: Vec<_> = ingress.audits.iter().map(|found| (found.policy.title(), found.rule.number)).collect();
            assert_eq!(audits, [("a".to_owned(), 1)]);
            assert!(matches!(ingress.reason, Reason::Rule(found) if found.policy.title() == "b"));
        })
        .expect("they can speak");
}
