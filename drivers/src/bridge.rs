//! The bridge driver: a Linux bridge in the host's namespace with the gateways' addresses on it, routed towards the
//! outside as far as the network reaches, and a veth pair for each endpoint.

use model::{
    Admin, Bridge, Element, Family, Forwarding, Inside, Ipv6, Publish, Reach, Scope, State, Subnet, Switch, Veth,
};

use crate::Segment;

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
    state.elements.extend(match network.reach {
        Reach::Nat => Some(Element::Masqueraded(name.clone())),
        Reach::Routed => None,
        Reach::Internal | Reach::Isolated => Some(Element::Internal(name.clone())),
    });
    state.bridges.insert(
        name.clone(),
        Bridge {
            alias: Bridge::alias_of(&network.id),
            mac: network.gateway_mac,
            mtu: network.mtu,
            admin: Admin::Up,
            addresses: network.gateways().map(Subnet::gateway_net).collect(),
            ipv6: if network.reach.has_gateway() && speaks(Family::Ipv6) { Ipv6::On } else { Ipv6::Off },
            loopback_routing: if segment.published_to_loopback { Switch::On } else { Switch::Off },
        },
    );
    for attachment in segment.attachments.iter().filter(|attachment| scope.covers_endpoint(&attachment.endpoint.id)) {
        let endpoint = &attachment.endpoint;
        let has_default = |family| attachment.default_routes.contains(&family);
        let with_prefix = |address| Some(network.subnet_with(address)?.with_prefix(address));
        state.elements.extend(attachment.elements());
        state.veths.insert(
            endpoint.host_interface(),
            Veth {
                alias: Veth::alias_of(&endpoint.id),
                bridge: Some(name.clone()),
                hairpin: if attachment.publishes.iter().any(is_for_containers) { Switch::On } else { Switch::Off },
                fixed: Some(endpoint.mac),
                mtu: network.mtu,
                admin: Admin::Up,
                inside: Some(Inside {
                    namespace: attachment.namespace.clone(),
                    interface: endpoint.interface.clone(),
                    mac: endpoint.mac,
                    mtu: network.mtu,
                    admin: Admin::Up,
                    ipv6: if endpoint.ipv6.is_some() { Ipv6::On } else { Ipv6::Off },
                    addresses: endpoint.addresses().filter_map(with_prefix).collect(),
                    gateway: network.gateway_of(endpoint).filter(|_| has_default(Family::Ipv4)),
                    gateway6: network.gateway6_of(endpoint).filter(|_| has_default(Family::Ipv6)),
                }),
            },
        );
    }
}

/// Whether a container can come to a published port: none can to the host's loopback.
fn is_for_containers(publish: &Publish) -> bool {
    !publish.host_ip().is_some_and(|address| address.is_loopback())
}
