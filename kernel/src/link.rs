//! Interfaces over rtnetlink.

mod shown;
mod spec;

use std::{
    collections::BTreeSet,
    os::fd::{AsRawFd, BorrowedFd},
    thread,
    time::Duration,
};

use ipnet::IpNet;
use model::{Admin, Bridge, Family, IfName, Inside, LinkSettings, Place, Route, Switch, Veth};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{
        BridgeStpState, InfoBridgePort, InfoData, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute, LinkExtentMask,
        LinkMessage,
    },
};
use rtnetlink::{LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth};
use rustix::io::Errno;

pub(crate) use shown::Link;

use crate::{
    KernelError, fdb,
    netlink::{Refusal, Request, Socket},
    route::{address_message, route_message},
    sysctl::Setting,
};

/// The interface group that marks what is Fabric's: "fabr".
pub(crate) const GROUP: u32 = 0x6661_6272;
/// The group of interfaces of Fabric's that are about to be removed, all at once.
const DOOMED: u32 = GROUP + 1;

/// The longest that the kernel's link watch puts an event off, with some room.
const LINK_WATCH_MILLISECONDS: u32 = 1100;

pub(crate) fn refused(action: impl FnOnce() -> String) -> impl FnOnce(Refusal) -> KernelError {
    |source| KernelError::Netlink { action: action(), source }
}

/// Asks for interfaces without what has passed, which makes up half of the answer.
fn without_counters(mut message: LinkMessage) -> LinkMessage {
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    message
}

/// The interface of this name, if there is one, whoever made it.
pub(crate) fn find(socket: &mut Socket, name: &IfName) -> Result<Option<Link>, KernelError> {
    let message = without_counters(LinkUnspec::new_with_name(name.as_str()).build());
    match socket.call(Request::new(RouteNetlinkMessage::GetLink(message), 0)) {
        Ok(replies) => Ok(replies.first().and_then(Link::parse)),
        Err(refusal) if refusal.is(Errno::NODEV) => Ok(None),
        Err(refusal) => Err(refused(|| format!("show interface {name}"))(refusal)),
    }
}

/// The interface with this index, if there is one.
pub(crate) fn at(socket: &mut Socket, index: u32) -> Result<Option<Link>, KernelError> {
    let message = without_counters(LinkUnspec::new_with_index(index).build());
    match socket.call(Request::new(RouteNetlinkMessage::GetLink(message), 0)) {
        Ok(replies) => Ok(replies.first().and_then(Link::parse)),
        Err(refusal) if refusal.is(Errno::NODEV) => Ok(None),
        Err(refusal) => Err(refused(|| format!("show interface {index}"))(refusal)),
    }
}

/// The name of the interface with this index.
pub(crate) fn name_of(socket: &mut Socket, index: u32) -> Result<Option<IfName>, KernelError> {
    Ok(at(socket, index)?.and_then(|link| link.name.parse().ok()))
}

/// The interface of this name, which must be Fabric's.
pub(crate) fn find_ours(socket: &mut Socket, name: &IfName) -> Result<Link, KernelError> {
    match find(socket, name)? {
        Some(link) if link.ours => Ok(link),
        Some(_) => Err(KernelError::Foreign { object: format!("interface {name}") }),
        None => Err(KernelError::Missing { object: format!("interface {name}") }),
    }
}

/// All interfaces.
pub(crate) fn all(socket: &mut Socket) -> Result<Vec<Link>, KernelError> {
    let replies = socket
        .dump(|| RouteNetlinkMessage::GetLink(without_counters(LinkMessage::default())))
        .map_err(refused(|| "list interfaces".into()))?;
    Ok(replies.iter().filter_map(Link::parse).collect())
}

/// Makes a bridge, down. One that is there already is left as it is, provided it is Fabric's.
pub(crate) fn create_bridge(socket: &mut Socket, name: &IfName, bridge: &Bridge) -> Result<(), KernelError> {
    let message = LinkMessageBuilder::<LinkBridge>::new(name.as_str())
        .link_group(GROUP)
        .address(bridge.mac.octets().to_vec())
        .mtu(bridge.mtu)
        .stp_state(BridgeStpState::Disabled)
        .forward_delay(0)
        // Nobody asks the containers which groups they listen to, and a bridge that has heard nobody ask sends to all.
        // So snooping would only have it remember what they say, and ask each port whenever one joins.
        .mcast_snooping(false)
        .down()
        .build();
    create(socket, name, message, || format!("create bridge {name}"))
}

