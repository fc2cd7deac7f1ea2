use std::net::IpAddr;

use api::EndpointCreate;
use ipam::Lease;
use jiff::Timestamp;
use model::{
    Command, Container, ContainerId, Driver, Endpoint, EndpointId, IfName, MacAddress, Network, NetworkId, NetworkMode,
    Scope, Subnet,
};
use runtime::Exit;
use store::Revision;

use super::*;
use crate::{
    failure::Failure,
    record::{Goal, Record},
};

mod interfaces;
mod neighbours;
mod networks;
mod parents;
mod policies;
mod restarts;

fn network(number: u8, name: &str) -> Network {
    let range = format!("10.9.{number}.0/29").parse().expect("literal");
    Network {
        id: NetworkId::from_bytes([number; 8]),
        name: name.parse().expect("literal"),
        driver: Driver::Bridge,
        parent: None,
        vlan: None,
        subnets: vec![Subnet::new(range, None).expect("literal")],
        reserved: Vec::new(),
        reach: model::Reach::Nat,
        icc: model::Icc::On,
        default_route: Default::default(),
        routes: Vec::new(),
        gateway_mac: MacAddress::local([number; 6]),
        mtu: 1500,
        mtu_source: model::MtuSource::Fixed,
        name_servers: Vec::new(),
        labels: Default::default(),
        created_at: Timestamp::UNIX_EPOCH,
    }
}

/// A container on `network`, at the address that is next.
fn record(world: &World, number: u8, name: &str, network: &Network, publishes: &[&str]) -> Record {
    let endpoint = Endpoint {
        id: EndpointId::from_bytes([number; 8]),
        network: network.id.clone(),
        ipv4: world
            .choose_addresses(network, &name.parse().expect("literal"), &EndpointCreate::new(network.name.clone()))
            .expect("one is free")
            .0,
        ipv6: None,
        mac: Some(MacAddress::local([number; 6])),
        aliases: Vec::new(),
        interface: "eth0".parse().expect("literal"),
        gateway_priority: 0,
    };
    let container = Container {
        id: ContainerId::from_bytes([number; 16]),
        name: name.parse().expect("literal"),
        image: "busybox".parse().expect("literal"),
        image_digest: model::Digest::sha256([0; 32]),
        hostname: "host".parse().expect("literal"),
        command: Command {
            arguments: vec!["true".into()],
            environment: Vec::new(),
            working_directory: "/".into(),
            user: None,
        },
        open_stdin: false,
        terminal: false,
        init: false,
        log: Default::default(),
        auto_remove: false,
        restart: Default::default(),
        stop: Default::default(),
        confinement: Default::default(),
        labels: Default::default(),
        created_at: Timestamp::UNIX_EPOCH,
        mode: NetworkMode::Own { namespace: format!("ns-{number}").parse().expect("literal") },
        endpoints: vec![endpoint],
        publishes: publishes.iter().map(|text| text.parse().expect("literal")).collect(),
        exposed: Default::default(),
        port_names: Default::default(),
        resolver: Default::default(),
    };
    Record {
        container,
        goal: Goal::Running,
        attended: false,
        incarnation: String::new(),
        started_at: None,
        exit: None,
        last_exit: None,
        restarts: Default::default(),
        leaving: Vec::new(),
    }
}

fn world_with(name: &str) -> (World, Network) {
    let mut world = World::default();
    let network = network(1, name);
    world.reserve_network(network.clone()).expect("the name is free");
    world.confirm_network(&network.id);
    (world, network)
}

fn add(world: &mut World, record: Record) -> ContainerId {
    let id = record.container.id.clone();
    world.reserve_container(record).expect("nothing is taken");
    world.confirm_container(&id, Revision::from_number(1));
    id
}

fn exit() -> Exit {
    Exit { exit_code: 0, started_at: None, finished_at: Timestamp::UNIX_EPOCH }
}

#[test]
fn what_is_reserved_is_taken_but_not_there() {
    let mut world = World::default();
    let web = network(1, "web");
    world.reserve_network(web.clone()).expect("the name is free");
    assert!(world.network_by_reference(&web.name).is_err());
    assert!(matches!(world.reserve_network(network(2, "web")), Err(Failure::NameTaken { .. })));
    world.forget_network(&web);
    world.reserve_network(network(2, "web")).expect("the name is free again");
}

#[test]
fn interfaces_are_found_by_their_names_while_they_are_meant_to_be() {
    let (mut world, web) = world_with("web");
    let made = record(&world, 1, "a", &web, &[]);
    let endpoint = made.container.endpoints[0].clone();
    let port = endpoint.host_interface();
    world.reserve_container(made.clone()).expect("nothing is taken");
    assert_eq!(world.attachment_of_port(&port), None, "it is not committed yet");
    let id = made.container.id.clone();
    world.confirm_container(&id, Revision::from_number(1));
    assert_eq!(world.attachment_of_port(&port).map(|attachment| attachment.endpoint), Some(endpoint));
    assert_eq!(world.network_of_bridge(&web.bridge()), Some(&web));
    for other in ["eth0", "fb-", "fe-000000000000", "fb-ffffffffffff", "fb-xyz"] {
        let other: IfName = other.parse().expect("literal");
        assert_eq!((world.network_of_bridge(&other), world.attachment_of_port(&other)), (None, None), "{other}");
    }
    world.record_exit(&id, exit());
    assert_eq!(world.attachment_of_port(&port), None, "what has ended has no links");
    world.forget_container(&id, None);
    world.retire_network(&web.id).expect("nobody is on it");
    assert_eq!(world.network_of_bridge(&web.bridge()), None);
}

