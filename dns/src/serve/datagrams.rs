//! Queries by UDP.

use std::{net::SocketAddr, sync::Arc};

use tokio::{net::UdpSocket, sync::watch, task::JoinSet, time::sleep};

use super::{
    Local, PAUSE,
    batch::{BATCH, Receiver},
    fair::FairQueue,
    outbox::Outbox,
};
use crate::{
    answer::{Answerer, First},
    error::Transport,
};

/// Queries that were read and not answered yet, of all clients of a socket.
const QUEUE: usize = 1024;

/// Answers datagrams until `closed` has no sender any more. The socket is closed on return.
pub(crate) async fn datagrams(
    answerer: Arc<Answerer>,
    socket: UdpSocket,
    local: Local,
    mut closed: watch::Receiver<()>,
) {
    let socket = Arc::new(socket);
    let mut waiting = JoinSet::new();
    tokio::select! {
        () = answer(&answerer, &socket, local, &mut waiting) => {}
        _ = closed.changed() => {}
    }
    waiting.shutdown().await;
}

/// Reads all that has come in before it answers, and then answers clients by turns: reading costs a tenth of answering,
/// so that the queue in the kernel, which knows no clients, stays short whatever one of them sends.
async fn answer(answerer: &Arc<Answerer>, socket: &Arc<UdpSocket>, local: Local, waiting: &mut JoinSet<()>) {
    let (mut receiver, mut outbox) = (Receiver::new(), Outbox::default());
    let mut queue: FairQueue<(SocketAddr, Vec<u8>)> = FairQueue::new(QUEUE);
    let mut spare: Vec<Vec<u8>> = Vec::new();
    loop {
        if queue.is_empty()
            && let Err(error) = socket.readable().await
        {
            tracing::warn!(listener = %local.address, %error, "cannot receive DNS queries");
            sleep(PAUSE).await;
        }
        let mut is_drained = false;
        for _ in 0..QUEUE / BATCH {
            let received = receiver.receive(socket, |source, octets| {
                let mut query = spare.pop().unwrap_or_default();
                query.clear();
                query.extend_from_slice(octets);
                if let Some((_, dropped)) = queue.push(source.ip(), (source, query)) {
                    answerer.counters.dropped();
                    spare.push(dropped);
                }
            });
            match received {
                Ok(BATCH) => {}
                Ok(_) => {
                    is_drained = true;
                    break;
                }
                Err(error) => {
                    tracing::warn!(listener = %local.address, %error, "cannot receive DNS queries");
                    sleep(PAUSE).await;
                    break;
                }
            }
        }
        for _ in 0..BATCH {
            let Some((source, query)) = queue.pop() else { break };
            outbox.write(source, |reply| match answerer.first(source, local, Transport::Udp, &query, reply) {
                First::Silence => false,
                First::Reply => true,
                First::Wait(query) => {
                    while waiting.try_join_next().is_some() {}
                    let (answerer, socket) = (answerer.clone(), socket.clone());
                    waiting.spawn(async move {
                        let reply = answerer.finish(*query).await;
                        if let Err(error) = socket.send_to(&reply, source).await {
                            tracing::debug!(client = %source, %error, "cannot send a DNS answer");
                        }
                    });
                    false
                }
            });
            if spare.len() < QUEUE {
                spare.push(query);
            }
        }
        outbox.send(socket).await;
        // A socket that always has something to read must not keep its thread from the tasks of other sockets; one that
        // has nothing to read waits anyway.
        if !is_drained || !queue.is_empty() {
            tokio::task::yield_now().await;
        }
    }
}
