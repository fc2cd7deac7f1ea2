//! Upstreams are sockets on loopback addresses, as are clients.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
};

use super::*;
use crate::RecordType;

/// How an upstream answers.
#[derive(Clone, Copy)]
enum Manner {
    /// With an address, after this many milliseconds.
    Address { delay: u64 },
    /// Never.
    Silent,
    /// With this response code.
    Code(u8),
    /// With a lie first: another id, another question, a malformed record; then with the truth.
    LateTruth,
    /// By UDP with a truncated answer, by TCP with the whole of 100 addresses.
    Truncated,
    /// With a record whose name is a pointer to itself.
    Loop,
}

/// The port and the id of a query.
#[derive(PartialEq, Eq, Hash)]
struct Seen {
    port: u16,
    id: [u8; 2],
}

struct Upstream {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    seen: Arc<Mutex<HashSet<Seen>>>,
}

impl Upstream {
    async fn open(manner: Manner) -> Self {
        // Some other socket may have the same port for TCP.
        let (socket, listener, address) = loop {
            let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
            let address = socket.local_addr().expect("it is bound");
            if let Ok(listener) = TcpListener::bind(address).await {
                break (Arc::new(socket), listener, address);
            }
        };
        let (asked, seen) = (Arc::new(AtomicUsize::new(0)), Arc::<Mutex<HashSet<_>>>::default());
        let (counter, notes) = (asked.clone(), seen.clone());
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            loop {
                let (length, client) = socket.recv_from(&mut buffer).await.expect("it stays open");
                counter.fetch_add(1, Ordering::Relaxed);
                locked(&notes).insert(Seen { port: client.port(), id: [buffer[0], buffer[1]] });
                let (query, socket) = (buffer[..length].to_vec(), socket.clone());
                tokio::spawn(async move {
                    if let Manner::Address { delay } = manner {
                        tokio::time::sleep(Duration::from_millis(delay)).await;
                    }
                    for reply in replies(manner, &query) {
                        socket.send_to(&reply, client).await.expect("loopback takes it");
                    }
                });
            }
        });
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.expect("it stays open");
                let length = stream.read_u16().await.expect("a length");
                let mut query = vec![0; length.into()];
                stream.read_exact(&mut query).await.expect("a query");
                stream.write_all(&wire::framed(&whole(&query, 100))).await.expect("it is read");
            }
        });
        Self { address, asked, seen }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// An answer to `query` with so many addresses that may be kept for a minute.
fn whole(query: &[u8], count: u8) -> Vec<u8> {
    let end = wire::Message::new(query).and_then(wire::Message::question).expect("one question").end;
    let mut reply = query[..end].to_vec();
    (reply[2], reply[3]) = (0x81, 0x80);
    reply[6..12].copy_from_slice(&[0, count, 0, 0, 0, 0]);
    for number in 0..count {
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, number]);
    }
    reply
}

fn replies(manner: Manner, query: &[u8]) -> Vec<Vec<u8>> {
    let truth = whole(query, 1);
    let changed = |at: usize, octet: u8| {
        let mut reply = truth.clone();
        reply[at] = octet;
        reply
    };
    match manner {
        Manner::Address { .. } => vec![truth],
        Manner::Silent => Vec::new(),
        Manner::Code(code) => {
            let mut reply = truth[..truth.len() - 16].to_vec();
            (reply[3], reply[7]) = (0x80 | code, 0);
            vec![reply]
        }
        Manner::LateTruth => vec![changed(0, !truth[0]), changed(13, b'#'), truth],
        Manner::Truncated => {
            let mut reply = truth[..truth.len() - 16].to_vec();
            (reply[2], reply[7]) = (0x83, 0);
            vec![reply]
        }
        Manner::Loop => {
            let at = truth.len() - 16;
            vec![changed(at + 1, at as u8)]
        }
    }
}

/// One that waits for its upstreams however long the machine stands still.
fn forwarder() -> Forwarder {
    with_patience(Duration::from_secs(20), Duration::from_secs(50))
}

/// One for upstreams that are silent.
fn hasty() -> Forwarder {
    with_patience(Duration::from_millis(600), Duration::from_millis(2500))
}

fn with_patience(timeout: Duration, deadline: Duration) -> Forwarder {
    Forwarder::new(ForwarderConfig { timeout, deadline, ..ForwarderConfig::new(HostUpstreams::Fixed(Arc::default())) })
}

