//! Whether a selector selects anybody, without asking everybody: there may be thousands of both.

use std::collections::{BTreeMap, BTreeSet};

use model::{ContainerName, Labels, NetworkName};

use crate::{
    label::{LabelKey, LabelValue},
    peer::{EndpointSelector, Networks},
    selector::{Identity, Requirement, Selector},
    world::{Endpoint, World},
};

/// Endpoints and networks by what selectors name first.
pub(super) struct Population<'w> {
    networks: BTreeMap<&'w NetworkName, Network<'w>>,
    names: BTreeMap<&'w ContainerName, Vec<&'w Endpoint>>,
    labels: BTreeMap<(&'w str, &'w str), Vec<&'w Endpoint>>,
}

/// A network with the labels that it has, and its endpoints.
struct Network<'w> {
    labels: Labels,
    endpoints: Vec<&'w Endpoint>,
}

impl<'w> Population<'w> {
    pub(super) fn of(world: &'w World) -> Self {
        let network = |name| (name, Network { labels: world.labels_of(name), endpoints: Vec::new() });
        let mut networks: BTreeMap<_, _> = world.networks().map(network).collect();
        let (mut names, mut labels) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::<_, Vec<_>>::new());
        for endpoint in world.endpoints() {
            if let Some(network) = networks.get_mut(&endpoint.network) {
                network.endpoints.push(endpoint);
            }
            if let Some(name) = &endpoint.name {
                names.entry(name).or_default().push(endpoint);
            }
            for (key, value) in &endpoint.labels {
                labels.entry((key.as_str(), value.as_str())).or_default().push(endpoint);
            }
        }
        Self { networks, names, labels }
    }

    /// Whether one of these networks is there.
    pub(super) fn has_any_network(&self, networks: &Networks) -> bool {
        match networks {
            Networks::Named(names) => names.iter().any(|name| self.networks.contains_key(name)),
            Networks::Labelled(selector) => self.networks.values().any(|network| selector.selects(&network.labels)),
        }
    }

    /// Whether an endpoint of one of these networks is selected.
    pub(super) fn has_anybody(&self, networks: &Networks, selector: &EndpointSelector) -> bool {
        let is_meant = |endpoint: &Endpoint| selector.selects(endpoint) && self.include(networks, &endpoint.network);
        if !selector.names.is_empty() {
            return selector.names.iter().filter_map(|name| self.names.get(name)).flatten().copied().any(is_meant);
        }
        if let Some((key, values)) = one_of(&selector.labels) {
            return values.iter().flat_map(|value| self.labelled(key, value)).any(is_meant);
        }
        if let Some((key, value)) = selector.identity.as_ref().and_then(|Identity(labels)| labels.first_key_value()) {
            return self.labelled(key, value).any(is_meant);
        }
        match networks {
            Networks::Named(names) => names
                .iter()
                .filter_map(|name| self.networks.get(name))
                .any(|network| network.endpoints.iter().copied().any(is_meant)),
            Networks::Labelled(_) => {
                self.networks.values().flat_map(|network| &network.endpoints).copied().any(is_meant)
            }
        }
    }

    fn labelled<'s>(&'s self, key: &'s LabelKey, value: &'s LabelValue) -> impl Iterator<Item = &'w Endpoint> + 's {
        self.labels.get(&(key.as_str(), value.as_str())).into_iter().flatten().copied()
    }

    fn include(&self, networks: &Networks, name: &NetworkName) -> bool {
        match networks {
            Networks::Named(names) => names.contains(name),
            Networks::Labelled(selector) => {
                self.networks.get(name).is_some_and(|network| selector.selects(&network.labels))
            }
        }
    }
}

/// A label that whatever is selected has, and the values of which it has one.
fn one_of(selector: &Selector) -> Option<(&LabelKey, &BTreeSet<LabelValue>)> {
    selector.requirements().find_map(|requirement| match requirement {
        Requirement::In(key, values) => Some((key, values)),
        _ => None,
    })
}
