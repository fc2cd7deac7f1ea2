//! From networks and endpoints to the desired state of the host's kernel. Pure: no I/O, no clock, no randomness.
//!
//! Each driver is one file. It is asked for one network at a time, with the attachments to it, and adds the objects
//! that make the network to the state. It neither knows what is there already nor how it is made: that is the
//! business of `model::diff` and of the crate `kernel`.

mod bridge;

use std::collections::BTreeSet;

use model::{Attachment, Driver, Namespace, NamespaceName, Network, Scope, State};

/// What is intended: the input of every desired state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Intent {
    /// Networks.
    pub networks: Vec<Network>,
    /// Endpoints. For a scope of one network or one endpoint all attachments to that network must be here, and no
    /// others need be.
    pub attachments: Vec<Attachment>,
    /// Namespaces that exist without an endpoint: those that wait in the pool, and those of containers on no network.
    pub namespaces: BTreeSet<NamespaceName>,
}

/// Adds to a state, within the scope, what makes one network with these attachments.
type Desire = fn(&mut State, &Scope, &Network, &[&Attachment]);

/// Every driver and the function that makes its networks.
fn registry(driver: Driver) -> Option<Desire> {
    match driver {
        Driver::Bridge => Some(bridge::desire),
        // A driver of a later version: its networks are not this version's to make.
        _ => None,
    }
}

/// The state the host's kernel should be in, as far as the scope reaches.
///
/// Attachments to networks that are not in `intent` are left out: there is nothing to attach them to.
pub fn desired(scope: &Scope, intent: &Intent) -> State {
    let mut state = State::empty();
    let attached = intent.attachments.iter().map(|attachment| &attachment.namespace);
    for name in intent.namespaces.iter().chain(attached).filter(|name| scope.covers_namespace(name)) {
        state.namespaces.insert(name.clone(), Namespace::Ready);
    }
    for network in intent.networks.iter().filter(|network| scope.covers_network(&network.id)) {
        let attachments: Vec<_> =
            intent.attachments.iter().filter(|attachment| attachment.endpoint.network == network.id).collect();
        if let Some(desire) = registry(network.driver) {
            desire(&mut state, scope, network, &attachments);
        }
    }
    state
}
