//! What is in a container's namespace.

use std::net::IpAddr;

use model::{IfName, Inside, Namespace, NamespaceName, SubInterfaceKind};
use netlink_sys::constants::NETLINK_ROUTE;

use crate::{
    KernelError,
    link::{self, Link},
    namespace::{self, Home, Namespaces},
    netlink::Socket,
    route::{self, Route},
};

/// A container's end, and the index of its pair's other end in the host's namespace.
pub(super) struct End {
    pub(super) host: u32,
    pub(super) inside: Inside,
}

/// An interface that sits on another, with the index of its parent in the host's namespace.
pub(super) struct OnParent {
    pub(super) parent: u32,
    pub(super) kind: SubInterfaceKind,
    pub(super) inside: Inside,
}

/// What is seen in a namespace.
pub(super) struct Seen {
    pub(super) readiness: Namespace,
    pub(super) ends: Vec<End>,
    pub(super) on_parents: Vec<OnParent>,
}

/// How much is looked at in a namespace.
#[derive(Debug, Clone, Copy)]
pub(super) enum Extent<'a> {
    /// Interfaces of these names.
    Some(&'a [&'a IfName]),
    /// All interfaces.
    Interfaces,
    /// All interfaces, and the settings of the namespace, which take longer than all else.
    Everything,
}

/// What is seen in a namespace; none if there is no such namespace. The thread returns to its home.
pub(super) fn look_into(
    namespaces: &Namespaces,
    home: &Home,
    name: &NamespaceName,
    extent: Extent<'_>,
) -> Result<Option<Seen>, KernelError> {
    let Some(pinned) = namespaces.find(name)? else {
        return Ok(None);
    };
    let Some(pinned) = pinned else {
        return Ok(Some(Seen { readiness: Namespace::Unpinned, ends: Vec::new(), on_parents: Vec::new() }));
    };
    // The socket stays in the namespace it was opened in; only the settings must be read there.
    home.visit(&pinned, || {
        let mut socket = Socket::open(NETLINK_ROUTE)?;
        if !matches!(extent, Extent::Some(_)) {
            // Everybody waits for this look, not only who lives there.
            socket = socket.impatient();
        }
        let readiness = match extent {
            Extent::Some(_) | Extent::Interfaces => namespace::readiness_told_by_loopback(&mut socket)?,
            Extent::Everything => namespace::readiness(&mut socket)?,
        };
        let mut links = Vec::new();
        match extent {
            Extent::Some(interfaces) => {
                for interface in interfaces {
                    links.extend(link::find(&mut socket, interface)?);
                }
            }
            Extent::Interfaces | Extent::Everything => links = link::all(&mut socket)?,
        }
        let (ends, on_parents) = ends(name, &mut socket, links)?;
        Ok(Some(Seen { readiness, ends, on_parents }))
    })?
}

/// Those of a namespace's interfaces that are Fabric's: ends of veth pairs, and what sits on others. The thread and the
/// socket are in the namespace.
fn ends(name: &NamespaceName, socket: &mut Socket, links: Vec<Link>) -> Result<(Vec<End>, Vec<OnParent>), KernelError> {
    let is_end = |link: &Link| link.kind == "veth" || link.sub_interface.is_some();
    let ours: Vec<_> = links.into_iter().filter(|link| link.ours && is_end(link)).collect();
    if ours.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let addresses = route::addresses(socket, 0)?;
    let routes = route::routes(socket)?;
    let (mut ends, mut on_parents) = (Vec::new(), Vec::new());
    for link in ours {
        let (Some(host), Ok(interface), Some(mac)) = (link.peer, link.name.parse(), link.mac) else { continue };
        let own = || routes.iter().filter(|route| route.ours && route.link == Some(link.index));
        let gateways: Vec<IpAddr> = own().filter(|route| route.is_default()).map(Route::leads_to).collect();
        let others = own().filter(|route| !route.is_default()).map(Route::route);
        let own = addresses.iter().filter(|address| address.ours && address.link == link.index);
        let inside = Inside {
            namespace: name.clone(),
            interface,
            mac: Some(mac).filter(|_| link.sub_interface.is_none_or(SubInterfaceKind::has_own_mac)),
            ipv6: link.ipv6,
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
            routes: others.collect(),
        };
        match link.sub_interface {
            Some(kind) => on_parents.push(OnParent { parent: host, kind, inside }),
            None => ends.push(End { host, inside }),
        }
    }
    Ok((ends, on_parents))
}
