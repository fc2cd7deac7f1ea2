//! Who is given an address that was given back.

use super::*;

/// A table of five addresses from 10.1.0.2 on, and a number for each lease and revision.
struct Five {
    table: LeaseTable,
    number: u64,
}

impl Five {
    fn new() -> Self {
        Self { table: LeaseTable::new(network(), &[subnet("10.1.0.0/29")], &[]), number: 0 }
    }

    fn take(&mut self, request: Request<'_>) -> String {
        let address = self.table.choose(request).expect("room");
        self.number += 1;
        self.table.insert(&lease(address, self.number), Revision::from_number(self.number));
        address.to_string()
    }

    fn run(&mut self, container: &str) -> String {
        self.take(Request::Again { family: Family::Ipv4, container: &name(container), mac: None })
    }

    fn rest(&mut self, text: &str, container: &str) {
        self.number += 1;
        self.table.rest(address(text), parting(&name(container)), Revision::from_number(self.number));
    }
}

#[test]
fn a_name_has_its_address_again_and_another_has_it_last() {
    let mut five = Five::new();
    assert_eq!(five.run("a"), "10.1.0.2");
    five.rest("10.1.0.2", "a");
    assert_eq!(five.table.usage(), Usage { used: 0, capacity: 5, resting: 1 });
    assert_eq!(five.run("b"), "10.1.0.3");
    assert_eq!(five.run("a"), "10.1.0.2");
    assert_eq!(five.table.usage(), Usage { used: 2, capacity: 5, resting: 0 });
    five.rest("10.1.0.2", "a");
    assert_eq!(["c", "d", "e"].map(|name| five.run(name)), ["10.1.0.4", "10.1.0.5", "10.1.0.6"]);
    assert_eq!(five.run("f"), "10.1.0.2", "none that is free is refused");
    assert!(
        five.table.choose(Request::Again { family: Family::Ipv4, container: &name("a"), mac: None }).is_err(),
        "it is not shared either"
    );
}

#[test]
fn when_all_have_rested_the_longest_free_is_next() {
    let mut five = Five::new();
    let addresses = ["a", "b", "c", "d", "e"].map(|name| five.run(name));
    for (address, name) in [(&addresses[3], "d"), (&addresses[0], "a"), (&addresses[4], "e")] {
        five.rest(address, name);
    }
    assert_eq!(five.run("x"), addresses[3]);
    assert_eq!(five.run("e"), addresses[4]);
    assert_eq!(five.take(Request::Any(Family::Ipv4)), addresses[0]);
}

#[test]
fn what_was_asked_for_is_given_though_it_rests_and_is_the_new_holders_then() {
    let mut five = Five::new();
    five.run("a");
    five.rest("10.1.0.2", "a");
    assert_eq!(five.take(Request::Fixed(address("10.1.0.2"))), "10.1.0.2");
    assert_eq!(five.run("a"), "10.1.0.3", "another has it");
    five.rest("10.1.0.2", "b");
    five.rest("10.1.0.3", "a");
    assert_eq!([five.run("a"), five.run("b")], ["10.1.0.3", "10.1.0.2"]);
}

#[test]
fn a_lease_that_came_to_nothing_changes_nothing() {
    let mut five = Five::new();
    five.run("a");
    five.rest("10.1.0.2", "a");
    five.take(Request::Fixed(address("10.1.0.2")));
    five.table.remove(address("10.1.0.2"));
    assert_eq!(five.table.usage(), Usage { used: 0, capacity: 5, resting: 1 });
    assert_eq!([five.run("b"), five.run("a")], ["10.1.0.3", "10.1.0.2"]);
}

#[test]
fn one_who_had_two_addresses_has_the_later_one_again() {
    let mut five = Five::new();
    for text in ["10.1.0.5", "10.1.0.4"] {
        five.take(Request::Fixed(address(text)));
        five.rest(text, "a");
    }
    assert_eq!(five.run("a"), "10.1.0.4");
    assert_eq!(five.table.usage().resting, 1);
}

