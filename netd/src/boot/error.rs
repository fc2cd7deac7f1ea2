//! Why the daemon does not start.

use std::{io, net::SocketAddr, path::PathBuf};

use crate::{config::ConfigError, directories::DirectoryError, failure::Failure, record::RecordError};

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error(transparent)]
    Runtime(#[from] runtime::RuntimeError),
    #[error("cannot start threads")]
    Threads(#[source] io::Error),
    #[error(transparent)]
    Open(#[from] store::OpenError),
    #[error("cannot read the state file")]
    Read(#[from] store::StoreError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("the policies in the state file cannot be put in force")]
    Policies {
        #[source]
        source: Box<Failure>,
    },
    #[error("cannot read a lease")]
    Lease(#[from] ipam::IpamError),
    #[error("cannot work on this host's network")]
    Kernel(#[from] kernel::KernelError),
    #[error(transparent)]
    Image(#[from] image::ImageError),
    #[error("NOTIFY_SOCKET names no socket of a service manager")]
    Notify(#[source] io::Error),
    #[error("cannot open {} for crash tests", .0)]
    Steps(&'static str, #[source] io::Error),
    #[error("cannot serve metrics on {address}")]
    Metrics {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("cannot serve the API on {}", .path.display())]
    Socket {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl StartError {
    /// What the daemon ends with: 2 where it was told something that makes no sense, so that to try again is of no use.
    pub(crate) fn exit_code(&self) -> u8 {
        if matches!(self, Self::Config(ConfigError::Parse { .. })) { 2 } else { 1 }
    }

    /// What to do about it, where that is not said already.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Directory(DirectoryError::Prepare { source, .. })
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                Some("netd must be run by root")
            }
            Self::Directory(DirectoryError::Prepare { source, .. })
                if source.kind() == io::ErrorKind::ReadOnlyFilesystem =>
            {
                Some("make its file system writable, or give netd another --data-dir or --run-dir")
            }
            Self::Directory(DirectoryError::Prepare { source, .. }) if source.kind() == io::ErrorKind::StorageFull => {
                Some("free space on its file system, or give netd another --data-dir or --run-dir")
            }
            Self::Kernel(kernel::KernelError::Claimed { .. }) => Some(
                "one netd serves a network namespace: stop that one, whose containers go on, or start this one in a \
                 namespace of its own",
            ),
            Self::Open(error) => Some(error.hint()),
            Self::Read(error) => Some(error.hint()),
            Self::Record(_) | Self::Lease(_) | Self::Policies { .. } => {
                Some("was it written by a newer netd? nothing of it was changed")
            }
            Self::Socket { source, .. } if source.kind() == io::ErrorKind::InvalidInput => {
                Some("the path of a socket is at most 107 octets long: choose a shorter --run-dir")
            }
            Self::Metrics { .. } => Some("`metrics_listen` in the configuration must be a free address of this host"),
            _ => None,
        }
    }
}
