use std::error::Error;

use jiff::Timestamp;
use model::{MacAddress, NetworkId};
use serde_json::{Value, json};

use super::*;

fn network(reach: Reach) -> Network {
    let subnet = |range: &str| Subnet::new(range.parse().expect("literal"), None).expect("literal");
    Network {
        id: NetworkId::from_bytes([1; 8]),
        name: "web".parse().expect("literal"),
        driver: Driver::Bridge,
        parent: None,
        vlan: None,
        subnets: vec![subnet("10.1.0.0/24"), subnet("fd00:1::/64")],
        reserved: vec!["10.1.0.9=printer".parse().expect("literal")],
        reach,
        icc: Default::default(),
        default_route: Default::default(),
        routes: Vec::new(),
        gateway_mac: MacAddress::local([0; 6]),
        mtu: 1500,
        mtu_source: MtuSource::Uplink,
        name_servers: Vec::new(),
        labels: [("tier".to_owned(), "front".to_owned())].into(),
        created_at: Timestamp::UNIX_EPOCH,
    }
}

fn asked(update: Value) -> NetworkUpdate {
    serde_json::from_value(update).expect("a documented request")
}

fn planned(update: Value, reach: Reach) -> Result<Network, String> {
    asked(update).plan(&network(reach), 1400).map_err(|error| {
        let (mut text, mut cause) = (error.to_string(), error.source());
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    })
}

#[test]
fn what_is_absent_stays() {
    let labels = planned(json!({"labels": {"a": "b"}, "remove_labels": ["tier", "none"]}), Reach::Routed);
    let labels = labels.expect("labels change");
    // The uplink's MTU is another by now.
    let expected = Network { labels: [("a".to_owned(), "b".to_owned())].into(), mtu: 1400, ..network(Reach::Routed) };
    assert_eq!(labels, expected);
}

#[test]
fn other_resolvers_take_the_place_of_those_it_has() {
    let servers = |update| -> Vec<String> {
        let network = Network { name_servers: vec!["192.0.2.1".parse().expect("literal")], ..network(Reach::Nat) };
        let network = asked(update).plan(&network, 1500).expect("it can be had");
        network.name_servers.iter().map(ToString::to_string).collect()
    };
    assert_eq!(servers(json!({"mtu": 1400})), ["192.0.2.1"]);
    assert_eq!(servers(json!({"name_servers": ["192.0.2.2", "192.0.2.3:5353"]})), ["192.0.2.2", "192.0.2.3:5353"]);
    assert_eq!(servers(json!({"name_servers": []})), [""; 0]);
}

#[test]
fn how_far_a_network_reaches_changes_as_its_creation_would_have_it() {
    use Reach::{Internal, Isolated, Nat, Routed};
    for (from, update, to) in [
        (Nat, json!({"internal": true}), Some(Internal)),
        (Routed, json!({"internal": true}), Some(Internal)),
        (Internal, json!({"internal": true}), Some(Internal)),
        (Isolated, json!({"internal": true}), Some(Isolated)),
        (Nat, json!({"internal": false}), Some(Nat)),
        (Routed, json!({"internal": false}), Some(Routed)),
        (Internal, json!({"internal": false}), Some(Nat)),
        (Isolated, json!({"internal": false}), None),
        (Nat, json!({"gateway_mode": "routed"}), Some(Routed)),
        (Internal, json!({"gateway_mode": "routed"}), None),
        (Internal, json!({"gateway_mode": "isolated"}), Some(Isolated)),
        (Internal, json!({"gateway_mode": "routed", "internal": false}), Some(Routed)),
        (Isolated, json!({"gateway_mode": "nat"}), Some(Nat)),
        (Nat, json!({"gateway_mode": "nat", "internal": true}), None),
        (Nat, json!({"gateway_mode": "isolated", "internal": true}), Some(Isolated)),
        (Nat, json!({"gateway_mode": "isolated", "internal": false}), None),
        (Nat, json!({"options": {"gateway-mode": "isolated"}}), Some(Isolated)),
    ] {
        assert_eq!(planned(update.clone(), from).ok().map(|network| network.reach), to, "{from:?} {update}");
    }
}

