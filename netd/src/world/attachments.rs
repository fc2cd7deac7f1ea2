//! A container's endpoints as the kernel is told of them: where its default routes and its host ports lead.

use std::{cmp::Reverse, collections::BTreeSet, ops::RangeInclusive, str::FromStr, sync::Arc};

use model::{
    Announcement, Attachment, Container, Endpoint, EndpointId, Family, IfName, Network, NetworkId, NetworkMode, Route,
    Scope, default_route,
};

use super::{World, entries::NetworkEntry};
use crate::{failure::Failure, life::Life};

/// The identifiers that an interface's name can have been made of: it holds their first 12 digits.
fn beginning<T: FromStr>(name: &IfName, prefix: &str) -> Option<RangeInclusive<T>> {
    let digits = name.as_str().strip_prefix(prefix)?;
    let bound = |rest| format!("{digits}{rest}").parse().ok();
    Some(bound("0000")?..=bound("ffff")?)
}

impl World {
    /// The endpoint over which the container's default route of a family leads, and with it its host ports.
    pub(crate) fn default_endpoint<'a>(&self, container: &'a Container, family: Family) -> Option<&'a Endpoint> {
        let network = |endpoint: &Endpoint| self.networks.get(&endpoint.network).map(NetworkEntry::reserved);
        default_route(family, container.endpoints.iter().filter_map(|endpoint| Some((endpoint, network(endpoint)?))))
    }

    /// Refuses to publish ports of a container whose packets from elsewhere do not come by this host.
    pub(crate) fn check_published(&self, container: &Container) -> Result<(), Failure> {
        let Some(publish) = container.publishes.first() else { return Ok(()) };
        for endpoint in Family::ALL.into_iter().filter_map(|family| self.default_endpoint(container, family)) {
            let network = self.network(&endpoint.network);
            if let Some(network) = network.filter(|network| network.driver.sits_on_parent()) {
                return Err(Failure::PublishOnLan { publish: *publish, network: network.name.clone() });
            }
        }
        Ok(())
    }

    /// The container's attachments.
    pub(crate) fn attachments(&self, container: &Container) -> Vec<Attachment> {
        let NetworkMode::Own { namespace } = &container.mode else { return Vec::new() };
        let defaults = Family::ALL.map(|family| (family, self.default_endpoint(container, family)));
        let routes = self.routes(container);
        let attachment = |endpoint: &Endpoint| {
            let own = defaults.iter().filter(|(_, default)| default.is_some_and(|default| default.id == endpoint.id));
            let routes = routes.iter().filter(|(id, _)| *id == endpoint.id);
            Attachment {
                routes: routes.map(|(_, route)| *route).collect(),
                endpoint: endpoint.clone(),
                namespace: namespace.clone(),
                publishes: container.publishes.clone(),
                default_routes: own.map(|(family, _)| *family).collect(),
                announcement: self.announcement(endpoint),
            }
        };
        container.endpoints.iter().map(attachment).collect()
    }

    /// The routes that the container's networks give it, each with the endpoint over which it leads. Of two with one
    /// key, that of the endpoint with the higher gateway priority is had, of equal ones that of the first. None leads
    /// to what one of its networks has: it is there.
    fn routes(&self, container: &Container) -> Vec<(EndpointId, Route)> {
        let network = |endpoint: &Endpoint| self.networks.get(&endpoint.network).map(NetworkEntry::reserved);
        let is_near = |route: &Route| {
            let mut subnets = container.endpoints.iter().filter_map(network).flat_map(|network| &network.subnets);
            subnets.any(|subnet| subnet.range().contains(&route.destination))
        };
        let mut endpoints: Vec<&Endpoint> = container.endpoints.iter().collect();
        endpoints.sort_by_key(|endpoint| Reverse(endpoint.gateway_priority));
        let mut taken = BTreeSet::new();
        let of = |endpoint: &&Endpoint| Some((endpoint.id.clone(), network(endpoint)?.routes_of(endpoint).collect()));
        let offered = endpoints.iter().filter_map(of);
        let each = offered
            .flat_map(|(id, routes): (EndpointId, Vec<Route>)| routes.into_iter().map(move |it| (id.clone(), it)));
        each.filter(|(_, route)| !is_near(route) && taken.insert(route.key())).collect()
    }

    /// Whether its neighbours may believe something else than is so. One that has the MAC address of its address was
    /// made where nobody was remembered with another, unless somebody asked for just that one.
    fn announcement(&self, endpoint: &Endpoint) -> Announcement {
        let Some(mac) = endpoint.mac else { return Announcement::Needless };
        let leases = self.leases(&endpoint.network);
        let mut last = endpoint.addresses().filter_map(|address| leases?.last_mac(address));
        if endpoint.is_where_its_address_says() && last.all(|last| last == mac) {
            Announcement::Needless
        } else {
            Announcement::Due
        }
    }

    /// The network whose bridge has this name, at the cost of a look-up.
    pub(crate) fn network_of_bridge(&self, name: &IfName) -> Option<&Network> {
        let mut named = self.networks.range(beginning::<NetworkId>(name, "fb-")?).filter_map(|(_, it)| it.committed());
        named.find(|network| network.bridge() == *name)
    }

    /// The endpoint of a container that lives whose end on the host has this name, at the cost of a look-up.
    pub(crate) fn attachment_of_port(&self, name: &IfName) -> Option<Attachment> {
        let mut named = self.holders.range(beginning::<EndpointId>(name, "fe-")?);
        named.find_map(|(_, container)| {
            let record = self.record(container).filter(|record| record.is_live())?;
            let own = |attachment: &Attachment| attachment.endpoint.host_interface() == *name;
            self.attachments(&record.container).into_iter().find(own)
        })
    }

    /// What is known of the processes of the endpoint's container.
    pub(crate) fn life_at(&self, endpoint: &EndpointId) -> Option<&Arc<Life>> {
        self.life(self.holders.get(endpoint)?)
    }

    /// All that the kernel has of the container, endpoints that it is leaving included, or of the one whose network it
    /// shares: the last of those who live in a namespace takes all of it along, and what sits there on one of the host's
    /// interfaces would go some time after the namespace. None of one that lives in the host's namespace.
    pub(crate) fn scope_of(&self, container: &Container) -> Option<Scope> {
        let namespace = container.mode.namespace()?;
        let container = match &container.mode {
            NetworkMode::Joined { .. } => {
                let inhabitant = self.inhabited.get(namespace).and_then(|id| self.record(id));
                inhabitant.map_or(container, |record| &record.container)
            }
            NetworkMode::Own { .. } | NetworkMode::Host => container,
        };
        let mut attachments = self.attachments(container);
        let leaving = self.containers.get(&container.id).map(|entry| entry.record.leaving.as_slice());
        attachments.extend(leaving.unwrap_or_default().iter().map(|endpoint| Attachment {
            endpoint: endpoint.clone(),
            namespace: namespace.clone(),
            // All that can have led there, so that what still does is found.
            publishes: container.publishes.clone(),
            default_routes: Family::ALL.into(),
            routes: Default::default(),
            announcement: Announcement::Needless,
        }));
        Some(Scope::Container { namespace: namespace.clone(), attachments })
    }

    /// The container's endpoints with their networks, the one with the default route first.
    pub(crate) fn surroundings(&self, container: &Container) -> Vec<(Network, Endpoint)> {
        let first = Family::ALL.into_iter().find_map(|family| self.default_endpoint(container, family));
        let mut endpoints: Vec<&Endpoint> = container.endpoints.iter().collect();
        endpoints.sort_by_key(|endpoint| first.is_none_or(|first| first.id != endpoint.id));
        let network = |endpoint: &Endpoint| Some(self.networks.get(&endpoint.network)?.reserved().clone());
        endpoints.into_iter().filter_map(|endpoint| Some((network(endpoint)?, endpoint.clone()))).collect()
    }
}
