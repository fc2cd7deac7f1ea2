use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::decision::tests::{attachment as plain, zone};

fn network(name: &str) -> NetworkName {
    name.parse().expect("a network name")
}

fn attachment(network_name: &str, container: &str, address: [u8; 4], aliases: &[&str]) -> Attachment {
    Attachment {
        aliases: aliases.iter().map(|alias| alias.parse().expect("an alias")).collect(),
        ..plain(network_name, container, &[&IpAddr::from(address).to_string()])
    }
}

fn two_networks() -> Snapshot {
    Snapshot::new(Domain::default(), DEFAULT_TTL)
        .with_network(zone("web", &["10.1.0.0/24", "fd00:1::/64"]))
        .and_then(|snapshot| snapshot.with_network(zone("db", &["10.1.1.0/24"])))
        .expect("they do not overlap")
}

fn addresses(snapshot: &Snapshot, network_name: &str, name: &str) -> Vec<IpAddr> {
    snapshot.named(&network(network_name), name).iter().flat_map(|holder| holder.addresses.clone()).collect()
}

#[test]
fn a_predecessor_is_not_changed_by_its_successor() {
    let before = two_networks();
    let after = before.with_attachment(attachment("web", "api", [10, 1, 0, 2], &["backend"])).expect("it fits");
    assert_eq!(addresses(&before, "web", "api"), [] as [IpAddr; 0]);
    for name in ["api", "backend", "00000a010002"] {
        assert_eq!(addresses(&after, "web", name), [IpAddr::from([10, 1, 0, 2])], "{name}");
    }
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
    assert!(addresses(&snapshot, "web", "old").is_empty());
    assert!(addresses(&snapshot, "web", "shared").is_empty());
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
    assert_eq!(addresses(&snapshot, "db", "api"), [IpAddr::from([10, 1, 1, 2])]);
}

#[test]
fn an_endpoint_goes_with_all_of_its_addresses() {
    let both = plain("web", "api", &["10.1.0.2", "fd00:1::2"]);
    let snapshot = two_networks().with_attachment(both).expect("it fits");
    for address in ["10.1.0.2", "fd00:1::2"] {
        let address = address.parse().expect("an address");
        assert_eq!(snapshot.attachment(address).expect("it is there").container.as_str(), "api");
        let gone = snapshot.without_attachment(address);
        assert_eq!(gone.attachments.size(), 0);
        assert!(addresses(&gone, "web", "api").is_empty());
        assert!(gone.networks(&"api".parse().expect("a name")).is_empty());
    }
}

#[test]
fn a_network_that_is_changed_keeps_its_endpoints_in_the_subnets_that_stay() {
    let both = Attachment {
        aliases: vec!["backend".parse().expect("a name")],
        ..plain("web", "api", &["10.1.0.2", "fd00:1::2"])
    };
    let snapshot = two_networks()
        .with_attachment(both)
        .and_then(|snapshot| snapshot.with_attachment(attachment("web", "old", [10, 1, 0, 3], &["backend"])))
        .expect("they fit");
    let config = snapshot.zone(&network("web")).expect("it is there").clone();
    let internal = ZoneConfig { forwarding: Forwarding::Never, ..config };
    let changed = snapshot.with_network(internal.clone()).expect("no overlap");
    assert_eq!(addresses(&changed, "web", "api"), addresses(&snapshot, "web", "api"));
    assert_eq!(addresses(&changed, "web", "backend").len(), 3);
    assert_eq!(changed.zone(&network("web")), Some(&internal));
    let more = changed.with_network(zone("web", &["10.1.0.0/24", "fd00:1::/64", "10.1.7.0/24"])).expect("no overlap");
    assert_eq!(addresses(&more, "web", "backend").len(), 3);
    let ipv6: IpAddr = "fd00:1::2".parse().expect("an address");
    let less = more.with_network(zone("web", &["fd00:1::/64"])).expect("no overlap");
    for name in ["api", "backend", "00000a010002"] {
        assert_eq!(addresses(&less, "web", name), [ipv6], "{name}");
    }
    assert!(less.attachment([10, 1, 0, 2].into()).is_none());
    assert!(less.networks(&"old".parse().expect("a name")).is_empty());
    assert!(less.network_of([10, 1, 0, 2].into()).is_none());
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
        ("fd00:1::/64", true),
        ("fd00::/8", true),
        ("::/0", true),
        ("fd00:1:0:1::/64", false),
        ("fd00:1::8:0/112", true),
    ] {
        let result = snapshot.with_network(zone("new", &[subnet]));
        assert_eq!(result.is_err(), overlaps, "{subnet}: {result:?}");
    }
    let error = snapshot.with_attachment(attachment("none", "api", [10, 1, 0, 2], &[])).expect_err("no such network");
    assert!(error.to_string().contains("`none`"), "{error}");
    let error = snapshot.with_attachment(attachment("web", "api", [10, 1, 1, 2], &[])).expect_err("it is outside");
    assert!(error.to_string().contains("10.1.1.2 is outside 10.1.0.0/24"), "{error}");
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
                expected.insert(one.addresses[0], one.clone());
                snapshot = snapshot.with_attachment(one).expect("it fits");
            } else {
                expected.remove(&one.addresses[0]);
                snapshot = snapshot.without_attachment(one.addresses[0]);
            }
        }
        for network_name in ["web", "db"] {
            for name in names {
                let wanted: BTreeSet<_> = expected
                    .values()
                    .filter(|one| one.network == network(network_name) && one.names().any(|own| own == name))
                    .map(|one| one.addresses[0])
                    .collect();
                prop_assert_eq!(addresses(&snapshot, network_name, name), wanted.into_iter().collect::<Vec<_>>());
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
