//! When two queries are the same, so that one answer serves both.

use std::{
    hash::{Hash, Hasher},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use crate::{
    query::Query,
    wire::{HEADER, Message},
};

/// What is asked of whom.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    upstreams: Arc<[SocketAddr]>,
    key: Arc<[u8]>,
    shared: bool,
}

impl Question {
    /// What `octets`, which were read as a query, ask of `upstreams`.
    pub(crate) fn new(upstreams: Arc<[SocketAddr]>, octets: &[u8]) -> Self {
        let query = Message::new(octets).and_then(Query::read).expect("only a query that was read is passed on");
        let mut key = octets[HEADER..query.question_end].to_ascii_lowercase();
        // The type and the class are numbers, in which nothing may be changed.
        let tail = key.len() - 4;
        key[tail..].copy_from_slice(&octets[query.question_end - 4..query.question_end]);
        // Recursion desired, authentic data, checking disabled; EDNS and DNSSEC: an upstream answers according to them.
        let edns = query.edns.map_or(0, |edns| 0b100 | u8::from(edns.dnssec_ok) << 3);
        key.extend_from_slice(&[octets[2] & 0b1, octets[3] & 0b0011_0000, edns]);
        for upstream in &*upstreams {
            match upstream.ip() {
                IpAddr::V4(address) => key.extend_from_slice(&address.octets()),
                IpAddr::V6(address) => key.extend_from_slice(&address.octets()),
            }
            key.extend_from_slice(&upstream.port().to_be_bytes());
        }
        // What an option asks for is between one client and the upstream: a cookie, a subnet, padding.
        let shared = !query.edns.is_some_and(|edns| edns.has_options);
        Self { upstreams, key: key.into(), shared }
    }

    pub(crate) fn upstreams(&self) -> &[SocketAddr] {
        &self.upstreams
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    /// Whether the answer to one client is right for all others who ask the same.
    pub(crate) fn may_be_shared(&self) -> bool {
        self.shared
    }
}

impl PartialEq for Question {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Question {}

impl Hash for Question {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}
