//! What a table says of itself: a map in it holds a hash of the commands it was made with, and one of what the kernel
//! made of them. So any `netd` can check the work of any other.

use std::collections::BTreeSet;

use netlink_packet_core::NLM_F_CREATE;
use netlink_packet_netfilter::nftables::{
    DataAttribute, ListAttribute, NfTablesMessage, SetElementAttribute, SetElementList, SetElementMessage,
};
use rustix::io::Errno;

use super::{fingerprint::Hash, refused};
use crate::{
    KernelError,
    element::{NETFILTER_HEADER, TableFamily, message, transaction},
    netlink::{Reply, Request, Socket, attribute, attributes, number},
};

/// The map, in each table that has one: from the number of a hash to the hash.
pub(crate) const MARKER: &str = "marker";

/// What the map holds in a table that these commands made, of which the kernel made this.
pub(crate) fn entries(commands: Hash, fingerprint: Hash) -> BTreeSet<(u32, u32)> {
    [first(commands), (2, fingerprint.0)].into()
}

/// The entry that tells what commands made the table.
pub(crate) fn first(commands: Hash) -> (u32, u32) {
    (1, commands.0)
}

/// What the map of a table of the family `inet` holds; none if there is no such map.
pub(crate) fn read(socket: &mut Socket, table: &str) -> Result<Option<BTreeSet<(u32, u32)>>, KernelError> {
    let request = || message(TableFamily::Inet, NfTablesMessage::GetSetElement(elements(table, Vec::new())));
    match socket.dump(request) {
        Err(refusal) if refusal.is(Errno::NOENT) => Ok(None),
        answer => {
            let replies = answer.map_err(refused("read the marker of a table"))?;
            Ok(Some(replies.iter().flat_map(found).collect()))
        }
    }
}

/// Has the map say this and nothing else, in one transaction.
pub(crate) fn write(socket: &mut Socket, table: &str, commands: Hash, fingerprint: Hash) -> Result<(), KernelError> {
    let element = |(key, value): (u32, u32)| {
        let value_of = |number: u32| DataAttribute::Value(number.to_ne_bytes().to_vec());
        let parts = vec![SetElementAttribute::Key(value_of(key)), SetElementAttribute::Data(value_of(value))];
        elements(table, vec![ListAttribute::Element(parts)])
    };
    let old = read(socket, table)?.unwrap_or_default().into_iter();
    let delete = |entry| Request::new(message(TableFamily::Inet, NfTablesMessage::DeleteSetElement(element(entry))), 0);
    let add =
        |entry| Request::new(message(TableFamily::Inet, NfTablesMessage::NewSetElement(element(entry))), NLM_F_CREATE);
    let requests = old.map(delete).chain(entries(commands, fingerprint).into_iter().map(add)).collect();
    transaction(socket, requests).into_iter().try_for_each(|answer| answer.map_err(refused("mark a table")))
}

fn elements(table: &str, elements: Vec<ListAttribute<SetElementAttribute>>) -> SetElementMessage {
    let mut attributes = vec![SetElementList::Table(table.into()), SetElementList::Set(MARKER.into())];
    if !elements.is_empty() {
        attributes.push(SetElementList::Elements(elements));
    }
    SetElementMessage { attributes }
}

fn found(reply: &Reply) -> Vec<(u32, u32)> {
    let of = |element, kind| -> Option<u32> { number(attribute(attribute(element, kind)?, 1)?) };
    let list = reply.payload.get(NETFILTER_HEADER..).and_then(|rest| attribute(rest, 3)).unwrap_or_default();
    attributes(list).filter_map(|(_, element)| Some((of(element, 1)?, of(element, 2)?))).collect()
}
