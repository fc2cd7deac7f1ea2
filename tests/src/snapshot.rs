//! A host's kernel state as text that can be compared.

use crate::{Namespace, leftovers::is_spare};

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
        text.push_str(&format!("$ {}\n", part.join(" ")));
        let shown = host.run(part);
        shown.lines().filter(|line| !is_spare(line)).for_each(|line| text.push_str(&(without_other_end(line) + "\n")));
        text.push('\n');
    }
    // Which connections containers have had open lately is in the sets that count them.
    let counted = |line: &&str| line.contains("ct count over") && !line.trim_start().starts_with("add @");
    let text: String = text.lines().filter(|line| !counted(line)).map(|line| format!("{line}\n")).collect();
    without_carrier(&text)
}

/// What `ip` prints without what it says of the carrier of links.
pub fn without_carrier(text: &str) -> String {
    let carrier = [
        "NO-CARRIER,",
        ",M-DOWN",
        ",LOWER_UP",
        " state UP",
        " state DOWN",
        " state UNKNOWN",
        " state LOWERLAYERDOWN",
        " linkdown",
    ];
    carrier.iter().fold(text.to_owned(), |text, word| text.replace(word, ""))
}

/// `bridge` names a container's end after whatever interface of the host has its index.
fn without_other_end(line: &str) -> String {
    match line.split_once('@').and_then(|(name, rest)| Some((name, rest.split_once(':')?.1))) {
        Some((name, rest)) if name.contains(": fe-") => format!("{name}:{rest}"),
        _ => line.to_owned(),
    }
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
