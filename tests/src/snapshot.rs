//! A host's kernel state as text that can be compared.

use crate::Namespace;

/// Links, addresses, routes and firewall of a namespace, without counters, as their tools print them.
pub(crate) fn kernel_state(host: &Namespace) -> String {
    let parts: [&[&str]; 5] = [
        &["ip", "-o", "link", "show"],
        &["ip", "-o", "address", "show"],
        &["ip", "route", "show", "table", "all"],
        &["bridge", "-d", "link", "show"],
        &["nft", "--stateless", "list", "ruleset"],
    ];
    let mut text = String::new();
    for part in parts {
        text.push_str(&format!("$ {}\n{}\n", part.join(" "), host.run(part)));
    }
    // IPv6 goes through states of its own accord.
    text.replace(" tentative", "")
}