#[test]
fn two_containers_share_neither_name_nor_address_nor_port() {
    let (mut world, web) = world_with("web");
    let first = record(&world, 1, "a", &web, &["80:80"]);
    let address = first.container.endpoints[0].ipv4;
    add(&mut world, first);
    let same_name = record(&world, 2, "a", &web, &[]);
    assert_ne!(same_name.container.endpoints[0].ipv4, address);
    assert!(matches!(world.reserve_container(same_name), Err(Failure::NameTaken { .. })));
    let same_port = record(&world, 3, "b", &web, &["127.0.0.1:80:81"]);
    match world.reserve_container(same_port) {
        Err(Failure::PortTaken { holder, .. }) => assert_eq!(holder, "a"),
        other => panic!("{other:?}"),
    }
    assert_eq!(world.usage(&web).used, 1, "what was refused took nothing");
}

#[test]
fn a_container_is_found_by_its_new_name_only() {
    let (mut world, web) = world_with("web");
    for (number, name) in [(1, "a"), (2, "b")] {
        let record = record(&world, number, name, &web, &[]);
        add(&mut world, record);
    }
    let a = world.container_by_reference("a").expect("a name").container.id.clone();
    let (taken, free) = ("b".parse().expect("literal"), "c".parse().expect("literal"));
    assert!(matches!(world.reserve_name(&a, &taken), Err(Failure::NameTaken { .. })));
    world.reserve_name(&a, &free).expect("free");
    world.rename_container(&a, free);
    assert!(world.container_by_reference("a").is_err());
    assert_eq!(world.container_by_reference("c").expect("its name").container.id, a);
}

#[test]
fn a_network_that_is_being_removed_takes_nobody_in() {
    let (mut world, web) = world_with("web");
    let retired = world.retire_network(&web.id).expect("nothing is on it");
    assert!(world.network_by_reference(&web.name).is_err());
    world.confirm_network(&retired.id);
    assert!(world.network_by_reference(&web.name).is_ok(), "the removal could not be committed");
}

#[test]
fn references_are_names_identifiers_or_their_beginnings() {
    let (mut world, web) = world_with("web");
    for (number, name) in [(0xaa, "api"), (0xdb, "db"), (0xab, "web")] {
        let record = record(&world, number, name, &web, &[]);
        add(&mut world, record);
    }
    fn found(world: &World, reference: &str) -> Result<String, Failure> {
        world.container_by_reference(reference).map(|record| record.container.name.to_string())
    }
    assert_eq!(found(&world, "api").expect("a name"), "api");
    assert_eq!(found(&world, "aaaa").expect("a beginning"), "api");
    assert_eq!(found(&world, &"ab".repeat(16)).expect("an identifier"), "web");
    let db = world.container_by_reference("db").expect("a name").container.id.clone();
    world.forget_container(&db, None);
    assert!(found(&world, "ab").is_err(), "too short for the beginning of an identifier");
    match found(&world, "apo") {
        Err(Failure::Unknown { nearest, .. }) => assert_eq!(nearest.as_deref(), Some("api")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_desired_state_has_what_lives_and_no_more() {
    let (mut world, web) = world_with("web");
    for number in [1, 2] {
        let record = record(&world, number, &format!("c{number}"), &web, &["80:80"][..usize::from(number == 1)]);
        add(&mut world, record);
    }
    let ids: Vec<ContainerId> = world.records().map(|record| record.container.id.clone()).collect();
    let pending = record(&world, 3, "pending", &web, &[]);
    world.reserve_container(pending).expect("free");
    let all = world.desired(&Scope::Everything);
    // The namespace of one that is being committed stands already.
    assert_eq!((all.bridges.len(), all.veths.len(), all.namespaces.len()), (1, 2, 3));
    world.record_exit(&ids[0], exit());
    let all = world.desired(&Scope::Everything);
    assert_eq!((all.veths.len(), all.namespaces.len()), (1, 2), "an ended container has no namespace");
    let one = world.desired(&world.scope_of(&world.record(&ids[0]).expect("still known").container).expect("its own"));
    assert_eq!((one.bridges.len(), one.veths.len(), one.namespaces.len()), (1, 0, 0), "of a removed endpoint nothing");
}

#[test]
fn a_lease_of_nobody_is_told_and_no_other() {
    let (mut world, web) = world_with("web");
    let a = record(&world, 1, "a", &web, &[]);
    add(&mut world, a);
    assert_eq!(world.leaked(&web.id), Vec::<IpAddr>::new());
    let address = "10.9.1.6".parse().expect("literal");
    let lease = Lease { network: web.id.clone(), address, endpoint: EndpointId::from_bytes([9; 8]) };
    world.note_lease(&lease, Revision::from_number(2));
    assert_eq!(world.leaked(&web.id), [address]);
}
