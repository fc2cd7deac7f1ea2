//! What Fabric owns in the kernel, as it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use model::{
    Attachment, Bridge, Element, Family, IfName, Inside, Namespace, NamespaceName, NetworkId, Observed, Scope, State,
    Structure, Veth,
};
use netlink_sys::constants::NETLINK_ROUTE;

use crate::{
    KernelError, element,
    fdb::{self, Fixed},
    host,
    link::{self, Link},
    namespace,
    netlink::Socket,
    route::{self, Route},
    structure, sysctl,
    worker::Worker,
};

/// A container's end, and the index of its pair's other end in the host's namespace.
struct End {
    host: u32,
    inside: Inside,
}

impl Worker {
    /// Looks at what lies within the scope. Firewall elements are looked up by the keys of those desired as well.
    pub(crate) fn observe(&mut self, scope: &Scope, desired: &State) -> Result<Observed, KernelError> {
        let mut state = State::empty();
        state.forwarding = host::forwarding(&self.run_dir, Family::Ipv4)?;
        state.forwarding6 = host::forwarding(&self.run_dir, Family::Ipv6)?;
        state.structure = structure::observe(&mut self.netfilter)?;
        let elements_beyond = self.observe_elements(scope, desired, &mut state)?;
        match scope {
            Scope::Everything => self.observe_everything(&mut state)?,
            Scope::Firewall => {}
            Scope::Network(network) => {
                self.observe_bridge(network, &mut state)?;
            }
            Scope::Container { namespace, attachments } => {
                self.observe_container(namespace, attachments, &mut state)?;
            }
        }
        Ok(Observed { state, elements_beyond })
    }

    /// Fills in the elements within the scope and returns those beyond, if they will be needed.
    fn observe_elements(
        &mut self,
        scope: &Scope,
        desired: &State,
        state: &mut State,
    ) -> Result<BTreeSet<Element>, KernelError> {
        // A container's address may stand under a key that another container is to have now.
        let relevant = |element: &Element| {
            scope.covers_element(element) || desired.elements.iter().any(|wanted| wanted.same_key(element))
        };
        if matches!(scope, Scope::Everything | Scope::Firewall) || state.structure != Structure::Current {
            let (within, beyond) = element::all(&mut self.netfilter)?.into_iter().partition(relevant);
            state.elements = within;
            return Ok(beyond);
        }
        let mut keys = desired.elements.clone();
        keys.extend(Family::ALL.map(Element::ForwardingGuard));
        for bridge in scope.networks().map(NetworkId::bridge) {
            keys.insert(Element::Masqueraded(bridge.clone()));
            keys.insert(Element::Internal(bridge.clone()));
            keys.insert(Element::SameBridge(bridge.clone()));
            keys.insert(Element::Bridge(bridge));
        }
        keys.extend(scope.attachments().iter().flat_map(Attachment::elements));
        let found = element::look_up(&mut self.netfilter, &keys)?;
        state.elements = found.into_iter().filter(relevant).collect();
        Ok(BTreeSet::new())
    }

