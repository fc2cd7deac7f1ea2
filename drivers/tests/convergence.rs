//! From any state a host can be in to any that can be desired: the changes lead there, in an order the kernel accepts,
//! and no link is ever up before its rules are in force.

use std::{collections::BTreeSet, net::Ipv4Addr};

use drivers::{Intent, Segment, desired};
use jiff::Timestamp;
use model::{
    Admin, Attachment, Bridge, Change, Driver, Element, Endpoint, EndpointId, Family, Forwarding, IfName, Inside, Ipv6,
    LinkSettings, MacAddress, Namespace, NamespaceName, Network, NetworkId, Observed, Reach, Scope, State, Structure,
    Subnet, Switch, Veth, diff,
};
use proptest::prelude::*;

const NETWORKS: u8 = 3;
const CONTAINERS: u8 = 5;

fn network(number: u8) -> Network {
    let subnet = Subnet::new(format!("10.{number}.0.0/24").parse().expect("literal"), None).expect("literal");
    Network {
        id: NetworkId::from_bytes([number; 8]),
        name: format!("net{number}").parse().expect("literal"),
        driver: Driver::Bridge,
        subnets: vec![subnet],
        reserved: Vec::new(),
        reach: Reach::Nat,
        gateway_mac: MacAddress::of(subnet.gateway()),
        mtu: 1500,
        name_servers: Vec::new(),
        labels: Default::default(),
        created_at: Timestamp::UNIX_EPOCH,
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
            mac: MacAddress::of(address.into()),
            aliases: Vec::new(),
            interface: format!("eth{on}").parse().expect("literal"),
            gateway_priority: 0,
        },
        namespace: format!("c{number}").parse().expect("literal"),
        publishes: vec![publishes.parse().expect("literal")],
        default_routes: default.then_some(Family::Ipv4).into_iter().collect(),
    }
}

/// Some networks, some containers on some of them, one of which may have the port that all of them want. A container's
/// default route leads over any of its networks, or none.
fn intents() -> impl Strategy<Value = Intent> {
    let place = (prop::collection::vec(any::<bool>(), usize::from(NETWORKS)), 0..=NETWORKS);
    let places = prop::collection::vec(place, usize::from(CONTAINERS));
    let networks = prop::collection::vec(any::<bool>(), usize::from(NETWORKS));
    (networks, places, 0..=CONTAINERS).prop_map(|(networks, places, greedy)| {
        let segments = (0..NETWORKS).filter(|number| networks[usize::from(*number)]).map(|number| {
            let here = (0..CONTAINERS).filter(|container| places[usize::from(*container)].0[usize::from(number)]);
            let attachments: Vec<_> = here
                .map(|container| {
                    attachment(container, number, container == greedy, places[usize::from(container)].1 == number)
                })
                .collect();
            Segment { network: network(number), published_to_loopback: !attachments.is_empty(), attachments }
        });
        Intent { segments: segments.collect(), namespaces: ["pool".parse().expect("literal")].into() }
    })
}

/// What may have happened to a host meanwhile.
#[derive(Debug, Clone, Copy)]
enum Damage {
    Flushed,
    LinksDown,
    EndsUnconfigured,
    EndsLost,
    BridgesLost,
    Detached,
    WrongAddresses,
    NamespacesUnprepared,
}

fn damages() -> impl Strategy<Value = Vec<Damage>> {
    use Damage::*;
    let each =
        [Flushed, LinksDown, EndsUnconfigured, EndsLost, BridgesLost, Detached, WrongAddresses, NamespacesUnprepared];
    prop::sample::subsequence(each.to_vec(), 0..=3)
}

fn damage(state: &mut State, what: Damage) {
    match what {
        Damage::Flushed => (state.structure, state.elements) = (Structure::Missing, Default::default()),
        Damage::LinksDown => {
            state.bridges.values_mut().for_each(|bridge| bridge.admin = Admin::Down);
            state.veths.values_mut().for_each(|veth| veth.admin = Admin::Down);
        }
        Damage::EndsUnconfigured => {
            state.veths.values_mut().filter_map(|veth| veth.inside.as_mut()).for_each(|inside| {
                (inside.admin, inside.gateway) = (Admin::Down, None);
                inside.addresses.clear();
            })
        }
        Damage::EndsLost => state.veths.values_mut().for_each(|veth| veth.inside = None),
        Damage::BridgesLost => {
            state.bridges.clear();
            state.veths.values_mut().for_each(|veth| veth.bridge = None);
        }
        Damage::Detached => state.veths.values_mut().for_each(|veth| veth.bridge = None),
        Damage::WrongAddresses => state.bridges.values_mut().for_each(|bridge| {
            bridge.addresses = ["10.99.0.1/24".parse().expect("literal")].into();
        }),
        Damage::NamespacesUnprepared => {
            state.namespaces.values_mut().for_each(|namespace| *namespace = Namespace::Unprepared);
        }
    }
}

