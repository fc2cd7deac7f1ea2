//! What all listeners answer from.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::{
    Zones,
    decision::{Asker, View},
    error::Transport,
    forward::{Forwarder, Query},
    limit::{Limiter, Place},
    reply::{ExtendedError, Step, failure, step},
};

/// Answers queries, wherever they come from.
#[derive(Debug)]
pub(crate) struct Answerer {
    pub(crate) zones: Zones,
    pub(crate) forwarder: Forwarder,
    /// Bounds TCP connections.
    pub(crate) connections: Arc<Limiter>,
    rotation: AtomicUsize,
}

/// What is known at once.
#[derive(Debug)]
pub(crate) enum First {
    /// There is no answer.
    Silence,
    /// This is the answer.
    Reply(Vec<u8>),
    /// The answer takes a while.
    Wait(Waiting),
}

/// A query that an upstream is to be asked.
#[derive(Debug)]
pub(crate) struct Waiting {
    octets: Vec<u8>,
    client: IpAddr,
    transport: Transport,
    limit: usize,
    /// Held until the answer is there.
    _place: Place,
}

impl Answerer {
    pub(crate) fn new(zones: Zones, forwarder: Forwarder) -> Self {
        Self { zones, forwarder, connections: Arc::default(), rotation: AtomicUsize::new(0) }
    }

    /// Whether anybody at `source` is answered at `listener` at all.
    pub(crate) fn knows(&self, source: SocketAddr, listener: SocketAddr) -> bool {
        let asker = Asker { source: source.ip(), listener: listener.ip() };
        View::of(&self.zones.load(), asker) != View::Stranger
    }

    /// What can be said about `octets` without waiting.
    pub(crate) fn first(&self, source: SocketAddr, listener: SocketAddr, transport: Transport, octets: &[u8]) -> First {
        let client = source.ip();
        let asker = Asker { source: client, listener: listener.ip() };
        // Nothing can be sent to port 0.
        if source.port() == 0 {
            return First::Silence;
        }
        let rotation = self.rotation.fetch_add(1, Ordering::Relaxed);
        match step(&self.zones.load(), asker, transport, rotation, octets) {
            Step::Silence => First::Silence,
            Step::Reply(reply) => First::Reply(reply),
            Step::Forward { limit } => match self.forwarder.admit(client) {
                Ok(place) => First::Wait(Waiting { octets: octets.to_vec(), client, transport, limit, _place: place }),
                Err(error) => failed(client, transport, octets, error),
            },
        }
    }

    /// The answer to a query that waits.
    pub(crate) async fn finish(&self, waiting: &Waiting) -> Option<Vec<u8>> {
        let Waiting { octets, client, transport, limit, .. } = waiting;
        match self.forwarder.ask(Query { octets, transport: *transport, limit: *limit }).await {
            Ok(answer) => Some(answer),
            Err(error) => failure(*client, *transport, octets, error),
        }
    }
}

fn failed(client: IpAddr, transport: Transport, octets: &[u8], error: ExtendedError) -> First {
    failure(client, transport, octets, error).map_or(First::Silence, First::Reply)
}
