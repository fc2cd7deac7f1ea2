//! What is answered: a pure function of the snapshot, the asker and the question.
//!
//! Which names are ours, for a client that sees some networks. NAME is a container's name, its short identifier or one
//! of its aliases:
//!
//! | name | |
//! |---|---|
//! | `NAME` | every single label, whether known or not. An unknown one is not passed on: it is most often a container that is not there (yet), and its name is nobody's business upstream. Short names of hosts work as ever, because the client's resolver appends its search domains. |
//! | `NAME.NETWORK` | if the client sees the network, whether or not the name is known: a container that has gone must not turn into somebody's public `NAME.NETWORK`. Longer names below are passed on, so a network called `dev` hides `x.dev` but not `www.x.dev`. |
//! | `NAME.NETWORK.DOMAIN` | everything below the domain |
//! | `_PORT._PROTOCOL.` before any of these | the same again (RFC 2782) |
//! | `d.c.b.a.in-addr.arpa`, `….ip6.arpa` | addresses in a subnet of any network; those of networks that the client does not see do not exist |
//!
//! All else is forwarded, and so are questions for an unknown single label about delegation and DNSSEC: without `com
//! DS` no validating resolver in a container could work.

mod reverse;
mod view;

use std::net::IpAddr;

use model::NetworkName;
use smallvec::SmallVec;

pub(crate) use self::view::{Asker, Listening, Route, View};
use crate::{Attachment, RecordType, Service, Snapshot};

/// What is asked, in class IN.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    /// The labels in lower case, leftmost first.
    pub(crate) labels: &'a [&'a [u8]],
    pub(crate) kind: RecordType,
}

/// What is answered. A `zone` is how many of the name's last labels are the zone that is authoritative for it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decision<'a> {
    /// These addresses, of the family asked for; at least one.
    Addresses(SmallVec<[IpAddr; 8]>),
    /// The full name of this endpoint, for an address.
    Pointer(&'a Attachment),
    /// These ports of these endpoints; at least one.
    Services(Vec<(&'a Attachment, Service)>),
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
pub(crate) fn decide<'a>(snapshot: &'a Snapshot, view: &View<'a>, question: Question<'_>) -> Decision<'a> {
    let Some(networks) = view.networks() else { return Decision::Refuse };
    if question.kind.is_no_data() {
        return Decision::Refuse;
    }
    let names = Names { snapshot, networks, kind: question.kind };
    // `_PORT._PROTOCOL.REST`, or `_PROTOCOL.REST` for the node between.
    let (service, rest) = match question.labels {
        [port @ [b'_', ..], protocol @ (b"_tcp" | b"_udp" | b"_sctp"), rest @ ..] => {
            (Some(Prefix { port: Some(*port), protocol }), rest)
        }
        [protocol @ (b"_tcp" | b"_udp" | b"_sctp"), rest @ ..] => (Some(Prefix { port: None, protocol }), rest),
        rest => (None, rest),
    };
    let decision = names.decide(rest, service);
    match (decision, view) {
        // Whoever listens for the host knows nothing but what is ours, so that a host that asks it never asks itself.
        (Decision::Forward, View::Host(_)) => Decision::Refuse,
        (decision, _) => decision,
    }
}

/// What stands before the name of who serves: `_PORT` if there is one, and `_PROTOCOL`.
#[derive(Debug, Clone, Copy)]
struct Prefix<'q> {
    port: Option<&'q [u8]>,
    protocol: &'q [u8],
}

struct Names<'a, 'v> {
    snapshot: &'a Snapshot,
    networks: &'v [&'a NetworkName],
    kind: RecordType,
}