/// What the kernel does with a change; it refuses what cannot be done in the state it is in.
fn apply(state: &mut State, change: &Change) -> Result<(), String> {
    let missing = |what: &dyn std::fmt::Display| format!("{change}: {what} is missing");
    match change {
        Change::InstallFirewall { elements } => {
            (state.structure, state.elements) = (Structure::Current, elements.clone());
        }
        Change::CreateNamespace(name) | Change::PrepareNamespace(name) => {
            state.namespaces.insert(name.clone(), Namespace::Ready);
        }
        Change::RemoveNamespace(name) => {
            state.namespaces.remove(name);
            state.veths.retain(|_, veth| veth.inside.as_ref().is_none_or(|inside| inside.namespace != *name));
        }
        Change::CreateBridge { name, bridge } => {
            let fresh = Bridge {
                alias: String::new(),
                admin: Admin::Down,
                addresses: Default::default(),
                ipv6: Ipv6::Credulous,
                loopback_routing: Switch::Off,
                ..bridge.clone()
            };
            if state.bridges.insert(name.clone(), fresh).is_some() {
                return Err(format!("{change}: it exists"));
            }
        }
        Change::CreateVeth { name, veth } => {
            let inside = veth.inside.as_ref().ok_or_else(|| missing(&"the other end"))?;
            if state.namespaces.get(&inside.namespace) != Some(&Namespace::Ready) {
                return Err(missing(&inside.namespace));
            }
            if !veth.bridge.as_ref().is_some_and(|bridge| state.bridges.contains_key(bridge)) {
                return Err(missing(&"its bridge"));
            }
            let end = Inside {
                admin: Admin::Down,
                addresses: Default::default(),
                gateway: None,
                gateway6: None,
                ipv6: Ipv6::Off,
                ..inside.clone()
            };
            let fresh = Veth {
                alias: String::new(),
                hairpin: Switch::Off,
                fixed: None,
                admin: Admin::Down,
                inside: Some(end),
                ..veth.clone()
            };
            if state.veths.insert(name.clone(), fresh).is_some() {
                return Err(format!("{change}: it exists"));
            }
        }
        Change::SetLink { name, settings } => {
            let LinkSettings { master, hairpin, fixed, mac, mtu, alias, admin } = settings.clone();
            if let Some(bridge) = state.bridges.get_mut(name) {
                bridge.mac = mac.unwrap_or(bridge.mac);
                bridge.mtu = mtu.unwrap_or(bridge.mtu);
                bridge.alias = alias.unwrap_or_else(|| bridge.alias.clone());
                bridge.admin = admin.unwrap_or(bridge.admin);
            } else {
                if master.as_ref().is_some_and(|master| !state.bridges.contains_key(master)) {
                    return Err(missing(&"the bridge"));
                }
                let veth = state.veths.get_mut(name).ok_or_else(|| missing(name))?;
                if master.is_some() {
                    (veth.hairpin, veth.fixed) = (Switch::Off, None);
                }
                veth.bridge = master.or_else(|| veth.bridge.clone());
                veth.hairpin = hairpin.unwrap_or(veth.hairpin);
                veth.fixed = fixed.or(veth.fixed);
                veth.mtu = mtu.unwrap_or(veth.mtu);
                veth.alias = alias.unwrap_or_else(|| veth.alias.clone());
                veth.admin = admin.unwrap_or(veth.admin);
            }
        }
        Change::RemoveLink(name) => {
            let known = state.veths.remove(name).is_some() | state.bridges.remove(name).is_some();
            state
                .veths
                .values_mut()
                .filter(|veth| veth.bridge.as_ref() == Some(name))
                .for_each(|veth| veth.bridge = None);
            if !known {
                return Err(missing(name));
            }
        }
        Change::AddAddress { name, address } => {
            state.bridges.get_mut(name).ok_or_else(|| missing(name))?.addresses.insert(*address);
        }
        Change::RemoveAddress { name, address } => {
            state.bridges.get_mut(name).ok_or_else(|| missing(name))?.addresses.remove(address);
        }
        Change::SetIpv6 { name, to } => state.bridges.get_mut(name).ok_or_else(|| missing(name))?.ipv6 = *to,
        Change::SetLoopbackRouting { name, to } => {
            state.bridges.get_mut(name).ok_or_else(|| missing(name))?.loopback_routing = *to;
        }
        Change::ConfigureInside { name, inside, leave, .. } => {
            // A namespace has one default route, and setting another replaces it.
            let others = state.veths.iter_mut().filter(|(other, _)| *other != name);
            let others = others.filter_map(|(_, veth)| veth.inside.as_mut());
            for other in others.filter(|other| inside.gateway.is_some() && other.namespace == inside.namespace) {
                other.gateway = None;
            }
            let veth = state.veths.get_mut(name).ok_or_else(|| missing(name))?;
            let stays = veth.inside.as_ref().and_then(|seen| seen.gateway);
            let stays = stays.filter(|gateway| !leave.contains(&(*gateway).into()));
            veth.inside = Some(Inside { gateway: inside.gateway.or(stays), ..inside.clone() });
        }
        Change::AddElements { elements, .. } => {
            for element in elements {
                if state.elements.iter().any(|other| other.same_key(element) && other != element) {
                    return Err(format!("{change}: {element} is there with another value"));
                }
                state.elements.insert(element.clone());
            }
        }
        Change::RemoveElements { elements } => state.elements.retain(|element| !elements.contains(element)),
        Change::ForgetFlows(_) => {}
        Change::AllowForwarding(Family::Ipv4) => state.forwarding = Forwarding::TurnedOn,
        Change::AllowForwarding(Family::Ipv6) => state.forwarding6 = Forwarding::TurnedOn,
    }
    Ok(())
}

