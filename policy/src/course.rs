//! Where connections lead: to whom they are opened, or behind a port that the host publishes.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU16,
};

use model::{ContainerPort, Protocol, Published};

use crate::{
    service::Asked,
    world::{Endpoint, Flow, Party, World},
};

/// A connection as it is opened, and as policies see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Course<'w> {
    /// As whoever opens it asks for it.
    pub opened: Flow<'w>,
    /// As it is judged, egress and ingress alike: behind the host, if it is opened to a port that the host publishes.
    pub judged: Flow<'w>,
}

impl Course<'_> {
    /// Whether it is opened to a port that the host publishes.
    pub fn is_led(&self) -> bool {
        self.opened.to != self.judged.to
    }
}

/// The port of DNS, which the host answers itself under its address on a network (RFC 1035 §4.2).
const DNS_PORT: u16 = 53;

impl World {
    /// Where a connection leads.
    pub fn course<'w>(&'w self, opened: Flow<'w>) -> Course<'w> {
        let unled = Course { opened, judged: opened };
        let (Party::Host { address: Some(address) }, Asked::Port(protocol, port)) = (opened.to, opened.asks) else {
            return unled;
        };
        let Some(target) = self.led(&opened.from, address, protocol, port) else { return unled };
        let Some(port) = NonZeroU16::new(target.port()) else { return unled };
        let from = match opened.from {
            // Whoever asks for an address of his own does so with that one (RFC 6724 §5, rule 1).
            Party::Host { address: None } => Party::Host { address: Some(address) },
            from => from,
        };
        let judged = Flow { from, to: self.party_with(target.ip()), asks: Asked::Port(protocol, port) };
        Course { opened, judged }
    }

    /// The address and the port that a port of the host leads somebody to; none where it is the host's own to him.
    pub(crate) fn led(
        &self,
        from: &Party<'_>,
        address: IpAddr,
        protocol: Protocol,
        port: NonZeroU16,
    ) -> Option<SocketAddr> {
        let is_on_host = matches!(from, Party::Host { .. });
        // What comes in with such an address is dropped, and Linux translates nothing to `::1`.
        if address.is_loopback() && (!is_on_host || address.is_ipv6()) {
            return None;
        }
        let is_name_server =
            from.endpoint().is_some_and(|it| self.gateways_of(&it.network).any(|gateway| gateway == address));
        if is_name_server && port.get() == DNS_PORT && protocol != Protocol::Sctp {
            return None;
        }
        self.published().iter().find_map(|published| target(published, address, protocol, port))
    }
}

/// Where it leads whoever asks for a port at an address of the host.
fn target(published: &Published, address: IpAddr, protocol: Protocol, port: NonZeroU16) -> Option<SocketAddr> {
    let Published { host_ip, protocol: of, host_ports, to } = published;
    let is_at = host_ip.is_none_or(|at| at == address) && to.is_ipv4() == address.is_ipv4();
    let is_asked = is_at && *of == protocol && host_ports.contains(port.get());
    let offset = port.get().checked_sub(host_ports.first().get()).filter(|_| is_asked)?;
    Some(SocketAddr::new(to.ip(), to.port().checked_add(offset)?))
}

/// Two ends with the addresses that they speak with, none of which is of another family than the other. The host opens
/// connections from its address on the endpoint's network, and is reached under each that it has and that the other end
/// can reach; whoever is no endpoint reaches it under those at which it publishes `port`, and otherwise under whatever
/// address.
pub(crate) fn spoken<'w>(
    world: &World,
    from: Party<'w>,
    to: Party<'w>,
    port: Option<ContainerPort>,
) -> Vec<(Party<'w>, Party<'w>)> {
    let host = |address| Party::Host { address: Some(address) };
    let mut pairs: Vec<_> = match (from, to) {
        (Party::Host { address: None }, Party::Endpoint { endpoint, .. } | Party::Within { endpoint, .. }) => {
            world.gateways_of(&endpoint.network).map(|gateway| (host(gateway), to)).collect()
        }
        (Party::Endpoint { endpoint, .. } | Party::Within { endpoint, .. }, Party::Host { address: None }) => {
            world.host().filter(|own| is_reached(world, endpoint, *own)).map(|own| (from, host(own))).collect()
        }
        (Party::Host { .. } | Party::Outside(_), Party::Host { address: None }) => {
            let is_led = |own: &IpAddr| port.is_some_and(|it| world.led(&from, *own, it.protocol, it.port).is_some());
            world.host().filter(|own| !is_link_local(*own) && is_led(own)).map(|own| (from, host(own))).collect()
        }
        _ => Vec::new(),
    };
    if pairs.is_empty() {
        pairs.push((from, to));
    }
    pairs.retain(|(from, to)| from.family().zip(to.family()).is_none_or(|(from, to)| from == to));
    pairs
}

/// Whether packets of an endpoint get to an address of the host: none to its loopback, and to a link-local one over the
/// endpoint's own network alone (RFC 4291 §2.5.3 and §2.5.6).
fn is_reached(world: &World, endpoint: &Endpoint, address: IpAddr) -> bool {
    let is_near = || world.gateways_of(&endpoint.network).any(|gateway| gateway == address);
    !address.is_loopback() && (!is_link_local(address) || is_near())
}

/// Whether either both speak with link-local addresses of IPv6 or none does, as far as they are known.
pub(crate) fn is_of_one_scope(from: &Party<'_>, to: &Party<'_>) -> bool {
    let scope = |party: &Party<'_>| party.address().map(is_link_local);
    scope(from).zip(scope(to)).is_none_or(|(from, to)| from == to)
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}
