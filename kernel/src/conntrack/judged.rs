//! Connections that policies allow no longer.

use model::{Family, Protocol, Tracked};
use netlink_packet_netfilter::NetfilterProtoFamily;

use super::{CTA_TUPLE_ORIG, CTA_TUPLE_PROTO, CTA_TUPLE_REPLY, delete, rest, tuple};
use crate::{
    KernelError,
    netlink::{Reply, Socket, attribute},
};

// `include/uapi/linux/netfilter/nfnetlink_conntrack.h`
pub(super) const CTA_PROTOINFO: u16 = 4;
pub(super) const CTA_PROTOINFO_TCP: u16 = 1;
pub(super) const CTA_PROTOINFO_TCP_FLAGS_ORIGINAL: u16 = 4;
const CTA_PROTO_ICMP: [u16; 2] = [5, 6];
const CTA_PROTO_ICMPV6: [u16; 2] = [8, 9];
// `IP_CT_TCP_FLAG_` of `include/uapi/linux/netfilter/nf_conntrack_tcp.h`
pub(super) const WINDOW_SCALE: u8 = 0x01;
pub(super) const BE_LIBERAL: u8 = 0x08;
const IPPROTO_ICMP: u8 = 1;
const IPPROTO_ICMPV6: u8 = 58;

/// Deletes the entries of connections of which this is true: their next packet is judged like a first one.
pub(crate) fn forget_denied(socket: &mut Socket, is_denied: &dyn Fn(&Tracked) -> bool) -> Result<(), KernelError> {
    let action =
        |doing| move |source| KernelError::Netlink { action: format!("{doing} flows that policies deny"), source };
    let is_one = |reply: &Reply| tracked(reply).is_some_and(|tracked| is_denied(&tracked));
    delete(socket, vec![(NetfilterProtoFamily::Unspec, Vec::new())], &is_one, action)
}

fn tracked(reply: &Reply) -> Option<Tracked> {
    let side = |kind| attribute(rest(reply), kind).and_then(tuple);
    let (original, answer) = (side(CTA_TUPLE_ORIG)?, side(CTA_TUPLE_REPLY)?);
    let asked = attribute(attribute(rest(reply), CTA_TUPLE_ORIG)?, CTA_TUPLE_PROTO)?;
    let message = match original.protocol {
        IPPROTO_ICMP => Some((Family::Ipv4, CTA_PROTO_ICMP)),
        IPPROTO_ICMPV6 => Some((Family::Ipv6, CTA_PROTO_ICMPV6)),
        _ => None,
    };
    let message = message.and_then(|(family, [kind, code])| {
        Some((family, *attribute(asked, kind)?.first()?, *attribute(asked, code)?.first()?))
    });
    Some(Tracked {
        source: original.source,
        // Who answers is behind any translation.
        destination: answer.source,
        protocol: original.protocol,
        ports: Protocol::from_number(original.protocol).map(|_| (original.source_port, answer.source_port)),
        message,
        picked_up: is_liberal(reply),
    })
}

/// Whether the kernel met with a connection of TCP in its middle: of such it does not check the windows, and knows of
/// no scale of them (`tcp_new` in `net/netfilter/nf_conntrack_proto_tcp.c`).
fn is_liberal(reply: &Reply) -> bool {
    let flags = || {
        let info = attribute(attribute(rest(reply), CTA_PROTOINFO)?, CTA_PROTOINFO_TCP)?;
        attribute(info, CTA_PROTOINFO_TCP_FLAGS_ORIGINAL)?.first().copied()
    };
    flags().is_some_and(|flags| flags & (BE_LIBERAL | WINDOW_SCALE) == BE_LIBERAL)
}
