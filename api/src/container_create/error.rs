//! What can be wrong with what is asked of a new container, whatever the host is like.

use std::{fmt, num::NonZeroU16};

use model::{ContainerIfName, ContainerPort, NetworkName, PortName, Publish, PublishRequest, RestartPolicy};

/// Why no host could have the container that is asked for: the request contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContainerCreateError {
    /// The container has no network of its own to have it.
    #[error("cannot {}: the container {elsewhere}", .thing.doing())]
    NotItsOwn {
        /// What it cannot have.
        thing: OwnThing,
        /// Whose network it has.
        elsewhere: Elsewhere,
    },
    /// No network, and one.
    #[error("network `{network}` and network mode `none` exclude each other")]
    NoneAndNetwork {
        /// The network.
        network: NetworkName,
    },
    /// One endpoint on a network is all that a container has.
    #[error("network `{network}` is given twice, and a container is attached to it once")]
    NetworkTwice {
        /// The network.
        network: NetworkName,
    },
    /// Two interfaces of one namespace cannot have one name.
    #[error("the container cannot have interface `{interface}` on network `{first}` and on network `{second}`")]
    InterfaceTwice {
        /// The interface's name.
        interface: ContainerIfName,
        /// The network that was named first.
        first: NetworkName,
        /// The other.
        second: NetworkName,
    },
    /// A port that is published leads to an endpoint.
    #[error("cannot publish {publish} of a container without a network")]
    PublishWithoutNetwork {
        /// What was to be published.
        publish: PublishRequest,
    },
    /// Every port that is published leads to an endpoint.
    #[error("cannot publish the ports of a container without a network")]
    PublishAllWithoutNetwork,
    /// A host port leads to one port.
    #[error("cannot publish {publish}: host port {port} is given twice")]
    PublishedTwice {
        /// One of the two.
        publish: Publish,
        /// The port that both claim.
        port: NonZeroU16,
    },
    /// A name is of one port.
    #[error("a port cannot be called `{name}`: {first} and {second} both are")]
    PortNamedTwice {
        /// The name.
        name: PortName,
        /// The port that was named first.
        first: ContainerPort,
        /// The other.
        second: ContainerPort,
    },
    /// There is no gateway that could be the host.
    #[error("cannot lead `{name}` to the host: the container has no network")]
    GatewayWithoutNetwork {
        /// The name that was to lead there.
        name: String,
    },
    /// What is removed cannot be started again.
    #[error("a container that is removed when it ends cannot have restart policy `{policy}`")]
    RemovedAndRestarted {
        /// The policy.
        policy: RestartPolicy,
    },
    /// The init is a process of netd's program.
    #[error(
        "a container with an init cannot have capability SYS_PTRACE, which could read netd's memory out of the init"
    )]
    TracedInit,
}

impl ContainerCreateError {
    /// What a person can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::NotItsOwn { thing, elsewhere } => thing.remedy(elsewhere),
            Self::NoneAndNetwork { .. } => {
                "give one of them; without either, it has the loopback interface alone".into()
            }
            Self::NetworkTwice { network } => {
                format!("give it once, with all its options: `--network {network}:OPTION=VALUE,...`")
            }
            Self::InterfaceTwice { .. } => {
                "choose another name, or none to have the lowest free `eth0`, `eth1` and so on".into()
            }
            Self::PublishWithoutNetwork { .. }
            | Self::PublishAllWithoutNetwork
            | Self::GatewayWithoutNetwork { .. } => {
                "add `--network NAME`; `fabric network ls` lists those there are".into()
            }
            Self::PublishedTwice { .. } => "publish each host port once".into(),
            Self::PortNamedTwice { .. } => "give each port a name of its own".into(),
            Self::RemovedAndRestarted { .. } => "leave out `--rm` or `--restart`".into(),
            Self::TracedInit => "leave out `--init` or `--cap-add`; an init that the image brings can be traced".into(),
        }
    }
}

/// Whose network a container without one of its own uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Elsewhere {
    /// The host's.
    Host,
    /// That of the container which a person knows by this name or id.
    Container(String),
}

impl fmt::Display for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("uses the host's network"),
            Self::Container(name) => write!(f, "shares the network of container `{name}`"),
        }
    }
}

/// What only a container with a network of its own can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnThing {
    /// A published port, as it was asked for.
    Publish(PublishRequest),
    /// Every port that the image names, published.
    PublishAll,
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
    fn doing(&self) -> String {
        match self {
            Self::Publish(publish) => format!("publish {publish}"),
            Self::PublishAll => "publish its ports".to_owned(),
            Self::Network(network) => format!("attach the container to network `{network}`"),
            Self::Sysctl(name) => format!("set kernel parameter `{name}`"),
            Self::Resolver => "set DNS options or hosts".to_owned(),
            Self::Gateway(name) => format!("lead `{name}` to a gateway"),
        }
    }

    /// What to do instead.
    fn remedy(&self, elsewhere: &Elsewhere) -> String {
        match (self, elsewhere) {
            (Self::Publish(_) | Self::PublishAll, Elsewhere::Host) => {
                "leave it out: what the container listens on is a port of the host already".to_owned()
            }
            (Self::Publish(_) | Self::PublishAll, Elsewhere::Container(name)) => {
                format!("publish it with container `{name}`")
            }
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
