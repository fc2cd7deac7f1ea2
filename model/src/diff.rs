//! The changes that lead from a host's state as it is to the state as it should be.

mod bridge;
mod policing;
mod rename;
mod shortcut;
mod sub_interface;
mod vlan;

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Admin, Announcement, Change, Element, Family, Flows, Forwarding, IfName, Inside, Ipv6, LinkSettings, Namespace,
    Observed, State, Structure, Switch, Veth,
};

/// The changes that turn what was observed into what is desired, in the order in which to apply them.
///
/// First whoever is no longer to take the shortcut is kept from it, and a bridge that is to be shut off is. Then an end
/// takes a default route over from one that goes, so that there is one at every moment. Then goes what is no longer
/// desired: links down, then their firewall elements and flows, then the links, then namespaces. Then comes what is
/// missing, the other way round: rules and elements are in force before the links they judge come up. Last, whoever is
/// to take the shortcut may.
///
/// A namespace that is to stand and could not be looked into is left as it is, with the links that lead there.
pub fn diff(desired: &State, observed: &Observed) -> Vec<Change> {
    let all = desired;
    let known = known(desired, observed);
    let (desired, observed) = known.as_ref().map_or((desired, observed), |(desired, observed)| (desired, observed));
    let mut changes = Vec::new();
    let passages = shortcut::close(desired, &observed.state, &mut changes);
    let elements = wanted_elements(desired, &observed.state);
    let confined = confine(&elements, &observed.state, &mut changes);
    reroute(desired, &observed.state, &mut changes);
    lower(desired, &observed.state, &mut changes);
    remove_elements(all, &elements, &observed.state, &mut changes);
    remove_objects(desired, &observed.state, &mut changes);
    let (missing, new) = if observed.state.structure == Structure::Current {
        let missing = elements.difference(&observed.state.elements).filter(|element| !confined.contains(*element));
        let missing: BTreeSet<Element> = missing.cloned().collect();
        (missing.clone(), missing)
    } else {
        let elements: BTreeSet<Element> = elements.union(&observed.elements_beyond).cloned().collect();
        changes.push(Change::InstallFirewall { elements: elements.clone() });
        (BTreeSet::new(), elements)
    };
    policing::change(desired, &observed.state, &mut changes);
    raise(desired, &observed.state, missing, &mut changes);
    changes.extend(new.iter().filter_map(Element::flows_before).map(Change::ForgetFlows));
    shortcut::open(passages, &observed.state.shortcut, &mut changes);
    changes
}

/// Both without what nothing can be said of; none if all was seen. Firewall elements are told by the host's own tables.
fn known(desired: &State, observed: &Observed) -> Option<(State, Observed)> {
    let unknown: BTreeSet<_> =
        observed.unreadable.iter().filter(|name| desired.namespaces.contains_key(*name)).collect();
    if unknown.is_empty() {
        return None;
    }
    let leads_there = |veth: &Veth| veth.inside.as_ref().is_some_and(|inside| unknown.contains(&inside.namespace));
    let links: BTreeSet<_> =
        desired.veths.iter().filter(|(_, veth)| leads_there(veth)).map(|(name, _)| name.clone()).collect();
    let (mut wanted, mut seen) = (desired.clone(), observed.clone());
    for state in [&mut wanted, &mut seen.state] {
        state.namespaces.retain(|name, _| !unknown.contains(name));
        state.veths.retain(|name, _| !links.contains(name));
        state.sub_interfaces.retain(|place, _| !unknown.contains(&place.namespace));
    }
    Some((wanted, seen))
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

/// What shuts a bridge that stands off from the outside, or hides its containers behind the host's address, is in force
/// before the other of the two goes: in between, packets would leave with the containers' addresses. Returns what it
/// adds.
fn confine(wanted: &BTreeSet<Element>, observed: &State, changes: &mut Vec<Change>) -> BTreeSet<Element> {
    let mut confined = BTreeSet::new();
    if observed.structure != Structure::Current {
        return confined;
    }
    for element in wanted.difference(&observed.elements) {
        let (Element::Internal(name) | Element::Masqueraded(name)) = element else { continue };
        let Some(bridge) = observed.bridges.get(name) else { continue };
        add_elements(Some(name), [element.clone()].into(), changes);
        confined.insert(element.clone());
        if matches!(element, Element::Internal(_)) {
            let ranges = bridge.gateways().map(|net| net.trunc());
            changes.extend(ranges.map(Flows::Beyond).map(Change::ForgetFlows));
        }
    }
    confined
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
        announcement: announcement(desired, name),
    }));
}

