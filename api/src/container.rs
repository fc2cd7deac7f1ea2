//! Containers on the wire, and what is asked of them.

use std::{net::Ipv4Addr, net::Ipv6Addr, path::PathBuf};

use jiff::Timestamp;
use model::{
    Confinement, ContainerId, ContainerName, EndpointId, EnvironmentVariable, Family, Hostname, IfName, ImageName,
    Labels, MacAddress, NetworkName, Publish, PublishRequest, ResolverSettings, TerminalSize,
};
use serde::{Deserialize, Serialize};

use crate::{EndpointCreate, Signal, checked};

/// A container and what it does at the moment of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Drawn at creation, never reused.
    pub id: ContainerId,
    /// Unique on the host.
    pub name: ContainerName,
    /// The image's name when the container was created.
    pub image: ImageName,
    /// What its processes do.
    pub state: State,
    /// The exit code of its first process, or 128 and the number of the signal that ended it; null until it exited.
    pub exit_code: Option<i32>,
    /// The first process in the host's PID namespace; null unless running.
    pub pid: Option<i32>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was started, of an exited container the last time; null if it never was.
    pub started_at: Option<Timestamp>,
    /// When it ended; null unless exited.
    pub finished_at: Option<Timestamp>,
    /// The host name its processes see.
    pub hostname: Hostname,
    /// The program it runs, with its arguments.
    pub command: Vec<String>,
    /// `USER[:GROUP]` that it runs as; null means root.
    #[serde(default)]
    pub user: Option<String>,
    /// What it is given and kept from.
    #[serde(default)]
    pub confinement: Confinement,
    /// Whether its standard streams are a terminal.
    #[serde(default)]
    pub terminal: bool,
    /// Whether its standard input stays open for a client to write to.
    #[serde(default)]
    pub open_stdin: bool,
    /// What a person attached to it.
    pub labels: Labels,
    /// Host ports that lead to the endpoint with the default route until it has exited, each
    /// `[HOST_ADDRESS:]HOST_PORTS:CONTAINER_PORTS/PROTOCOL`.
    #[serde(with = "checked::text_list")]
    pub publishes: Vec<Publish>,
    /// What its own resolver is told besides what its network and its host have.
    #[serde(default)]
    pub resolver: ResolverSettings,
    /// Its attachments, in the order in which they were asked for.
    pub endpoints: Vec<Endpoint>,
}

/// What a container's processes do, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not yet started.
    Created,
    /// Its first process runs.
    Running,
    /// Its first process has ended.
    Exited,
}

impl State {
    /// The word itself.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Exited => "exited",
        }
    }
}

impl From<&model::ContainerState> for State {
    fn from(state: &model::ContainerState) -> Self {
        match state {
            model::ContainerState::Created => Self::Created,
            model::ContainerState::Running { .. } => Self::Running,
            model::ContainerState::Exited { .. } => Self::Exited,
        }
    }
}

/// One attachment of a container to a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Drawn at creation, never reused.
    pub id: EndpointId,
    /// The network's name.
    pub network: NetworkName,
    /// Its IPv4 address; null on a network without IPv4.
    pub ipv4: Option<Ipv4Addr>,
    /// Its IPv6 address; null on a network without IPv6.
    pub ipv6: Option<Ipv6Addr>,
    /// The MAC address of the container's end.
    pub mac: MacAddress,
    /// The gateway of its IPv4 subnet; null if it has none.
    pub gateway: Option<Ipv4Addr>,
    /// The gateway of its IPv6 subnet; null if it has none.
    pub gateway6: Option<Ipv6Addr>,
    /// Names that DNS answers for besides the container's own.
    pub aliases: Vec<ContainerName>,
    /// The interface's name inside the container.
    pub interface: IfName,
    /// How much the container's default route is to lead over it: the highest of its endpoints has it.
    pub gateway_priority: i32,
    /// The families whose default route in the container leads over it.
    pub default_routes: Vec<Family>,
}

/// Asks for a container: `POST /v1/containers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainerCreate {
    /// Its name; drawn by the daemon if absent.
    #[serde(default)]
    pub name: Option<ContainerName>,
    /// An image of the local content store.
    pub image: ImageName,
    /// The networks to attach it to, each once; none means no endpoint, only the loopback interface.
    #[serde(default)]
    pub networks: Vec<EndpointCreate>,
    /// Arguments in place of the image's command; empty keeps the image's.
    #[serde(default, deserialize_with = "checked::arguments")]
    pub command: Vec<String>,
    /// The program in place of the image's entry point; absent keeps the image's, empty clears it.
    #[serde(default, deserialize_with = "checked::optional_arguments")]
    pub entrypoint: Option<Vec<String>>,
    /// The host name its processes see; its name if absent.
    #[serde(default)]
    pub hostname: Option<Hostname>,
    /// Host ports that lead to it, each `[HOST_ADDRESS:][HOST_PORTS:]CONTAINER_PORTS[/PROTOCOL]`, where ports are `PORT`
    /// or `PORT-PORT`. Host ports that are not named are chosen by the daemon.
    #[serde(default, with = "checked::text_list")]
    pub publish: Vec<PublishRequest>,
    /// Whether every port that the image exposes is published as well, at host ports that the daemon chooses.
    #[serde(default)]
    pub publish_all: bool,
    /// What its own resolver is told besides what its network and its host have.
    #[serde(default)]
    pub resolver: ResolverSettings,
    /// Variables besides the image's, each `NAME=VALUE`; the last of one name counts.
    #[serde(default)]
    pub env: Vec<EnvironmentVariable>,
    /// What to attach to it, for people.
    #[serde(default, deserialize_with = "checked::labels")]
    pub labels: Labels,
    /// An absolute path inside the container; the image's if absent.
    #[serde(default, deserialize_with = "checked::optional_path")]
    pub working_directory: Option<PathBuf>,
    /// Whether its standard input stays open for a client to write to.
    #[serde(default)]
    pub open_stdin: bool,
    /// Whether its standard streams are a terminal.
    #[serde(default)]
    pub terminal: bool,
    /// Whether it is removed as soon as it has exited.
    #[serde(default)]
    pub auto_remove: bool,
    /// Whether it is started as well; if that fails, nothing of it is left. Otherwise it waits for its start, so that
    /// a client can attach before its program writes anything.
    #[serde(default)]
    pub start: bool,
    /// `USER[:GROUP]` by name or number; the image's if absent.
    #[serde(default)]
    pub user: Option<String>,
    /// What asks it to stop; the image's, or SIGTERM, if absent.
    #[serde(default)]
    pub stop_signal: Option<Signal>,
    /// Seconds until SIGKILL; [`StopQuery::DEFAULT_TIMEOUT_SECONDS`] if absent.
    #[serde(default)]
    pub stop_timeout_seconds: Option<u32>,
    /// What it is given and kept from.
    #[serde(default)]
    pub confinement: Confinement,
}

