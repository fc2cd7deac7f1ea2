//! Interfaces over rtnetlink.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    os::fd::{AsRawFd, BorrowedFd},
    thread,
    time::Duration,
};

use ipnet::IpNet;
use model::{Admin, Bridge, IfName, Inside, LinkSettings, MacAddress, Switch, Veth};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{
        BridgeStpState, InfoBridgePort, InfoData, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute, LinkMessage,
    },
};
use rtnetlink::{LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth};
use rustix::io::Errno;

use crate::{
    KernelError, fdb,
    netlink::{Refusal, Reply, Request, Socket, attribute, attributes, number, string},
    route::{address_message, default_route},
};

/// The interface group that marks what is Fabric's: "fabr".
const GROUP: u32 = 0x6661_6272;
/// The group of interfaces of Fabric's that are about to be removed, all at once.
const DOOMED: u32 = GROUP + 1;

/// The longest that the kernel's link watch puts an event off, with some room.
const LINK_WATCH_MILLISECONDS: u32 = 1100;

const LINK_HEADER: usize = 16;

// Attribute types of `include/uapi/linux/if_link.h`.
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_GROUP: u16 = 27;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_LEARNING: u16 = 8;
const IFLA_BRPORT_UNICAST_FLOOD: u16 = 9;

/// An interface as the kernel shows it.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) ours: bool,
    pub(crate) mac: Option<MacAddress>,
    pub(crate) mtu: u32,
    pub(crate) admin: Admin,
    /// Whether packets can pass, as far as the kernel's link watch has noticed.
    operational: bool,
    pub(crate) alias: String,
    pub(crate) master: Option<u32>,
    /// Whether it is a bridge's port that a frame may leave by which came in by it.
    pub(crate) hairpin: Switch,
    /// Whether it is a bridge's port that the bridge learns from, or floods with what is for nobody it knows.
    pub(crate) learning_or_flooded: bool,
    /// Index of the other end of a veth pair, in its namespace.
    pub(crate) peer: Option<u32>,
}

impl Link {
    pub(crate) fn parse(reply: &Reply) -> Option<Self> {
        let (header, rest) = reply.payload.split_at_checked(LINK_HEADER)?;
        const UP: u32 = 1;
        let mut link = Self {
            index: number(&header[4..])?,
            name: String::new(),
            kind: String::new(),
            ours: false,
            mac: None,
            mtu: 0,
            admin: if number(&header[8..])? & UP == 0 { Admin::Down } else { Admin::Up },
            operational: false,
            alias: String::new(),
            master: None,
            hairpin: Switch::Off,
            learning_or_flooded: false,
            peer: None,
        };
        for (kind, value) in attributes(rest) {
            match kind {
                IFLA_ADDRESS => link.mac = <[u8; 6]>::try_from(value).ok().and_then(|octets| octets.try_into().ok()),
                IFLA_IFNAME => link.name = string(value),
                IFLA_MTU => link.mtu = number(value)?,
                IFLA_LINK => link.peer = number(value),
                // RFC 2863: up
                IFLA_OPERSTATE => link.operational = value == [6],
                IFLA_MASTER => link.master = number(value),
                IFLA_LINKINFO => {
                    link.kind = attribute(value, IFLA_INFO_KIND).map(string).unwrap_or_default();
                    let port = port_settings(value);
                    let is = |setting, number: u8| attribute(port, setting) == Some(&[number]);
                    link.hairpin = if is(IFLA_BRPORT_MODE, 1) { Switch::On } else { Switch::Off };
                    link.learning_or_flooded = is(IFLA_BRPORT_LEARNING, 1) || is(IFLA_BRPORT_UNICAST_FLOOD, 1);
                }
                IFLA_IFALIAS => link.alias = string(value),
                IFLA_GROUP => link.ours = matches!(number(value)?, GROUP | DOOMED),
                _ => {}
            }
        }
        Some(link)
    }
}

/// The settings of a bridge's port in its `IFLA_LINKINFO`; those of other masters' ports have other meanings.
fn port_settings(info: &[u8]) -> &[u8] {
    let port = attribute(info, IFLA_INFO_SLAVE_KIND).is_some_and(|kind| string(kind) == "bridge");
    let settings = if port { attribute(info, IFLA_INFO_SLAVE_DATA) } else { None };
    settings.unwrap_or_default()
}

pub(crate) fn refused(action: impl FnOnce() -> String) -> impl FnOnce(Refusal) -> KernelError {
    |source| KernelError::Netlink { action: action(), source }
}

