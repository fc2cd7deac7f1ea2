//! What DNS knows: networks are zones, live containers are names.

use model::{Attachment, Container, Network, Subnet};

use crate::{daemon::Daemon, failure::Failure};

impl Daemon {
    /// The network becomes a zone.
    pub(crate) fn open_zone(&self, network: &Network) -> Result<(), Failure> {
        let ranges: Vec<_> = network.subnets.iter().map(Subnet::range).collect();
        self.zones.update(|snapshot| snapshot.with_network(&network.name, &ranges)).map_err(|source| Failure::Dns {
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
            let attachment = |address| dns::Attachment {
                network: network.name.clone(),
                container: container.name.clone(),
                address,
                aliases: endpoint.aliases.clone(),
            };
            let published = self.zones.update(|snapshot| {
                let mut addresses = endpoint.addresses().map(attachment);
                addresses.try_fold(snapshot.clone(), |snapshot, one| snapshot.with_attachment(one))
            });
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
        for endpoint in &container.endpoints {
            let withdrawn = self.zones.update(|snapshot| {
                Ok(endpoint
                    .addresses()
                    .fold(snapshot.clone(), |snapshot, address| snapshot.without_attachment(address)))
            });
            withdrawn.expect("taking a name out of a snapshot has no way to fail");
        }
        self.steps.after("names withdrawn");
    }
}

/// The container's attachments as the kernel is told of them; host ports lead to the first.
pub(crate) fn attachments(container: &Container) -> impl Iterator<Item = Attachment> {
    container.endpoints.iter().enumerate().map(|(index, endpoint)| Attachment {
        endpoint: endpoint.clone(),
        namespace: container.namespace.clone(),
        publishes: if index == 0 { container.publishes.clone() } else { Vec::new() },
    })
}
