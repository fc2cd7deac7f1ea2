//! A host's kernel state as text that can be compared.

use crate::Namespace;

/// Links, IPv4 addresses and routes, and the firewall of a namespace, without counters, as their tools print them.
///
/// Not IPv6: its link-local addresses come and go through states of their own accord. Nor the carrier of links, which
/// the kernel's link watch (`net/core/link_watch.c`) updates up to a second after its cause.
pub(crate) fn kernel_state(host: &Namespace) -> String {
    let parts: [&[&str]; 5] = [
        &["ip", "-o", "link", "show"],
        &["ip", "-4", "-o", "address", "show"],
        &["ip", "-4", "route", "show", "table", "all"],
        &["bridge", "-d", "link", "show"],
        &["nft", "--stateless", "list", "ruleset"],
    ];
    let mut text = String::new();
    for part in parts {
        text.push_str(&format!("$ {}\n{}\n", part.join(" "), host.run(part)));
    }
    let carrier = [
        "NO-CARRIER,",
        ",LOWER_UP",
        " state UP",
        " state DOWN",
        " state UNKNOWN",
        " state LOWERLAYERDOWN",
        " linkdown",
    ];
    carrier.iter().fold(text, |text, word| text.replace(word, ""))
}

/// The lines that only one of two texts has, `-` before those of `before` and `+` before those of `after`.
pub fn difference(before: &str, after: &str) -> String {
    let only = |sign: char, lines: &str, others: &str| -> String {
        lines
            .lines()
            .filter(|line| !others.lines().any(|other| other == *line))
            .map(|line| format!("{sign} {line}\n"))
            .collect()
    };
    only('-', before, after) + &only('+', after, before)
}
