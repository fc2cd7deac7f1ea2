//! Elements of the sets and maps of `table inet fabric`, over netlink and in process: spawning `nft` costs
//! milliseconds, one element a tenth of one.

use std::{
    collections::BTreeSet,
    fmt::Write,
    net::{Ipv4Addr, SocketAddrV4},
    num::NonZeroU16,
};

use model::{Element, Protocol};
use netlink_packet_core::NLM_F_CREATE;
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterProtoFamily,
    nftables::{DataAttribute, ListAttribute, NfTablesMessage, SetElementAttribute, SetElementList, SetElementMessage},
    none::ControlMessage,
};
use rustix::io::Errno;

use crate::{
    KernelError,
    netlink::{Refusal, Reply, Request, Socket, attribute, attributes},
};

pub(crate) const TABLE: &str = "fabric";
/// `NFNL_SUBSYS_NFTABLES`, the subsystem that a batch is for.
const SUBSYSTEM: u16 = 10;
/// Family, version and resource of every nfnetlink message.
pub(crate) const NETFILTER_HEADER: usize = 4;
/// How many elements are changed in one transaction: it must fit the socket's send buffer (208 KiB), and its answers,
/// each in a buffer of its own, the receive buffer.
const BATCH: usize = 250;

// `include/uapi/linux/netfilter/nf_tables.h`
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;

/// The sets and maps that hold members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    Bridges,
    SameBridge,
    Guarded,
    PublishedAt,
    Published,
}

/// Set or map, key and, in a map, value of an element, as the kernel holds them.
struct Entry {
    set: &'static str,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
}

impl Set {
    const ALL: [Self; 5] = [Self::Bridges, Self::SameBridge, Self::Guarded, Self::PublishedAt, Self::Published];

    fn of(element: &Element) -> Self {
        match element {
            Element::Bridge(_) => Self::Bridges,
            Element::SameBridge(_) => Self::SameBridge,
            Element::ForwardingGuard => Self::Guarded,
            Element::Published { host_ip: Some(_), .. } => Self::PublishedAt,
            Element::Published { host_ip: None, .. } => Self::Published,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Bridges => "bridges",
            Self::SameBridge => "same_bridge",
            Self::Guarded => "guarded",
            Self::PublishedAt => "published_at",
            Self::Published => "published",
        }
    }

    /// The element that a key and a value stand for; none if Fabric would not have put it there.
    fn decode(self, key: &[u8], value: Option<&[u8]>) -> Option<Element> {
        let name = |bytes: &[u8]| crate::netlink::string(bytes).parse().ok();
        match self {
            Self::Bridges => name(key).map(Element::Bridge),
            Self::SameBridge => {
                let (first, second) = key.split_at_checked(16)?;
                if first == second { name(first).map(Element::SameBridge) } else { None }
            }
            Self::Guarded => (key == [IPV4]).then_some(Element::ForwardingGuard),
            Self::PublishedAt => {
                let (host, rest) = key.split_first_chunk::<4>()?;
                published(Some(Ipv4Addr::from(*host)), rest, value?)
            }
            Self::Published => published(None, key, value?),
        }
    }
}

/// `NFPROTO_IPV4`
const IPV4: u8 = 2;

fn published(host_ip: Option<Ipv4Addr>, key: &[u8], value: &[u8]) -> Option<Element> {
    let (&[number, _, _, _, high, low, _, _], &[a, b, c, d, to_high, to_low, _, _]) = (key, value) else {
        return None;
    };
    let protocol = [Protocol::Tcp, Protocol::Udp].into_iter().find(|protocol| protocol.number() == number)?;
    Some(Element::Published {
        host_ip,
        protocol,
        host_port: NonZeroU16::new(u16::from_be_bytes([high, low]))?,
        to: SocketAddrV4::new([a, b, c, d].into(), u16::from_be_bytes([to_high, to_low])),
    })
}

/// Appends one field of a concatenation: each is padded to 4 octets (`NFT_REG32_SIZE`).
fn field(key: &mut Vec<u8>, bytes: &[u8]) {
    key.extend_from_slice(bytes);
    key.resize(key.len().next_multiple_of(4), 0);
}

