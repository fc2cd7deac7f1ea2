//! IPv4 addresses and routes over rtnetlink.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use model::IfName;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage, AddressProtocol},
    route::{RouteMessage, RouteProtocol},
};
use rtnetlink::{AddressMessageBuilder, RouteMessageBuilder};
use rustix::io::Errno;

use crate::{
    KernelError,
    link::{find_ours, refused},
    netlink::{Reply, Request, Socket, attribute, number},
};

/// The protocol that marks addresses and routes as Fabric's: "f" (`IFA_PROTO`, `rtm_protocol`; unassigned in
/// iproute2's `rt_addrprotos` and `rt_protos`).
const PROTOCOL: u8 = 102;

const ADDRESS_HEADER: usize = 8;
const ROUTE_HEADER: usize = 12;
const TABLE_LOCAL: u8 = 255;
// `include/uapi/linux/if_addr.h`
const IFA_LOCAL: u16 = 2;
const IFA_PROTO: u16 = 11;
// `include/uapi/linux/rtnetlink.h`
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;

/// An IPv4 address on an interface.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Address {
    pub(crate) link: u32,
    pub(crate) net: Ipv4Net,
    pub(crate) ours: bool,
}

/// An IPv4 route outside the table of local addresses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route {
    pub(crate) to: Ipv4Net,
    pub(crate) link: Option<u32>,
    pub(crate) gateway: Option<Ipv4Addr>,
    pub(crate) metric: u32,
    pub(crate) ours: bool,
}

impl Address {
    fn parse(reply: &Reply) -> Option<Self> {
        let (header, rest) = reply.payload.split_at_checked(ADDRESS_HEADER)?;
        let octets: [u8; 4] = attribute(rest, IFA_LOCAL)?.try_into().ok()?;
        Some(Self {
            link: number(&header[4..])?,
            net: Ipv4Net::new(octets.into(), header[1]).ok()?,
            ours: attribute(rest, IFA_PROTO) == Some(&[PROTOCOL]),
        })
    }
}

impl Route {
    fn parse(reply: &Reply) -> Option<Self> {
        let (header, rest) = reply.payload.split_at_checked(ROUTE_HEADER)?;
        if header[4] == TABLE_LOCAL {
            return None;
        }
        let address = |kind| -> Option<Ipv4Addr> {
            attribute(rest, kind).and_then(|value| <[u8; 4]>::try_from(value).ok()).map(Ipv4Addr::from)
        };
        Some(Self {
            to: Ipv4Net::new(address(RTA_DST).unwrap_or(Ipv4Addr::UNSPECIFIED), header[1]).ok()?,
            link: attribute(rest, RTA_OIF).and_then(number),
            gateway: address(RTA_GATEWAY),
            metric: attribute(rest, RTA_PRIORITY).and_then(number).unwrap_or_default(),
            ours: header[5] == PROTOCOL,
        })
    }
}

/// IPv4 addresses of one interface, or of all (index 0).
pub(crate) fn addresses(socket: &mut Socket, link: u32) -> Result<Vec<Address>, KernelError> {
    let request = || RouteNetlinkMessage::GetAddress(AddressMessageBuilder::<Ipv4Addr>::new().index(link).build());
    let replies = socket.dump(request).map_err(refused(|| "list addresses".into()))?;
    let addresses = replies.iter().filter_map(Address::parse);
    Ok(addresses.filter(|address| link == 0 || address.link == link).collect())
}

/// IPv4 routes of all tables but the one of local addresses.
pub(crate) fn routes(socket: &mut Socket) -> Result<Vec<Route>, KernelError> {
    let request = || {
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet;
        RouteNetlinkMessage::GetRoute(message)
    };
    let replies = socket.dump(request).map_err(refused(|| "list routes".into()))?;
    Ok(replies.iter().filter_map(Route::parse).collect())
}

/// An address with Fabric's mark, to be put on an interface or taken off it.
pub(crate) fn address_message(link: u32, net: Ipv4Net) -> AddressMessage {
    let mut message =
        AddressMessageBuilder::<Ipv4Addr>::new().index(link).address(net.addr(), net.prefix_len()).build();
    message.attributes.push(AddressAttribute::Protocol(AddressProtocol::from(PROTOCOL)));
    message
}

/// Puts an address on a bridge.
pub(crate) fn add_address(socket: &mut Socket, name: &IfName, net: Ipv4Net) -> Result<(), KernelError> {
    let link = find_ours(socket, name)?;
    let message = RouteNetlinkMessage::NewAddress(address_message(link.index, net));
    let answer = socket.call(Request::new(message, NLM_F_CREATE | NLM_F_REPLACE));
    answer.map(drop).map_err(refused(|| format!("add address {net} to {name}")))
}

/// Takes an address off a bridge.
pub(crate) fn remove_address(socket: &mut Socket, name: &IfName, net: Ipv4Net) -> Result<(), KernelError> {
    let link = find_ours(socket, name)?;
    let message = RouteNetlinkMessage::DelAddress(address_message(link.index, net));
    match socket.call(Request::new(message, 0)) {
        Err(refusal) if refusal.is(Errno::ADDRNOTAVAIL) => Ok(()),
        answer => answer.map(drop).map_err(refused(|| format!("remove address {net} from {name}"))),
    }
}

/// A default route with Fabric's mark.
pub(crate) fn default_route(link: u32, gateway: Ipv4Addr) -> RouteMessage {
    let builder = RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).output_interface(link);
    builder.protocol(RouteProtocol::from(PROTOCOL)).build()
}
