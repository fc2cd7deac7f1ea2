//! How the program comes to stand in front of ports: a queueing discipline at each, which shares its filters with all
//! others of one block (`clsact` with `ingress_block`), and in the block one filter, which is the program.
//!
//! The ports keep the block, the block keeps the filter, and the filter keeps the program with its maps: no file needs
//! to, and with the last port all are gone.

use std::collections::BTreeMap;

use model::Gate;
use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_ECHO, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcMessage, TcOption},
};
use rustix::io::Errno;

use crate::{
    KernelError,
    link::refused,
    netlink::{Reply, Request, Socket, attribute, number, string},
};

/// The block whose filters all ports share.
const BLOCK: u32 = 0xfab1;
/// Filters are tried in this order; ours is the first.
const PRIORITY: u32 = 1;
const HANDLE: u32 = 1;

// `include/uapi/linux/rtnetlink.h`, `pkt_sched.h` and `pkt_cls.h`
const HEADER: usize = 20;
const CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
/// `TCM_IFINDEX_MAGIC_BLOCK`: a filter for all interfaces that share a block.
const ANY_OF_BLOCK: i32 = -1;
const KIND: u16 = 1;
const OPTIONS: u16 = 2;
const INGRESS_BLOCK: u16 = 13;
const EGRESS_BLOCK: u16 = 14;
const BPF_FD: u16 = 6;
const BPF_NAME: u16 = 7;
const BPF_FLAGS: u16 = 8;
const BPF_ID: u16 = 11;
/// What the program returns is what is done.
const DIRECT_ACTION: u32 = 1;
const ETH_P_ALL: u16 = 3;

/// What stands in the block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// One filter of this name, with a program that the kernel calls so.
    Program {
        name: String,
        id: u32,
    },
    /// Something else, or more.
    Other,
}

fn message(interface: i32, handle: u32, parent: u32, attributes: Vec<TcAttribute>) -> TcMessage {
    let mut message = TcMessage::with_index(interface);
    (message.header.handle, message.header.parent) = (handle.into(), parent.into());
    message.attributes = attributes;
    message
}

fn of_block(info: u32, attributes: Vec<TcAttribute>) -> TcMessage {
    let mut message = message(ANY_OF_BLOCK, 0, BLOCK, attributes);
    message.header.info = info;
    message
}

fn index(interface: u32) -> i32 {
    i32::try_from(interface).expect("the kernel counts interfaces in an int")
}

/// The gate of a queueing discipline that hears what comes in by an interface, and the interface's index.
fn gate_of(reply: &Reply) -> Option<(u32, Gate)> {
    let (header, rest) = reply.payload.split_at_checked(HEADER)?;
    if number(&header[8..])? != CLSACT_HANDLE {
        return None;
    }
    let is_ours = attribute(rest, KIND).map(string).as_deref() == Some("clsact")
        && attribute(rest, INGRESS_BLOCK).and_then(number) == Some(BLOCK)
        && attribute(rest, EGRESS_BLOCK).is_none();
    Some((number(&header[4..])?, if is_ours { Gate::Open } else { Gate::Taken }))
}

/// Whether the block hears what comes in by an interface.
pub(super) fn gate(socket: &mut Socket, interface: u32) -> Result<Gate, KernelError> {
    let message = message(index(interface), 0, CLSACT, Vec::new());
    // Otherwise only those who listen for changes are answered.
    match socket.call(Request::new(RouteNetlinkMessage::GetQueueDiscipline(message), NLM_F_ECHO)) {
        Ok(replies) => Ok(replies.iter().find_map(gate_of).map_or(Gate::Closed, |(_, gate)| gate)),
        Err(refusal) if is_nothing(&refusal) => Ok(Gate::Closed),
        Err(refusal) => Err(refused(|| format!("show the queueing discipline of interface {interface}"))(refusal)),
    }
}

/// The same of every interface that anything stands in front of.
pub(super) fn gates(socket: &mut Socket) -> Result<BTreeMap<u32, Gate>, KernelError> {
    let request = || RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default());
    let replies = socket.dump_some(request, &|reply| gate_of(reply).is_some());
    let replies = replies.map_err(refused(|| "list queueing disciplines".into()))?;
    Ok(replies.iter().filter_map(gate_of).collect())
}

