//! Queries by TCP (RFC 7766).

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{Local, PAUSE};
use crate::{
    answer::{Answerer, First},
    error::Transport,
    limit::{Bounds, Place},
    wire,
};

/// How long a connection may be idle, and how long one message may take in either direction (RFC 7766 §6.2.3).
const IDLE: Duration = Duration::from_secs(10);
/// Connections at once. Each needs a descriptor.
const CONNECTIONS: Bounds = Bounds { all: 256, per_client: 16 };
/// Queries of one connection that may wait for upstreams at once; the next one is read when one of them is answered.
const PIPELINED: usize = 16;

/// Answers connections until `closed` has no sender any more. All of them are closed on return.
pub(crate) async fn connections(
    answerer: Arc<Answerer>,
    socket: TcpListener,
    local: Local,
    mut closed: watch::Receiver<()>,
) {
    let mut open = JoinSet::new();
    tokio::select! {
        () = accept(&answerer, &socket, local, &mut open) => {}
        _ = closed.changed() => {}
    }
    open.shutdown().await;
}

async fn accept(answerer: &Arc<Answerer>, socket: &TcpListener, local: Local, open: &mut JoinSet<()>) {
    loop {
        let (stream, source) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(listener = %local.address, %error, "cannot accept DNS connections");
                sleep(PAUSE).await;
                continue;
            }
        };
        while open.try_join_next().is_some() {}
        // A neighbour on the LAN takes none of the containers' places.
        if !answerer.knows(source, local) {
            continue;
        }
        // Who has all its places taken is hung up on.
        let Some(place) = answerer.connections.enter(local.asker(source).source, CONNECTIONS) else { continue };
        let answerer = answerer.clone();
        open.spawn(async move {
            if let Err(error) = converse(answerer, stream, source, local, place).await {
                tracing::debug!(%source, %error, "DNS connection ended");
            }
        });
    }
}

/// Answers what is known at once in order, and what waits for an upstream as soon as it is there (RFC 7766 §6.2.1.1).
async fn converse(
    answerer: Arc<Answerer>,
    stream: TcpStream,
    source: SocketAddr,
    local: Local,
    _place: Place,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (reader, writer) = stream.into_split();
    let (replies, outgoing) = mpsc::channel(PIPELINED);
    tokio::try_join!(listen(answerer, reader, source, local, replies), speak(writer, outgoing)).map(drop)
}

/// Ends with an error when the client has nothing to say any more; then what waits is dropped with the other half.
async fn listen(
    answerer: Arc<Answerer>,
    mut reader: OwnedReadHalf,
    source: SocketAddr,
    local: Local,
    replies: mpsc::Sender<Vec<u8>>,
) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(PIPELINED));
    let mut waiting = JoinSet::new();
    loop {
        while waiting.try_join_next().is_some() {}
        let query = match timeout(IDLE, read_message(&mut reader)).await? {
            // It has said all, and may still listen.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            query => query?,
        };
        let mut reply = Vec::new();
        match answerer.first(source, local, Transport::Tcp, &query, &mut reply) {
            First::Silence => return Err(io::ErrorKind::InvalidData.into()),
            First::Reply => replies.send(reply).await.map_err(io::Error::other)?,
            First::Wait(query) => {
                let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
                let (answerer, replies) = (answerer.clone(), replies.clone());
                waiting.spawn(async move {
                    // A connection that has ended needs no reply.
                    let _ = replies.send(answerer.finish(*query).await).await;
                    drop(place);
                });
            }
        }
    }
    while waiting.join_next().await.is_some() {}
    Ok(())
}

async fn speak(mut writer: OwnedWriteHalf, mut replies: mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
    while let Some(reply) = replies.recv().await {
        timeout(IDLE, writer.write_all(&wire::framed(&reply))).await??;
    }
    Ok(())
}

async fn read_message(reader: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
    let mut message = vec![0; reader.read_u16().await?.into()];
    reader.read_exact(&mut message).await?;
    Ok(message)
}
