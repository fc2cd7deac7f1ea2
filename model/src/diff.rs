//! The changes that lead from a host's state as it is to the state as it should be.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Admin, Bridge, Change, Element, Family, Flows, Forwarding, IfName, Inside, Ipv6, LinkSettings, Namespace, Observed,
    State, Structure, Switch, Veth,
};

/// The changes that turn what was observed into what is desired, in the order in which to apply them.
///
/// First an end takes a default route over from one that goes, so that there is one at every moment. Then goes what is no
/// longer desired: links down, then their firewall elements and flows, then the links, then
/// namespaces. Then comes what is missing, the other way round: rules and elements are in force before the links
/// they judge come up.
pub fn diff(desired: &State, observed: &Observed) -> Vec<Change> {
    let mut changes = Vec::new();
    let elements = wanted_elements(desired, &observed.state);
    reroute(desired, &observed.state, &mut changes);
    lower(desired, &observed.state, &mut changes);
    remove_elements(desired, &elements, &observed.state, &mut changes);
    remove_objects(desired, &observed.state, &mut changes);
    let missing: BTreeSet<Element> = if observed.state.structure == Structure::Current {
        elements.difference(&observed.state.elements).cloned().collect()
    } else {
        let elements = elements.union(&observed.elements_beyond).cloned().collect();
        changes.push(Change::InstallFirewall { elements });
        BTreeSet::new()
    };
    raise(desired, &observed.state, missing, &mut changes);
    changes
}

/// The elements desired, and the guard if Fabric has turned on forwarding or is about to.
fn wanted_elements(desired: &State, observed: &State) -> BTreeSet<Element> {
    let mut elements = desired.elements.clone();
    for family in Family::ALL {
        if turns_on_forwarding(family, desired, observed) || observed.forwarding(family) == Forwarding::TurnedOn {
            elements.insert(Element::ForwardingGuard(family));
        }
    }
    elements
}

/// The ends that gain a default route and are in order otherwise. Whatever rule stands for such an end stands already.
fn rerouted<'a>(desired: &'a State, observed: &'a State) -> impl Iterator<Item = (&'a IfName, &'a Inside)> {
    let current = observed.structure == Structure::Current;
    desired.veths.iter().filter(move |_| current).filter_map(|(name, veth)| {
        let (seen, inside) = (observed.veths.get(name)?.inside.as_ref()?, veth.inside.as_ref()?);
        let gains = seen.gateways() != inside.gateways() && seen.gateways().is_subset(&inside.gateways());
        let unrouted = Inside { gateway: seen.gateway, gateway6: seen.gateway6, ..inside.clone() };
        (gains && unrouted == *seen).then_some((name, inside))
    })
}

fn reroute(desired: &State, observed: &State, changes: &mut Vec<Change>) {
    changes.extend(rerouted(desired, observed).map(|(name, inside)| Change::ConfigureInside {
        name: name.clone(),
        inside: inside.clone(),
        remove: BTreeSet::new(),
        leave: BTreeSet::new(),
    }));
}

fn turns_on_forwarding(family: Family, desired: &State, observed: &State) -> bool {
    desired.forwarding(family) != Forwarding::Off && observed.forwarding(family) == Forwarding::Off
}

/// Links that are no longer desired go down before anything that protects them goes away.
fn lower(desired: &State, observed: &State, changes: &mut Vec<Change>) {
    let veths = observed.veths.iter().filter(|(name, _)| !desired.veths.contains_key(*name));
    let bridges = observed.bridges.iter().filter(|(name, _)| !desired.bridges.contains_key(*name));
    let links = veths.map(|(name, veth)| (name, veth.admin)).chain(bridges.map(|(name, bridge)| (name, bridge.admin)));
    for (name, _) in links.filter(|(_, admin)| *admin == Admin::Up) {
        let settings = LinkSettings { admin: Some(Admin::Down), ..LinkSettings::default() };
        changes.push(Change::SetLink { name: name.clone(), settings });
    }
}

