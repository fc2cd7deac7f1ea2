//! Conntrack's entries: those that outlived what allowed them go, and connections that it has not seen are made known
//! to it.

mod judged;
mod remembered;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use model::{Flows, Published};
use netlink_packet_core::{DefaultNla, Nla};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily, NetfilterSubsystem,
};
use rustix::io::Errno;

pub(crate) use judged::forget_denied;
pub(crate) use remembered::remember;

use crate::{
    KernelError,
    element::NETFILTER_HEADER,
    netlink::{Refusal, Reply, Request, Socket, attribute},
    route,
};

// `include/uapi/linux/netfilter/nfnetlink_conntrack.h`
const IPCTNL_MSG_CT_GET: u8 = 1;
const IPCTNL_MSG_CT_DELETE: u8 = 2;
const IPCTNL_MSG_CT_GET_STATS: u8 = 5;
const CTA_STATS_GLOBAL_ENTRIES: u16 = 1;
const NESTED: u16 = 0x8000;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_FILTER: u16 = 25;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
/// `CTA_FILTER_F_CTA_IP_SRC` of `net/netfilter/nf_internals.h`: compare the source address.
const FILTER_SOURCE: u32 = 1;

/// How many entries are rather told than picked out by the kernel in two walks through its table.
const FEW: u32 = 1000;

/// One direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Original,
    Reply,
}

/// A tuple as far as it is needed here; ports are 0 for protocols without.
#[derive(Debug, Clone, Copy)]
struct Tuple {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    source_port: u16,
    destination_port: u16,
}

/// Deletes the entries of all `flows`, and nothing else. For one, the kernel picks out what has its address; for more,
/// or if there are few entries, its table is read once. A walk through the table takes milliseconds even if nothing is
/// in it, so an empty one is not read. `route` is asked for the host's addresses where they matter.
pub(crate) fn forget(socket: &mut Socket, route: &mut Socket, flows: &[Flows]) -> Result<(), KernelError> {
    let action = |doing| {
        let several = match flows {
            [one] => format!("{doing} flows {one}"),
            all => format!("{doing} the flows of {} endpoints and ports", all.len()),
        };
        move |source| KernelError::Netlink { action: several, source }
    };
    if flows.is_empty() {
        return Ok(());
    }
    let count = entries(socket).map_err(action("count"))?;
    let filters = match flows {
        _ if count == 0 => return Ok(()),
        [Flows::Of(address)] if count > FEW && address.is_ipv4() => {
            [Direction::Original, Direction::Reply].map(|one| filter(one, *address)).into()
        }
        [Flows::Of(address)] => vec![(family(*address), Vec::new())],
        // The container answers, so it is the source of the reply direction, behind any translation.
        [Flows::Published(published)] if published.to.is_ipv4() => vec![filter(Direction::Reply, published.to.ip())],
        [Flows::Before(published)] => vec![(family(published.to.ip()), Vec::new())],
        [Flows::Beyond(range)] => vec![(family(range.addr()), Vec::new())],
        // Nor are those of IPv6 picked out: `ctnetlink_filter_match_tuple` (Linux 5.8 to at least 6.18) takes equal
        // addresses for different ones.
        [_] => vec![(NetfilterProtoFamily::IPv6, Vec::new())],
        _ => vec![(NetfilterProtoFamily::Unspec, Vec::new())],
    };
    // A kernel older than 5.8 ignores the filter, so every entry is looked at again.
    let local = if flows.iter().any(|flows| matches!(flows, Flows::Before(_) | Flows::Beyond(_))) {
        local_addresses(route)?
    } else {
        BTreeSet::new()
    };
    let is_one = |reply: &Reply| {
        let side = |kind| attribute(rest(reply), kind).and_then(tuple);
        let (Some(original), Some(answer)) = (side(CTA_TUPLE_ORIG), side(CTA_TUPLE_REPLY)) else { return false };
        flows.iter().any(|flows| matches(original, answer, *flows, &local))
    };
    delete(socket, filters, &is_one, action)
}

