//! Publishing: which host ports a request gets, and whether it may have them.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
};

use kernel::{HostPorts, Listener};
use model::{Container, ContainerPort, Endpoint, Family, PortRange, Protocol, Publish, PublishRequest};

use crate::{
    daemon::Daemon,
    failure::Failure,
    images::blocking,
    world::{PortSet, World},
};

impl Daemon {
    /// What of the host's ports is in use, for a request that publishes these; nothing is looked at for one that
    /// publishes none.
    pub(crate) async fn host_ports(&self, publishes: &[PublishRequest]) -> Result<HostPorts, Failure> {
        if publishes.is_empty() {
            return Ok(HostPorts { listeners: Vec::new(), local: (0, 0) });
        }
        for publish in publishes {
            check_address(publish)?;
        }
        let seen = self.kernel.ports_in_use().await;
        seen.map_err(|source| Failure::Kernel { doing: "look at the ports in use".into(), source: source.into() })
    }

    /// Checks that the ports of a container that is to start again are still free of other programs.
    pub(crate) async fn check_ports(&self, publishes: &[Publish], endpoints: &[Endpoint]) -> Result<(), Failure> {
        let requests: Vec<_> = publishes.iter().copied().map(PublishRequest::from).collect();
        let host = self.host_ports(&requests).await?;
        let free = self.world().check_listeners(publishes, endpoints, &host);
        match free {
            Err(failure) => Err(self.with_holder(failure).await),
            free => free,
        }
    }

    /// The failure with the name of the program that holds a port, if it is about one, and with the setting if that is
    /// netd.
    pub(crate) async fn with_holder(&self, failure: Failure) -> Failure {
        match failure {
            Failure::PortInUse { publish, listener, made, .. } => {
                let holder = blocking(move || listener.holder()).await;
                Failure::PortInUse { publish, listener, holder, setting: self.setting_of(&listener), made }
            }
            failure => failure,
        }
    }

    /// The setting by which netd listens there, if it does.
    fn setting_of(&self, listener: &Listener) -> Option<&'static str> {
        let is_there = |address: SocketAddr| (address.ip(), address.port()) == (listener.address, listener.port);
        let of_dns = self.config.dns_host_listener.is_some_and(|listener| is_there(listener.0));
        let of_metrics = self.config.metrics_listen.is_some_and(is_there) && listener.protocol == Protocol::Tcp;
        of_dns.then_some("dns_host_listener").or(of_metrics.then_some("metrics_listen"))
    }
}

/// Everything a request asks to publish: what it names, and each of the ports `exposed` that it does not lead to
/// already.
pub(crate) fn requested(
    mut publishes: Vec<PublishRequest>,
    exposed: impl IntoIterator<Item = ContainerPort>,
) -> Vec<PublishRequest> {
    for ContainerPort { port, protocol } in exposed {
        let request = PublishRequest::exposed(port, protocol);
        let same = |other: &PublishRequest| {
            other.protocol() == request.protocol() && other.container_ports().overlaps(request.container_ports())
        };
        if !publishes.iter().any(same) {
            publishes.push(request);
        }
    }
    publishes
}

/// Whether the host has the address that a port is to be published on.
fn check_address(publish: &PublishRequest) -> Result<(), Failure> {
    let Some(address) = publish.host_ip() else { return Ok(()) };
    match UdpSocket::bind((address, 0)) {
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            Err(Failure::AddressNotHere { publish: *publish, address })
        }
        Err(source) => Err(Failure::AddressUnusable { publish: *publish, source }),
        Ok(_) => Ok(()),
    }
}

