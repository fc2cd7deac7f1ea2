//! What all listeners answer from.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::time::timeout;

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
    wire::Message,
    witness::{self, Answered, Noted, Withheld, Witness},
};

/// As long as an answer may wait for who is told of it. A client asks again after 5 s.
const PATIENCE: Duration = Duration::from_secs(4);
const TOO_LATE: Withheld = Withheld("its addresses were not made known in time");
const UNBOUNDED: Withheld = Withheld("it says of one thing that it is a name and for how long it holds");

/// Answers queries, wherever they come from.
#[derive(Debug)]
pub(crate) struct Answerer {
    pub(crate) zones: Zones,
    pub(crate) forwarder: Forwarder,
    pub(crate) log: QueryLog,
    pub(crate) counters: Counters,
    /// Bounds TCP connections.
    pub(crate) connections: Arc<Limiter>,
    /// Told of what upstreams said before containers are.
    witness: Option<Arc<dyn Witness>>,
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

/// A query whose answer takes a while.
#[derive(Debug)]
pub(crate) struct Waiting {
    octets: Vec<u8>,
    asker: Asker,
    transport: Transport,
    since: Instant,
    awaits: Awaits,
    /// Held until the answer is there.
    _place: Place,
}

/// What is waited for.
enum Awaits {
    /// What an upstream says, in at most `limit` octets.
    Upstream { question: Question, limit: usize },
    /// Who is told of this answer, which is still known.
    Witness { reply: Vec<u8>, noted: Noted },
}

impl fmt::Debug for Awaits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Self::Upstream { .. }) { "Upstream" } else { "Witness" })
    }
}

impl Answerer {
    pub(crate) fn new(
        zones: Zones,
        forwarder: Forwarder,
        remembered: usize,
        witness: Option<Arc<dyn Witness>>,
    ) -> Self {
        let mut seed = [0; 8];
        // Without randomness answers are shuffled all the same, in an order that can be foretold.
        let _ = rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty());
        Self {
            zones,
            forwarder,
            log: QueryLog::new(remembered),
            counters: Counters::default(),
            connections: Arc::default(),
            witness,
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
        let (mut first, mut origin) = self.look_up(asker, transport, octets, reply);
        if let (First::Reply, Some(Origin::Cache)) = (&first, origin) {
            (first, origin) = self.recalled(asker, transport, octets, reply);
        }
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
        let place = self.forwarder.admit(&question, asker.source);
        self.wait(asker, transport, octets, place, Awaits::Upstream { question, limit }, reply)
    }

    /// Has a query wait, if there is a place for it.
    fn wait(
        &self,
        asker: Asker,
        transport: Transport,
        octets: &[u8],
        place: Result<Place, ExtendedError>,
        awaits: Awaits,
        reply: &mut Vec<u8>,
    ) -> (First, Option<Origin>) {
        match place {
            Ok(place) => {
                let (octets, since) = (octets.to_vec(), Instant::now());
                let waiting = Waiting { octets, asker, transport, since, awaits, _place: place };
                (First::Wait(Box::new(waiting)), None)
            }
            Err(error) => {
                failure(transport, octets, error, reply);
                (First::Reply, Some(Origin::Failure))
            }
        }
    }

    /// What becomes of a reply that was known.
    fn recalled(
        &self,
        asker: Asker,
        transport: Transport,
        octets: &[u8],
        reply: &mut Vec<u8>,
    ) -> (First, Option<Origin>) {
        match self.tell(asker, reply) {
            Ok(None) => (First::Reply, Some(Origin::Cache)),
            Ok(Some(noted)) => {
                let awaits = Awaits::Witness { reply: std::mem::take(reply), noted };
                self.wait(asker, transport, octets, self.forwarder.place(asker.source), awaits, reply)
            }
            Err(Withheld(text)) => {
                failure(transport, octets, ExtendedError { code: 0, text }, reply);
                (First::Reply, Some(Origin::Failure))
            }
        }
    }

    /// Tells of what a container is about to be answered, where that is of concern.
    fn tell(&self, asker: Asker, reply: &mut [u8]) -> Result<Option<Noted>, Withheld> {
        let (Some(witness), Some(message)) = (&self.witness, Message::new(reply)) else { return Ok(None) };
        let concerned = |name: &str| witness.is_concerned(name).then(|| name.to_owned());
        let Some(name) = witness::with_name(message, concerned).flatten() else { return Ok(None) };
        let container = self.zones.load().attachment(asker.source).map(|attachment| attachment.container.clone());
        let Some(container) = container else { return Ok(None) };
        if !witness::bound_ttls(reply) {
            return Err(UNBOUNDED);
        }
        let addresses = Message::new(reply).map(witness::addresses).unwrap_or_default();
        Ok(if addresses.is_empty() { None } else { witness.tell(Answered { container, name, addresses }) })
    }

    /// The answer to a query that waits.
    pub(crate) async fn finish(&self, waiting: Waiting) -> Vec<u8> {
        let Waiting { octets, asker, transport, since, awaits, _place } = waiting;
        let (reply, origin, noted) = match awaits {
            Awaits::Witness { reply, noted } => (reply, Origin::Cache, Ok(Some(noted))),
            Awaits::Upstream { question, limit } => {
                let (mut reply, origin) = self.ask(&octets, transport, &question, limit).await;
                let noted = match origin {
                    Origin::Upstream(_) => self.tell(asker, &mut reply),
                    _ => Ok(None),
                };
                (reply, origin, noted)
            }
        };
        let noted = match noted {
            Ok(Some(noted)) => timeout(PATIENCE, noted).await.unwrap_or(Err(TOO_LATE)),
            Ok(None) => Ok(()),
            Err(withheld) => Err(withheld),
        };
        let (reply, origin) = match noted {
            Ok(()) => (reply, origin),
            Err(Withheld(text)) => (failed(transport, &octets, ExtendedError { code: 0, text }), Origin::Failure),
        };
        let waited = Some(since.elapsed());
        self.counters.answered(transport, origin, waited);
        self.note(asker.source, transport, &octets, &reply, origin, waited);
        reply
    }

    /// What a query that waits is answered, which nobody is told of: it is for a person.
    pub(crate) async fn show(&self, waiting: Waiting) -> (Vec<u8>, Origin) {
        let Waiting { octets, transport, awaits, _place, .. } = waiting;
        match awaits {
            Awaits::Upstream { question, limit } => self.ask(&octets, transport, &question, limit).await,
            Awaits::Witness { reply, .. } => (reply, Origin::Cache),
        }
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

    /// What an upstream says, and which one.
    async fn ask(&self, octets: &[u8], transport: Transport, question: &Question, limit: usize) -> (Vec<u8>, Origin) {
        match self.forwarder.ask(question, octets, transport, limit).await {
            Ok((answer, upstream)) => (answer, Origin::Upstream(upstream)),
            Err(error) => (failed(transport, octets, error), Origin::Failure),
        }
    }
}

fn failed(transport: Transport, octets: &[u8], error: ExtendedError) -> Vec<u8> {
    let mut reply = Vec::new();
    failure(transport, octets, error, &mut reply);
    reply
}
