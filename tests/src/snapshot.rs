//! A host's kernel state as text that can be compared.

use crate::{Namespace, leftovers::is_spare};

/// Links, addresses, routes and permanent neighbours of both families, and the firewall of a namespace, without
/// counters, as their tools print them.
///
/// Of IPv6 all but what the kernel does of its own accord, see [`comes_by_itself`]. Nor the carrier of links, which
/// the kernel's link watch (`net/core/link_watch.c`) updates up to a second after its cause.
pub(crate) fn kernel_state(of: &Namespace) -> String {
    let parts: [&[&str]; 8] = [
        &["ip", "-o", "link", "show"],
        &["ip", "-4", "-o", "address", "show"],
        &["ip", "-6", "-o", "address", "show"],
        &["ip", "-4", "route", "show", "table", "all"],
        &["ip", "-6", "route", "show", "table", "all"],
        &["ip", "neighbour", "show", "nud", "permanent"],
        &["bridge", "-d", "link", "show"],
        &["nft", "--stateless", "list", "ruleset"],
    ];
    let mut text = String::new();
    for part in parts {
        text.push_str(&format!("$ {}\n", part.join(" ")));
        let shown = of.run(part);
        // An address of what waits for an endpoint would be one too many.
        let is_hidden = |line: &str| match part {
            ["ip", "-6", ..] => comes_by_itself(line),
            [.., "link", "show"] => is_spare(line),
            _ => false,
        };
        let mut lines: Vec<_> = shown.lines().filter(|line| !is_hidden(line)).map(without_other_end).collect();
        if part[1] == "-6" {
            // Of several routes to one range the one made last stands last.
            lines.sort();
        }
        lines.iter().for_each(|line| text.push_str(&format!("{line}\n")));
        text.push('\n');
    }
    // Which connections containers have had open lately is in the sets that count them.
    let counted = |line: &&str| line.contains("ct count over") && !line.trim_start().starts_with("add @");
    let text: String = text.lines().filter(|line| !counted(line)).map(|line| format!("{line}\n")).collect();
    without_carrier(&text)
}

/// Whether a line of `ip -6` shows what nobody asked for: an address that is still being tried (RFC 4862 §5.4), what a
/// router advertised, whose time runs down, and what an interface gets some time after it has a carrier for the first
/// time: a link-local address, and the routes to such and to groups. Ports of bridges are to have none of it, so theirs
/// shows.
fn comes_by_itself(line: &str) -> bool {
    let words = ["tentative", " dynamic ", " expires ", " proto ra ", "fe80:", "ff00::/8"];
    words.iter().any(|word| line.contains(word)) && !line.contains(" fe-")
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
