//! Elements of the sets and maps of the tables called `fabric`, over netlink and in process: spawning `nft` costs
//! milliseconds, one element a tenth of one.

mod entry;
mod expression;
mod port;
mod set;

use std::collections::BTreeSet;

use model::Element;
use netlink_packet_core::{DefaultNla, NLM_F_CREATE};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterProtoFamily,
    nftables::{DataAttribute, ListAttribute, NfTablesMessage, SetElementAttribute, SetElementList, SetElementMessage},
    none::ControlMessage,
};
use rustix::io::Errno;

use entry::{Contents, Entry};
pub(crate) use expression::commands;
pub(crate) use port::port_commands;
pub(crate) use set::Set;

use crate::{
    KernelError,
    netlink::{Refusal, Reply, Request, Socket, attribute, attributes},
};

pub(crate) const TABLE: &str = "fabric";
/// The families of the tables called `fabric` that are Fabric's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TableFamily {
    /// What enters, leaves and crosses the host.
    Inet,
    /// What comes in by the ports of networks' bridges.
    Bridge,
}

impl TableFamily {
    pub(crate) const ALL: [Self; 2] = [Self::Inet, Self::Bridge];

    /// Its number in netlink, `NFPROTO_*` of `include/uapi/linux/netfilter.h`.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Inet => 1,
            Self::Bridge => 7,
        }
    }
}

/// Whether a message with this `nfgenmsg` header is about one of the families.
pub(crate) fn is_of_ours(header: &[u8]) -> bool {
    TableFamily::ALL.iter().any(|family| header.first() == Some(&family.number()))
}

/// `NFNL_SUBSYS_NFTABLES`, the subsystem that a batch is for.
pub(crate) const SUBSYSTEM: u16 = 10;
/// Family, version and resource of every nfnetlink message.
pub(crate) const NETFILTER_HEADER: usize = 4;
/// How many elements are changed in one transaction: it must fit the socket's send buffer (208 KiB), and its answers,
/// each in a buffer of its own, the receive buffer. An element is up to two entries.
const BATCH: usize = 125;

// `include/uapi/linux/netfilter/nf_tables.h`
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_DATA: u16 = 2;
const NFTA_SET_ELEM_KEY_END: u16 = 10;
const NFTA_DATA_VALUE: u16 = 1;

/// A message to the nftables of a family.
pub(crate) fn message(family: TableFamily, inner: NfTablesMessage) -> NetfilterMessage {
    let family = match family {
        TableFamily::Inet => NetfilterProtoFamily::Inet,
        TableFamily::Bridge => NetfilterProtoFamily::Bridge,
    };
    NetfilterMessage::new(NetfilterHeader::new(family, 0, 0), inner)
}

fn entries_message(set: Set, entries: Vec<ListAttribute<SetElementAttribute>>) -> SetElementMessage {
    let mut attributes = vec![SetElementList::Table(TABLE.into()), SetElementList::Set(set.name().into())];
    if !entries.is_empty() {
        attributes.push(SetElementList::Elements(entries));
    }
    SetElementMessage { attributes }
}

fn entry_message(entry: &Entry, with_value: bool) -> SetElementMessage {
    let mut parts = vec![SetElementAttribute::Key(DataAttribute::Value(entry.key.clone()))];
    if let Some(end) = &entry.key_end {
        parts.push(SetElementAttribute::KeyEnd(vec![DefaultNla::new(NFTA_DATA_VALUE, end.clone())]));
    }
    if with_value && let Some(value) = &entry.value {
        parts.push(SetElementAttribute::Data(DataAttribute::Value(value.clone())));
    }
    entries_message(entry.set, vec![ListAttribute::Element(parts)])
}

/// The entries of a set or map that a `NFT_MSG_NEWSETELEM` shows.
fn entries(set: Set, reply: &Reply) -> impl Iterator<Item = Entry> {
    let list = reply.payload.get(NETFILTER_HEADER..).and_then(|rest| attribute(rest, NFTA_SET_ELEM_LIST_ELEMENTS));
    attributes(list.unwrap_or_default()).filter(|(kind, _)| *kind == NFTA_LIST_ELEM).filter_map(move |(_, element)| {
        let data = |kind| attribute(attribute(element, kind)?, NFTA_DATA_VALUE).map(<[u8]>::to_vec);
        Some(Entry {
            set,
            key: data(NFTA_SET_ELEM_KEY)?,
            key_end: data(NFTA_SET_ELEM_KEY_END),
            value: data(NFTA_SET_ELEM_DATA),
        })
    })
}

