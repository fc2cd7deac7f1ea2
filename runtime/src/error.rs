//! Why something could not be done to a container.

use std::{fmt, io, path::PathBuf};

use model::{ByteSize, ContainerId, causes};
use serde::{Deserialize, Serialize};

/// Why the runtime could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The zygote could not be made; the daemon cannot run containers.
    #[error("cannot start the container zygote: {step} failed")]
    Zygote {
        /// The system call or step.
        step: &'static str,
        /// What it returned.
        #[source]
        source: io::Error,
    },
    /// The zygote does not take orders any more.
    #[error("container {id}: the container zygote is gone; restart netd to create containers again")]
    ZygoteGone {
        /// The container that was to be created.
        id: ContainerId,
        /// What the socket returned.
        #[source]
        source: io::Error,
    },
    /// A shim ended, or closed the connection, before it answered.
    #[error("container {id}: its shim ended while it was asked to {step}")]
    ShimGone {
        /// The container.
        id: ContainerId,
        /// What it was asked to do.
        step: &'static str,
    },
    /// A shim ended because the container's memory limit left too little for making it.
    #[error("container {id}: its memory, {limit}, was used up before its program could be executed")]
    OutOfMemory {
        /// The container.
        id: ContainerId,
        /// How much it has.
        limit: ByteSize,
    },
    /// A shim exists and did not answer in time: it is stopped, or the machine is overloaded. What it was asked to do,
    /// it may still do when it goes on; [`crate::Runtime::delete`] kills it.
    #[error("container {id}: its shim did not answer when it was asked to {step}")]
    ShimSilent {
        /// The container.
        id: ContainerId,
        /// What it was asked to do.
        step: &'static str,
    },
    /// The container is not known, or has ended.
    #[error("container {id} is not running")]
    NotRunning {
        /// The container.
        id: ContainerId,
    },
    /// The container runs, and somebody removed what leads to its shim: there is nobody to ask. It can be sent signals,
    /// and be removed.
    #[error("container {id} runs, and {}, by which it is spoken to, is gone", .path.display())]
    Unreachable {
        /// The container.
        id: ContainerId,
        /// The shim's socket.
        path: PathBuf,
    },
    /// The shim could not be talked to.
    #[error("container {id}: cannot ask its shim to {step}")]
    Shim {
        /// The container.
        id: ContainerId,
        /// What it was to be asked.
        step: &'static str,
        /// What the socket returned.
        #[source]
        source: io::Error,
    },
    /// The shim tried and failed.
    #[error("container {id}: cannot {}", .failure.step)]
    Container {
        /// The container.
        id: ContainerId,
        /// What failed and how that counts.
        failure: Failure,
        /// Why, outermost first.
        #[source]
        source: Option<Cause>,
    },
    /// A file or directory of the runtime could not be used.
    #[error("cannot {step} {}", .path.display())]
    Path {
        /// What was tried.
        step: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system call returned.
        #[source]
        source: io::Error,
    },
}

impl RuntimeError {
    /// The exit code container tools give for this: 127 program not found, 126 not executable, 125 everything else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Container { failure, .. } => failure.kind.exit_code(),
            _ => 125,
        }
    }

    /// Whether it is [`RuntimeError::Unreachable`].
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// Whether it is [`RuntimeError::OutOfMemory`].
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self, Self::OutOfMemory { .. })
    }

    pub(crate) fn container(id: &ContainerId, failure: Failure) -> Self {
        match failure.kind {
            FailureKind::NotRunning => Self::NotRunning { id: id.clone() },
            _ => Self::Container { id: id.clone(), source: Cause::chain(&failure.causes), failure },
        }
    }

    pub(crate) fn path(step: &'static str, path: impl Into<PathBuf>, source: impl Into<io::Error>) -> Self {
        Self::Path { step, path: path.into(), source: source.into() }
    }
}

/// What a shim could not do, as it crosses a socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of failure it is.
    pub kind: FailureKind,
    /// What could not be done, in words that follow "cannot".
    pub step: String,
    /// Why, outermost first.
    pub causes: Vec<String>,
}

/// The kinds of failure that a caller tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The program does not exist in the container.
    ProgramNotFound,
    /// The program exists and cannot be executed.
    ProgramNotExecutable,
    /// The user or group does not exist in the container.
    UnknownUser,
    /// The container is not in a state in which this can be done.
    NotRunning,
    /// Anything else.
    Other,
}

impl FailureKind {
    /// The exit code container tools give for this.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::ProgramNotFound => 127,
            Self::ProgramNotExecutable => 126,
            Self::UnknownUser | Self::NotRunning | Self::Other => 125,
        }
    }
}

impl Failure {
    pub(crate) fn new(step: impl Into<String>, error: &(dyn std::error::Error + 'static)) -> Self {
        let causes = std::iter::once(error).chain(causes(error)).map(ToString::to_string);
        // libcontainer repeats a cause's text in some of its own messages.
        let mut distinct: Vec<String> = Vec::new();
        for cause in causes {
            if distinct.last().is_none_or(|last| !last.ends_with(&cause)) {
                distinct.push(cause);
            }
        }
        Self { kind: FailureKind::Other, step: step.into(), causes: distinct }
    }

    pub(crate) fn message(kind: FailureKind, step: impl Into<String>, cause: impl Into<String>) -> Self {
        Self { kind, step: step.into(), causes: vec![cause.into()] }
    }

    /// The failure of a system call at a step.
    pub(crate) fn at<E: Into<io::Error>>(step: impl Into<String>) -> impl FnOnce(E) -> Self {
        move |error| Self::new(step, &error.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}", self.step)?;
        self.causes.iter().try_for_each(|cause| write!(f, ": {cause}"))
    }
}

/// One cause of an error that happened in another process, and its own cause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Cause {
    text: String,
    #[source]
    source: Option<Box<Cause>>,
}

impl Cause {
    fn chain(texts: &[String]) -> Option<Self> {
        let (first, rest) = texts.split_first()?;
        Some(Self { text: first.clone(), source: Self::chain(rest).map(Box::new) })
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn causes_cross_as_text_and_come_back_as_a_chain() {
        let failure = Failure {
            kind: FailureKind::ProgramNotFound,
            step: "start it".into(),
            causes: vec!["outer".into(), "inner".into()],
        };
        let error = RuntimeError::container(&ContainerId::from_bytes([1; 16]), failure);
        assert_eq!(error.exit_code(), 127);
        assert_eq!(error.to_string(), format!("container {}: cannot start it", "01".repeat(16)));
        let outer = error.source().expect("has a cause");
        assert_eq!(outer.to_string(), "outer");
        assert_eq!(outer.source().expect("has a cause").to_string(), "inner");
    }

    #[test]
    fn a_cause_that_repeats_is_told_once() {
        let inner = io::Error::other("disk on fire");
        let outer = RuntimeError::path("read", "/x", inner);
        assert_eq!(Failure::new("s", &outer).causes, ["cannot read /x", "disk on fire"]);
    }
}
