//! The state file of a host, read and changed while no daemon has it.

use store::{Embedded, Key, Store, Transaction};
use tests::Host;

/// What is kept under keys that begin like this.
pub(crate) fn keys(host: &Host, prefix: &str) -> Vec<(Key, Vec<u8>)> {
    let store = Embedded::open(host.data_dir()).expect("no daemon holds it");
    let tokio = tokio::runtime::Runtime::new().expect("threads");
    let listing = tokio.block_on(store.list(prefix)).expect("it is readable");
    listing.entries.iter().map(|(key, entry)| (key.clone(), entry.value.to_vec())).collect()
}

pub(crate) fn commit(host: &Host, transaction: Transaction) {
    let store = Embedded::open(host.data_dir()).expect("no daemon holds it");
    let tokio = tokio::runtime::Runtime::new().expect("threads");
    tokio.block_on(store.commit(transaction)).expect("nothing is guarded");
}
