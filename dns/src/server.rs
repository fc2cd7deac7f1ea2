//! The server: which addresses it listens on, and what it can be asked directly.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use model::NamespaceName;
use tokio::{
    net::{TcpListener, UdpSocket},
    runtime::Handle,
    sync::{Mutex, watch},
    task::{JoinHandle, JoinSet},
};

use crate::{
    Counts, DnsError, ForwarderConfig, LogReader, Origin, RecordType, ReplyText, Witness, Zones,
    answer::{Answerer, First},
    decision::{Asker, Listening},
    error::Transport,
    forward::Forwarder,
    probe,
    serve::{self, Local},
    socket,
    threads::Threads,
    wire,
};

/// Answers DNS on the gateways' addresses, and for the host.
///
/// It answers on threads of its own; its methods must be called inside a Tokio runtime with time and I/O. Dropping it
/// closes its listeners soon after; [`Server::shutdown`] waits until they are closed.
#[derive(Debug)]
pub struct Server {
    answerer: Arc<Answerer>,
    listeners: Mutex<BTreeMap<SocketAddr, Listener>>,
    /// Those in containers' namespaces, each with an address of the container.
    insides: Mutex<BTreeMap<NamespaceName, (IpAddr, Listener)>>,
    threads: Threads,
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

impl From<Viewer> for Asker {
    fn from(viewer: Viewer) -> Self {
        match viewer {
            Viewer::Container { address, gateway } => Self { source: address, listener: Listening::Gateway(gateway) },
            Viewer::Host => Self { source: Ipv4Addr::LOCALHOST.into(), listener: Listening::Host },
        }
    }
}

impl Server {
    /// A server that answers from `zones`, asks upstreams as `forwarder` says, and remembers the last `remembered`
    /// entries of the query log. It listens nowhere yet.
    ///
    /// # Errors
    /// The threads that are to answer cannot be started, for want of descriptors, processes or memory.
    pub fn new(zones: Zones, forwarder: ForwarderConfig, remembered: usize) -> io::Result<Self> {
        Self::open(zones, forwarder, remembered, None)
    }

    /// The same; `witness` is told of what upstreams say before containers are.
    ///
    /// # Errors
    /// As [`Server::new`].
    pub fn witnessed(
        zones: Zones,
        forwarder: ForwarderConfig,
        remembered: usize,
        witness: Arc<dyn Witness>,
    ) -> io::Result<Self> {
        Self::open(zones, forwarder, remembered, Some(witness))
    }

    fn open(
        zones: Zones,
        forwarder: ForwarderConfig,
        remembered: usize,
        witness: Option<Arc<dyn Witness>>,
    ) -> io::Result<Self> {
        let answerer = Arc::new(Answerer::new(zones, Forwarder::new(forwarder), remembered, witness));
        Ok(Self { answerer, listeners: Mutex::default(), insides: Mutex::default(), threads: Threads::start()? })
    }

    /// Makes `wanted` the addresses that are listened on, each by UDP and TCP.
    ///
    /// New ones are bound, others closed; a socket that stays is not touched and loses no query. An address need not be
    /// on an interface yet. Calling it again with the same addresses repairs what failed before and else does nothing.
    /// When it returns, what is no longer wanted is closed and may be bound by others.
    ///
    /// # Errors
    /// Every address that cannot be listened on, and why. All others are served nonetheless.
    pub async fn listen(&self, wanted: Listeners) -> Result<(), BTreeMap<SocketAddr, DnsError>> {
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
        let mut failed = BTreeMap::new();
        for (address, listening) in locals {
            if listeners.contains_key(&address) {
                continue;
            }
            match Listener::open(self.threads.next(), &self.answerer, Local { address, listening }) {
                Ok(listener) => {
                    listeners.insert(address, listener);
                }
                Err(error) => {
                    failed.insert(address, error);
                }
            }
        }
        if failed.is_empty() { Ok(()) } else { Err(failed) }
    }