/// Tries what depends on the clock until it comes out once: a machine that stands still spoils one try, and what is not
/// as it should be all of them.
async fn at_best(mut attempt: impl AsyncFnMut() -> Result<(), String>) {
    let mut met = Vec::new();
    while met.len() < 5 {
        match attempt().await {
            Ok(()) => return,
            Err(text) => met.push(text),
        }
    }
    panic!("{met:?}");
}

/// An error that says what was found, unless it is as it should be.
fn ensure(holds: bool, found: impl std::fmt::Debug) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("{found:?}")) }
}

fn query(name: &str) -> Vec<u8> {
    wire::query(name, RecordType::A).expect("a name")
}

fn question(forwarder: &Forwarder, upstreams: &[&Upstream], octets: &[u8]) -> Question {
    forwarder.question(&upstreams.iter().map(|upstream| upstream.address).collect(), octets)
}

/// Asks as a client does: the cache first.
async fn ask(
    forwarder: &Forwarder,
    upstreams: &[&Upstream],
    name: &str,
) -> Result<(Vec<u8>, SocketAddr), ExtendedError> {
    let octets = query(name);
    let question = question(forwarder, upstreams, &octets);
    forwarder.ask(&question, &octets, Transport::Udp, 1232).await
}

#[tokio::test]
async fn the_next_upstream_is_asked_and_the_silent_one_remembered() {
    at_best(async || {
        let (dead, refusing, good) = (
            Upstream::open(Manner::Silent).await,
            Upstream::open(Manner::Code(5)).await,
            Upstream::open(Manner::Address { delay: 0 }).await,
        );
        let (forwarder, upstreams) = (hasty(), [&dead, &refusing, &good]);
        let before = Instant::now();
        let (_, from) = ask(&forwarder, &upstreams, "a.example").await.map_err(|error| format!("{error:?}"))?;
        ensure(from == good.address, from)?;
        let taken = before.elapsed();
        ensure(taken >= Duration::from_millis(600) && taken < Duration::from_millis(1500), taken)?;
        let before = Instant::now();
        for name in ["b.example", "c.example", "d.example"] {
            ask(&forwarder, &upstreams, name).await.map_err(|error| format!("{error:?}"))?;
        }
        let taken = before.elapsed();
        ensure(taken < Duration::from_millis(600), format!("{taken:?}: nobody waits for the dead one again"))?;
        let asked = (dead.asked(), refusing.asked(), good.asked());
        ensure(asked == (1, 4, 4), asked)
    })
    .await;
}

#[tokio::test]
async fn if_nobody_answers_it_is_said_why() {
    let (dead, refusing) = (Upstream::open(Manner::Silent).await, Upstream::open(Manner::Code(2)).await);
    let forwarder = hasty();
    assert_eq!(ask(&forwarder, &[&dead], "a.example").await, Err(UNREACHABLE));
    at_best(async || {
        let answer = ask(&forwarder, &[&dead, &refusing], "a.example").await;
        let refused = answer.as_ref().is_ok_and(|(reply, from)| reply[3] & 0xf == 2 && *from == refusing.address);
        ensure(refused, format!("a refusal is an answer: {answer:?}"))
    })
    .await;
    let octets = query("a.example");
    let nobody = question(&forwarder, &[], &octets);
    assert_eq!(forwarder.admit(&nobody, [10, 0, 0, 1].into()).expect_err("there is nobody to ask"), NO_UPSTREAM);
}

