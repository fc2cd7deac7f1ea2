//! Leases as they are in a store.

use store::{CommitError, Embedded, Store, Transaction};

use super::*;

fn store() -> (tempfile::TempDir, Embedded) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = Embedded::open(directory.path()).expect("opens");
    (directory, store)
}

async fn listed(store: &dyn Store) -> Result<LeaseTable, IpamError> {
    let leases = store.list(&Lease::prefix(&network())).await.expect("reads");
    let formers = store.list(&Former::prefix(&network())).await.expect("reads");
    LeaseTable::from_listing(network(), &[subnet("10.1.0.0/24")], &[], &leases, &formers)
}

#[tokio::test]
async fn one_endpoint_claims_an_address_and_it_alone_releases_it() {
    let (_directory, store) = store();
    let (first, second) = (lease(address("10.1.0.2"), 1), lease(address("10.1.0.2"), 2));
    assert_eq!(first.key().as_str(), "leases/0707070707070707/0a010002");
    let claimed = store.commit(Transaction::durable().guarded(first.claim())).await.expect("it is free");
    let conflict = store.commit(Transaction::durable().guarded(second.claim())).await;
    assert!(matches!(conflict, Err(CommitError::Conflict { key }) if key == first.key()));

    let table = listed(&store).await.expect("reads");
    assert_eq!(table.lease(first.address), Some((first.clone(), claimed)));
    let release = table.release(Transaction::durable(), [first.address], parting(&name("a")));
    store.commit(release.clone()).await.expect("it is its own");
    store.commit(Transaction::durable().guarded(second.claim())).await.expect("it is free again");
    let conflict = store.commit(release).await;
    assert!(matches!(conflict, Err(CommitError::Conflict { .. })), "a late release takes nothing from the next holder");
}

#[tokio::test]
async fn choices_go_on_behind_the_youngest_lease_after_a_restart() {
    let (_directory, store) = store();
    for (text, number) in [("10.1.0.40", 1), ("10.1.0.2", 2), ("10.1.0.30", 3)] {
        let claim = lease(address(text), number).claim();
        store.commit(Transaction::durable().guarded(claim)).await.expect("it is free");
    }
    let table = listed(&store).await.expect("reads");
    assert_eq!(table.choose(Request::Any(Family::Ipv4)).expect("room"), address("10.1.0.31"));
    assert_eq!(table.usage().used, 3);
}

#[tokio::test]
async fn records_that_are_no_leases_are_named() {
    let good = lease(address("10.1.0.2"), 1);
    let other = Lease { network: NetworkId::from_bytes([8; 8]), ..good.clone() };
    let json = |lease: &Lease| serde_json::to_vec(lease).expect("serialises");
    for (value, expected) in [
        (b"".to_vec(), "is not a lease"),
        (b"{}".to_vec(), "is not a lease"),
        (vec![0xff, 0], "is not a lease"),
        (json(&other), "is the lease of 10.1.0.2 on network 0808080808080808"),
        (json(&lease(address("10.1.0.3"), 1)), "is the lease of 10.1.0.3 on network 0707070707070707"),
    ] {
        let (_directory, store) = store();
        store.commit(Transaction::durable().put(good.key(), value)).await.expect("commits");
        let error = listed(&store).await.expect_err("it is no lease of this network and address");
        assert_eq!(error.to_string(), format!("the stored value of `{}` {expected}", good.key()));
    }
}

#[tokio::test]
async fn records_that_tell_of_no_former_are_named() {
    let key: store::Key = "formers/0707070707070707/0a010002".parse().expect("literal");
    let json = |address: &str| {
        format!(r#"{{"network":"0707070707070707","address":"{address}","container":"a"}}"#).into_bytes()
    };
    for (value, told) in [(json("10.1.0.2"), false), (json("10.1.0.3"), true), (b"{}".to_vec(), true)] {
        let (_directory, store) = store();
        store.commit(Transaction::durable().put(key.clone(), value)).await.expect("commits");
        let error = listed(&store).await.err().map(|error| error.to_string());
        assert_eq!(error, told.then(|| format!("the stored value of `{key}` does not say who had the address")));
    }
}

/// A thousand and more are given back by as many names: the store and the table keep the same of them, the youngest.
#[tokio::test]
async fn only_so_many_are_remembered() {
    let (_directory, store) = store();
    let subnets = [subnet("10.1.0.0/16")];
    let mut table = LeaseTable::new(network(), &subnets, &[]);
    let count = REMEMBERED as u64 + 10;
    for number in 0..count {
        let lease = lease(take(&mut table, number), number);
        let name = name(&format!("c{number}"));
        let claimed = store.commit(Transaction::relaxed().guarded(lease.claim())).await.expect("it is free");
        table.insert(&lease, claimed);
        let release = table.release(Transaction::relaxed(), [lease.address], parting(&name));
        let freed = store.commit(release).await.expect("it is its own");
        table.rest(lease.address, parting(&name), freed);
    }
    let formers = store.list(&Former::prefix(&network())).await.expect("reads");
    assert_eq!((formers.entries.len(), table.usage().resting), (REMEMBERED, REMEMBERED as u64));
    let leases = store.list(&Lease::prefix(&network())).await.expect("reads");
    let read = LeaseTable::from_listing(network(), &subnets, &[], &leases, &formers).expect("reads");
    for table in [table, read] {
        let again = |name: &str| {
            table
                .choose(Request::Again { family: Family::Ipv4, container: &self::name(name), mac: None })
                .expect("room")
        };
        assert_eq!(again("c10"), address("10.1.0.12"), "the oldest that is remembered");
        assert_ne!(again("c9"), address("10.1.0.11"), "the youngest that is not");
    }
}

/// Where neighbours believe an address to be is known after a restart as well, be it the address's own or another.
#[tokio::test]
async fn the_mac_address_of_the_last_holder_is_remembered() {
    let (_directory, store) = store();
    let mut table = listed(&store).await.expect("reads");
    let (own, name) = (Some(MacAddress::of(address("10.1.0.2"))), name("a"));
    for mac in [parting(&name).mac, own] {
        assert_ne!(table.last_mac(address("10.1.0.2")), mac);
        let lease = lease(address("10.1.0.2"), 1);
        let claimed = store.commit(Transaction::durable().guarded(lease.claim())).await.expect("it is free");
        table.insert(&lease, claimed);
        let parting = Parting { container: &name, mac };
        let release = table.release(Transaction::durable(), [lease.address], parting);
        let freed = store.commit(release).await.expect("it is its own");
        table.rest(lease.address, parting, freed);
        for table in [&table, &listed(&store).await.expect("reads")] {
            assert_eq!(table.last_mac(lease.address), mac);
        }
    }
    assert_eq!(table.last_mac(address("10.1.0.3")), None, "nobody had it");
}
