//! How many queries there were and what became of them, for whoever watches the server.
//!
//! A query adds to one or two atomics; nothing is locked, and nobody's name is kept.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::{Origin, Transport};

/// What became of clients' queries since the server was made. Those that [`Server::look_up`](crate::Server::look_up)
/// asks are not among them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Answered queries by where the answer came from.
    pub udp: Answers,
    /// The same by TCP.
    pub tcp: Answers,
    /// Queries of strangers and answers that nobody asked for: nothing is sent back.
    pub ignored: u64,
    /// Datagrams that were thrown away, because more came in than could be answered.
    pub dropped: u64,
    /// How long queries that an upstream was asked for waited, all of them together.
    pub waited: Duration,
}

/// Answers by where they came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Answers {
    /// [`Origin::Zone`].
    pub zone: u64,
    /// [`Origin::Cache`].
    pub cache: u64,
    /// [`Origin::Upstream`].
    pub upstream: u64,
    /// [`Origin::Failure`]: also what is refused because its client has too much under way.
    pub failure: u64,
}

/// The running counts.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    udp: ByOrigin,
    tcp: ByOrigin,
    ignored: AtomicU64,
    dropped: AtomicU64,
    waited_microseconds: AtomicU64,
}

#[derive(Debug, Default)]
struct ByOrigin {
    zone: AtomicU64,
    cache: AtomicU64,
    upstream: AtomicU64,
    failure: AtomicU64,
}

impl Counters {
    /// A query was answered, after so long if an upstream was to be asked.
    pub(crate) fn answered(&self, transport: Transport, origin: Origin, waited: Option<Duration>) {
        let answers = match transport {
            Transport::Udp => &self.udp,
            Transport::Tcp => &self.tcp,
        };
        let counter = match origin {
            Origin::Zone => &answers.zone,
            Origin::Cache => &answers.cache,
            Origin::Upstream(_) => &answers.upstream,
            Origin::Failure => &answers.failure,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if let Some(waited) = waited {
            let microseconds = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
            self.waited_microseconds.fetch_add(microseconds, Ordering::Relaxed);
        }
    }

    /// Something was not answered.
    pub(crate) fn ignored(&self) {
        self.ignored.fetch_add(1, Ordering::Relaxed);
    }

    /// A datagram was thrown away.
    pub(crate) fn dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// The counts as they are now.
    pub(crate) fn read(&self) -> Counts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let answers = |answers: &ByOrigin| Answers {
            zone: of(&answers.zone),
            cache: of(&answers.cache),
            upstream: of(&answers.upstream),
            failure: of(&answers.failure),
        };
        Counts {
            udp: answers(&self.udp),
            tcp: answers(&self.tcp),
            ignored: of(&self.ignored),
            dropped: of(&self.dropped),
            waited: Duration::from_micros(of(&self.waited_microseconds)),
        }
    }
}