fn remove_elements(desired: &State, wanted: &BTreeSet<Element>, observed: &State, changes: &mut Vec<Change>) {
    let gone: BTreeSet<Element> = observed.elements.difference(wanted).cloned().collect();
    if !gone.is_empty() && observed.structure == Structure::Current {
        changes.push(Change::RemoveElements { elements: gone.clone() });
    }
    let addresses = |state: &State| -> BTreeSet<_> {
        let insides = state.veths.values().filter_map(|veth| veth.inside.as_ref());
        insides.flat_map(|inside| inside.addresses.iter().map(|net| net.addr())).collect()
    };
    let kept = addresses(desired);
    let freed: BTreeSet<_> = addresses(observed).difference(&kept).copied().collect();
    let flows = gone
        .iter()
        .filter_map(Element::flows)
        .filter(|flows| !matches!(flows, Flows::Published(published) if freed.contains(&published.to.ip())));
    changes.extend(freed.iter().map(|address| Flows::Of(*address)).chain(flows).map(Change::ForgetFlows));
}

/// Links and namespaces go last: they know the addresses whose flows are to be forgotten, should this be cut short.
fn remove_objects(desired: &State, observed: &State, changes: &mut Vec<Change>) {
    let veths = observed.veths.keys().filter(|name| !desired.veths.contains_key(*name));
    let bridges = observed.bridges.keys().filter(|name| !desired.bridges.contains_key(*name));
    changes.extend(veths.chain(bridges).cloned().map(Change::RemoveLink));
    let namespaces = observed.namespaces.keys().filter(|name| !desired.namespaces.contains_key(*name));
    changes.extend(namespaces.cloned().map(Change::RemoveNamespace));
}

/// What is missing or differs, in the order of dependence.
fn raise(desired: &State, observed: &State, mut missing: BTreeSet<Element>, changes: &mut Vec<Change>) {
    for family in Family::ALL.into_iter().filter(|family| turns_on_forwarding(*family, desired, observed)) {
        if missing.remove(&Element::ForwardingGuard(family)) {
            add_elements(None, [Element::ForwardingGuard(family)].into(), changes);
        }
        changes.push(Change::AllowForwarding(family));
    }
    for name in desired.namespaces.keys() {
        match observed.namespaces.get(name) {
            None | Some(Namespace::Unpinned) => changes.push(Change::CreateNamespace(name.clone())),
            Some(Namespace::Unprepared) => changes.push(Change::PrepareNamespace(name.clone())),
            Some(Namespace::Ready) => {}
        }
    }
    let mut elements = by_owner(desired, missing);
    for (name, bridge) in &desired.bridges {
        let own = elements.remove(&Some(name)).unwrap_or_default();
        raise_bridge(name, bridge, observed.bridges.get(name), own, changes);
    }
    let rerouted: BTreeSet<&IfName> = rerouted(desired, observed).map(|(name, _)| name).collect();
    // Those with a default route first: it replaces the one that another end loses.
    let routed = |veth: &Veth| veth.inside.as_ref().is_some_and(|inside| !inside.gateways().is_empty());
    let (first, then): (Vec<_>, Vec<_>) = desired.veths.iter().partition(|(_, veth)| routed(veth));
    for (name, veth) in first.into_iter().chain(then) {
        let own = elements.remove(&Some(name)).unwrap_or_default();
        let mut observed = observed.veths.get(name).cloned();
        if let Some(observed) = observed.as_mut().filter(|_| rerouted.contains(name)) {
            observed.inside = veth.inside.clone();
        }
        raise_veth(name, veth, observed.as_ref(), own, changes);
    }
    add_elements(None, elements.into_values().flatten().collect(), changes);
}

/// Firewall elements by the interface they are there for.
fn by_owner(desired: &State, elements: BTreeSet<Element>) -> BTreeMap<Option<&IfName>, BTreeSet<Element>> {
    let mut holders = BTreeMap::new();
    for (name, veth) in &desired.veths {
        holders.extend(veth.inside.iter().flat_map(|inside| &inside.addresses).map(|net| (net.addr(), name)));
    }
    let mut owned: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for element in elements {
        let owner = match &element {
            Element::Bridge(name)
            | Element::SameBridge(name)
            | Element::Masqueraded(name)
            | Element::Internal(name) => desired.bridges.get_key_value(name).map(|(name, _)| name),
            Element::Published(published) => holders.get(&published.to.ip()).copied(),
            Element::Sender { port, .. } | Element::Source { port, .. } => {
                desired.veths.get_key_value(port).map(|(name, _)| name)
            }
            Element::ForwardingGuard(_) => None,
        };
        owned.entry(owner).or_default().insert(element);
    }
    owned
}

fn add_elements(of: Option<&IfName>, elements: BTreeSet<Element>, changes: &mut Vec<Change>) {
    if !elements.is_empty() {
        changes.push(Change::AddElements { of: of.cloned(), elements });
    }
}

