//! From any state a host can be in to any that can be desired: the changes lead there, in an order the kernel accepts,
//! and no link is ever up before its rules are in force.

mod damage;
mod machine;

use std::{collections::BTreeSet, net::Ipv4Addr};

use drivers::{Intent, Segment, desired};
use jiff::Timestamp;
use model::{
    Admin, Attachment, Change, Driver, Element, Endpoint, EndpointId, Family, Forwarding, IfName, MacAddress,
    NamespaceName, Network, NetworkId, Observed, Reach, Scope, Spare, State, Structure, Subnet, Switch, diff,
};
use proptest::prelude::*;

use damage::{Damage, damage, damages};
use machine::apply;

const NETWORKS: u8 = 3;
const CONTAINERS: u8 = 5;

fn network(number: u8, icc: bool) -> Network {
    let subnet = Subnet::new(format!("10.{number}.0.0/24").parse().expect("literal"), None).expect("literal");
    Network {
        id: NetworkId::from_bytes([number; 8]),
        name: format!("net{number}").parse().expect("literal"),
        driver: Driver::Bridge,
        parent: None,
        vlan: None,
        subnets: vec![subnet],
        reserved: Vec::new(),
        reach: Reach::Nat,
        icc: icc.into(),
        default_route: Default::default(),
        routes: Vec::new(),
        gateway_mac: MacAddress::of(subnet.gateway()),
        mtu: 1500,
        mtu_source: model::MtuSource::Fixed,
        name_servers: Vec::new(),
        labels: Default::default(),
        created_at: Timestamp::UNIX_EPOCH,
    }
}

/// The name of a container's interface on a network. Every other container has chosen one for its first, which leaves
/// the name of a pair that waits to its second.
fn interface(number: u8, on: u8) -> String {
    match (number % 2, on) {
        (1, 0) => "lan0".to_owned(),
        (1, on) => format!("eth{}", on - 1),
        (_, on) => format!("eth{on}"),
    }
}

/// Container `number` on network `on`, with its own host port and, if it is greedy, one that others want as well.
fn attachment(number: u8, on: u8, greedy: bool, default: bool) -> Attachment {
    let address = Ipv4Addr::new(10, on, 0, number + 10);
    let publishes =
        if greedy { format!("80:{}", 1000 + u16::from(number)) } else { format!("{}:80", 8000 + u16::from(number)) };
    Attachment {
        endpoint: Endpoint {
            id: EndpointId::from_bytes([number, on, 0, 0, 0, 0, 0, 0]),
            network: NetworkId::from_bytes([on; 8]),
            ipv4: Some(address),
            ipv6: None,
            mac: Some(MacAddress::of(address.into())),
            aliases: Vec::new(),
            interface: interface(number, on).parse().expect("literal"),
            gateway_priority: 0,
        },
        namespace: format!("c{number}").parse().expect("literal"),
        publishes: vec![publishes.parse().expect("literal")],
        default_routes: default.then_some(Family::Ipv4).into_iter().collect(),
        routes: Default::default(),
        announcement: Default::default(),
    }
}

/// Some networks, some containers on some of them, one of which may have the port that all of them want. A container's
/// default route leads over any of its networks, or none.
fn intents() -> impl Strategy<Value = Intent> {
    let place = (prop::collection::vec(any::<bool>(), usize::from(NETWORKS)), 0..=NETWORKS);
    let places = prop::collection::vec(place, usize::from(CONTAINERS));
    let networks = prop::collection::vec(any::<bool>(), usize::from(NETWORKS));
    let icc = any::<[bool; NETWORKS as usize]>();
    let pairs = prop::collection::vec(any::<bool>(), usize::from(CONTAINERS));
    (networks, icc, places, pairs, 0..=CONTAINERS).prop_map(|(networks, icc, places, pairs, greedy)| {
        let segments = (0..NETWORKS).filter(|number| networks[usize::from(*number)]).map(|number| {
            let here = (0..CONTAINERS).filter(|container| places[usize::from(*container)].0[usize::from(number)]);
            let attachments: Vec<_> = here
                .map(|container| {
                    attachment(container, number, container == greedy, places[usize::from(container)].1 == number)
                })
                .collect();
            let network = network(number, icc[usize::from(number)]);
            Segment { network, published_to_loopback: !attachments.is_empty(), judged: false, attachments }
        });
        // Where nobody is on any network, the pair of who comes to the first may wait.
        let waits = |container: &u8| {
            let at = usize::from(*container);
            pairs[at] && networks.iter().zip(&places[at].0).all(|(there, here)| !(*there && *here))
        };
        let spare = |container| {
            let Attachment { endpoint, namespace, .. } = attachment(container, 0, false, false);
            Spare { namespace, endpoint: endpoint.id }
        };
        let spares: Vec<_> = (0..CONTAINERS).filter(waits).map(spare).collect();
        let pool = ["pool".parse().expect("literal")].into_iter();
        let namespaces = pool.chain(spares.iter().map(|spare| spare.namespace.clone())).collect();
        Intent { segments: segments.collect(), namespaces, spares }
    })
}

/// Every link that is up has the elements it needs; those of a port are the ones that say what may come in by it.
fn unprotected(state: &State, wanted: &State) -> Option<String> {
    let up = |name: &model::IfName| {
        let bridge =
            wanted.bridges.contains_key(name) && state.bridges.get(name).is_some_and(|it| it.admin == Admin::Up);
        bridge || wanted.veths.contains_key(name) && state.veths.get(name).is_some_and(|it| it.admin == Admin::Up)
    };
    let needed = wanted.elements.iter().filter(|element| match element {
        Element::Bridge(name)
        | Element::SameBridge(name)
        | Element::Masqueraded(name)
        | Element::Internal(name)
        | Element::Gateway { bridge: name, .. } => up(name),
        Element::Sender { port, .. } | Element::Source { port, .. } | Element::Holder { port, .. } => up(port),
        // What lets more through is missed by nobody's safety.
        Element::Icc(_) | Element::Published(_) | Element::ForwardingGuard(_) => false,
    });
    needed.filter(|element| !state.elements.contains(*element)).map(ToString::to_string).next()
}

