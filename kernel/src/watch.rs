//! What others change of Fabric's rules and interfaces, told as soon as the kernel tells it.
//!
//! A notice is a hint where to look, never knowledge: whoever gets one reconciles, and a reconcile that finds all in
//! order changes nothing and so causes no further notice. Changes of Fabric's own are told apart where the kernel says
//! who asked for them (rules), and by their outcome where it does not (interfaces).
//!
//! Only the namespace that [`crate::Kernel::open`] was called in is watched. In a container's namespace nothing enforces
//! anything; what its owner does there is found by the look at everything.

use std::{collections::BTreeMap, io, time::Duration};

use model::{Admin, IfName};
use netlink_sys::{
    SocketAddr,
    constants::{NETLINK_NETFILTER, NETLINK_ROUTE},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::{Instant, sleep_until},
};

use crate::{
    KernelError,
    element::{NETFILTER_HEADER, SUBSYSTEM, TABLE, is_of_ours},
    link::{self, Link},
    netlink::{Message, Reply, Socket, attribute, messages, string},
    route,
};

/// How long an interface may look damaged before it counts: making one takes several messages, the first of which shows
/// it down and in no bridge.
const SETTLING: Duration = Duration::from_millis(20);
/// Room for the notifications of a ruleset with thousands of elements that is flushed at once. The kernel allows as much
/// as `net.core.rmem_max` says.
const BUFFER: u32 = 4 << 20;

// `include/uapi/linux/netfilter/nfnetlink.h`, `include/uapi/linux/rtnetlink.h`
const NFNLGRP_NFTABLES: u32 = 7;
const RTNLGRP_LINK: u32 = 1;
const RTNLGRP_IPV4_IFADDR: u32 = 5;
const RTNLGRP_IPV6_IFADDR: u32 = 9;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_DELADDR: u16 = 21;
const NFT_MSG_NEWGEN: u16 = 15;
/// `NFTA_TABLE_NAME`, `NFTA_CHAIN_TABLE`, `NFTA_RULE_TABLE` and those of sets, elements and objects are all 1.
const OF_TABLE: u16 = 1;

/// Where to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Somebody else changed Fabric's rules, or the elements of its sets.
    Rules,
    /// An interface of Fabric's is gone, down, in no bridge, or without an address it had. It may be so because it is
    /// no longer desired.
    Interface(IfName),
    /// Notifications were lost: anything may have changed.
    Everything,
}

/// Notifications about one network namespace.
#[derive(Debug)]
pub struct Watch {
    route: AsyncFd<netlink_sys::Socket>,
    rules: AsyncFd<netlink_sys::Socket>,
    /// The port of the socket that Fabric's own changes of the rules come from.
    own_port: u32,
    suspects: Suspects,
}

/// The sockets of a watch, opened in the namespace to be watched.
pub(crate) struct Sockets {
    route: netlink_sys::Socket,
    rules: netlink_sys::Socket,
    own_port: u32,
    names: BTreeMap<u32, IfName>,
}

/// Interfaces of Fabric's that looked damaged, until it is clear whether they are.
#[derive(Debug, Default)]
struct Suspects {
    names: BTreeMap<u32, IfName>,
    damaged: BTreeMap<IfName, bool>,
    until: Option<Instant>,
    told: Vec<IfName>,
}

impl Sockets {
    /// Subscribes in the namespace of the calling thread, whose changes of rules come from `own`.
    pub(crate) fn open(route: &mut Socket, own: &Socket) -> Result<Self, KernelError> {
        let subscribe = |protocol, groups: &[u32]| {
            let mut socket = netlink_sys::Socket::new(protocol)?;
            socket.bind(&SocketAddr::new(0, 0))?;
            socket.set_non_blocking(true)?;
            socket.set_rx_buf_sz(BUFFER)?;
            groups.iter().try_for_each(|group| socket.add_membership(*group))?;
            Ok(socket)
        };
        let failed = |source| KernelError::System { action: "watch the host's network".into(), source };
        let sockets = Self {
            route: subscribe(NETLINK_ROUTE, &[RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR])
                .map_err(failed)?,
            rules: subscribe(NETLINK_NETFILTER, &[NFNLGRP_NFTABLES]).map_err(failed)?,
            own_port: own.port(),
            names: BTreeMap::new(),
        };
        // Listed after the subscription: none is missed in between.
        let links = link::all(route)?.into_iter().filter(|link| link.ours);
        let names = links.filter_map(|link| Some((link.index, link.name.parse().ok()?))).collect();
        Ok(Self { names, ..sockets })
    }
}