fn set_link(name: &IfName, settings: LinkSettings, changes: &mut Vec<Change>) {
    if !settings.is_empty() {
        changes.push(Change::SetLink { name: name.clone(), settings });
    }
}

fn raise_bridge(
    name: &IfName,
    desired: &Bridge,
    observed: Option<&Bridge>,
    elements: BTreeSet<Element>,
    changes: &mut Vec<Change>,
) {
    // What the kernel makes of a creating message that names MAC address and MTU.
    let fresh = Bridge {
        alias: String::new(),
        admin: Admin::Down,
        addresses: BTreeSet::new(),
        ipv6: Ipv6::Credulous,
        loopback_routing: Switch::Off,
        ..desired.clone()
    };
    if observed.is_none() {
        changes.push(Change::CreateBridge { name: name.clone(), bridge: desired.clone() });
    }
    let observed = observed.unwrap_or(&fresh);
    add_elements(Some(name), elements, changes);
    if observed.ipv6 != desired.ipv6 {
        changes.push(Change::SetIpv6 { name: name.clone(), to: desired.ipv6 });
    }
    if observed.loopback_routing != desired.loopback_routing {
        changes.push(Change::SetLoopbackRouting { name: name.clone(), to: desired.loopback_routing });
    }
    for address in observed.addresses.difference(&desired.addresses) {
        changes.push(Change::RemoveAddress { name: name.clone(), address: *address });
    }
    for address in desired.addresses.difference(&observed.addresses) {
        changes.push(Change::AddAddress { name: name.clone(), address: *address });
    }
    let settings = LinkSettings {
        master: None,
        hairpin: None,
        fixed: None,
        mac: (observed.mac != desired.mac).then_some(desired.mac),
        mtu: (observed.mtu != desired.mtu).then_some(desired.mtu),
        alias: (observed.alias != desired.alias).then(|| desired.alias.clone()),
        admin: (observed.admin != desired.admin).then_some(desired.admin),
    };
    set_link(name, settings, changes);
}

fn raise_veth(
    name: &IfName,
    desired: &Veth,
    observed: Option<&Veth>,
    elements: BTreeSet<Element>,
    changes: &mut Vec<Change>,
) {
    let fresh = Veth {
        alias: String::new(),
        hairpin: Switch::Off,
        fixed: None,
        admin: Admin::Down,
        inside: desired.inside.clone().map(|inside| Inside {
            admin: Admin::Down,
            ipv6: Ipv6::Off,
            addresses: BTreeSet::new(),
            gateway: None,
            gateway6: None,
            ..inside
        }),
        ..desired.clone()
    };
    let place = |veth: &Veth| veth.inside.as_ref().map(|inside| (inside.namespace.clone(), inside.interface.clone()));
    // A pair cannot be mended when the container's end is elsewhere: the kernel moves no end it does not see.
    let misplaced = observed.is_some_and(|observed| place(observed) != place(desired));
    if misplaced {
        changes.push(Change::RemoveLink(name.clone()));
    }
    let observed = observed.filter(|_| !misplaced);
    if observed.is_none() {
        changes.push(Change::CreateVeth { name: name.clone(), veth: desired.clone() });
    }
    let observed = observed.unwrap_or(&fresh);
    add_elements(Some(name), elements, changes);
    let moves = observed.bridge != desired.bridge;
    // A port leaves its settings behind with its bridge.
    let (hairpin, fixed) = if moves { (Switch::Off, None) } else { (observed.hairpin, observed.fixed) };
    let settings = LinkSettings {
        master: if moves { desired.bridge.clone() } else { None },
        hairpin: (hairpin != desired.hairpin).then_some(desired.hairpin),
        fixed: if fixed == desired.fixed { None } else { desired.fixed },
        mac: None,
        mtu: (observed.mtu != desired.mtu).then_some(desired.mtu),
        alias: (observed.alias != desired.alias).then(|| desired.alias.clone()),
        admin: (observed.admin != desired.admin).then_some(desired.admin),
    };
    set_link(name, settings, changes);
    // The container's end comes up last: it finds its carrier at once then, and can send from the first moment.
    if let (Some(inside), Some(seen)) = (&desired.inside, &observed.inside)
        && inside != seen
    {
        let remove = seen.addresses.difference(&inside.addresses).copied().collect();
        let leave = seen.gateways().difference(&inside.gateways()).copied().collect();
        changes.push(Change::ConfigureInside { name: name.clone(), inside: inside.clone(), remove, leave });
    }
}
