//! What rules that log decided or audited: the newest are remembered, and whoever follows is told the rest.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use api::{Flow, FlowEnd, FlowsQuery};
use axum::body::Body;
use jiff::Timestamp;
use kernel::{Logged, Service, Tidings};
use model::{ContainerName, Family, NetworkName, Protocol, data_path::ChainName};
use policy::{Document, log_chain};
use tokio::{sync::watch, time::sleep};

use crate::{
    daemon::{Daemon, chain},
    follow,
    rulebook::Rulebook,
};

/// How many flows are remembered.
const REMEMBERED: usize = 4096;
/// How many are sent at a time: as many are copied under the lock.
const BATCH: usize = 256;
/// After which pause the kernel's log is opened again where that failed, and at the how manieth time it is worth a
/// word: a child of the last daemon may have its socket a moment longer than itself.
const PAUSE: Duration = Duration::from_secs(1);
const WORTH_A_WORD: u32 = 5;
/// How often it is told at most that some were lost: who makes more than can be read makes no lines of `netd`'s own log.
const REPEATED: Duration = Duration::from_secs(60);

/// The newest flows.
#[derive(Debug)]
pub(crate) struct Flows {
    recent: Mutex<VecDeque<Flow>>,
    /// The sequence number of the last one; wakes those who follow.
    last: watch::Sender<u64>,
}

/// What a chain that logs stands for.
struct Said {
    verdict: String,
    policy: String,
    rule: String,
    place: String,
}

/// Who has which addresses, on which network.
type Holders = BTreeMap<IpAddr, (ContainerName, NetworkName)>;

/// What the rules in force log, and what those before them did: a packet of theirs may be on its way.
#[derive(Default)]
struct Book {
    of: Option<Arc<Rulebook>>,
    said: BTreeMap<ChainName, Said>,
    before: BTreeMap<ChainName, Said>,
}

impl Default for Flows {
    fn default() -> Self {
        Self { recent: Mutex::default(), last: watch::Sender::new(0) }
    }
}

impl Flows {
    fn tell(&self, flows: impl Iterator<Item = Flow>) {
        let mut recent = self.recent();
        let mut sequence = *self.last.borrow();
        for flow in flows {
            sequence += 1;
            recent.push_back(Flow { sequence, ..flow });
        }
        let surplus = recent.len().saturating_sub(REMEMBERED);
        recent.drain(..surplus);
        drop(recent);
        self.last.send_replace(sequence);
    }

    /// The next flows at and after `sequence`, and the sequence number to go on with.
    fn batch(&self, sequence: u64) -> (Vec<Flow>, u64) {
        let recent = self.recent();
        let first = recent.partition_point(|flow| flow.sequence < sequence);
        let next: Vec<Flow> = recent.range(first..).take(BATCH).cloned().collect();
        let go_on = next.last().map_or(sequence, |flow| flow.sequence + 1);
        (next, go_on)
    }

    /// The newest flows as a body of one JSON object per line, and with `follow` those from then on.
    pub(crate) fn body(daemon: Arc<Daemon>, query: FlowsQuery) -> Body {
        let told = daemon.flows.last.subscribe();
        follow::body(told, query.follow, move |sequence| {
            let (flows, go_on) = daemon.flows.batch(sequence);
            (flows.iter().flat_map(line).collect(), go_on)
        })
    }

    fn recent(&self) -> MutexGuard<'_, VecDeque<Flow>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn line(flow: &Flow) -> Vec<u8> {
    let mut text = serde_json::to_vec(flow).expect("texts and numbers are JSON");
    text.push(b'\n');
    text
}

/// Reads the kernel's log for as long as the daemon lives.
pub(crate) async fn listen(daemon: Arc<Daemon>) {
    let (mut book, mut failures) = (Book::default(), 0);
    loop {
        match read(&daemon, &mut book, &mut failures).await {
            Ok(never) => match never {},
            Err(error) => {
                failures += 1;
                if failures == WORTH_A_WORD {
                    tracing::warn!(error = chain(&error), "what policies log is not told");
                }
            }
        }
        sleep(PAUSE).await;
    }
}

