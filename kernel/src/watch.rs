//! What others change of Fabric's rules and interfaces, told as soon as the kernel tells it.
//!
//! A notice is a hint where to look, never knowledge: whoever gets one reconciles, and a reconcile that finds all in
//! order changes nothing and so causes no further notice. Changes of Fabric's own are told apart where the kernel says
//! who asked for them (rules), and by their outcome where it does not (interfaces).
//!
//! Only the namespace that [`crate::Kernel::open`] was called in is watched. In a container's namespace nothing
//! enforces anything; what its owner does there is found by the look at everything.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use model::{Admin, IfName, data_path};
use netlink_sys::{
    SocketAddr,
    constants::{NETLINK_NETFILTER, NETLINK_ROUTE},
};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::Notify,
    time::{Instant, sleep_until},
};

use crate::{
    KernelError,
    element::{NETFILTER_HEADER, SUBSYSTEM, TABLE, is_of_ours},
    judges::concerns_judges,
    link::{self, Link},
    netlink::{Message, Reply, Socket, attribute, messages, string},
    route,
    structure::Runs,
};

/// How long an interface may look damaged before it counts: making one takes several messages, the first of which shows
/// it down and in no bridge.
const SETTLING: Duration = Duration::from_millis(20);
/// How long after a look that failed the next is due: what was in its way, such as too few descriptors, may be out of
/// it.
const ANOTHER_LOOK: Duration = Duration::from_secs(1);
/// Room for the notifications of a ruleset with tens of thousands of elements that comes or goes at once. Nothing of it
/// is taken before it is needed. Who has no right to it gets as much as `net.core.rmem_max` says.
const BUFFER: u32 = 16 << 20;
/// So much is looked at before more is read.
const ENOUGH: usize = 1 << 20;

// `include/uapi/linux/netfilter/nfnetlink.h`, `include/uapi/linux/rtnetlink.h`
pub(crate) const NFNLGRP_NFTABLES: u32 = 7;
const RTNLGRP_LINK: u32 = 1;
const RTNLGRP_IPV4_IFADDR: u32 = 5;
const RTNLGRP_IPV6_IFADDR: u32 = 9;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const NFT_MSG_NEWGEN: u16 = 15;
/// `NFTA_TABLE_NAME`, `NFTA_CHAIN_TABLE`, `NFTA_RULE_TABLE` and those of sets, elements and objects are all 1.
const OF_TABLE: u16 = 1;

/// Where to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The host has another address that is not Fabric's, or one less.
    Addresses,
    /// Somebody else changed Fabric's rules, or the elements of its sets.
    Rules,
    /// Somebody changed rules of their own: they may look at what passes a bridge now, or no longer. Or nobody could
    /// see whether they do, for want of descriptors for example.
    Judges,
    /// An interface of Fabric's is gone, down, in no bridge, or without an address it had. It may be so because it is
    /// no longer desired.
    Interface(IfName),
    /// The MTU of an interface that is not Fabric's changed: it may be the uplink's.
    Uplink,
    /// Notifications were lost: anything may have changed.
    Everything,
}

/// Notifications about one network namespace.
#[derive(Debug)]
pub struct Watch {
    route: AsyncFd<netlink_sys::Socket>,
    rules: AsyncFd<netlink_sys::Socket>,
    /// The port of the socket that Fabric's own changes of the rules come from,
    own_port: u32,
    /// and the runs of `nft` that are its own, too.
    runs: Runs,
    suspects: Suspects,
    /// Told when the shortcut has to be looked at again, and when that is due.
    postponed: Arc<Notify>,
    another_look: Option<Instant>,
}

/// The sockets of a watch, opened in the namespace to be watched.
pub(crate) struct Sockets {
    route: netlink_sys::Socket,
    rules: netlink_sys::Socket,
    own_port: u32,
    runs: Runs,
    names: BTreeMap<u32, IfName>,
    others: BTreeMap<u32, u32>,
}

/// Interfaces of Fabric's that looked damaged, until it is clear whether they are.
#[derive(Debug, Default)]
struct Suspects {
    names: BTreeMap<u32, IfName>,
    damaged: BTreeMap<IfName, bool>,
    until: Option<Instant>,
    told: Vec<Notice>,
    /// The MTUs of interfaces that are not Fabric's.
    others: BTreeMap<u32, u32>,
}

