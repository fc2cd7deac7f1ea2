//! What rules with `log` decided or audited: the newest are remembered, and whoever follows is told the rest.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use api::{Flow, FlowEnd, FlowsQuery};
use axum::body::Body;
use jiff::Timestamp;
use kernel::{Logged, Service, Tidings};
use model::{Protocol, data_path::ChainName};
use policy::{Document, log_chain};
use tokio::{sync::watch, time::sleep};

use crate::{
    daemon::{Daemon, chain},
    follow,
    rulebook::Rulebook,
    world::World,
};

/// How many flows are remembered.
const REMEMBERED: usize = 4096;
/// How many are sent at a time: as many are copied under the lock.
const BATCH: usize = 256;
/// After which pause the kernel's log is opened again where that failed, and at the how manieth time it is worth a
/// word: a child of the last daemon may have its socket a moment longer than itself.
const PAUSE: Duration = Duration::from_secs(1);
const WORTH_A_WORD: u32 = 5;

// Assigned numbers of IP (IANA protocol-numbers).
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

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
    loop {
        match log.next().await? {
            Tidings::Packets(packets) => {
                let world = daemon.world();
                book.turn_to(world.rulebook());
                let time = Timestamp::now();
                let flows: Vec<Flow> = packets.iter().filter_map(|packet| book.flow(&world, packet, time)).collect();
                drop(world);
                daemon.flows.tell(flows.into_iter());
            }
            Tidings::Lost => tracing::warn!("more was logged by policies than could be read; some flows are not told"),
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
    fn flow(&self, world: &World, packet: &Logged, time: Timestamp) -> Option<Flow> {
        let Said { verdict, policy, rule, place } =
            self.said.get(&packet.chain).or_else(|| self.before.get(&packet.chain))?;
        let (protocol, [from, to], message) = match packet.asks {
            Service::Ports(number, from, to) => (number, [Some(from), Some(to)], None),
            Service::Message(number, kind, code) => (number, [None, None], Some([kind, code])),
            Service::Other(number) => (number, [None, None], None),
        };
        Some(Flow {
            sequence: 0,
            time,
            verdict: verdict.clone(),
            policy: policy.clone(),
            rule: rule.clone(),
            place: place.clone(),
            source: end(world, packet.source, from),
            destination: end(world, packet.destination, to),
            protocol: name(protocol),
            message,
        })
    }
}

fn said(rulebook: &Rulebook) -> BTreeMap<ChainName, Said> {
    let of_document = |document: &Document| -> Vec<(ChainName, Said)> {
        let Document::Policy(policy) = document else { return Vec::new() };
        let of_rule = |rule: &policy::Rule| {
            let said = Said {
                verdict: rule.action.to_string(),
                policy: policy.title(),
                rule: format!("{} rule {}", rule.direction, rule.number),
                place: rule.place.to_string(),
            };
            Some((log_chain(policy, rule)?, said))
        };
        policy.rules.iter().filter_map(of_rule).collect()
    };
    rulebook.documents().flat_map(|(_, document)| of_document(document)).collect()
}

fn end(world: &World, address: IpAddr, port: Option<u16>) -> FlowEnd {
    let (container, network) = world.whose(address).unzip();
    FlowEnd { address, port, container, network }
}

fn name(protocol: u8) -> String {
    match (Protocol::from_number(protocol), protocol) {
        (Some(known), _) => known.to_string(),
        (None, ICMP) => "icmp".to_owned(),
        (None, ICMPV6) => "icmpv6".to_owned(),
        (None, number) => number.to_string(),
    }
}
