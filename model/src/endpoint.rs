//! An endpoint: one attachment of one container to one network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::{ContainerName, Element, EndpointId, IfName, MacAddress, NetworkId};

/// One attachment of one container to one network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Drawn at creation, never reused.
    pub id: EndpointId,
    /// The network it is attached to.
    pub network: NetworkId,
    /// The address it leases from the network's IPv4 subnets; none on a network without.
    pub ipv4: Option<Ipv4Addr>,
    /// The address it leases from the network's IPv6 subnets; none on a network without.
    pub ipv6: Option<Ipv6Addr>,
    /// The MAC address of the container's end.
    pub mac: MacAddress,
    /// Names that DNS answers for besides the container's own.
    pub aliases: Vec<ContainerName>,
    /// The interface's name inside the container.
    pub interface: IfName,
    /// How much the container's default route is to lead over it: the highest of its endpoints has it.
    #[serde(default)]
    pub gateway_priority: i32,
}

impl Endpoint {
    /// The addresses it leases, IPv4 first.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        self.ipv4.map(IpAddr::from).into_iter().chain(self.ipv6.map(IpAddr::from))
    }

    /// Whether it leases this address.
    pub fn holds(&self, address: IpAddr) -> bool {
        self.addresses().any(|own| own == address)
    }

    /// The firewall elements that say what its container may send as: its MAC address with its addresses and, where it
    /// has IPv6, with the link-local one that its interface gives itself.
    pub fn sources(&self) -> impl Iterator<Item = Element> + use<> {
        let (port, mac) = (self.host_interface(), self.mac);
        let link_local = self.ipv6.map(|_| IpAddr::from(mac.link_local()));
        let sender = Element::Sender { port: port.clone(), mac };
        let source = move |address| Element::Source { port: port.clone(), mac, address };
        [sender].into_iter().chain(self.addresses().chain(link_local).map(source))
    }

    /// The interface's name in the host's namespace: `fe-` and 12 digits of the endpoint's identifier.
    pub fn host_interface(&self) -> IfName {
        format!("fe-{}", self.id.short()).parse().expect("`fe-` and 12 hexadecimal digits are 15 graphic characters")
    }
}
