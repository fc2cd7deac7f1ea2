//! An endpoint: one attachment of one container to one network.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::{ContainerName, EndpointId, IfName, MacAddress, NetworkId};

/// One attachment of one container to one network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Drawn at creation, never reused.
    pub id: EndpointId,
    /// The network it is attached to.
    pub network: NetworkId,
    /// The address it leases from the network's subnet.
    pub ipv4: Ipv4Addr,
    /// The MAC address of the container's end.
    pub mac: MacAddress,
    /// Names that DNS answers for besides the container's own.
    pub aliases: Vec<ContainerName>,
    /// The interface's name inside the container.
    pub interface: IfName,
}

impl Endpoint {
    /// The interface's name in the host's namespace: `fe-` and 12 digits of the endpoint's identifier.
    pub fn host_interface(&self) -> IfName {
        format!("fe-{}", self.id.short()).parse().expect("`fe-` and 12 hexadecimal digits are 15 graphic characters")
    }
}
