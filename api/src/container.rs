//! Containers on the wire, and what is asked of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    net::Ipv6Addr,
    path::PathBuf,
};

use jiff::Timestamp;
use model::{
    Confinement, ContainerId, ContainerName, ContainerPort, EndpointId, EnvironmentVariable, Family, Hostname, IfName,
    ImageName, Labels, LogLimits, MacAddress, NetworkName, PortName, Publish, ResolverSettings, RestartPolicy,
    TerminalSize,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{NetworkMode, Signal, checked, schema};

/// A container and what it does at the moment of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Container {
    /// Drawn at creation, never reused.
    #[schema(value_type = schema::Identifier)]
    pub id: ContainerId,
    /// Unique on the host.
    #[schema(value_type = schema::Name)]
    pub name: ContainerName,
    /// The image's name when the container was created.
    #[schema(value_type = String)]
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
    /// Whether it is started again when it has ended: `no`, `on-failure`, `on-failure:COUNT`, `always` or
    /// `unless-stopped`.
    #[serde(default)]
    #[schema(value_type = String)]
    pub restart_policy: RestartPolicy,
    /// How often that was done since a person started it.
    #[serde(default)]
    pub restart_count: u32,
    /// Whether it is removed when it has ended.
    #[serde(default)]
    pub auto_remove: bool,
    /// The host name its processes see.
    #[schema(value_type = String)]
    pub hostname: Hostname,
    /// The program it runs, with its arguments.
    pub command: Vec<String>,
    /// `USER[:GROUP]` that it runs as; null means root.
    #[serde(default)]
    pub user: Option<String>,
    /// What it is given and kept from.
    #[serde(default)]
    #[schema(value_type = schema::Confinement)]
    pub confinement: Confinement,
    /// Whether its standard streams are a terminal.
    #[serde(default)]
    pub terminal: bool,
    /// Whether its standard input stays open for a client to write to.
    #[serde(default)]
    pub open_stdin: bool,
    /// Whether its program has an init for a parent, which passes signals on and reaps orphans.
    #[serde(default)]
    pub init: bool,
    /// How much of its log is kept.
    #[serde(default)]
    #[schema(value_type = schema::LogLimits)]
    pub log: LogLimits,
    /// What a person attached to it.
    #[schema(value_type = BTreeMap<String, String>)]
    pub labels: Labels,
    /// Host ports that lead to the endpoint with the default route until it has exited, each
    /// `[HOST_ADDRESS:]HOST_PORTS:CONTAINER_PORTS/PROTOCOL`.
    #[serde(with = "checked::text_list")]
    #[schema(value_type = Vec<String>)]
    pub publishes: Vec<Publish>,
    /// What it is known to listen on besides, each `PORT/PROTOCOL`: DNS answers SRV for these and for published ports.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub exposed: BTreeSet<ContainerPort>,
    /// What those of them are called that have names, each name with its `PORT/PROTOCOL`: policies may say them.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    pub port_names: BTreeMap<PortName, ContainerPort>,
    /// What its own resolver is told besides what its network and its host have.
    #[serde(default)]
    #[schema(value_type = schema::ResolverSettings)]
    pub resolver: ResolverSettings,
    /// Whose network namespace it lives in.
    #[serde(default)]
    #[schema(value_type = String)]
    pub network_mode: NetworkMode,
    /// Its attachments, in the order in which they were asked for.
    pub endpoints: Vec<Endpoint>,
}

