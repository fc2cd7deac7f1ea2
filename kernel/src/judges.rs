//! Whether rules of other programs look at frames that pass from one port of a bridge to another, or at what containers
//! ask the host.
//!
//! Rules of the family `bridge` do; where `br_netfilter` has bridges call iptables
//! (`net.bridge.bridge-nf-call-iptables`), so do those of IP families; and so do those at the ingress or egress of a
//! port. At questions look those of IP families wherever bridges call nothing, too, and those at a bridge itself. A
//! chain counts as soon as it holds a rule or drops by its policy: whom it means to judge is not worked out.

use std::path::Path;

use model::{Family, data_path};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterProtoFamily,
    nftables::{ChainMessage, NfTablesMessage},
};

use crate::{
    KernelError,
    element::{NETFILTER_HEADER, SUBSYSTEM, TABLE, is_of_ours},
    link::refused,
    netlink::{Message, Reply, Socket, attribute, attributes, string},
    structure::Vigil,
    sysctl::{Held, Setting},
};

// `include/uapi/linux/netfilter.h`, `netfilter_bridge.h`
const NFPROTO_INET: u8 = 1;
const NFPROTO_IPV4: u8 = 2;
const NFPROTO_NETDEV: u8 = 5;
const NFPROTO_BRIDGE: u8 = 7;
const NFPROTO_IPV6: u8 = 10;
/// Prerouting, forward and postrouting, which have the same numbers in all families.
const PASSING: [u32; 3] = [0, 2, 4];
/// Prerouting, input, output and postrouting: what is for the host, and what it sends.
const LOCAL: [u32; 4] = [0, 1, 3, 4];
/// Of the family `inet`.
const INGRESS: u32 = 5;
const NF_DROP: u32 = 0;

// `include/uapi/linux/netfilter/nf_tables.h`
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const CHAIN_USE: u16 = 6;
const HOOK_NUMBER: u16 = 1;
const HOOK_DEVICE: u16 = 3;
const HOOK_DEVICES: u16 = 4;
/// Messages that tell of tables, chains and rules: new ones and deleted ones.
const STRUCTURAL: [u16; 6] = [0, 2, 3, 5, 6, 8];

/// Where programs that do not speak nftables have their rules (`Documentation/networking` knows of no better place).
const LEGACY_IP: [&str; 2] = ["/proc/thread-self/net/ip_tables_names", "/proc/thread-self/net/ip6_tables_names"];
const LEGACY_BRIDGE: [&str; 3] =
    ["/sys/module/ebtable_filter", "/sys/module/ebtable_nat", "/sys/module/ebtable_broute"];

/// How a port's name begins.
const PORT: &str = "fe-";
/// How a bridge's name begins.
const BRIDGE: &str = "fb-";

/// What a chain must be asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sees {
    /// Every frame.
    Frames,
    /// IP packets, where bridges call iptables for one of these families.
    Packets { ipv4: bool, ipv6: bool },
}

/// A chain of another program's that looks at what passes a bridge, or would if bridges called iptables, or at what
/// containers ask the host.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Judge {
    shown: String,
    sees: Option<Sees>,
    /// Whether it sees questions to a gateway over IPv4, or their answers.
    sees_questions: bool,
}

/// Who looks, if anybody does.
#[derive(Debug, Default)]
pub(crate) struct First {
    /// At what passes from port to port.
    pub(crate) of_passing: Option<String>,
    /// At what containers ask the DNS of their gateway over IPv4, or at what they are answered.
    pub(crate) of_questions: Option<String>,
}

/// What is known of chains of other programs as long as the kernel tells of no change to any.
pub(crate) struct Judges {
    vigil: Vigil,
    found: Vec<Judge>,
    /// Whether bridges have a family's packets judged, in the order of [`Family::ALL`].
    calls: [Held; 2],
    /// Whether there are rules that nftables knows nothing of, in the same order.
    legacy: [Held; 2],
}

impl Default for Judges {
    fn default() -> Self {
        let calls = Family::ALL.map(|family| Setting::BridgesCall(family).held());
        Self { vigil: Vigil::over(concerns_judges), found: Vec::new(), calls, legacy: LEGACY_IP.map(Held::new) }
    }
}

/// How much is believed that was seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// What the kernel has told of no change to.
    Undisturbed,
    /// Nothing.
    Nothing,
}

impl Judges {
    /// Who looks, if anybody does.
    pub(crate) fn first(&mut self, netfilter: &mut Socket, trust: Trust) -> Result<First, KernelError> {
        let holds = self.vigil.holds(netfilter)?;
        if !holds || trust == Trust::Nothing {
            self.found = look(netfilter)?;
            self.vigil.begin();
        }
        let [of4, of6] = &mut self.calls;
        let (ipv4, ipv6) = (of4.is_on()?, of6.is_on()?);
        let is_asked = |judge: &&Judge| match judge.sees {
            Some(Sees::Frames) => true,
            Some(Sees::Packets { ipv4: of4, ipv6: of6 }) => ipv4 && of4 || ipv6 && of6,
            None => false,
        };
        let shown = |judge: &Judge| judge.shown.clone();
        let passing = self.found.iter().find(is_asked).map(shown);
        let questions = self.found.iter().find(|judge| judge.sees_questions).map(shown);
        Ok(First {
            of_passing: if passing.is_some() { passing } else { self.legacy([ipv4, ipv6])? },
            of_questions: if questions.is_some() { questions } else { self.legacy([true, false])? },
        })
    }