    fn observe_everything(&mut self, state: &mut State) -> Result<(), KernelError> {
        let mut ends = BTreeMap::new();
        for name in self.namespaces.names()? {
            let found = self.observe_namespace(&name, None, state)?;
            ends.extend(found.into_iter().map(|end| (end.host, end.inside)));
        }
        let links = link::all(&mut self.route)?;
        let fixed = fdb::all(&mut self.route)?;
        let addresses = route::addresses(&mut self.route, 0)?;
        let names: BTreeMap<u32, IfName> =
            links.iter().filter_map(|link| Some((link.index, link.name.parse().ok()?))).collect();
        for link in links.iter().filter(|link| link.ours) {
            let Some(name) = names.get(&link.index) else {
                continue;
            };
            match link.kind.as_str() {
                "bridge" => {
                    let own = addresses.iter().filter(|address| address.link == link.index);
                    state.bridges.extend(bridge(name, link, own)?.map(|bridge| (name.clone(), bridge)));
                }
                "veth" => {
                    let master = link.master.and_then(|index| names.get(&index)).cloned();
                    let inside = ends.remove(&link.index);
                    let is_fixed = |inside: &Inside| fixed.contains(&Fixed { port: link.index, mac: inside.mac });
                    let fixed = inside.as_ref().is_some_and(is_fixed);
                    state.veths.insert(name.clone(), veth(link, master, fixed, inside));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Fills in a network's bridge and returns it.
    fn observe_bridge(&mut self, network: &NetworkId, state: &mut State) -> Result<Option<Link>, KernelError> {
        let name = network.bridge();
        let Some(link) = link::find(&mut self.route, &name)?.filter(|link| link.ours && link.kind == "bridge") else {
            return Ok(None);
        };
        let addresses = route::addresses(&mut self.route, link.index)?;
        state.bridges.extend(bridge(&name, &link, addresses.iter())?.map(|bridge| (name, bridge)));
        Ok(Some(link))
    }

    fn observe_container(
        &mut self,
        namespace: &NamespaceName,
        attachments: &[Attachment],
        state: &mut State,
    ) -> Result<(), KernelError> {
        let interfaces: Vec<&IfName> = attachments.iter().map(|attachment| &attachment.endpoint.interface).collect();
        let ends = self.observe_namespace(namespace, Some(&interfaces), state)?;
        let mut ends: BTreeMap<u32, Inside> = ends.into_iter().map(|end| (end.host, end.inside)).collect();
        for endpoint in attachments.iter().map(|attachment| &attachment.endpoint) {
            let master = self.observe_bridge(&endpoint.network, state)?;
            let name = endpoint.host_interface();
            let Some(link) = link::find(&mut self.route, &name)?.filter(|link| link.ours && link.kind == "veth") else {
                continue;
            };
            let bridge = master.filter(|master| link.master == Some(master.index)).map(|_| endpoint.network.bridge());
            let inside = ends.remove(&link.index);
            let fixed = match &inside {
                Some(inside) if bridge.is_some() => fdb::is_fixed(&mut self.route, link.index, inside.mac)?,
                _ => false,
            };
            state.veths.insert(name, veth(&link, bridge, fixed, inside));
        }
        Ok(())
    }

    /// Fills in a namespace and returns the ends of veth pairs in it: all, or those of these names.
    fn observe_namespace(
        &mut self,
        name: &NamespaceName,
        interfaces: Option<&[&IfName]>,
        state: &mut State,
    ) -> Result<Vec<End>, KernelError> {
        let Some(pinned) = self.namespaces.find(name)? else {
            return Ok(Vec::new());
        };
        let Some(pinned) = pinned else {
            state.namespaces.insert(name.clone(), Namespace::Unpinned);
            return Ok(Vec::new());
        };
        // The socket stays in the namespace it was opened in; only the settings must be read there.
        let (readiness, ends) = self.home.visit(&pinned, || {
            let mut socket = Socket::open(NETLINK_ROUTE)?;
            let readiness = namespace::readiness(&mut socket)?;
            let mut links = Vec::new();
            match interfaces {
                Some(interfaces) => {
                    for interface in interfaces {
                        links.extend(link::find(&mut socket, interface)?);
                    }
                }
                None => links = link::all(&mut socket)?,
            }
            Ok((readiness, ends(name, &mut socket, links)?))
        })??;
        state.namespaces.insert(name.clone(), readiness);
        Ok(ends)
    }
}

/// Those of a namespace's interfaces that are Fabric's ends of veth pairs. The thread and the socket are in the namespace.
fn ends(name: &NamespaceName, socket: &mut Socket, links: Vec<Link>) -> Result<Vec<End>, KernelError> {
    let ours: Vec<_> = links.into_iter().filter(|link| link.ours && link.kind == "veth").collect();
    if ours.is_empty() {
        return Ok(Vec::new());
    }
    let addresses = route::addresses(socket, 0)?;
    let routes = route::routes(socket)?;
    let mut ends = Vec::new();
    for link in ours {
        let (Some(host), Ok(interface), Some(mac)) = (link.peer, link.name.parse(), link.mac) else { continue };
        let ipv6 = sysctl::ipv6(&interface)?;
        let own = |route: &&Route| route.ours && route.is_default() && route.link == Some(link.index);
        let gateways: Vec<IpAddr> = routes.iter().filter(own).filter_map(|route| route.gateway).collect();
        let own = addresses.iter().filter(|address| address.ours && address.link == link.index);
        ends.push(End {
            host,
            inside: Inside {
                namespace: name.clone(),
                interface,
                mac,
                ipv6,
                mtu: link.mtu,
                admin: link.admin,
                addresses: own.map(|address| address.net).collect(),
                gateway: gateways.iter().find_map(|gateway| match gateway {
                    IpAddr::V4(gateway) => Some(*gateway),
                    IpAddr::V6(_) => None,
                }),
                gateway6: gateways.iter().find_map(|gateway| match gateway {
                    IpAddr::V4(_) => None,
                    IpAddr::V6(gateway) => Some(*gateway),
                }),
            },
        });
    }
    Ok(ends)
}

fn bridge<'a>(
    name: &IfName,
    link: &Link,
    addresses: impl Iterator<Item = &'a route::Address>,
) -> Result<Option<Bridge>, KernelError> {
    // A bridge always has a MAC address.
    let Some(mac) = link.mac else {
        return Ok(None);
    };
    Ok(Some(Bridge {
        alias: link.alias.clone(),
        mac,
        mtu: link.mtu,
        admin: link.admin,
        addresses: addresses.filter(|address| address.ours).map(|address| address.net).collect(),
        ipv6: sysctl::ipv6(name)?,
        loopback_routing: sysctl::loopback_routing(name)?,
    }))
}

/// `fixed` says whether the forwarding database holds the MAC address of the container's end.
fn veth(link: &Link, bridge: Option<IfName>, fixed: bool, inside: Option<Inside>) -> Veth {
    let fixed = inside.as_ref().filter(|_| fixed && !link.learning_or_flooded).map(|inside| inside.mac);
    let (alias, mtu, admin) = (link.alias.clone(), link.mtu, link.admin);
    Veth { alias, bridge, hairpin: link.hairpin, fixed, mtu, admin, inside }
}
