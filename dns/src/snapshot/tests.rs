use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn network(name: &str) -> NetworkName {
    name.parse().expect("a network name")
}

fn attachment(network_name: &str, container: &str, address: [u8; 4], aliases: &[&str]) -> Attachment {
    Attachment {
        network: network(network_name),
        container: container.parse().expect("a container name"),
        address: address.into(),
        aliases: aliases.iter().map(|alias| alias.parse().expect("an alias")).collect(),
    }
}

fn two_networks() -> Snapshot {
    Snapshot::new(Domain::default())
        .with_network(&network("web"), &["10.1.0.0/24".parse().expect("a subnet")])
        .and_then(|snapshot| snapshot.with_network(&network("db"), &["10.1.1.0/24".parse().expect("a subnet")]))
        .expect("they do not overlap")
}

#[test]
fn a_predecessor_is_not_changed_by_its_successor() {
    let before = two_networks();
    let after = before.with_attachment(attachment("web", "api", [10, 1, 0, 2], &["backend"])).expect("it fits");
    assert_eq!(before.addresses(&network("web"), "api"), [] as [IpAddr; 0]);
    assert_eq!(after.addresses(&network("web"), "api"), [IpAddr::from([10, 1, 0, 2])]);
    assert_eq!(after.addresses(&network("web"), "backend"), [IpAddr::from([10, 1, 0, 2])]);
    assert_ne!(before.serial(), after.serial());
    let again = after.with_attachment(attachment("web", "api", [10, 1, 0, 2], &["backend"])).expect("it fits");
    assert_eq!(after.serial(), again.serial(), "nothing has changed");
}

#[test]
fn an_address_belongs_to_the_last_who_got_it() {
    let snapshot = two_networks()
        .with_attachment(attachment("web", "old", [10, 1, 0, 2], &["shared"]))
        .and_then(|snapshot| snapshot.with_attachment(attachment("web", "new", [10, 1, 0, 2], &[])))
        .expect("they fit");
    assert!(snapshot.addresses(&network("web"), "old").is_empty());
    assert!(snapshot.addresses(&network("web"), "shared").is_empty());
    assert!(snapshot.networks(&"old".parse().expect("a name")).is_empty());
    assert_eq!(snapshot.attachment([10, 1, 0, 2].into()).expect("it is there").container.as_str(), "new");
}

#[test]
fn a_network_goes_with_its_endpoints_and_no_others() {
    let snapshot = two_networks()
        .with_attachment(attachment("web", "api", [10, 1, 0, 2], &[]))
        .and_then(|snapshot| snapshot.with_attachment(attachment("db", "api", [10, 1, 1, 2], &[])))
        .expect("they fit")
        .without_network(&network("web"));
    assert_eq!(snapshot.networks(&"api".parse().expect("a name")), [network("db")]);
    assert!(snapshot.attachment([10, 1, 0, 2].into()).is_none());
    assert!(snapshot.network_of([10, 1, 0, 2].into()).is_none());
    assert_eq!(snapshot.addresses(&network("db"), "api"), [IpAddr::from([10, 1, 1, 2])]);
}

#[test]
fn what_does_not_fit_is_refused_with_its_reason() {
    let snapshot = two_networks();
    for (subnet, overlaps) in [
        ("10.1.0.0/24", true),
        ("10.1.0.128/25", true),
        ("10.0.0.0/8", true),
        ("0.0.0.0/0", true),
        ("10.1.2.0/24", false),
        ("10.0.255.0/24", false),
    ] {
        let result = snapshot.with_network(&network("new"), &[subnet.parse().expect("a subnet")]);
        assert_eq!(result.is_err(), overlaps, "{subnet}: {result:?}");
    }
    let error = snapshot.with_attachment(attachment("none", "api", [10, 1, 0, 2], &[])).expect_err("no such network");
    assert!(error.to_string().contains("`none`"), "{error}");
    let error = snapshot.with_attachment(attachment("web", "api", [10, 1, 1, 2], &[])).expect_err("it is outside");
    assert!(error.to_string().contains("10.1.1.2 is outside 10.1.0.0/24"), "{error}");
}

#[test]
fn a_network_that_gets_another_subnet_keeps_its_endpoints_in_those_that_stay() {
    let both: Vec<IpNet> = ["10.1.0.0/24", "fd00:1::/64"].map(|text| text.parse().expect("a subnet")).into();
    let ipv6: IpAddr = "fd00:1::2".parse().expect("an address");
    let web = network("web");
    let snapshot = two_networks()
        .with_attachment(attachment("web", "api", [10, 1, 0, 2], &["backend"]))
        .and_then(|snapshot| snapshot.with_network(&web, &both))
        .and_then(|snapshot| {
            snapshot.with_attachment(Attachment { address: ipv6, ..attachment("web", "api", [0; 4], &["backend"]) })
        })
        .expect("they fit");
    for name in ["api", "backend"] {
        assert_eq!(snapshot.addresses(&web, name), [IpAddr::from([10, 1, 0, 2]), ipv6]);
    }
    assert_eq!(snapshot.network_of(ipv6), Some((&web, both[1])));
    let less = snapshot.with_network(&web, &both[1..]).expect("it fits");
    assert_eq!(less.addresses(&web, "api"), [ipv6]);
    assert_eq!(less.network_of([10, 1, 0, 2].into()), None);
    assert!(snapshot.with_network(&network("new"), &both[1..]).is_err(), "it is web's");
}

proptest! {
    /// Any history of changes ends in the snapshot that the surviving endpoints alone would make.
    #[test]
    fn changes_amount_to_their_result(
        steps in prop::collection::vec((any::<bool>(), 0..2_u8, 2..8_u8, 0..4_usize, prop::collection::vec(0..4_usize, 0..3)), 0..60),
    ) {
        let names = ["a", "b", "c", "d"];
        let mut snapshot = two_networks();
        let mut expected: BTreeMap<IpAddr, Attachment> = BTreeMap::new();
        for (attach, subnet, host, name, aliases) in steps {
            let aliases: Vec<_> = aliases.into_iter().map(|alias| names[alias]).collect();
            let one = attachment(["web", "db"][usize::from(subnet)], names[name], [10, 1, subnet, host], &aliases);
            if attach {
                expected.insert(one.address, one.clone());
                snapshot = snapshot.with_attachment(one).expect("it fits");
            } else {
                expected.remove(&one.address);
                snapshot = snapshot.without_attachment(one.address);
            }
        }
        for network_name in ["web", "db"] {
            for name in names {
                let addresses: BTreeSet<_> = expected
                    .values()
                    .filter(|one| one.network == network(network_name) && one.names().any(|own| own.as_str() == name))
                    .map(|one| one.address)
                    .collect();
                let addresses: Vec<_> = addresses.into_iter().collect();
                prop_assert_eq!(snapshot.addresses(&network(network_name), name), addresses);
            }
        }
        for name in names {
            let mut networks = snapshot.networks(&name.parse().expect("a name")).to_vec();
            networks.sort();
            let mut wanted: Vec<_> =
                expected.values().filter(|one| one.container.as_str() == name).map(|one| one.network.clone()).collect();
            wanted.sort();
            prop_assert_eq!(networks, wanted);
        }
        prop_assert_eq!(snapshot.attachments.size(), expected.len());
    }
}
