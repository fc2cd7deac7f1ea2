//! What the counters of rules have counted.

use std::collections::BTreeMap;

use model::data_path::{CounterName, TABLE};
use netlink_packet_core::DefaultNla;
use netlink_packet_netfilter::nftables::NfTablesMessage;

use crate::{
    KernelError,
    element::{NETFILTER_HEADER, TableFamily, message},
    netlink::{Reply, Socket, attribute, string},
    structure::refused,
};

// `include/uapi/linux/netfilter/nf_tables.h`
const OBJECT_TABLE: u16 = 1;
const OBJECT_NAME: u16 = 2;
const OBJECT_TYPE: u16 = 3;
const OBJECT_DATA: u16 = 4;
const OBJECT_COUNTER: u32 = 1;
const COUNTER_BYTES: u16 = 1;
const COUNTER_PACKETS: u16 = 2;

/// What a counter has counted since it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// Packets.
    pub packets: u64,
    /// Their octets, IP headers included.
    pub octets: u64,
}

/// What each counter of the table of policies has counted; none where there is no table.
pub(crate) fn read(socket: &mut Socket) -> Result<BTreeMap<CounterName, Counted>, KernelError> {
    let request = || {
        let mut table = TABLE.as_bytes().to_vec();
        table.push(0);
        let kind = DefaultNla::new(OBJECT_TYPE, OBJECT_COUNTER.to_be_bytes().to_vec());
        message(TableFamily::Inet, NfTablesMessage::GetObject(vec![DefaultNla::new(OBJECT_TABLE, table), kind]))
    };
    let replies = socket.dump(request).map_err(refused("list the counters of policies"))?;
    Ok(replies.iter().filter_map(counted).collect())
}

fn counted(reply: &Reply) -> Option<(CounterName, Counted)> {
    let rest = reply.payload.get(NETFILTER_HEADER..)?;
    // Not each version of the kernel heeds the request's filter.
    if attribute(rest, OBJECT_TABLE).map(string)? != TABLE {
        return None;
    }
    let name = CounterName::new(&attribute(rest, OBJECT_NAME).map(string)?);
    let data = attribute(rest, OBJECT_DATA)?;
    let number = |kind| attribute(data, kind)?.first_chunk().map(|octets| u64::from_be_bytes(*octets));
    Some((name, Counted { packets: number(COUNTER_PACKETS)?, octets: number(COUNTER_BYTES)? }))
}
