//! From networks and endpoints to the desired state of the host's kernel. Pure: no I/O, no clock, no randomness.
//!
//! Each way of attaching is one file. It is asked for one network at a time, with the attachments to it, and adds the
//! objects that make the network to the state. It neither knows what is there already nor how it is made: that is the
//! business of `model::diff` and of the crate `kernel`.

mod bridge;
mod inside;
mod sub_interface;

use std::collections::BTreeSet;

use model::{Attachment, Driver, Namespace, NamespaceName, Network, Scope, Spare, State, VlanLink};

/// What is intended: the input of every desired state. It must hold what lies within the scope; more does no harm.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Intent {
    /// Networks, each with what is attached to it.
    pub segments: Vec<Segment>,
    /// Namespaces that exist without an endpoint: those that wait in the pool, and those of containers on no network.
    pub namespaces: BTreeSet<NamespaceName>,
    /// The veth pairs that wait in some of the pool's.
    pub spares: Vec<Spare>,
}

/// A network and what is attached to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The network.
    pub network: Network,
    /// Whether a port of any container on it can be reached from the host's loopback address. Not derived from the
    /// attachments, for they need not be all.
    pub published_to_loopback: bool,
    /// Whether policies judge connections of its endpoints.
    pub judged: bool,
    /// The endpoints within the scope.
    pub attachments: Vec<Attachment>,
}

/// Adds to a state, within the scope, what makes one network with its attachments.
type Desire = fn(&mut State, &Scope, &Segment);

/// Every driver and the function that makes its networks.
fn registry(driver: Driver) -> Option<Desire> {
    match driver {
        Driver::Bridge => Some(bridge::desire),
        Driver::Macvlan | Driver::Ipvlan => Some(sub_interface::desire),
        // A driver of a later version: its networks are not this version's to make.
        _ => None,
    }
}

/// The state the host's kernel should be in, as far as the scope reaches.
pub fn desired(scope: &Scope, intent: &Intent) -> State {
    let mut state = State::empty();
    let attachments = intent.segments.iter().flat_map(|segment| &segment.attachments);
    let attached = attachments.map(|attachment| &attachment.namespace);
    for name in intent.namespaces.iter().chain(attached).filter(|name| scope.covers_namespace(name)) {
        state.namespaces.insert(name.clone(), Namespace::Ready);
    }
    for spare in intent.spares.iter().filter(|spare| scope.covers_endpoint(&spare.endpoint)) {
        bridge::desire_spare(&mut state, spare);
    }
    for vlan in intent.segments.iter().filter_map(|segment| segment.network.vlan.as_ref()) {
        if scope.covers_vlan(vlan.interface()) {
            state.vlans.insert(vlan.interface().clone(), VlanLink::of(vlan));
        }
    }
    for segment in intent.segments.iter().filter(|segment| scope.covers_network(&segment.network.id)) {
        if let Some(desire) = registry(segment.network.driver) {
            desire(&mut state, scope, segment);
        }
    }
    state
}
