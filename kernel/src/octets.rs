//! How much has passed between networks and the host.

use std::collections::BTreeMap;

use model::IfName;
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage},
};
use netlink_sys::constants::NETLINK_ROUTE;

use crate::{
    KernelError,
    link::{Link, refused},
    netlink::{Reply, Socket, attribute},
};

const LINK_HEADER: usize = 16;
/// `include/uapi/linux/if_link.h`
const IFLA_STATS64: u16 = 23;
// Places in `struct rtnl_link_stats64` of the same file, each of eight octets.
const RX_BYTES: usize = 2;
const TX_BYTES: usize = 3;

/// Octets: what a bridge's host has had from its network's containers and sent to them, on its own behalf or as their
/// router, since the bridge was made. What they send each other does not come up to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Octets {
    /// Of frames from containers.
    pub from_containers: u64,
    /// Of frames to containers.
    pub to_containers: u64,
}

/// The octets of every bridge of Fabric's. One request, whatever else there is: the kernel leaves out all links but
/// bridges (`link_kind_filtered` in `net/core/rtnetlink.c`).
pub(crate) fn of_bridges() -> Result<BTreeMap<IfName, Octets>, KernelError> {
    let request = || {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]));
        RouteNetlinkMessage::GetLink(message)
    };
    let replies = Socket::open(NETLINK_ROUTE)?.dump(request).map_err(refused(|| "list bridges".into()))?;
    let ours = replies.iter().filter_map(|reply| {
        let link = Link::parse(reply).filter(|link| link.ours && link.kind == "bridge")?;
        Some((link.name.parse().ok()?, octets(reply)?))
    });
    Ok(ours.collect())
}

fn octets(reply: &Reply) -> Option<Octets> {
    let statistics = attribute(reply.payload.get(LINK_HEADER..)?, IFLA_STATS64)?;
    let at = |place: usize| statistics.get(place * 8..place * 8 + 8)?.try_into().ok().map(u64::from_ne_bytes);
    Some(Octets { from_containers: at(RX_BYTES)?, to_containers: at(TX_BYTES)? })
}
