//! Bodies of requests: what is accepted is written as what reads as the same again, and what is planned from it holds
//! together.

#![no_main]

use std::{fmt::Debug, net::IpAddr, sync::LazyLock};

use api::{NetworkCreate, NetworkUpdate};
use axum::Json;
use jiff::Timestamp;
use libfuzzer_sys::{Corpus, fuzz_target};
use model::{Driver, Family, IPV6_MTU, MtuSource, Network, Reach, Reservation, Subnet};
use serde::{Serialize, de::DeserializeOwned};

/// The network that is updated.
static NETWORK: LazyLock<Network> = LazyLock::new(|| Network {
    id: "0123456789abcdef".parse().expect("literal"),
    name: "web".parse().expect("literal"),
    driver: Driver::Bridge,
    parent: None,
    vlan: None,
    subnets: ["10.1.0.0/24", "10.2.0.0/24", "fd00:1::/64"]
        .map(|range| Subnet::new(range.parse().expect("literal"), None).expect("a usual range"))
        .into(),
    reserved: vec!["10.1.0.9=printer".parse().expect("literal")],
    reach: Reach::Nat,
    icc: model::Icc::On,
    default_route: Default::default(),
    routes: Vec::new(),
    gateway_mac: "02:00:00:00:00:01".parse().expect("literal"),
    mtu: 1500,
    mtu_source: MtuSource::Uplink,
    name_servers: Vec::new(),
    labels: [("tier".to_owned(), "front".to_owned())].into(),
    created_at: Timestamp::UNIX_EPOCH,
});

fuzz_target!(|octets: &[u8]| -> Corpus {
    let mut accepted = false;
    accepted |= round::<api::ContainerCreate>(octets).is_some();
    accepted |= round::<api::EndpointCreate>(octets).is_some();
    accepted |= round::<api::ExecCreate>(octets).is_some();
    accepted |= round::<api::Rename>(octets).is_some();
    accepted |= round::<api::NetworksPrune>(octets).is_some();
    accepted |= round::<api::PolicyApply>(octets).is_some();
    accepted |= round::<api::PolicyRollback>(octets).is_some();
    if let Some(request) = round::<NetworkCreate>(octets) {
        accepted = true;
        create(&request);
    }
    if let Some(update) = round::<NetworkUpdate>(octets) {
        accepted = true;
        change(&update);
    }
    // Refusals are of interest as long as they are JSON; what is none says nothing about ours.
    if accepted || serde_json::from_slice::<serde::de::IgnoredAny>(octets).is_ok() {
        Corpus::Keep
    } else {
        Corpus::Reject
    }
});

/// The body as axum reads it.
fn round<T: Serialize + DeserializeOwned + PartialEq + Debug>(octets: &[u8]) -> Option<T> {
    let Json(value) = Json::<T>::from_bytes(octets).ok()?;
    let text = serde_json::to_vec(&value).expect("what was read from JSON can be written as JSON");
    let again = Json::<T>::from_bytes(&text);
    let Json(again) = again.unwrap_or_else(|error| panic!("{}: {}", error.body_text(), String::from_utf8_lossy(&text)));
    assert_eq!(value, again);
    Some(value)
}

fn create(request: &NetworkCreate) {
    let plan = match request.plan() {
        Ok(plan) => plan,
        Err(error) => return check_error(&error),
    };
    assert!(!plan.subnets.is_empty() || !plan.automatic.is_empty(), "it would have no addresses");
    check_subnets(&plan.subnets, &plan.reserved);
    for family in &plan.automatic {
        assert!(plan.subnets.iter().all(|subnet| subnet.family() != *family), "{family} is there and to be chosen");
    }
    let ipv6 = plan.automatic.contains(&Family::Ipv6) || plan.subnets.iter().any(|it| it.family() == Family::Ipv6);
    assert!(!ipv6 || plan.mtu.is_none_or(|mtu| mtu.octets() >= IPV6_MTU));
    assert_eq!(plan.parent.map_or(Driver::Bridge, |parent| parent.kind.driver()), plan.driver);
}

fn change(update: &NetworkUpdate) {
    let changed = match update.plan(&NETWORK, 1400) {
        Ok(changed) => changed,
        Err(error) => return check_error(&error),
    };
    assert!(!changed.subnets.is_empty(), "it would have no addresses");
    assert_eq!((&changed.id, &changed.name, changed.driver), (&NETWORK.id, &NETWORK.name, NETWORK.driver));
    check_subnets(&changed.subnets, &changed.reserved);
    for route in &changed.routes {
        let apart = |subnet: &Subnet| !subnet.overlaps(route.destination());
        assert!(changed.subnets.iter().all(apart), "{route} leads to the network itself");
        let near = |gateway| changed.subnets.iter().any(|subnet| subnet.gateway() == gateway);
        assert!(route.gateway().is_none_or(near), "nobody on the bridge passes on what goes by {route}");
    }
    let ipv6 = changed.subnets.iter().any(|subnet| subnet.family() == Family::Ipv6);
    assert!((if ipv6 { IPV6_MTU } else { 68 }..=65_535).contains(&changed.mtu), "{}", changed.mtu);
    // It is stored as JSON.
    let text = serde_json::to_vec(&changed).expect("plain data with string keys");
    assert_eq!(serde_json::from_slice::<Network>(&text).expect("what is stored can be read"), changed);
}

/// Fails unless ranges are apart, and gateways, pools and reserved addresses lie where they can be used.
fn check_subnets(subnets: &[Subnet], reserved: &[Reservation]) {
    for (index, subnet) in subnets.iter().enumerate() {
        let range = subnet.range();
        let apart = |other: &Subnet| !range.contains(&other.range()) && !other.range().contains(&range);
        assert!(subnets[..index].iter().all(apart), "{range} overlaps another");
        assert!(range.contains(&subnet.gateway()) && !subnet.is_endpoint_address(subnet.gateway()), "{subnet:?}");
        assert!(subnet.pool().is_none_or(|pool| range.contains(&pool)), "{subnet:?}");
        assert!(subnet.capacity() > 0, "{range} has room for nobody");
    }
    let addresses: Vec<IpAddr> = reserved.iter().map(Reservation::address).collect();
    for (index, address) in addresses.iter().enumerate() {
        assert!(subnets.iter().any(|subnet| subnet.is_endpoint_address(*address)), "{address} is reserved for nothing");
        assert!(!addresses[..index].contains(address), "{address} is reserved twice");
    }
}

/// Fails on text that would do something to a terminal.
fn check_error(error: &dyn std::error::Error) {
    let text = error.to_string();
    assert!(!text.is_empty() && !text.chars().any(char::is_control), "{text:?}");
    if let Some(cause) = error.source() {
        check_error(cause);
    }
}