    /// Answers the container with the address `container` at `local` in its namespace, by sockets that were opened
    /// there.
    ///
    /// # Errors
    /// When the sockets cannot be used.
    pub async fn listen_inside(
        &self,
        namespace: NamespaceName,
        container: IpAddr,
        local: SocketAddr,
        (udp, tcp): (std::net::UdpSocket, std::net::TcpListener),
    ) -> Result<(), DnsError> {
        let listener = {
            let _there = self.threads.next().enter();
            let udp = UdpSocket::from_std(udp).map_err(|error| DnsError::listen(local, Transport::Udp, error))?;
            let tcp = TcpListener::from_std(tcp).map_err(|error| DnsError::listen(local, Transport::Tcp, error))?;
            let local = Local { address: local, listening: Listening::Inside(container) };
            Listener::serve(&self.answerer, (udp, tcp), local)
        };
        let before = self.insides.lock().await.insert(namespace, (container, listener));
        if let Some((_, before)) = before {
            before.close().await;
        }
        Ok(())
    }

    /// Whether the container with the address `container` is answered in that namespace.
    pub async fn is_inside(&self, namespace: &NamespaceName, container: IpAddr) -> bool {
        let insides = self.insides.lock().await;
        insides.get(namespace).is_some_and(|(address, listener)| *address == container && !listener.has_ended())
    }

    /// Answers nobody in that namespace any more; when it returns, nothing of the server keeps the namespace.
    pub async fn close_inside(&self, namespace: &NamespaceName) {
        let inside = self.insides.lock().await.remove(namespace);
        if let Some((_, listener)) = inside {
            listener.close().await;
        }
    }

    /// What `viewer` would be answered for `name`, and where the answer comes from: by UDP, and by TCP what that would
    /// cut. It is not logged.
    ///
    /// # Errors
    /// [`DnsError::Name`]: the name does not fit a query.
    pub async fn look_up(&self, viewer: Viewer, name: &str, kind: RecordType) -> Result<(ReplyText, Origin), DnsError> {
        let query = wire::query(name, kind).ok_or_else(|| DnsError::Name(name.chars().take(80).collect()))?;
        let asker = viewer.into();
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
            (First::Wait(waiting), _) => Ok(self.answerer.show(*waiting).await),
        }
    }

    /// Asks each of these gateways as a client would, hundreds at once and each for two seconds at most. Neither
    /// counted nor logged.
    ///
    /// Returns those that do not answer, and why: [`io::ErrorKind::AddrNotAvailable`] means that the host does not have
    /// the address.
    pub async fn probe(&self, gateways: impl IntoIterator<Item = SocketAddr>) -> BTreeMap<SocketAddr, io::Error> {
        /// Each takes a descriptor.
        const AT_ONCE: usize = 256;
        let query = Arc::new(probe::query(self.answerer.zones.load().domain()));
        let gateways: Vec<_> = gateways.into_iter().collect();
        let mut silent = BTreeMap::new();
        for some in gateways.chunks(AT_ONCE) {
            let mut asked = JoinSet::new();
            for gateway in some.iter().copied() {
                let query = query.clone();
                asked.spawn(async move { (gateway, probe::ask(gateway, &query).await) });
            }
            let answered = asked.join_all().await.into_iter();
            silent.extend(answered.filter_map(|(gateway, answered)| Some((gateway, answered.err()?))));
        }
        silent
    }

    /// What became of clients' queries.
    pub fn counts(&self) -> Counts {
        self.answerer.counters.read()
    }

    /// The query log, from what is remembered of it on.
    pub fn query_log(&self) -> LogReader {
        self.answerer.log.read()
    }

    /// Closes all listeners. Queries that wait for an upstream are dropped. [`Server::listen`] opens them anew.
    pub async fn shutdown(&self) {
        let listeners = std::mem::take(&mut *self.listeners.lock().await);
        let insides = std::mem::take(&mut *self.insides.lock().await);
        for listener in listeners.into_values().chain(insides.into_values().map(|(_, listener)| listener)) {
            listener.close().await;
        }
    }
}

impl Listener {
    fn open(thread: &Handle, answerer: &Arc<Answerer>, local: Local) -> Result<Self, DnsError> {
        let _there = thread.enter();
        Ok(Self::serve(answerer, (socket::udp(local.address)?, socket::tcp(local.address)?), local))
    }

    /// Its tasks run where the sockets were made.
    fn serve(answerer: &Arc<Answerer>, (datagrams, connections): (UdpSocket, TcpListener), local: Local) -> Self {
        let (open, closed) = watch::channel(());
        let tasks = [
            tokio::spawn(serve::datagrams(answerer.clone(), datagrams, local, closed.clone())),
            tokio::spawn(serve::connections(answerer.clone(), connections, local, closed)),
        ];
        Self { open, tasks }
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
