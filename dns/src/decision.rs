//! What is answered: a pure function of the snapshot, the asker and the question.
//!
//! Which names are ours, for a client that sees some networks:
//!
//! | name | |
//! |---|---|
//! | `NAME` | every single label, whether known or not. An unknown one is not passed on: it is most often a container that is not there (yet), and its name is nobody's business upstream. Short names of hosts work as ever, because the client's resolver appends its search domains. |
//! | `NAME.NETWORK` | if the client sees the network, whether or not the name is known: a container that has gone must not turn into somebody's public `NAME.NETWORK`. Longer names below are passed on, so a network called `dev` hides `x.dev` but not `www.x.dev`. |
//! | `NAME.NETWORK.DOMAIN` | everything below the domain |
//! | `d.c.b.a.in-addr.arpa`, `….ip6.arpa` | addresses in a subnet of any network; those of networks that the client does not see do not exist |
//!
//! All else is forwarded, and so are questions for an unknown single label about delegation and DNSSEC: without `com DS`
//! no validating resolver in a container could work.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::{Name, RecordType};
use model::NetworkName;

use crate::Snapshot;

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker {
    /// The address the query came from.
    pub(crate) source: IpAddr,
    /// The address it was sent to.
    pub(crate) listener: IpAddr,
}

/// What an asker sees.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum View<'a> {
    /// The zones of these networks.
    Networks(Vec<&'a NetworkName>),
    /// Nothing: the address is one of ours and no container's. It is told so.
    Unassigned,
    /// Nothing: it is neither container nor this host. It gets no sign of life, as from any port that is not published.
    Stranger,
}

impl<'a> View<'a> {
    /// The view of `asker`: a container's networks, whichever gateway it asks. The host, whose packets to a gateway
    /// address have that same address as their source, sees the network of that gateway.
    pub(crate) fn of(snapshot: &'a Snapshot, asker: Asker) -> Self {
        if let Some(attachment) = snapshot.attachment(asker.source) {
            let mut networks: Vec<_> = snapshot.networks(&attachment.container).iter().collect();
            networks.sort_unstable();
            networks.dedup();
            return Self::Networks(networks);
        }
        match snapshot.network_of(asker.source) {
            Some((network, _)) if asker.source == asker.listener => Self::Networks(vec![network]),
            Some(_) => Self::Unassigned,
            None => Self::Stranger,
        }
    }
}

/// What is asked, in class IN.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    /// The labels in lower case, leftmost first.
    pub(crate) labels: &'a [&'a [u8]],
    pub(crate) kind: RecordType,
}

/// What is answered. A `zone` is how many of the name's last labels are the zone that is authoritative for it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// These addresses of one family, sorted; at least one.
    Addresses(Vec<IpAddr>),
    /// This name, for an address.
    Pointer(Name),
    /// The zone's SOA record.
    StartOfAuthority { zone: usize },
    /// The name exists, and one small record stands for all it has (RFC 8482 §4.2).
    Minimal,
    /// The name exists and has no record of the type.
    NoData { zone: usize },
    /// The name does not exist.
    NoSuchName { zone: usize },
    /// Not served to this asker, or not at all.
    Refuse,
    /// Not ours: an upstream knows.
    Forward,
}

/// Decides what an asker with `view` is answered.
pub(crate) fn decide(snapshot: &Snapshot, view: &View<'_>, question: Question<'_>) -> Decision {
    let View::Networks(networks) = view else { return Decision::Refuse };
    // OPT, TKEY, TSIG, IXFR, AXFR, MAILB, MAILA: no data that could be looked up (RFC 6895 §3.1).
    if matches!(u16::from(question.kind), 41 | 249..=254) {
        return Decision::Refuse;
    }
    let domain: Vec<_> = snapshot.domain().labels().map(str::as_bytes).collect();
    if let Some(inner) = question.labels.strip_suffix(domain.as_slice()) {
        return in_domain(snapshot, networks, inner, domain.len(), question.kind);
    }
    match question.labels {
        [name] => single(snapshot, networks, name, question.kind),
        [name, network] => match visible(networks, network) {
            Some(network) => named(snapshot, &[network], name, 1, question.kind),
            None => Decision::Forward,
        },
        [d, c, b, a, b"in-addr", b"arpa"] => match octets([a, b, c, d]) {
            Some(address) => reverse(snapshot, networks, address.into(), question.kind),
            None => Decision::Forward,
        },
        [nibbles @ .., b"ip6", b"arpa"] => match hexadecimal(nibbles) {
            Some(address) => reverse(snapshot, networks, address.into(), question.kind),
            None => Decision::Forward,
        },
        _ => Decision::Forward,
    }
}

