//! The server: which addresses it listens on, and what it can be asked directly.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use tokio::{
    sync::{Mutex, watch},
    task::JoinHandle,
};

use crate::{
    DnsError, ForwarderConfig, LogReader, Origin, RecordType, ReplyText, Zones,
    answer::{Answerer, First},
    decision::{Asker, Listening},
    error::Transport,
    forward::Forwarder,
    serve::{self, Local},
    socket, wire,
};

/// Answers DNS on the gateways' addresses, and for the host.
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

/// Addresses to listen on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listeners {
    /// Gateways of networks, which answer the networks' containers.
    pub gateways: BTreeSet<SocketAddr>,
    /// A loopback address that answers the host: it knows all networks, and passes nothing on.
    pub host: Option<SocketAddr>,
}

/// Whose view an answer is wanted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Viewer {
    /// The container with this address, asking this gateway.
    Container {
        /// One of its addresses.
        address: IpAddr,
        /// The gateway of the address's network.
        gateway: IpAddr,
    },
    /// The host, which sees all networks.
    Host,
}

impl Server {
    /// A server that answers from `zones`, asks upstreams as `forwarder` says, and remembers the last `remembered`
    /// entries of the query log. It listens nowhere yet.
    pub fn new(zones: Zones, forwarder: ForwarderConfig, remembered: usize) -> Self {
        let answerer = Answerer::new(zones, Forwarder::new(forwarder), remembered);
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
    pub async fn listen(&self, wanted: Listeners) -> Result<(), DnsError> {
        let gateway = |address: SocketAddr| (address, Listening::Gateway(address.ip()));
        let mut locals: BTreeMap<_, _> = wanted.gateways.into_iter().map(gateway).collect();
        locals.extend(wanted.host.map(|address| (address, Listening::Host)));
        self.answerer.forwarder.set_own(locals.keys().copied().collect());
        let mut listeners = self.listeners.lock().await;
        let unwanted: Vec<_> = listeners
            .iter()
            .filter(|(address, listener)| !locals.contains_key(address) || listener.has_ended())
            .map(|(address, _)| *address)
            .collect();
        for address in unwanted {
            if let Some(listener) = listeners.remove(&address) {
                listener.close().await;
            }
        }
        let mut first_error = None;
        for (address, listening) in locals {
            if listeners.contains_key(&address) {
                continue;
            }
            match Listener::open(&self.answerer, Local { address, listening }) {
                Ok(listener) => {
                    listeners.insert(address, listener);
                }
                Err(error) if first_error.is_none() => first_error = Some(error),
                Err(error) => tracing::warn!(%error, "one more address is without DNS"),
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    /// What `viewer` would be answered for `name`, and where the answer comes from: by UDP, and by TCP what that would
    /// cut. It is not logged.
    ///
    /// # Errors
    /// [`DnsError::Name`]: the name does not fit a query.
    pub async fn look_up(&self, viewer: Viewer, name: &str, kind: RecordType) -> Result<(ReplyText, Origin), DnsError> {
        let query = wire::query(name, kind).ok_or_else(|| DnsError::Name(name.chars().take(80).collect()))?;
        let asker = match viewer {
            Viewer::Container { address, gateway } => Asker { source: address, listener: Listening::Gateway(gateway) },
            Viewer::Host => Asker { source: Ipv4Addr::LOCALHOST.into(), listener: Listening::Host },
        };
        let (mut reply, mut origin) = self.ask(asker, Transport::Udp, &query).await?;
        if wire::Message::new(&reply).is_some_and(wire::Message::is_truncated) {
            (reply, origin) = self.ask(asker, Transport::Tcp, &query).await?;
        }
        let text = ReplyText::read(&reply).expect("replies are written here, or passed on only if they are sound");
        Ok((text, origin))
    }

    async fn ask(&self, asker: Asker, transport: Transport, query: &[u8]) -> Result<(Vec<u8>, Origin), DnsError> {
        let mut reply = Vec::new();
        match self.answerer.look_up(asker, transport, query, &mut reply) {
            (First::Silence, _) => Err(DnsError::Stranger(asker.source)),
            (First::Reply, origin) => Ok((reply, origin.unwrap_or(Origin::Zone))),
            (First::Wait(waiting), _) => Ok(self.answerer.ask(&waiting).await),
        }
    }

    /// The query log, from what is remembered of it on.
    pub fn query_log(&self) -> LogReader {
        self.answerer.log.read()
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
    fn open(answerer: &Arc<Answerer>, local: Local) -> Result<Self, DnsError> {
        let (datagrams, connections) = (socket::udp(local.address)?, socket::tcp(local.address)?);
        let (open, closed) = watch::channel(());
        let tasks = [
            tokio::spawn(serve::datagrams(answerer.clone(), datagrams, local, closed.clone())),
            tokio::spawn(serve::connections(answerer.clone(), connections, local, closed)),
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
