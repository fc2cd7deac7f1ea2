//! A datagram every millisecond, and when each arrived.

use std::{
    net::{Ipv6Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::Namespace;

const INTERVAL: Duration = Duration::from_millis(1);
/// How long a receiver may take to learn that it is to stop.
const TURN: Duration = Duration::from_millis(20);

/// Datagrams under way to one socket.
#[derive(Debug)]
pub struct Stream {
    stop: Arc<AtomicBool>,
    arrivals: Arc<Mutex<Vec<Instant>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Stream {
    /// From one socket in `from` to `via`, which leads to `port` in `to`.
    pub fn start(from: &Namespace, via: SocketAddr, to: &Namespace, port: u16) -> Self {
        let socket = from.enter(|| UdpSocket::bind(any(via)).expect("free"));
        Self::of(from, to, port, INTERVAL, move || send(&socket, via))
    }

    /// The same, each of them from a port of its own: to whoever judges it is the first of a connection.
    pub fn of_beginnings(from: &Namespace, via: SocketAddr, to: &Namespace, port: u16, interval: Duration) -> Self {
        Self::of(from, to, port, interval, move || send(&UdpSocket::bind(any(via)).expect("free"), via))
    }

    /// What `send` sends in `from`, again and again, as far as it arrives at `port` in `to`.
    pub fn of(
        from: &Namespace,
        to: &Namespace,
        port: u16,
        interval: Duration,
        send: impl Fn() + Send + 'static,
    ) -> Self {
        let receiver = to.enter(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)).expect("free"));
        receiver.set_read_timeout(Some(TURN)).expect("not zero");
        let (stop, arrivals) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (sending, receiving) = (Arc::clone(&stop), Arc::clone(&stop));
        let (from, heard) = (from.clone(), Arc::clone(&arrivals));
        let send_all = move || {
            while !sending.load(Ordering::Relaxed) {
                send();
                std::thread::sleep(interval);
            }
        };
        let receive_all = move || {
            while !receiving.load(Ordering::Relaxed) {
                if receiver.recv(&mut [0; 8]).is_ok() {
                    heard.lock().expect("no holder panics").push(Instant::now());
                }
            }
        };
        let threads = vec![std::thread::spawn(move || from.enter(send_all)), std::thread::spawn(receive_all)];
        Self { stop, arrivals, threads }
    }

    /// When those arrived that arrived since.
    pub fn arrivals(&self, since: Instant) -> Vec<Instant> {
        let arrivals = self.arrivals.lock().expect("no holder panics");
        arrivals[arrivals.partition_point(|arrival| *arrival < since)..].to_vec()
    }

    /// For how long at most none arrived from then until now.
    pub fn longest_pause(&self, since: Instant) -> Duration {
        let arrivals = self.arrivals(since);
        let begins = [since].into_iter().chain(arrivals.iter().copied());
        let ends = arrivals.iter().copied().chain([Instant::now()]);
        begins.zip(ends).map(|(begin, end)| end.duration_since(begin)).max().expect("there is at least one")
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

fn any(like: SocketAddr) -> SocketAddr {
    let any = if like.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    any.parse().expect("literal")
}

fn send(socket: &UdpSocket, to: SocketAddr) {
    // Without a route it is not even sent, and that nobody listened to an earlier one is told here.
    let _ = socket.send_to(b"?", to);
}
