use serde_json::{Value, json};

use super::*;

fn planned(fields: Value) -> Result<NetworkPlan, String> {
    let mut value = json!({"name": "web"});
    value.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    let request: NetworkCreate = serde_json::from_value(value).expect("well formed");
    request.plan().map_err(|error| {
        let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        format!("{error}{source}")
    })
}

#[test]
fn nothing_asked_for_is_one_subnet_of_ipv4_behind_the_hosts_address() {
    let plan = planned(json!({})).expect("valid");
    assert_eq!((plan.automatic, plan.subnets, plan.reach), (vec![Family::Ipv4], vec![], Reach::Nat));
}

#[test]
fn families_without_a_subnet_have_one_chosen() {
    for (fields, automatic) in [
        (json!({"ipv6": true}), vec![Family::Ipv4, Family::Ipv6]),
        (json!({"ipv6": true, "ipv4": false}), vec![Family::Ipv6]),
        (json!({"subnets": ["fd00:1::/64"]}), vec![Family::Ipv4]),
        (json!({"subnets": ["fd00:1::/64"], "ipv4": false}), vec![]),
        (json!({"subnets": ["10.1.0.0/24"], "ipv6": true}), vec![Family::Ipv6]),
        (json!({"subnets": ["10.1.0.0/24", "fd00:1::/64"], "ipv6": true}), vec![]),
    ] {
        assert_eq!(planned(fields.clone()).expect("valid").automatic, automatic, "{fields}");
    }
}

#[test]
fn gateways_and_ranges_find_their_subnets() {
    let plan = planned(json!({
        "subnets": ["10.1.0.0/24", "fd00:1::/64", "10.2.0.0/24"],
        "gateways": ["fd00:1::ff", "10.2.0.254"],
        "ip_ranges": ["10.1.0.128/25"],
        "reserve": ["10.1.0.9=the printer"],
    }))
    .expect("valid");
    let gateways: Vec<_> = plan.subnets.iter().map(|subnet| subnet.gateway().to_string()).collect();
    assert_eq!(gateways, ["10.1.0.1", "fd00:1::ff", "10.2.0.254"]);
    let pools: Vec<_> = plan.subnets.iter().map(|subnet| subnet.pool().map(|pool| pool.to_string())).collect();
    assert_eq!(pools, [Some("10.1.0.128/25".to_owned()), None, None]);
    assert_eq!(plan.reserved[0].why(), "the printer");
}

#[test]
fn how_far_a_network_reaches() {
    for (fields, reach) in [
        (json!({"gateway_mode": "nat"}), Reach::Nat),
        (json!({"gateway_mode": "routed"}), Reach::Routed),
        (json!({"gateway_mode": "isolated"}), Reach::Isolated),
        (json!({"internal": true}), Reach::Internal),
        (json!({"internal": true, "gateway_mode": "isolated"}), Reach::Isolated),
        (json!({"options": {"gateway-mode": "routed", "mtu": "1400"}}), Reach::Routed),
    ] {
        assert_eq!(planned(fields.clone()).expect("valid").reach, reach, "{fields}");
    }
}

#[test]
fn what_cannot_be_had_is_refused_with_the_reason() {
    for (fields, expected) in [
        (json!({"gateways": ["10.1.0.1"]}), "no subnet for the gateway 10.1.0.1"),
        (json!({"subnets": ["10.1.0.0/24"], "gateways": ["10.2.0.1"]}), "no subnet for the gateway 10.2.0.1"),
        (json!({"subnets": ["10.1.0.0/24"], "gateways": ["10.1.0.255"]}), "10.1.0.255 is not a host address"),
        (json!({"subnets": ["10.1.0.0/24"], "gateways": ["10.1.0.2", "10.1.0.3"]}), "two gateways for the subnet"),
        (json!({"subnets": ["10.1.0.7/24"]}), "did you mean 10.1.0.0/24?"),
        (json!({"subnets": ["10.1.0.0/31"]}), "no room for a gateway and a container; use a prefix of /30"),
        (json!({"subnets": ["fd00::/127"]}), "no room for a gateway and a container; use a prefix of /126"),
        (json!({"subnets": ["fe80::/64"]}), "cannot be routed to"),
        (json!({"subnets": ["10.1.0.0/16", "10.1.2.0/24"]}), "10.1.0.0/16 and 10.1.2.0/24: they overlap"),
        (json!({"subnets": ["10.1.0.0/24", "10.1.0.0/24"]}), "they overlap"),
        (json!({"subnets": ["10.1.0.0/24"], "ip_ranges": ["10.1.1.0/25"]}), "no subnet for the range 10.1.1.0/25"),
        (json!({"subnets": ["10.1.0.0/24"], "ip_ranges": ["10.1.0.1/32"]}), "none that a container can have"),
        (json!({"subnets": ["10.1.0.0/24"], "reserve": ["10.2.0.9"]}), "no subnet for the reserved address 10.2.0.9"),
        (json!({"reserve": ["10.2.0.9"]}), "no subnet for the reserved address 10.2.0.9"),
        (json!({"subnets": ["10.1.0.0/24"], "reserve": ["10.1.0.1"]}), "cannot reserve 10.1.0.1: it is the gateway's"),
        (json!({"subnets": ["10.1.0.0/24"], "reserve": ["10.1.0.9", "10.1.0.9=x"]}), "it is reserved twice"),
        (json!({"ipv4": false}), "needs IPv6 if it is to be without IPv4"),
        (json!({"ipv4": false, "subnets": ["10.1.0.0/24"]}), "without IPv4 and have the subnet 10.1.0.0/24"),
        (json!({"internal": true, "gateway_mode": "routed"}), "internal with gateway mode routed"),
        (json!({"ipv6": true, "mtu": 1279}), "must be at least 1280, not 1279"),
        (json!({"options": {"colour": "red"}}), "the option `colour`; known: gateway-mode, mtu"),
        (json!({"driver": "ipvlan", "options": {"parent": "lan0"}}), "needs the IPv4 subnet of the LAN"),
        (json!({"driver": "macvlan", "options": {"flag": "vepa"}}), "the option `flag`; known: mode, mtu, parent"),
        (json!({"options": {"mtu": "big"}}), "`big` is not an MTU"),
        (json!({"options": {"gateway-mode": "magic"}}), "no gateway mode `magic`"),
        (json!({"options": {"mtu": "1400"}, "mtu": 1400}), "an MTU twice"),
    ] {
        let error = planned(fields.clone()).expect_err("it cannot be had");
        assert!(error.contains(expected) && error.contains("network `web`"), "{fields}: {error}");
    }
}

#[test]
fn what_sits_on_a_parent_is_of_the_drivers_kind() {
    for (driver, options, expected) in [
        ("macvlan", json!({"parent": "lan0"}), "macvlan mode bridge"),
        ("macvlan", json!({"parent": "lan0", "mode": "passthru"}), "macvlan mode passthru"),
        ("ipvlan", json!({"parent": "lan0"}), "ipvlan mode l2 flag bridge"),
        ("ipvlan", json!({"parent": "lan0", "mode": "l3s", "flag": "vepa"}), "ipvlan mode l3s flag vepa"),
    ] {
        let asked = json!({"driver": driver, "options": options, "subnets": ["10.1.0.0/24"]});
        let plan = planned(asked.clone()).expect("it can be had");
        let parent = plan.parent.expect("it has one");
        assert_eq!((parent.interface.as_str(), parent.kind.to_string().as_str()), ("lan0", expected), "{asked}");
        assert_eq!((parent.kind.driver(), plan.reach), (plan.driver, Reach::Lan), "{asked}");
    }
}
