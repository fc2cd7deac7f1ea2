//! Passes queries on to upstreams, as octets: only the id is changed, so that whatever a client and an upstream have
//! agreed on (EDNS options, new record types, DNSSEC) goes through. Answers are kept for as long as they allow, and of
//! equal queries at one time only one is passed on.
//!
//! Each query has a socket of its own, connected: the kernel draws its port at random and drops what does not come
//! from the upstream. Together with a random id, the comparison of questions, and never two equal questions under way
//! this is what RFC 5452 asks for. Upper and lower case are not varied beyond what the client wrote: some 30 more bits
//! are no reason to lose the answers of upstreams that do not repeat them.

mod exchange;
mod question;
mod under_way;

use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::time::{Instant, timeout_at};

#[cfg(feature = "fuzzing")]
pub(crate) use self::exchange::received;
pub(crate) use self::question::Question;
use self::{
    exchange::{Outcome, exchange},
    under_way::{Asked, UnderWay},
};
use crate::{
    ForwarderConfig, HostUpstreams,
    cache::Cache,
    error::Transport,
    limit::{Bounds, Limiter, Place},
    reply::ExtendedError,
    upstream::order,
    wire,
};

/// How long an upstream that was silent is asked only after the others.
const PENALTY: Duration = Duration::from_secs(10);

const TOO_MANY: ExtendedError = ExtendedError { code: 0, text: "too many queries of this client are under way" };
const NO_UPSTREAM: ExtendedError = ExtendedError { code: 0, text: "there is no upstream DNS server to ask" };
const UNREACHABLE: ExtendedError = ExtendedError { code: 22, text: "no upstream DNS server answered" };

/// Asks upstreams.
#[derive(Debug)]
pub(crate) struct Forwarder {
    config: ForwarderConfig,
    limiter: Arc<Limiter>,
    cache: Mutex<Cache>,
    under_way: UnderWay,
    /// Until when an upstream counts as silent.
    silent: Mutex<HashMap<SocketAddr, Instant>>,
    /// Where this server itself listens: who asks itself never gets an answer.
    own: ArcSwap<BTreeSet<SocketAddr>>,
    started: Instant,
}

/// What upstreams say: a response and whose it is, or why there is none.
#[derive(Debug, Clone)]
struct Answer(Result<(Arc<[u8]>, SocketAddr), ExtendedError>);

impl Forwarder {
    pub(crate) fn new(config: ForwarderConfig) -> Self {
        Self {
            limiter: Arc::default(),
            cache: Mutex::new(Cache::new(config.cache)),
            config,
            under_way: UnderWay::default(),
            silent: Mutex::default(),
            own: ArcSwap::default(),
            started: Instant::now(),
        }
    }

    /// Leaves `own` out wherever it is named as an upstream.
    pub(crate) fn set_own(&self, own: BTreeSet<SocketAddr>) {
        self.own.store(Arc::new(own));
    }

    /// The upstreams of the host, as they are now.
    pub(crate) fn host(&self) -> Arc<[SocketAddr]> {
        match &self.config.upstreams {
            HostUpstreams::Fixed(servers) => servers.clone(),
            HostUpstreams::Follow(file) => file.current().servers.clone(),
        }
    }

    /// What `octets`, which were read as a query, ask of `upstreams`.
    pub(crate) fn question(&self, upstreams: &Arc<[SocketAddr]>, octets: &[u8]) -> Question {
        let own = self.own.load();
        if upstreams.iter().any(|upstream| own.contains(upstream)) {
            let others: Arc<[_]> = upstreams.iter().copied().filter(|upstream| !own.contains(upstream)).collect();
            return Question::new(others, octets);
        }
        Question::new(upstreams.clone(), octets)
    }

    /// Writes an answer that is still known to `reply`, for the client that sent `octets`.
    pub(crate) fn recall(&self, question: &Question, octets: &[u8], limit: usize, reply: &mut Vec<u8>) -> bool {
        let now = self.started.elapsed();
        if !question.may_be_shared() || !locked(&self.cache).recall(question.key(), now, reply) {
            return false;
        }
        address(octets, reply, limit);
        true
    }

