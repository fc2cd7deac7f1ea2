//! The loops that read queries from sockets and write answers to them.
//!
//! One task per socket answers what is known at once, in place: a task for each such query would cost more than its
//! answer. Only queries that wait for an upstream get a task, and how many there are is bounded.
//!
//! Messages are hickory-server's, the loops are not. Its `Server` (0.26.3) replies in parsed records only, so an
//! upstream's octets could not be passed through; it does not bound connections, and answers malformed responses with
//! FORMERR. With a handler that only looks one name up it carried 78,000 queries/s where these carried 100,000 to
//! 120,000 (dnsperf on the same two cores).

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    answer::{Answerer, First},
    error::Transport,
    limit::{Bounds, Place},
    wire,
};

/// The longest query in a datagram, in octets; what is longer is cut and then malformed.
const QUERY: usize = 4096;
/// How long a connection may be idle, and how long one message may take in either direction (RFC 7766 §6.2.3).
const IDLE: Duration = Duration::from_secs(10);
/// Connections at once. Each needs a descriptor.
const CONNECTIONS: Bounds = Bounds { all: 256, per_client: 16 };
/// How long to wait after a socket failed, which is mostly for want of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(50);

/// Answers datagrams until `closed` has no sender any more. The socket is closed on return.
pub(crate) async fn datagrams(
    answerer: Arc<Answerer>,
    socket: UdpSocket,
    listener: SocketAddr,
    mut closed: watch::Receiver<()>,
) {
    let socket = Arc::new(socket);
    let mut waiting = JoinSet::new();
    tokio::select! {
        () = read_datagrams(&answerer, &socket, listener, &mut waiting) => {}
        _ = closed.changed() => {}
    }
    waiting.shutdown().await;
}

async fn read_datagrams(
    answerer: &Arc<Answerer>,
    socket: &Arc<UdpSocket>,
    listener: SocketAddr,
    waiting: &mut JoinSet<()>,
) {
    let mut buffer = vec![0; QUERY];
    loop {
        let (length, source) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                tracing::warn!(%listener, %error, "cannot receive DNS queries");
                sleep(PAUSE).await;
                continue;
            }
        };
        match answerer.first(source, listener, Transport::Udp, &buffer[..length]) {
            First::Silence => {}
            First::Reply(reply) => send(socket, source, &reply).await,
            First::Wait(query) => {
                while waiting.try_join_next().is_some() {}
                let (answerer, socket) = (answerer.clone(), socket.clone());
                waiting.spawn(async move {
                    if let Some(reply) = answerer.finish(&query).await {
                        send(&socket, source, &reply).await;
                    }
                });
            }
        }
    }
}

async fn send(socket: &UdpSocket, client: SocketAddr, reply: &[u8]) {
    if let Err(error) = socket.send_to(reply, client).await {
        tracing::debug!(%client, %error, "cannot send a DNS answer");
    }
}

/// Answers connections until `closed` has no sender any more. All of them are closed on return.
pub(crate) async fn connections(
    answerer: Arc<Answerer>,
    socket: TcpListener,
    listener: SocketAddr,
    mut closed: watch::Receiver<()>,
) {
    let mut open = JoinSet::new();
    tokio::select! {
        () = accept(&answerer, &socket, listener, &mut open) => {}
        _ = closed.changed() => {}
    }
    open.shutdown().await;
}

async fn accept(answerer: &Arc<Answerer>, socket: &TcpListener, listener: SocketAddr, open: &mut JoinSet<()>) {
    loop {
        let (stream, source) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%listener, %error, "cannot accept DNS connections");
                sleep(PAUSE).await;
                continue;
            }
        };
        while open.try_join_next().is_some() {}
        // A neighbour on the LAN takes none of the containers' places.
        if !answerer.knows(source, listener) {
            continue;
        }
        // Who has all its places taken is hung up on.
        let Some(place) = answerer.connections.enter(source.ip(), CONNECTIONS) else { continue };
        let answerer = answerer.clone();
        open.spawn(async move {
            if let Err(error) = converse(&answerer, stream, source, listener, place).await {
                tracing::debug!(%source, %error, "DNS connection ended");
            }
        });
    }
}

/// Answers one query after the other; the next is read when the last is answered, so that a connection has no more
/// than one under way.
async fn converse(
    answerer: &Answerer,
    mut stream: TcpStream,
    source: SocketAddr,
    listener: SocketAddr,
    _place: Place,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let query = timeout(IDLE, read_message(&mut stream)).await??;
        let reply = match answerer.first(source, listener, Transport::Tcp, &query) {
            First::Silence => return Ok(()),
            First::Reply(reply) => Some(reply),
            First::Wait(query) => answerer.finish(&query).await,
        };
        let Some(reply) = reply else { return Ok(()) };
        timeout(IDLE, stream.write_all(&wire::framed(&reply))).await??;
    }
}

async fn read_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut message = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}