/// Deletes the entries of connections that were opened to one of these addresses themselves.
///
/// The rules let nobody open one but the host and neighbours. So who came in while there were no rules does not go on.
/// Policies ask conntrack who opened a connection, so those of whoever had the right stay. `containers` holds each with
/// the ranges of its neighbours; `route` is asked for the host's addresses.
pub(crate) fn forget_uninvited(
    socket: &mut Socket,
    route: &mut Socket,
    containers: &BTreeMap<IpAddr, BTreeSet<IpNet>>,
) -> Result<(), KernelError> {
    let action =
        |doing| move |source| KernelError::Netlink { action: format!("{doing} flows that nothing allowed"), source };
    let local = local_addresses(route)?;
    let is_one = |reply: &Reply| {
        let original = attribute(rest(reply), CTA_TUPLE_ORIG).and_then(tuple);
        original.is_some_and(|original| {
            let near = |ranges: &BTreeSet<IpNet>| ranges.iter().any(|range| range.contains(&original.source));
            let ranges = containers.get(&original.destination);
            ranges.is_some_and(|ranges| !near(ranges) && !local.contains(&original.source))
        })
    };
    delete(socket, vec![(NetfilterProtoFamily::Unspec, Vec::new())], &is_one, action)
}

fn delete<E: FnOnce(Refusal) -> KernelError>(
    socket: &mut Socket,
    filters: Vec<(NetfilterProtoFamily, Vec<DefaultNla>)>,
    is_one: &dyn Fn(&Reply) -> bool,
    action: impl Fn(&'static str) -> E,
) -> Result<(), KernelError> {
    let mut deletions = Vec::new();
    for (family, filter) in filters {
        let replies = socket.dump_some(|| message(IPCTNL_MSG_CT_GET, family, filter.clone()), is_one);
        deletions.extend(replies.map_err(action("list"))?.iter().filter_map(deletion));
    }
    for answer in socket.exchange(deletions) {
        match answer {
            Ok(_) => {}
            // It ended by itself.
            Err(refusal) if refusal.is(Errno::NOENT) => {}
            Err(source) => return Err(action("forget")(source)),
        }
    }
    Ok(())
}

/// The host's addresses.
pub(crate) fn local_addresses(route: &mut Socket) -> Result<BTreeSet<IpAddr>, KernelError> {
    Ok(route::addresses(route, 0)?.iter().map(|address| address.net.addr()).collect())
}

/// How many entries the namespace of the socket has.
pub(crate) fn entries(socket: &mut Socket) -> Result<u32, Refusal> {
    let request = Request::new(message(IPCTNL_MSG_CT_GET_STATS, NetfilterProtoFamily::Unspec, Vec::new()), 0);
    let replies = socket.call(request)?;
    let count = |reply: &Reply| attribute(rest(reply), CTA_STATS_GLOBAL_ENTRIES)?.first_chunk().copied();
    // One that does not say may have any number.
    Ok(replies.iter().find_map(count).map_or(u32::MAX, u32::from_be_bytes))
}

fn family(address: IpAddr) -> NetfilterProtoFamily {
    match address {
        IpAddr::V4(_) => NetfilterProtoFamily::IPv4,
        IpAddr::V6(_) => NetfilterProtoFamily::IPv6,
    }
}

fn message(kind: u8, family: NetfilterProtoFamily, attributes: Vec<DefaultNla>) -> NetfilterMessage {
    let inner = NetfilterMessageInner::Other { subsys: NetfilterSubsystem::Conntrack, message_type: kind, attributes };
    NetfilterMessage::new(NetfilterHeader::new(family, 0, 0), inner)
}

/// The family and the attributes that make the kernel list only entries with this source address in this direction.
fn filter(direction: Direction, address: IpAddr) -> (NetfilterProtoFamily, Vec<DefaultNla>) {
    let (tuple, flags) = match direction {
        Direction::Original => (CTA_TUPLE_ORIG, CTA_FILTER_ORIG_FLAGS),
        Direction::Reply => (CTA_TUPLE_REPLY, CTA_FILTER_REPLY_FLAGS),
    };
    let (source, destination, octets) = match address {
        IpAddr::V4(address) => (CTA_IP_V4_SRC, CTA_IP_V4_DST, address.octets().to_vec()),
        IpAddr::V6(address) => (CTA_IP_V6_SRC, CTA_IP_V6_DST, address.octets().to_vec()),
    };
    let unspecified = vec![0; octets.len()];
    let addresses = nested(CTA_TUPLE_IP, &[DefaultNla::new(source, octets), DefaultNla::new(destination, unspecified)]);
    let attributes = vec![
        nested(tuple, &[addresses]),
        nested(CTA_FILTER, &[DefaultNla::new(flags, FILTER_SOURCE.to_ne_bytes().to_vec())]),
    ];
    (family(address), attributes)
}

fn nested(kind: u16, inner: &[DefaultNla]) -> DefaultNla {
    let mut bytes = Vec::new();
    for attribute in inner {
        let mut value = vec![0; attribute.value_len()];
        attribute.emit_value(&mut value);
        let length = u16::try_from(value.len() + 4).expect("a handful of addresses is shorter than 64 KiB");
        bytes.extend_from_slice(&length.to_ne_bytes());
        bytes.extend_from_slice(&attribute.kind().to_ne_bytes());
        bytes.extend_from_slice(&value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    DefaultNla::new(kind | NESTED, bytes)
}

fn rest(reply: &Reply) -> &[u8] {
    reply.payload.get(NETFILTER_HEADER..).unwrap_or_default()
}

fn tuple(bytes: &[u8]) -> Option<Tuple> {
    let addresses = attribute(bytes, CTA_TUPLE_IP)?;
    let protocol = attribute(bytes, CTA_TUPLE_PROTO)?;
    let address = |four, sixteen| {
        let ipv4 = attribute(addresses, four).and_then(|octets| <[u8; 4]>::try_from(octets).ok()).map(IpAddr::from);
        let ipv6 = || attribute(addresses, sixteen).and_then(|octets| <[u8; 16]>::try_from(octets).ok());
        ipv4.or_else(|| ipv6().map(IpAddr::from))
    };
    let port =
        |kind| attribute(protocol, kind).and_then(<[u8]>::first_chunk).map_or(0, |port| u16::from_be_bytes(*port));
    Some(Tuple {
        source: address(CTA_IP_V4_SRC, CTA_IP_V6_SRC)?,
        destination: address(CTA_IP_V4_DST, CTA_IP_V6_DST)?,
        protocol: *attribute(protocol, CTA_PROTO_NUM)?.first()?,
        source_port: port(CTA_PROTO_SRC_PORT),
        destination_port: port(CTA_PROTO_DST_PORT),
    })
}

fn matches(original: Tuple, answer: Tuple, flows: Flows, local: &BTreeSet<IpAddr>) -> bool {
    match flows {
        Flows::Of(address) => original.source == address || answer.source == address,
        Flows::Published(Published { host_ip, protocol, host_ports, to }) => {
            let (asked, answered) = (original.destination_port, answer.source_port);
            original.protocol == protocol.number()
                && host_ports.contains(asked)
                && host_ip.is_none_or(|host| original.destination == host)
                && answer.source == to.ip()
                && answered.wrapping_sub(to.port()) == asked.wrapping_sub(host_ports.first().get())
                // Untranslated, it did not come in through the host's port.
                && original.destination != to.ip()
        }
        Flows::Before(Published { host_ip, protocol, host_ports, to }) => {
            original.protocol == protocol.number()
                && host_ports.contains(original.destination_port)
                && host_ip.is_none_or(|host| original.destination == host)
                && original.destination.is_ipv4() == to.is_ipv4()
                && local.contains(&original.destination)
                // The host itself answers: it leads nowhere.
                && (answer.source, answer.source_port) == (original.destination, original.destination_port)
        }
        Flows::Beyond(range) => {
            // Who answers is the source of the reply direction, behind any translation.
            let ends = [original.source, answer.source];
            let outside = |address: &IpAddr| !range.contains(address) && !local.contains(address);
            ends.iter().any(|address| range.contains(address)) && ends.iter().any(outside)
        }
    }
}

/// The request to delete one entry. Its identifier keeps a successor with equal addresses and ports safe.
fn deletion(reply: &Reply) -> Option<Request> {
    let copy =
        |kind: u16, flag: u16| attribute(rest(reply), kind).map(|value| DefaultNla::new(kind | flag, value.to_vec()));
    let family = family(attribute(rest(reply), CTA_TUPLE_ORIG).and_then(tuple)?.source);
    let mut attributes = vec![copy(CTA_TUPLE_ORIG, NESTED)?, copy(CTA_ID, 0)?];
    attributes.extend(copy(CTA_ZONE, 0));
    Some(Request::new(message(IPCTNL_MSG_CT_DELETE, family, attributes), 0))
}
