//! The server as its clients meet it: real sockets on loopback addresses, each of which plays a host or a container.

mod client;
mod forwarding;
mod listening;
mod robustness;
mod upstream;
mod views;
mod witness;

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    time::Duration,
};

use dns::{
    Attachment, DEFAULT_TTL, Domain, ForwarderConfig, Forwarding, HostUpstreams, Listeners, Server, Snapshot,
    ZoneConfig, Zones,
};

/// Network `web` at 127.N.0.0/24 with `api` at .2 and `proxy` at .3; `back` at 127.N.1.0/24 with `proxy` at .3 and `db`
/// at .5. `N` keeps tests apart that run at once.
fn snapshot(n: u8) -> Snapshot {
    let mut snapshot = Snapshot::new(Domain::default(), DEFAULT_TTL);
    for (third, network) in ["web", "back"].into_iter().enumerate() {
        let subnets = vec![format!("127.{n}.{third}.0/24").parse().expect("a subnet")];
        let network = network.parse().expect("a name");
        let config = ZoneConfig { network, subnets, forwarding: Forwarding::Host };
        snapshot = snapshot.with_network(config).expect("no overlap");
    }
    for (network, container, third, fourth) in
        [("web", "api", 0, 2), ("web", "proxy", 0, 3), ("back", "proxy", 1, 3), ("back", "db", 1, 5)]
    {
        snapshot = snapshot.with_attachment(attachment(network, container, [127, n, third, fourth])).expect("it fits");
    }
    snapshot
}

fn attachment(network: &str, container: &str, address: [u8; 4]) -> Attachment {
    Attachment {
        network: network.parse().expect("a name"),
        container: container.parse().expect("a name"),
        short_id: format!("{:012x}", u32::from_be_bytes(address)),
        addresses: vec![address.into()],
        aliases: Vec::new(),
        services: Vec::new(),
        upstreams: Default::default(),
    }
}

/// A server on both gateways of [`snapshot`].
struct Running {
    n: u8,
    port: u16,
    zones: Zones,
    server: Server,
}

impl Running {
    /// One that waits for its upstreams however long the machine stands still.
    async fn start(n: u8, upstreams: Vec<SocketAddr>) -> Self {
        let config = ForwarderConfig::new(HostUpstreams::Fixed(upstreams.into()));
        let patient = ForwarderConfig { timeout: Duration::from_secs(20), deadline: Duration::from_secs(50), ..config };
        Self::start_with(n, patient).await
    }

    /// One that is as patient as every other.
    async fn start_as_usual(n: u8, upstreams: Vec<SocketAddr>) -> Self {
        Self::start_with(n, ForwarderConfig::new(HostUpstreams::Fixed(upstreams.into()))).await
    }

    async fn start_with(n: u8, config: ForwarderConfig) -> Self {
        let zones = Zones::new(snapshot(n));
        let server = Server::new(zones.clone(), config, 0).expect("threads can be made");
        let running = Self { n, port: free_port(Ipv4Addr::new(127, n, 0, 1)), zones, server };
        running.server.listen(listeners(running.gateways())).await.expect("the addresses are free");
        running
    }

    fn gateways(&self) -> BTreeSet<SocketAddr> {
        BTreeSet::from([self.gateway(0), self.gateway(1)])
    }

    /// The gateway of `web` (0) or `back` (1).
    fn gateway(&self, third: u8) -> SocketAddr {
        SocketAddr::from(([127, self.n, third, 1], self.port))
    }

    fn address(&self, third: u8, fourth: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, self.n, third, fourth)
    }
}

fn listeners(gateways: BTreeSet<SocketAddr>) -> Listeners {
    Listeners { gateways, host: None }
}

/// A port that nobody has, and that is given to no socket by itself (`net.ipv4.ip_local_port_range`).
fn free_port(address: Ipv4Addr) -> u16 {
    let first = u16::try_from(std::process::id() % 10_000).expect("four digits");
    let is_free = |port: &u16| UdpSocket::bind((address, *port)).is_ok() && TcpListener::bind((address, *port)).is_ok();
    (10_000 + first..30_000).find(is_free).expect("loopback has free ports")
}

/// Tries what depends on the clock until it comes out once: a machine that stands still spoils one try, and what is not
/// as it should be all of them.
async fn at_best(mut attempt: impl AsyncFnMut() -> Result<(), String>) {
    let mut met = Vec::new();
    while met.len() < 5 {
        match attempt().await {
            Ok(()) => return,
            Err(text) => met.push(text),
        }
    }
    panic!("{met:?}");
}

/// An error that says what was found, unless it is as it should be.
fn ensure(holds: bool, found: impl std::fmt::Debug) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("{found:?}")) }
}