impl Watch {
    /// Hands the sockets to the runtime that the caller runs in.
    pub(crate) fn new(sockets: Sockets) -> Result<Self, KernelError> {
        Ok(Self {
            route: register(sockets.route)?,
            rules: register(sockets.rules)?,
            own_port: sockets.own_port,
            suspects: Suspects { names: sockets.names, ..Suspects::default() },
        })
    }

    /// Waits until there is something to look at. What is not taken keeps, so the future may be dropped.
    ///
    /// # Errors
    /// When the sockets cannot be read; then nothing more will be told.
    pub async fn next(&mut self) -> Result<Notice, KernelError> {
        loop {
            if let Some(name) = self.suspects.told.pop() {
                return Ok(Notice::Interface(name));
            }
            let until = self.suspects.until;
            let settled = async {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            let own_port = self.own_port;
            tokio::select! {
                biased;
                received = receive(&self.rules) => match received? {
                    None => return Ok(Notice::Everything),
                    Some(bytes) if messages(&bytes).any(|message| concerns_rules(&message, own_port)) => {
                        return Ok(Notice::Rules);
                    }
                    Some(_) => {}
                },
                () = settled => self.suspects.judge(),
                received = receive(&self.route) => match received? {
                    None => return Ok(Notice::Everything),
                    Some(bytes) => messages(&bytes).for_each(|message| self.suspects.note(&message)),
                },
            }
        }
    }
}

fn register(socket: netlink_sys::Socket) -> Result<AsyncFd<netlink_sys::Socket>, KernelError> {
    // SAFETY: the socket owns its descriptor, names the same one whenever it is asked, and closes it when it is dropped,
    // which `AsyncFd` does after it has taken it out of the reactor.
    #[expect(unsafe_code, reason = "that the descriptor stays open and the same is this type's to promise")]
    let registered = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
    registered.map_err(|error| KernelError::System { action: "watch the host's network".into(), source: error.into() })
}

/// The messages of one read; none if some were lost.
async fn receive(socket: &AsyncFd<netlink_sys::Socket>) -> Result<Option<Vec<u8>>, KernelError> {
    let failed = |source| KernelError::System { action: "watch the host's network".into(), source };
    loop {
        let mut ready = socket.readable().await.map_err(failed)?;
        let mut buffer = Vec::with_capacity(1 << 16);
        match ready.try_io(|socket| socket.get_ref().recv(&mut buffer, 0)) {
            Ok(Ok(_)) => return Ok(Some(buffer)),
            Ok(Err(error)) if error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error()) => {
                return Ok(None);
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(Err(error)) => return Err(failed(error)),
            Err(_would_block) => {}
        }
    }
}

fn concerns_rules(message: &Message<'_>, own_port: u32) -> bool {
    let (subsystem, kind) = (message.kind >> 8, message.kind & 0xff);
    let Some((header, rest)) = message.payload.split_at_checked(NETFILTER_HEADER) else { return false };
    subsystem == SUBSYSTEM
        && kind != NFT_MSG_NEWGEN
        && message.cause != own_port
        && is_of_ours(header)
        && attribute(rest, OF_TABLE).map(string).as_deref() == Some(TABLE)
}

impl Suspects {
    fn note(&mut self, message: &Message<'_>) {
        match message.kind {
            RTM_NEWLINK | RTM_DELLINK => {
                let link = Link::parse(&Reply { payload: message.payload.to_vec() });
                let Some(link) = link.filter(|link| link.ours) else { return };
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
            RTM_DELADDR => {
                let Some(index) = route::removed_address_of_ours(message.payload) else { return };
                if let Some(name) = self.names.get(&index).cloned() {
                    self.suspect(name, true);
                }
            }
            _ => {}
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
        self.told.extend(damaged.filter(|(_, damaged)| *damaged).map(|(name, _)| name));
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
        assert_eq!(suspects.told, [name("lost")]);
        assert_eq!(suspects.until, None, "and nothing is waited for until the next one");
    }
}
