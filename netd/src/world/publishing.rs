//! Host ports: claimed by live containers, and counted where they lead.

use std::net::IpAddr;

use model::{Attachment, Container, Family, Protocol, Publish};

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

    /// The ports of the host that lead to containers that live, each with an address that it leads to.
    pub(crate) fn publishes(&self) -> Vec<(Publish, IpAddr)> {
        let live = self.records().filter(|record| record.is_live());
        let attachments =
            live.filter(|it| !it.container.publishes.is_empty()).flat_map(|it| self.attachments(&it.container));
        let led = |attachment: Attachment| {
            let addresses: Vec<IpAddr> = attachment.endpoint.addresses().collect();
            let pairs = attachment
                .publishes
                .into_iter()
                .flat_map(move |it| addresses.clone().into_iter().map(move |to| (it, to)));
            let defaults = attachment.default_routes;
            pairs.filter(move |(publish, to)| publish.leads_to(*to) && defaults.contains(&Family::of(*to)))
        };
        attachments.flat_map(led).collect()
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
