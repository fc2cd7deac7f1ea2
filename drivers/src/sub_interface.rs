//! The drivers macvlan and ipvlan: an interface on the parent for each endpoint, made inside the container's namespace.
//! The host has no bridge, no address and no rule for it. An interface for a VLAN that is made to be the parent is no
//! network's own.

use model::{Scope, State, SubInterface};

use crate::{Segment, inside::inside};

pub(crate) fn desire(state: &mut State, scope: &Scope, segment: &Segment) {
    let network = &segment.network;
    let Some(parent) = &network.parent else { return };
    for attachment in segment.attachments.iter().filter(|attachment| scope.covers_endpoint(&attachment.endpoint.id)) {
        let mut inside = inside(network, attachment);
        if !network.has_neighbours() {
            inside.route_to_itself();
        }
        let wanted = SubInterface { parent: parent.clone(), inside };
        state.sub_interfaces.insert(wanted.inside.place(), wanted);
    }
}
