//! That one daemon at a time works on a network namespace.
//!
//! Two would take each other's bridges and rules for leftovers, whatever directories they have. A claim is a group of
//! nfnetlink_log that a socket is bound to and that no rule ever logs to: the kernel binds a group of a network
//! namespace to one socket at a time, and frees it when that socket is closed, however its process ends. Nobody without
//! the right to change the namespace's rules can bind one, so none can be in the way, and no change of rules touches
//! it.
//!
//! A table with an owner (`NFT_TABLE_F_OWNER`) would do the same from Linux 5.12 on, but as long as there is one, nft
//! 1.0.6 writes broken JSON for everybody who lists the ruleset.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use netlink_packet_core::DefaultNla;
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily, NetfilterSubsystem,
};
use netlink_sys::constants::NETLINK_NETFILTER;
use rustix::io::Errno;

use crate::{
    KernelError,
    netlink::{Request, Socket},
};

/// The group: a number that nobody comes upon by counting.
const GROUP: u16 = 0xfab1;

// `include/uapi/linux/netfilter/nfnetlink_log.h`
const NFULNL_MSG_CONFIG: u8 = 1;
const NFULA_CFG_CMD: u16 = 1;
const NFULNL_CFG_CMD_BIND: u8 = 1;

/// After which pause a claim that is taken is tried again, and for how long where a process that runs has it, and where
/// it has ended: between fork(2) and execve(2) a child of the last daemon, `nft` as a rule, holds its sockets a moment
/// longer than itself.
const PAUSE: Duration = Duration::from_millis(20);
const RUNS: Duration = Duration::from_millis(200);
const HAS_ENDED: Duration = Duration::from_secs(5);

/// The calling thread's network namespace is this process's to work on, for as long as this lives.
#[must_use]
pub struct Claim {
    /// None where the kernel knows no groups.
    bound: Option<Socket>,
}

impl Claim {
    /// Claims the calling thread's network namespace. On a kernel without nfnetlink_log this succeeds, and
    /// [`Claim::is_enforced`] says so.
    ///
    /// # Errors
    /// [`KernelError::Claimed`] when another process has it; any other when the kernel lets nobody have it.
    pub fn take() -> Result<Self, KernelError> {
        // The first of its protocol in this process: its port is the process's number, by which others find it.
        let mut socket = Socket::open(NETLINK_NETFILTER)?;
        let begun = Instant::now();
        loop {
            let refusal = match socket.call(Request::new(bound(GROUP), 0)) {
                Ok(_) => return Ok(Self { bound: Some(socket) }),
                // There is no such subsystem (`nfnetlink_rcv_msg` in `net/netfilter/nfnetlink.c`).
                Err(refusal) if refusal.is(Errno::INVAL) || refusal.is(Errno::OPNOTSUPP) => {
                    return Ok(Self { bound: None });
                }
                Err(refusal) => refusal,
            };
            let holder = holder();
            let pid = holder.and_then(process_with_port);
            if begun.elapsed() > if pid.is_some() { RUNS } else { HAS_ENDED } {
                return Err(match holder {
                    Some(_) => KernelError::Claimed { pid },
                    None => KernelError::Netlink { action: "claim this network namespace".into(), source: refusal },
                });
            }
            thread::sleep(PAUSE);
        }
    }

    /// Whether the kernel keeps others from claiming the namespace as well.
    pub fn is_enforced(&self) -> bool {
        self.bound.is_some()
    }
}

/// The request that binds a socket to a group of nfnetlink_log.
pub(crate) fn bound(group: u16) -> NetfilterMessage {
    configured(group, DefaultNla::new(NFULA_CFG_CMD, vec![NFULNL_CFG_CMD_BIND]))
}

/// The request that gives a group of nfnetlink_log, or the socket's binding to it, this setting.
pub(crate) fn configured(group: u16, setting: DefaultNla) -> NetfilterMessage {
    let inner = NetfilterMessageInner::Other {
        subsys: NetfilterSubsystem::ULog,
        message_type: NFULNL_MSG_CONFIG,
        attributes: vec![setting],
    };
    NetfilterMessage::new(NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, group), inner)
}

/// The port of the socket that is bound to the group, if one is.
fn holder() -> Option<u32> {
    let groups = fs::read_to_string("/proc/thread-self/net/netfilter/nfnetlink_log").ok()?;
    let numbers = |line: &str| line.split_whitespace().map_while(|word| word.parse().ok()).collect::<Vec<u32>>();
    groups.lines().map(numbers).find(|numbers| numbers.first() == Some(&GROUP.into()))?.get(1).copied()
}

/// The process whose first socket has this port, if that can be said: another may have the number by chance, but not
/// the name as well.
fn process_with_port(port: u32) -> Option<u32> {
    let name = |pid: &str| fs::read_to_string(format!("/proc/{pid}/comm")).ok();
    let own = name("self")?;
    (name(&port.to_string())? == own).then_some(port)
}
