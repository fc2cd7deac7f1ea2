//! The part of a host's kernel that Fabric owns, as it should be or as it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;

use crate::{Element, EndpointId, Family, IfName, MacAddress, NamespaceName, NetworkId, Scope, Structure};

/// What Fabric owns in a host's kernel. The same type says how it should be and how it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Whether the host forwards IPv4.
    pub forwarding: Forwarding,
    /// Whether the host forwards IPv6.
    pub forwarding6: Forwarding,
    /// Whether the rules of `table inet fabric` stand.
    pub structure: Structure,
    /// What its sets and maps hold.
    pub elements: BTreeSet<Element>,
    /// Pinned network namespaces.
    pub namespaces: BTreeMap<NamespaceName, Namespace>,
    /// Bridges, one for each network.
    pub bridges: BTreeMap<IfName, Bridge>,
    /// Veth pairs by the name of their host's end, one for each endpoint.
    pub veths: BTreeMap<IfName, Veth>,
}

/// What a look at the kernel found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// What Fabric owns, as far as the scope reaches.
    pub state: State,
    /// Firewall elements beyond the scope; looked up only when the structure is not current, because replacing the
    /// table would lose them.
    pub elements_beyond: BTreeSet<Element>,
}

/// Whether a host forwards packets of a family (`net.ipv4.ip_forward`, `net.ipv6.conf.all.forwarding`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forwarding {
    /// It does not; as a wish: it need not.
    Off,
    /// It does, by its owner's will.
    On,
    /// It does because Fabric turned it on, so Fabric guards what else might now be forwarded.
    TurnedOn,
}

/// How far a namespace has been prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// A file of its name that pins nothing.
    Unpinned,
    /// Pinned, but its loopback is down or a setting is wrong.
    Unprepared,
    /// Pinned, loopback up, IPv6 off unless an interface has it, unprivileged ports and ping allowed.
    Ready,
}

/// Whether an interface was told to be up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admin {
    /// It was.
    Up,
    /// It was not.
    Down,
}

/// A setting that is on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

/// Whether an interface speaks IPv6 (`net.ipv6.conf.IF.disable_ipv6` and `accept_ra`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ipv6 {
    /// It does not.
    Off,
    /// It does, and believes whoever says that he is a router: what the kernel makes of a new interface.
    Credulous,
    /// It does, with the addresses and routes that it is given.
    On,
}

/// A network's bridge in the host's namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// Text for people who look at the interface, `fabric:network:ID`.
    pub alias: String,
    /// Its address, the gateway's.
    pub mac: MacAddress,
    /// Maximum transmission unit in octets.
    pub mtu: u32,
    /// Whether it was told to be up.
    pub admin: Admin,
    /// Addresses that Fabric put on it, or should.
    pub addresses: BTreeSet<IpNet>,
    /// Whether it speaks IPv6.
    pub ipv6: Ipv6,
    /// Whether 127.0.0.0/8 may be routed over it (`net.ipv4.conf.IF.route_localnet`); ports published to the host's
    /// loopback need it.
    pub loopback_routing: Switch,
}

/// A veth pair: one end is a port of a bridge, the other a container's interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Veth {
    /// Text for people who look at the interface, `fabric:endpoint:ID`.
    pub alias: String,
    /// The bridge the host's end is a port of.
    pub bridge: Option<IfName>,
    /// Whether the bridge may send a frame back out of the port it came in by (`IFLA_BRPORT_MODE`). A container needs it
    /// to reach a port of its own that the host publishes: where bridges call iptables
    /// (`net.bridge.bridge-nf-call-iptables`) its packets do not come up to the host, but are translated on the bridge.
    /// The price is that the container's broadcasts come back to it.
    pub hairpin: Switch,
    /// The only MAC address that the bridge seeks behind this port. It learns none from the port's frames, and sends
    /// nothing into it that is for an address it does not know. None if any of this is otherwise.
    pub fixed: Option<MacAddress>,
    /// Maximum transmission unit of the host's end in octets.
    pub mtu: u32,
    /// Whether the host's end was told to be up.
    pub admin: Admin,
    /// The container's end; none if it is in no namespace of Fabric.
    pub inside: Option<Inside>,
}

/// A veth pair's end in a container's namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inside {
    /// The namespace it is in.
    pub namespace: NamespaceName,
    /// Its name there.
    pub interface: IfName,
    /// Its MAC address.
    pub mac: MacAddress,
    /// Maximum transmission unit in octets.
    pub mtu: u32,
    /// Whether it was told to be up.
    pub admin: Admin,
    /// Whether it speaks IPv6; if it does, the namespace's loopback interface does, too.
    pub ipv6: Ipv6,
    /// Addresses that Fabric put on it, or should.
    pub addresses: BTreeSet<IpNet>,
    /// The gateway of the namespace's IPv4 default route over this interface.
    pub gateway: Option<Ipv4Addr>,
    /// The gateway of the namespace's IPv6 default route over this interface.
    pub gateway6: Option<Ipv6Addr>,
}

