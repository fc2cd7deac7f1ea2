//! A kernel that is its state alone.

use model::{
    Admin, Bridge, Change, Family, Forwarding, Inside, Ipv6, LinkSettings, Namespace, Place, Policing, Program, Route,
    Shortcut, State, Structure, Switch, Veth, VlanLink, VlanMtu,
};

/// Whether an interface is in this place.
fn is_taken(state: &State, place: &Place) -> bool {
    let mut ends = state.veths.values().filter_map(|veth| veth.inside.as_ref());
    ends.any(|end| end.place() == *place) || state.sub_interfaces.contains_key(place)
}

/// What the kernel does with a change; it refuses what cannot be done in the state it is in.
pub(crate) fn apply(state: &mut State, change: &Change) -> Result<(), String> {
    let missing = |what: &dyn std::fmt::Display| format!("{change}: {what} is missing");
    match change {
        Change::InstallFirewall { elements } => {
            (state.structure, state.elements) = (Structure::Current, elements.clone());
        }
        Change::InstallPolicing(to) | Change::ChangePolicing { to, .. } => state.policing = Policing::Holds(to.clone()),
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
                filtered: Switch::Off,
                snooping: Switch::Off,
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
            if veth.bridge.as_ref().is_some_and(|bridge| !state.bridges.contains_key(bridge)) {
                return Err(missing(&"its bridge"));
            }
            if is_taken(state, &inside.place()) {
                return Err(format!("{change}: its other end's name exists"));
            }
            let end = Inside {
                admin: Admin::Down,
                addresses: Default::default(),
                gateway: None,
                gateway6: None,
                routes: Default::default(),
                ipv6: Ipv6::Off,
                ..inside.clone()
            };
            let fresh = Veth {
                alias: String::new(),
                hairpin: Switch::Off,
                isolated: Switch::Off,
                fixed: None,
                admin: Admin::Down,
                ipv6: Ipv6::Credulous,
                inside: Some(end),
                ..veth.clone()
            };
            if state.veths.insert(name.clone(), fresh).is_some() {
                return Err(format!("{change}: it exists"));
            }
        }
        Change::SetLink { name, settings } => {
            let LinkSettings { master, hairpin, isolated, fixed, mac, mtu, alias, filtered, snooping, admin } =
                settings.clone();
            if let Some(bridge) = state.bridges.get_mut(name) {
                bridge.mac = mac.unwrap_or(bridge.mac);
                bridge.mtu = mtu.unwrap_or(bridge.mtu);
                bridge.alias = alias.unwrap_or_else(|| bridge.alias.clone());
                bridge.filtered = filtered.unwrap_or(bridge.filtered);
                bridge.snooping = snooping.unwrap_or(bridge.snooping);
                bridge.admin = admin.unwrap_or(bridge.admin);
            } else if let Some(vlan) = state.vlans.get_mut(name) {
                vlan.alias = alias.unwrap_or_else(|| vlan.alias.clone());
                vlan.admin = admin.unwrap_or(vlan.admin);
            } else {
                if master.as_ref().is_some_and(|master| !state.bridges.contains_key(master)) {
                    return Err(missing(&"the bridge"));
                }
                let veth = state.veths.get_mut(name).ok_or_else(|| missing(name))?;
                if master.is_some() {
                    (veth.hairpin, veth.isolated, veth.fixed) = (Switch::Off, Switch::Off, None);
                }
                veth.bridge = master.or_else(|| veth.bridge.clone());
                veth.hairpin = hairpin.unwrap_or(veth.hairpin);
                veth.isolated = isolated.unwrap_or(veth.isolated);
                veth.fixed = fixed.or(veth.fixed);
                veth.mtu = mtu.unwrap_or(veth.mtu);
                veth.alias = alias.unwrap_or_else(|| veth.alias.clone());
                veth.admin = admin.unwrap_or(veth.admin);
            }
        }
        Change::RemoveLink(name) => {
            let known = state.veths.remove(name).is_some()
                | state.bridges.remove(name).is_some()
                | state.vlans.remove(name).is_some();
            state.sub_interfaces.retain(|_, it| it.parent.interface != *name);
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
        Change::SetIpv6 { name, to } => {
            let (bridge, veth) = (state.bridges.get_mut(name), state.veths.get_mut(name));
            *bridge
                .map(|bridge| &mut bridge.ipv6)
                .or(veth.map(|veth| &mut veth.ipv6))
                .or(state.vlans.get_mut(name).map(|vlan| &mut vlan.ipv6))
                .ok_or_else(|| missing(name))? = *to;
        }
        Change::SetLoopbackRouting { name, to } => {
            state.bridges.get_mut(name).ok_or_else(|| missing(name))?.loopback_routing = *to;
        }
        Change::RenameInside { name, place, to } => {
            let then = Place { interface: to.clone(), ..place.clone() };
            if is_taken(state, &then) {
                return Err(format!("{change}: it exists"));
            }
            let end = state.veths.get_mut(name).and_then(|veth| veth.inside.as_mut());
            end.filter(|end| end.place() == *place).ok_or_else(|| missing(place))?.interface = to.clone();
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
            let stays = stays.filter(|gateway| !leave.contains(&Route::default((*gateway).into())));
            veth.inside = Some(Inside { gateway: inside.gateway.or(stays), ..inside.clone() });
        }
        Change::CreateVlan { name, vlan } => {
            let fresh = VlanLink { alias: String::new(), admin: Admin::Down, ipv6: Ipv6::Credulous, ..vlan.clone() };
            if state.vlans.insert(name.clone(), fresh).is_some() {
                return Err(format!("{change}: it exists"));
            }
        }
        Change::InheritMtu { name, .. } => {
            state.vlans.get_mut(name).ok_or_else(|| missing(name))?.mtu = VlanMtu::Inherited;
        }
        Change::CreateSubInterface(made) => {
            let inside = Inside {
                addresses: Default::default(),
                gateway: None,
                gateway6: None,
                routes: Default::default(),
                ..made.inside.clone()
            };
            let inside = Inside { admin: Admin::Down, ..inside };
            state.sub_interfaces.insert(inside.place(), model::SubInterface { inside, ..made.clone() });
        }
        Change::ConfigureSubInterface { wanted, .. } => {
            let place = wanted.inside.place();
            let seen = state.sub_interfaces.get_mut(&place).ok_or_else(|| format!("{change}: it is not there"))?;
            seen.inside = wanted.inside.clone();
        }
        Change::RemoveSubInterface(place) => {
            state.sub_interfaces.remove(place).ok_or_else(|| format!("{change}: it is not there"))?;
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
        Change::ForgetFlows(_) | Change::Reacquaint { .. } => {}
        Change::AllowForwarding(Family::Ipv4) => state.forwarding = Forwarding::TurnedOn,
        Change::AllowForwarding(Family::Ipv6) => state.forwarding6 = Forwarding::TurnedOn,
        Change::InstallShortcut { passages } => {
            let questions = state.shortcut.questions;
            state.shortcut =
                Shortcut { program: Program::Current, passages: passages.clone(), questions, ..Shortcut::default() };
            let gone = passages.keys().find(|port| !state.veths.contains_key(*port));
            gone.map_or(Ok(()), |port| Err(missing(port)))?;
        }
        Change::RemoveShortcut => {
            let Shortcut { barrier, questions, .. } = std::mem::take(&mut state.shortcut);
            state.shortcut = Shortcut { barrier, questions, ..Shortcut::default() }
        }
        Change::OpenPassage { port, passage } => {
            if state.shortcut.program != Program::Current || !state.veths.contains_key(port) {
                return Err(missing(port));
            }
            state.shortcut.passages.insert(port.clone(), passage.clone());
        }
        Change::ClosePassage(port) => drop(state.shortcut.passages.remove(port).ok_or_else(|| missing(port))?),
        Change::LeaveQuestions => state.shortcut.questions.left = true,
        Change::TakeQuestions => state.shortcut.questions.left = false,
        Change::RemoveStrays(strays) => state.shortcut.strays.retain(|stray| !strays.contains(stray)),
    }
    Ok(())
}
