//! Connections of TCP that stand and that conntrack does not know, because their frames went past it.

use std::net::{IpAddr, SocketAddr};

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL};
use rustix::io::Errno;

use super::{
    CTA_IP_V4_DST, CTA_IP_V4_SRC, CTA_IP_V6_DST, CTA_IP_V6_SRC, CTA_PROTO_DST_PORT, CTA_PROTO_NUM, CTA_PROTO_SRC_PORT,
    CTA_TUPLE_IP, CTA_TUPLE_ORIG, CTA_TUPLE_PROTO, CTA_TUPLE_REPLY, IPCTNL_MSG_CT_DELETE, family,
    judged::{BE_LIBERAL, CTA_PROTOINFO, CTA_PROTOINFO_TCP, CTA_PROTOINFO_TCP_FLAGS_ORIGINAL, WINDOW_SCALE},
    message, nested,
};
use crate::{
    KernelError,
    netlink::{Request, Socket},
    ports::Accepted,
};

// `include/uapi/linux/netfilter/nfnetlink_conntrack.h`
const IPCTNL_MSG_CT_NEW: u8 = 0;
const CTA_STATUS: u16 = 3;
const CTA_TIMEOUT: u16 = 7;
const CTA_PROTOINFO_TCP_STATE: u16 = 1;
const CTA_PROTOINFO_TCP_FLAGS_REPLY: u16 = 5;
/// `TCP_CONNTRACK_ESTABLISHED`
const ESTABLISHED: u8 = 3;
/// `IPS_SEEN_REPLY`, `IPS_ASSURED` and `IPS_CONFIRMED` of `include/uapi/linux/netfilter/nf_conntrack_common.h`
const BOTH_WAYS: u32 = 1 << 1 | 1 << 2 | 1 << 3;
/// How long the kernel keeps an established connection over which nothing is said, in seconds
/// (`net.netfilter.nf_conntrack_tcp_timeout_established`).
const TIMEOUT: u32 = 5 * 24 * 60 * 60;
const TCP: u8 = 6;

/// How often a connection is tried that conntrack meets with at the same time.
const ATTEMPTS: usize = 3;

/// Has conntrack know these connections, by who opened them. What it knew of them goes: they went past it since, so it
/// takes what acknowledges data that it has not seen for invalid, or it met with them in their middle and has them the
/// wrong way round.
///
/// Nobody knows how far their windows reach, so the kernel is told not to check them, and by the scale that it does not
/// know either that it did not pick them up by itself.
pub(crate) fn remember(socket: &mut Socket, connections: &[Accepted]) -> Result<(), KernelError> {
    let failed = |source| KernelError::Netlink { action: "remember connections that stand".to_owned(), source };
    let mut left: Vec<Accepted> = connections.to_vec();
    for _ in 0..ATTEMPTS {
        for answer in socket.exchange(left.iter().map(deletion).collect()) {
            match answer {
                Err(refusal) if refusal.is(Errno::NOENT) => {}
                answer => drop(answer.map_err(failed)?),
            }
        }
        let answers = socket.exchange(left.iter().map(creation).collect());
        let mut known = Vec::new();
        for (connection, answer) in left.into_iter().zip(answers) {
            match answer {
                Err(refusal) if refusal.is(Errno::EXIST) => known.push(connection),
                answer => drop(answer.map_err(failed)?),
            }
        }
        left = known;
    }
    Ok(())
}

fn deletion(Accepted { from, to }: &Accepted) -> Request {
    Request::new(message(IPCTNL_MSG_CT_DELETE, family(from.ip()), vec![tuple(CTA_TUPLE_ORIG, *from, *to)]), 0)
}

fn creation(Accepted { from, to }: &Accepted) -> Request {
    let flags = |kind| DefaultNla::new(kind, vec![BE_LIBERAL | WINDOW_SCALE; 2]);
    let tcp = [
        DefaultNla::new(CTA_PROTOINFO_TCP_STATE, vec![ESTABLISHED]),
        flags(CTA_PROTOINFO_TCP_FLAGS_ORIGINAL),
        flags(CTA_PROTOINFO_TCP_FLAGS_REPLY),
    ];
    let attributes = vec![
        tuple(CTA_TUPLE_ORIG, *from, *to),
        tuple(CTA_TUPLE_REPLY, *to, *from),
        DefaultNla::new(CTA_STATUS, BOTH_WAYS.to_be_bytes().into()),
        DefaultNla::new(CTA_TIMEOUT, TIMEOUT.to_be_bytes().into()),
        nested(CTA_PROTOINFO, &[nested(CTA_PROTOINFO_TCP, &tcp)]),
    ];
    Request::new(message(IPCTNL_MSG_CT_NEW, family(from.ip()), attributes), NLM_F_CREATE | NLM_F_EXCL)
}

fn tuple(kind: u16, from: SocketAddr, to: SocketAddr) -> DefaultNla {
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let (source, destination) = match from {
        SocketAddr::V4(_) => (CTA_IP_V4_SRC, CTA_IP_V4_DST),
        SocketAddr::V6(_) => (CTA_IP_V6_SRC, CTA_IP_V6_DST),
    };
    let addresses = [DefaultNla::new(source, octets(from.ip())), DefaultNla::new(destination, octets(to.ip()))];
    let port = |kind, port: u16| DefaultNla::new(kind, port.to_be_bytes().into());
    let protocol = [
        DefaultNla::new(CTA_PROTO_NUM, vec![TCP]),
        port(CTA_PROTO_SRC_PORT, from.port()),
        port(CTA_PROTO_DST_PORT, to.port()),
    ];
    nested(kind, &[nested(CTA_TUPLE_IP, &addresses), nested(CTA_TUPLE_PROTO, &protocol)])
}
