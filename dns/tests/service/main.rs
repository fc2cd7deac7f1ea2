//! The server as its clients meet it: real sockets on loopback addresses, each of which plays a host or a container.

mod client;
mod forwarding;
mod listening;
mod robustness;
mod upstream;
mod views;

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
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
    async fn start(n: u8, upstreams: Vec<SocketAddr>) -> Self {
        let zones = Zones::new(snapshot(n));
        let config = ForwarderConfig::new(HostUpstreams::Fixed(upstreams.into()));
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

fn free_port(address: Ipv4Addr) -> u16 {
    let socket = UdpSocket::bind((address, 0)).expect("loopback has free ports");
    socket.local_addr().expect("a bound socket has an address").port()
}
