//! What part of a host's kernel one reconcile looks at.

use crate::{Element, Endpoint, EndpointId, IfName, NamespaceName, NetworkId, Publish};

/// An endpoint with what its container lends it: the namespace it is in, and the host ports that lead to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// The namespace its container lives in.
    pub namespace: NamespaceName,
    /// Host ports that lead to it.
    pub publishes: Vec<Publish>,
}

/// What part of the host one reconcile observes, compares and changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All that Fabric owns.
    Everything,
    /// The rules and every element of the firewall, and no interface: what somebody else's change of the rules can
    /// have damaged. It costs the same whether there are ten interfaces or a thousand.
    Firewall,
    /// A network's own objects: its bridge and the firewall elements that name it. Not its endpoints.
    Network(NetworkId),
    /// One endpoint: its namespace, its veth pair, its published ports and the bridge it hangs on.
    ///
    /// It carries the endpoint as it was intended last, so that the objects of an endpoint that is desired no more
    /// are found without a look at its neighbours.
    Endpoint(Box<Attachment>),
    /// One namespace, with nothing in it that is Fabric's: that of a container on no network.
    Namespace(NamespaceName),
}

impl NetworkId {
    /// The network's bridge: `fb-` and 12 digits of the identifier.
    pub fn bridge(&self) -> IfName {
        format!("fb-{}", self.short()).parse().expect("`fb-` and 12 hexadecimal digits are 15 graphic characters")
    }
}

impl Attachment {
    /// The firewall elements that publish its ports: all lead to its IPv4 address.
    pub fn elements(&self) -> impl Iterator<Item = Element> {
        let address = self.endpoint.ipv4.into_iter();
        address.flat_map(|address| self.publishes.iter().map(move |publish| Element::published(publish, address)))
    }
}

impl Scope {
    /// The one network whose bridge is in scope; none if all are, or none is.
    pub fn network(&self) -> Option<&NetworkId> {
        match self {
            Self::Everything | Self::Firewall | Self::Namespace(_) => None,
            Self::Network(id) => Some(id),
            Self::Endpoint(attachment) => Some(&attachment.endpoint.network),
        }
    }

    /// Whether a network's bridge is in scope, or the firewall elements that name it.
    pub fn covers_network(&self, id: &NetworkId) -> bool {
        matches!(self, Self::Everything | Self::Firewall) || self.network() == Some(id)
    }

    /// Whether an endpoint's veth pair is in scope, or the firewall elements that name it.
    pub fn covers_endpoint(&self, id: &EndpointId) -> bool {
        match self {
            Self::Everything | Self::Firewall => true,
            Self::Network(_) | Self::Namespace(_) => false,
            Self::Endpoint(attachment) => attachment.endpoint.id == *id,
        }
    }

    /// Whether a namespace is in scope.
    pub fn covers_namespace(&self, name: &NamespaceName) -> bool {
        match self {
            Self::Everything => true,
            Self::Firewall | Self::Network(_) => false,
            Self::Endpoint(attachment) => attachment.namespace == *name,
            Self::Namespace(own) => own == name,
        }
    }

    /// Whether a firewall element is in scope.
    pub fn covers_element(&self, element: &Element) -> bool {
        match (self, element) {
            (Self::Everything | Self::Firewall, _) | (_, Element::ForwardingGuard) => true,
            (_, Element::Bridge(name) | Element::SameBridge(name)) => {
                self.network().is_some_and(|id| id.bridge() == *name)
            }
            (Self::Network(_) | Self::Namespace(_), Element::Published { .. }) => false,
            (Self::Endpoint(attachment), Element::Published { to, .. }) => attachment.endpoint.holds((*to.ip()).into()),
        }
    }
}
