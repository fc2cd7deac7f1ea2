//! What can be answered without the server: questions for IPv4 addresses by whoever sees one network only, to which
//! there is one answer.
//!
//! What holds for an endpoint is asked of the same decisions as the server's answers, so the two never differ.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use model::{ContainerName, NetworkName};

use crate::{
    Attachment, RecordType, Snapshot,
    decision::{Decision, Question, View, decide},
};

/// Something that holds for whoever sees one network only, or that somebody is one of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fact {
    /// The name has one address on the network.
    Address {
        /// The network.
        network: NetworkName,
        /// The name in wire form and lower case, with the root's octet.
        name: Box<[u8]>,
        /// Its address.
        address: Ipv4Addr,
    },
    /// Who has the address sees the network and no other.
    Asker {
        /// The network.
        network: NetworkName,
        /// The address.
        address: Ipv4Addr,
    },
}

impl Snapshot {
    /// What holds of the names of these endpoints, whether they are part of this snapshot or of another, and of all
    /// endpoints of their containers.
    pub fn facts<'a>(&self, endpoints: impl IntoIterator<Item = &'a Attachment>) -> BTreeSet<Fact> {
        let mut names: BTreeSet<(&NetworkName, &str)> = BTreeSet::new();
        let mut containers: BTreeSet<&ContainerName> = BTreeSet::new();
        for endpoint in endpoints {
            names.extend(endpoint.names().map(|name| (&endpoint.network, name)));
            containers.insert(&endpoint.container);
        }
        let addresses = names.into_iter().flat_map(|(network, name)| self.addresses_of(network, name));
        addresses.chain(containers.into_iter().flat_map(|container| self.askers_of(container))).collect()
    }

    /// The endpoints on a network, each once.
    pub fn endpoints(&self, network: &NetworkName) -> Vec<Arc<Attachment>> {
        let mut endpoints: Vec<_> = self.holders(network).cloned().collect();
        endpoints.sort_by(|one, other| one.addresses.cmp(&other.addresses));
        endpoints.dedup_by(|one, other| Arc::ptr_eq(one, other));
        endpoints
    }

    fn addresses_of(&self, network: &NetworkName, name: &str) -> Vec<Fact> {
        let domain = self.domain().labels();
        let full: Vec<&[u8]> = [name, network.as_str()].into_iter().chain(domain).map(str::as_bytes).collect();
        // Whoever sees one network only is answered the same.
        let view = View::Gateway([network]);
        let fact = |labels: &[&[u8]]| {
            let Decision::Addresses(addresses) = decide(self, &view, Question { labels, kind: RecordType::A }) else {
                return None;
            };
            let [IpAddr::V4(address)] = addresses[..] else { return None };
            Some(Fact::Address { network: network.clone(), name: wire(labels), address })
        };
        [&full[..1], &full[..2], &full].into_iter().filter_map(fact).collect()
    }

    fn askers_of(&self, container: &ContainerName) -> Vec<Fact> {
        let Some((network, others)) = self.networks(container).split_first() else { return Vec::new() };
        if others.iter().any(|other| other != network) {
            return Vec::new();
        }
        let own = self.named(network, container.as_str()).iter().filter(|holder| holder.container == *container);
        let asker = |address: &IpAddr| match address {
            IpAddr::V4(address) => Some(Fact::Asker { network: network.clone(), address: *address }),
            IpAddr::V6(_) => None,
        };
        own.flat_map(|holder| &holder.addresses).filter_map(asker).collect()
    }
}

