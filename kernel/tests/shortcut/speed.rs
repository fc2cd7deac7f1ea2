//! What the shortcut is worth: a bridge by hand, Fabric's ports without it, and Fabric's ports with it, by turns.
//!
//! `cargo test -p kernel --test shortcut speed -- --ignored --nocapture` prints it.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::{
    Scope,
    lab::{self, Lab, Place, address, attachment, bridges_call_iptables, sh, state, with_passages},
};

const ROUNDS: usize = 7;
const TURN: Duration = Duration::from_millis(250);
const BUFFER: usize = 1 << 17;

/// A path between two places, with a connection for requests and one for a stream.
struct Pair {
    name: &'static str,
    requests: TcpStream,
    stream: TcpStream,
    received: Arc<AtomicU64>,
    rates: [Vec<f64>; 2],
}

impl Pair {
    fn new(lab: &Lab, name: &'static str, [client, server]: [Place; 2], address: Ipv4Addr) -> Self {
        let address = SocketAddr::from((address, 7000));
        let listener = lab.at(server, || TcpListener::bind(address).expect("the port is free"));
        let connect = || lab.at(client, || TcpStream::connect(address).expect("is reached"));
        let requests = connect();
        let mut echo = listener.accept().expect("somebody connected").0;
        for end in [&requests, &echo] {
            end.set_nodelay(true).expect("can be set");
        }
        let stream = connect();
        let mut sink = listener.accept().expect("somebody connected").0;
        let received = Arc::new(AtomicU64::new(0));
        let count = received.clone();
        // Both end with the connections.
        thread::spawn(move || {
            stay_on_one_processor();
            let mut octet = [0];
            while echo.read_exact(&mut octet).and_then(|()| echo.write_all(&octet)).is_ok() {}
        });
        thread::spawn(move || {
            let mut buffer = vec![0; BUFFER];
            while let Ok(length @ 1..) = sink.read(&mut buffer) {
                count.fetch_add(length as u64, Ordering::Relaxed);
            }
        });
        Self { name, requests, stream, received, rates: [Vec::new(), Vec::new()] }
    }

    /// Transactions of one octet in a second, both ends on one processor: where the scheduler puts them makes more of a
    /// difference than the way between them.
    fn ask(&mut self) -> f64 {
        let anywhere = stay_on_one_processor();
        let (start, mut count) = (Instant::now(), 0_u32);
        while start.elapsed() < TURN {
            self.requests.write_all(&[1]).expect("is connected");
            self.requests.read_exact(&mut [0]).expect("is connected");
            count += 1;
        }
        let rate = f64::from(count) / start.elapsed().as_secs_f64();
        sched_setaffinity(None, &anywhere).expect("a thread may go where it was");
        rate
    }

    /// Gigabits received in a second.
    fn pour(&mut self) -> f64 {
        let buffer = vec![0; BUFFER];
        let (start, before) = (Instant::now(), self.received.load(Ordering::Relaxed));
        while start.elapsed() < TURN {
            self.stream.write_all(&buffer).expect("is connected");
        }
        let octets = self.received.load(Ordering::Relaxed) - before;
        let rate = octets as f64 * 8.0 / 1e9 / start.elapsed().as_secs_f64();
        // What is on its way belongs to nobody else's turn.
        thread::sleep(Duration::from_millis(20));
        rate
    }

    fn take_turn(&mut self) {
        let rates = [self.ask(), self.pour()];
        for (rates, rate) in self.rates.iter_mut().zip(rates) {
            rates.push(rate);
        }
    }
}

/// Keeps the calling thread on the first of the processors it may be on, which are returned.
fn stay_on_one_processor() -> CpuSet {
    let anywhere = sched_getaffinity(None).expect("a thread knows its processors");
    let first = (0..CpuSet::MAX_CPU).find(|number| anywhere.is_set(*number)).expect("it runs somewhere");
    let mut one = CpuSet::new();
    one.set(first);
    sched_setaffinity(None, &one).expect("a thread may stay");
    anywhere
}

/// A bridge in a namespace without rules, with two ports.
fn by_hand() {
    sh("ip netns add hand
        ip -n hand link add fb0 up type bridge
        for n in 2 3; do
            ip netns add hand$n
            ip -n hand link add fe$n up master fb0 type veth peer name eth0 netns hand$n
            ip -n hand$n addr add 10.98.0.$n/24 dev eth0
            ip -n hand$n link set eth0 up
        done
        until ! bridge -n hand link | grep -q 'state \\(disabled\\|listening\\|learning\\)'; do sleep 0.1; done");
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[test]
#[ignore = "a measurement"]
fn the_shortcut_is_faster_than_the_way_it_cuts_short() {
    lab::run(|lab| {
        // As on a host where nobody chose.
        bridges_call_iptables("1");
        let plain = state(&[12, 13, 14, 15].map(|number| attachment(number, &[])));
        lab.settle(&with_passages(&plain, &[14]));
        let both = with_passages(&plain, &[14, 15]);
        let start = Instant::now();
        lab.reconcile(Scope::from(attachment(15, &[])), &both);
        println!("one more port was looked at and got it in {:?}", start.elapsed());
        lab.settle(&both);
        by_hand();
        let mut pairs = [
            Pair::new(lab, "bridge by hand", ["hand2", "hand3"].map(Place::Named), [10, 98, 0, 3].into()),
            Pair::new(lab, "fabric", [12, 13].map(Place::Container), address(13)),
            Pair::new(lab, "fabric, port to port", [14, 15].map(Place::Container), address(15)),
        ];
        for round in 0..ROUNDS {
            if round % 2 == 0 {
                pairs.iter_mut().for_each(Pair::take_turn);
            } else {
                pairs.iter_mut().rev().for_each(Pair::take_turn);
            }
        }
        println!("medians of {ROUNDS} turns      transactions/s           Gbit/s");
        let base = pairs[0].rates.clone().map(median);
        for Pair { name, rates, .. } in &pairs {
            let [requests, stream] = rates.clone().map(median);
            let [r, s] = [requests / base[0], stream / base[1]];
            println!("{name:22} {requests:10.0} ({r:.2}) {stream:10.1} ({s:.2})");
        }
        let requests = |pair: &Pair| median(pair.rates[0].clone());
        assert!(requests(&pairs[2]) > requests(&pairs[1]), "by the bridge it is faster");
    });
}
