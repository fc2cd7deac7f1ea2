//! An upstream that does what a test tells it to.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    net::{TcpListener, UdpSocket},
    sync::Notify,
};

use crate::client::{read_framed, write_framed};

/// What an upstream does with one query.
pub(crate) enum Reaction {
    /// It sends these, in this order.
    Send(Vec<Vec<u8>>),
    /// It sends this after a while.
    Later(Duration, Vec<u8>),
    /// It sends this when it is told to.
    Told(Arc<Notify>, Vec<u8>),
}

/// A server on loopback. It runs until the runtime of its test ends.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    /// The queries in the order in which they came.
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
}

#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) tcp: bool,
    pub(crate) source: SocketAddr,
    pub(crate) query: Vec<u8>,
}

impl Upstream {
    /// `react` is given how many queries came before, whether this one came by TCP, and its octets.
    pub(crate) async fn start(react: impl Fn(usize, bool, &[u8]) -> Reaction + Send + Sync + 'static) -> Self {
        // Some other socket may have the same port for UDP.
        let (tcp, udp, address) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
            let address = tcp.local_addr().expect("a bound socket has an address");
            if let Ok(udp) = UdpSocket::bind(address).await {
                break (tcp, Arc::new(udp), address);
            }
        };
        let seen = Arc::new(Mutex::new(Vec::new()));
        let react = Arc::new(react);
        let note = {
            let seen = seen.clone();
            move |tcp: bool, source: SocketAddr, query: &[u8]| {
                let mut seen = seen.lock().expect("no test panics while it holds this");
                seen.push(Seen { tcp, source, query: query.to_vec() });
                react(seen.len() - 1, tcp, query)
            }
        };
        let note_tcp = note.clone();
        tokio::spawn(async move {
            let mut buffer = vec![0; 65_536];
            while let Ok((length, source)) = udp.recv_from(&mut buffer).await {
                let reaction = note(false, source, &buffer[..length]);
                let udp = udp.clone();
                tokio::spawn(async move {
                    for message in reaction.messages().await {
                        // A client may have given up and be gone.
                        let _ = udp.send_to(&message, source).await;
                    }
                });
            }
        });
        tokio::spawn(async move {
            while let Ok((mut stream, source)) = tcp.accept().await {
                let Some(query) = read_framed(&mut stream).await else { continue };
                let reaction = note_tcp(true, source, &query);
                tokio::spawn(async move {
                    for message in reaction.messages().await {
                        write_framed(&mut stream, &message).await;
                    }
                });
            }
        });
        Self { address, seen }
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().expect("no test panics while it holds this").len()
    }

    /// Waits until so many queries have come.
    pub(crate) async fn is_asked(&self, count: usize) {
        while self.count() < count {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

impl Reaction {
    /// What it sends, as soon as it does.
    async fn messages(self) -> Vec<Vec<u8>> {
        match self {
            Self::Send(messages) => messages,
            Self::Later(pause, message) => {
                tokio::time::sleep(pause).await;
                vec![message]
            }
            Self::Told(told, message) => {
                told.notified().await;
                vec![message]
            }
        }
    }
}

/// The answer to `query` with `tail` behind the question. `tail` need not make sense: a forwarder has no business
/// there.
pub(crate) fn answer(query: &[u8], code: u8, tail: &[u8]) -> Vec<u8> {
    let mut answer = query.to_vec();
    answer[2] |= 0x80;
    answer[3] = 0x80 | code;
    answer.extend(tail);
    answer
}

pub(crate) fn truncated(mut answer: Vec<u8>) -> Vec<u8> {
    answer[2] |= 2;
    answer
}
