//! The bridge driver: a Linux bridge in the host's namespace with the gateway's address on it, routed and
//! masqueraded towards the outside, and a veth pair for each endpoint.

use model::{Admin, Bridge, Element, Family, Forwarding, Inside, Publish, Scope, State, Subnet, Switch, Veth};

use crate::Segment;

pub(crate) fn desire(state: &mut State, scope: &Scope, segment: &Segment) {
    let network = &segment.network;
    let name = network.bridge();
    state.forwarding = Forwarding::On;
    state.elements.insert(Element::Bridge(name.clone()));
    state.elements.insert(Element::SameBridge(name.clone()));
    state.bridges.insert(
        name.clone(),
        Bridge {
            alias: Bridge::alias_of(&network.id),
            mac: network.gateway_mac,
            mtu: network.mtu,
            admin: Admin::Up,
            addresses: network.subnets.iter().map(Subnet::gateway_net).collect(),
            ipv6: Switch::Off,
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
                mtu: network.mtu,
                admin: Admin::Up,
                inside: Some(Inside {
                    namespace: attachment.namespace.clone(),
                    interface: endpoint.interface.clone(),
                    mac: endpoint.mac,
                    mtu: network.mtu,
                    admin: Admin::Up,
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
