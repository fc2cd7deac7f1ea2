//! Whoever comes, goes or changes: what judges them is the same as if it was made of all who are there.

use std::{sync::Arc, time::Duration};

use policy::compile;

use super::*;
use crate::rulebook::{PolicyFile, Rulebook};

const RULES: &str = "apiVersion: fabric/v1
kind: Policy
metadata: {name: some}
networks: ['*']
subject: {names: [a, b, c]}
ingress:
- {action: allow, from: [{names: [d, e]}, {networkLabels: {env: prod}}, {entity: host}], ports: [80]}
- {action: deny, from: [{entity: world}]}
egress:
- {action: deny, to: [{names: [b]}]}
- {action: deny, to: [{dns: ['*.example.com']}]}
";

fn rulebook() -> Arc<Rulebook> {
    let file = PolicyFile {
        name: "rules.yaml".to_owned(),
        network: None,
        text: RULES.to_owned(),
        documents: ["some".to_owned()].into(),
    };
    Arc::new(Rulebook::new([("1".to_owned(), file)]).expect("it is valid"))
}

#[track_caller]
fn assert_judged(world: &World, doing: &str) {
    let whole = compile(world.rulebook().policies(), &world.as_judged(), Timestamp::UNIX_EPOCH);
    assert_eq!(*world.policing(), whole, "{doing}");
    let is_one = Arc::ptr_eq(&world.policing(), &world.policing());
    assert!(is_one || whole.is_empty(), "nothing has changed since: {doing}");
}

fn wanted(network: &Network) -> EndpointCreate {
    EndpointCreate::new(network.name.clone())
}

#[test]
fn who_comes_and_goes_is_judged_as_if_all_were_looked_at() {
    let (mut world, web) = world_with("web");
    world.set_rulebook(rulebook());
    let mut ids = BTreeMap::new();
    for (number, name) in ["a", "b", "d", "other"].into_iter().enumerate() {
        let made = record(&world, number as u8 + 1, name, &web, &[]);
        let id = made.container.id.clone();
        world.reserve_container(made).expect("nothing is taken");
        assert_judged(&world, "one is being made");
        world.confirm_container(&id, Revision::from_number(1));
        assert_judged(&world, "it is there");
        ids.insert(name, id);
    }
    let addresses = |world: &World| world.policing().commands("t").matches("10.9.1.").count();
    let all = addresses(&world);
    assert!(all > 4, "control: they are in it");

    let other = network(2, "other");
    world.reserve_network(other.clone()).expect("the name is free");
    assert_judged(&world, "a network is being made");
    world.confirm_network(&other.id);
    assert_judged(&world, "it is there");
    let (record, endpoint) =
        world.reserve_endpoint(&ids["a"], EndpointId::from_bytes([9; 8]), &wanted(&other)).expect("there is room");
    assert_judged(&world, "one is being attached");
    assert_eq!(record.container.endpoints.len(), 2);
    world.confirm_endpoint(&ids["a"], &endpoint, Revision::from_number(2));
    assert_judged(&world, "it is attached");
    assert!(world.policing().commands("t").contains("10.9.2."), "control: under that address, too");

    world.reserve_name(&ids["d"], &"c".parse().expect("literal")).expect("the name is free");
    world.rename_container(&ids["d"], "c".parse().expect("literal"));
    assert_judged(&world, "one has another name");
    world.reserve_name(&ids["other"], &"d".parse().expect("literal")).expect("the name is free");
    world.rename_container(&ids["other"], "d".parse().expect("literal"));
    assert_judged(&world, "another one has its name");

    let labelled = Network { labels: [("env".to_owned(), "prod".to_owned())].into(), ..other.clone() };
    world.confirm_update(&labelled);
    assert_judged(&world, "a network has a label");
    world.part_endpoint(&ids["a"], &endpoint.id);
    assert_judged(&world, "one is leaving a network");
    world.forget_leaving(&ids["a"], Revision::from_number(3));
    assert_judged(&world, "it has left");
    assert!(!world.policing().commands("t").contains("10.9.2.2"), "control: nobody has that address any more");
    world.retire_network(&other.id).expect("nobody is on it");
    assert_judged(&world, "a network is going");
    world.forget_network(&other);
    assert_judged(&world, "it is gone");

    let held: IpAddr = world.record(&ids["b"]).expect("it is there").container.endpoints[0].ipv4.expect("one").into();
    world.note_host([held, [192, 0, 2, 1].into()].into());
    assert_judged(&world, "the host claims to have a container's address");
    for name in ["b", "a", "d", "other"] {
        world.forget_container(&ids[name], Some(Revision::from_number(4)));
        assert_judged(&world, "one is gone");
    }
    world.set_rulebook(Arc::default());
    assert_judged(&world, "there are no policies any more");
    assert!(world.policing().is_empty());
}

