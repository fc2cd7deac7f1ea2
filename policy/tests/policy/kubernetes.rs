//! What the API reference of Kubernetes says of `NetworkPolicy`, sentence by sentence, and the recipes everybody starts
//! with.

use crate::rig::assert_verdicts;

/// A policy for network `shop` with this `spec`.
fn on_shop(spec: &str) -> String {
    let spec: String = spec.trim_matches('\n').lines().map(|line| format!("  {line}\n")).collect();
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p, namespace: shop}}\nspec:\n{spec}"
    )
}

#[test]
fn what_no_policy_selects_is_not_isolated() {
    assert_verdicts(
        &on_shop("podSelector: {matchLabels: {app: db}}"),
        "deny  web -> db:5432
         allow db -> web:80
         allow web -> api:80
         allow admin -> api:80
         allow web -> 203.0.113.7:443
         allow 203.0.113.7 -> web:80",
    );
}

#[test]
fn each_direction_is_isolated_for_itself() {
    for (spec, ingress, egress) in [
        ("{}", "deny", "allow"),
        ("podSelector: {}", "deny", "allow"),
        ("{podSelector: {}, policyTypes: []}", "deny", "allow"),
        ("{podSelector: {}, ingress: []}", "deny", "allow"),
        // A section without rules does not make a policy one of egress.
        ("{podSelector: {}, egress: []}", "deny", "allow"),
        ("{podSelector: {}, egress: [{to: [{podSelector: {}}]}]}", "deny", "deny"),
        ("{podSelector: {}, policyTypes: [Ingress]}", "deny", "allow"),
        ("{podSelector: {}, policyTypes: [Egress]}", "allow", "deny"),
        ("{podSelector: {}, policyTypes: [Ingress, Egress]}", "deny", "deny"),
        ("{podSelector: {}, policyTypes: [Ingress], ingress: [{}]}", "allow", "allow"),
        ("{podSelector: {}, policyTypes: [Egress], egress: [{}]}", "allow", "allow"),
        // Rules of a direction that is not among the types are not there.
        ("{podSelector: {}, policyTypes: [Egress], ingress: [{}]}", "allow", "deny"),
        ("{podSelector: {}, policyTypes: [Ingress], egress: [{}]}", "deny", "allow"),
    ] {
        let expected = format!("{ingress} admin -> web:80\n{egress} web -> admin:80\n{egress} web -> 203.0.113.7:443");
        assert_verdicts(&on_shop(spec), &expected);
    }
}

#[test]
fn a_missing_list_and_an_empty_one_are_anybody_and_anything() {
    for rule in ["{}", "{from: []}", "{from: null}", "{ports: []}", "{from: [], ports: []}"] {
        assert_verdicts(
            &on_shop(&format!("{{podSelector: {{}}, ingress: [{rule}]}}")),
            "allow web -> db:5432
             allow admin -> db:53/udp
             allow 203.0.113.7 -> db:9/sctp
             allow 203.0.113.7 -> db",
        );
    }
}

#[test]
fn a_selector_of_pods_alone_is_of_the_own_network() {
    assert_verdicts(
        &on_shop(
            "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}",
        ),
        "allow web -> db:5432
         deny  api -> db:5432
         deny  bare -> db:5432
         deny  probe -> db:5432
         deny  203.0.113.7 -> db:5432",
    );
    assert_verdicts(
        &on_shop("{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {}}]}]}"),
        "allow web -> db:5432
         allow bare -> db:5432
         deny  probe -> db:5432
         deny  203.0.113.7 -> db:5432",
    );
}

#[test]
fn a_selector_of_namespaces_is_over_the_labels_of_networks() {
    for (selector, shop, ops) in [
        ("{}", "allow", "allow"),
        ("{matchLabels: {team: ops}}", "deny", "allow"),
        ("{matchLabels: {kubernetes.io/metadata.name: ops}}", "deny", "allow"),
        ("{matchLabels: {kubernetes.io/metadata.name: shop}}", "allow", "deny"),
        ("{matchExpressions: [{key: team, operator: DoesNotExist}]}", "allow", "deny"),
        ("{matchLabels: {team: none}}", "deny", "deny"),
    ] {
        assert_verdicts(
            &on_shop(&format!("{{podSelector: {{}}, ingress: [{{from: [{{namespaceSelector: {selector}}}]}}]}}")),
            &format!("{shop} web -> db:1\n{ops} admin -> db:1\n{ops} probe -> db:1\ndeny 203.0.113.7 -> db:1"),
        );
    }
}