/// The interface of this name, if there is one, whoever made it.
pub(crate) fn find(socket: &mut Socket, name: &IfName) -> Result<Option<Link>, KernelError> {
    let message = LinkUnspec::new_with_name(name.as_str()).build();
    match socket.call(Request::new(RouteNetlinkMessage::GetLink(message), 0)) {
        Ok(replies) => Ok(replies.first().and_then(Link::parse)),
        Err(refusal) if refusal.is(Errno::NODEV) => Ok(None),
        Err(refusal) => Err(refused(|| format!("show interface {name}"))(refusal)),
    }
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
        .dump(|| RouteNetlinkMessage::GetLink(LinkMessage::default()))
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
        .down()
        .build();
    create(socket, name, message, || format!("create bridge {name}"))
}

/// Makes a veth pair, both ends down: the host's as a port of its bridge, the container's inside `namespace`.
pub(crate) fn create_veth(
    socket: &mut Socket,
    name: &IfName,
    veth: &Veth,
    inside: &Inside,
    namespace: BorrowedFd<'_>,
) -> Result<(), KernelError> {
    let peer = LinkMessageBuilder::<LinkUnspec>::new()
        .name(inside.interface.as_str())
        .link_group(GROUP)
        .address(inside.mac.octets().to_vec())
        .mtu(inside.mtu)
        .setns_by_fd(namespace.as_raw_fd())
        .build();
    let mut builder = LinkMessageBuilder::<LinkVeth>::new(name.as_str(), inside.interface.as_str())
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
        .link_group(GROUP)
        .mtu(veth.mtu)
        .down();
    if let Some(bridge) = &veth.bridge {
        builder = builder.controller(find_ours(socket, bridge)?.index);
    }
    create(socket, name, builder.build(), || format!("create veth {name}"))
}

fn create(
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
    if let Some(mac) = settings.fixed {
        requests.push(fdb::fix(link.index, mac));
        port.extend([InfoBridgePort::Learning(false), InfoBridgePort::UnicastFlood(false)]);
    }
    if !port.is_empty() {
        builder = builder.set_port_kind(InfoPortKind::Bridge).set_port_data(InfoPortData::BridgePort(port));
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
        answer.map_err(refused(|| format!("set {name} {settings}")))?;
    }
    Ok(())
}

/// Waits until a bridge's port and the bridge itself pass packets.
///
/// The kernel handles a new carrier in a work queue (`net/core/link_watch.c`). Until that has run, a bridge drops what
/// the host sends and a port what it receives, and a lost SYN costs a second. Since Linux 6.8 showing an interface
/// brings its state up to date at once; before, only waiting helps.
pub(crate) fn await_forwarding(socket: &mut Socket, port: &IfName) -> Result<(), KernelError> {
    for _ in 0..LINK_WATCH_MILLISECONDS {
        let port = find_ours(socket, port)?;
        let Some(master) = port.master else {
            return Ok(());
        };
        let message = LinkUnspec::new_with_index(master).build();
        let replies = socket
            .call(Request::new(RouteNetlinkMessage::GetLink(message), 0))
            .map_err(refused(|| format!("show the bridge of {}", port.name)))?;
        if port.operational && replies.first().and_then(Link::parse).is_none_or(|bridge| bridge.operational) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(1));
    }
    // Someone holds the link down; the next reconcile will see that.
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

/// Addresses a container's end, brings it up and sets the default route, all in one system call, and returns the
/// interface's index. `socket` is of the container's namespace.
pub(crate) fn configure_inside(
    socket: &mut Socket,
    inside: &Inside,
    remove: &BTreeSet<IpNet>,
    leave: &BTreeSet<IpAddr>,
) -> Result<u32, KernelError> {
    let name = &inside.interface;
    let link = find_ours(socket, name)?;
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
    for gateway in leave {
        let message = RouteNetlinkMessage::DelRoute(default_route(link.index, *gateway));
        push(format!("route no longer by default via {gateway}"), message, 0);
    }
    for net in &inside.addresses {
        let message = RouteNetlinkMessage::NewAddress(address_message(link.index, *net));
        push(format!("add address {net} to {name}"), message, NLM_F_CREATE | NLM_F_REPLACE);
    }
    let mut settings = LinkUnspec::new_with_index(link.index);
    if link.mac != Some(inside.mac) {
        settings = settings.address(inside.mac.octets().to_vec());
    }
    if link.mtu != inside.mtu {
        settings = settings.mtu(inside.mtu);
    }
    settings = match inside.admin {
        Admin::Up => settings.up(),
        Admin::Down => settings.down(),
    };
    push(format!("set {name} {}", inside.admin), RouteNetlinkMessage::SetLink(settings.build()), 0);
    let gateways = inside.gateway.map(IpAddr::from).into_iter().chain(inside.gateway6.map(IpAddr::from));
    for gateway in gateways {
        let message = RouteNetlinkMessage::NewRoute(default_route(link.index, gateway));
        push(format!("route by default via {gateway}"), message, NLM_F_CREATE | NLM_F_REPLACE);
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
    Ok(link.index)
}
