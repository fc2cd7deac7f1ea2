//! Interfaces of containers that sit on one of the host's.

use crate::{Change, Place, SubInterface};

/// Makes it, or changes what differs.
pub(super) fn raise_sub_interface(
    place: &Place,
    desired: &SubInterface,
    observed: Option<&SubInterface>,
    changes: &mut Vec<Change>,
) {
    // Neither parent nor mode can be changed.
    let misplaced = observed.is_some_and(|observed| observed.parent != desired.parent);
    if misplaced {
        changes.push(Change::RemoveSubInterface(place.clone()));
    }
    let seen = observed.filter(|_| !misplaced).map(|observed| &observed.inside);
    if seen.is_none() {
        changes.push(Change::CreateSubInterface(desired.clone()));
    }
    let inside = &desired.inside;
    if seen != Some(inside) {
        let seen = || seen.into_iter();
        let remove = seen().flat_map(|seen| seen.addresses.difference(&inside.addresses)).copied().collect();
        let leave = seen().flat_map(|seen| &seen.all_routes() - &inside.all_routes()).collect();
        changes.push(Change::ConfigureSubInterface { wanted: desired.clone(), remove, leave });
    }
}