#[test]
fn one_that_was_had_beside_the_automatic_part_is_its_last_holders_only() {
    let part = Some("10.1.0.8/30".parse().expect("literal"));
    let subnet = subnet("10.1.0.0/24").with_pool(part).expect("a part");
    let mut table = LeaseTable::new(network(), &[subnet], &[]);
    table.insert(&lease(address("10.1.0.99"), 1), Revision::from_number(1));
    table.rest(address("10.1.0.99"), parting(&name("a")), Revision::from_number(2));
    assert_eq!(
        table.choose(Request::Again { family: Family::Ipv4, container: &name("a"), mac: None }).ok(),
        Some(address("10.1.0.99"))
    );
    for number in 2..6 {
        take(&mut table, number);
    }
    assert!(table.choose(Request::Any(Family::Ipv4)).is_err(), "the part is full");
}

/// Two families of one container, in a network in which others rest too.
#[test]
fn each_family_has_its_own_past() {
    let subnets = ["10.1.0.0/29", "fd00:1::/126"].map(subnet);
    let mut table = LeaseTable::new(network(), &subnets, &[]);
    for text in ["10.1.0.4", "fd00:1::3"] {
        table.insert(&lease(address(text), 1), Revision::from_number(1));
        table.rest(address(text), parting(&name("a")), Revision::from_number(2));
    }
    for (family, own, other) in [(Family::Ipv4, "10.1.0.4", "10.1.0.2"), (Family::Ipv6, "fd00:1::3", "fd00:1::2")] {
        assert_eq!(table.choose(Request::Again { family, container: &name("a"), mac: None }).ok(), Some(address(own)));
        assert_eq!(
            table.choose(Request::Again { family, container: &name("b"), mac: None }).ok(),
            Some(address(other))
        );
    }
    let resting: Vec<_> = table.usages().map(|(subnet, usage)| (subnet.range().to_string(), usage.resting)).collect();
    assert_eq!(resting, [("10.1.0.0/29".to_owned(), 1), ("fd00:1::/126".to_owned(), 1)]);
}

#[test]
fn a_network_that_changes_remembers() {
    let mut five = Five::new();
    five.run("a");
    five.run("b");
    five.rest("10.1.0.2", "a");
    let changed = five.table.reshaped(&[subnet("10.2.0.0/29"), subnet("10.1.0.0/29")], &[]);
    assert_eq!(changed.usage(), Usage { used: 1, capacity: 10, resting: 1 });
    assert_eq!(
        changed.choose(Request::Again { family: Family::Ipv4, container: &name("a"), mac: None }).ok(),
        Some(address("10.1.0.2"))
    );
    let narrower = changed.reshaped(&[subnet("10.2.0.0/29")], &[]);
    assert_eq!(narrower.usage(), Usage { used: 0, capacity: 5, resting: 0 });
    assert_eq!(
        narrower.choose(Request::Again { family: Family::Ipv4, container: &name("a"), mac: None }).ok(),
        Some(address("10.2.0.2"))
    );
}

#[test]
fn a_mac_address_has_its_address_again_unless_the_name_has_one_or_another_has_it() {
    let mut five = Five::new();
    let (a, b) = (five.run("a"), five.run("b"));
    five.rest(&a, "a");
    five.rest(&b, "b");
    let mac = parting(&name("b")).mac.expect("it has one");
    let again = |five: &Five, container: &str| {
        let (family, container) = (Family::Ipv4, &name(container));
        five.table.choose(Request::Again { family, container, mac: Some(mac) }).expect("room").to_string()
    };
    let last_at = |five: &Five| five.table.last_at(mac).map(|address| address.to_string()).collect::<Vec<_>>();
    assert_eq!(last_at(&five), [b.as_str()], "the last of two that were there");
    assert_eq!(again(&five, "x"), b);
    assert_eq!(again(&five, "a"), a, "the name comes first");
    assert_eq!(five.run("b"), b);
    assert_eq!(last_at(&five), Vec::<String>::new(), "it is leased");
    assert_eq!(again(&five, "x"), "10.1.0.4");
}