/// A name in wire form (RFC 1035 §3.1).
fn wire(labels: &[&[u8]]) -> Box<[u8]> {
    let mut name = Vec::with_capacity(labels.iter().map(|label| label.len() + 1).sum::<usize>() + 1);
    for label in labels {
        name.push(label.len() as u8);
        name.extend_from_slice(label);
    }
    name.push(0);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        decision::{Asker, Listening, tests::attachment, tests::snapshot},
        error::Transport,
        reply::{Step, step},
    };

    /// All that holds in a snapshot.
    fn all(snapshot: &Snapshot) -> BTreeSet<Fact> {
        let endpoints: Vec<_> = snapshot.all_networks().flat_map(|network| snapshot.endpoints(network)).collect();
        snapshot.facts(endpoints.iter().map(|endpoint| &**endpoint))
    }

    fn shown(facts: &BTreeSet<Fact>) -> Vec<String> {
        let show = |fact: &Fact| match fact {
            Fact::Address { network, name, address } => {
                format!("{network} {} {address}", crate::text::name(name, 0).expect("a name"))
            }
            Fact::Asker { network, address } => format!("{network} asks {address}"),
        };
        facts.iter().map(show).collect()
    }

    #[test]
    fn names_with_one_address_hold_and_whoever_sees_one_network_asks() {
        let facts = shown(&all(&snapshot()));
        for (fact, holds) in [
            ("web api 10.1.0.2", true),
            ("web api.web 10.1.0.2", true),
            ("web api.web.fabric.internal 10.1.0.2", true),
            ("web 0a0100020000 10.1.0.2", false),
            ("web 00000a010002 10.1.0.2", true),
            ("web proxy 10.1.0.3", true),
            ("back db 10.1.1.5", true),
            ("back pool 10.1.1.5", true),
            ("web asks 10.1.0.2", true),
            ("back asks 10.1.1.5", true),
            ("dev asks 172.20.0.2", true),
            // On two networks.
            ("web asks 10.1.0.3", false),
            ("back asks 10.1.1.3", false),
            // Two addresses, and none of IPv4.
            ("web pool 10.1.0.2", false),
            ("web pool 10.1.0.3", false),
            ("back proxy 10.1.1.3", false),
        ] {
            assert_eq!(facts.iter().any(|found| found == fact), holds, "{fact} in {facts:#?}");
        }
        assert!(facts.iter().all(|fact| !fact.starts_with("six")), "{facts:#?}");
    }

    /// What holds after a change is what held before, but for the facts of the endpoints that it is about.
    #[test]
    fn the_endpoints_of_a_change_are_all_that_it_concerns() {
        let before = snapshot();
        let web = "web".parse().expect("a name");
        let mut renamed = attachment("web", "web", &["10.1.0.2"]);
        renamed.aliases = vec!["db".parse().expect("a name"), "pool".parse().expect("a name")];
        let former = before.attachment(renamed.addresses[0]).expect("it is there").clone();
        let other = attachment("back", "api", &["10.1.1.9"]);
        let with = |new: &Attachment| before.with_attachment(new.clone()).expect("it fits");
        let of_web = || before.endpoints(&web).iter().map(|endpoint| (**endpoint).clone()).collect::<Vec<_>>();
        for (after, touched) in [
            (with(&renamed), vec![renamed.clone(), former.clone()]),
            (with(&other), vec![other]),
            (before.without_attachment(former.addresses[0]), vec![former]),
            (before.without_network(&web), of_web()),
        ] {
            let (gone, come) = (before.facts(&touched), after.facts(&touched));
            let expected = all(&after);
            assert_ne!(expected, all(&before));
            let mut found = all(&before);
            found.retain(|fact| !gone.contains(fact));
            found.extend(come);
            assert_eq!(shown(&found), shown(&expected));
        }
    }

    /// The server itself gives every asker each of the addresses, and no more.
    #[test]
    fn the_server_answers_the_same() {
        let snapshot = snapshot();
        let facts = all(&snapshot);
        for fact in &facts {
            let Fact::Address { network, name, address } = fact else { continue };
            for asker in &facts {
                let Fact::Asker { network: of, address: source } = asker else { continue };
                if of != network {
                    continue;
                }
                let gateway = snapshot.zone(network).expect("it is there").subnets[0].addr();
                let asker = Asker { source: (*source).into(), listener: Listening::Gateway(gateway) };
                for (flags, replied) in [
                    ([1, 0], [0x85, 0x80]),
                    ([0, 0], [0x84, 0x80]),
                    ([1, 0x10], [0x85, 0x90]),
                    ([1, 0x20], [0x85, 0x80]),
                ] {
                    let header = [7, 7, flags[0], flags[1], 0, 1, 0, 0, 0, 0, 0, 0];
                    let query = [&header[..], &name.to_ascii_uppercase(), &[0, 1, 0, 1]].concat();
                    let mut reply = Vec::new();
                    assert_eq!(step(&snapshot, asker, Transport::Udp, 0, &query, &mut reply), Step::Reply);
                    // As `kernel/tests/shortcut/names.rs` has it.
                    let mut expected = query.clone();
                    ([expected[2], expected[3]], expected[7]) = (replied, 1);
                    expected.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4]);
                    expected.extend(address.octets());
                    assert_eq!(reply, expected);
                }
            }
        }
    }
}