impl ContainerCreate {
    /// A container of `image` with everything else as the image and the daemon have it.
    pub fn new(image: ImageName) -> Self {
        Self {
            name: None,
            image,
            networks: Vec::new(),
            command: Vec::new(),
            entrypoint: None,
            hostname: None,
            publish: Vec::new(),
            resolver: ResolverSettings::default(),
            publish_all: false,
            env: Vec::new(),
            labels: Labels::new(),
            working_directory: None,
            open_stdin: false,
            terminal: false,
            auto_remove: false,
            start: false,
            user: None,
            stop_signal: None,
            stop_timeout_seconds: None,
            confinement: Confinement::default(),
        }
    }
}

/// Asks for another process in a running container: `POST /v1/containers/{reference}/exec`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecCreate {
    /// The program and its arguments; the daemon refuses an empty list.
    #[serde(deserialize_with = "checked::arguments")]
    pub command: Vec<String>,
    /// Variables besides the container's, each `NAME=VALUE`.
    #[serde(default)]
    pub env: Vec<EnvironmentVariable>,
    /// An absolute path inside the container; the container's own if absent.
    #[serde(default, deserialize_with = "checked::optional_path")]
    pub working_directory: Option<PathBuf>,
    /// Whether the client will send standard input; otherwise it is empty.
    #[serde(default)]
    pub stdin: bool,
    /// The size of the terminal that its standard streams are; absent means that they are pipes.
    #[serde(default)]
    pub terminal: Option<TerminalSize>,
    /// `USER[:GROUP]` by name or number; the container's own if absent.
    #[serde(default)]
    pub user: Option<String>,
}

/// Which containers `GET /v1/containers` lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainersQuery {
    /// Also those that do not run.
    #[serde(default)]
    pub all: bool,
}

/// How `DELETE /v1/containers/{reference}` treats a running container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveQuery {
    /// Kill it first, instead of refusing.
    #[serde(default)]
    pub force: bool,
}

/// How long `POST /v1/containers/{reference}/stop` and `…/restart` wait between the stop signal and SIGKILL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopQuery {
    /// Seconds; the container's own if absent.
    #[serde(default)]
    pub timeout_seconds: Option<u32>,
}

impl StopQuery {
    /// Seconds between the stop signal and SIGKILL where neither request nor container says otherwise.
    pub const DEFAULT_TIMEOUT_SECONDS: u32 = model::StopPolicy::DEFAULT_TIMEOUT_SECONDS;
}

/// How far `POST /v1/containers/{reference}/start` goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartQuery {
    /// Only as far as the moment before its program, so that a client can attach before it writes anything.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub prepare: bool,
}

/// Asks for another name: `POST /v1/containers/{reference}/rename`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rename {
    /// The new name.
    pub name: ContainerName,
}

/// What `POST /v1/prune/containers` removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pruned {
    /// The containers' names.
    pub removed: Vec<ContainerName>,
}

/// One process of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its identifier inside the container.
    pub pid: i32,
    /// Its identifier in the host's PID namespace.
    pub host_pid: i32,
    /// The user it acts as, by number.
    pub uid: u32,
    /// For how long it has occupied a processor, in milliseconds.
    pub processor_time_ms: u64,
    /// Program and arguments, with spaces between them.
    pub command: String,
}

/// What `POST /v1/containers/{reference}/kill` sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KillQuery {
    /// The signal; SIGKILL if absent.
    #[serde(default = "Signal::kill")]
    pub signal: Signal,
}

/// What `GET /v1/containers/{reference}/wait` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitQuery {
    /// The event; the exit if absent.
    #[serde(default)]
    pub until: Until,
}

/// An event in a container's life that can be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// Its first process has ended.
    #[default]
    Exited,
    /// It is gone, with everything that belonged to it.
    Removed,
}

/// How a container that was waited for ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waited {
    /// The first process's exit code, or 128 and the number of the signal that ended it.
    pub exit_code: i32,
}
