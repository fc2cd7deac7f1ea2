//! Who comes and goes is followed by elements, and it comes to the same as if all was made anew.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
};

use model::ContainerName;
use policy::{Compilation, DnsName, Endpoint, NAME_LABEL, Network, World, compile};
use proptest::{prelude::*, test_runner::TestRunner};

use crate::{
    rig::{self, now},
    scene::{policies, world},
};

type Containers = BTreeMap<ContainerName, Vec<Endpoint>>;

fn containers(world: &World) -> Containers {
    let mut containers = Containers::new();
    for endpoint in world.endpoints() {
        let name = endpoint.name.clone().expect("all have names");
        containers.entry(name).or_default().push(endpoint.clone());
    }
    containers
}

/// The same world with these containers instead of its own.
fn inhabited(world: &World, containers: &Containers) -> World {
    let network = |name: &model::NetworkName| {
        let mut labels = world.labels_of(name);
        labels.remove(NAME_LABEL);
        (name.clone(), Network { labels, gateways: world.gateways_of(name).collect() })
    };
    let names = ["api.example.com", "v2.api.example.com", "example.org"].map(|name| {
        let name: DnsName = name.parse().expect("literal");
        let addresses: BTreeSet<_> = world.addresses_of(&name).collect();
        (name, addresses)
    });
    let endpoints = containers.values().flatten().cloned().collect();
    let networks = world.networks().map(network).collect();
    World::new(networks, endpoints, names.into(), world.host().collect()).expect("nobody has what another has")
}

/// Containers as they were, and some of them as another world has them.
fn step() -> impl Strategy<Value = (World, u8)> {
    (world(), prop_oneof![4 => prop::sample::select(vec![1u8, 2, 4, 8, 16, 32]), 1 => any::<u8>()])
}

#[test]
fn following_comes_to_the_same_as_making_anew() {
    let by_elements = Cell::new(0);
    let config = ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() };
    let given = (policies(), world(), prop::collection::vec(step(), 1..12));
    let tried = TestRunner::new(config).run(&given, |(policies, start, steps)| {
        let mut all = containers(&start);
        let mut compilation = Compilation::new(&policies, start.clone(), now());
        for (other, chosen) in steps {
            let others = containers(&other);
            let names = (0..8).filter(|number| chosen & (1 << number) != 0).map(|number| format!("c{number}"));
            let names = names.map(|name| name.parse::<ContainerName>().expect("a name"));
            let changed: Containers =
                names.map(|name| (name.clone(), others.get(&name).cloned().unwrap_or_default())).collect();
            let before = compilation.path().clone();
            prop_assert!(compilation.change(changed.clone()), "nobody has what another has");
            all.extend(changed);
            prop_assert_eq!(&**compilation.path(), &compile(&policies, &inhabited(&start, &all), now()));
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
