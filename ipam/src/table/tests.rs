use std::time::Instant;

use super::*;
use crate::number;

mod formers;
mod random;
mod stored;

fn network() -> NetworkId {
    NetworkId::from_bytes([7; 8])
}

fn endpoint(number: u64) -> EndpointId {
    EndpointId::from_bytes(number.to_be_bytes())
}

fn subnet(range: &str) -> Subnet {
    Subnet::new(range.parse().expect("literal"), None).expect("literal")
}

fn lease(address: IpAddr, number: u64) -> Lease {
    Lease { network: network(), address, endpoint: endpoint(number) }
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("literal")
}

fn name(text: &str) -> ContainerName {
    text.parse().expect("literal")
}

/// A container that was at an address of its own choosing.
fn parting(container: &ContainerName) -> Parting<'_> {
    Parting { container, mac: Some("02:00:00:00:00:07".parse().expect("literal")) }
}

/// Takes whatever comes next.
fn take(table: &mut LeaseTable, number: u64) -> IpAddr {
    let address = table.choose(Request::Any(Family::Ipv4)).expect("there is room");
    table.insert(&lease(address, number), Revision::from_number(number + 1));
    address
}

#[test]
fn addresses_come_in_order_and_one_that_was_passed_comes_last() {
    let mut table = LeaseTable::new(network(), &[subnet("10.1.0.0/29")], &[]);
    let taken: Vec<String> = (0..3).map(|number| take(&mut table, number).to_string()).collect();
    assert_eq!(taken, ["10.1.0.2", "10.1.0.3", "10.1.0.4"], "the gateway is not handed out");
    table.remove(address("10.1.0.3"));
    let taken: Vec<String> = (3..6).map(|number| take(&mut table, number).to_string()).collect();
    assert_eq!(taken, ["10.1.0.5", "10.1.0.6", "10.1.0.3"], "the freed one comes last");
    assert_eq!(table.usage(), Usage { used: 5, capacity: 5, resting: 0 });
    assert_eq!(
        table.choose(Request::Any(Family::Ipv4)).expect_err("nothing is left").to_string(),
        "no free address in 10.1.0.0/29: 5 of 5 are leased"
    );
}

#[test]
fn a_fixed_address_does_not_move_the_place_of_the_search() {
    let mut table = LeaseTable::new(network(), &[subnet("10.1.0.0/28")], &[]);
    assert_eq!(take(&mut table, 0), address("10.1.0.2"));
    table.insert(&lease(address("10.1.0.14"), 1), Revision::from_number(2));
    table.remove(address("10.1.0.2"));
    assert_eq!(take(&mut table, 2), address("10.1.0.3"));
}

#[test]
fn a_fixed_address_is_given_or_refused_with_the_reason() {
    let mut table = LeaseTable::new(network(), &[subnet("10.1.0.0/24")], &[]);
    table.insert(&lease(address("10.1.0.9"), 3), Revision::from_number(1));
    for (asked, expected) in [
        ("10.1.0.10", None),
        ("10.1.0.9", Some("address 10.1.0.9 is in use by endpoint 0000000000000003")),
        ("10.1.0.0", Some("address 10.1.0.0 is the network address of 10.1.0.0/24")),
        ("10.1.0.1", Some("address 10.1.0.1 is the gateway address of 10.1.0.0/24")),
        ("10.1.0.255", Some("address 10.1.0.255 is the broadcast address of 10.1.0.0/24")),
        ("10.1.1.1", Some("address 10.1.1.1 is outside 10.1.0.0/24")),
    ] {
        let found = table.choose(Request::Fixed(address(asked)));
        assert_eq!(found.as_ref().ok().copied(), expected.is_none().then(|| address(asked)));
        assert_eq!(found.err().map(|error| error.to_string()).as_deref(), expected);
    }
}

