//! Who comes and goes is followed by elements, and it comes to the same as if all was made anew.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use model::ContainerName;
use policy::{Compilation, DnsName, Endpoint, NAME_LABEL, Network, World, compile};
use proptest::{prelude::*, test_runner::TestRunner};

use crate::{
    rig::{self, now},
    scene::{policies, world},
};

type Containers = BTreeMap<ContainerName, Vec<Endpoint>>;
type Names = BTreeMap<DnsName, BTreeSet<IpAddr>>;

fn containers(world: &World) -> Containers {
    let mut containers = Containers::new();
    for endpoint in world.endpoints() {
        let name = endpoint.name.clone().expect("all have names");
        containers.entry(name).or_default().push(endpoint.clone());
    }
    containers
}

/// The same world with these containers and names instead of its own.
fn inhabited(world: &World, containers: &Containers, names: &Names) -> World {
    let network = |name: &model::NetworkName| {
        let mut labels = world.labels_of(name);
        labels.remove(NAME_LABEL);
        (name.clone(), Network { labels, gateways: world.gateways_of(name).collect(), ..Network::default() })
    };
    let endpoints = containers.values().flatten().cloned().collect();
    let networks = world.networks().map(network).collect();
    World::new(networks, endpoints, names.clone(), world.host().collect()).expect("nobody has what another has")
}

/// Some names, each with some addresses or none: of somebody outside, of whoever may be a container, and of the host.
fn names() -> impl Strategy<Value = Names> {
    let name = prop::sample::select(vec!["api.example.com", "v2.api.example.com", "example.org", "other.org"]);
    let address = prop::sample::select(vec![
        "203.0.113.7",
        "203.0.113.9",
        "2001:db8::7",
        "10.0.0.2",
        "10.0.0.3",
        "10.1.0.2",
        "192.0.2.10",
        "198.51.100.1",
    ]);
    let name = name.prop_map(|name| name.parse::<DnsName>().expect("literal"));
    let address = address.prop_map(|address| address.parse::<IpAddr>().expect("literal"));
    prop::collection::btree_map(name, prop::collection::btree_set(address, 0..4), 0..3)
}

/// Containers as they were, and some of them as another world has them.
fn step() -> impl Strategy<Value = (World, u8, Names)> {
    (world(), prop_oneof![4 => prop::sample::select(vec![0u8, 1, 2, 4, 8, 16, 32]), 1 => any::<u8>()], names())
}

#[test]
fn following_comes_to_the_same_as_making_anew() {
    let by_elements = Cell::new(0);
    let config = ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() };
    let given = (policies(), world(), prop::collection::vec(step(), 1..12));
    let tried = TestRunner::new(config).run(&given, |(policies, start, steps)| {
        let (mut all, mut named) = (containers(&start), start.names().clone());
        let mut compilation = Compilation::new(&policies, start.clone(), now());
        for (other, chosen, renamed) in steps {
            let others = containers(&other);
            let names = (0..8).filter(|number| chosen & (1 << number) != 0).map(|number| format!("c{number}"));
            let names = names.map(|name| name.parse::<ContainerName>().expect("a name"));
            let changed: Containers =
                names.map(|name| (name.clone(), others.get(&name).cloned().unwrap_or_default())).collect();
            let before = compilation.path().clone();
            prop_assert!(compilation.change(changed.clone()), "nobody has what another has");
            all.extend(changed);
            prop_assert_eq!(&**compilation.path(), &compile(&policies, &inhabited(&start, &all, &named), now()));
            compilation.rename(renamed.clone());
            named.extend(renamed);
            prop_assert_eq!(&**compilation.path(), &compile(&policies, &inhabited(&start, &all, &named), now()));
            let difference = before.difference(compilation.path());
            by_elements.set(by_elements.get() + usize::from(difference.is_of_elements() && !difference.is_empty()));
        }
        Ok(())
    });
    tried.unwrap_or_else(|error| panic!("{error}"));
    assert!(by_elements.get() > 200, "control: much is followed by elements: {}", by_elements.get());
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let policies = rig::policies(
        "apiVersion: fabric/v1\nkind: Policy\nmetadata: {name: a}\nnetworks: [shop]\ningress: [{action: deny}]\n",
    );
    let world = rig::world();
    let mut compilation = Compilation::new(&policies, world.clone(), now());
    let before = compilation.path().clone();
    let named = |name: &str| {
        let is = |endpoint: &&Endpoint| endpoint.name.as_ref().is_some_and(|own| own.as_str() == name);
        world.endpoints().iter().find(is).expect("it is there").clone()
    };
    let (web, api) = (named("web"), named("api"));
    let with = |address: &str| Endpoint { addresses: [address.parse().expect("literal")].into(), ..web.clone() };
    let elsewhere = Endpoint { network: "nowhere".parse().expect("literal"), ..web.clone() };
    let change = |endpoints: &[Endpoint]| [("web".parse().expect("literal"), endpoints.to_vec())].into();
    for endpoints in [&[with("10.1.0.3")][..], &[with("192.0.2.10")], &[web.clone(), with("10.1.0.77")], &[elsewhere]] {
        assert!(!compilation.change(change(endpoints)), "it cannot be: {endpoints:?}");
        assert_eq!(*compilation.path(), before);
    }
    // Two that swap their addresses do so at once.
    let swapped = |own: &Endpoint, other: &Endpoint| Endpoint { addresses: other.addresses.clone(), ..own.clone() };
    let both = [("web", swapped(&web, &api)), ("api", swapped(&api, &web))];
    let both = both.map(|(name, endpoint)| (name.parse().expect("literal"), vec![endpoint]));
    assert!(compilation.change(both.into()));
    assert!(before.difference(compilation.path()).is_of_elements());
}

#[test]
fn an_address_that_a_name_gets_is_elements_only_and_nobody_s_here() {
    let policies = rig::policies(
        "apiVersion: fabric/v1\nkind: Policy\nmetadata: {name: a}\nnetworks: [shop]\negress:\n\
         - {action: allow, to: [{dns: ['*.example.com']}]}\n- {action: allow, to: [{dns: [example.org]}], ports: [80]}\n\
         - {action: deny, order: 200}\n",
    );
    let mut compilation = Compilation::new(&policies, rig::world(), now());
    let mut learn = |names: &[(&str, &str)]| {
        let before = compilation.path().clone();
        let name = |(name, address): &(&str, &str)| {
            let addresses = [address].iter().filter_map(|address| address.parse::<IpAddr>().ok()).collect();
            (name.parse::<DnsName>().expect("literal"), addresses)
        };
        compilation.rename(names.iter().map(name).collect());
        let difference = before.difference(compilation.path());
        assert!(difference.is_of_elements());
        (difference.old_elements.len(), difference.new_elements.len())
    };
    assert_eq!(learn(&[("v1.example.com", "198.51.100.1")]), (0, 1));
    assert_eq!(learn(&[("v2.example.com", "198.51.100.1")]), (0, 0), "another name of the same");
    assert_eq!(learn(&[("example.org", "198.51.100.1"), ("v2.example.com", "")]), (1, 1), "of another rule");
    assert_eq!(learn(&[("v1.example.com", "198.51.100.2")]), (1, 1));
    assert_eq!(learn(&[("other.org", "198.51.100.3")]), (0, 0), "no rule is about it");
    for of_somebody_here in ["10.1.0.2", "10.1.0.1", "192.0.2.10"] {
        assert_eq!(learn(&[("example.org", of_somebody_here)]).1, 0, "{of_somebody_here}");
    }
}
