//! The server without its sockets, for the fuzz targets of `fuzz/targets`: what comes in is an argument, and what would
//! be sent is returned. Only with the feature `fuzzing`.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use crate::{
    DNS_PORT, LogEntry, Snapshot, Transport, Viewer,
    cache::Cache,
    decision::{Asker, Route},
    forward::{self, Question},
    query::Query,
    reply::{ExtendedError, Step, failure, limit, step},
    wire::{Message, Verdict, judge},
};

/// What becomes of a query before any upstream is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// It gets no answer.
    Silence,
    /// It gets this one.
    Reply(Vec<u8>),
    /// An upstream is asked; if none can be, this is the answer.
    Forward(Vec<u8>),
}

/// What a client is told when an upstream has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relayed {
    /// What the client that caused the question is told.
    pub reply: Vec<u8>,
    /// What it is told if it asks again, if the answer was kept.
    pub again: Option<Vec<u8>>,
}

/// What becomes of `octets` that `viewer` sent; `chance` is a random number.
pub fn hear(snapshot: &Snapshot, viewer: Viewer, transport: Transport, chance: u64, octets: &[u8]) -> Heard {
    let mut reply = Vec::new();
    match step(snapshot, Asker::from(viewer), transport, chance, octets, &mut reply) {
        Step::Silence => Heard::Silence,
        Step::Reply => Heard::Reply(reply),
        Step::Forward { route, .. } => {
            let upstreams = match route {
                Route::To(upstreams) => upstreams.clone(),
                Route::Host | Route::Never => Arc::default(),
            };
            // Reads the query once more, as every query that is passed on is read.
            let _ = Question::new(upstreams, octets);
            failure(transport, octets, ExtendedError { code: 22, text: "nobody was asked" }, &mut reply);
            Heard::Forward(reply)
        }
    }
}

/// What the client that sent `query` is told if an upstream answers it with `response`, and again after `age`; none if
/// the response is not for it, or `query` is one that is never passed on.
pub fn relay(query: &[u8], transport: Transport, response: &[u8], age: Duration) -> Option<Relayed> {
    let read = Query::read(Message::new(query)?)?;
    let limit = limit(&read, transport);
    let (verdict, mut reply) = match transport {
        Transport::Udp => forward::received(query, response.to_vec()),
        Transport::Tcp => (judge(query, response), response.to_vec()),
    };
    let is_told = match verdict {
        Verdict::Alien => false,
        Verdict::Failure => forward::is_presentable(&reply),
        Verdict::Truncated | Verdict::Answer => true,
    };
    if !is_told {
        return None;
    }
    let question = Question::new([(Ipv4Addr::LOCALHOST, DNS_PORT).into()].into(), query);
    let mut cache = Cache::new(1 << 20);
    if question.may_be_shared() {
        cache.keep(question.key(), &reply, Duration::ZERO);
    }
    let mut again = Vec::new();
    let again = cache.recall(question.key(), age, &mut again).then(|| {
        forward::address(query, &mut again, limit);
        again
    });
    forward::address(query, &mut reply, limit);
    Some(Relayed { reply, again })
}

/// What the query log says of `query` and its `reply`; none if the query is malformed.
pub fn logged(query: &[u8], reply: &[u8]) -> Option<LogEntry> {
    LogEntry::new(Ipv4Addr::LOCALHOST.into(), None, Transport::Udp, query, reply)
}
