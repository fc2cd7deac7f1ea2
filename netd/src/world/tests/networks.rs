//! Networks: who is meant by a name, and what changes, or could not be made, while somebody is on them.

use model::Reach;

use super::*;
use crate::{failure::Noun, record::Restarts};

#[test]
fn where_ports_lead_is_counted_while_their_container_waits_for_its_restart() {
    let (mut world, web) = world_with("web");
    let mut a = record(&world, 1, "a", &web, &["8080:80"]);
    a.container.restart = "always".parse().expect("literal");
    let a = add(&mut world, a);
    let counted = |world: &World| world.networks[&web.id].published_to_loopback;
    assert_eq!(counted(&world), 1);
    let internal = Network { reach: Reach::Internal, ..web.clone() };
    world.confirm_update(&internal);
    assert_eq!(counted(&world), 0, "nothing leads into it");
    assert!(world.record_exit(&a, exit()).expect("news").awaits_restart());
    for (network, expected) in [(&web, 1), (&internal, 0), (&web, 1)] {
        world.confirm_update(network);
        assert_eq!(counted(&world), expected, "{:?}", network.reach);
    }
    let namespace = Some("ns-y".parse().expect("literal"));
    world
        .revive_container(&a, Goal::Running, namespace, "boot".to_owned(), Restarts::default())
        .expect("its own ports");
    assert_eq!(counted(&world), 1, "it lives");
    world.change_container(&a, |record| record.restarts.stopped = true);
    world.record_exit(&a, exit()).expect("news");
    assert_eq!(counted(&world), 0, "it has ended for good");
    world.confirm_update(&internal);
    world.confirm_update(&web);
    world.forget_container(&a, None);
    assert_eq!(counted(&world), 0);
}

#[test]
fn a_network_that_could_not_be_made_stays_with_who_joined_it() {
    let (mut world, web) = world_with("web");
    let joining = record(&world, 1, "a", &web, &[]);
    let a = joining.container.id.clone();
    world.reserve_container(joining).expect("nothing is taken");
    match world.retire_unmade(&web) {
        Err(Failure::NetworkInUse { containers, .. }) => assert_eq!(containers, ["a"]),
        other => panic!("{other:?}"),
    }
    assert!(world.network_by_reference(&web.name).is_ok(), "it is in use as before");
    world.forget_container(&a, None);
    assert!(world.retire_unmade(&web).expect("nobody is on it"));
    assert!(world.network_by_reference(&web.name).is_err());
    world.forget_network(&web);
    let other = network(2, "web");
    world.reserve_network(other.clone()).expect("the name is free");
    world.confirm_network(&other.id);
    assert!(!world.retire_unmade(&web).expect("it is gone"));
    assert!(world.network_by_reference(&other.name).is_ok(), "another of that name is not meant");
}

#[test]
fn networks_are_meant_by_their_names_and_identifiers_too() {
    let (mut world, web) = world_with("web");
    let begins = |length: usize| web.id.as_str()[..length].parse().expect("hexadecimal digits are a name");
    let found = |world: &World, reference: NetworkName| {
        world.network_by_reference(&reference).map(|network| network.name.to_string())
    };
    assert_eq!(found(&world, web.name.clone()).expect("a name"), "web");
    assert_eq!(found(&world, begins(4)).expect("a beginning"), "web");
    assert_eq!(found(&world, begins(16)).expect("an identifier"), "web");
    assert!(matches!(found(&world, begins(3)), Err(Failure::Unknown { .. })), "too short");
    let mut alike = network(2, "0101");
    alike.id = NetworkId::from_bytes([1, 1, 2, 2, 2, 2, 2, 2]);
    world.reserve_network(alike.clone()).expect("nothing is taken");
    assert_eq!(found(&world, begins(4)).expect("the other is not there yet"), "web");
    world.confirm_network(&alike.id);
    assert_eq!(found(&world, begins(4)).expect("names come first"), alike.name.as_str());
    world.forget_network(&alike);
    alike.name = "other".parse().expect("literal");
    world.reserve_network(alike.clone()).expect("nothing is taken");
    world.confirm_network(&alike.id);
    assert!(matches!(found(&world, begins(4)), Err(Failure::Ambiguous { noun: Noun::Network, .. })));
}
