//! Elements of sets, as netlink has them: of those that endpoints come and go with, and of ports and messages.

use std::net::IpAddr;

use model::{
    Family, Protocol,
    data_path::{ChainName, Elements, Key, PacketVerdict, SetKind, SetName, TABLE},
};
use netlink_packet_core::DefaultNla;
use netlink_packet_netfilter::nftables::{
    DataAttribute, ListAttribute, NfTablesMessage, SetElementAttribute, SetElementList, SetElementMessage, Verdict,
    VerdictAttribute,
};
use rustix::io::Errno;

use crate::{
    KernelError,
    element::{NETFILTER_HEADER, TableFamily, message},
    netlink::{Reply, Socket, attribute, attributes, string},
    structure::refused,
};

// `include/uapi/linux/netfilter/nf_tables.h`
const LIST_ELEMENTS: u16 = 3;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_DATA: u16 = 2;
const ELEMENT_KEY_END: u16 = 10;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const VERDICT_CHAIN: u16 = 2;
/// `include/uapi/linux/netfilter.h`
const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;

/// The message about one element; without its verdict it is enough to delete one.
pub(super) fn of(name: &SetName, key: &Key, verdict: Option<&PacketVerdict>) -> SetElementMessage {
    let (first, last) = octets(key);
    let mut parts = vec![SetElementAttribute::Key(DataAttribute::Value(first))];
    parts.extend(last.map(|last| SetElementAttribute::KeyEnd(vec![DefaultNla::new(DATA_VALUE, last)])));
    parts.extend(verdict.map(|verdict| SetElementAttribute::Data(DataAttribute::Verdict(verdict_of(verdict)))));
    list(name, vec![ListAttribute::Element(parts)])
}

/// Whether elements of such sets are added and deleted here. Ranges of addresses are two for the kernel, of which one
/// may be another's, too: what that comes to is known to `nft`.
pub(super) fn are_simple(kind: SetKind) -> bool {
    !matches!(kind, SetKind::RangeMap(_))
}

/// Elements of a set whose elements are simple, as the kernel has them; none if one of them is not such as are put
/// there.
pub(super) fn read(name: &SetName, raw: &[Vec<u8>]) -> Option<Elements> {
    let element = |element: &Vec<u8>| {
        let first = attribute(attribute(element, ELEMENT_KEY)?, DATA_VALUE)?;
        let last = attribute(element, ELEMENT_KEY_END).and_then(|end| attribute(end, DATA_VALUE));
        let key = key(name.kind, first, last.unwrap_or(first))?;
        let verdict = match name.kind.is_map() {
            true => Some(read_verdict(attribute(attribute(element, ELEMENT_DATA)?, DATA_VERDICT)?)?),
            false => None,
        };
        Some((key, verdict))
    };
    raw.iter().map(element).collect()
}

/// The elements of a set as the kernel has them; none if there is no such set.
pub(super) fn raw(socket: &mut Socket, name: &SetName) -> Result<Option<Vec<Vec<u8>>>, KernelError> {
    let request = || message(TableFamily::Inet, NfTablesMessage::GetSetElement(list(name, Vec::new())));
    match socket.dump(request) {
        Err(refusal) if refusal.is(Errno::NOENT) => Ok(None),
        answer => {
            let replies = answer.map_err(refused("list the elements of a set of policies"))?;
            Ok(Some(replies.iter().flat_map(elements).map(<[u8]>::to_vec).collect()))
        }
    }
}

fn elements(reply: &Reply) -> impl Iterator<Item = &[u8]> {
    let list = reply.payload.get(NETFILTER_HEADER..).and_then(|rest| attribute(rest, LIST_ELEMENTS));
    attributes(list.unwrap_or_default()).map(|(_, element)| element)
}

fn list(name: &SetName, elements: Vec<ListAttribute<SetElementAttribute>>) -> SetElementMessage {
    let mut attributes = vec![SetElementList::Table(TABLE.into()), SetElementList::Set(name.to_string())];
    if !elements.is_empty() {
        attributes.push(SetElementList::Elements(elements));
    }
    SetElementMessage { attributes }
}

/// The parts of a key one after the other, each padded to 4 octets (`NFT_REG32_SIZE`); and those of its end where it
/// has one.
fn octets(key: &Key) -> (Vec<u8>, Option<Vec<u8>>) {
    let of_port = |protocol: &Protocol, port: u16| {
        let [high, low] = port.to_be_bytes();
        vec![protocol.number(), 0, 0, 0, high, low, 0, 0]
    };
    let of_message = |kind: u8, code: u8| vec![kind, 0, 0, 0, code, 0, 0, 0];
    match key {
        Key::Address(address) => (of_address(*address), None),
        Key::Pair(one, other) => ([of_address(*one), of_address(*other)].concat(), None),
        Key::Target(address, protocol, port) => ([of_address(*address), of_port(protocol, *port)].concat(), None),
        Key::Ports(protocol, first, last) => (of_port(protocol, *first), Some(of_port(protocol, *last))),
        Key::Messages([kind, last_kind], [code, last_code]) => {
            (of_message(*kind, *code), Some(of_message(*last_kind, *last_code)))
        }
        // See `are_simple`.
        Key::Range(..) => (Vec::new(), None),
    }
}