/// All elements of all sets and maps. Without the table there are none.
pub(crate) fn all(socket: &mut Socket) -> Result<BTreeSet<Element>, KernelError> {
    let mut contents = Contents::default();
    for set in Set::ALL {
        match socket.dump(|| message(set.table(), NfTablesMessage::GetSetElement(entries_message(set, Vec::new())))) {
            Ok(replies) => {
                for entry in replies.iter().flat_map(|reply| entries(set, reply)) {
                    contents.note(&entry);
                }
            }
            Err(refusal) if refusal.is(Errno::NOENT) => {}
            Err(source) => {
                return Err(KernelError::Netlink { action: format!("list elements of {}", set.name()), source });
            }
        }
    }
    Ok(contents.into_elements())
}

/// What the sets and maps hold under the keys of these elements, at the cost of these elements only.
pub(crate) fn look_up<'a>(
    socket: &mut Socket,
    elements: impl IntoIterator<Item = &'a Element>,
) -> Result<BTreeSet<Element>, KernelError> {
    let wanted: Vec<_> = elements.into_iter().flat_map(with_entries).collect();
    let request = |entry: &Entry| {
        Request::new(message(entry.set.table(), NfTablesMessage::GetSetElement(entry_message(entry, false))), 0)
    };
    let answers = socket.exchange(wanted.iter().map(|(_, entry)| request(entry)).collect());
    let mut contents = Contents::default();
    for ((element, entry), answer) in wanted.iter().zip(answers) {
        match answer {
            Ok(replies) => {
                for found in replies.iter().flat_map(|reply| entries(entry.set, reply)) {
                    contents.note(&found);
                }
            }
            Err(refusal) if refusal.is(Errno::NOENT) => {}
            Err(source) => return Err(KernelError::Netlink { action: format!("look up {element}"), source }),
        }
    }
    Ok(contents.into_elements())
}

fn with_entries(element: &Element) -> impl Iterator<Item = (&Element, Entry)> {
    Entry::of(element).into_iter().map(move |entry| (element, entry))
}

/// Adds elements. Those that are there already stay.
pub(crate) fn add(socket: &mut Socket, elements: &BTreeSet<Element>) -> Result<(), KernelError> {
    let request = |entry: &Entry| {
        Request::new(
            message(entry.set.table(), NfTablesMessage::NewSetElement(entry_message(entry, true))),
            NLM_F_CREATE,
        )
    };
    let elements: Vec<_> = elements.iter().collect();
    for batch in elements.chunks(BATCH) {
        let batch: Vec<_> = batch.iter().copied().flat_map(with_entries).collect();
        let answers = transaction(socket, batch.iter().map(|(_, entry)| request(entry)).collect());
        for ((element, _), answer) in batch.iter().zip(answers) {
            answer.map_err(|source| KernelError::Netlink { action: format!("add {element}"), source })?;
        }
    }
    Ok(())
}

/// Removes elements. Those that are gone already do not matter.
pub(crate) fn remove(socket: &mut Socket, elements: &BTreeSet<Element>) -> Result<(), KernelError> {
    let request = |entry: &Entry| {
        Request::new(message(entry.set.table(), NfTablesMessage::DeleteSetElement(entry_message(entry, true))), 0)
    };
    let elements: Vec<_> = elements.iter().collect();
    for batch in elements.chunks(BATCH) {
        let batch: Vec<_> = batch.iter().copied().flat_map(with_entries).collect();
        let answers = transaction(socket, batch.iter().map(|(_, entry)| request(entry)).collect());
        if answers.iter().all(Result::is_ok) {
            continue;
        }
        // One that is gone makes the kernel refuse the whole transaction.
        for (element, entry) in &batch {
            for answer in transaction(socket, vec![request(entry)]) {
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