fn encode(element: &Element) -> Entry {
    let interface = |name: &model::IfName| {
        let mut bytes = name.as_str().as_bytes().to_vec();
        bytes.resize(16, 0);
        bytes
    };
    let mut value = None;
    let mut key = Vec::new();
    match element {
        Element::Bridge(name) => key = interface(name),
        Element::SameBridge(name) => {
            key = interface(name);
            key.extend(interface(name));
        }
        Element::ForwardingGuard => key.push(IPV4),
        Element::Published { host_ip, protocol, host_port, to } => {
            if let Some(address) = host_ip {
                field(&mut key, &address.octets());
            }
            field(&mut key, &[protocol.number()]);
            field(&mut key, &host_port.get().to_be_bytes());
            let mut data = Vec::new();
            field(&mut data, &to.ip().octets());
            field(&mut data, &to.port().to_be_bytes());
            value = Some(data);
        }
    }
    Entry { set: Set::of(element).name(), key, value }
}

/// The commands of `nft` that add these elements.
pub(crate) fn script(elements: &BTreeSet<Element>) -> String {
    let mut text = String::new();
    for element in elements {
        let set = Set::of(element).name();
        let entry = match element {
            Element::Bridge(name) => format!("\"{name}\""),
            Element::SameBridge(name) => format!("\"{name}\" . \"{name}\""),
            Element::ForwardingGuard => "ipv4".to_owned(),
            Element::Published { host_ip, protocol, host_port, to } => {
                let host = host_ip.map(|address| format!("{address} . ")).unwrap_or_default();
                format!("{host}{protocol} . {host_port} : {} . {}", to.ip(), to.port())
            }
        };
        writeln!(text, "add element inet {TABLE} {set} {{ {entry} }}").expect("writing to a String never fails");
    }
    text
}

/// A message to the nftables of the `inet` family.
pub(crate) fn message(inner: NfTablesMessage) -> NetfilterMessage {
    NetfilterMessage::new(NetfilterHeader::new(NetfilterProtoFamily::Inet, 0, 0), inner)
}

fn elements_message(set: &str, elements: Vec<ListAttribute<SetElementAttribute>>) -> SetElementMessage {
    let mut attributes = vec![SetElementList::Table(TABLE.into()), SetElementList::Set(set.into())];
    if !elements.is_empty() {
        attributes.push(SetElementList::Elements(elements));
    }
    SetElementMessage { attributes }
}

fn entry_message(entry: Entry, with_value: bool) -> SetElementMessage {
    let mut parts = vec![SetElementAttribute::Key(DataAttribute::Value(entry.key))];
    if with_value && let Some(value) = entry.value {
        parts.push(SetElementAttribute::Data(DataAttribute::Value(value)));
    }
    elements_message(entry.set, vec![ListAttribute::Element(parts)])
}

/// The elements that a `NFT_MSG_NEWSETELEM` shows, as key and value.
fn entries(reply: &Reply) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    let list = reply.payload.get(NETFILTER_HEADER..).and_then(|rest| attribute(rest, NFTA_SET_ELEM_LIST_ELEMENTS));
    attributes(list.unwrap_or_default()).filter(|(kind, _)| *kind == NFTA_LIST_ELEM).filter_map(|(_, element)| {
        let key = attribute(attribute(element, NFTA_SET_ELEM_KEY)?, NFTA_DATA_VALUE)?;
        let value = attribute(element, NFTA_SET_ELEM_DATA).and_then(|data| attribute(data, NFTA_DATA_VALUE));
        Some((key, value))
    })
}

/// All elements of all sets and maps. Without the table there are none.
pub(crate) fn all(socket: &mut Socket) -> Result<BTreeSet<Element>, KernelError> {
    let mut elements = BTreeSet::new();
    for set in Set::ALL {
        match socket.dump(|| message(NfTablesMessage::GetSetElement(elements_message(set.name(), Vec::new())))) {
            Ok(replies) => {
                let found = replies.iter().flat_map(entries).filter_map(|(key, value)| set.decode(key, value));
                elements.extend(found);
            }
            Err(refusal) if refusal.is(Errno::NOENT) => {}
            Err(source) => {
                return Err(KernelError::Netlink { action: format!("list elements of {}", set.name()), source });
            }
        }
    }
    Ok(elements)
}