    /// Takes one of the client's places for a query under way to an upstream.
    pub(crate) fn admit(&self, question: &Question, client: IpAddr) -> Result<Place, ExtendedError> {
        if question.upstreams().is_empty() { Err(NO_UPSTREAM) } else { self.place(client) }
    }

    /// Takes one of the client's places for a query under way.
    pub(crate) fn place(&self, client: IpAddr) -> Result<Place, ExtendedError> {
        let bounds = Bounds { all: self.config.in_flight, per_client: self.config.in_flight_per_client };
        self.limiter.enter(client, bounds).ok_or(TOO_MANY)
    }

    /// The answer of the first upstream that has one, for the client to take as it is, and who that was. If all refuse,
    /// what the last of them said.
    pub(crate) async fn ask(
        &self,
        question: &Question,
        octets: &[u8],
        transport: Transport,
        limit: usize,
    ) -> Result<(Vec<u8>, SocketAddr), ExtendedError> {
        let answer = if question.may_be_shared() {
            self.ask_once(question, octets, transport).await
        } else {
            self.ask_in_turn(question, octets, transport).await
        };
        let (response, upstream) = answer.0?;
        let mut reply = response.to_vec();
        address(octets, &mut reply, limit);
        Ok((reply, upstream))
    }

    async fn ask_once(&self, question: &Question, octets: &[u8], transport: Transport) -> Answer {
        let ask = async {
            let answer = self.ask_in_turn(question, octets, transport).await;
            if let Ok((response, _)) = &answer.0 {
                locked(&self.cache).keep(question.key(), response, self.started.elapsed());
            }
            answer
        };
        self.under_way.join(Asked { question: question.clone(), transport }, ask).await
    }

    async fn ask_in_turn(&self, question: &Question, octets: &[u8], transport: Transport) -> Answer {
        let upstreams = question.upstreams();
        let now = Instant::now();
        let servers = {
            let mut silent = locked(&self.silent);
            silent.retain(|_, until| *until > now);
            order(upstreams.len(), |at| silent.contains_key(&upstreams[at]))
        };
        let deadline = now + self.config.deadline;
        let mut refused = Vec::new();
        let mut refusal = None;
        for at in servers {
            // The second round is for datagrams that were lost; who has said no will say no again.
            if refused.contains(&at) || Instant::now() >= deadline {
                continue;
            }
            let upstream = upstreams[at];
            let end = deadline.min(Instant::now() + self.config.timeout);
            let outcome = timeout_at(end, exchange(upstream, octets, transport)).await;
            match outcome.unwrap_or(Err(std::io::ErrorKind::TimedOut.into())) {
                Ok(Outcome::Answer(response)) => {
                    locked(&self.silent).remove(&upstream);
                    return Answer(Ok((response.into(), upstream)));
                }
                Ok(Outcome::Refusal(response)) => {
                    locked(&self.silent).remove(&upstream);
                    refused.push(at);
                    refusal = Some((response, upstream));
                }
                Err(error) => {
                    tracing::debug!(%upstream, %error, "upstream did not answer");
                    locked(&self.silent).insert(upstream, Instant::now() + PENALTY);
                }
            }
        }
        match refusal {
            Some((response, upstream)) if is_presentable(&response) => Answer(Ok((response.into(), upstream))),
            _ => Answer(Err(UNREACHABLE)),
        }
    }
}

/// Makes what an upstream answered the reply to the client that sent `octets`, of at most `limit` octets.
pub(crate) fn address(octets: &[u8], response: &mut Vec<u8>, limit: usize) {
    wire::address_to(octets, response);
    wire::fit(response, limit);
}

/// Whether a refusal can be given to a client as it is.
pub(crate) fn is_presentable(response: &[u8]) -> bool {
    wire::Message::new(response).is_some_and(|message| message.question().is_some() && wire::is_sound(message))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
