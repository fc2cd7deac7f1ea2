//! The part of a host's kernel that Fabric owns, as it should be or as it is.

mod shown;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use ipnet::{IpNet, Ipv6Net};

pub(crate) use shown::list;

use crate::{
    DataPath, Element, EndpointId, Family, IfName, MacAddress, NamespaceName, NetworkId, Parent, Program, Route, Scope,
    Shortcut, Structure, VlanLink,
};

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
    /// Interfaces for VLANs, which others sit on.
    pub vlans: BTreeMap<IfName, VlanLink>,
    /// Interfaces in containers' namespaces that sit on one of the host's, one for each endpoint.
    pub sub_interfaces: BTreeMap<Place, SubInterface>,
    /// What takes frames between containers past their bridge.
    pub shortcut: Shortcut,
    /// What judges connections by policies.
    pub policing: Policing,
    /// Those of the veth pairs whose addresses are to be announced when the containers' ends are configured. Only ever
    /// a wish: nothing that is observed is among them.
    pub announced: BTreeSet<IfName>,
}

/// What `table inet fabric-policy` holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Policing {
    /// This. If that is nothing, there is no such table.
    Holds(Arc<DataPath>),
    /// Nobody can say: another version made it, or somebody changed it. Never a wish.
    Altered,
}

/// What a look at the kernel found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// What Fabric owns, as far as the scope reaches.
    pub state: State,
    /// Firewall elements beyond the scope; looked up only when the structure is not current, because replacing the
    /// table would lose them.
    pub elements_beyond: BTreeSet<Element>,
    /// Pinned namespaces that could not be looked into: who lives there may change things faster than they can be read,
    /// or make more of them than anybody reads.
    pub unreadable: BTreeSet<NamespaceName>,
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
    /// Addresses that Fabric put on it, or should: its gateways', and a link-local one if it speaks IPv6.
    pub addresses: BTreeSet<IpNet>,
    /// Whether it speaks IPv6.
    pub ipv6: Ipv6,
    /// Whether 127.0.0.0/8 may be routed over it (`net.ipv4.conf.IF.route_localnet`); ports published to the host's
    /// loopback need it.
    pub loopback_routing: Switch,
    /// Whether packets that pass from port to port come by the rules of the family `inet`, whatever the host's setting
    /// for all bridges says (`IFLA_BR_NF_CALL_IPTABLES`, `IFLA_BR_NF_CALL_IP6TABLES`). Policies need it.
    pub filtered: Switch,
    /// Whether it listens to who joins which multicast group (`IFLA_BR_MCAST_SNOOPING`).
    pub snooping: Switch,
}

/// A veth pair: one end is a port of a bridge, the other a container's interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Veth {
    /// Text for people who look at the interface, `fabric:endpoint:ID`.
    pub alias: String,
    /// The bridge the host's end is a port of.
    pub bridge: Option<IfName>,
    /// Whether the bridge may send a frame back out of the port it came in by (`IFLA_BRPORT_MODE`). A container needs
    /// it to reach a port of its own that the host publishes: where bridges call iptables
    /// (`net.bridge.bridge-nf-call-iptables`) its packets do not come up to the host, but are translated on the bridge.
    /// The price is that the container's broadcasts come back to it.
    pub hairpin: Switch,
    /// Whether the bridge passes nothing on between this port and others that are so too (`IFLA_BRPORT_ISOLATED`).
    pub isolated: Switch,
    /// The only MAC address that the bridge seeks behind this port. It learns none from the port's frames, sends
    /// nothing into it that is for an address it does not know, never takes it for the way to a multicast router, and
    /// lets no more than a limited number of groups be joined behind it. None if any of this is otherwise.
    pub fixed: Option<MacAddress>,
    /// Maximum transmission unit of the host's end in octets.
    pub mtu: u32,
    /// Whether the host's end was told to be up.
    pub admin: Admin,
    /// Whether the host itself speaks IPv6 by its end. A port of a bridge needs none; where it is on, the port has a
    /// multicast route, and whenever an interface comes or goes the kernel walks through all routes.
    pub ipv6: Ipv6,
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
    /// Its MAC address; none where it is its parent's, whatever that is.
    pub mac: Option<MacAddress>,
    /// Maximum transmission unit in octets.
    pub mtu: u32,
    /// Whether it was told to be up.
    pub admin: Admin,
    /// Whether it speaks IPv6; if it does, the namespace's loopback interface does, too.
    pub ipv6: Ipv6,
    /// Addresses that Fabric put on it, or should.
    pub addresses: BTreeSet<IpNet>,
    /// The gateway of the namespace's IPv4 default route over this interface, or what [`leads_to_itself`].
    pub gateway: Option<Ipv4Addr>,
    /// The gateway of the namespace's IPv6 default route over this interface, or what [`leads_to_itself`].
    pub gateway6: Option<Ipv6Addr>,
    /// Other routes of the namespace over this interface that Fabric made, or should.
    pub routes: BTreeSet<Route>,
}

