//! Containers that end, and come up again.

use super::*;
use crate::{namespaces::Purpose, record::Restarts};

#[test]
fn an_exit_frees_ports_and_a_removal_everything() {
    let (mut world, web) = world_with("web");
    let a = record(&world, 1, "a", &web, &["80:80"]);
    let a = add(&mut world, a);
    assert!(world.record_exit(&a, exit()).is_some());
    assert!(world.record_exit(&a, exit()).is_none(), "an end is news once");
    let b = record(&world, 2, "b", &web, &["80:80"]);
    add(&mut world, b);
    assert_eq!(world.usage(&web).used, 2, "the ended one keeps its address");
    assert!(matches!(world.retire_network(&web.id), Err(Failure::NetworkInUse { .. })));
    world.forget_container(&a, None);
    assert_eq!(world.usage(&web).used, 1);
    let again = record(&world, 3, "a", &web, &[]);
    add(&mut world, again);
}

#[test]
fn a_container_that_comes_up_again_has_what_it_had_unless_another_took_it() {
    let (mut world, web) = world_with("web");
    let a = record(&world, 1, "a", &web, &["80:80"]);
    let address = a.container.endpoints[0].ipv4;
    let a = add(&mut world, a);
    world.record_exit(&a, exit()).expect("news");
    let b = record(&world, 2, "b", &web, &["80:80"]);
    let b = add(&mut world, b);
    let mut revive = |namespace: &str| {
        world.revive_container(
            &a,
            Goal::Running,
            Some(namespace.parse().expect("literal")),
            "boot".to_owned(),
            Restarts::default(),
        )
    };
    assert!(matches!(revive("ns-x"), Err(Failure::PortTaken { .. })));
    world.record_exit(&b, exit()).expect("news");
    let again = world
        .revive_container(
            &a,
            Goal::Running,
            Some("ns-y".parse().expect("literal")),
            "boot".to_owned(),
            Restarts::default(),
        )
        .expect("nothing is taken");
    assert_eq!((again.container.endpoints[0].ipv4, again.exit, again.last_exit), (address, None, Some(exit())));
    let all = world.desired(&Scope::Everything);
    let namespaces: Vec<_> = all.namespaces.keys().map(ToString::to_string).collect();
    assert_eq!((all.veths.len(), namespaces), (1, vec!["ns-y".to_owned()]));
    assert!(matches!(
        world.reserve_container(record(&world, 3, "c", &web, &["80:80"])),
        Err(Failure::PortTaken { .. })
    ));
}

#[test]
fn a_namespace_stands_while_anybody_lives_in_it_and_its_owner_comes_back_to_it() {
    let (mut world, web) = world_with("web");
    let owner = record(&world, 1, "a", &web, &[]);
    let owner = add(&mut world, owner);
    let mut sharer = record(&world, 2, "b", &web, &[]);
    sharer.container.endpoints.clear();
    sharer.container.mode = world.join(&sharer.container.name, "a", Readiness::Attached).expect("it is attached");
    let sharer = add(&mut world, sharer);
    let standing = |world: &World| -> Vec<String> {
        world.desired(&Scope::Everything).namespaces.keys().map(ToString::to_string).collect()
    };
    let within = |world: &World, id: &ContainerId| {
        let scope = world.scope_of(&world.record(id).expect("it is there").container).expect("a namespace");
        let state = world.desired(&scope);
        (state.namespaces.len(), state.veths.len(), scope.attachments().len())
    };
    assert_eq!((within(&world, &owner), within(&world, &sharer)), ((1, 1, 1), (1, 1, 1)));
    world.record_exit(&owner, exit()).expect("news");
    let last = "it stands for its sharer, who may be the last to see to what is in it";
    assert_eq!((within(&world, &owner), within(&world, &sharer)), ((1, 0, 1), (1, 0, 1)), "{last}");
    let fresh = || Some("ns-9".parse().expect("literal"));
    let again = world
        .revive_container(&owner, Goal::Running, fresh(), "boot".to_owned(), Restarts::default())
        .expect("nothing is taken");
    assert_eq!(again.container.mode.namespace().map(ToString::to_string), Some("ns-1".to_owned()));
    assert_eq!(standing(&world), ["ns-1", "ns-9"], "the unused one is spare");
    assert_eq!(world.namespaces.take(Purpose::Other), fresh());
    world.record_exit(&sharer, exit()).expect("news");
    assert!(matches!(
        world.revive_container(&sharer, Goal::Running, None, "boot".to_owned(), Restarts::default()),
        Err(Failure::JoinedNotRunning { .. })
    ));
    world.record_exit(&owner, exit()).expect("news");
    world.namespaces.forget(&fresh().expect("given above"));
    assert_eq!(standing(&world), [] as [&str; 0], "nobody lives there");
    let again = world
        .revive_container(&owner, Goal::Running, fresh(), "boot".to_owned(), Restarts::default())
        .expect("nothing is taken");
    assert_eq!(again.container.mode.namespace(), fresh().as_ref());
    world.forget_container(&owner, None);
    assert!(matches!(world.join_again(&"b".parse().expect("literal"), &owner), Err(Failure::JoinedGone { .. })));
}

