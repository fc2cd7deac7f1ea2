//! A container's end as every driver wants it.

use model::{Admin, Attachment, Family, Inside, Ipv6, Network};

/// The container's end of an attachment: up, with its addresses, and with the routes that lead over it.
pub(crate) fn inside(network: &Network, attachment: &Attachment) -> Inside {
    let endpoint = &attachment.endpoint;
    let has_default = |family| attachment.default_routes.contains(&family);
    let with_prefix = |address| Some(network.subnet_with(address)?.with_prefix(address));
    Inside {
        namespace: attachment.namespace.clone(),
        interface: endpoint.interface.clone(),
        mac: endpoint.mac,
        mtu: network.mtu,
        admin: Admin::Up,
        ipv6: if endpoint.ipv6.is_some() { Ipv6::On } else { Ipv6::Off },
        addresses: endpoint.addresses().filter_map(with_prefix).collect(),
        gateway: network.gateway_of(endpoint).filter(|_| has_default(Family::Ipv4)),
        gateway6: network.gateway6_of(endpoint).filter(|_| has_default(Family::Ipv6)),
        routes: attachment.routes.clone(),
    }
}