/// What the sets and maps hold under the keys of these elements, at the cost of these elements only.
pub(crate) fn look_up<'a>(
    socket: &mut Socket,
    elements: impl IntoIterator<Item = &'a Element>,
) -> Result<BTreeSet<Element>, KernelError> {
    let elements: Vec<_> = elements.into_iter().collect();
    let request = |element: &&Element| {
        Request::new(message(NfTablesMessage::GetSetElement(entry_message(encode(element), false))), 0)
    };
    let answers = socket.exchange(elements.iter().map(request).collect());
    let mut found = BTreeSet::new();
    for (element, answer) in elements.into_iter().zip(answers) {
        match answer {
            Ok(replies) => {
                let set = Set::of(element);
                found.extend(replies.iter().flat_map(entries).filter_map(|(key, value)| set.decode(key, value)));
            }
            Err(refusal) if refusal.is(Errno::NOENT) => {}
            Err(source) => return Err(KernelError::Netlink { action: format!("look up {element}"), source }),
        }
    }
    Ok(found)
}

/// Adds elements. Those that are there already stay.
pub(crate) fn add(socket: &mut Socket, elements: &BTreeSet<Element>) -> Result<(), KernelError> {
    let request = |element: &Element| {
        Request::new(message(NfTablesMessage::NewSetElement(entry_message(encode(element), true))), NLM_F_CREATE)
    };
    let elements: Vec<_> = elements.iter().collect();
    for batch in elements.chunks(BATCH) {
        let answers = transaction(socket, batch.iter().map(|element| request(element)).collect());
        for (element, answer) in batch.iter().zip(answers) {
            answer.map_err(|source| KernelError::Netlink { action: format!("add {element}"), source })?;
        }
    }
    Ok(())
}

/// Removes elements. Those that are gone already do not matter.
pub(crate) fn remove(socket: &mut Socket, elements: &BTreeSet<Element>) -> Result<(), KernelError> {
    let request = |element: &Element| {
        Request::new(message(NfTablesMessage::DeleteSetElement(entry_message(encode(element), true))), 0)
    };
    let elements: Vec<_> = elements.iter().collect();
    for batch in elements.chunks(BATCH) {
        let answers = transaction(socket, batch.iter().map(|element| request(element)).collect());
        if answers.iter().all(Result::is_ok) {
            continue;
        }
        // One that is gone makes the kernel refuse the whole transaction.
        for element in batch {
            for answer in transaction(socket, vec![request(element)]) {
                match answer {
                    Err(refusal) if refusal.is(Errno::NOENT) => {}
                    answer => {
                        answer
                            .map_err(|source| KernelError::Netlink { action: format!("remove {element}"), source })?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// Applies requests as one transaction: all or none. The answers are those of the requests.
pub(crate) fn transaction(socket: &mut Socket, requests: Vec<Request>) -> Vec<Result<(), Refusal>> {
    let border = |inner: ControlMessage| {
        let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, SUBSYSTEM);
        Request::unanswered(NetfilterMessage::new(header, inner))
    };
    let count = requests.len();
    let mut batch = vec![border(ControlMessage::BatchBegin)];
    batch.extend(requests);
    batch.push(border(ControlMessage::BatchEnd));
    socket.exchange_at_once(batch).into_iter().skip(1).take(count).map(|answer| answer.map(drop)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_survive_the_kernels_form() {
        let publish = |text: &str| Element::published(&text.parse().expect("literal"), Ipv4Addr::new(10, 1, 0, 2));
        for element in [
            Element::Bridge("fb-0123456789ab".parse().expect("literal")),
            Element::SameBridge("fb-0123456789ab".parse().expect("literal")),
            Element::ForwardingGuard,
            publish("8080:80"),
            publish("127.0.0.1:53:5353/udp"),
        ] {
            let entry = encode(&element);
            let decoded = Set::of(&element).decode(&entry.key, entry.value.as_deref());
            assert_eq!(decoded.as_ref(), Some(&element), "{element}");
        }
    }

    #[test]
    fn concatenations_are_padded_field_by_field() {
        let element = Element::published(&"10.0.0.1:258:80/udp".parse().expect("literal"), Ipv4Addr::new(10, 1, 0, 2));
        let entry = encode(&element);
        assert_eq!(entry.key, [10, 0, 0, 1, 17, 0, 0, 0, 1, 2, 0, 0]);
        assert_eq!(entry.value, Some(vec![10, 1, 0, 2, 0, 80, 0, 0]));
    }
}