#[tokio::test]
async fn answers_are_kept_for_all_clients_who_ask_alike() {
    let good = Upstream::open(Manner::Address { delay: 0 }).await;
    let forwarder = forwarder();
    ask(&forwarder, &[&good], "www.example").await.expect("an answer");
    let recalled = |octets: &[u8], upstreams: &[&Upstream]| {
        let question = question(&forwarder, upstreams, octets);
        let mut reply = Vec::new();
        forwarder.recall(&question, octets, 1232, &mut reply).then_some(reply)
    };
    let mut other = query("wWw.eXample");
    other[..2].copy_from_slice(&[0xab, 0xcd]);
    let reply = recalled(&other, &[&good]).expect("it is kept");
    assert_eq!(reply[..2], [0xab, 0xcd], "the id is the client's");
    assert_eq!(reply[12..25], other[12..25], "and the case");
    let mut checking_disabled = other.clone();
    checking_disabled[3] |= 0x10;
    let mut dnssec = other.clone();
    let at = dnssec.len() - 4;
    dnssec[at] |= 0x80;
    let mut cookie = other.clone();
    let end = cookie.len();
    cookie[end - 1] = 12;
    cookie.extend([0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]);
    let elsewhere = Upstream::open(Manner::Silent).await;
    assert_eq!(recalled(&checking_disabled, &[&good]), None);
    assert_eq!(recalled(&dnssec, &[&good]), None);
    assert_eq!(recalled(&cookie, &[&good]), None, "an option may ask for anything");
    assert_eq!(recalled(&other, &[&elsewhere]), None, "another upstream may say something else");
    assert_eq!(good.asked(), 1);
}

#[tokio::test]
async fn equal_questions_at_one_time_are_asked_once() {
    let slow = Upstream::open(Manner::Address { delay: 200 }).await;
    let forwarder = Arc::new(forwarder());
    let asking = (0..20).map(|_| {
        let (forwarder, address) = (forwarder.clone(), slow.address);
        tokio::spawn(async move {
            let octets = query("www.example");
            let question = forwarder.question(&[address].into(), &octets);
            forwarder.ask(&question, &octets, Transport::Udp, 1232).await.expect("an answer")
        })
    });
    let mut asking: Vec<_> = asking.collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    // The first, on whose account it is asked, goes away.
    asking.remove(0).abort();
    for asker in asking {
        asker.await.expect("it was not aborted");
    }
    assert!(slow.asked() <= 2, "asked {} times", slow.asked());
    assert!(forwarder.under_way.is_empty());
}

#[tokio::test]
async fn forgeries_are_dropped_and_malformed_answers_not_passed_on() {
    let (late, looping) = (Upstream::open(Manner::LateTruth).await, Upstream::open(Manner::Loop).await);
    let (patient, hasty) = (forwarder(), hasty());
    let (reply, _) = ask(&patient, &[&late], "www.example").await.expect("an answer");
    assert_eq!(reply[reply.len() - 4..], [192, 0, 2, 0]);
    assert_eq!(ask(&hasty, &[&looping], "www.example").await, Err(UNREACHABLE));
    at_best(async || {
        let (_, from) = ask(&hasty, &[&looping, &late], "www.example").await.map_err(|error| format!("{error:?}"))?;
        ensure(from == late.address, from)
    })
    .await;
}

#[tokio::test]
async fn what_is_truncated_is_fetched_whole_for_the_next_who_asks() {
    let upstream = Upstream::open(Manner::Truncated).await;
    let forwarder = forwarder();
    let octets = query("many.example");
    let question = question(&forwarder, &[&upstream], &octets);
    let mut whole = Vec::new();
    // It has half a second for that.
    at_best(async || {
        let (reply, _) = ask(&forwarder, &[&upstream], "many.example").await.expect("an answer");
        assert!(reply[2] & 2 != 0 && reply.len() < 100, "it does not fit 1232 octets");
        ensure(forwarder.recall(&question, &octets, 65_535, &mut whole), "it is not known")
    })
    .await;
    assert_eq!((whole[2] & 2, whole[7]), (0, 100));
}

#[tokio::test]
async fn ports_and_ids_cannot_be_foretold() {
    let good = Upstream::open(Manner::Address { delay: 0 }).await;
    let forwarder = forwarder();
    for number in 0..64 {
        ask(&forwarder, &[&good], &format!("n{number}.example")).await.expect("an answer");
    }
    let seen = locked(&good.seen);
    let ports: HashSet<_> = seen.iter().map(|seen| seen.port).collect();
    let ids: HashSet<_> = seen.iter().map(|seen| seen.id).collect();
    assert!(ports.len() > 50 && ids.len() > 60, "{} ports, {} ids", ports.len(), ids.len());
}

#[tokio::test]
async fn who_listens_is_not_asked() {
    let (own, good) = (Upstream::open(Manner::Silent).await, Upstream::open(Manner::Address { delay: 0 }).await);
    let forwarder = forwarder();
    forwarder.set_own([own.address].into());
    ask(&forwarder, &[&own, &good], "www.example").await.expect("an answer");
    assert_eq!(own.asked(), 0);
}