#[test]
fn both_selectors_in_one_peer_must_hold_and_in_two_peers_either() {
    let web = "podSelector: {matchLabels: {app: web}}";
    let ops = "namespaceSelector: {matchLabels: {team: ops}}";
    assert_verdicts(
        &on_shop(&format!("{{podSelector: {{}}, ingress: [{{from: [{{{ops}, {web}}}]}}]}}")),
        "allow probe -> db:1
         deny  admin -> db:1
         deny  web -> db:1",
    );
    assert_verdicts(
        &on_shop(&format!("{{podSelector: {{}}, ingress: [{{from: [{{{ops}}}, {{{web}}}]}}]}}")),
        "allow probe -> db:1
         allow admin -> db:1
         allow web -> db:1
         deny  api -> db:1",
    );
}

#[test]
fn expressions_and_labels_must_all_hold() {
    for (selector, web, api, bare) in [
        ("{matchExpressions: [{key: app, operator: In, values: [web, api]}]}", "allow", "allow", "deny"),
        ("{matchExpressions: [{key: app, operator: NotIn, values: [web]}]}", "deny", "allow", "allow"),
        ("{matchExpressions: [{key: app, operator: Exists}]}", "allow", "allow", "deny"),
        ("{matchExpressions: [{key: app, operator: DoesNotExist}]}", "deny", "deny", "allow"),
        ("{matchLabels: {tier: back}, matchExpressions: [{key: app, operator: Exists}]}", "deny", "allow", "deny"),
        ("{matchLabels: {app: web, tier: back}}", "deny", "deny", "deny"),
    ] {
        assert_verdicts(
            &on_shop(&format!(
                "{{podSelector: {{matchLabels: {{app: db}}}}, ingress: [{{from: [{{podSelector: {selector}}}]}}]}}"
            )),
            &format!("{web} web -> db:1\n{api} api -> db:1\n{bare} bare -> db:1"),
        );
    }
}

#[test]
fn a_block_is_of_addresses_and_not_of_its_exceptions() {
    assert_verdicts(
        &on_shop(
            "
podSelector: {matchLabels: {app: db}}
policyTypes: [Ingress, Egress]
ingress:
- from:
  - ipBlock: {cidr: 203.0.113.0/24, except: [203.0.113.8/29]}
  - ipBlock: {cidr: 2001:db8::/32, except: [2001:db8:1::/48]}
egress:
- to: [{ipBlock: {cidr: 10.1.0.2/31}}, {ipBlock: {cidr: 'fd00:1::/64'}}]",
        ),
        "allow 203.0.113.7 -> db:1
         deny  203.0.113.9 -> db:1
         deny  198.51.100.1 -> db:1
         allow 2001:db8::1 -> db:1
         deny  2001:db8:1::1 -> db:1
         allow db -> web:1
         allow db -> api:1
         deny  db -> bare:1
         deny  db -> 203.0.113.7:1",
    );
}

#[test]
fn ports_are_of_a_protocol_and_tcp_where_nothing_is_said() {
    for (ports, allowed, denied) in [
        ("{port: 80}", "80/tcp", "80/udp"),
        ("{port: 80}", "80/tcp", "81/tcp"),
        ("{port: 80, protocol: UDP}", "80/udp", "80/tcp"),
        ("{port: 80, protocol: SCTP}", "80/sctp", "80/tcp"),
        ("{protocol: UDP}", "9/udp", "9/tcp"),
        ("{}", "65535/tcp", "1/udp"),
        ("{port: 8000, endPort: 8010}", "8000", "7999"),
        ("{port: 8000, endPort: 8010}", "8010", "8011"),
        ("{port: 8000, endPort: 8000}", "8000", "8001"),
        // A name is what the target calls it.
        ("{port: http}", "80", "8080"),
        ("{port: dns, protocol: UDP}", "53/udp", "53/tcp"),
        ("{port: dns}", "", "53/tcp"),
        ("{port: nothing}", "", "80"),
    ] {
        let rule = |ports| format!("{{podSelector: {{matchLabels: {{app: api}}}}, ingress: [{{ports: [{ports}]}}]}}");
        let allowed = if allowed.is_empty() { String::new() } else { format!("allow web -> api:{allowed}") };
        // A ping has no port.
        assert_verdicts(&on_shop(&rule(ports)), &format!("{allowed}\ndeny web -> api:{denied}\ndeny web -> api"));
    }
}

