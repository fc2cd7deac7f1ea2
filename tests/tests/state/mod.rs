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

/// The lease of 10.9.8.2 as one of 10.9.8.99 that an endpoint holds which does not exist.
pub(crate) fn leaked(key: &Key, lease: &[u8]) -> (Key, Vec<u8>) {
    let text = std::str::from_utf8(lease).expect("JSON");
    let endpoint = serde_json::from_str::<serde_json::Value>(text).expect("JSON")["endpoint"].clone();
    let endpoint = endpoint.as_str().expect("a text");
    let leaked = text.replace(endpoint, &"f".repeat(endpoint.len())).replace("10.9.8.2", "10.9.8.99");
    (key.to_string().replace("0a090802", "0a090863").parse().expect("a key"), leaked.into_bytes())
}