#[test]
fn an_mtu_is_fixed_or_follows_the_uplink() {
    for (update, expected) in [
        (json!({"mtu": 9000}), (9000, MtuSource::Fixed)),
        (json!({"mtu": "auto"}), (1400, MtuSource::Uplink)),
        (json!({"options": {"mtu": "1300"}}), (1300, MtuSource::Fixed)),
        (json!({"options": {"mtu": "auto"}}), (1400, MtuSource::Uplink)),
    ] {
        let network = planned(update.clone(), Reach::Nat).expect("it can be had");
        assert_eq!((network.mtu, network.mtu_source), expected, "{update}");
    }
    assert!(serde_json::from_value::<NetworkUpdate>(json!({"mtu": 67})).is_err());
    assert!(serde_json::from_value::<NetworkUpdate>(json!({"mtu": "large"})).is_err());
    let small =
        asked(json!({"mtu": "auto"})).plan(&network(Reach::Nat), 900).expect("it follows as far as IPv6 lets it");
    assert_eq!(small.mtu, IPV6_MTU);
}

#[test]
fn subnets_come_and_go() {
    let update = json!({
        "add_subnets": ["10.2.0.0/24"], "remove_subnets": ["10.1.0.0/24"], "ip_ranges": ["10.2.0.128/25"],
        "reserve": ["10.2.0.200=nas"],
    });
    let network = planned(update, Reach::Nat).expect("it can be had");
    let subnets: Vec<_> = network.subnets.iter().map(|subnet| (subnet.range().to_string(), subnet.pool())).collect();
    let pool = "10.2.0.128/25".parse().expect("literal");
    assert_eq!(subnets, [("10.2.0.0/24".to_owned(), Some(pool)), ("fd00:1::/64".to_owned(), None)]);
    let reserved: Vec<_> = network.reserved.iter().map(ToString::to_string).collect();
    assert_eq!(reserved, ["10.2.0.200=nas"], "reservations of a subnet go with it");
    let whole = asked(json!({"ip_ranges": ["10.2.0.0/24"]})).plan(&network, 1500).expect("all of a subnet");
    assert_eq!(whole.subnets[0].pool(), None);
}

#[test]
fn what_cannot_be_is_refused_with_the_reason() {
    for (update, expected) in [
        (json!({}), "network `web` is to be updated, and nothing is said that is to change"),
        (
            json!({"remove_subnets": ["10.9.0.0/24"]}),
            "network `web` has no subnet 10.9.0.0/24; it has 10.1.0.0/24, fd00:1::/64",
        ),
        (
            json!({"remove_subnets": ["10.1.0.0/24", "fd00:1::/64"]}),
            "network `web` cannot be without a subnet; add another in the same request",
        ),
        (
            json!({"add_subnets": ["10.1.0.0/25"]}),
            "network `web` cannot have the subnets 10.1.0.0/24 and 10.1.0.0/25: they overlap",
        ),
        (
            json!({"add_subnets": ["10.2.0.1/24"]}),
            "network `web` cannot have the subnet 10.2.0.1/24: 10.2.0.1/24 is not a network address; did you mean 10.2.0.0/24?",
        ),
        (
            json!({"ip_ranges": ["10.3.0.0/25"]}),
            "network `web` has no subnet for the range 10.3.0.0/25; give one that holds it with --subnet",
        ),
        (json!({"release": ["10.1.0.8"]}), "network `web` does not reserve 10.1.0.8"),
        (json!({"reserve": ["10.1.0.9"]}), "network `web` cannot reserve 10.1.0.9: it is reserved already"),
        (json!({"mtu": 1000}), "network `web` has IPv6, so its MTU must be at least 1280, not 1000"),
        (
            json!({"mtu": 1500, "options": {"mtu": "1500"}}),
            "network `web` has an MTU twice, once as an option; give it once",
        ),
        (
            json!({"labels": {"a": "b"}, "remove_labels": ["a"]}),
            "network `web` cannot have the label `a` and be without it; give one of them",
        ),
        (json!({"options": {"icc": "false"}}), "network `web` cannot have the option `icc`; known: gateway-mode, mtu"),
    ] {
        assert_eq!(planned(update.clone(), Reach::Nat).expect_err("it cannot be"), expected, "{update}");
    }
}