#[test]
fn the_name_of_a_port_is_the_targets_for_egress_too() {
    assert_verdicts(
        &on_shop("{podSelector: {matchLabels: {app: db}}, policyTypes: [Egress], egress: [{ports: [{port: http}]}]}"),
        "allow db -> web:8080
         deny  db -> web:80
         allow db -> api:80
         deny  db -> api:8080
         deny  db -> 203.0.113.7:80",
    );
}

#[test]
fn peers_and_ports_of_a_rule_must_both_match() {
    assert_verdicts(
        &on_shop(
            "
podSelector: {matchLabels: {app: db}}
ingress:
- {from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 1}, {port: 2}]}
- {from: [{podSelector: {matchLabels: {app: api}}}], ports: [{port: 3}]}",
        ),
        "allow web -> db:1
         allow web -> db:2
         deny  web -> db:3
         deny  api -> db:1
         allow api -> db:3",
    );
}

#[test]
fn policies_add_up_and_both_ends_must_allow() {
    let one = on_shop(
        "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}",
    );
    let two = one.replace("name: p", "name: q").replace("{app: web}", "{app: api}");
    let egress =
        on_shop("{podSelector: {matchLabels: {app: api}}, policyTypes: [Egress]}").replace("name: p", "name: r");
    assert_verdicts(&format!("{one}---\n{two}"), "allow web -> db:1\nallow api -> db:1\ndeny bare -> db:1");
    assert_verdicts(&format!("{one}---\n{two}---\n{egress}"), "allow web -> db:1\ndeny api -> db:1");
}

#[test]
fn the_container_itself_always_gets_in() {
    let all = on_shop("{podSelector: {}, policyTypes: [Ingress, Egress]}");
    assert_verdicts(&all, "allow web -> web:80\ndeny web -> api:80");
}

#[test]
fn the_recipes_everybody_starts_with() {
    // Deny all, then let the name server of the host be asked, then one tier after the other.
    assert_verdicts(
        "
apiVersion: v1
kind: List
items:
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: default-deny, namespace: shop}
  spec: {podSelector: {}, policyTypes: [Ingress, Egress]}
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: web, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: web}}
    policyTypes: [Ingress, Egress]
    ingress: [{ports: [{port: http}]}]
    egress: [{to: [{podSelector: {matchLabels: {app: api}}}], ports: [{port: http}]}]
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: api, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: api}}
    policyTypes: [Ingress, Egress]
    ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: http}]}]
    egress: [{to: [{podSelector: {matchLabels: {app: db}}}], ports: [{port: 5432}]}]
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: db, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: db}}
    ingress: [{from: [{podSelector: {matchLabels: {app: api}}}], ports: [{port: 5432}]}]
",
        "allow 203.0.113.7 -> web:8080
         deny  203.0.113.7 -> web:80
         deny  203.0.113.7 -> api:80
         allow web -> api:80
         deny  web -> db:5432
         allow api -> db:5432
         deny  db -> api:80
         deny  api -> 203.0.113.7:443
         deny  web -> bare:80
         allow admin -> probe:1",
    );
}

#[test]
fn the_status_that_tools_of_1_24_to_1_27_wrote_says_nothing() {
    let condition = "{type: Accepted, status: 'True', reason: r, message: m, lastTransitionTime: 2023-01-01T00:00:00Z}";
    for status in ["{}", "null", "{conditions: []}", &format!("{{conditions: [{condition}]}}")] {
        assert_verdicts(
            &(on_shop("podSelector: {matchLabels: {app: db}}") + &format!("status: {status}\n")),
            "deny web -> db:5432\nallow db -> web:80",
        );
    }
}
