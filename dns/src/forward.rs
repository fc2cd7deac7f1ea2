//! Passes queries on to the host's upstreams, as octets: only the id is changed, so that whatever a client and an
//! upstream have agreed on (EDNS options, new record types, DNSSEC) goes through.
//!
//! Each query has a socket of its own, connected: the kernel draws its port at random and drops what does not come
//! from the upstream. Together with a random id and the comparison of questions this is what RFC 5452 asks for.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::{Instant, timeout, timeout_at},
};

use crate::{
    error::Transport,
    limit::{Bounds, Limiter, Place},
    reply::ExtendedError,
    upstream::{ForwarderConfig, order},
    wire::{self, Verdict},
};

/// For how many milliseconds an upstream that was silent is asked only after the others.
const PENALTY: u64 = 10_000;
/// How long the whole of a truncated answer may take; less than [`ForwarderConfig::timeout`], so that the truncated
/// one is still there.
const WHOLE: Duration = Duration::from_millis(500);
/// The longest datagram that is read, in octets.
const DATAGRAM: usize = 4096;

const TOO_MANY: ExtendedError = ExtendedError { code: 0, text: "too many queries of this client are under way" };
const NO_UPSTREAM: ExtendedError = ExtendedError { code: 0, text: "this host has no upstream DNS server configured" };
const UNREACHABLE: ExtendedError = ExtendedError { code: 22, text: "no upstream DNS server of this host answered" };

/// Asks upstreams.
#[derive(Debug)]
pub(crate) struct Forwarder {
    state: ArcSwap<State>,
    limiter: Arc<Limiter>,
    started: Instant,
}

#[derive(Debug)]
struct State {
    config: ForwarderConfig,
    /// For each upstream until when it counts as silent, in milliseconds since the start.
    silent_until: Vec<AtomicU64>,
}

/// A query that waits for an upstream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Query<'a> {
    /// As the client sent it; has a header and a question.
    pub(crate) octets: &'a [u8],
    /// How it came.
    pub(crate) transport: Transport,
    /// How long its answer may be, in octets.
    pub(crate) limit: usize,
}

impl Forwarder {
    pub(crate) fn new(config: ForwarderConfig) -> Self {
        Self { state: ArcSwap::from_pointee(State::new(config)), limiter: Arc::default(), started: Instant::now() }
    }

    /// Takes effect for queries that come from now on.
    pub(crate) fn configure(&self, config: ForwarderConfig) {
        if self.state.load().config != config {
            self.state.store(Arc::new(State::new(config)));
        }
    }

    /// Takes one of the client's places for a query under way.
    pub(crate) fn admit(&self, client: IpAddr) -> Result<Place, ExtendedError> {
        let state = self.state.load();
        if state.config.upstreams.is_empty() {
            return Err(NO_UPSTREAM);
        }
        let bounds = Bounds { all: state.config.in_flight, per_client: state.config.in_flight_per_client };
        self.limiter.enter(client, bounds).ok_or(TOO_MANY)
    }

    /// The answer of the first upstream that has one, for the client to take as it is. If all refuse, what the last
    /// of them said.
    pub(crate) async fn ask(&self, query: Query<'_>) -> Result<Vec<u8>, ExtendedError> {
        let state = self.state.load_full();
        let now = self.milliseconds();
        let servers = order(state.config.upstreams.len(), |at| state.silent_until[at].load(Ordering::Relaxed) > now);
        let deadline = Instant::now() + state.config.deadline;
        let mut refused = Vec::new();
        let mut refusal = None;
        for at in servers {
            // The second round is for datagrams that were lost; who has said no will say no again.
            if refused.contains(&at) || Instant::now() >= deadline {
                continue;
            }
            let end = deadline.min(Instant::now() + state.config.timeout);
            let upstream = state.config.upstreams[at];
            let outcome =
                timeout_at(end, exchange(upstream, query)).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()));
            let silent_until = match outcome {
                Ok(Outcome::Answer(response)) => {
                    state.silent_until[at].store(0, Ordering::Relaxed);
                    return Ok(finish(query, response));
                }
                Ok(Outcome::Refusal(response)) => {
                    refused.push(at);
                    refusal = Some(response);
                    0
                }
                Err(error) => {
                    tracing::debug!(%upstream, %error, "upstream did not answer");
                    self.milliseconds().saturating_add(PENALTY)
                }
            };
            state.silent_until[at].store(silent_until, Ordering::Relaxed);
        }
        match refusal {
            Some(response) if wire::Message::new(&response).is_some_and(|message| message.question().is_some()) => {
                Ok(finish(query, response))
            }
            _ => Err(UNREACHABLE),
        }
    }

    /// Since the start.
    fn milliseconds(&self) -> u64 {
        self.started.elapsed().as_millis().try_into().unwrap_or(u64::MAX)
    }
}

impl State {
    fn new(config: ForwarderConfig) -> Self {
        let silent_until = config.upstreams.iter().map(|_| AtomicU64::new(0)).collect();
        Self { config, silent_until }
    }
}

/// What came back from one upstream.
enum Outcome {
    Answer(Vec<u8>),
    Refusal(Vec<u8>),
}

fn finish(query: Query<'_>, mut response: Vec<u8>) -> Vec<u8> {
    wire::address_to(query.octets, &mut response);
    wire::fit(response, query.limit)
}

/// Asks one upstream the way the client asked, and by TCP what does not fit a datagram.
async fn exchange(upstream: SocketAddr, query: Query<'_>) -> io::Result<Outcome> {
    let mut octets = query.octets.to_vec();
    let mut id = [0; 2];
    rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty())?;
    wire::set_id(&mut octets, id);
    let (verdict, response) = match query.transport {
        Transport::Udp => by_datagram(upstream, &octets).await?,
        Transport::Tcp => by_stream(upstream, &octets).await?,
    };
    match verdict {
        Verdict::Failure => return Ok(Outcome::Refusal(response)),
        Verdict::Truncated if query.transport == Transport::Udp => {}
        _ => return Ok(Outcome::Answer(response)),
    }
    // Not every stub resolver comes back by TCP. The whole may fit what the client takes, though not what the upstream
    // puts in a datagram; if not, the client gets the beginning, marked as such.
    match timeout(WHOLE, by_stream(upstream, &octets)).await {
        Ok(Ok((Verdict::Answer, whole))) if whole.len() <= query.limit => Ok(Outcome::Answer(whole)),
        _ => Ok(Outcome::Answer(response)),
    }
}

async fn by_datagram(upstream: SocketAddr, query: &[u8]) -> io::Result<(Verdict, Vec<u8>)> {
    let any: IpAddr = match upstream {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(upstream).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let length = socket.recv(&mut buffer).await?;
        match wire::judge(query, &buffer[..length]) {
            Verdict::Alien => tracing::debug!(%upstream, "dropped a response that belongs to no query"),
            verdict => {
                buffer.truncate(length);
                return Ok((verdict, buffer));
            }
        }
    }
}

async fn by_stream(upstream: SocketAddr, query: &[u8]) -> io::Result<(Verdict, Vec<u8>)> {
    let mut stream = TcpStream::connect(upstream).await?;
    stream.write_all(&wire::framed(query)).await?;
    let mut response = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut response).await?;
    match wire::judge(query, &response) {
        Verdict::Alien => Err(io::Error::new(io::ErrorKind::InvalidData, "the response belongs to another query")),
        verdict => Ok((verdict, response)),
    }
}
