//! A lease in a state file that nobody should have.

use store::Key;

/// The lease of 10.9.8.2 as one of 10.9.8.99 that an endpoint holds which does not exist.
pub(crate) fn leaked(key: &Key, lease: &[u8]) -> (Key, Vec<u8>) {
    let text = std::str::from_utf8(lease).expect("JSON");
    let endpoint = serde_json::from_str::<serde_json::Value>(text).expect("JSON")["endpoint"].clone();
    let endpoint = endpoint.as_str().expect("a text");
    let leaked = text.replace(endpoint, &"f".repeat(endpoint.len())).replace("10.9.8.2", "10.9.8.99");
    (key.to_string().replace("0a090802", "0a090863").parse().expect("a key"), leaked.into_bytes())
}
