//! Containers without a network of their own: those that use the host's, and those that share another container's.
//!
//! A namespace stands as long as anybody lives in it. When its owner ends, its endpoints go and those who joined it keep
//! the loopback interface; when the owner is started again while one of them lives, it comes back to the same namespace,
//! and they have its network again.

use api::{ContainerCreate, NetworkMode as Asked};
use model::{Container, ContainerId, ContainerName, ContainerState, Driver, NamespaceName, NetworkMode, NetworkName};

use super::World;
use crate::{failure::Failure, namespaces::Purpose, record::Record};

/// Whose network a container without one of its own uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Elsewhere {
    /// The host's.
    Host,
    /// That of the container which a person knows by this name or id.
    Container(String),
}

impl std::fmt::Display for Elsewhere {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Host => f.write_str("uses the host's network"),
            Self::Container(name) => write!(f, "shares the network of container `{name}`"),
        }
    }
}

/// What only a container with a network of its own can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OwnThing {
    /// A published port, as it was asked for.
    Publish(String),
    /// An endpoint on a network.
    Network(NetworkName),
    /// A kernel parameter of the network namespace.
    Sysctl(String),
    /// Settings of its resolver.
    Resolver,
    /// A line of `/etc/hosts` that leads to the gateway.
    Gateway(String),
}

impl OwnThing {
    /// What cannot be done.
    pub(crate) fn doing(&self) -> String {
        match self {
            Self::Publish(publish) => format!("publish {publish}"),
            Self::Network(network) => format!("attach the container to network `{network}`"),
            Self::Sysctl(name) => format!("set kernel parameter `{name}`"),
            Self::Resolver => "set DNS options or hosts".to_owned(),
            Self::Gateway(name) => format!("lead `{name}` to a gateway"),
        }
    }

    /// What to do instead.
    pub(crate) fn remedy(&self, elsewhere: &Elsewhere) -> String {
        match (self, elsewhere) {
            (Self::Publish(_), Elsewhere::Host) => {
                "leave it out: what the container listens on is a port of the host already".to_owned()
            }
            (Self::Publish(_), Elsewhere::Container(name)) => format!("publish it with container `{name}`"),
            (Self::Network(network), Elsewhere::Host) => {
                format!("give either `--network host` or `--network {network}` when it is created")
            }
            (Self::Network(network), Elsewhere::Container(name)) => {
                format!("attach container `{name}` instead: `fabric network connect {network} {name}`")
            }
            (Self::Sysctl(_), Elsewhere::Host) => "leave it out, or set it on the host".to_owned(),
            (Self::Sysctl(_), Elsewhere::Container(name)) => format!("set it with container `{name}`"),
            (Self::Resolver, Elsewhere::Host) => "leave them out: the host's resolver answers".to_owned(),
            (Self::Resolver, Elsewhere::Container(name)) => {
                format!("give them to container `{name}`: both read the same files")
            }
            (Self::Gateway(name), Elsewhere::Host) => {
                format!("the host is 127.0.0.1 to it: `--add-host {name}:127.0.0.1`")
            }
            (Self::Gateway(_), Elsewhere::Container(name)) => format!("give it to container `{name}`"),
        }
    }
}

/// Refuses what a container without a network of its own cannot have.
pub(crate) fn check(request: &ContainerCreate) -> Result<(), Failure> {
    let elsewhere = match &request.network_mode {
        Asked::Networks => return Ok(()),
        Asked::None => {
            return match request.networks.first() {
                Some(endpoint) => Err(Failure::NoneAndNetwork { network: endpoint.network.clone() }),
                None => Ok(()),
            };
        }
        Asked::Host => Elsewhere::Host,
        Asked::Container(reference) => Elsewhere::Container(reference.to_string()),
    };
    let resolver = &request.resolver;
    let gateway = resolver.hosts.iter().find(|line| line.address == model::HostAddress::Gateway);
    let has_settings = matches!(elsewhere, Elsewhere::Container(_)) && *resolver != model::ResolverSettings::default();
    let sysctl = request.confinement.sysctls.iter().find(|sysctl| sysctl.is_of_network());
    let thing = None
        .or_else(|| request.networks.first().map(|endpoint| OwnThing::Network(endpoint.network.clone())))
        .or_else(|| request.publish.first().map(|publish| OwnThing::Publish(publish.to_string())))
        .or_else(|| has_settings.then_some(OwnThing::Resolver))
        .or_else(|| gateway.map(|line| OwnThing::Gateway(line.name.to_string())))
        .or_else(|| sysctl.map(|sysctl| OwnThing::Sysctl(sysctl.name().to_owned())));
    match thing {
        Some(thing) => Err(Failure::NotItsOwn { thing, elsewhere }),
        None => Ok(()),
    }
}

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
            Some(elsewhere) => Err(Failure::NotItsOwn { thing: OwnThing::Network(network.clone()), elsewhere }),
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