fn in_domain(
    snapshot: &Snapshot,
    networks: &[&NetworkName],
    inner: &[&[u8]],
    zone: usize,
    kind: RecordType,
) -> Decision {
    match inner {
        [] if kind == RecordType::SOA => Decision::StartOfAuthority { zone },
        [] => existing(zone, kind),
        [network] if visible(networks, network).is_some() => existing(zone, kind),
        [name, network] => match visible(networks, network) {
            Some(network) => named(snapshot, &[network], name, zone, kind),
            None => Decision::NoSuchName { zone },
        },
        _ => Decision::NoSuchName { zone },
    }
}

fn single(snapshot: &Snapshot, networks: &[&NetworkName], name: &[u8], kind: RecordType) -> Decision {
    match named(snapshot, networks, name, 0, kind) {
        // `NAME.NETWORK` exists, so `NETWORK` does (RFC 8020).
        Decision::NoSuchName { zone } if visible(networks, name).is_some() => existing(zone, kind),
        Decision::NoSuchName { .. }
            if matches!(kind, RecordType::NS | RecordType::SOA | RecordType::DS | RecordType::DNSKEY) =>
        {
            Decision::Forward
        }
        decision => decision,
    }
}

fn named(snapshot: &Snapshot, networks: &[&NetworkName], name: &[u8], zone: usize, kind: RecordType) -> Decision {
    let Ok(name) = std::str::from_utf8(name) else { return Decision::NoSuchName { zone } };
    let addresses: Vec<_> = networks.iter().flat_map(|network| snapshot.addresses(network, name)).copied().collect();
    let of_type: Vec<IpAddr> = match kind {
        RecordType::A => addresses.iter().copied().filter(IpAddr::is_ipv4).collect(),
        RecordType::AAAA => addresses.iter().copied().filter(IpAddr::is_ipv6).collect(),
        _ => Vec::new(),
    };
    if addresses.is_empty() {
        Decision::NoSuchName { zone }
    } else if of_type.is_empty() {
        existing(zone, kind)
    } else {
        Decision::Addresses(of_type)
    }
}

fn reverse(snapshot: &Snapshot, networks: &[&NetworkName], address: IpAddr, kind: RecordType) -> Decision {
    let Some((network, subnet)) = snapshot.network_of(address) else { return Decision::Forward };
    // What stands for a whole label of the prefix: an octet of IPv4 (RFC 1035 §3.5), four bits of IPv6 (RFC 3596 §2.5).
    let zone = match address {
        IpAddr::V4(_) => 2 + usize::from(subnet.prefix_len() / 8).min(3),
        IpAddr::V6(_) => 2 + usize::from(subnet.prefix_len() / 4).min(31),
    };
    match snapshot.attachment(address).filter(|_| networks.contains(&network)) {
        None => Decision::NoSuchName { zone },
        Some(attachment) if kind == RecordType::PTR => {
            let labels = [attachment.container.as_str(), network.as_str()];
            let full = labels.into_iter().chain(snapshot.domain().labels()).map(str::as_bytes);
            let name =
                Name::from_labels(full).expect("valid labels, and a domain is short enough to follow two of them");
            Decision::Pointer(name)
        }
        Some(_) => existing(zone, kind),
    }
}

/// What a name that exists has to say about a type it has no record of.
fn existing(zone: usize, kind: RecordType) -> Decision {
    match kind {
        RecordType::ANY => Decision::Minimal,
        _ => Decision::NoData { zone },
    }
}

fn visible<'a>(networks: &[&'a NetworkName], label: &[u8]) -> Option<&'a NetworkName> {
    networks.iter().find(|network| network.as_str().as_bytes() == label).copied()
}

/// The address that four decimal labels write.
fn octets(labels: [&[u8]; 4]) -> Option<Ipv4Addr> {
    let mut address = [0; 4];
    for (octet, label) in address.iter_mut().zip(labels) {
        // `01` and `+1` parse as numbers too; they are other names.
        if label.first() == Some(&b'0') && label.len() > 1 || !label.iter().all(u8::is_ascii_digit) {
            return None;
        }
        *octet = std::str::from_utf8(label).ok()?.parse().ok()?;
    }
    Some(address.into())
}

/// The address that 32 labels of one hexadecimal digit write, the last digit first.
fn hexadecimal(labels: &[&[u8]]) -> Option<Ipv6Addr> {
    if labels.len() != 32 {
        return None;
    }
    let mut address = 0_u128;
    for label in labels.iter().rev() {
        let &[digit] = *label else { return None };
        address = address << 4 | u128::from(char::from(digit).to_digit(16)?);
    }
    Some(address.into())
}

#[cfg(test)]
pub(crate) mod tests;
