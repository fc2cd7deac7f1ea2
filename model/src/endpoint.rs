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
    /// The MAC address of the container's end; none where it has its parent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddress>,
    /// Names that DNS answers for besides the container's own.
    pub aliases: Vec<ContainerName>,
    /// The interface's name inside the container.
    pub interface: IfName,
    /// How much the container's default route is to lead over it: the highest of its endpoints has it.
    #[serde(default)]
    pub gateway_priority: i32,
}

impl EndpointId {
    /// The name of the endpoint's interface in the host's namespace: `fe-` and 12 digits of the identifier.
    pub fn host_interface(&self) -> IfName {
        format!("fe-{}", self.short()).parse().expect("`fe-` and 12 hexadecimal digits are 15 graphic characters")
    }

    /// A locally administered MAC address that is an endpoint's own: made of its identifier.
    pub fn mac(&self) -> MacAddress {
        MacAddress::of_identifier(self.as_str())
    }
}

impl Endpoint {
    /// The addresses it leases, IPv4 first.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        self.ipv4.map(IpAddr::from).into_iter().chain(self.ipv6.map(IpAddr::from))
    }

    /// Whether its MAC address is the one that belongs to its first address ([`MacAddress::of`]).
    pub fn is_where_its_address_says(&self) -> bool {
        self.addresses().next().is_some_and(|address| Some(MacAddress::of(address)) == self.mac)
    }

    /// Whether it leases this address.
    pub fn holds(&self, address: IpAddr) -> bool {
        self.addresses().any(|own| own == address)
    }

    /// The firewall elements that say what its container may send as, and what it is asked for: its MAC address with
    /// its addresses and, where it has IPv6, with the link-local one that its interface gives itself.
    pub fn sources(&self) -> impl Iterator<Item = Element> + use<> {
        let of_mac = |mac: MacAddress| {
            let port = self.host_interface();
            let link_local = self.ipv6.map(|_| IpAddr::from(mac.link_local()));
            let sender = Element::Sender { port: port.clone(), mac };
            let of_address = move |address| {
                [Element::Source { port: port.clone(), mac, address }, Element::Holder { port: port.clone(), address }]
            };
            [sender].into_iter().chain(self.addresses().chain(link_local).flat_map(of_address))
        };
        self.mac.map(of_mac).into_iter().flatten()
    }

    /// The interface's name in the host's namespace ([`EndpointId::host_interface`]).
    pub fn host_interface(&self) -> IfName {
        self.id.host_interface()
    }
}