#[test]
fn gateways_anywhere_are_spared() {
    for gateway in ["10.1.0.1", "10.1.0.4", "10.1.0.6"] {
        let range = "10.1.0.0/29".parse().expect("literal");
        let subnet = Subnet::new(range, Some(address(gateway))).expect("literal");
        let mut table = LeaseTable::new(network(), &[subnet], &[]);
        let taken: Vec<_> = (0..5).map(|number| take(&mut table, number)).collect();
        assert!(taken.iter().all(|address| subnet.is_endpoint_address(*address)), "{taken:?}");
        assert!(table.choose(Request::Any(Family::Ipv4)).is_err());
    }
}

#[test]
fn leases_elsewhere_are_remembered_and_do_not_count() {
    let mut table = LeaseTable::new(network(), &[subnet("10.1.0.0/29")], &[]);
    for outside in ["10.1.0.1", "10.9.0.1", "255.255.255.255", "0.0.0.0"] {
        table.insert(&lease(address(outside), 1), Revision::from_number(1));
    }
    table.insert(&Lease { network: NetworkId::from_bytes([8; 8]), ..lease(address("10.1.0.3"), 1) }, Revision::ZERO);
    assert_eq!(table.usage(), Usage { used: 0, capacity: 5, resting: 0 });
    assert_eq!(table.leases().count(), 4);
    table.remove(address("10.1.0.1"));
    assert_eq!(table.choose(Request::Fixed(address("10.1.0.1"))).ok(), None, "the gateway's stays reserved");
    assert_eq!((0..5).map(|number| take(&mut table, number)).count(), 5);
}

/// 65,533 leases, then as many turns of giving back and taking with one address free.
#[test]
#[expect(clippy::disallowed_methods, reason = "it measures what it tests")]
fn a_full_subnet_costs_no_more_than_an_empty_one() {
    let mut table = LeaseTable::new(network(), &[subnet("10.1.0.0/16")], &[]);
    let started = Instant::now();
    for number in 0..table.usage().capacity as u64 {
        take(&mut table, number);
    }
    let filling = started.elapsed();
    assert!(table.choose(Request::Any(Family::Ipv4)).is_err());
    let started = Instant::now();
    for number in 0_u128..65_533 {
        let freed = number::address(Family::Ipv4, number::number(address("10.1.0.2")) + (number * 7919) % 65_533)
            .expect("inside");
        table.remove(freed);
        assert_eq!(take(&mut table, number as u64), freed, "it is the only one");
    }
    let turning = started.elapsed();
    // A search that walks over what is held would take minutes.
    assert!(filling.as_secs() < 60 && turning.as_secs() < 60, "filling {filling:?}, turning {turning:?}");
    println!("65,533 leases: filling {filling:?}, turning {turning:?}");
}

#[test]
fn families_and_subnets_fill_one_after_the_other() {
    let subnets = ["10.1.0.0/29", "fd00:1::/126", "10.2.0.0/29", "fd00:2::/64"].map(subnet);
    let mut table = LeaseTable::new(network(), &subnets, &[]);
    let given: Vec<_> = (0..7).map(|number| take(&mut table, number).to_string()).collect();
    assert_eq!(given[4..], ["10.1.0.6", "10.2.0.2", "10.2.0.3"], "the second subnet when the first is full");
    for (number, expected) in [(7, "fd00:1::2"), (8, "fd00:1::3"), (9, "fd00:2::2")] {
        let chosen = table.choose(Request::Any(Family::Ipv6)).expect("room");
        assert_eq!(chosen, address(expected));
        table.insert(&lease(chosen, number), Revision::from_number(number));
    }
    assert_eq!(table.usage(), Usage { used: 10, capacity: (1 << 64) + 10, resting: 0 }, "5 + 5 + 2 + 2^64 - 2");
    table.remove(address("fd00:1::2"));
    table.remove(address("10.1.0.3"));
    assert_eq!(table.choose(Request::Any(Family::Ipv6)).expect("room"), address("fd00:1::2"));
    assert_eq!(table.choose(Request::Any(Family::Ipv4)).expect("room"), address("10.1.0.3"));
}

