//! Host ports: claimed by live containers, and counted where they lead.

use model::{Container, Family, Protocol};

use super::{PortSet, World, entries::NetworkEntry};
use crate::failure::Failure;

impl World {
    /// The network that the container's host ports lead into.
    fn publishing_network(&mut self, container: &Container) -> Option<&mut NetworkEntry> {
        let network = self.default_endpoint(container, Family::Ipv4)?.network.clone();
        self.networks.get_mut(&network)
    }

    /// Every host port of the protocol that a live container has.
    pub(crate) fn taken_ports(&self, protocol: Protocol) -> PortSet {
        self.published.taken(protocol)
    }

    pub(super) fn check_publishes(&self, container: &Container) -> Result<(), Failure> {
        for publish in &container.publishes {
            if let Some(claim) = self.published.conflict(publish).filter(|claim| claim.holder != container.id) {
                let holder = self.containers.get(&claim.holder).map(|entry| entry.record.container.name.to_string());
                let port = publish.host_ports().first().max(claim.publish.host_ports().first());
                return Err(Failure::PortTaken {
                    publish: *publish,
                    port,
                    holder: holder.unwrap_or_default(),
                    made: false,
                });
            }
        }
        Ok(())
    }

    pub(super) fn claim_ports(&mut self, container: &Container) {
        if let Some(network) = self.publishing_network(container) {
            network.published_to_loopback += from_loopback(container);
        }
        for publish in &container.publishes {
            self.published.claim(*publish, container.id.clone());
        }
    }

    pub(super) fn release_ports(&mut self, container: &Container) {
        if let Some(network) = self.publishing_network(container) {
            network.published_to_loopback -= from_loopback(container);
        }
        for publish in &container.publishes {
            self.published.release(publish, &container.id);
        }
    }
}

fn from_loopback(container: &Container) -> usize {
    container.publishes.iter().filter(|publish| publish.reaches_from_loopback()).count()
}
