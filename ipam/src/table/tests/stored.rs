//! Leases as they are in a store.

use store::{CommitError, Embedded, Store, Transaction};

use super::*;

fn store() -> (tempfile::TempDir, Embedded) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = Embedded::open(directory.path()).expect("opens");
    (directory, store)
}

async fn listed(store: &dyn Store) -> Result<LeaseTable, IpamError> {
    let listing = store.list(&Lease::prefix(&network())).await.expect("reads");
    LeaseTable::from_listing(network(), &[subnet("10.1.0.0/24")], &[], &listing)
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
    let release = table.release(first.address).expect("it is leased");
    store.commit(Transaction::durable().guarded(release.clone())).await.expect("it is its own");
    store.commit(Transaction::durable().guarded(second.claim())).await.expect("it is free again");
    let conflict = store.commit(Transaction::durable().guarded(release)).await;
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
