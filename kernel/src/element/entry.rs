//! The entries of sets and maps that elements stand for, in the forms of the kernel and of nft.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddrV4},
    num::NonZeroU16,
};

use model::{Element, IfName, Protocol};
use nftables::{
    expr::{Expression, NamedExpression},
    schema::{self, NfCmd, NfListObject},
    types::NfFamily,
};

use super::TABLE;

/// The sets and maps that hold entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Set {
    Bridges,
    SameBridge,
    Guarded,
    PublishedAtAddress,
    PublishedAtPort,
    PublishedAddress,
    PublishedPort,
}

/// Set or map, key and, in a map, value of an entry, as the kernel holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) set: Set,
    pub(super) key: Vec<u8>,
    pub(super) value: Option<Vec<u8>>,
}

impl Set {
    pub(super) const ALL: [Self; 7] = [
        Self::Bridges,
        Self::SameBridge,
        Self::Guarded,
        Self::PublishedAtAddress,
        Self::PublishedAtPort,
        Self::PublishedAddress,
        Self::PublishedPort,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bridges => "bridges",
            Self::SameBridge => "same_bridge",
            Self::Guarded => "guarded",
            Self::PublishedAtAddress => "published_at_address",
            Self::PublishedAtPort => "published_at_port",
            Self::PublishedAddress => "published_address",
            Self::PublishedPort => "published_port",
        }
    }

    /// The map of addresses and the map of ports where a published port is found.
    fn of_published(host_ip: Option<Ipv4Addr>) -> [Self; 2] {
        match host_ip {
            Some(_) => [Self::PublishedAtAddress, Self::PublishedAtPort],
            None => [Self::PublishedAddress, Self::PublishedPort],
        }
    }
}

/// `NFPROTO_IPV4`
const IPV4: u8 = 2;

impl Entry {
    /// The entries of an element: one, or for a published port the address and the port that it leads to.
    pub(super) fn of(element: &Element) -> Vec<Self> {
        let member = |set, key| vec![Self { set, key, value: None }];
        match element {
            Element::Bridge(name) => member(Set::Bridges, interface(name)),
            Element::SameBridge(name) => member(Set::SameBridge, interface(name).repeat(2)),
            Element::ForwardingGuard => member(Set::Guarded, vec![IPV4]),
            Element::Published { host_ip, protocol, host_port, to } => {
                let mut key = Vec::new();
                if let Some(address) = host_ip {
                    field(&mut key, &address.octets());
                }
                field(&mut key, &[protocol.number()]);
                field(&mut key, &host_port.get().to_be_bytes());
                let values = [to.ip().octets().to_vec(), to.port().to_be_bytes().to_vec()];
                let entries = Set::of_published(*host_ip).into_iter().zip(values);
                entries.map(|(set, value)| Self { set, key: key.clone(), value: Some(value) }).collect()
            }
        }
    }
}

fn interface(name: &IfName) -> Vec<u8> {
    let mut bytes = name.as_str().as_bytes().to_vec();
    bytes.resize(16, 0);
    bytes
}

/// Appends one field of a concatenation: each is padded to 4 octets (`NFT_REG32_SIZE`).
fn field(key: &mut Vec<u8>, bytes: &[u8]) {
    key.extend_from_slice(bytes);
    key.resize(key.len().next_multiple_of(4), 0);
}

/// What is found in the sets and maps, entry by entry.
#[derive(Debug, Default)]
pub(super) struct Contents {
    members: BTreeSet<Element>,
    published: BTreeMap<(Option<Ipv4Addr>, Protocol, NonZeroU16), To>,
}

/// What two maps hold under one key.
#[derive(Debug, Default)]
struct To {
    address: Option<Ipv4Addr>,
    port: Option<u16>,
}

impl Contents {
    /// Notes an entry. One that Fabric would not have put there is passed over.
    pub(super) fn note(&mut self, set: Set, key: &[u8], value: Option<&[u8]>) {
        let _ = self.try_note(set, key, value);
    }

    fn try_note(&mut self, set: Set, key: &[u8], value: Option<&[u8]>) -> Option<()> {
        let name = |bytes: &[u8]| crate::netlink::string(bytes).parse().ok();
        match set {
            Set::Bridges => {
                self.members.insert(Element::Bridge(name(key)?));
            }
            Set::SameBridge => {
                let (first, second) = key.split_at_checked(16)?;
                if first == second {
                    self.members.insert(Element::SameBridge(name(first)?));
                }
            }
            Set::Guarded => {
                if key == [IPV4] {
                    self.members.insert(Element::ForwardingGuard);
                }
            }
            Set::PublishedAtAddress | Set::PublishedAddress => {
                let address: [u8; 4] = value?.try_into().ok()?;
                self.published.entry(published_key(set, key)?).or_default().address = Some(address.into());
            }
            Set::PublishedAtPort | Set::PublishedPort => {
                let port = value?.first_chunk()?;
                self.published.entry(published_key(set, key)?).or_default().port = Some(u16::from_be_bytes(*port));
            }
        }
        Some(())
    }

