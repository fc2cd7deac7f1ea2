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

#[test]
fn the_interface_for_a_vlan_is_wanted_until_the_last_network_that_has_it_made_is_gone() {
    let vlan: model::Vlan = "lan0.10".parse().expect("literal");
    let kind = SubInterfaceKind::Macvlan { mode: MacvlanMode::Bridge };
    let on = |number, name, made: bool| Network {
        parent: Some(Parent { interface: vlan.interface().clone(), kind }),
        vlan: made.then(|| vlan.clone()),
        ..network(number, name)
    };
    let networks = [on(1, "first", true), on(2, "second", true), on(3, "third", false)];
    let mut world = World::default();
    let wanted = |world: &World| {
        let scopes = [Scope::Everything, Scope::Vlan(vlan.interface().clone())];
        let [all, alone] = scopes.map(|scope| world.desired(&scope).within(&scope).vlans.len());
        assert_eq!(all, alone);
        all
    };
    let mut seen = Vec::new();
    for network in &networks {
        world.reserve_network(network.clone()).expect("they go together");
        seen.push(wanted(&world));
        world.confirm_network(&network.id);
        seen.push(wanted(&world));
    }
    for network in &networks {
        world.retire_network(&network.id).expect("nobody is on it");
        seen.push(wanted(&world));
        world.forget_network(network);
    }
    assert_eq!(seen, [0, 1, 1, 1, 1, 1, 1, 0, 0]);
}