/// Makes a veth pair, both ends down: the host's as a port of its bridge, if it is to have one, the container's inside
/// `namespace`.
pub(crate) fn create_veth(
    socket: &mut Socket,
    name: &IfName,
    veth: &Veth,
    inside: &Inside,
    namespace: BorrowedFd<'_>,
) -> Result<(), KernelError> {
    let mut peer = LinkMessageBuilder::<LinkUnspec>::new()
        .name(inside.interface.as_str())
        .link_group(GROUP)
        .mtu(inside.mtu)
        .setns_by_fd(namespace.as_raw_fd());
    if let Some(mac) = inside.mac {
        peer = peer.address(mac.octets().to_vec());
    }
    let mut builder = LinkMessageBuilder::<LinkVeth>::new(name.as_str(), inside.interface.as_str())
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer.build())))
        .link_group(GROUP)
        .mtu(veth.mtu)
        .down();
    if let Some(bridge) = &veth.bridge {
        builder = builder.controller(find_ours(socket, bridge)?.index);
    }
    let created = create(socket, name, builder.build(), || format!("create veth {name}"));
    created.map_err(|error| full(error, veth.bridge.as_ref()))
}

/// Names the bridge that has no place for another port, if that is the cause.
fn full(error: KernelError, bridge: Option<&IfName>) -> KernelError {
    match (error, bridge) {
        (KernelError::Netlink { source, .. }, Some(bridge)) if source.is(Errno::XFULL) => {
            KernelError::BridgeFull { bridge: bridge.clone() }
        }
        (error, _) => error,
    }
}

pub(crate) fn create(
    socket: &mut Socket,
    name: &IfName,
    message: LinkMessage,
    action: impl FnOnce() -> String,
) -> Result<(), KernelError> {
    match socket.call(Request::new(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)) {
        // Either the interface or, for a veth, its peer is there already.
        Err(refusal) if refusal.is(Errno::EXIST) => match find(socket, name)? {
            Some(link) if link.ours => Ok(()),
            Some(_) => Err(KernelError::Foreign { object: format!("interface {name}") }),
            None => Err(refused(action)(refusal)),
        },
        answer => answer.map(drop).map_err(refused(action)),
    }
}

/// Changes an interface in one system call.
pub(crate) fn set(socket: &mut Socket, name: &IfName, settings: &LinkSettings) -> Result<(), KernelError> {
    let link = find_ours(socket, name)?;
    let mut requests = Vec::new();
    let mut builder = LinkUnspec::new_with_index(link.index);
    if let Some(master) = &settings.master {
        let joins = builder.controller(find_ours(socket, master)?.index).build();
        requests.push(Request::new(RouteNetlinkMessage::NewLink(joins), 0));
        // The settings of a port are for the bridge that it is a port of when the message comes.
        builder = LinkUnspec::new_with_index(link.index);
    }
    let mut port: Vec<InfoBridgePort> = Vec::new();
    port.extend(settings.hairpin.map(|hairpin| InfoBridgePort::HairpinMode(hairpin == Switch::On)));
    port.extend(settings.isolated.map(|isolated| InfoBridgePort::Isolated(isolated == Switch::On)));
    if let Some(mac) = settings.fixed {
        requests.push(spec::without_own_address(link.index));
        requests.push(fdb::fix(link.index, mac));
        port.extend([InfoBridgePort::Learning(false), InfoBridgePort::UnicastFlood(false)]);
    }
    if !port.is_empty() {
        builder = builder.set_port_kind(InfoPortKind::Bridge).set_port_data(InfoPortData::BridgePort(port));
    }
    if let Some(filtered) = settings.filtered {
        requests.push(filter(name, filtered)?);
    }
    if let Some(snooping) = settings.snooping {
        let message = LinkMessageBuilder::<LinkBridge>::new(name.as_str()).mcast_snooping(snooping == Switch::On);
        requests.push(Request::new(RouteNetlinkMessage::NewLink(message.build()), 0));
    }
    if let Some(mac) = settings.mac {
        builder = builder.address(mac.octets().to_vec());
    }
    if let Some(mtu) = settings.mtu {
        builder = builder.mtu(mtu);
    }
    if let Some(alias) = &settings.alias {
        builder = builder.alias(alias);
    }
    builder = match settings.admin {
        Some(Admin::Up) => builder.up(),
        Some(Admin::Down) => builder.down(),
        None => builder,
    };
    // Unlike `RTM_SETLINK`, `RTM_NEWLINK` takes the settings of a port too.
    requests.push(Request::new(RouteNetlinkMessage::NewLink(builder.build()), 0));
    for answer in socket.exchange(requests) {
        match answer {
            // A kernel without IPv6.
            Err(refusal) if refusal.is(Errno::AFNOSUPPORT) => {}
            answer => {
                let done = answer.map_err(refused(|| format!("set {name} {settings}")));
                done.map_err(|error| full(error, settings.master.as_ref()))?;
            }
        }
    }
    Ok(())
}

