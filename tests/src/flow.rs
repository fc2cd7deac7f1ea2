//! One TCP connection that goes on talking, and what happened to it.

use std::{
    io::{ErrorKind, Read, Result, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
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
    /// What the kernel says of the connection's segments that had to be sent again; none if it says nothing.
    pub repeated: Option<String>,
    /// What ended the connection before it was told to.
    pub broken: Option<std::io::Error>,
}

const INTERVAL: Duration = Duration::from_millis(5);
/// More than the kernel needs to repeat a lost segment several times; then the flow counts as broken.
const PATIENCE: Duration = Duration::from_secs(5);

impl Flow {
    /// Connects from `namespace` and talks until [`Flow::finish`]; returns once the first number has come back.
    #[track_caller]
    pub fn start(namespace: &Namespace, address: Ipv4Addr, port: u16) -> Self {
        let connect = || TcpStream::connect_timeout(&SocketAddr::from((address, port)), PATIENCE);
        let stream = namespace.enter(connect).unwrap_or_else(|error| panic!("{address}:{port}: {error}"));
        let (stop, echoed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counter) = (Arc::clone(&stop), Arc::clone(&echoed));
        let namespace = namespace.clone();
        let worker = std::thread::spawn(move || talk(stream, &namespace, &stopped, &counter));
        let flow = Self { stop, echoed, worker };
        crate::eventually("the echo server answers", || (flow.echoed() > 0).then_some(()));
        flow
    }

    /// How many numbers came back so far.
    pub fn echoed(&self) -> u64 {
        self.echoed.load(Ordering::Relaxed)
    }

    /// Ends the connection and reports.
    pub fn finish(self) -> FlowReport {
        self.stop.store(true, Ordering::Relaxed);
        self.worker.join().expect("talking over a socket does not panic")
    }
}

fn talk(mut stream: TcpStream, namespace: &Namespace, stop: &AtomicBool, echoed: &AtomicU64) -> FlowReport {
    stream.set_read_timeout(Some(PATIENCE)).expect("the time is not zero");
    let mut report = FlowReport { echoed: 0, repeated: None, broken: None };
    let mut turn = |number: u64| -> Result<()> {
        stream.write_all(&number.to_be_bytes())?;
        let mut back = [0; 8];
        stream.read_exact(&mut back)?;
        if u64::from_be_bytes(back) == number { Ok(()) } else { Err(ErrorKind::InvalidData.into()) }
    };
    while !stop.load(Ordering::Relaxed) {
        if let Err(error) = turn(report.echoed) {
            report.broken = Some(error);
            return report;
        }
        report.echoed += 1;
        echoed.store(report.echoed, Ordering::Relaxed);
        std::thread::sleep(INTERVAL);
    }
    let port = stream.local_addr().expect("it is connected").port();
    let sockets = namespace.run(&["ss", "-tinH", "sport", "=", &format!(":{port}")]);
    assert!(sockets.contains("rtt:"), "ss shows the connection: {sockets}");
    report.repeated = sockets.split_whitespace().find(|word| word.starts_with("retrans:")).map(str::to_owned);
    report
}

impl FlowReport {
    /// Fails the test if the connection broke or a segment had to be sent again.
    #[track_caller]
    pub fn assert_nothing_lost(&self) {
        assert!(self.broken.is_none(), "the connection broke after {} numbers: {:?}", self.echoed, self.broken);
        assert!(self.echoed > 5, "only {} numbers came back", self.echoed);
        assert_eq!(self.repeated, None, "segments were lost and sent again");
    }
}
