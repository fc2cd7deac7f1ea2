//! One TCP connection that goes on talking, and what happened to it.

use std::{
    io::{ErrorKind, Read, Result, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};

use crate::Namespace;

/// A connection to an echo server over which a number goes there and back every few milliseconds.
#[derive(Debug)]
pub struct Flow {
    stop: Arc<AtomicBool>,
    echoed: Arc<AtomicU64>,
    worker: JoinHandle<FlowReport>,
}

/// How a connection fared.
#[derive(Debug)]
pub struct FlowReport {
    /// Numbers that came back, each in its turn.
    pub echoed: u64,
    /// Segments of either side that had to be sent again because they, or what confirmed them, had not arrived.
    pub lost: u32,
    /// The longest that a number took, and when it came back.
    pub slowest: (Duration, SystemTime),
    /// What ended the connection before it was told to.
    pub broken: Option<std::io::Error>,
}

const INTERVAL: Duration = Duration::from_millis(5);
/// More than the kernel needs to repeat a lost segment several times; then the flow counts as broken.
const PATIENCE: Duration = Duration::from_secs(15);
/// With fewer numbers than these nothing is shown.
const ENOUGH: u64 = 5;

impl Flow {
    /// Connects from `client` to the echo server in `server` by an address that leads there, and talks until
    /// [`Flow::finish`]; returns once the first number has come back.
    #[track_caller]
    pub fn start(client: &Namespace, server: &Namespace, address: impl Into<IpAddr>, port: u16) -> Self {
        let to = SocketAddr::new(address.into(), port);
        let connect = || TcpStream::connect_timeout(&to, PATIENCE);
        let stream = client.enter(connect).unwrap_or_else(|error| panic!("{to}: {error}"));
        let (stop, echoed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counter) = (Arc::clone(&stop), Arc::clone(&echoed));
        let ends = [client.clone(), server.clone()];
        let worker = std::thread::spawn(move || talk(stream, &ends, &stopped, &counter));
        let flow = Self { stop, echoed, worker };
        crate::eventually("the echo server answers", || (flow.echoed() > 0).then_some(()));
        flow
    }

    /// How many numbers came back so far.
    pub fn echoed(&self) -> u64 {
        self.echoed.load(Ordering::Relaxed)
    }

    /// Ends the connection, once enough has been said or it is broken, and reports.
    pub fn finish(self) -> FlowReport {
        let said_enough = || (self.echoed() > ENOUGH || self.worker.is_finished()).then_some(());
        crate::eventually("enough numbers come back", said_enough);
        self.stop.store(true, Ordering::Relaxed);
        self.worker.join().expect("talking over a socket does not panic")
    }
}

fn talk(mut stream: TcpStream, ends: &[Namespace; 2], stop: &AtomicBool, echoed: &AtomicU64) -> FlowReport {
    stream.set_read_timeout(Some(PATIENCE)).expect("the time is not zero");
    let mut report = FlowReport { echoed: 0, lost: 0, slowest: (Duration::ZERO, SystemTime::now()), broken: None };
    let mut turn = |number: u64| -> Result<()> {
        stream.write_all(&number.to_be_bytes())?;
        let mut back = [0; 8];
        stream.read_exact(&mut back)?;
        if u64::from_be_bytes(back) == number { Ok(()) } else { Err(ErrorKind::InvalidData.into()) }
    };
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        if let Err(error) = turn(report.echoed) {
            report.broken = Some(error);
            return report;
        }
        if begun.elapsed() > report.slowest.0 {
            report.slowest = (begun.elapsed(), SystemTime::now());
        }
        report.echoed += 1;
        echoed.store(report.echoed, Ordering::Relaxed);
        std::thread::sleep(INTERVAL);
    }
    let port = format!(":{}", stream.local_addr().expect("it is connected").port());
    let [client, server] = ends;
    report.lost = lost(client, ["sport", "=", &port]) + lost(server, ["dport", "=", &port]);
    report
}

/// How many segments the one connection in `namespace` that `filter` lets through had to send again because they were
/// lost.
///
/// Who is not confirmed for 200 ms sends again, be it that the machine stood still. What had arrived nevertheless, the
/// other side says so with its next segment (RFC 2883), and the kernel counts it apart.
fn lost(namespace: &Namespace, filter: [&str; 3]) -> u32 {
    let sockets = namespace.run(&[&["ss", "-tinHO", "state", "established"], &filter[..]].concat());
    assert!(sockets.lines().count() == 1 && sockets.contains("rtt:"), "ss shows the connection {filter:?}: {sockets}");
    let count = |name: &str| {
        let value = sockets.split_whitespace().find_map(|word| word.strip_prefix(name));
        value.map_or(0, |value| value.rsplit('/').next().and_then(|total| total.parse().ok()).expect("a number"))
    };
    u32::saturating_sub(count("retrans:"), count("dsack_dups:"))
}

impl FlowReport {
    /// Fails the test if the connection broke or a segment had to be sent again.
    #[track_caller]
    pub fn assert_nothing_lost(&self) {
        assert!(self.broken.is_none(), "the connection broke after {} numbers: {:?}", self.echoed, self.broken);
        assert!(self.echoed > ENOUGH, "only {} numbers came back", self.echoed);
        assert_eq!(self.lost, 0, "segments were lost and sent again: {self:?}");
    }
}