/// Lets the block hear what comes in by an interface.
pub(super) fn open(socket: &mut Socket, interface: u32) -> Result<(), KernelError> {
    let block = DefaultNla::new(INGRESS_BLOCK, BLOCK.to_ne_bytes().to_vec());
    let attributes = vec![TcAttribute::Kind("clsact".into()), TcAttribute::Other(block)];
    let message = message(index(interface), CLSACT_HANDLE, CLSACT, attributes);
    let request = Request::new(RouteNetlinkMessage::NewQueueDiscipline(message), NLM_F_CREATE | NLM_F_EXCL);
    match socket.call(request) {
        // Whoever's it is, the next look tells.
        Err(refusal) if refusal.is(Errno::EXIST) => Ok(()),
        answer => answer.map(drop).map_err(refused(|| format!("open interface {interface} to the shortcut"))),
    }
}

/// What stands in the block.
pub(super) fn find(socket: &mut Socket) -> Result<Found, KernelError> {
    let replies = match socket.dump(|| RouteNetlinkMessage::GetTrafficFilter(of_block(0, Vec::new()))) {
        Err(refusal) if is_nothing(&refusal) => return Ok(Found::Nothing),
        answer => answer.map_err(refused(|| "list the filters of the shortcut".into()))?,
    };
    let mut found = Found::Nothing;
    // The kernel shows each chain of filters once without any of them.
    for (handle, rest) in replies.iter().filter_map(|reply| {
        let (header, rest) = reply.payload.split_at_checked(HEADER)?;
        Some((number(&header[8..])?, rest)).filter(|(handle, _)| *handle != 0)
    }) {
        let options = attribute(rest, OPTIONS).unwrap_or_default();
        let id = attribute(options, BPF_ID).and_then(number).filter(|_| handle == HANDLE);
        let name = attribute(options, BPF_NAME).map(string);
        found = match (found, name, id) {
            (Found::Nothing, Some(name), Some(id)) => Found::Program { name, id },
            _ => Found::Other,
        };
    }
    Ok(found)
}

/// Puts a program into the block, in place of whatever is in there. Some interface must be open to it.
pub(super) fn put(socket: &mut Socket, program: u32, name: &str) -> Result<(), KernelError> {
    clear(socket)?;
    let option = |kind, value: &[u8]| TcOption::Other(DefaultNla::new(kind, value.to_vec()));
    let options = vec![
        option(BPF_FD, &program.to_ne_bytes()),
        option(BPF_NAME, &[name.as_bytes(), &[0]].concat()),
        option(BPF_FLAGS, &DIRECT_ACTION.to_ne_bytes()),
    ];
    let attributes = vec![TcAttribute::Kind("bpf".into()), TcAttribute::Options(options)];
    let mut message = of_block(PRIORITY << 16 | u32::from(ETH_P_ALL.to_be()), attributes);
    message.header.handle = HANDLE.into();
    let request = Request::new(RouteNetlinkMessage::NewTrafficFilter(message), NLM_F_CREATE | NLM_F_EXCL);
    socket.call(request).map(drop).map_err(refused(|| "put the shortcut in front of ports".into()))
}

/// Takes away whatever is in the block.
pub(super) fn clear(socket: &mut Socket) -> Result<(), KernelError> {
    match socket.call(Request::new(RouteNetlinkMessage::DelTrafficFilter(of_block(0, Vec::new())), 0)) {
        Err(refusal) if is_nothing(&refusal) => Ok(()),
        answer => answer.map(drop).map_err(refused(|| "take the shortcut away from ports".into())),
    }
}

/// Whether there is no such thing, or the kernel does not know such things.
fn is_nothing(refusal: &crate::Refusal) -> bool {
    [Errno::NOENT, Errno::INVAL, Errno::OPNOTSUPP, Errno::NODEV].iter().any(|errno| refusal.is(*errno))
}