#[test]
fn a_fixed_ipv6_address_is_given_or_refused_with_the_reason() {
    let mut table = LeaseTable::new(network(), &[subnet("10.1.0.0/24"), subnet("fd00:1::/64")], &[]);
    table.insert(&lease(address("fd00:1::9"), 3), Revision::from_number(1));
    for (asked, expected) in [
        ("fd00:1::10", None),
        ("fd00:1::ffff:ffff:ffff:ffff", None),
        ("fd00:1::9", Some("address fd00:1::9 is in use by endpoint 0000000000000003")),
        ("fd00:1::", Some("address fd00:1:: is the network address of fd00:1::/64")),
        ("fd00:1::1", Some("address fd00:1::1 is the gateway address of fd00:1::/64")),
        ("fd00:2::1", Some("address fd00:2::1 is outside 10.1.0.0/24, fd00:1::/64")),
    ] {
        let found = table.choose(Request::Fixed(address(asked)));
        assert_eq!(found.as_ref().ok().copied(), expected.is_none().then(|| address(asked)));
        assert_eq!(found.err().map(|error| error.to_string()).as_deref(), expected);
    }
}

#[test]
fn reserved_addresses_are_nobodys_and_automatic_ones_come_from_their_part() {
    let pool = subnet("10.1.0.0/24").with_pool(Some("10.1.0.128/30".parse().expect("literal"))).expect("a part");
    let reserved = ["10.1.0.129=the printer", "10.1.0.7", "10.9.0.1"].map(|text| text.parse().expect("literal"));
    let mut table = LeaseTable::new(network(), &[pool], &reserved);
    assert_eq!(table.usage().capacity, 251, "what is elsewhere takes nothing");
    let taken: Vec<_> = (0..3).map(|number| take(&mut table, number).to_string()).collect();
    assert_eq!(taken, ["10.1.0.128", "10.1.0.130", "10.1.0.131"]);
    let error = table.choose(Request::Any(Family::Ipv4)).expect_err("the part is full").to_string();
    assert!(error.contains("10.1.0.128/30"), "{error}");
    for (asked, expected) in [
        ("10.1.0.9", None),
        ("10.1.0.129", Some("address 10.1.0.129 is reserved: the printer")),
        ("10.1.0.7", Some("address 10.1.0.7 is reserved")),
    ] {
        let found = table.choose(Request::Fixed(address(asked))).err().map(|error| error.to_string());
        assert_eq!(found.as_deref(), expected);
    }
    table.insert(&lease(address("10.1.0.9"), 9), Revision::from_number(9));
    table.remove(address("10.1.0.128"));
    assert_eq!(table.choose(Request::Any(Family::Ipv4)).expect("room"), address("10.1.0.128"));
}

#[test]
fn a_network_that_changes_keeps_its_leases_and_goes_on_where_it_was() {
    let mut table = LeaseTable::new(network(), &[subnet("10.1.0.0/29"), subnet("10.2.0.0/29")], &[]);
    for number in 0..2 {
        take(&mut table, number);
    }
    table.remove(address("10.1.0.2"));
    let reserved = ["10.1.0.4=printer".parse().expect("literal")];
    let mut changed = table.reshaped(&[subnet("10.3.0.0/29"), subnet("10.1.0.0/29")], &reserved);
    let held: Vec<_> = changed.leases().map(|(lease, revision)| (lease.address, revision)).collect();
    assert_eq!(held, [(address("10.1.0.3"), Revision::from_number(2))]);
    assert_eq!(changed.usage(), Usage { used: 1, capacity: 9, resting: 0 });
    let taken: Vec<_> = (2..10).map(|number| take(&mut changed, number).to_string()).collect();
    let expected = ["10.3.0.2", "10.3.0.3", "10.3.0.4", "10.3.0.5", "10.3.0.6", "10.1.0.5", "10.1.0.6", "10.1.0.2"];
    assert_eq!(taken, expected, "behind the address chosen last, and never the reserved one");
    let without = changed.reshaped(&[subnet("10.1.0.0/29")], &[]);
    assert_eq!(without.leases().count(), 9, "who holds an address of a subnet that is gone holds it still");
    assert_eq!(without.usage().used, 4);
}
