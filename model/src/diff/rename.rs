//! Containers' ends that are in their namespaces already, but under other names.

use std::collections::BTreeMap;

use crate::{Admin, Change, IfName, Inside, Place, State};

/// Gives each end that is down, and under another name than it is to have, its name; returns them as they are then, by
/// the host's ends. It comes before anything is made in a namespace, for what is made may have the name that one gives
/// up.
///
/// An end that is up is made anew instead, because kernels before 6.2 rename none (`dev_change_name` in
/// `net/core/dev.c`); so is one whose name another of Fabric's has, for two that had each other's would be in each
/// other's way for ever.
pub(super) fn rename(desired: &State, observed: &State, changes: &mut Vec<Change>) -> BTreeMap<IfName, Inside> {
    let mut renamed = BTreeMap::new();
    for (name, veth) in &desired.veths {
        let seen = observed.veths.get(name).and_then(|veth| veth.inside.as_ref());
        let (Some(wanted), Some(seen)) = (&veth.inside, seen) else { continue };
        let strays = wanted.namespace == seen.namespace && wanted.interface != seen.interface;
        if strays && seen.admin == Admin::Down && !is_taken(&wanted.place(), desired, observed) {
            let (place, to) = (seen.place(), wanted.interface.clone());
            changes.push(Change::RenameInside { name: name.clone(), place, to: to.clone() });
            renamed.insert(name.clone(), Inside { interface: to, ..seen.clone() });
        }
    }
    renamed
}

/// Whether a pair that is to stand has an end in this place, where no sub-interface is to be.
fn is_taken(place: &Place, desired: &State, observed: &State) -> bool {
    let stays = |name: &IfName| desired.veths.contains_key(name);
    let mut ends = observed.veths.iter().filter(|(name, _)| stays(name)).filter_map(|(_, veth)| veth.inside.as_ref());
    ends.any(|end| end.place() == *place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ipv6, Switch, Veth};

    /// A pair for each of these: the host's end, the container's end with its namespace and whether it is up.
    fn state(pairs: &[(&str, &str, &str, Admin)]) -> State {
        let mut state = State::empty();
        for (name, namespace, interface, admin) in pairs {
            let inside = Inside {
                namespace: namespace.parse().expect("literal"),
                interface: interface.parse().expect("literal"),
                mac: None,
                mtu: 1500,
                admin: *admin,
                ipv6: Ipv6::Off,
                addresses: Default::default(),
                gateway: None,
                gateway6: None,
                routes: Default::default(),
            };
            let veth = Veth {
                alias: String::new(),
                bridge: None,
                hairpin: Switch::Off,
                isolated: Switch::Off,
                fixed: None,
                mtu: 1500,
                admin: Admin::Up,
                ipv6: Ipv6::Off,
                inside: Some(inside),
            };
            state.veths.insert(name.parse().expect("literal"), veth);
        }
        state
    }

    #[test]
    fn who_can_get_its_name_back_gets_it_and_all_others_are_left_to_be_made_anew() {
        let wanted = state(&[("fe-1", "c1", "lan0", Admin::Up), ("fe-2", "c1", "eth0", Admin::Up)]);
        for (seen, expected) in [
            (&[("fe-1", "c1", "eth0", Admin::Down)][..], &["rename eth0 in c1 to lan0"][..]),
            (&[("fe-1", "c1", "eth0", Admin::Up)], &[]),
            (&[("fe-1", "c2", "eth0", Admin::Down)], &[]),
            (&[("fe-1", "c1", "lan0", Admin::Down)], &[]),
            (
                &[("fe-1", "c1", "a", Admin::Down), ("fe-2", "c1", "b", Admin::Down)],
                &["rename a in c1 to lan0", "rename b in c1 to eth0"],
            ),
            (&[("fe-1", "c1", "eth0", Admin::Down), ("fe-2", "c1", "lan0", Admin::Down)], &[]),
            (&[("fe-1", "c1", "a", Admin::Down), ("fe-9", "c1", "lan0", Admin::Down)], &["rename a in c1 to lan0"]),
        ] {
            let mut changes = Vec::new();
            let renamed = rename(&wanted, &state(seen), &mut changes);
            assert_eq!(changes.iter().map(ToString::to_string).collect::<Vec<_>>(), expected, "{seen:?}");
            let takes = |(name, end): (&IfName, &Inside)| {
                wanted.veths[name].inside.as_ref().map(Inside::place) == Some(end.place())
            };
            assert!(renamed.len() == expected.len() && renamed.iter().all(takes), "{seen:?}");
        }
    }
}
