//! The bridge driver: a Linux bridge in the host's namespace with the gateways' addresses on it, routed towards the
//! outside as far as the network reaches, and a veth pair for each endpoint.

use std::collections::BTreeSet;

use model::{
    Admin, Announcement, Bridge, Element, Family, Forwarding, Inside, Ipv6, Passage, Program, Publish, Reach, Scope,
    Spare, State, Subnet, Switch, Veth,
};

use crate::{Segment, inside::inside};

pub(crate) fn desire(state: &mut State, scope: &Scope, segment: &Segment) {
    let network = &segment.network;
    let name = network.bridge();
    let speaks = |family| network.subnets_of(family).next().is_some();
    if network.reach.is_forwarded() && speaks(Family::Ipv4) {
        state.forwarding = Forwarding::On;
    }
    if network.reach.is_forwarded() && speaks(Family::Ipv6) {
        state.forwarding6 = Forwarding::On;
    }
    state.elements.insert(Element::Bridge(name.clone()));
    state.elements.insert(Element::SameBridge(name.clone()));
    state.elements.extend(network.icc.is_on().then(|| Element::Icc(name.clone())));
    state.elements.extend(match network.reach {
        Reach::Nat => Some(Element::Masqueraded(name.clone())),
        Reach::Routed | Reach::Lan => None,
        Reach::Internal | Reach::Isolated => Some(Element::Internal(name.clone())),
    });
    let gateways: BTreeSet<_> = network.gateways().map(Subnet::gateway_net).collect();
    let elements = gateways.iter().map(|net| Element::Gateway { bridge: name.clone(), address: net.addr() });
    state.elements.extend(elements);
    let ipv6 = if network.reach.has_gateway() && speaks(Family::Ipv6) { Ipv6::On } else { Ipv6::Off };
    let link_local = (ipv6 == Ipv6::On).then(|| Bridge::link_local_of(network.gateway_mac));
    state.bridges.insert(
        name.clone(),
        Bridge {
            alias: Bridge::alias_of(&network.id),
            mac: network.gateway_mac,
            mtu: network.mtu,
            admin: Admin::Up,
            addresses: gateways.into_iter().chain(link_local).collect(),
            ipv6,
            loopback_routing: if segment.published_to_loopback { Switch::On } else { Switch::Off },
            filtered: if segment.judged { Switch::On } else { Switch::Off },
            snooping: Switch::Off,
        },
    );
    for attachment in segment.attachments.iter().filter(|attachment| scope.covers_endpoint(&attachment.endpoint.id)) {
        let endpoint = &attachment.endpoint;
        state.elements.extend(attachment.elements());
        state.veths.insert(
            endpoint.host_interface(),
            Veth {
                alias: Veth::alias_of(&endpoint.id),
                bridge: Some(name.clone()),
                hairpin: if attachment.publishes.iter().any(is_for_containers) { Switch::On } else { Switch::Off },
                isolated: if network.icc.is_on() { Switch::Off } else { Switch::On },
                fixed: endpoint.mac,
                mtu: network.mtu,
                admin: Admin::Up,
                ipv6: Ipv6::Off,
                inside: Some(inside(network, attachment)),
            },
        );
        if attachment.announcement == Announcement::Due {
            state.announced.insert(endpoint.host_interface());
        }
        if let Some(passage) = Passage::of(network, endpoint, segment.judged) {
            state.shortcut.program = Program::Current;
            state.shortcut.passages.insert(endpoint.host_interface(), passage);
        }
    }
}

/// The octets that a packet of a pair may have for which no network has been chosen: what most have.
const SPARE_MTU: u32 = 1500;

/// The pair that waits for an endpoint of any network: down, in no bridge and without an address.
pub(crate) fn desire_spare(state: &mut State, spare: &Spare) {
    let Spare { namespace, endpoint } = spare;
    let inside = Inside {
        namespace: namespace.clone(),
        interface: Spare::interface(),
        mac: Some(endpoint.mac()),
        mtu: SPARE_MTU,
        admin: Admin::Down,
        ipv6: Ipv6::Off,
        addresses: BTreeSet::new(),
        gateway: None,
        gateway6: None,
        routes: Default::default(),
    };
    state.veths.insert(
        endpoint.host_interface(),
        Veth {
            alias: Veth::alias_of(endpoint),
            bridge: None,
            hairpin: Switch::Off,
            isolated: Switch::Off,
            fixed: None,
            mtu: SPARE_MTU,
            admin: Admin::Down,
            ipv6: Ipv6::Off,
            inside: Some(inside),
        },
    );
}

/// Whether a container can come to a published port: none can to the host's loopback.
fn is_for_containers(publish: &Publish) -> bool {
    !publish.host_ip().is_some_and(|address| address.is_loopback())
}
