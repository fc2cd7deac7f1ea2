//! The query log: who asked for what, and what was answered. Written only while somebody wants it.

use std::{
    collections::VecDeque,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use model::ContainerName;
use tokio::sync::broadcast;

use crate::{
    RecordType,
    error::Transport,
    query::Query,
    text,
    wire::{self, Message},
};

/// How many entries a reader may be behind before it loses some.
const BEHIND: usize = 4096;

/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The networks' own zones, which includes refusals and what is malformed.
    Zone,
    /// An answer that an upstream gave before.
    Cache,
    /// This upstream.
    Upstream(SocketAddr),
    /// Nobody: no upstream answered, or none could be asked.
    Failure,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zone => f.write_str("zone"),
            Self::Cache => f.write_str("cache"),
            Self::Upstream(upstream) => upstream.fmt(f),
            Self::Failure => f.write_str("failure"),
        }
    }
}

/// One query and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// When it was answered.
    pub time: SystemTime,
    /// Who asked.
    pub client: IpAddr,
    /// The container that has that address; none for the host.
    pub container: Option<ContainerName>,
    /// How the query travelled.
    pub transport: Transport,
    /// The name asked for, without the final dot; `.` for the root.
    pub name: String,
    /// The type asked for.
    pub kind: RecordType,
    /// The response code's name, such as `NOERROR` or `NXDOMAIN`.
    pub code: &'static str,
    /// How many records the answer section has.
    pub answers: u16,
    /// Where the answer came from.
    pub origin: Origin,
    /// How long it was waited for; zero if it was known at once.
    pub waited: Duration,
}

impl LogEntry {
    /// What can be read from a query and its reply; none if the query is malformed.
    pub(crate) fn new(
        client: IpAddr,
        container: Option<ContainerName>,
        transport: Transport,
        query: &[u8],
        reply: &[u8],
    ) -> Option<Self> {
        let (query, reply) = (Query::read(Message::new(query)?)?, Message::new(reply)?);
        let answers = wire::records(reply).flatten().filter(|record| record.section == wire::Section::Answer).count();
        Some(Self {
            time: SystemTime::now(),
            client,
            container,
            transport,
            name: text::name(query.message.octets(), wire::HEADER)?,
            kind: query.kind,
            code: text::code(reply.response_code()),
            answers: answers.try_into().unwrap_or(u16::MAX),
            origin: Origin::Zone,
            waited: Duration::ZERO,
        })
    }
}

/// Where entries go.
#[derive(Debug)]
pub(crate) struct QueryLog {
    /// How many want entries: those who follow, and the memory if there is one.
    wanted: Arc<AtomicUsize>,
    recent: Mutex<VecDeque<Arc<LogEntry>>>,
    keep: usize,
    entries: broadcast::Sender<Arc<LogEntry>>,
}

impl QueryLog {
    /// A log that remembers the last `keep` entries.
    pub(crate) fn new(keep: usize) -> Self {
        Self {
            wanted: Arc::new(AtomicUsize::new(usize::from(keep > 0))),
            recent: Mutex::default(),
            keep,
            entries: broadcast::Sender::new(BEHIND),
        }
    }

    /// Whether anybody reads what is written. All that a query costs while nobody does.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn write(&self, entry: LogEntry) {
        let entry = Arc::new(entry);
        if self.keep > 0 {
            let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            if recent.len() >= self.keep {
                recent.pop_front();
            }
            recent.push_back(entry.clone());
        }
        // That nobody follows is no error.
        let _ = self.entries.send(entry);
    }

    pub(crate) fn read(&self) -> LogReader {
        self.wanted.fetch_add(1, Ordering::Relaxed);
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        LogReader {
            recent: recent.clone(),
            entries: self.entries.subscribe(),
            _interest: Interest(self.wanted.clone()),
        }
    }
}

/// Reads the query log: what is remembered of it, and what is written from now on.
#[derive(Debug)]
pub struct LogReader {
    recent: VecDeque<Arc<LogEntry>>,
    entries: broadcast::Receiver<Arc<LogEntry>>,
    _interest: Interest,
}

impl LogReader {
    /// The next entry that is remembered, oldest first; none after the last.
    pub fn recent(&mut self) -> Option<Arc<LogEntry>> {
        self.recent.pop_front()
    }

    /// The next entry that is written; none when the server is gone. Who reads too slowly loses entries.
    pub async fn next(&mut self) -> Option<Arc<LogEntry>> {
        loop {
            match self.entries.recv().await {
                Ok(entry) => return Some(entry),
                Err(broadcast::error::RecvError::Lagged(lost)) => {
                    tracing::debug!(lost, "a reader of the DNS query log is too slow");
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

#[derive(Debug)]
struct Interest(Arc<AtomicUsize>);

impl Drop for Interest {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
