//! What a container is given, and kept from, beside what every container is.

use serde::{Deserialize, Serialize};

use crate::{Bind, ByteSize, Capability, DroppedCapability, ProcessLimit, Processors, Sysctl, Tmpfs, Ulimit};

/// What differs from how containers are confined by default. The default changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Confinement {
    /// Whether its root file system cannot be written to.
    pub read_only: bool,
    /// Files and directories of the host that appear inside.
    pub binds: Vec<Bind>,
    /// File systems in memory.
    pub tmpfs: Vec<Tmpfs>,
    /// Capabilities it has besides the default ones.
    pub add_capabilities: Vec<Capability>,
    /// Default capabilities it does not have; adding one by name counts more.
    pub drop_capabilities: Vec<DroppedCapability>,
    /// The most memory it may use, without swap; none means no limit.
    pub memory: Option<ByteSize>,
    /// How many processors it may keep busy; none means all.
    pub processors: Option<Processors>,
    /// How many processes it may have.
    pub processes: ProcessLimit,
    /// Limits of each of its processes.
    pub ulimits: Vec<Ulimit>,
    /// Kernel parameters of its namespaces.
    pub sysctls: Vec<Sysctl>,
}