impl Sockets {
    /// Subscribes in the namespace of the calling thread, whose changes of rules come from `own` and by `runs`.
    pub(crate) fn open(route: &mut Socket, own: &Socket, runs: &Runs) -> Result<Self, KernelError> {
        let sockets = Self {
            route: subscribe(NETLINK_ROUTE, &[RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR])?,
            rules: subscribe(NETLINK_NETFILTER, &[NFNLGRP_NFTABLES])?,
            own_port: own.port(),
            runs: runs.clone(),
            names: BTreeMap::new(),
            others: BTreeMap::new(),
        };
        // Listed after the subscription: none is missed in between.
        let (own, others): (Vec<_>, Vec<_>) = link::all(route)?.into_iter().partition(|link| link.ours);
        let names = own.into_iter().filter_map(|link| Some((link.index, link.name.parse().ok()?))).collect();
        let others = others.into_iter().map(|link| (link.index, link.mtu)).collect();
        Ok(Self { names, others, ..sockets })
    }
}

/// A socket that the kernel's notifications to these groups can be read from without waiting, those from now on, about
/// the namespace of the calling thread.
pub(crate) fn subscribe(protocol: isize, groups: &[u32]) -> Result<netlink_sys::Socket, KernelError> {
    let open = || {
        let mut socket = netlink_sys::Socket::new(protocol)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        socket.set_non_blocking(true)?;
        if set_socket_recv_buffer_size_force(&socket, BUFFER as usize).is_err() {
            socket.set_rx_buf_sz(BUFFER)?;
        }
        groups.iter().try_for_each(|group| socket.add_membership(*group))?;
        Ok(socket)
    };
    open().map_err(unwatchable)
}

/// What keeps the host's network from being watched.
pub(crate) fn unwatchable(source: io::Error) -> KernelError {
    KernelError::System { action: "watch the host's network".into(), source }
}

impl Watch {
    /// Hands the sockets to the runtime that the caller runs in.
    pub(crate) fn new(sockets: Sockets, postponed: Arc<Notify>) -> Result<Self, KernelError> {
        Ok(Self {
            route: register(sockets.route)?,
            rules: register(sockets.rules)?,
            own_port: sockets.own_port,
            runs: sockets.runs,
            suspects: Suspects { names: sockets.names, others: sockets.others, ..Suspects::default() },
            postponed,
            another_look: None,
        })
    }

    /// Waits until there is something to look at. What is not taken keeps, so the future may be dropped.
    ///
    /// # Errors
    /// When the sockets cannot be read; then nothing more will be told.
    pub async fn next(&mut self) -> Result<Notice, KernelError> {
        loop {
            if let Some(notice) = self.suspects.told.pop() {
                return Ok(notice);
            }
            let settled = at(self.suspects.until);
            let another_look = at(self.another_look);
            tokio::select! {
                biased;
                received = receive(&self.rules) => match received? {
                    None => return Ok(Notice::Everything),
                    Some(bytes) => {
                        let is_own = |cause| cause == self.own_port || self.runs.have(cause);
                        let told = |concerns: fn(&Message<'_>) -> bool| {
                            messages(&bytes).any(|message| !is_own(message.cause) && concerns(&message))
                        };
                        // The last is told first: what passes past rules that are there is more urgent.
                        let rules = told(concerns_rules) || told(concerns_policing);
                        self.suspects.told.extend(rules.then_some(Notice::Rules));
                        self.suspects.told.extend(told(concerns_judges).then_some(Notice::Judges));
                    }
                },
                () = settled => self.suspects.judge(),
                () = another_look => {
                    self.another_look = None;
                    return Ok(Notice::Judges);
                }
                () = self.postponed.notified(), if self.another_look.is_none() => {
                    self.another_look = Some(Instant::now() + ANOTHER_LOOK);
                }
                received = receive(&self.route) => match received? {
                    None => return Ok(Notice::Everything),
                    Some(bytes) => messages(&bytes).for_each(|message| self.suspects.note(&message)),
                },
            }
        }
    }
}

/// Waits for a moment, if there is one.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Hands a socket to the runtime that the caller runs in.
pub(crate) fn register(socket: netlink_sys::Socket) -> Result<AsyncFd<netlink_sys::Socket>, KernelError> {
    // SAFETY: the socket owns its descriptor, names the same one whenever it is asked, and closes it when it is
    // dropped, which `AsyncFd` does after it has taken it out of the reactor.
    #[expect(unsafe_code, reason = "that the descriptor stays open and the same is this type's to promise")]
    let registered = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
    registered.map_err(|error| unwatchable(error.into()))
}

