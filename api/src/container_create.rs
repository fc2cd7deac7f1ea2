//! What is asked of a new container.

mod check;
mod error;

use std::path::PathBuf;

use model::{
    Confinement, ContainerName, EnvironmentVariable, ExposedPort, Hostname, ImageName, Labels, LogLimits,
    PublishRequest, ResolverSettings, RestartPolicy,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use error::{ContainerCreateError, Elsewhere, OwnThing};

use crate::{EndpointCreate, NetworkMode, Signal, checked, schema};

/// Asks for a container: `POST /v1/containers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ContainerCreate {
    /// Its name; drawn by the daemon if absent.
    #[serde(default)]
    #[schema(value_type = Option<schema::Name>)]
    pub name: Option<ContainerName>,
    /// An image of the local content store.
    #[schema(value_type = String)]
    pub image: ImageName,
    /// The networks to attach it to, each once; none means no endpoint, only the loopback interface.
    #[serde(default)]
    pub networks: Vec<EndpointCreate>,
    /// Whose network namespace it lives in; its own if absent.
    #[serde(default)]
    #[schema(value_type = String)]
    pub network_mode: NetworkMode,
    /// Arguments in place of the image's command; empty keeps the image's.
    #[serde(default, deserialize_with = "checked::arguments")]
    pub command: Vec<String>,
    /// The program in place of the image's entry point; absent keeps the image's, empty clears it.
    #[serde(default, deserialize_with = "checked::optional_arguments")]
    pub entrypoint: Option<Vec<String>>,
    /// The host name its processes see; its name if absent.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub hostname: Option<Hostname>,
    /// Host ports that lead to it, each `[HOST_ADDRESS:][HOST_PORTS:]CONTAINER_PORTS[/PROTOCOL]`, where ports are
    /// `PORT` or `PORT-PORT`. Host ports that are not named are chosen by the daemon.
    #[serde(default, with = "checked::text_list")]
    #[schema(value_type = Vec<String>)]
    pub publish: Vec<PublishRequest>,
    /// What it listens on besides what its image says, each `[NAME=]PORT[/PROTOCOL]`; policies may say the name, which
    /// is given once.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub expose: Vec<ExposedPort>,
    /// Whether every port that the image or `expose` names is published as well, at host ports that the daemon chooses.
    #[serde(default)]
    pub publish_all: bool,
    /// What its own resolver is told besides what its network and its host have.
    #[serde(default)]
    #[schema(value_type = schema::ResolverSettings)]
    pub resolver: ResolverSettings,
    /// Variables besides the image's, each `NAME=VALUE`; the last of one name counts.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub env: Vec<EnvironmentVariable>,
    /// What to attach to it, for people.
    #[serde(default, deserialize_with = "checked::labels")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub labels: Labels,
    /// An absolute path inside the container; the image's if absent.
    #[serde(default, deserialize_with = "checked::optional_path")]
    #[schema(value_type = Option<String>)]
    pub working_directory: Option<PathBuf>,
    /// Whether its standard input stays open for a client to write to.
    #[serde(default)]
    pub open_stdin: bool,
    /// Whether its standard streams are a terminal.
    #[serde(default)]
    pub terminal: bool,
    /// Whether its program has an init for a parent, which passes signals on and reaps orphans; not together with the
    /// capability SYS_PTRACE.
    #[serde(default)]
    pub init: bool,
    /// How much of its log is kept.
    #[serde(default)]
    #[schema(value_type = schema::LogLimits)]
    pub log: LogLimits,
    /// Whether it is removed as soon as it has exited.
    #[serde(default)]
    pub auto_remove: bool,
    /// Whether its client starts it at once and waits for its end: then nothing is left of one with `auto_remove` that
    /// was not started before the daemon ended.
    #[serde(default)]
    pub attended: bool,
    /// Whether it is started as well; if that fails, nothing of it is left. Otherwise it waits for its start, so that
    /// a client can attach before its program writes anything.
    #[serde(default)]
    pub start: bool,
    /// `USER[:GROUP]` by name or number; the image's if absent.
    #[serde(default)]
    pub user: Option<String>,
    /// Whether it is started again when it has ended: `no`, `on-failure`, `on-failure:COUNT`, `always` or
    /// `unless-stopped`.
    #[serde(default)]
    #[schema(value_type = String)]
    pub restart_policy: RestartPolicy,
    /// What asks it to stop; the image's, or SIGTERM, if absent.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub stop_signal: Option<Signal>,
    /// Seconds until SIGKILL; [`StopQuery::DEFAULT_TIMEOUT_SECONDS`](crate::StopQuery::DEFAULT_TIMEOUT_SECONDS) if
    /// absent.
    #[serde(default)]
    pub stop_timeout_seconds: Option<u32>,
    /// What it is given and kept from.
    #[serde(default)]
    #[schema(value_type = schema::Confinement)]
    pub confinement: Confinement,
}

impl ContainerCreate {
    /// A container of `image` with everything else as the image and the daemon have it.
    pub fn new(image: ImageName) -> Self {
        Self {
            name: None,
            image,
            networks: Vec::new(),
            network_mode: NetworkMode::default(),
            command: Vec::new(),
            entrypoint: None,
            hostname: None,
            publish: Vec::new(),
            resolver: ResolverSettings::default(),
            publish_all: false,
            expose: Vec::new(),
            env: Vec::new(),
            labels: Labels::new(),
            working_directory: None,
            open_stdin: false,
            terminal: false,
            init: false,
            log: LogLimits::default(),
            auto_remove: false,
            attended: false,
            start: false,
            user: None,
            restart_policy: RestartPolicy::No,
            stop_signal: None,
            stop_timeout_seconds: None,
            confinement: Confinement::default(),
        }
    }
}
