//! The forwarding databases of bridges: behind which port each MAC address is (RTM_*NEIGH of family AF_BRIDGE).

use std::collections::BTreeSet;

use model::MacAddress;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState},
};
use rustix::io::Errno;

use crate::{
    KernelError,
    link::refused,
    netlink::{Reply, Request, Socket, attribute, number},
};

const NEIGHBOUR_HEADER: usize = 12;
/// `NDA_LLADDR`, `include/uapi/linux/neighbour.h`
const NDA_LLADDR: u16 = 2;
/// `NUD_NOARP`: neither learnt, so that it ages, nor the bridge's own.
const STATIC: u16 = 0x40;

/// A fixed entry: this address is behind this port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fixed {
    /// Index of the port.
    pub(crate) port: u32,
    pub(crate) mac: MacAddress,
}

impl Fixed {
    fn parse(reply: &Reply) -> Option<Self> {
        let (header, rest) = reply.payload.split_at_checked(NEIGHBOUR_HEADER)?;
        let state = u16::from_ne_bytes([header[8], header[9]]);
        let mac: [u8; 6] = attribute(rest, NDA_LLADDR)?.try_into().ok()?;
        let fixed = Self { port: number(&header[4..])?, mac: mac.try_into().ok()? };
        (state == STATIC).then_some(fixed)
    }
}

fn message(port: u32) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = port;
    message
}

fn entry(port: u32, mac: MacAddress) -> NeighbourMessage {
    let mut message = message(port);
    // The bridge's database, not the port's own.
    message.header.flags = NeighbourFlags::Controller;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.octets().to_vec()));
    message
}

/// The request to seek an address behind this port of a bridge and nowhere else.
pub(crate) fn fix(port: u32, mac: MacAddress) -> Request {
    let mut message = entry(port, mac);
    message.header.state = NeighbourState::Noarp;
    Request::new(RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE)
}

/// Whether an address is fixed behind this port, at the cost of one entry.
pub(crate) fn is_fixed(socket: &mut Socket, port: u32, mac: MacAddress) -> Result<bool, KernelError> {
    match socket.call(Request::new(RouteNetlinkMessage::GetNeighbour(entry(port, mac)), 0)) {
        Ok(replies) => Ok(replies.iter().any(|reply| Fixed::parse(reply) == Some(Fixed { port, mac }))),
        // No such entry, or the interface is no bridge's port any more.
        Err(refusal) if refusal.is(Errno::NOENT) || refusal.is(Errno::INVAL) => Ok(false),
        Err(refusal) => Err(refused(|| format!("look for {mac} in a forwarding database"))(refusal)),
    }
}

/// All fixed entries of all bridges.
pub(crate) fn all(socket: &mut Socket) -> Result<BTreeSet<Fixed>, KernelError> {
    let replies = socket.dump(|| RouteNetlinkMessage::GetNeighbour(message(0)));
    let replies = replies.map_err(refused(|| "list forwarding databases".into()))?;
    Ok(replies.iter().filter_map(Fixed::parse).collect())
}
