//! A container's endpoints as the kernel is told of them: where its default routes and its host ports lead.

use model::{Attachment, Container, Endpoint, Family, Scope, default_route};

use super::World;

impl World {
    /// The endpoint over which the container's default route of a family leads, and with it its host ports.
    pub(super) fn default_endpoint<'a>(&self, container: &'a Container, family: Family) -> Option<&'a Endpoint> {
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

    /// All that the kernel has of the container.
    pub(crate) fn scope_of(&self, container: &Container) -> Scope {
        Scope::Container { namespace: container.namespace.clone(), attachments: self.attachments(container) }
    }
}
