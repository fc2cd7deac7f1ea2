//! The server: which addresses it listens on.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

use tokio::{
    sync::{Mutex, watch},
    task::JoinHandle,
};

use crate::{DnsError, ForwarderConfig, Zones, answer::Answerer, forward::Forwarder, serve, socket};

/// Answers DNS on the gateways' addresses.
///
/// Must be used inside a Tokio runtime with time and I/O. Dropping it closes its listeners soon after;
/// [`Server::shutdown`] waits until they are closed.
#[derive(Debug)]
pub struct Server {
    answerer: Arc<Answerer>,
    listeners: Mutex<BTreeMap<SocketAddr, Listener>>,
}

/// The two sockets of one address, each owned by a task.
#[derive(Debug)]
struct Listener {
    /// Dropped to end the tasks.
    open: watch::Sender<()>,
    tasks: [JoinHandle<()>; 2],
}

impl Server {
    /// A server that answers from `zones` and asks upstreams as `forwarder` says. It listens nowhere yet.
    pub fn new(zones: Zones, forwarder: ForwarderConfig) -> Self {
        let answerer = Answerer::new(zones, Forwarder::new(forwarder));
        Self { answerer: Arc::new(answerer), listeners: Mutex::default() }
    }

    /// Makes `wanted` the addresses that are listened on, each by UDP and TCP.
    ///
    /// New ones are bound, others closed; a socket that stays is not touched and loses no query. An address need not be
    /// on an interface yet. Calling it again with the same addresses repairs what failed before and else does nothing.
    /// When it returns, what is no longer wanted is closed and may be bound by others.
    ///
    /// # Errors
    /// The first address that cannot be listened on. All others are served nonetheless.
    pub async fn listen(&self, wanted: BTreeSet<SocketAddr>) -> Result<(), DnsError> {
        let mut listeners = self.listeners.lock().await;
        let unwanted: Vec<_> = listeners
            .iter()
            .filter(|(address, listener)| !wanted.contains(address) || listener.has_ended())
            .map(|(address, _)| *address)
            .collect();
        for address in unwanted {
            if let Some(listener) = listeners.remove(&address) {
                listener.close().await;
            }
        }
        let mut first_error = None;
        for address in wanted {
            if listeners.contains_key(&address) {
                continue;
            }
            match Listener::open(&self.answerer, address) {
                Ok(listener) => {
                    listeners.insert(address, listener);
                }
                Err(error) if first_error.is_none() => first_error = Some(error),
                Err(error) => tracing::warn!(%error, "one more address is without DNS"),
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    /// The addresses that are listened on.
    pub async fn addresses(&self) -> BTreeSet<SocketAddr> {
        self.listeners.lock().await.keys().copied().collect()
    }

    /// Changes whom names that are not ours are asked, for queries from now on.
    pub fn forward_to(&self, forwarder: ForwarderConfig) {
        self.answerer.forwarder.configure(forwarder);
    }

    /// Closes all listeners. Queries that wait for an upstream are dropped. [`Server::listen`] opens them anew.
    pub async fn shutdown(&self) {
        let listeners = std::mem::take(&mut *self.listeners.lock().await);
        for listener in listeners.into_values() {
            listener.close().await;
        }
    }
}

impl Listener {
    fn open(answerer: &Arc<Answerer>, address: SocketAddr) -> Result<Self, DnsError> {
        let (datagrams, connections) = (socket::udp(address)?, socket::tcp(address)?);
        let (open, closed) = watch::channel(());
        let tasks = [
            tokio::spawn(serve::datagrams(answerer.clone(), datagrams, address, closed.clone())),
            tokio::spawn(serve::connections(answerer.clone(), connections, address, closed)),
        ];
        Ok(Self { open, tasks })
    }

    /// Whether a task ended by itself: it panicked.
    fn has_ended(&self) -> bool {
        self.tasks.iter().any(JoinHandle::is_finished)
    }

    async fn close(self) {
        drop(self.open);
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a DNS listener had failed");
            }
        }
    }
}
