//! Containers without a network of their own: those that use the host's, and those that share another container's.
//!
//! A namespace stands as long as anybody lives in it. When its owner ends, its endpoints go and those who joined it
//! keep the loopback interface; when the owner is started again while one of them lives, it comes back to the same
//! namespace, and they have its network again.

use api::{ContainerCreate, ContainerCreateError, Elsewhere, OwnThing};
use model::{Container, ContainerId, ContainerName, ContainerState, Driver, NamespaceName, NetworkMode, NetworkName};

use super::World;
use crate::{failure::Failure, namespaces::Purpose, record::Record};

/// How far a container must be for another to share its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// Attached: it runs, or waits for its start.
    Attached,
    /// Running.
    Running,
}

impl World {
    /// The mode of a container that is to share the network of another.
    pub(crate) fn join(
        &self,
        sharer: &ContainerName,
        joined: &str,
        readiness: Readiness,
    ) -> Result<NetworkMode, Failure> {
        let record = self.container_by_reference(joined)?;
        let container = &record.container;
        let NetworkMode::Own { namespace } = &container.mode else {
            return Err(Failure::JoinsASharer {
                sharer: sharer.clone(),
                joined: container.name.clone(),
                elsewhere: self.elsewhere(container).expect("a container without a network of its own has another's"),
            });
        };
        let runs = |id| self.life(id).is_some_and(|life| matches!(life.state(), ContainerState::Running { .. }));
        let ready = record.is_live() && (readiness == Readiness::Attached || runs(&container.id));
        if !ready {
            let (sharer, joined) = (sharer.to_string(), container.name.to_string());
            return Err(Failure::JoinedNotRunning { sharer, joined });
        }
        Ok(NetworkMode::Joined { namespace: namespace.clone(), container: container.id.clone() })
    }

    /// The mode of a container that shared a network before, if it still can.
    pub(crate) fn join_again(&self, sharer: &ContainerName, joined: &ContainerId) -> Result<NetworkMode, Failure> {
        if self.record(joined).is_none() {
            return Err(Failure::JoinedGone { sharer: sharer.to_string(), joined: joined.short().to_owned() });
        }
        self.join(sharer, joined.as_str(), Readiness::Running)
    }

    /// Whose network the container has, if it has none of its own.
    pub(crate) fn elsewhere(&self, container: &Container) -> Option<Elsewhere> {
        match &container.mode {
            NetworkMode::Own { .. } => None,
            NetworkMode::Host => Some(Elsewhere::Host),
            NetworkMode::Joined { container, .. } => {
                let name = self.record(container).map(|record| record.container.name.to_string());
                Some(Elsewhere::Container(name.unwrap_or_else(|| container.short().to_owned())))
            }
        }
    }

    /// The container whose endpoints it uses, if any's.
    pub(crate) fn attached<'a>(&'a self, record: &'a Record) -> Option<&'a Record> {
        match &record.container.mode {
            NetworkMode::Own { .. } => Some(record),
            NetworkMode::Joined { container, .. } => self.record(container).filter(|record| record.is_live()),
            NetworkMode::Host => None,
        }
    }

    /// Refuses to attach a container that has no network of its own.
    pub(crate) fn check_attachable(&self, container: &Container, network: &NetworkName) -> Result<(), Failure> {
        match self.elsewhere(container) {
            Some(elsewhere) => {
                Err(ContainerCreateError::NotItsOwn { thing: OwnThing::Network(network.clone()), elsewhere }.into())
            }
            None => Ok(()),
        }
    }

    /// What the namespace of a container that is asked for is to be.
    pub(crate) fn purpose_of_namespace(&self, request: &ContainerCreate) -> Purpose {
        // A network that is not there is told of later.
        let first = request.networks.first().and_then(|asked| self.network_by_reference(&asked.network).ok());
        if first.is_some_and(|network| network.driver == Driver::Bridge) { Purpose::Bridged } else { Purpose::Other }
    }

    /// A container lives in its namespace from now on.
    pub(super) fn move_in(&mut self, container: &Container) {
        match &container.mode {
            NetworkMode::Own { namespace } => {
                self.namespaces.occupy(namespace);
                self.inhabited.insert(namespace.clone(), container.id.clone());
            }
            NetworkMode::Joined { namespace, .. } => {
                self.sharers.entry(namespace.clone()).or_default().insert(container.id.clone());
            }
            NetworkMode::Host => {}
        }
    }

    /// A container lives in its namespace no more.
    pub(super) fn move_out(&mut self, container: &Container) {
        match &container.mode {
            NetworkMode::Own { namespace } => {
                // Another may live there already, if this one's start failed.
                if self.inhabited.get(namespace) == Some(&container.id) {
                    self.inhabited.remove(namespace);
                }
            }
            NetworkMode::Joined { namespace, .. } => {
                if let Some(sharers) = self.sharers.get_mut(namespace) {
                    sharers.remove(&container.id);
                    if sharers.is_empty() {
                        self.sharers.remove(namespace);
                    }
                }
            }
            NetworkMode::Host => {}
        }
    }

    /// Whether a container that shares the network of another lives in the namespace.
    pub(crate) fn has_sharers(&self, namespace: &NamespaceName) -> bool {
        let lives = |id| self.containers.get(id).is_some_and(|entry| entry.record.is_live());
        self.sharers.get(namespace).is_some_and(|sharers| sharers.iter().any(lives))
    }
}