fn announcement(desired: &State, name: &IfName) -> Announcement {
    if desired.announced.contains(name) { Announcement::Due } else { Announcement::Needless }
}

fn turns_on_forwarding(family: Family, desired: &State, observed: &State) -> bool {
    desired.forwarding(family) != Forwarding::Off && observed.forwarding(family) == Forwarding::Off
}

/// Links that are no longer desired go down before anything that protects them goes away.
fn lower(desired: &State, observed: &State, changes: &mut Vec<Change>) {
    let veths = observed.veths.iter().filter(|(name, _)| !desired.veths.contains_key(*name));
    let bridges = observed.bridges.iter().filter(|(name, _)| !desired.bridges.contains_key(*name));
    let vlans = observed.vlans.iter().filter(|(name, _)| !desired.vlans.contains_key(*name));
    let links = veths.map(|(name, veth)| (name, veth.admin)).chain(bridges.map(|(name, bridge)| (name, bridge.admin)));
    let links = links.chain(vlans.map(|(name, vlan)| (name, vlan.admin)));
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
    // A container may have taken off itself what it was given; the firewall knows what that was.
    let mut had = addresses(observed);
    had.extend(gone.iter().filter_map(Element::leased));
    let freed: BTreeSet<_> = had.difference(&kept).copied().collect();
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
    let sub_interfaces = observed.sub_interfaces.keys().filter(|place| !desired.sub_interfaces.contains_key(*place));
    changes.extend(sub_interfaces.cloned().map(Change::RemoveSubInterface));
    let vlans = observed.vlans.keys().filter(|name| !desired.vlans.contains_key(*name));
    changes.extend(vlans.cloned().map(Change::RemoveLink));
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
    let mut renamed = rename::rename(desired, observed, changes);
    let mut elements = by_owner(desired, missing);
    for (name, bridge) in &desired.bridges {
        let own = elements.remove(&Some(name)).unwrap_or_default();
        bridge::raise_bridge(name, bridge, observed.bridges.get(name), own, changes);
    }
    let returning: BTreeSet<&IfName> = bridge::returning(desired, observed).collect();
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
        if let (Some(observed), Some(end)) = (observed.as_mut(), renamed.remove(name)) {
            observed.inside = Some(end);
        }
        let returns = veth.bridge.as_ref().is_some_and(|bridge| returning.contains(bridge));
        raise_veth(name, veth, observed.as_ref(), own, announcement(desired, name), returns, changes);
    }
    for (name, wanted) in &desired.vlans {
        vlan::raise_vlan(name, wanted, observed.vlans.get(name), changes);
    }
    let made = vlan::made(desired, observed);
    for (place, wanted) in &desired.sub_interfaces {
        let seen = observed.sub_interfaces.get(place).filter(|seen| !made.contains(&seen.parent.interface));
        sub_interface::raise_sub_interface(place, wanted, seen, changes);
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
            | Element::Icc(name)
            | Element::Masqueraded(name)
            | Element::Internal(name)
            | Element::Gateway { bridge: name, .. } => desired.bridges.get_key_value(name).map(|(name, _)| name),
            Element::Published(published) => holders.get(&published.to.ip()).copied(),
            Element::Sender { port, .. } | Element::Source { port, .. } | Element::Holder { port, .. } => {
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

/// An interface whose packets become long enough for IPv6 (RFC 8200 §5) begins to speak it as any new one does
/// (`addrconf_notify` in `net/ipv6/addrconf.c`).
fn silence_anew(name: &IfName, (observed, desired): (u32, u32), to: Ipv6, changes: &mut Vec<Change>) {
    const LEAST: u32 = 1280;
    if observed < LEAST && desired >= LEAST {
        changes.push(Change::SetIpv6 { name: name.clone(), to });
    }
}

fn raise_veth(
    name: &IfName,
    desired: &Veth,
    observed: Option<&Veth>,
    elements: BTreeSet<Element>,
    announcement: Announcement,
    bridge_returns: bool,
    changes: &mut Vec<Change>,
) {
    let fresh = Veth {
        alias: String::new(),
        hairpin: Switch::Off,
        isolated: Switch::Off,
        fixed: None,
        admin: Admin::Down,
        ipv6: Ipv6::Credulous,
        inside: desired.inside.clone().map(|inside| Inside {
            admin: Admin::Down,
            ipv6: Ipv6::Off,
            addresses: BTreeSet::new(),
            gateway: None,
            gateway6: None,
            routes: BTreeSet::new(),
            ..inside
        }),
        ..desired.clone()
    };
    let place = |veth: &Veth| veth.inside.as_ref().map(|inside| (inside.namespace.clone(), inside.interface.clone()));
    // A pair cannot be mended when the container's end is elsewhere: the kernel moves no end it does not see. One that
    // is to be in no bridge has no rules, and is better made anew than taken out of one.
    let strays = |observed: &Veth| observed.bridge.is_some() && desired.bridge.is_none();
    let misplaced = observed.is_some_and(|observed| place(observed) != place(desired) || strays(observed));
    if misplaced {
        changes.push(Change::RemoveLink(name.clone()));
    }
    let observed = observed.filter(|_| !misplaced);
    if observed.is_none() {
        changes.push(Change::CreateVeth { name: name.clone(), veth: desired.clone() });
    }
    let observed = observed.unwrap_or(&fresh);
    add_elements(Some(name), elements, changes);
    if observed.ipv6 != desired.ipv6 {
        changes.push(Change::SetIpv6 { name: name.clone(), to: desired.ipv6 });
    }
    let moves = observed.bridge != desired.bridge;
    // A port leaves its settings behind with its bridge.
    let left = Veth { hairpin: Switch::Off, isolated: Switch::Off, fixed: None, ..observed.clone() };
    let port = if moves { &left } else { observed };
    let settings = LinkSettings {
        master: if moves { desired.bridge.clone() } else { None },
        hairpin: (port.hairpin != desired.hairpin).then_some(desired.hairpin),
        isolated: (port.isolated != desired.isolated).then_some(desired.isolated),
        fixed: if port.fixed == desired.fixed { None } else { desired.fixed },
        mac: None,
        mtu: (observed.mtu != desired.mtu).then_some(desired.mtu),
        alias: (observed.alias != desired.alias).then(|| desired.alias.clone()),
        filtered: None,
        snooping: None,
        admin: (observed.admin != desired.admin).then_some(desired.admin),
    };
    let comes_back = settings.admin.is_some() || settings.master.is_some() || bridge_returns;
    set_link(name, settings, changes);
    silence_anew(name, (observed.mtu, desired.mtu), desired.ipv6, changes);
    // The container's end comes up last: it finds its carrier at once then, and can send from the first moment.
    let (Some(inside), Some(seen)) = (&desired.inside, &observed.inside) else { return };
    if inside != seen {
        let remove = seen.addresses.difference(&inside.addresses).copied().collect();
        let leave = &seen.all_routes() - &inside.all_routes();
        let (name, inside) = (name.clone(), inside.clone());
        changes.push(Change::ConfigureInside { name, inside, remove, leave, announcement });
    } else if comes_back && inside.admin == Admin::Up {
        changes.push(Change::Reacquaint { name: name.clone(), inside: inside.clone() });
    }
}