impl Inside {
    /// The gateways of default routes over this interface.
    pub fn gateways(&self) -> BTreeSet<IpAddr> {
        self.gateway.map(IpAddr::from).into_iter().chain(self.gateway6.map(IpAddr::from)).collect()
    }
}

impl Bridge {
    /// The alias of a network's bridge.
    pub fn alias_of(network: &NetworkId) -> String {
        format!("fabric:network:{network}")
    }
}

impl Veth {
    /// The alias of an endpoint's veth pair.
    pub fn alias_of(endpoint: &EndpointId) -> String {
        format!("fabric:endpoint:{endpoint}")
    }
}

impl State {
    /// Whether the host forwards packets of a family.
    pub fn forwarding(&self, family: Family) -> Forwarding {
        match family {
            Family::Ipv4 => self.forwarding,
            Family::Ipv6 => self.forwarding6,
        }
    }

    /// The state that needs nothing: the rules stand, and nothing else is there.
    pub fn empty() -> Self {
        Self {
            forwarding: Forwarding::Off,
            forwarding6: Forwarding::Off,
            structure: Structure::Current,
            elements: BTreeSet::new(),
            namespaces: BTreeMap::new(),
            bridges: BTreeMap::new(),
            veths: BTreeMap::new(),
        }
    }

    /// What of this state lies within a scope.
    pub fn within(mut self, scope: &Scope) -> Self {
        if *scope == Scope::Everything {
            return self;
        }
        let bridges: BTreeSet<_> = scope.networks().map(NetworkId::bridge).collect();
        let veths: BTreeSet<_> =
            scope.attachments().iter().map(|attachment| attachment.endpoint.host_interface()).collect();
        self.elements.retain(|element| scope.covers_element(element));
        self.namespaces.retain(|name, _| scope.covers_namespace(name));
        self.bridges.retain(|name, _| bridges.contains(name));
        self.veths.retain(|name, _| veths.contains(name));
        self
    }
}

/// Addresses as text, joined by commas.
pub(crate) fn list(items: impl IntoIterator<Item = impl fmt::Display>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Down => "down",
        })
    }
}

impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::On => "on",
            Self::Off => "off",
        })
    }
}

impl fmt::Display for Ipv6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Credulous => "on, from any router",
            Self::On => "on",
        })
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unpinned => "unpinned",
            Self::Unprepared => "unprepared",
            Self::Ready => "ready",
        })
    }
}

impl fmt::Display for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} mtu {} mac {}", self.admin, self.mtu, self.mac)?;
        if !self.addresses.is_empty() {
            write!(f, " address {}", list(&self.addresses))?;
        }
        write!(f, " ipv6 {} loopback routing {} alias {}", self.ipv6, self.loopback_routing, self.alias)
    }
}

impl fmt::Display for Veth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} mtu {}", self.admin, self.mtu)?;
        if let Some(bridge) = &self.bridge {
            write!(f, " master {bridge}")?;
        }
        write!(f, " hairpin {}", self.hairpin)?;
        if let Some(mac) = self.fixed {
            write!(f, " fixed {mac}")?;
        }
        write!(f, " alias {}", self.alias)?;
        match &self.inside {
            Some(inside) => write!(f, "\n  <-> {inside}"),
            None => f.write_str("\n  <-> nowhere"),
        }
    }
}

impl fmt::Display for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}: {} mtu {} mac {}", self.interface, self.namespace, self.admin, self.mtu, self.mac)?;
        if !self.addresses.is_empty() {
            write!(f, " address {}", list(&self.addresses))?;
        }
        if self.ipv6 != Ipv6::Off {
            write!(f, " ipv6 {}", self.ipv6)?;
        }
        if let Some(gateway) = self.gateway {
            write!(f, " default via {gateway}")?;
        }
        if let Some(gateway) = self.gateway6 {
            write!(f, " default via {gateway}")?;
        }
        Ok(())
    }
}

/// One object on a line, in the order in which they are made.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (family, forwarding) in [(Family::Ipv4, self.forwarding), (Family::Ipv6, self.forwarding6)] {
            let forwarding = match forwarding {
                Forwarding::Off => "off",
                Forwarding::On => "on",
                Forwarding::TurnedOn => "on, turned on by fabric",
            };
            writeln!(f, "{family} forwarding {forwarding}")?;
        }
        let structure = match self.structure {
            Structure::Current => "current",
            Structure::Missing => "missing",
            Structure::Altered => "altered",
        };
        writeln!(f, "table inet fabric {structure}")?;
        for element in &self.elements {
            writeln!(f, "element {element}")?;
        }
        for (name, namespace) in &self.namespaces {
            writeln!(f, "namespace {name}: {namespace}")?;
        }
        for (name, bridge) in &self.bridges {
            writeln!(f, "bridge {name}: {bridge}")?;
        }
        for (name, veth) in &self.veths {
            writeln!(f, "veth {name}: {veth}")?;
        }
        Ok(())
    }
}
