//! What all listeners answer from.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    Zones,
    count::Counters,
    decision::{Asker, Route, View},
    error::Transport,
    forward::{Forwarder, Question},
    limit::{Limiter, Place},
    log::{LogEntry, Origin, QueryLog},
    probe,
    reply::{ExtendedError, Step, failure, step},
    serve::Local,
};

/// Answers queries, wherever they come from.
#[derive(Debug)]
pub(crate) struct Answerer {
    pub(crate) zones: Zones,
    pub(crate) forwarder: Forwarder,
    pub(crate) log: QueryLog,
    pub(crate) counters: Counters,
    /// Bounds TCP connections.
    pub(crate) connections: Arc<Limiter>,
    /// What addresses are shuffled by; another for each query.
    chance: AtomicU64,
}

/// What is known at once.
#[derive(Debug)]
pub(crate) enum First {
    /// There is no answer.
    Silence,
    /// The answer has been written.
    Reply,
    /// The answer takes a while.
    Wait(Box<Waiting>),
}

/// A query that an upstream is to be asked.
#[derive(Debug)]
pub(crate) struct Waiting {
    octets: Vec<u8>,
    client: IpAddr,
    question: Question,
    transport: Transport,
    limit: usize,
    since: Instant,
    /// Held until the answer is there.
    _place: Place,
}

impl Answerer {
    pub(crate) fn new(zones: Zones, forwarder: Forwarder, remembered: usize) -> Self {
        let mut seed = [0; 8];
        // Without randomness answers are shuffled all the same, in an order that can be foretold.
        let _ = rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty());
        Self {
            zones,
            forwarder,
            log: QueryLog::new(remembered),
            counters: Counters::default(),
            connections: Arc::default(),
            chance: AtomicU64::new(u64::from_ne_bytes(seed)),
        }
    }

    /// Whether anybody at `source` is answered here at all.
    pub(crate) fn knows(&self, source: SocketAddr, local: Local) -> bool {
        View::of(&self.zones.load(), local.asker(source)) != View::Stranger
    }

    /// What can be said about `octets` without waiting; a reply is written to `reply`. A [probe] is no client's query,
    /// so it is neither counted nor logged.
    pub(crate) fn first(
        &self,
        source: SocketAddr,
        local: Local,
        transport: Transport,
        octets: &[u8],
        reply: &mut Vec<u8>,
    ) -> First {
        // Nothing can be sent to port 0.
        if source.port() == 0 {
            return First::Silence;
        }
        let asker = local.asker(source);
        let (first, origin) = self.look_up(asker, transport, octets, reply);
        if asker.source == local.address.ip() && octets == probe::query(self.zones.load().domain()) {
            return first;
        }
        match (&first, origin) {
            (First::Reply, Some(origin)) => {
                self.counters.answered(transport, origin, None);
                self.note(asker.source, transport, octets, reply, origin, None);
            }
            (First::Silence, _) => self.counters.ignored(),
            _ => {}
        }
        first
    }

    /// The same for whoever `asker` is, with where the reply came from.
    pub(crate) fn look_up(
        &self,
        asker: Asker,
        transport: Transport,
        octets: &[u8],
        reply: &mut Vec<u8>,
    ) -> (First, Option<Origin>) {
        let chance = self.chance.fetch_add(1, Ordering::Relaxed);
        let snapshot = self.zones.load();
        let (limit, upstreams) = match step(&snapshot, asker, transport, chance, octets, reply) {
            Step::Silence => return (First::Silence, None),
            Step::Reply => return (First::Reply, Some(Origin::Zone)),
            Step::Forward { limit, route: Route::To(upstreams) } => (limit, upstreams.clone()),
            Step::Forward { limit, .. } => (limit, self.forwarder.host()),
        };
        let question = self.forwarder.question(&upstreams, octets);
        if self.forwarder.recall(&question, octets, limit, reply) {
            return (First::Reply, Some(Origin::Cache));
        }
        match self.forwarder.admit(&question, asker.source) {
            Ok(place) => {
                let (octets, client, since) = (octets.to_vec(), asker.source, Instant::now());
                let waiting = Waiting { octets, client, question, transport, limit, since, _place: place };
                (First::Wait(Box::new(waiting)), None)
            }
            Err(error) => {
                failure(transport, octets, error, reply);
                (First::Reply, Some(Origin::Failure))
            }
        }
    }

    /// The answer to a query that waits.
    pub(crate) async fn finish(&self, waiting: &Waiting) -> Vec<u8> {
        let (reply, origin) = self.ask(waiting).await;
        let Waiting { client, transport, octets, since, .. } = waiting;
        let waited = Some(since.elapsed());
        self.counters.answered(*transport, origin, waited);
        self.note(*client, *transport, octets, &reply, origin, waited);
        reply
    }

    fn note(
        &self,
        client: IpAddr,
        transport: Transport,
        query: &[u8],
        reply: &[u8],
        origin: Origin,
        waited: Option<Duration>,
    ) {
        if !self.log.is_wanted() {
            return;
        }
        let container = self.zones.load().attachment(client).map(|attachment| attachment.container.clone());
        let Some(mut entry) = LogEntry::new(client, container, transport, query, reply) else { return };
        (entry.origin, entry.waited) = (origin, waited.unwrap_or_default());
        self.log.write(entry);
    }

    /// The same, with where the answer came from.
    pub(crate) async fn ask(&self, waiting: &Waiting) -> (Vec<u8>, Origin) {
        let Waiting { octets, question, transport, limit, .. } = waiting;
        match self.forwarder.ask(question, octets, *transport, *limit).await {
            Ok((answer, upstream)) => (answer, Origin::Upstream(upstream)),
            Err(error) => (failed(*transport, octets, error), Origin::Failure),
        }
    }
}

fn failed(transport: Transport, octets: &[u8], error: ExtendedError) -> Vec<u8> {
    let mut reply = Vec::new();
    failure(transport, octets, error, &mut reply);
    reply
}
