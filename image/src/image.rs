//! An image as the rest of the daemon sees it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use jiff::Timestamp;
use model::{ContainerPort, Digest, EnvironmentVariable, ImageName};

/// One complete image of the store: every layer is unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The name it was found by, always with its tag; by digest, the name it was last imported as.
    pub name: ImageName,
    /// SHA-256 of its manifest.
    pub digest: Digest,
    /// How its containers start.
    pub config: ImageConfig,
    /// Octets of the files in all its layers, shared ones included.
    pub size: u64,
    /// When it was built, where its configuration says so.
    pub created_at: Option<Timestamp>,
    /// When it was imported under this name.
    pub imported_at: Timestamp,
    /// Unpacked layers, topmost first.
    pub(crate) layers: Vec<PathBuf>,
}

/// How containers of an image start (OCI image specification, config).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// What stands before the command.
    pub entrypoint: Vec<String>,
    /// What runs where a container names no command.
    pub cmd: Vec<String>,
    /// In the image's order. What is not NAME=VALUE is left out.
    pub environment: Vec<EnvironmentVariable>,
    /// Absolute, within the image; none means `/`.
    pub working_directory: Option<PathBuf>,
    /// `user`, `uid`, `user:group` and so on; none means root.
    pub user: Option<String>,
    /// What the image's author says it listens on; nothing is opened because of it. Ports of protocols that cannot be
    /// published are left out.
    pub exposed_ports: BTreeSet<ContainerPort>,
    /// The image author's labels.
    pub labels: BTreeMap<String, String>,
    /// Name or number of the signal that asks it to stop; none means SIGTERM.
    pub stop_signal: Option<String>,
}