/// What stands for a gateway where a route leads to the interface itself: 0.0.0.0 or ::, as the kernel has it (`nhc_gw`
/// in `include/net/ip_fib.h`).
pub fn interface_itself(family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::Ipv6 => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// Whether a route by this gateway leads to the interface itself: whoever is asked for is beyond it, and there is
/// nobody to send by ([`interface_itself`]).
pub fn leads_to_itself(gateway: IpAddr) -> bool {
    gateway == interface_itself(Family::of(gateway))
}

/// Where in a container's namespace an interface is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The namespace.
    pub namespace: NamespaceName,
    /// The interface's name there.
    pub interface: IfName,
}

/// An interface in a container's namespace that sits on one of the host's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubInterface {
    /// What it sits on.
    pub parent: Parent,
    /// The interface itself.
    pub inside: Inside,
}

impl Default for Policing {
    fn default() -> Self {
        Self::Holds(Arc::default())
    }
}

impl Inside {
    /// Where it is.
    pub fn place(&self) -> Place {
        Place { namespace: self.namespace.clone(), interface: self.interface.clone() }
    }

    /// Has its default routes lead to the interface itself ([`leads_to_itself`]).
    pub fn route_to_itself(&mut self) {
        self.gateway = self.gateway.map(|_| Ipv4Addr::UNSPECIFIED);
        self.gateway6 = self.gateway6.map(|_| Ipv6Addr::UNSPECIFIED);
    }

    /// The gateways of default routes over this interface.
    pub fn gateways(&self) -> BTreeSet<IpAddr> {
        self.gateway.map(IpAddr::from).into_iter().chain(self.gateway6.map(IpAddr::from)).collect()
    }

    /// All routes over this interface that Fabric made, or should: default routes, and the others.
    pub fn all_routes(&self) -> BTreeSet<Route> {
        self.gateways().into_iter().map(Route::default).chain(self.routes.iter().copied()).collect()
    }
}

impl Bridge {
    /// The alias of a network's bridge.
    pub fn alias_of(network: &NetworkId) -> String {
        format!("fabric:network:{network}")
    }

    /// The link-local address of a bridge that speaks IPv6 and has this MAC address. The kernel would make the same,
    /// once, but nobody would put it back; and a host without one does not ask where a neighbour is for whom it
    /// forwards (`ndisc_send_ns` in `net/ipv6/ndisc.c`), so nobody outside would reach a container that it has
    /// forgotten.
    pub fn link_local_of(mac: MacAddress) -> IpNet {
        Ipv6Net::new_assert(mac.link_local(), 64).into()
    }

    /// Its addresses but for the link-local one.
    pub fn gateways(&self) -> impl Iterator<Item = &IpNet> {
        self.addresses.iter().filter(|net| !matches!(net, IpNet::V6(net) if net.addr().is_unicast_link_local()))
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
            vlans: BTreeMap::new(),
            sub_interfaces: BTreeMap::new(),
            shortcut: Shortcut::default(),
            policing: Policing::default(),
            announced: BTreeSet::new(),
        }
    }

    /// What of this state lies within a scope.
    pub fn within(mut self, scope: &Scope) -> Self {
        if *scope == Scope::Everything {
            return self;
        }
        if !scope.covers_policing() {
            self.policing = Policing::default();
        }
        if *scope == Scope::Shortcut {
            return Self { shortcut: self.shortcut, ..Self::empty() };
        }
        if *scope == Scope::Policing {
            return Self { policing: self.policing, ..Self::empty() };
        }
        let bridges: BTreeSet<_> = scope.networks().map(NetworkId::bridge).collect();
        let veths: BTreeSet<_> = scope.ports().collect();
        self.elements.retain(|element| scope.covers_element(element));
        self.namespaces.retain(|name, _| scope.covers_namespace(name));
        self.bridges.retain(|name, _| bridges.contains(name));
        self.veths.retain(|name, _| veths.contains(name));
        self.vlans.retain(|name, _| scope.covers_vlan(name));
        self.announced.retain(|name| veths.contains(name));
        self.shortcut.passages.retain(|name, _| veths.contains(name));
        if self.shortcut.passages.is_empty() {
            self.shortcut.program = Program::Missing;
        }
        let interfaces: BTreeSet<_> = scope.attachments().iter().map(|it| &it.endpoint.interface).collect();
        self.sub_interfaces
            .retain(|place, _| scope.covers_namespace(&place.namespace) && interfaces.contains(&place.interface));
        self
    }
}
