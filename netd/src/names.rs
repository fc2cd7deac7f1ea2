//! What DNS knows: networks are zones, live containers are names.

use model::{Container, ContainerPort, Endpoint, Network, Publish, Subnet};

use crate::{daemon::Daemon, failure::Failure};

impl Daemon {
    /// The network becomes a zone.
    pub(crate) fn open_zone(&self, network: &Network) -> Result<(), Failure> {
        let config = dns::ZoneConfig {
            network: network.name.clone(),
            subnets: network.subnets.iter().map(Subnet::range).collect(),
            forwarding: match &network.name_servers[..] {
                _ if !network.reach.has_way_out() => dns::Forwarding::Never,
                [] => dns::Forwarding::Host,
                servers => dns::Forwarding::To(servers.iter().map(|server| server.address()).collect()),
            },
        };
        self.zones.update(|snapshot| snapshot.with_network(config.clone())).map_err(|source| Failure::Dns {
            doing: format!("open the zone of network `{}`", network.name),
            source: source.into(),
        })
    }

    /// The zone closes, with every name in it.
    pub(crate) fn close_zone(&self, network: &Network) {
        let closed = self.zones.update(|snapshot| Ok(snapshot.without_network(&network.name)));
        closed.expect("taking a zone out of a snapshot has no way to fail");
    }

    /// The container's names can be resolved on its networks from now on.
    pub(crate) fn publish_names(&self, container: &Container) -> Result<(), Failure> {
        for endpoint in &container.endpoints {
            let Some(network) = self.world().network(&endpoint.network).cloned() else { continue };
            let attachment = dns::Attachment {
                network: network.name,
                container: container.name.clone(),
                short_id: container.id.short().to_owned(),
                addresses: endpoint.addresses().collect(),
                aliases: endpoint.aliases.clone(),
                services: services(container),
                upstreams: container.resolver.servers.iter().map(|server| server.address()).collect(),
            };
            self.zones.update(|snapshot| snapshot.with_attachment(attachment.clone())).map_err(|source| {
                Failure::Dns {
                    doing: format!("publish the name of container `{}`", container.name),
                    source: source.into(),
                }
            })?;
        }
        self.steps.after("names published");
        Ok(())
    }

    /// The container's names can be resolved no more.
    pub(crate) fn withdraw_names(&self, container: &Container) {
        self.withdraw_endpoints(&container.endpoints);
    }

    /// The names of these endpoints can be resolved no more.
    pub(crate) fn withdraw_endpoints(&self, endpoints: &[Endpoint]) {
        for address in endpoints.iter().flat_map(Endpoint::addresses) {
            let withdrawn = self.zones.update(|snapshot| Ok(snapshot.without_attachment(address)));
            withdrawn.expect("taking a name out of a snapshot has no way to fail");
        }
        self.steps.after("names withdrawn");
    }
}

/// The ports that the container is known to serve, each once: those that are exposed, and those that are published, of a
/// range, which may have tens of thousands for one purpose, the first.
fn services(container: &Container) -> Vec<dns::Service> {
    let published =
        |publish: &Publish| dns::Service { port: publish.container_ports().first(), protocol: publish.protocol() };
    let exposed = |port: &ContainerPort| dns::Service { port: port.port, protocol: port.protocol };
    let published = container.publishes.iter().map(published);
    let mut services: Vec<_> = published.chain(container.exposed.iter().map(exposed)).collect();
    services.sort_unstable();
    services.dedup();
    services
}