/// Has what passes from port to port of a bridge come by rules of the family `inet`, or no longer. The kernel would
/// take the setting where nobody heeds it.
fn filter(name: &IfName, filtered: Switch) -> Result<Request, KernelError> {
    let is_on = filtered == Switch::On;
    if is_on && Setting::BridgesCall(Family::Ipv4).read()?.is_none() {
        return Err(KernelError::NoBridgeFilter { bridge: Some(name.clone()) });
    }
    let message = LinkMessageBuilder::<LinkBridge>::new(name.as_str()).nf_call_iptables(is_on).nf_call_ip6tables(is_on);
    Ok(Request::new(RouteNetlinkMessage::NewLink(message.build()), 0))
}

/// Waits until a bridge's port and the bridge itself pass packets.
///
/// The kernel handles a new carrier in a work queue (`net/core/link_watch.c`). Until that has run, a bridge drops what
/// the host sends and a port what it receives, and a lost SYN costs a second. Since Linux 6.8 showing an interface
/// brings its state up to date at once; before, only waiting helps. Returns the bridge, unless somebody took the port
/// away from it or holds a link down: the next reconcile will see that.
pub(crate) fn await_forwarding(socket: &mut Socket, port: &IfName) -> Result<Option<Link>, KernelError> {
    for _ in 0..LINK_WATCH_MILLISECONDS {
        let port = find_ours(socket, port)?;
        let Some(master) = port.master else {
            return Ok(None);
        };
        let message = LinkUnspec::new_with_index(master).build();
        let replies = socket
            .call(Request::new(RouteNetlinkMessage::GetLink(message), 0))
            .map_err(refused(|| format!("show the bridge of {}", port.name)))?;
        let bridge = replies.first().and_then(Link::parse);
        if port.operational && bridge.as_ref().is_none_or(|bridge| bridge.operational) {
            return Ok(bridge);
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(None)
}

/// Waits until the kernel has seen that an interface has a carrier; see [`await_forwarding`].
pub(crate) fn await_carrier(socket: &mut Socket, name: &IfName) -> Result<(), KernelError> {
    for _ in 0..LINK_WATCH_MILLISECONDS {
        if find(socket, name)?.is_none_or(|link| link.operational) {
            break;
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Removes an interface, if it is there and Fabric's.
pub(crate) fn remove(socket: &mut Socket, name: &IfName) -> Result<(), KernelError> {
    let link = match find_ours(socket, name) {
        Err(KernelError::Missing { .. }) => return Ok(()),
        link => link?,
    };
    let message = LinkUnspec::new_with_index(link.index).build();
    match socket.call(Request::new(RouteNetlinkMessage::DelLink(message), 0)) {
        Err(refusal) if refusal.is(Errno::NODEV) => Ok(()),
        answer => answer.map(drop).map_err(refused(|| format!("remove interface {name}"))),
    }
}

/// Removes interfaces, those that are gone already aside, and waits for the kernel once.
pub(crate) fn remove_all(socket: &mut Socket, names: &[&IfName]) -> Result<(), KernelError> {
    let names = match names {
        [] => return Ok(()),
        [name] => return remove(socket, name),
        names => names,
    };
    let mut doomed = Vec::new();
    for name in names {
        match find_ours(socket, name) {
            Err(KernelError::Missing { .. }) => {}
            link => {
                let message = LinkUnspec::new_with_index(link?.index).link_group(DOOMED).build();
                doomed.push(Request::new(RouteNetlinkMessage::SetLink(message), 0));
            }
        }
    }
    for answer in socket.exchange(doomed) {
        match answer {
            Err(refusal) if refusal.is(Errno::NODEV) => {}
            answer => drop(answer.map_err(refused(|| "mark interfaces for removal".into()))?),
        }
    }
    // Without an index or a name, the group says what to remove (`rtnl_group_dellink` in `net/core/rtnetlink.c`).
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::Group(DOOMED));
    match socket.call(Request::new(RouteNetlinkMessage::DelLink(message), 0)) {
        // All went meanwhile, with their namespaces.
        Err(refusal) if refusal.is(Errno::NODEV) => Ok(()),
        answer => answer.map(drop).map_err(refused(|| format!("remove {} interfaces", names.len()))),
    }
}

/// Brings the loopback interface up; `socket` decides of which namespace.
pub(crate) fn raise_loopback(socket: &mut Socket) -> Result<(), KernelError> {
    const LOOPBACK: u32 = 1;
    let message = RouteNetlinkMessage::SetLink(LinkUnspec::new_with_index(LOOPBACK).up().build());
    socket.call(Request::new(message, 0)).map(drop).map_err(refused(|| "set lo up".into()))
}

/// Gives a container's end, which is down, another name; `socket` is of the container's namespace.
pub(crate) fn rename(socket: &mut Socket, place: &Place, to: &IfName) -> Result<(), KernelError> {
    let link = match find_ours(socket, &place.interface) {
        // It has the name already.
        Err(KernelError::Missing { .. }) => return find_ours(socket, to).map(drop),
        link => link?,
    };
    let message = LinkUnspec::new_with_index(link.index).name(to.as_str()).build();
    let renamed = socket.call(Request::new(RouteNetlinkMessage::SetLink(message), 0));
    renamed.map(drop).map_err(refused(|| format!("rename {place} to {to}")))
}

/// Addresses a container's end, which is `link`, brings it up and sets its routes, all in one system call. `socket`
/// is of the container's namespace.
pub(crate) fn configure_inside(
    socket: &mut Socket,
    link: &Link,
    inside: &Inside,
    remove: &BTreeSet<IpNet>,
    leave: &BTreeSet<Route>,
) -> Result<(), KernelError> {
    let name = &inside.interface;
    let mut requests = Vec::new();
    let mut actions = Vec::new();
    let mut push = |action: String, message, flags| {
        actions.push(action);
        requests.push(Request::new(message, flags));
    };
    for net in remove {
        let message = RouteNetlinkMessage::DelAddress(address_message(link.index, *net));
        push(format!("remove address {net} from {name}"), message, 0);
    }
    for route in leave {
        let message = RouteNetlinkMessage::DelRoute(route_message(link.index, route));
        push(format!("route no longer {route}"), message, 0);
    }
    for net in &inside.addresses {
        let message = RouteNetlinkMessage::NewAddress(address_message(link.index, *net));
        push(format!("add address {net} to {name}"), message, NLM_F_CREATE | NLM_F_REPLACE);
    }
    let mut settings = LinkUnspec::new_with_index(link.index);
    if let Some(mac) = inside.mac.filter(|mac| link.mac != Some(*mac)) {
        settings = settings.address(mac.octets().to_vec());
    }
    if link.mtu != inside.mtu {
        settings = settings.mtu(inside.mtu);
    }
    settings = match inside.admin {
        Admin::Up => settings.up(),
        Admin::Down => settings.down(),
    };
    push(format!("set {name} {}", inside.admin), RouteNetlinkMessage::SetLink(settings.build()), 0);
    for route in inside.all_routes() {
        let message = RouteNetlinkMessage::NewRoute(route_message(link.index, &route));
        push(format!("route {route}"), message, NLM_F_CREATE | NLM_F_REPLACE);
    }
    for (answer, action) in socket.exchange(requests).into_iter().zip(actions) {
        match answer {
            // It is gone already: with its address, or because another end's took its place.
            Err(refusal) if refusal.is(Errno::ADDRNOTAVAIL) || refusal.is(Errno::SRCH) => {}
            answer => {
                answer.map_err(refused(|| format!("{action} in namespace {}", inside.namespace)))?;
            }
        }
    }
    Ok(())
}
