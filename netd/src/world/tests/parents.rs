//! Interfaces of the host that carry networks.

use model::{IpvlanFlag, IpvlanMode, MacvlanMode, Parent, SubInterfaceKind};

use super::*;

#[test]
fn a_parent_carries_one_kind_of_networks_until_the_last_of_them_is_gone() {
    let on = |interface: &str, kind| Some(Parent { interface: interface.parse().expect("literal"), kind });
    let macvlan = SubInterfaceKind::Macvlan { mode: MacvlanMode::Bridge };
    let ipvlan = |mode| SubInterfaceKind::Ipvlan { mode, flag: IpvlanFlag::Bridge };
    let with = |number, name, parent| Network { parent, ..network(number, name) };
    let mut world = World::default();
    let first = with(1, "first", on("lan0", ipvlan(IpvlanMode::L2)));
    world.reserve_network(first.clone()).expect("nobody is there");
    for (parent, held) in [
        (on("lan0", ipvlan(IpvlanMode::L2)), false),
        (on("lan0", ipvlan(IpvlanMode::L3)), true),
        (on("lan0", macvlan), true),
        (on("lan1", macvlan), false),
        (None, false),
    ] {
        let second = with(2, "second", parent.clone());
        match world.reserve_network(second.clone()) {
            Ok(()) => world.forget_network(&second),
            Err(Failure::ParentHeld { holder, .. }) => assert!(held && holder == first.name, "{parent:?}"),
            Err(other) => panic!("{parent:?}: {other}"),
        }
        let taken = world.network_by_reference(&second.name).is_ok();
        assert!(!taken, "{parent:?}");
    }
    world.forget_network(&first);
    world.reserve_network(with(2, "second", on("lan0", macvlan))).expect("the parent is free");
}
