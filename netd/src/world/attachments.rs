//! A container's endpoints as the kernel is told of them: where its default routes and its host ports lead.

use model::{Attachment, Container, Endpoint, Family, Network, Scope, default_route};

use super::World;

impl World {
    /// The endpoint over which the container's default route of a family leads, and with it its host ports.
    pub(crate) fn default_endpoint<'a>(&self, container: &'a Container, family: Family) -> Option<&'a Endpoint> {
        let network = |endpoint: &Endpoint| self.networks.get(&endpoint.network).map(|entry| &entry.network);
        default_route(family, container.endpoints.iter().filter_map(|endpoint| Some((endpoint, network(endpoint)?))))
    }

    /// The container's attachments.
    pub(crate) fn attachments(&self, container: &Container) -> Vec<Attachment> {
        let defaults = Family::ALL.map(|family| (family, self.default_endpoint(container, family)));
        let attachment = |endpoint: &Endpoint| {
            let own = defaults.iter().filter(|(_, default)| default.is_some_and(|default| default.id == endpoint.id));
            Attachment {
                endpoint: endpoint.clone(),
                namespace: container.namespace.clone(),
                publishes: container.publishes.clone(),
                default_routes: own.map(|(family, _)| *family).collect(),
            }
        };
        container.endpoints.iter().map(attachment).collect()
    }

    /// All that the kernel has of the container, endpoints that it is leaving included.
    pub(crate) fn scope_of(&self, container: &Container) -> Scope {
        let mut attachments = self.attachments(container);
        let leaving = self.containers.get(&container.id).map(|entry| entry.record.leaving.as_slice());
        attachments.extend(leaving.unwrap_or_default().iter().map(|endpoint| Attachment {
            endpoint: endpoint.clone(),
            namespace: container.namespace.clone(),
            // All that can have led there, so that what still does is found.
            publishes: container.publishes.clone(),
            default_routes: Family::ALL.into(),
        }));
        Scope::Container { namespace: container.namespace.clone(), attachments }
    }

    /// The container's endpoints with their networks, the one with the default route first.
    pub(crate) fn surroundings(&self, container: &Container) -> Vec<(Network, Endpoint)> {
        let first = Family::ALL.into_iter().find_map(|family| self.default_endpoint(container, family));
        let mut endpoints: Vec<&Endpoint> = container.endpoints.iter().collect();
        endpoints.sort_by_key(|endpoint| first.is_none_or(|first| first.id != endpoint.id));
        let network = |endpoint: &Endpoint| Some(self.networks.get(&endpoint.network)?.network.clone());
        endpoints.into_iter().filter_map(|endpoint| Some((network(endpoint)?, endpoint.clone()))).collect()
    }
}