fn of_address(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().into(),
        IpAddr::V6(address) => address.octets().into(),
    }
}

fn key(kind: SetKind, octets: &[u8], end: &[u8]) -> Option<Key> {
    match (kind, octets, end) {
        (SetKind::Ports, [protocol, _, _, _, high, low, _, _], [_, _, _, _, last_high, last_low, _, _]) => {
            let [first, last] = [[*high, *low], [*last_high, *last_low]].map(u16::from_be_bytes);
            return Some(Key::Ports(Protocol::from_number(*protocol)?, first, last));
        }
        (SetKind::Messages(_), [kind, _, _, _, code, _, _, _], [last_kind, _, _, _, last_code, _, _, _]) => {
            return Some(Key::Messages([*kind, *last_kind], [*code, *last_code]));
        }
        _ => {}
    }
    let family = kind.family()?;
    let length = if family == Family::Ipv4 { 4 } else { 16 };
    let (first, rest) = octets.split_at_checked(length)?;
    let first = address(family, first)?;
    match (kind, rest) {
        (SetKind::Addresses(_) | SetKind::AddressMap(_), []) => Some(Key::Address(first)),
        (SetKind::Pairs(_), other) => Some(Key::Pair(first, address(family, other)?)),
        (SetKind::Targets(_), [protocol, _, _, _, high, low, _, _]) => {
            Some(Key::Target(first, Protocol::from_number(*protocol)?, u16::from_be_bytes([*high, *low])))
        }
        _ => None,
    }
}

fn address(family: Family, octets: &[u8]) -> Option<IpAddr> {
    match family {
        Family::Ipv4 => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        Family::Ipv6 => <[u8; 16]>::try_from(octets).ok().map(IpAddr::from),
    }
}

fn verdict_of(verdict: &PacketVerdict) -> Vec<VerdictAttribute> {
    let chain =
        |code, chain: &ChainName| vec![VerdictAttribute::Code(code), VerdictAttribute::Chain(chain.to_string())];
    match verdict {
        PacketVerdict::Accept => vec![VerdictAttribute::Code(Verdict::Other(NF_ACCEPT))],
        PacketVerdict::Drop => vec![VerdictAttribute::Code(Verdict::Other(NF_DROP))],
        PacketVerdict::Jump(name) => chain(Verdict::Jump, name),
        PacketVerdict::Goto(name) => chain(Verdict::Goto, name),
    }
}

fn read_verdict(verdict: &[u8]) -> Option<PacketVerdict> {
    let code = attribute(verdict, VERDICT_CODE)?.first_chunk().map(|octets| u32::from_be_bytes(*octets))?;
    let chain = || attribute(verdict, VERDICT_CHAIN).map(|name| ChainName::new(&string(name)));
    match (code, Verdict::from(code)) {
        (NF_DROP, _) => Some(PacketVerdict::Drop),
        (NF_ACCEPT, _) => Some(PacketVerdict::Accept),
        (_, Verdict::Jump) => chain().map(PacketVerdict::Jump),
        (_, Verdict::Goto) => chain().map(PacketVerdict::Goto),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_back(kind: SetKind, wanted: &Key) -> Option<Key> {
        let (first, last) = octets(wanted);
        key(kind, &first, last.as_ref().unwrap_or(&first))
    }

    #[test]
    fn a_key_is_read_as_it_was_written() {
        let (four, six): (IpAddr, IpAddr) = ([10, 0, 0, 2].into(), "fd00::2".parse().expect("literal"));
        for address in [four, six] {
            let family = Family::of(address);
            for (kind, wanted) in [
                (SetKind::Addresses(family), Key::Address(address)),
                (SetKind::AddressMap(family), Key::Address(address)),
                (SetKind::Pairs(family), Key::Pair(address, address)),
                (SetKind::Targets(family), Key::Target(address, Protocol::Udp, 53)),
            ] {
                assert_eq!(read_back(kind, &wanted), Some(wanted));
            }
        }
        for (kind, wanted) in [
            (SetKind::Ports, Key::Ports(Protocol::Sctp, 80, 65_535)),
            (SetKind::Messages(Family::Ipv6), Key::Messages([128, 129], [0, 255])),
        ] {
            assert_eq!(read_back(kind, &wanted), Some(wanted));
        }
        assert_eq!(read_back(SetKind::Addresses(Family::Ipv4), &Key::Address(six)), None);
    }
}