impl<'a> Names<'a, '_> {
    fn decide(&self, labels: &[&[u8]], prefix: Option<Prefix<'_>>) -> Decision<'a> {
        let domain = self.snapshot.domain();
        if let Some(inner) = domain.strip_from(labels) {
            return self.in_domain(inner, domain.label_count(), prefix);
        }
        match labels {
            [name] => self.single(name, prefix),
            [name, network] => match self.visible(network) {
                Some(network) => self.named(&[network], name, 1, prefix),
                None => Decision::Forward,
            },
            [.., b"arpa"] if prefix.is_none() => match reverse::address(labels) {
                Some(address) => self.reverse(address),
                None => Decision::Forward,
            },
            _ => Decision::Forward,
        }
    }

    fn in_domain(&self, inner: &[&[u8]], zone: usize, prefix: Option<Prefix<'_>>) -> Decision<'a> {
        match inner {
            [name, network] => match self.visible(network) {
                Some(network) => self.named(&[network], name, zone, prefix),
                None => Decision::NoSuchName { zone },
            },
            _ if prefix.is_some() => Decision::NoSuchName { zone },
            [] if self.kind == RecordType::SOA => Decision::StartOfAuthority { zone },
            [] => self.existing(zone),
            [network] if self.visible(network).is_some() => self.existing(zone),
            _ => Decision::NoSuchName { zone },
        }
    }

    fn single(&self, name: &[u8], prefix: Option<Prefix<'_>>) -> Decision<'a> {
        match self.named(self.networks, name, 0, prefix) {
            // `NAME.NETWORK` exists, so `NETWORK` does (RFC 8020).
            Decision::NoSuchName { zone } if prefix.is_none() && self.visible(name).is_some() => self.existing(zone),
            Decision::NoSuchName { .. }
                if matches!(self.kind, RecordType::NS | RecordType::SOA | RecordType::DS | RecordType::DNSKEY) =>
            {
                Decision::Forward
            }
            decision => decision,
        }
    }

    fn named(&self, networks: &[&NetworkName], name: &[u8], zone: usize, prefix: Option<Prefix<'_>>) -> Decision<'a> {
        let Ok(name) = std::str::from_utf8(name) else { return Decision::NoSuchName { zone } };
        let holders = || networks.iter().flat_map(|network| self.snapshot.named(network, name));
        if holders().next().is_none() {
            return Decision::NoSuchName { zone };
        }
        if let Some(Prefix { port, protocol }) = prefix {
            let all = holders().flat_map(|holder| holder.services.iter().map(|service| (&**holder, *service)));
            let meant: Vec<_> = match port {
                Some(port) => all.filter(|(_, service)| service.is_meant(port, protocol)).collect(),
                None => all.filter(|(_, service)| service.speaks(protocol)).collect(),
            };
            return match (self.kind, port) {
                _ if meant.is_empty() => Decision::NoSuchName { zone },
                (RecordType::SRV, Some(_)) => Decision::Services(meant),
                _ => self.existing(zone),
            };
        }
        let wanted: fn(&IpAddr) -> bool = match self.kind {
            RecordType::A => IpAddr::is_ipv4,
            RecordType::AAAA => IpAddr::is_ipv6,
            _ => return self.existing(zone),
        };
        let addresses: SmallVec<_> =
            holders().flat_map(|holder| &holder.addresses).filter(|address| wanted(address)).copied().collect();
        if addresses.is_empty() { Decision::NoData { zone } } else { Decision::Addresses(addresses) }
    }

    fn reverse(&self, address: IpAddr) -> Decision<'a> {
        let Some((network, subnet)) = self.snapshot.network_of(address) else { return Decision::Forward };
        let zone = reverse::zone_labels(subnet);
        match self.snapshot.attachment(address).filter(|_| self.networks.contains(&network)) {
            None => Decision::NoSuchName { zone },
            Some(attachment) if self.kind == RecordType::PTR => Decision::Pointer(attachment),
            Some(_) => self.existing(zone),
        }
    }

    /// What a name that exists has to say about a type it has no record of.
    fn existing(&self, zone: usize) -> Decision<'a> {
        match self.kind {
            RecordType::ANY => Decision::Minimal,
            _ => Decision::NoData { zone },
        }
    }

    fn visible(&self, label: &[u8]) -> Option<&'a NetworkName> {
        self.networks.iter().find(|network| network.as_str().as_bytes() == label).copied()
    }
}

#[cfg(test)]
pub(crate) mod tests;
