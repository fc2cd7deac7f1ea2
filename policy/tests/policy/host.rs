//! The host as one end of a connection: which rules are about it, under which of its addresses.
//!
//! It speaks to `shop` as 10.1.0.1 and fd00:1::1, to `ops` as 10.2.0.1, and has 192.0.2.10 and 2001:db8:2::10 besides.

use policy::{Question, Suite, Syntax};

use crate::rig::{assert_verdicts, world};

fn kubernetes(spec: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p, namespace: shop}}\nspec: {spec}\n"
    )
}

fn native(rules: &str) -> String {
    format!("apiVersion: fabric/v1\nkind: Policy\nmetadata: {{name: p}}\nnetworks: [shop]\n{rules}\n")
}

/// What is asked of: connections of the host, to its address on the network, to those that it has elsewhere.
fn flows(text: &str, [from_host, to_gateway, to_other_gateway, to_uplink]: [&str; 4]) {
    assert_verdicts(
        text,
        &format!(
            "{from_host} host -> web:80
             {from_host} 10.1.0.1 -> web:80
             {to_gateway} web -> 10.1.0.1:53/udp
             {to_gateway} web -> fd00:1::1:53/udp
             {to_other_gateway} web -> 10.2.0.1:22
             {to_uplink} web -> 192.0.2.10:22"
        )
        .replace("fd00:1::1:53", "[fd00:1::1]:53"),
    );
}

#[test]
fn a_policy_of_kubernetes_lets_the_host_in_and_judges_what_goes_to_it_by_its_address() {
    let dns = "ports: [{port: 53, protocol: UDP}, {port: 22}]";
    for (egress, expected) in [
        // Isolated both ways: nothing goes to the host, and its own connections are let in all the same.
        ("", ["allow", "deny", "deny", "deny"]),
        ("{}", ["allow", "allow", "allow", "allow"]),
        (&format!("{{{dns}}}"), ["allow", "allow", "allow", "allow"]),
        // Selectors select containers, and the host is none, wherever its address lies.
        (&format!("{{to: [{{podSelector: {{}}}}], {dns}}}"), ["allow", "deny", "deny", "deny"]),
        (&format!("{{to: [{{namespaceSelector: {{}}}}], {dns}}}"), ["allow", "deny", "deny", "deny"]),
        (
            &format!("{{to: [{{ipBlock: {{cidr: 10.1.0.1/32}}}}, {{ipBlock: {{cidr: 'fd00:1::1/128'}}}}], {dns}}}"),
            ["allow", "allow", "deny", "deny"],
        ),
        ("{to: [{ipBlock: {cidr: 192.0.2.0/24}}]}", ["allow", "deny", "deny", "allow"]),
        (
            "{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.2.0.0/16]}}, {ipBlock: {cidr: '::/0'}}]}",
            ["allow", "allow", "deny", "allow"],
        ),
    ] {
        let spec = format!("{{podSelector: {{}}, policyTypes: [Ingress, Egress], egress: [{egress}]}}");
        flows(&kubernetes(&spec), expected);
    }
    // What leaves the host's address out of what is let in is no `deny`.
    let spec = "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.1.0.1/32]}}]}]}";
    assert_verdicts(&kubernetes(spec), "allow host -> db:80\nallow 203.0.113.7 -> db:80\nallow api -> db:80");
}

#[test]
fn a_rule_of_fabrics_own_is_about_the_host_by_what_it_is_or_by_its_address() {
    for (peer, expected) in [
        ("{entity: host}", ["deny", "deny", "deny", "deny"]),
        ("{entity: world}", ["allow", "allow", "allow", "allow"]),
        ("{networks: ['*']}", ["allow", "allow", "allow", "allow"]),
        ("{labels: {}}", ["allow", "allow", "allow", "allow"]),
        ("{cidr: 10.1.0.1/32}, {cidr: 'fd00:1::1/128'}", ["deny", "deny", "allow", "allow"]),
        ("{cidr: 10.1.0.0/16}, {cidr: 'fd00:1::/64'}", ["deny", "deny", "allow", "allow"]),
        ("{cidr: 10.0.0.0/8}, {cidr: 'fd00::/8'}", ["deny", "deny", "deny", "allow"]),
        ("{cidr: 192.0.2.10/32}", ["allow", "allow", "allow", "deny"]),
        ("{cidr: 203.0.113.0/24}", ["allow", "allow", "allow", "allow"]),
    ] {
        let text =
            native(&format!("ingress: [{{action: deny, from: [{peer}]}}]\negress: [{{action: deny, to: [{peer}]}}]"));
        flows(&text, expected);
    }
    // No peer is anybody, the host included: nothing of Fabric's own lets it in unasked.
    flows(&native("ingress: [{action: deny}]"), ["deny", "allow", "allow", "allow"]);
    let stance =
        "apiVersion: fabric/v1\nkind: Stance\nmetadata: {name: p}\nnetworks: [shop]\negress: deny\ningress: deny\n";
    flows(stance, ["deny", "deny", "deny", "deny"]);
}

#[test]
fn the_host_speaks_from_its_address_on_the_network_and_is_reached_under_each() {
    let world = world();
    for (from, to, expected) in [
        ("host", "web:80", &["host (10.1.0.1) -> shop/web (10.1.0.2)", "host (fd00:1::1) -> shop/web (fd00:1::2)"][..]),
        ("host", "admin:80", &["host (10.2.0.1) -> ops/admin (10.2.0.2)"]),
        (
            "admin",
            "host:22",
            &[
                "ops/admin (10.2.0.2) -> host (10.1.0.1)",
                "ops/admin (10.2.0.2) -> host (10.2.0.1)",
                "ops/admin (10.2.0.2) -> host (192.0.2.10)",
            ],
        ),
        ("192.0.2.10", "admin:80", &["host (192.0.2.10) -> ops/admin (10.2.0.2)"]),
        ("shop/app=web", "10.1.0.1:80", &["shop/app=web -> host (10.1.0.1)"]),
        ("host", "203.0.113.7:80", &["host -> 203.0.113.7"]),
        ("203.0.113.7", "host:80", &["203.0.113.7 -> host"]),
    ] {
        let question = Question::read(from, to).expect("literal");
        let asked = question.each_flow(&world, |flow| format!("{} -> {}", flow.from, flow.to)).expect("somebody");
        assert_eq!(asked, expected, "{from} -> {to}");
    }
}

#[test]
fn an_address_of_the_host_belongs_to_nobody_else() {
    let text = "networks: {shop: {gateways: [10.1.0.1]}}\nendpoints: [{name: a, network: shop, addresses: [10.1.0.1]}]";
    let error = Suite::parse("w.yaml", Syntax::Yaml, text).expect_err("it is the host's");
    assert_eq!(error.to_string(), "w.yaml:2:12: address 10.1.0.1 belongs to `host` and to `shop/a`");
    let error = Suite::parse("w.yaml", Syntax::Yaml, "host: [10.1.0.300]").expect_err("it is no address");
    assert_eq!(error.to_string(), "w.yaml:1:8: `10.1.0.300` is not an address");
}
