//! What part of a host's kernel one reconcile looks at.

use std::{collections::BTreeSet, net::IpAddr};

use crate::{
    Element, Endpoint, EndpointId, Family, IfName, NamespaceName, NetworkId, Publish, Published, Route, Spare,
};

/// An endpoint with what its container lends it: the namespace it is in, and the host ports that lead to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// The namespace its container lives in.
    pub namespace: NamespaceName,
    /// Host ports of its container. Those of a family lead to it if the default route of that family does.
    pub publishes: Vec<Publish>,
    /// The families whose default route in the container leads over it.
    pub default_routes: BTreeSet<Family>,
    /// The routes that its network gives it besides.
    pub routes: BTreeSet<Route>,
    /// Whether its neighbours have to be told where its addresses are.
    pub announcement: Announcement,
}

/// Whether an endpoint's neighbours have to be told at which MAC address its addresses are, because they may believe
/// something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Announcement {
    /// They know nothing, or the same.
    #[default]
    Needless,
    /// Somebody had one of the addresses with another MAC address, or may have.
    Due,
}

/// What part of the host one reconcile observes, compares and changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All that Fabric owns.
    Everything,
    /// The rules and every element of the firewall, and no interface: what somebody else's change of the rules can
    /// have damaged. It costs the same whether there are ten interfaces or a thousand.
    Firewall,
    /// What takes frames between containers past their bridge, and what forbids it. Neither rules nor interfaces.
    Shortcut,
    /// What judges connections by policies, and nothing else.
    Policing,
    /// A network's own objects: its bridge and the firewall elements that name it. Not its endpoints.
    Network(NetworkId),
    /// One container: its namespace, and of each of its endpoints the veth pair, the published ports and the bridge.
    ///
    /// It carries the endpoints as they were intended last, so that the objects of an endpoint that is desired no more
    /// are found without a look at its neighbours.
    Container {
        /// The namespace it lives in.
        namespace: NamespaceName,
        /// Its endpoints, those that are desired no more included.
        attachments: Vec<Attachment>,
    },
    /// A namespace that waits for its container, with its veth pair.
    Spare(Spare),
    /// An interface that is made for a VLAN, which several networks can sit on, and nothing else.
    Vlan(IfName),
}

/// The scope of a container with this one endpoint.
impl From<Attachment> for Scope {
    fn from(attachment: Attachment) -> Self {
        Self::Container { namespace: attachment.namespace.clone(), attachments: vec![attachment] }
    }
}

impl NetworkId {
    /// The network's bridge: `fb-` and 12 digits of the identifier.
    pub fn bridge(&self) -> IfName {
        format!("fb-{}", self.short()).parse().expect("`fb-` and 12 hexadecimal digits are 15 graphic characters")
    }
}

impl Attachment {
    /// The firewall elements that publish its ports, of both families, and those that let its frames in by its port.
    pub fn elements(&self) -> impl Iterator<Item = Element> {
        let led_to = |address| self.publishes.iter().flat_map(move |publish| Published::of(publish, address));
        let has_route = |address: &IpAddr| self.default_routes.contains(&Family::of(*address));
        self.endpoint
            .addresses()
            .filter(has_route)
            .flat_map(led_to)
            .map(Element::Published)
            .chain(self.endpoint.sources())
    }
}

impl Scope {
    /// The networks whose bridges are in scope, unless all are.
    pub fn networks(&self) -> impl Iterator<Item = &NetworkId> {
        let network = match self {
            Self::Network(id) => Some(id),
            Self::Everything
            | Self::Firewall
            | Self::Shortcut
            | Self::Policing
            | Self::Container { .. }
            | Self::Spare(_)
            | Self::Vlan(_) => None,
        };
        network.into_iter().chain(self.attachments().iter().map(|attachment| &attachment.endpoint.network))
    }

    /// Whether it reaches all networks and endpoints, or something that stands for each of them.
    fn is_wide(&self) -> bool {
        matches!(self, Self::Everything | Self::Firewall | Self::Shortcut)
    }

    /// The endpoints that are in scope, unless all are.
    pub fn attachments(&self) -> &[Attachment] {
        match self {
            Self::Container { attachments, .. } => attachments,
            Self::Everything
            | Self::Firewall
            | Self::Shortcut
            | Self::Policing
            | Self::Network(_)
            | Self::Spare(_)
            | Self::Vlan(_) => &[],
        }
    }

    /// Whether a network's bridge is in scope, or the firewall elements that name it.
    pub fn covers_network(&self, id: &NetworkId) -> bool {
        self.is_wide() || self.networks().any(|network| network == id)
    }

    /// Whether an endpoint's veth pair is in scope, or the firewall elements that name it.
    pub fn covers_endpoint(&self, id: &EndpointId) -> bool {
        let is_spare = matches!(self, Self::Spare(spare) if spare.endpoint == *id);
        self.is_wide() || is_spare || self.attachments().iter().any(|attachment| attachment.endpoint.id == *id)
    }

    /// The hosts' ends of the veth pairs that are in scope, unless all are.
    pub fn ports(&self) -> impl Iterator<Item = IfName> {
        let spare = if let Self::Spare(spare) = self { Some(spare.endpoint.host_interface()) } else { None };
        spare.into_iter().chain(self.attachments().iter().map(|attachment| attachment.endpoint.host_interface()))
    }

    /// Whether a namespace is in scope.
    pub fn covers_namespace(&self, name: &NamespaceName) -> bool {
        match self {
            Self::Everything => true,
            Self::Firewall | Self::Shortcut | Self::Policing | Self::Network(_) | Self::Vlan(_) => false,
            Self::Container { namespace, .. } | Self::Spare(Spare { namespace, .. }) => namespace == name,
        }
    }

    /// Whether what judges connections by policies is in scope: all of it, because who comes or goes can be named
    /// anywhere.
    pub fn covers_policing(&self) -> bool {
        match self {
            Self::Everything | Self::Firewall | Self::Policing | Self::Network(_) | Self::Container { .. } => true,
            Self::Shortcut | Self::Spare(_) | Self::Vlan(_) => false,
        }
    }

    /// Whether the interface of this name is in scope, if it is one for a VLAN.
    pub fn covers_vlan(&self, interface: &IfName) -> bool {
        match self {
            Self::Everything => true,
            Self::Vlan(name) => name == interface,
            Self::Firewall
            | Self::Shortcut
            | Self::Policing
            | Self::Network(_)
            | Self::Container { .. }
            | Self::Spare(_) => false,
        }
    }

    /// Whether a firewall element is in scope.
    pub fn covers_element(&self, element: &Element) -> bool {
        match (self, element) {
            (Self::Shortcut | Self::Policing | Self::Vlan(_), _) => false,
            (Self::Everything | Self::Firewall, _) | (_, Element::ForwardingGuard(_)) => true,
            (
                _,
                Element::Bridge(name)
                | Element::SameBridge(name)
                | Element::Icc(name)
                | Element::Masqueraded(name)
                | Element::Internal(name)
                | Element::Gateway { bridge: name, .. },
            ) => self.networks().any(|id| id.bridge() == *name),
            (_, Element::Published(published)) => {
                self.attachments().iter().any(|attachment| attachment.endpoint.holds(published.to.ip()))
            }
            (_, Element::Sender { port, .. } | Element::Source { port, .. } | Element::Holder { port, .. }) => {
                self.ports().any(|own| own == *port)
            }
        }
    }
}