/// What a container's processes do, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not yet started.
    Created,
    /// Its first process runs.
    Running,
    /// Its first process has ended, and its restart policy is about to start it again.
    Restarting,
    /// Its first process has ended.
    Exited,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Created, Self::Running, Self::Restarting, Self::Exited];

    /// The word itself.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Restarting => "restarting",
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Endpoint {
    /// Drawn at creation, never reused.
    #[schema(value_type = schema::Identifier)]
    pub id: EndpointId,
    /// The network's name.
    #[schema(value_type = schema::Name)]
    pub network: NetworkName,
    /// Its IPv4 address; null on a network without IPv4.
    #[schema(value_type = Option<schema::Ipv4>)]
    pub ipv4: Option<Ipv4Addr>,
    /// Its IPv6 address; null on a network without IPv6.
    #[schema(value_type = Option<schema::Ipv6>)]
    pub ipv6: Option<Ipv6Addr>,
    /// The MAC address of the container's end; null where it has its parent's.
    #[schema(value_type = Option<schema::Mac>)]
    pub mac: Option<MacAddress>,
    /// The gateway of its IPv4 subnet; null if it has none.
    #[schema(value_type = Option<schema::Ipv4>)]
    pub gateway: Option<Ipv4Addr>,
    /// The gateway of its IPv6 subnet; null if it has none.
    #[schema(value_type = Option<schema::Ipv6>)]
    pub gateway6: Option<Ipv6Addr>,
    /// Names that DNS answers for besides the container's own.
    #[schema(value_type = Vec<schema::Name>)]
    pub aliases: Vec<ContainerName>,
    /// The interface's name inside the container.
    #[schema(value_type = String)]
    pub interface: IfName,
    /// How much the container's default route is to lead over it: the highest of its endpoints has it.
    pub gateway_priority: i32,
    /// The families whose default route in the container leads over it.
    #[schema(value_type = Vec<schema::Family>)]
    pub default_routes: Vec<Family>,
}

/// Asks for another process in a running container: `POST /v1/containers/{reference}/exec`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecCreate {
    /// The program and its arguments; the daemon refuses an empty list.
    #[serde(deserialize_with = "checked::arguments")]
    pub command: Vec<String>,
    /// Variables besides the container's, each `NAME=VALUE`.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub env: Vec<EnvironmentVariable>,
    /// An absolute path inside the container; the container's own if absent.
    #[serde(default, deserialize_with = "checked::optional_path")]
    #[schema(value_type = Option<String>)]
    pub working_directory: Option<PathBuf>,
    /// Whether the client will send standard input; otherwise it is empty.
    #[serde(default)]
    pub stdin: bool,
    /// The size of the terminal that its standard streams are; absent means that they are pipes.
    #[serde(default)]
    #[schema(value_type = Option<schema::TerminalSize>)]
    pub terminal: Option<TerminalSize>,
    /// `USER[:GROUP]` by name or number; the container's own if absent.
    #[serde(default)]
    pub user: Option<String>,
}

/// Which containers `GET /v1/containers` lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ContainersQuery {
    /// Also those that do not run.
    #[serde(default)]
    pub all: bool,
}

/// How `DELETE /v1/containers/{reference}` treats a running container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveQuery {
    /// Kill it first, instead of refusing.
    #[serde(default)]
    pub force: bool,
}

/// How long `POST /v1/containers/{reference}/stop` and `…/restart` wait between the stop signal and SIGKILL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartQuery {
    /// Only as far as the moment before its program, so that a client can attach before it writes anything.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub prepare: bool,
}

/// Asks for another name: `POST /v1/containers/{reference}/rename`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rename {
    /// The new name.
    #[schema(value_type = schema::Name)]
    pub name: ContainerName,
}

/// Asks for the removal of containers that have exited: `POST /v1/prune/containers`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ContainersPrune {
    /// Only these, of which those that run again stay; all if absent.
    #[serde(default)]
    #[schema(value_type = Option<Vec<schema::Identifier>>)]
    pub only: Option<Vec<ContainerId>>,
}

/// What `POST /v1/prune/containers` removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pruned {
    /// The containers' names.
    #[schema(value_type = Vec<schema::Name>)]
    pub removed: Vec<ContainerName>,
}

/// One process of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KillQuery {
    /// The signal; SIGKILL if absent.
    #[serde(default = "Signal::kill")]
    #[schema(value_type = String)]
    pub signal: Signal,
}

/// What `GET /v1/containers/{reference}/wait` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitQuery {
    /// The event; the exit if absent.
    #[serde(default)]
    pub until: Until,
}

/// An event in a container's life that can be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// Its first process has ended.
    #[default]
    Exited,
    /// It is gone, with everything that belonged to it.
    Removed,
}

/// How a container that was waited for ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Waited {
    /// The first process's exit code, or 128 and the number of the signal that ended it.
    pub exit_code: i32,
}
