//! A hash of what the kernel holds of a table, elements apart: by it a table is known to be as it was made.

use netlink_packet_netfilter::nftables::{
    ChainMessage, NfTablesMessage, RuleAttribute, RuleMessage, SetAttribute, SetMessage, TableAttribute, TableMessage,
};
use rustix::io::Errno;

use super::refused;
use crate::{
    KernelError,
    element::{NETFILTER_HEADER, TableFamily, message},
    netlink::{Reply, Request, Socket, attribute, attributes, string},
};

// Attributes that say what a table, chain, rule or set does; the rest are handles and counters.
// `include/uapi/linux/netfilter/nf_tables.h`
const TABLE_FLAGS: [u16; 1] = [2];
const CHAIN_NAME_HOOK_POLICY_TYPE_FLAGS: [u16; 5] = [3, 4, 5, 7, 10];
const RULE_CHAIN_EXPRESSIONS: [u16; 2] = [2, 4];
const SET_NAME_FLAGS_KEY_DATA: [u16; 6] = [2, 3, 4, 5, 6, 7];
/// `NFTA_TABLE_NAME`, `NFTA_CHAIN_TABLE`, `NFTA_RULE_TABLE` and `NFTA_SET_TABLE` are all 1.
const OF_TABLE: u16 = 1;

/// A 32-bit FNV-1a hash: it must tell accidents apart, not withstand an attacker, who would have to be root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hash(pub(super) u32);

impl Hash {
    pub(crate) const EMPTY: Self = Self(0x811c_9dc5);

    pub(crate) fn with(self, bytes: &[u8]) -> Self {
        bytes.iter().fold(self, |hash, byte| Self((hash.0 ^ u32::from(*byte)).wrapping_mul(0x0100_0193)))
    }

    /// One hash of several things in their order. To add them up would not do: texts that differ in their last digits
    /// have hashes that differ by the same, so two that swap what they say would have the same sum.
    pub(crate) fn then(self, other: Self) -> Self {
        self.with(&other.0.to_ne_bytes())
    }
}

/// The hash, with all that a table is besides its elements; none without the table.
pub(crate) fn of_table(
    socket: &mut Socket,
    mut hash: Hash,
    family: TableFamily,
    name: &str,
) -> Result<Option<Hash>, KernelError> {
    let table = TableMessage { attributes: vec![TableAttribute::Name(name.into())] };
    let table = match socket.call(Request::new(message(family, NfTablesMessage::GetTable(table)), 0)) {
        Err(refusal) if refusal.is(Errno::NOENT) => return Ok(None),
        answer => answer.map_err(refused("show a table"))?,
    };
    let mut add = |replies: &[Reply], kinds: &[u16]| hash = with_objects(hash, replies, family, name, kinds);
    // The table's name is its first attribute, so the filter on it holds here too.
    add(&table, &TABLE_FLAGS);
    let chains = socket
        .dump(|| message(family, NfTablesMessage::GetChain(ChainMessage { attributes: Vec::new() })))
        .map_err(refused("list chains"))?;
    add(&chains, &CHAIN_NAME_HOOK_POLICY_TYPE_FLAGS);
    let rules = socket
        .dump(|| {
            let attributes = vec![RuleAttribute::Table(name.into())];
            message(family, NfTablesMessage::GetRule(RuleMessage { attributes }))
        })
        .map_err(refused("list rules"))?;
    add(&rules, &RULE_CHAIN_EXPRESSIONS);
    let sets = socket
        .dump(|| {
            let attributes = vec![SetAttribute::Table(name.into())];
            message(family, NfTablesMessage::GetSet(SetMessage { attributes }))
        })
        .map_err(refused("list sets"))?;
    add(&sets, &SET_NAME_FLAGS_KEY_DATA);
    Ok(Some(hash))
}

fn with_objects(mut hash: Hash, replies: &[Reply], family: TableFamily, name: &str, kinds: &[u16]) -> Hash {
    for reply in replies {
        let Some((header, rest)) = reply.payload.split_at_checked(NETFILTER_HEADER) else { continue };
        let is_of_table =
            header.first() == Some(&family.number()) && attribute(rest, OF_TABLE).map(string).as_deref() == Some(name);
        if !is_of_table {
            continue;
        }
        hash = hash.with(&header[..1]);
        for (kind, value) in attributes(rest).filter(|(kind, _)| kinds.contains(kind)) {
            hash = hash.with(&kind.to_ne_bytes()).with(&value.len().to_ne_bytes()).with(value);
        }
    }
    hash
}
