//! A container: a process tree run from an image, with zero or more endpoints.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
    str::FromStr,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Confinement, ContainerId, ContainerName, ContainerPort, Digest, Endpoint, Hostname, ImageName, Labels, LogLimits,
    NetworkMode, PortName, Publish, ResolverSettings, RestartPolicy, Signal,
};

/// A container as it was asked for and completed; what its processes do is [`ContainerState`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Drawn at creation, never reused.
    pub id: ContainerId,
    /// Unique on the host.
    pub name: ContainerName,
    /// The image's name when the container was created.
    pub image: ImageName,
    /// The image's manifest, which the name may have left since.
    pub image_digest: Digest,
    /// The host name its processes see.
    pub hostname: Hostname,
    /// What it runs.
    pub command: Command,
    /// Whether its standard input stays open for a client to write to.
    pub open_stdin: bool,
    /// Whether its standard streams are a terminal.
    #[serde(default)]
    pub terminal: bool,
    /// Whether its program has an init for a parent.
    #[serde(default)]
    pub init: bool,
    /// How much of its log is kept.
    #[serde(default)]
    pub log: LogLimits,
    /// Whether it is removed as soon as it has exited.
    pub auto_remove: bool,
    /// Whether it is started again when it has ended.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// How it is asked to end.
    #[serde(default)]
    pub stop: StopPolicy,
    /// What it is given and kept from.
    #[serde(default)]
    pub confinement: Confinement,
    /// What a person attached to it.
    pub labels: Labels,
    /// When it was created.
    pub created_at: Timestamp,
    /// The network namespace it lives in.
    #[serde(flatten)]
    pub mode: NetworkMode,
    /// Its attachments, in the order in which they were asked for; see [`default_route`](crate::default_route).
    pub endpoints: Vec<Endpoint>,
    /// Host ports that lead to the endpoint with the default route.
    pub publishes: Vec<Publish>,
    /// What it is known to listen on, besides what is published: of the image, and what was said of it.
    #[serde(default)]
    pub exposed: BTreeSet<ContainerPort>,
    /// What those of them are called that have names, for policies.
    #[serde(default)]
    pub port_names: BTreeMap<PortName, ContainerPort>,
    /// What its own resolver is told.
    #[serde(default)]
    pub resolver: ResolverSettings,
}

/// What a container or an `exec` runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The program and its arguments; never empty.
    pub arguments: Vec<String>,
    /// The whole environment.
    pub environment: Vec<EnvironmentVariable>,
    /// An absolute path inside the container.
    pub working_directory: PathBuf,
    /// `USER[:GROUP]` by name or number, as the image says it; none means root.
    pub user: Option<String>,
}

/// How a container is asked to end, where a request does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopPolicy {
    /// What its first process is sent.
    pub signal: Signal,
    /// Seconds until it is sent SIGKILL.
    pub timeout_seconds: u32,
}

impl StopPolicy {
    /// Seconds until SIGKILL where nobody says otherwise.
    pub const DEFAULT_TIMEOUT_SECONDS: u32 = 10;
}

impl Default for StopPolicy {
    fn default() -> Self {
        Self { signal: Signal::terminate(), timeout_seconds: Self::DEFAULT_TIMEOUT_SECONDS }
    }
}

/// What a container's processes do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ContainerState {
    /// Intended, not yet started.
    Created,
    /// Its first process runs.
    Running {
        /// Process identifier of the first process in the host's PID namespace.
        pid: i32,
        /// When it was started.
        started_at: Timestamp,
    },
    /// Its first process has ended.
    Exited {
        /// The process's exit code, or 128 and the number of the signal that ended it.
        exit_code: i32,
        /// When it ended.
        finished_at: Timestamp,
    },
}

impl ContainerState {
    /// One word for tables and filters.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running { .. } => "running",
            Self::Exited { .. } => "exited",
        }
    }
}

/// One variable of an environment, `NAME=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EnvironmentVariable {
    name: String,
    value: String,
}

/// Why a text is not an environment variable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseEnvironmentError {
    /// It has no name, no `=`, or a NUL, which ends a variable for whoever reads it.
    #[error("`{}` is not an environment variable: expected NAME=VALUE without NUL", .0.escape_debug())]
    Shape(String),
    /// Its name would be more than one line, or something else, wherever an environment is written out.
    #[error("`{}` is not an environment variable: its name has the control character `{}`",
        .0.escape_debug(), .1.escape_debug())]
    Name(String, char),
}

impl EnvironmentVariable {
    /// What stands before the first `=`; never empty, and without control characters.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What stands behind it.
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl FromStr for EnvironmentVariable {
    type Err = ParseEnvironmentError;

    fn from_str(text: &str) -> Result<Self, ParseEnvironmentError> {
        let shown = || text.chars().take(80).collect();
        let is_whole = |(name, _): &(&str, &str)| !name.is_empty() && !text.contains('\0');
        let Some((name, value)) = text.split_once('=').filter(is_whole) else {
            return Err(ParseEnvironmentError::Shape(shown()));
        };
        match name.chars().find(|character| character.is_control()) {
            Some(control) => Err(ParseEnvironmentError::Name(shown(), control)),
            None => Ok(Self { name: name.to_owned(), value: value.to_owned() }),
        }
    }
}

impl TryFrom<String> for EnvironmentVariable {
    type Error = ParseEnvironmentError;

    fn try_from(text: String) -> Result<Self, ParseEnvironmentError> {
        text.parse()
    }
}

impl From<EnvironmentVariable> for String {
    fn from(variable: EnvironmentVariable) -> String {
        variable.to_string()
    }
}

impl fmt::Display for EnvironmentVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_variable_is_one_word_to_whoever_reads_it() {
        for text in ["A=", "A=b", "A=b=c", "A=line\nline\t\u{1b}[0m", "a b=c", "é=ü", "A.B-c[0]=d"] {
            assert_eq!(text.parse::<EnvironmentVariable>().map(|it| it.to_string()).as_deref(), Ok(text));
        }
        for (text, expected) in [
            ("A", "`A` is not an environment variable: expected NAME=VALUE without NUL"),
            ("=b", "`=b` is not an environment variable: expected NAME=VALUE without NUL"),
            ("A\0=b", "`A\\0=b` is not an environment variable: expected NAME=VALUE without NUL"),
            ("A=b\0", "`A=b\\0` is not an environment variable: expected NAME=VALUE without NUL"),
            ("A\nB=c", "`A\\nB=c` is not an environment variable: its name has the control character `\\n`"),
            ("A\r=c", "`A\\r=c` is not an environment variable: its name has the control character `\\r`"),
            (
                "\u{1b}[31mA=c",
                "`\\u{1b}[31mA=c` is not an environment variable: its name has the control character `\\u{1b}`",
            ),
            ("A\u{9b}=c", "`A\\u{9b}=c` is not an environment variable: its name has the control character `\\u{9b}`"),
        ] {
            let error = text.parse::<EnvironmentVariable>().expect_err("it is none");
            assert_eq!(error.to_string(), expected);
        }
    }
}