/// The ports of containers that are to be kept apart, and are not.
fn joined(state: &State, wanted: &State) -> BTreeSet<IfName> {
    let apart = wanted.veths.iter().filter(|(_, veth)| veth.isolated == Switch::On);
    let is_joined = |name: &&IfName| {
        let veth = state.veths.get(*name);
        veth.is_some_and(|it| it.admin == Admin::Up && it.bridge.is_some() && it.isolated == Switch::Off)
    };
    apart.map(|(name, _)| name).filter(is_joined).cloned().collect()
}

/// Who is reached by the shortcut though he should not be, or cannot be.
fn exposed(state: &State, wanted: &State) -> Option<String> {
    let held = state.shortcut.passages.iter().filter(|(_, passage)| passage.holds_anything());
    let mut exposed = held.filter(|(port, passage)| {
        let should = wanted.shortcut.passages.get(*port).is_some_and(|wanted| wanted.sender == passage.sender);
        !should || !state.veths.get(*port).is_some_and(|veth| veth.admin == Admin::Up)
    });
    exposed.next().map(|(port, passage)| format!("{port}: {passage}"))
}

/// The namespaces that have a default route over one of these interfaces that are up, or over any.
fn routed(state: &State, over: Option<&State>) -> BTreeSet<NamespaceName> {
    let over = |name: &IfName| over.is_none_or(|over| over.veths.contains_key(name));
    let veths = state.veths.iter().filter(|(name, veth)| veth.admin == Admin::Up && over(name));
    let insides = veths.filter_map(|(_, veth)| veth.inside.as_ref());
    insides.filter(|inside| inside.gateway.is_some()).map(|inside| inside.namespace.clone()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn changes_lead_from_any_state_to_any_other(
        before in intents(),
        after in intents(),
        damages in damages(),
        forwarding in prop_oneof![Just(Forwarding::Off), Just(Forwarding::On), Just(Forwarding::TurnedOn)],
    ) {
        let mut state = desired(&Scope::Everything, &before);
        state.forwarding = forwarding;
        if forwarding == Forwarding::TurnedOn {
            state.elements.insert(Element::ForwardingGuard(Family::Ipv4));
        }
        for what in &damages {
            damage(&mut state, *what);
        }
        let wanted = desired(&Scope::Everything, &after);
        let seen = |state: &State| Observed { state: state.clone(), elements_beyond: Default::default(), unreadable: Default::default() };
        let flushed = state.structure != Structure::Current;
        // What is taken away first; from then on nobody takes it who should not.
        let closing = |change: &Change| {
            matches!(
                change,
                Change::LeaveQuestions | Change::ClosePassage(_) | Change::RemoveStrays(_) | Change::RemoveShortcut
            )
        };
        let links_whole = !damages.iter().any(|it| matches!(it, Damage::LinksDown | Damage::EndsLost));
        let bare_before = unprotected(&state, &wanted).is_some();
        let joined_before = joined(&state, &wanted);
        // Where the end with the default route stays, or the one that is to have it is there, there is one all the
        // time.
        let (has, will) = (routed(&state, Some(&wanted)), routed(&wanted, Some(&state)));
        let keeps: BTreeSet<_> = routed(&state, None).intersection(&routed(&wanted, None)).cloned().collect();
        let keeps: BTreeSet<_> = keeps.into_iter().filter(|name| has.contains(name) || will.contains(name)).collect();
        for change in diff(&wanted, &seen(&state)) {
            apply(&mut state, &change).map_err(TestCaseError::fail)?;
            let joined = joined(&state, &wanted);
            prop_assert!(joined.is_subset(&joined_before), "{:?} after {}", joined, change);
            if !closing(&change) && links_whole {
                prop_assert_eq!(exposed(&state, &wanted), None, "after {}", change);
            }
            if !flushed && !bare_before {
                prop_assert_eq!(unprotected(&state, &wanted), None, "after {}", change);
            }
            if damages.is_empty() {
                let routed = routed(&state, None);
                let lost = keeps.difference(&routed).next();
                prop_assert_eq!(lost, None, "no default route after {}", change);
            }
        }
        prop_assert_eq!(&state.bridges, &wanted.bridges);
        prop_assert_eq!(&state.veths, &wanted.veths);
        prop_assert_eq!(&state.namespaces, &wanted.namespaces);
        let held = state.shortcut.passages.iter().filter(|(_, passage)| passage.holds_anything());
        prop_assert_eq!(held.collect::<Vec<_>>(), wanted.shortcut.passages.iter().collect::<Vec<_>>());
        prop_assert_eq!(&state.shortcut.strays, &wanted.shortcut.strays);
        prop_assert_eq!(state.shortcut.questions.left, state.shortcut.questions.judged);
        let elements: Vec<_> = state.elements.iter().filter(|element| **element != Element::ForwardingGuard(Family::Ipv4)).collect();
        prop_assert_eq!(elements, wanted.elements.iter().collect::<Vec<_>>());
        let guarded = state.elements.contains(&Element::ForwardingGuard(Family::Ipv4));
        prop_assert_eq!(guarded, state.forwarding == Forwarding::TurnedOn, "the guard stands where Fabric opened");
        prop_assert_eq!(diff(&wanted, &seen(&state)), vec![], "a second time changes nothing");
    }
}