async fn read(
    daemon: &Daemon,
    book: &mut Book,
    failures: &mut u32,
) -> Result<std::convert::Infallible, kernel::KernelError> {
    let mut log = daemon.kernel.flow_log().await?;
    *failures = 0;
    let mut told: Option<Instant> = None;
    loop {
        match log.next().await? {
            Tidings::Packets(packets) => {
                let time = Timestamp::now();
                let rulebook = daemon.world().rulebook().clone();
                book.turn_to(&rulebook);
                let addresses = packets.iter().flat_map(|packet| [packet.source, packet.destination]).collect();
                let holders = daemon.world().holders_of(&addresses);
                daemon.flows.tell(packets.iter().filter_map(|packet| book.flow(&holders, packet, time)));
            }
            Tidings::Lost => {
                if told.is_none_or(|told| told.elapsed() > REPEATED) {
                    tracing::warn!("more was logged by policies than could be read; some flows are not told");
                    told = Some(Instant::now());
                }
            }
        }
    }
}

impl Book {
    /// These are the rules in force.
    fn turn_to(&mut self, rulebook: &Arc<Rulebook>) {
        if self.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, rulebook)) {
            return;
        }
        self.of = Some(rulebook.clone());
        self.before = std::mem::replace(&mut self.said, said(rulebook));
    }

    /// What a packet tells; none if no rule says to have logged it.
    fn flow(&self, holders: &Holders, packet: &Logged, time: Timestamp) -> Option<Flow> {
        let Said { verdict, policy, rule, place } =
            self.said.get(&packet.chain).or_else(|| self.before.get(&packet.chain))?;
        let (protocol, [from, to], message) = match packet.asks {
            Service::Ports(protocol, from, to) => (protocol.to_string(), [Some(from), Some(to)], None),
            Service::Message(Family::Ipv4, kind, code) => ("icmp".to_owned(), [None, None], Some([kind, code])),
            Service::Message(Family::Ipv6, kind, code) => ("icmpv6".to_owned(), [None, None], Some([kind, code])),
            Service::Other(number) => (protocol_of(number), [None, None], None),
        };
        Some(Flow {
            sequence: 0,
            time,
            verdict: verdict.clone(),
            policy: policy.clone(),
            rule: rule.clone(),
            place: place.clone(),
            source: end(holders, packet.source, from),
            destination: end(holders, packet.destination, to),
            protocol,
            message,
        })
    }
}

fn said(rulebook: &Rulebook) -> BTreeMap<ChainName, Said> {
    let of_document = |document: &Document| -> Vec<(ChainName, Said)> {
        let of_rest = |rest: policy::Rest| {
            let (verdict, place) = (rest.effect.to_string(), document.place().to_string());
            (rest.chain, Said { verdict, policy: document.title(), rule: rest.title, place })
        };
        let rests = policy::rests(document).into_iter().map(of_rest);
        let Document::Policy(policy) = document else { return rests.collect() };
        let of_rule = |rule: &policy::Rule| {
            let said = Said {
                verdict: rule.action.to_string(),
                policy: policy.title(),
                rule: format!("{} rule {}", rule.direction, rule.number),
                place: rule.place.to_string(),
            };
            Some((log_chain(policy, rule)?, said))
        };
        policy.rules.iter().filter_map(of_rule).chain(rests).collect()
    };
    rulebook.documents().flat_map(|(_, document)| of_document(document)).collect()
}

fn end(holders: &Holders, address: IpAddr, port: Option<u16>) -> FlowEnd {
    let (container, network) = holders.get(&address).cloned().unzip();
    FlowEnd { address, port, container, network }
}

/// A protocol's name, or its number.
fn protocol_of(number: u8) -> String {
    Protocol::from_number(number).map_or_else(|| number.to_string(), |known| known.to_string())
}
