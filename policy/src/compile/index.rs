//! Selectors by something that whoever they select must have, so that of ten thousand few are tried.

use std::collections::BTreeMap;

use model::{ContainerName, NetworkName};

use crate::{
    peer::{EndpointSelector, Networks},
    selector::{Identity, Requirement},
    world::Endpoint,
};

/// Things that belong to selectors. Each is found for all endpoints that its selector selects, and for some others.
#[derive(Debug)]
pub(super) struct Index<T> {
    of_name: BTreeMap<ContainerName, Vec<T>>,
    /// By the key of a label, then by its value.
    of_label: BTreeMap<String, BTreeMap<String, Vec<T>>>,
    of_network: BTreeMap<NetworkName, Vec<T>>,
    of_any: Vec<T>,
}

/// Where endpoints must be.
pub(super) enum Where<'n> {
    /// On this one.
    On(&'n NetworkName),
    /// On one of these.
    In(&'n Networks),
}

impl<T: Copy> Index<T> {
    pub(super) fn add(&mut self, place: Where<'_>, selector: &EndpointSelector, thing: T) {
        if !selector.names.is_empty() {
            for name in &selector.names {
                self.of_name.entry(name.clone()).or_default().push(thing);
            }
        } else if let Some((key, values)) = label(selector) {
            let values_of = self.of_label.entry(key).or_default();
            for value in values {
                values_of.entry(value).or_default().push(thing);
            }
        } else {
            match place {
                Where::On(network) => self.of_network.entry(network.clone()).or_default().push(thing),
                Where::In(Networks::Named(names)) => {
                    for name in names {
                        self.of_network.entry(name.clone()).or_default().push(thing);
                    }
                }
                Where::In(Networks::Labelled(_)) => self.of_any.push(thing),
            }
        }
    }

    /// Those whose selectors may select an endpoint, each once.
    pub(super) fn candidates(&self, endpoint: &Endpoint) -> impl Iterator<Item = T> {
        let of_name = endpoint.name.as_ref().and_then(|name| self.of_name.get(name));
        let of_label = endpoint.labels.iter().filter_map(|(key, value)| self.of_label.get(key)?.get(value));
        let found = of_name.into_iter().chain(of_label).chain(self.of_network.get(&endpoint.network));
        found.chain([&self.of_any]).flatten().copied()
    }
}

/// A label that whoever is selected has, with the values that it may have.
fn label(selector: &EndpointSelector) -> Option<(String, Vec<String>)> {
    if let Some(Identity(labels)) = &selector.identity
        && let Some((key, value)) = labels.first_key_value()
    {
        return Some((key.as_str().to_owned(), vec![value.as_str().to_owned()]));
    }
    selector.labels.requirements().find_map(|requirement| match requirement {
        Requirement::In(key, values) => {
            let values = values.iter().map(|value| value.as_str().to_owned()).collect();
            Some((key.as_str().to_owned(), values))
        }
        Requirement::NotIn(..) | Requirement::Exists(_) | Requirement::DoesNotExist(_) => None,
    })
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self { of_name: BTreeMap::new(), of_label: BTreeMap::new(), of_network: BTreeMap::new(), of_any: Vec::new() }
    }
}
