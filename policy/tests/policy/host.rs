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
        let asked =
            question.each_flow(&world, |it| format!("{} -> {}", it.opened.from, it.opened.to)).expect("somebody");
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

#[test]
fn a_published_port_is_judged_where_it_leads() {
    let text = "
networks: {web: {gateways: [10.1.0.1, 'fd00:1::1', 'fe80::1']}, ops: {gateways: [10.2.0.1]}}
host: [127.0.0.1, '::1', 192.0.2.1, '2001:db8::1']
endpoints:
- name: server
  network: web
  addresses: [10.1.0.2, 'fd00:1::2']
  publish: ['8080:80', '127.0.0.1:8081:80', '192.0.2.1:9000-9001:9000-9001', '53:53/udp', '[2001:db8::1]:8082-8083:82-83']
- {name: stranger, network: ops, addresses: [10.2.0.2]}
- {name: neighbour, network: web, addresses: [10.1.0.3]}
";
    let world = Suite::parse("world.yaml", Syntax::Yaml, text).expect("valid").world;
    let (server, server6) = ("web/server (10.1.0.2)", "web/server (fd00:1::2)");
    for (from, to, expected) in [
        ("203.0.113.7", "192.0.2.1:8080", vec![format!("203.0.113.7 -> {server}: 80/tcp")]),
        ("203.0.113.7", "192.0.2.1:8080/udp", vec!["203.0.113.7 -> host (192.0.2.1): 8080/udp".to_owned()]),
        ("203.0.113.7", "192.0.2.1:9001", vec![format!("203.0.113.7 -> {server}: 9001/tcp")]),
        ("203.0.113.7", "10.1.0.1:9001", vec!["203.0.113.7 -> host (10.1.0.1): 9001/tcp".to_owned()]),
        ("203.0.113.7", "192.0.2.1:8081", vec!["203.0.113.7 -> host (192.0.2.1): 8081/tcp".to_owned()]),
        ("203.0.113.7", "127.0.0.1:8081", vec!["203.0.113.7 -> host (127.0.0.1): 8081/tcp".to_owned()]),
        ("203.0.113.7", "192.0.2.1", vec!["203.0.113.7 -> host (192.0.2.1): ping".to_owned()]),
        ("2001:db8::7", "[2001:db8::1]:8080", vec![format!("2001:db8::7 -> {server6}: 80/tcp")]),
        ("2001:db8::7", "[2001:db8::1]:8083", vec![format!("2001:db8::7 -> {server6}: 83/tcp")]),
        ("203.0.113.7", "host:9000", vec![format!("203.0.113.7 -> {server}: 9000/tcp")]),
        ("203.0.113.7", "host:22", vec!["203.0.113.7 -> host: 22/tcp".to_owned()]),
        ("stranger", "192.0.2.1:8080", vec![format!("ops/stranger (10.2.0.2) -> {server}: 80/tcp")]),
        // Names are asked of the host itself, but only under its address on the network.
        ("neighbour", "10.1.0.1:53/udp", vec!["web/neighbour (10.1.0.3) -> host (10.1.0.1): 53/udp".to_owned()]),
        ("neighbour", "10.2.0.1:53/udp", vec![format!("web/neighbour (10.1.0.3) -> {server}: 53/udp")]),
        ("server", "192.0.2.1:8080", vec![format!("{server} -> {server}: 80/tcp")]),
        ("host", "127.0.0.1:8081", vec![format!("host (127.0.0.1) -> {server}: 80/tcp")]),
        ("host", "192.0.2.1:8080", vec![format!("host (192.0.2.1) -> {server}: 80/tcp")]),
        ("host", "[::1]:8080", vec!["host -> host (::1): 8080/tcp".to_owned()]),
        ("host", "192.0.2.1:22", vec!["host -> host (192.0.2.1): 22/tcp".to_owned()]),
        ("host", "host:8081", vec![format!("host (127.0.0.1) -> {server}: 80/tcp")]),
        ("host", "host:22", vec!["host -> host: 22/tcp".to_owned()]),
    ] {
        let question = Question::read(from, to).expect("literal");
        let judged = question.each_flow(&world, |course| course.judged.to_string()).expect("somebody");
        assert_eq!(judged, expected, "{from} -> {to}");
    }
    let wrong = text.replace("8080:80", "8080:80/icmp");
    let error = Suite::parse("world.yaml", Syntax::Yaml, &wrong).expect_err("no such protocol");
    assert!(error.to_string().starts_with("world.yaml:8:13: "), "{error}");
}

#[test]
fn link_local_addresses_speak_with_each_other_alone() {
    let text = "
networks: {web: {gateways: ['fd00:1::1', 'fe80::1']}, ops: {gateways: ['fd00:2::1', 'fe80::2']}}
host: ['::1', 'fe80::3']
endpoints:
- {name: a, network: web, addresses: ['fd00:1::a', 'fe80::a']}
- {name: b, network: web, addresses: ['fd00:1::b', 'fe80::b']}
";
    let world = Suite::parse("world.yaml", Syntax::Yaml, text).expect("valid").world;
    for (from, to, expected) in [
        ("a", "b:80", &["fd00:1::a -> fd00:1::b", "fe80::a -> fe80::b"][..]),
        ("host", "b:80", &["fd00:1::1 -> fd00:1::b", "fe80::1 -> fe80::b"]),
        ("a", "host:80", &["fd00:1::a -> fd00:1::1", "fd00:1::a -> fd00:2::1", "fe80::a -> fe80::1"]),
        ("2001:db8::7", "b:80", &["2001:db8::7 -> fd00:1::b"]),
        ("fe80::a", "[fd00:1::b]:80", &["fe80::a -> fd00:1::b"]),
    ] {
        let address = |party: policy::Party<'_>| party.address().expect("known").to_string();
        let question = Question::read(from, to).expect("literal");
        let told =
            |course: &policy::Course<'_>| format!("{} -> {}", address(course.judged.from), address(course.judged.to));
        assert_eq!(question.each_flow(&world, told).expect("somebody"), expected, "{from} -> {to}");
    }
}