#[test]
fn ports_stay_with_a_container_that_waits_to_be_started_again() {
    let (mut world, web) = world_with("web");
    let mut a = record(&world, 1, "a", &web, &["80:80"]);
    a.container.restart = "on-failure:1".parse().expect("literal");
    let a = add(&mut world, a);
    let failed =
        |second| Exit { exit_code: 1, started_at: None, finished_at: Timestamp::from_second(second).expect("literal") };
    let is_taken = |world: &mut World| {
        let other = record(world, 2, "b", &web, &["80:80"]);
        let reserved = world.reserve_container(other.clone());
        if reserved.is_ok() {
            world.forget_container(&other.container.id, None);
        }
        reserved.is_err()
    };
    assert!(world.record_exit(&a, failed(1)).expect("news").awaits_restart());
    assert!(is_taken(&mut world), "it waits");
    world.change_container(&a, |record| record.restarts.stopped = true);
    assert!(!is_taken(&mut world), "a person stopped it");
    let b = record(&world, 2, "b", &web, &["80:80"]);
    let b = add(&mut world, b);
    assert!(matches!(world.forget_stop(&a), Err(Failure::PortTaken { .. })), "another has its port now");
    world.forget_container(&b, None);
    world.forget_stop(&a).expect("its port is free");
    assert!(is_taken(&mut world), "it waits again");
    let restarts = Restarts { count: 1, in_a_row: 1, ..Default::default() };
    let namespace = Some("ns-y".parse().expect("literal"));
    world.revive_container(&a, Goal::Running, namespace, "boot".to_owned(), restarts).expect("nothing is taken");
    assert!(is_taken(&mut world), "it lives");
    assert!(!world.record_exit(&a, failed(2)).expect("news").awaits_restart(), "that was the last time");
    assert!(!is_taken(&mut world));
}

#[test]
fn only_a_run_that_lasts_shortens_the_pause() {
    let (world, web) = world_with("web");
    let mut record = record(&world, 1, "a", &web, &[]);
    let exit = |started: i64, finished: i64| Exit {
        exit_code: 1,
        started_at: Some(Timestamp::from_second(started).expect("literal")),
        finished_at: Timestamp::from_second(finished).expect("literal"),
    };
    record.restarts.in_a_row = 5;
    record.end(exit(0, 9));
    assert_eq!(record.restarts.in_a_row, 5);
    record.end(exit(10, 20));
    assert_eq!(record.restarts.in_a_row, 0);
    // Its next start fails, so that it has ended as it had then.
    (record.last_exit, record.restarts.in_a_row) = (record.exit, 1);
    record.end(exit(10, 20));
    assert_eq!(record.restarts.in_a_row, 1);
}
