//! What a container and its host are told of each other before either has asked (RTM_NEWNEIGH of the IP families).
//!
//! A question goes to everybody on the network, and on a network of a thousand the bridge takes a millisecond to find
//! out whom it concerns. Whoever was told asks whether that is so once it has used it, as of any entry that is stale
//! (RFC 4861 §7.3.2), and where it cannot be told it asks as ever.

use std::net::IpAddr;

use ipnet::IpNet;
use model::{Inside, MacAddress};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
};

use crate::netlink::{Request, Socket};

/// Tells a container where its gateways are. `index` is that of its interface, `socket` of its namespace, `mac` the
/// gateways'.
pub(crate) fn tell_container(socket: &mut Socket, index: u32, inside: &Inside, mac: MacAddress) {
    tell(socket, index, inside.gateways(), mac, inside);
}

/// Tells the host where a container is. `bridge` is the index of its network's bridge, `socket` of the host's
/// namespace.
pub(crate) fn tell_host(socket: &mut Socket, bridge: u32, inside: &Inside) {
    if let Some(mac) = inside.mac {
        tell(socket, bridge, inside.addresses.iter().map(IpNet::addr), mac, inside);
    }
}

fn tell(
    socket: &mut Socket,
    index: u32,
    addresses: impl IntoIterator<Item = IpAddr>,
    mac: MacAddress,
    inside: &Inside,
) {
    let entries = addresses.into_iter().map(|address| {
        let mut message = NeighbourMessage::default();
        message.header.family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        message.header.ifindex = index;
        message.header.state = NeighbourState::Stale;
        message.attributes.push(NeighbourAttribute::Destination(match address {
            IpAddr::V4(address) => NeighbourAddress::Inet(address),
            IpAddr::V6(address) => NeighbourAddress::Inet6(address),
        }));
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.octets().to_vec()));
        Request::new(RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE)
    });
    for refusal in socket.exchange(entries.collect()).into_iter().filter_map(Result::err) {
        tracing::debug!(%refusal, namespace = %inside.namespace, "a container and its host have to ask where the other is");
    }
}
