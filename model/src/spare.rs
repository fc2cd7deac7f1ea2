//! What waits for a container to come.

use crate::{EndpointId, IfName, NamespaceName};

/// A namespace that waits for its container with a veth pair in it, down and in no bridge. The first endpoint of a
/// container that gets both has its identifier from the pair, and so finds its interface there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spare {
    /// The namespace.
    pub namespace: NamespaceName,
    /// The identifier of the endpoint to come.
    pub endpoint: EndpointId,
}

impl Spare {
    /// The name of the pair's end in the namespace, which is that of any container's first interface for which no other
    /// is chosen.
    pub fn interface() -> IfName {
        "eth0".parse().expect("three letters and a digit name an interface")
    }
}