    /// Rules that nftables knows nothing of. Of the kernel's module for frames nobody says what it holds.
    fn legacy(&mut self, bridges_call: [bool; 2]) -> Result<Option<String>, KernelError> {
        for (names, _) in self.legacy.iter_mut().zip(bridges_call).filter(|(_, called)| *called) {
            if names.says_something()? {
                return Ok(Some("iptables (legacy)".to_owned()));
            }
        }
        Ok(LEGACY_BRIDGE.iter().find(|path| Path::new(path).exists()).map(|_| "ebtables (legacy)".to_owned()))
    }
}

/// Whether tables, chains or rules changed that are not Fabric's.
pub(crate) fn concerns_judges(message: &Message<'_>) -> bool {
    let (subsystem, kind) = (message.kind >> 8, message.kind & 0xff);
    let Some((header, rest)) = message.payload.split_at_checked(NETFILTER_HEADER) else { return false };
    subsystem == SUBSYSTEM && STRUCTURAL.contains(&kind) && !is_own(header, rest)
}

fn is_own(header: &[u8], rest: &[u8]) -> bool {
    let table = attribute(rest, CHAIN_TABLE).map(string);
    is_of_ours(header) && [TABLE, data_path::TABLE].map(Some).contains(&table.as_deref())
}

fn look(netfilter: &mut Socket) -> Result<Vec<Judge>, KernelError> {
    let request = || {
        let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, 0);
        NetfilterMessage::new(header, NfTablesMessage::GetChain(ChainMessage { attributes: Vec::new() }))
    };
    let replies = netfilter.dump_some(request, &|reply| judge(reply).is_some());
    let replies = replies.map_err(refused(|| "list the chains of all tables".into()))?;
    Ok(replies.iter().filter_map(judge).collect())
}

fn judge(reply: &Reply) -> Option<Judge> {
    let (header, rest) = reply.payload.split_at_checked(NETFILTER_HEADER)?;
    if is_own(header, rest) {
        return None;
    }
    let hook = attribute(rest, CHAIN_HOOK)?;
    let of = |bytes, kind| attribute(bytes, kind)?.first_chunk().map(|octets| u32::from_be_bytes(*octets));
    let number = of(hook, HOOK_NUMBER)?;
    // Of a base chain, which nobody can jump to, these are its rules.
    if of(rest, CHAIN_USE).unwrap_or_default() == 0 && of(rest, CHAIN_POLICY) != Some(NF_DROP) {
        return None;
    }
    let is_local = LOCAL.contains(&number);
    let (at_ports, at_bridges) = (is_at(hook, PORT), is_at(hook, BRIDGE));
    let (family, sees, sees_questions) = match header[0] {
        NFPROTO_BRIDGE => ("bridge", Some(Sees::Frames).filter(|_| PASSING.contains(&number)), is_local),
        NFPROTO_NETDEV => ("netdev", Some(Sees::Frames).filter(|_| at_ports), at_ports || at_bridges),
        NFPROTO_INET if number == INGRESS => ("inet", Some(Sees::Frames).filter(|_| at_ports), at_ports || at_bridges),
        NFPROTO_INET => ("inet", passing(number, true, true), is_local),
        NFPROTO_IPV4 => ("ip", passing(number, true, false), is_local),
        NFPROTO_IPV6 => ("ip6", passing(number, false, true), false),
        _ => return None,
    };
    if sees.is_none() && !sees_questions {
        return None;
    }
    let name = |kind| attribute(rest, kind).map(string).unwrap_or_default();
    let shown = format!("table {family} {}, chain {}", name(CHAIN_TABLE), name(CHAIN_NAME));
    Some(Judge { shown, sees, sees_questions })
}

fn passing(hook: u32, ipv4: bool, ipv6: bool) -> Option<Sees> {
    PASSING.contains(&hook).then_some(Sees::Packets { ipv4, ipv6 })
}

/// Whether a hook that names devices may be that of one whose name begins so: by its name, or by how its name begins.
fn is_at(hook: &[u8], beginning: &str) -> bool {
    let one = attribute(hook, HOOK_DEVICE).map(string);
    let more = attributes(attribute(hook, HOOK_DEVICES).unwrap_or_default()).map(|(_, name)| string(name));
    one.into_iter().chain(more).any(|name| {
        let name = name.trim_end_matches('*');
        name.starts_with(beginning) || beginning.starts_with(name)
    })
}
