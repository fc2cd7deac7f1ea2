//! Why a call failed.

use std::{
    error::Error,
    io::{self, ErrorKind},
    path::PathBuf,
};

use model::causes;

use crate::Problem;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody can be reached at the socket.
    #[error("cannot connect to netd at {}", .socket.display())]
    Connect {
        /// Where the daemon was expected.
        socket: PathBuf,
        /// Why it cannot be reached.
        #[source]
        source: io::Error,
    },
    /// The daemon refused, or failed.
    #[error("{problem}")]
    Problem {
        /// The HTTP status.
        status: u16,
        /// What it said.
        problem: Problem,
    },
    /// The daemon, or what answers in its place, refused without saying why.
    #[error("netd answered {request} with status {status} and no explanation")]
    Refused {
        /// Method and path.
        request: String,
        /// The HTTP status.
        status: u16,
    },
    /// The daemon ended, or was stopped, before it had answered.
    #[error("netd ended before it had answered")]
    Ended,
    /// The connection broke before the answer.
    #[error("the connection to netd broke during {request}")]
    Exchange {
        /// Method and path.
        request: String,
        /// What broke.
        #[source]
        source: hyper::Error,
    },
    /// The connection broke during the answer, or the answer has no end.
    #[error("the answer of netd to {request} cannot be read")]
    Unreadable {
        /// Method and path.
        request: String,
        /// What broke.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The answer is not what this API says.
    #[error("the answer of netd to {request} is not understood")]
    Answer {
        /// Method and path.
        request: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The answer should have been a stream of frames.
    #[error("netd answered {request} with status {status} instead of a stream")]
    NotUpgraded {
        /// Method and path.
        request: String,
        /// The HTTP status.
        status: u16,
    },
}

impl ClientError {
    /// What it means that the exchange of `request` broke off.
    pub(super) fn broken(request: &str, source: hyper::Error) -> Self {
        if source.is_parse() || source.is_parse_status() || source.is_user() || source.is_body_write_aborted() {
            Self::Exchange { request: request.to_owned(), source }
        } else {
            Self::Ended
        }
    }

    /// What it means that an answer to `request` broke off.
    pub(super) fn unreadable(request: &str, source: Box<dyn Error + Send + Sync>) -> Self {
        match source.downcast::<hyper::Error>() {
            Ok(source) => Self::broken(request, *source),
            Err(source) => Self::Unreadable { request: request.to_owned(), source },
        }
    }

    /// Why it failed, from the nearest cause to the farthest, wherever the causes were known.
    pub fn causes(&self) -> Vec<String> {
        match self {
            Self::Problem { problem, .. } => problem.causes.clone(),
            other => causes(other).map(ToString::to_string).collect(),
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Connect { source, .. } => Some(
                match source.kind() {
                    ErrorKind::PermissionDenied => {
                        who_may(&std::fs::read_to_string("/etc/group").unwrap_or_default())
                    }
                    _ => "start netd, or say where it listens with --socket or FABRIC_SOCKET",
                }
                .to_owned(),
            ),
            Self::Problem { problem, .. } => problem.hint.clone(),
            Self::Answer { .. } | Self::NotUpgraded { .. } | Self::Refused { .. } => {
                Some("check that fabric and netd are of one version: fabric version".to_owned())
            }
            Self::Ended => Some(
                "containers go on without it; what was asked for may have been done: once it runs again, `fabric ps -a`"
                    .to_owned(),
            ),
            Self::Exchange { .. } | Self::Unreadable { .. } => None,
        }
    }

    /// The HTTP status, if the daemon answered.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Problem { status, .. } | Self::Refused { status, .. } | Self::NotUpgraded { status, .. } => {
                Some(*status)
            }
            _ => None,
        }
    }

    /// What `fabric run` and `fabric exec` are to exit with, if the daemon said so.
    pub fn exit_code(&self) -> Option<u8> {
        match self {
            Self::Problem { problem, .. } => problem.exit_code,
            _ => None,
        }
    }
}

/// Who may use the socket on a host with these groups, which are lines of group(5).
fn who_may(groups: &str) -> &'static str {
    match groups.lines().any(|group| group.starts_with("fabric:")) {
        true => "run it as root, or as a member of the group that owns the socket: usermod -aG fabric USER",
        false => "run it as root; this host has no group for it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_group_that_is_there_is_named() {
        assert!(who_may("root:x:0:\nfabric:x:900:\n").contains("usermod -aG fabric USER"));
        assert!(!who_may("root:x:0:\nfabricators:x:900:\n").contains("fabric"));
    }
}
