//! What DNS knows: networks are zones, live containers are names. What needs no server to be answered the kernel is
//! told.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use dns::{Attachment, DnsError, Snapshot};
use kernel::Fact;
use model::{Container, ContainerPort, Endpoint, Network, NetworkName, Publish, Subnet};

use crate::{daemon::Daemon, failure::Failure};

/// The networks that are zones. Held while zones change, so that the kernel is told in the same order.
pub(crate) type Askable = BTreeMap<NetworkName, Network>;

/// What the kernel is told of a fact about a network; nothing of who has no gateway to ask.
fn of_network(network: &Network, fact: dns::Fact, ttl: u32) -> Option<Fact> {
    let id = network.id.clone();
    match fact {
        dns::Fact::Address { name, address, .. } => Some(Fact::Address { network: id, name, address, ttl }),
        dns::Fact::Asker { address, .. } => {
            let subnet = network.gateways().find(|subnet| subnet.range().contains(&IpAddr::V4(address)))?;
            let IpAddr::V4(gateway) = subnet.gateway() else { return None };
            Some(Fact::Asker { network: id, address, gateway, mac: network.gateway_mac })
        }
    }
}

fn told(askable: &Askable, snapshot: &Snapshot, about: &[Arc<Attachment>]) -> BTreeSet<Fact> {
    let facts = snapshot.facts(about.iter().map(|endpoint| &**endpoint)).into_iter();
    let network = |fact: &dns::Fact| match fact {
        dns::Fact::Address { network, .. } | dns::Fact::Asker { network, .. } => askable.get(network),
    };
    facts.filter_map(|fact| of_network(network(&fact)?, fact, snapshot.ttl())).collect()
}

impl Daemon {
    /// Puts in force what `change` makes of what DNS knows and of how networks are asked, which concerns the endpoints
    /// that `about` names. The kernel never answers what the server would not.
    fn change_names(
        &self,
        about: impl FnOnce(&Snapshot) -> Vec<Arc<Attachment>>,
        change: impl FnOnce(&Snapshot) -> Result<Snapshot, DnsError>,
        ask: impl FnOnce(&mut Askable),
    ) -> Result<(), DnsError> {
        let mut askable = self.askable.lock().expect("nobody panics with it");
        let before = self.zones.snapshot();
        let after = change(&before)?;
        let names = self.kernel.names();
        let about = if names.are_kept() { about(&before) } else { Vec::new() };
        let held = told(&askable, &before, &about);
        ask(&mut askable);
        let holds = told(&askable, &after, &about);
        let gone: Vec<Fact> = held.difference(&holds).cloned().collect();
        let come: Vec<Fact> = holds.difference(&held).cloned().collect();
        names.change(&gone, &come, || self.zones.publish(after));
        Ok(())
    }

    /// The network becomes a zone.
    pub(crate) fn open_zone(&self, network: &Network) -> Result<(), Failure> {
        // What all its names come to is not worked out again for what is no concern of theirs.
        if self.askable.lock().expect("nobody panics with it").get(&network.name) == Some(network) {
            return Ok(());
        }
        let config = dns::ZoneConfig {
            network: network.name.clone(),
            subnets: network.subnets.iter().map(Subnet::range).collect(),
            forwarding: match &network.name_servers[..] {
                _ if !network.reach.has_way_out() => dns::Forwarding::Never,
                [] => dns::Forwarding::Host,
                servers => dns::Forwarding::To(servers.iter().map(|server| server.address()).collect()),
            },
        };
        let ask = |askable: &mut Askable| drop(askable.insert(network.name.clone(), network.clone()));
        let opened =
            self.change_names(|before| before.endpoints(&network.name), |before| before.with_network(config), ask);
        opened.map_err(|source| Failure::Dns {
            doing: format!("open the zone of network `{}`", network.name),
            source: source.into(),
        })
    }

    /// The zone closes, with every name in it.
    pub(crate) fn close_zone(&self, network: &Network) {
        let closed = self.change_names(
            |before| before.endpoints(&network.name),
            |before| Ok(before.without_network(&network.name)),
            |askable| drop(askable.remove(&network.name)),
        );
        closed.expect("taking a zone out of a snapshot has no way to fail");
    }

    /// The container's names can be resolved on its networks from now on.
    pub(crate) fn publish_names(&self, container: &Container) -> Result<(), Failure> {
        for endpoint in &container.endpoints {
            let Some(network) = self.world().network(&endpoint.network).cloned() else { continue };
            let attachment = Attachment {
                network: network.name,
                container: container.name.clone(),
                short_id: container.id.short().to_owned(),
                addresses: endpoint.addresses().collect(),
                aliases: endpoint.aliases.clone(),
                services: services(container),
                upstreams: container.resolver.servers.iter().map(|server| server.address()).collect(),
            };
            let about = |before: &Snapshot| {
                let former = attachment.addresses.iter().filter_map(|address| before.attachment(*address));
                former.chain([&attachment]).cloned().map(Arc::new).collect()
            };
            let published = self.change_names(about, |before| before.with_attachment(attachment.clone()), |_| ());
            published.map_err(|source| Failure::Dns {
                doing: format!("publish the name of container `{}`", container.name),
                source: source.into(),
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
            let withdrawn = self.change_names(
                |before| before.attachment(address).cloned().map(Arc::new).into_iter().collect(),
                |before| Ok(before.without_attachment(address)),
                |_| (),
            );
            withdrawn.expect("taking a name out of a snapshot has no way to fail");
        }
        self.steps.after("names withdrawn");
    }
}

/// The ports that the container is known to serve, each once: those that are exposed, and those that are published, of
/// a range, which may have tens of thousands for one purpose, the first.
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