    /// The elements. Where a published port lacks its address or its port, it leads to `0.0.0.0` or to port 0: that is
    /// no endpoint's, so that it differs from whatever is desired, and is removed.
    pub(super) fn into_elements(self) -> BTreeSet<Element> {
        let published = self.published.into_iter().map(|((host_ip, protocol, host_port), to)| {
            let to = SocketAddrV4::new(to.address.unwrap_or(Ipv4Addr::UNSPECIFIED), to.port.unwrap_or(0));
            Element::Published { host_ip, protocol, host_port, to }
        });
        self.members.into_iter().chain(published).collect()
    }
}

fn published_key(set: Set, key: &[u8]) -> Option<(Option<Ipv4Addr>, Protocol, NonZeroU16)> {
    let (host_ip, rest) = match set {
        Set::PublishedAtAddress | Set::PublishedAtPort => {
            let (address, rest) = key.split_first_chunk::<4>()?;
            (Some(Ipv4Addr::from(*address)), rest)
        }
        _ => (None, key),
    };
    let &[number, _, _, _, high, low, _, _] = rest else { return None };
    let protocol = [Protocol::Tcp, Protocol::Udp].into_iter().find(|protocol| protocol.number() == number)?;
    Some((host_ip, protocol, NonZeroU16::new(u16::from_be_bytes([high, low]))?))
}

/// The commands of nft that add these elements, one for each set or map.
pub(crate) fn commands(elements: &BTreeSet<Element>) -> Vec<NfCmd<'static>> {
    let mut contents: BTreeMap<Set, Vec<Expression<'static>>> = BTreeMap::new();
    for (set, entry) in elements.iter().flat_map(expressions) {
        contents.entry(set).or_default().push(entry);
    }
    let add = |(set, entries): (Set, Vec<_>)| {
        let element = schema::Element {
            family: NfFamily::INet,
            table: TABLE.into(),
            name: set.name().into(),
            elem: entries.into(),
        };
        NfCmd::Add(NfListObject::Element(element))
    };
    contents.into_iter().map(add).collect()
}

/// The entries of an element in nft's form. A pair is a key and its value.
fn expressions(element: &Element) -> Vec<(Set, Expression<'static>)> {
    let word = |word: &dyn ToString| Expression::String(word.to_string().into());
    let concat = |parts| Expression::Named(NamedExpression::Concat(parts));
    match element {
        Element::Bridge(name) => vec![(Set::Bridges, word(name))],
        Element::SameBridge(name) => vec![(Set::SameBridge, concat(vec![word(name), word(name)]))],
        Element::ForwardingGuard => vec![(Set::Guarded, word(&"ipv4"))],
        Element::Published { host_ip, protocol, host_port, to } => {
            let host = host_ip.iter().map(|address| word(address));
            let key = host.chain([word(protocol), Expression::Number(host_port.get().into())]).collect::<Vec<_>>();
            let values = [word(to.ip()), Expression::Number(to.port().into())];
            let entries = Set::of_published(*host_ip).into_iter().zip(values);
            entries.map(|(set, value)| (set, Expression::List(vec![concat(key.clone()), value]))).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(text: &str) -> Element {
        Element::published(&text.parse().expect("literal"), Ipv4Addr::new(10, 1, 0, 2))
    }

    fn found(entries: &[Entry]) -> Vec<String> {
        let mut contents = Contents::default();
        for Entry { set, key, value } in entries {
            contents.note(*set, key, value.as_deref());
        }
        contents.into_elements().iter().map(Element::to_string).collect()
    }

    #[test]
    fn elements_survive_the_kernels_form() {
        for element in [
            Element::Bridge("fb-0123456789ab".parse().expect("literal")),
            Element::SameBridge("fb-0123456789ab".parse().expect("literal")),
            Element::ForwardingGuard,
            published("8080:80"),
            published("127.0.0.1:53:5353/udp"),
        ] {
            assert_eq!(found(&Entry::of(&element)), [element.to_string()]);
        }
    }

    #[test]
    fn concatenations_are_padded_field_by_field() {
        let entries = Entry::of(&published("10.0.0.1:258:80/udp"));
        let key = [10, 0, 0, 1, 17, 0, 0, 0, 1, 2, 0, 0];
        assert!(entries.iter().all(|entry| entry.key == key), "{entries:?}");
        let values: Vec<_> = entries.into_iter().map(|entry| entry.value).collect();
        assert_eq!(values, [Some(vec![10, 1, 0, 2]), Some(vec![0, 80])]);
    }

    #[test]
    fn half_a_published_port_leads_nowhere() {
        let entries = Entry::of(&published("8080:80"));
        assert_eq!(found(&entries[..1]), ["publish tcp *:8080 -> 10.1.0.2:0"]);
        assert_eq!(found(&entries[1..]), ["publish tcp *:8080 -> 0.0.0.0:80"]);
    }
}
