//! The names and identifiers that people mean a container or a network by.

use model::{ContainerId, ContainerName, Network, NetworkName};

use super::World;
use crate::{
    failure::{Failure, Noun},
    record::Record,
};

impl World {
    /// Takes a name for the container, which keeps its own until [`World::rename_container`].
    pub(crate) fn reserve_name(&mut self, id: &ContainerId, name: &ContainerName) -> Result<(), Failure> {
        if self.container_names.contains_key(name) {
            return Err(Failure::NameTaken { noun: Noun::Container, name: name.to_string() });
        }
        self.container_names.insert(name.clone(), id.clone());
        Ok(())
    }

    /// Gives back a name that was taken and is not used.
    pub(crate) fn release_name(&mut self, name: &ContainerName) {
        self.container_names.remove(name);
    }

    /// The container is called `name` from now on.
    pub(crate) fn rename_container(&mut self, id: &ContainerId, name: ContainerName) {
        if let Some(entry) = self.containers.get_mut(id) {
            self.container_names.remove(&entry.record.container.name);
            entry.record.container.name = name;
        }
    }

    /// The container that a person means by its name, its identifier, or an unambiguous beginning of the identifier.
    pub(crate) fn container_by_reference(&self, reference: &str) -> Result<&Record, Failure> {
        if let Some(record) = reference
            .parse()
            .ok()
            .and_then(|name: ContainerName| self.container_names.get(&name))
            .and_then(|id| self.record(id))
        {
            return Ok(record);
        }
        the_one(Noun::Container, reference, self.records(), |record| record.container.id.as_str())?.ok_or_else(|| {
            Failure::unknown(Noun::Container, reference, self.container_names.keys().map(ContainerName::as_str))
        })
    }

    /// The network that a person means by its name, its identifier, or an unambiguous beginning of the identifier,
    /// which all can be read as a name.
    pub(crate) fn network_by_reference(&self, reference: &NetworkName) -> Result<&Network, Failure> {
        if let Some(network) = self.network_names.get(reference).and_then(|id| self.network(id)) {
            return Ok(network);
        }
        let reference = reference.as_str();
        the_one(Noun::Network, reference, self.networks(), |network| network.id.as_str())?.ok_or_else(|| {
            Failure::unknown(Noun::Network, reference, self.network_names.keys().map(NetworkName::as_str))
        })
    }
}

/// The one of `all` whose identifier begins with `reference`; none if there is none.
fn the_one<'a, T>(
    noun: Noun,
    reference: &str,
    all: impl Iterator<Item = &'a T>,
    id: impl Fn(&T) -> &str,
) -> Result<Option<&'a T>, Failure> {
    // Shorter beginnings are more often a name that was mistyped or is gone, `db` for example.
    const LEAST: usize = 4;
    if reference.len() < LEAST {
        return Ok(None);
    }
    let mut beginning = all.filter(|one| id(one).starts_with(reference));
    match (beginning.next(), beginning.next()) {
        (Some(_), Some(_)) => Err(Failure::Ambiguous { noun, reference: reference.to_owned() }),
        (found, _) => Ok(found),
    }
}