/// The messages there are, so that of many changes at once one is told; none if some were lost.
pub(crate) async fn receive(socket: &AsyncFd<netlink_sys::Socket>) -> Result<Option<Vec<u8>>, KernelError> {
    let mut all = Vec::new();
    loop {
        let mut ready = socket.readable().await.map_err(unwatchable)?;
        let mut buffer = Vec::with_capacity(1 << 16);
        match ready.try_io(|socket| socket.get_ref().recv(&mut buffer, 0)) {
            Ok(Ok(_)) => {
                all.append(&mut buffer);
                all.resize(all.len().next_multiple_of(4), 0);
                if all.len() > ENOUGH {
                    return Ok(Some(all));
                }
            }
            Ok(Err(error)) if error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error()) => {
                return Ok(None);
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(Err(error)) => return Err(unwatchable(error)),
            Err(_would_block) if !all.is_empty() => return Ok(Some(all)),
            Err(_would_block) => {}
        }
    }
}

/// Whether the tables called `fabric` changed.
pub(crate) fn concerns_rules(message: &Message<'_>) -> bool {
    concerns(message, TABLE)
}

/// Whether the table of policies did.
pub(crate) fn concerns_policing(message: &Message<'_>) -> bool {
    concerns(message, data_path::TABLE)
}

fn concerns(message: &Message<'_>, table: &str) -> bool {
    let (subsystem, kind) = (message.kind >> 8, message.kind & 0xff);
    let Some((header, rest)) = message.payload.split_at_checked(NETFILTER_HEADER) else { return false };
    subsystem == SUBSYSTEM
        && kind != NFT_MSG_NEWGEN
        && is_of_ours(header)
        && attribute(rest, OF_TABLE).map(string).as_deref() == Some(table)
}

impl Suspects {
    fn note(&mut self, message: &Message<'_>) {
        match message.kind {
            RTM_NEWLINK | RTM_DELLINK => {
                let link = Link::parse(&Reply { payload: message.payload.to_vec() });
                let Some(link) = link else { return };
                if !link.ours {
                    return self.note_other(message.kind, &link);
                }
                let Ok(name) = link.name.parse::<IfName>() else { return };
                let gone = message.kind == RTM_DELLINK;
                if gone {
                    self.names.remove(&link.index);
                } else {
                    self.names.insert(link.index, name.clone());
                }
                let astray = link.kind == "veth" && link.master.is_none();
                self.suspect(name, gone || astray || link.admin == Admin::Down);
            }
            RTM_NEWADDR | RTM_DELADDR => {
                let Some(index) = route::address_of_ours(message.payload) else { return self.note_address() };
                if let Some(name) = self.names.get(&index).cloned().filter(|_| message.kind == RTM_DELADDR) {
                    self.suspect(name, true);
                }
            }
            _ => {}
        }
    }

    /// One notice tells of all that came at once.
    fn note_address(&mut self) {
        if !self.told.contains(&Notice::Addresses) {
            self.told.insert(0, Notice::Addresses);
        }
    }

    fn note_other(&mut self, kind: u16, link: &Link) {
        let before = match kind {
            RTM_DELLINK => self.others.remove(&link.index),
            _ => self.others.insert(link.index, link.mtu),
        };
        if kind == RTM_NEWLINK && before.is_some_and(|mtu| mtu != link.mtu) {
            self.told.push(Notice::Uplink);
        }
    }

    /// The latest look of an interface counts: what was being made, or has been mended already, is in order by now.
    fn suspect(&mut self, name: IfName, damaged: bool) {
        if damaged {
            self.until.get_or_insert_with(|| Instant::now() + SETTLING);
            self.damaged.insert(name, true);
        } else if let Some(known) = self.damaged.get_mut(&name) {
            *known = false;
        }
    }

    fn judge(&mut self) {
        self.until = None;
        let damaged = std::mem::take(&mut self.damaged).into_iter();
        self.told.extend(damaged.filter(|(_, damaged)| *damaged).map(|(name, _)| Notice::Interface(name)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> IfName {
        text.parse().expect("literal")
    }

    #[tokio::test]
    async fn what_is_only_on_its_way_is_not_told() {
        let mut suspects = Suspects::default();
        suspects.suspect(name("making"), true);
        suspects.suspect(name("lost"), true);
        suspects.suspect(name("well"), false);
        suspects.suspect(name("making"), false);
        assert!(suspects.until.is_some_and(|until| until <= Instant::now() + SETTLING));
        suspects.judge();
        assert_eq!(suspects.told, [Notice::Interface(name("lost"))]);
        assert_eq!(suspects.until, None, "and nothing is waited for until the next one");
    }
}