/// Every link that is up has the elements it needs; those of a port are the ones that say what may come in by it.
fn unprotected(state: &State, wanted: &State) -> Option<String> {
    let up = |name: &model::IfName| {
        let bridge =
            wanted.bridges.contains_key(name) && state.bridges.get(name).is_some_and(|it| it.admin == Admin::Up);
        bridge || wanted.veths.contains_key(name) && state.veths.get(name).is_some_and(|it| it.admin == Admin::Up)
    };
    let needed = wanted.elements.iter().filter(|element| match element {
        Element::Bridge(name) | Element::SameBridge(name) | Element::Masqueraded(name) | Element::Internal(name) => {
            up(name)
        }
        Element::Sender { port, .. } | Element::Source { port, .. } => up(port),
        Element::Published(_) | Element::ForwardingGuard(_) => false,
    });
    needed.filter(|element| !state.elements.contains(*element)).map(ToString::to_string).next()
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
        let seen = |state: &State| Observed { state: state.clone(), elements_beyond: Default::default() };
        let flushed = state.structure != Structure::Current;
        let bare_before = unprotected(&state, &wanted).is_some();
        // Where the end with the default route stays, or the one that is to have it is there, there is one all the time.
        let (has, will) = (routed(&state, Some(&wanted)), routed(&wanted, Some(&state)));
        let keeps: BTreeSet<_> = routed(&state, None).intersection(&routed(&wanted, None)).cloned().collect();
        let keeps: BTreeSet<_> = keeps.into_iter().filter(|name| has.contains(name) || will.contains(name)).collect();
        for change in diff(&wanted, &seen(&state)) {
            apply(&mut state, &change).map_err(TestCaseError::fail)?;
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
        let elements: Vec<_> = state.elements.iter().filter(|element| **element != Element::ForwardingGuard(Family::Ipv4)).collect();
        prop_assert_eq!(elements, wanted.elements.iter().collect::<Vec<_>>());
        let guarded = state.elements.contains(&Element::ForwardingGuard(Family::Ipv4));
        prop_assert_eq!(guarded, state.forwarding == Forwarding::TurnedOn, "the guard stands where Fabric opened");
        prop_assert_eq!(diff(&wanted, &seen(&state)), vec![], "a second time changes nothing");
    }
}
