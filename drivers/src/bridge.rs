//! The bridge driver: a Linux bridge in the host's namespace with the gateway's address on it, routed and
//! masqueraded towards the outside, and a veth pair for each endpoint.

use std::net::Ipv4Addr;

use model::{Admin, Attachment, Bridge, Element, Forwarding, Inside, Network, Publish, Scope, State, Switch, Veth};

pub(crate) fn desire(state: &mut State, scope: &Scope, network: &Network, attachments: &[&Attachment]) {
    let name = network.bridge();
    let from_loopback = attachments.iter().flat_map(|attachment| &attachment.publishes).any(reaches_from_loopback);
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
            addresses: [network.subnet.gateway_net()].into(),
            ipv6: Switch::Off,
            loopback_routing: if from_loopback { Switch::On } else { Switch::Off },
        },
    );
    for attachment in attachments.iter().filter(|attachment| scope.covers_endpoint(&attachment.endpoint.id)) {
        let endpoint = &attachment.endpoint;
        state.elements.extend(attachment.elements());
        state.veths.insert(
            endpoint.host_interface(),
            Veth {
                alias: Veth::alias_of(&endpoint.id),
                bridge: Some(name.clone()),
                mtu: network.mtu,
                admin: Admin::Up,
                inside: Some(Inside {
                    namespace: attachment.namespace.clone(),
                    interface: endpoint.interface.clone(),
                    mac: endpoint.mac,
                    mtu: network.mtu,
                    admin: Admin::Up,
                    addresses: [network.subnet.with_prefix(endpoint.ipv4)].into(),
                    gateway: Some(network.subnet.gateway()),
                }),
            },
        );
    }
}

/// Whether a connection to 127.0.0.1 on the host can reach the published port, so that packets from the loopback
/// network must be let onto the bridge.
fn reaches_from_loopback(publish: &Publish) -> bool {
    publish.host_ip.is_none_or(|address: Ipv4Addr| address.is_loopback())
}
