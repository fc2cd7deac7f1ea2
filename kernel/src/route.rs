//! Addresses and routes over rtnetlink.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use model::{Family, IfName, interface_itself, leads_to_itself};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol},
    route::{RouteMessage, RouteProtocol, RouteScope},
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
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_PROTO: u16 = 11;
// `include/uapi/linux/rtnetlink.h`
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
// `include/linux/socket.h`
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// An address on an interface.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Address {
    pub(crate) link: u32,
    pub(crate) net: IpNet,
    pub(crate) ours: bool,
}

/// A route outside the table of local addresses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route {
    pub(crate) to: IpNet,
    pub(crate) link: Option<u32>,
    pub(crate) gateway: Option<IpAddr>,
    pub(crate) metric: u32,
    pub(crate) ours: bool,
}

/// An address in network order, of the family that its length tells.
fn address(octets: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
}

impl Address {
    fn parse(reply: &Reply) -> Option<Self> {
        let (header, rest) = reply.payload.split_at_checked(ADDRESS_HEADER)?;
        // Of a point-to-point link `IFA_ADDRESS` is the other end's; IPv6 has `IFA_LOCAL` only there.
        let octets = attribute(rest, IFA_LOCAL).or_else(|| attribute(rest, IFA_ADDRESS))?;
        Some(Self {
            link: number(&header[4..])?,
            net: IpNet::new(address(octets)?, header[1]).ok()?,
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
        let unspecified = match header[0] {
            AF_INET => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            AF_INET6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            _ => return None,
        };
        let address = |kind| attribute(rest, kind).and_then(address);
        Some(Self {
            to: IpNet::new(address(RTA_DST).unwrap_or(unspecified), header[1]).ok()?,
            link: attribute(rest, RTA_OIF).and_then(number),
            gateway: address(RTA_GATEWAY),
            metric: attribute(rest, RTA_PRIORITY).and_then(number).unwrap_or_default(),
            ours: header[5] == PROTOCOL,
        })
    }

    /// The gateway, or what [`leads_to_itself`] if there is none.
    pub(crate) fn leads_to(&self) -> IpAddr {
        self.gateway.unwrap_or_else(|| interface_itself(Family::of(self.to.addr())))
    }

    /// As it is to be or not to be.
    pub(crate) fn route(&self) -> model::Route {
        model::Route { destination: self.to, gateway: self.leads_to(), metric: self.metric }
    }

    /// Whether it is a default route as Fabric makes one.
    pub(crate) fn is_default(&self) -> bool {
        self.route() == model::Route::default(self.leads_to())
    }
}

/// The index of the interface that an `RTM_NEWADDR` or `RTM_DELADDR` is about, if the address is Fabric's.
pub(crate) fn address_of_ours(payload: &[u8]) -> Option<u32> {
    let (header, rest) = payload.split_at_checked(ADDRESS_HEADER)?;
    if attribute(rest, IFA_PROTO) == Some(&[PROTOCOL]) { number(&header[4..]) } else { None }
}

/// Addresses of one interface, or of all (index 0).
pub(crate) fn addresses(socket: &mut Socket, link: u32) -> Result<Vec<Address>, KernelError> {
    let request = || {
        let mut message = AddressMessageBuilder::<Ipv4Addr>::new().index(link).build();
        message.header.family = AddressFamily::Unspec;
        RouteNetlinkMessage::GetAddress(message)
    };
    let replies = socket.dump(request).map_err(refused(|| "list addresses".into()))?;
    let addresses = replies.iter().filter_map(Address::parse);
    Ok(addresses.filter(|address| link == 0 || address.link == link).collect())
}

/// Routes of all tables but the one of local addresses.
pub(crate) fn routes(socket: &mut Socket) -> Result<Vec<Route>, KernelError> {
    let request = || RouteNetlinkMessage::GetRoute(RouteMessage::default());
    let replies = socket.dump(request).map_err(refused(|| "list routes".into()))?;
    Ok(replies.iter().filter_map(Route::parse).collect())
}

/// An address with Fabric's mark, to be put on an interface or taken off it. One of IPv6 can be used at once: that it
/// is nobody else's is known from its lease, so no second is spent on asking (RFC 4862 §5.4).
pub(crate) fn address_message(link: u32, net: IpNet) -> AddressMessage {
    let mut message = match net {
        IpNet::V4(net) => {
            AddressMessageBuilder::<Ipv4Addr>::new().index(link).address(net.addr(), net.prefix_len()).build()
        }
        IpNet::V6(net) => {
            let builder = AddressMessageBuilder::<Ipv6Addr>::new().index(link).address(net.addr(), net.prefix_len());
            let mut message = builder.build();
            message.header.flags |= AddressHeaderFlags::Nodad;
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
            message
        }
    };
    message.attributes.push(AddressAttribute::Protocol(AddressProtocol::from(PROTOCOL)));
    message
}

/// Puts an address on a bridge.
pub(crate) fn add_address(socket: &mut Socket, name: &IfName, net: IpNet) -> Result<(), KernelError> {
    let link = find_ours(socket, name)?;
    let message = RouteNetlinkMessage::NewAddress(address_message(link.index, net));
    let answer = socket.call(Request::new(message, NLM_F_CREATE | NLM_F_REPLACE));
    answer.map(drop).map_err(refused(|| format!("add address {net} to {name}")))
}

/// Takes an address off a bridge.
pub(crate) fn remove_address(socket: &mut Socket, name: &IfName, net: IpNet) -> Result<(), KernelError> {
    let link = find_ours(socket, name)?;
    let message = RouteNetlinkMessage::DelAddress(address_message(link.index, net));
    match socket.call(Request::new(message, 0)) {
        Err(refusal) if refusal.is(Errno::ADDRNOTAVAIL) => Ok(()),
        answer => answer.map(drop).map_err(refused(|| format!("remove address {net} from {name}"))),
    }
}

/// A route with Fabric's mark, by a gateway or by what [`leads_to_itself`].
pub(crate) fn route_message(link: u32, route: &model::Route) -> RouteMessage {
    let protocol = RouteProtocol::from(PROTOCOL);
    let itself = leads_to_itself(route.gateway);
    let (length, metric) = (route.destination.prefix_len(), route.metric);
    match (route.destination.addr(), route.gateway) {
        (IpAddr::V4(destination), IpAddr::V4(gateway)) => {
            let builder = RouteMessageBuilder::<Ipv4Addr>::new().output_interface(link).protocol(protocol);
            let builder = builder.destination_prefix(destination, length).priority(metric);
            if itself { builder.scope(RouteScope::Link) } else { builder.gateway(gateway) }.build()
        }
        (destination, gateway) => {
            let sixth = |address| match address {
                IpAddr::V4(address) => address.to_ipv6_mapped(),
                IpAddr::V6(address) => address,
            };
            let builder = RouteMessageBuilder::<Ipv6Addr>::new().output_interface(link).protocol(protocol);
            let builder = builder.destination_prefix(sixth(destination), length).priority(metric);
            if itself { builder } else { builder.gateway(sixth(gateway)) }.build()
        }
    }
}