#[test]
fn whoever_has_a_gateway_s_mac_address_is_not_taken_for_the_host() {
    let (mut world, web) = world_with("web");
    let other = Network {
        subnets: vec![Subnet::new("fd00:9::/64".parse().expect("literal"), None).expect("literal")],
        ..network(2, "other")
    };
    world.reserve_network(other.clone()).expect("the name is free");
    world.confirm_network(&other.id);
    world.set_rulebook(rulebook());
    let mut made = record(&world, 1, "a", &web, &[]);
    let wanted = EndpointCreate { mac: Some(other.gateway_mac), ..wanted(&web) };
    let alone = Container { endpoints: Vec::new(), ..made.container.clone() };
    let refused = world.plan_endpoint(EndpointId::from_bytes([7; 8]), &alone, &wanted, &[]);
    let Err(failure) = refused else { panic!("the gateway of another network has it") };
    assert!(failure.to_string().contains("the gateway of network `other`"), "{failure}");

    // One that has it all the same.
    made.container.endpoints[0].mac = Some(other.gateway_mac);
    made.container.endpoints[0].ipv6 = Some("fd00:8::2".parse().expect("literal"));
    add(&mut world, made);
    assert_judged(&world, "two have one link-local address");
    assert!(world.policing().commands("t").contains("fd00:8::2"), "control: it is judged under its own address");
}

#[test]
fn what_names_lead_to_is_judged_as_if_all_were_looked_at() {
    let (mut world, web) = world_with("web");
    world.set_rulebook(rulebook());
    let made = record(&world, 1, "a", &web, &[]);
    let own: IpAddr = made.container.endpoints[0].ipv4.expect("one").into();
    let id = add(&mut world, made);
    let other = record(&world, 2, "other", &web, &[]);
    add(&mut world, other);
    let (now, minute) = (Duration::from_secs(1000), Duration::from_secs(60));
    let learn = |world: &World, name: &str, address: IpAddr| {
        let (about, mut table) = (world.learned().about(), world.learned().table());
        let entries = table.learn(&about, &name.parse().expect("a name"), &[(address, minute)], now).expect("room");
        table.confirm(&entries);
    };
    let outside = |last: u8| IpAddr::from([203, 0, 113, last]);
    let has = |world: &World, address: IpAddr| world.policing().commands("t").contains(&address.to_string());
    assert_judged(&world, "nothing is known");
    learn(&world, "api.example.com", outside(1));
    assert_judged(&world, "a name has an address");
    assert!(has(&world, outside(1)));
    learn(&world, "other.example.org", outside(2));
    assert!(!has(&world, outside(2)), "no rule is about it");
    let elements = world.policing().commands("t").matches(&own.to_string()).count();
    learn(&world, "rebound.example.com", own);
    assert_judged(&world, "a name leads inside");
    assert_eq!(world.policing().commands("t").matches(&own.to_string()).count(), elements);

    let population = world.population();
    learn(&world, "api.example.com", outside(3));
    assert_judged(&world, "while others are compiled, there is one more");
    let (compiled, _) = population.under(rulebook());
    world.set_compiled(compiled);
    assert_judged(&world, "they are in force");
    assert!(has(&world, outside(3)));

    world.forget_container(&id, Some(Revision::from_number(2)));
    assert_judged(&world, "who had the address is gone");
    let name = |text: &str| text.parse::<ContainerName>().expect("a name");
    let asked = "v2.example.com".parse().expect("a name");
    assert!(!world.may_teach(&name("other"), &asked) && !world.may_teach(&name("a"), &asked));
    let another = record(&world, 3, "b", &web, &[]);
    add(&mut world, another);
    assert_judged(&world, "another one may have it");
    assert!(world.may_teach(&name("b"), &asked), "a rule is for it");

    let about = world.learned().about();
    assert!(world.learned().table().expire(&about, now + 10 * minute));
    assert_judged(&world, "all have lapsed");
    assert!(!has(&world, outside(1)) && !has(&world, outside(3)));
    learn(&world, "api.example.com", outside(4));
    world.set_rulebook(Arc::default());
    assert_judged(&world, "there are no policies any more");
    world.set_rulebook(rulebook());
    assert_judged(&world, "there are again");
    assert!(has(&world, outside(4)));
}