impl World {
    /// Gives every request its host ports: those it names, or free ones, the first of them from `start` on. Nothing is
    /// claimed yet.
    pub(crate) fn choose_ports(
        &self,
        requests: &[PublishRequest],
        host: &HostPorts,
        start: u16,
    ) -> Result<Vec<Publish>, Failure> {
        let mut taken = BTreeMap::new();
        let fixed: Vec<Publish> = requests.iter().filter_map(PublishRequest::fixed).collect();
        let resolve = |request: &PublishRequest| {
            if let Some(publish) = request.fixed() {
                return Ok(publish);
            }
            let protocol = request.protocol();
            let ports = taken.remove(&protocol).unwrap_or_else(|| {
                let listeners = host.listeners.iter().filter(|listener| listener.protocol == protocol);
                let listening = listeners.filter_map(|listener| listener.port.try_into().ok()).map(PortRange::single);
                let own = fixed.iter().filter(|publish| publish.protocol() == protocol).map(Publish::host_ports);
                listening.chain(own).fold(self.taken_ports(protocol), PortSet::with)
            });
            let first = ports.choose(request.container_ports().count(), host.local, start);
            let publish = first.and_then(|first| request.at(first));
            let publish = publish.ok_or(Failure::NoPortFree { publish: *request })?;
            taken.insert(protocol, ports.with(publish.host_ports()));
            Ok(publish)
        };
        requests.iter().map(resolve).collect()
    }

    /// Whether something from outside can come to each publish of a container that is about to be made: by a network
    /// with a way out, of a family that it leads to. One that is there already may lose the last such network, and its
    /// ports are closed until it has one again.
    pub(crate) fn check_ways_in(&self, container: &Container) -> Result<(), Failure> {
        let addresses: Vec<IpAddr> = container.endpoints.iter().flat_map(Endpoint::addresses).collect();
        let open: Vec<Family> =
            Family::ALL.into_iter().filter(|family| self.default_endpoint(container, *family).is_some()).collect();
        for publish in &container.publishes {
            let mut led_to = addresses.iter().filter(|address| publish.leads_to(**address)).peekable();
            if led_to.peek().is_some() && !led_to.any(|address| open.contains(&Family::of(*address))) {
                let network = |endpoint: &Endpoint| Some(self.network(&endpoint.network)?.name.clone());
                let networks = container.endpoints.iter().filter_map(network).collect();
                return Err(Failure::PublishInternal { publish: *publish, networks });
            }
        }
        Ok(())
    }

    /// Whether each publish leads somewhere, and no other program listens where it is published: publishing would take
    /// the port from it silently, because packets are redirected before they reach a socket.
    pub(crate) fn check_listeners(
        &self,
        publishes: &[Publish],
        endpoints: &[Endpoint],
        host: &HostPorts,
    ) -> Result<(), Failure> {
        let addresses: Vec<IpAddr> = endpoints.iter().flat_map(Endpoint::addresses).collect();
        for publish in publishes {
            let mut families =
                addresses.iter().filter(|address| publish.leads_to(**address)).map(|a| Family::of(*a)).peekable();
            if families.peek().is_none() {
                return Err(Failure::PublishLeadsNowhere { publish: *publish });
            }
            let host_ip = publish.host_ip().filter(|address| !address.is_unspecified());
            let has_port = |listener: &&Listener| {
                listener.protocol == publish.protocol() && publish.host_ports().contains(listener.port)
            };
            let is_there = |listener: &&Listener| {
                let at_another = host_ip.is_none() && self.is_own_dns(listener);
                families.clone().any(|family| listener.is_at(family, host_ip)) && !at_another
            };
            // The lowest, so that one request is always told the same.
            if let Some(listener) =
                host.listeners.iter().filter(has_port).filter(is_there).min_by_key(|listener| listener.port)
            {
                return Err(Failure::PortInUse {
                    publish: *publish,
                    listener: *listener,
                    holder: None,
                    setting: None,
                    made: false,
                });
            }
        }
        Ok(())
    }

    /// Whether this is a gateway's DNS, which containers go on reaching whatever is published on port 53 of every
    /// address.
    fn is_own_dns(&self, listener: &Listener) -> bool {
        const DNS: u16 = 53;
        let mut subnets = self.networks().flat_map(|network| &network.subnets);
        listener.port == DNS && subnets.any(|subnet| subnet.gateway() == listener.address)
    }
}
