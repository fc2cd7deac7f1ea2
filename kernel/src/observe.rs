//! What Fabric owns in the kernel, as it is.

mod inside;

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
};

use model::{
    Attachment, Bridge, Element, Family, IfName, Inside, Namespace, NamespaceName, NetworkId, Observed, Parent, Scope,
    Shortcut, Spare, State, Structure, SubInterface, Veth,
};

use self::inside::{End, Extent, OnParent, Seen, look_into};
use crate::{
    KernelError, element,
    fdb::{self, Fixed},
    judges::Trust,
    link::{self, Link},
    route, structure, vlan,
    worker::Worker,
};

/// Namespaces that could not be looked into, and why.
pub(crate) type Unreadable = BTreeMap<NamespaceName, KernelError>;

/// As many namespaces are not worth a thread of their own.
const FEW: usize = 32;

impl Worker {
    /// Looks at what lies within the scope. Firewall elements are looked up by the keys of those desired as well. Where
    /// that is everything, a namespace that cannot be looked into keeps nobody from seeing the others; why is returned
    /// as well.
    pub(crate) fn observe(&mut self, scope: &Scope, desired: &State) -> Result<(Observed, Unreadable), KernelError> {
        let mut state = State::empty();
        if *scope == Scope::Shortcut {
            state.shortcut = self.splice.look(&mut self.netfilter, Trust::Nothing)?;
            let links = link::all(&mut self.route)?;
            self.splice.look_at_all(&mut state.shortcut, &links)?;
            return Ok((alone(state), BTreeMap::new()));
        }
        if *scope == Scope::Policing {
            state.policing = self.police.observe(&mut self.netfilter, &desired.policing, Trust::Undisturbed)?;
            return Ok((alone(state), BTreeMap::new()));
        }
        if let Scope::Vlan(name) = scope {
            self.observe_vlan(name, &mut state)?;
            return Ok((alone(state), BTreeMap::new()));
        }
        state.forwarding = self.forwarding.observe(&self.run_dir, Family::Ipv4)?;
        state.forwarding6 = self.forwarding.observe(&self.run_dir, Family::Ipv6)?;
        state.structure = match scope {
            // The looks that others rely on believe nothing but their eyes.
            Scope::Everything | Scope::Firewall => structure::examine(&mut self.netfilter, &self.rules)?,
            _ => structure::observe(&mut self.netfilter, &self.rules, &mut self.vigil)?,
        };
        state.shortcut = match scope {
            Scope::Everything => self.splice.look(&mut self.netfilter, Trust::Nothing)?,
            Scope::Container { .. } => self.splice.look(&mut self.netfilter, Trust::Undisturbed)?,
            _ => Shortcut::default(),
        };
        if scope.covers_policing() {
            let trust = match scope {
                Scope::Everything | Scope::Firewall => Trust::Nothing,
                _ => Trust::Undisturbed,
            };
            state.policing = self.police.observe(&mut self.netfilter, &desired.policing, trust)?;
        }
        let elements_beyond = self.observe_elements(scope, desired, &mut state)?;
        let mut unreadable = BTreeMap::new();
        match scope {
            Scope::Everything => unreadable = self.observe_everything(&mut state)?,
            Scope::Firewall | Scope::Shortcut | Scope::Policing | Scope::Vlan(_) => {}
            Scope::Network(network) => {
                self.observe_bridge(network, &mut state)?;
                // Those of addresses that it is to have no more.
                let gateways: Vec<_> = state.bridges.iter().flat_map(|(name, bridge)| gateways(name, bridge)).collect();
                let found = element::look_up(&mut self.netfilter, &gateways)?;
                state.elements.extend(found.into_iter().filter(|element| scope.covers_element(element)));
            }
            Scope::Container { namespace, attachments } => {
                self.observe_container(namespace, attachments, &mut state)?;
            }
            Scope::Spare(spare) => self.observe_spare(spare, &mut state)?,
        }
        Ok((Observed { state, elements_beyond, unreadable: unreadable.keys().cloned().collect() }, unreadable))
    }

    /// Fills in the elements within the scope and returns those beyond, if they will be needed.
    fn observe_elements(
        &mut self,
        scope: &Scope,
        desired: &State,
        state: &mut State,
    ) -> Result<BTreeSet<Element>, KernelError> {
        // A container's address may stand under a key that another container is to have now.
        let relevant = |element: &Element| {
            scope.covers_element(element) || desired.elements.iter().any(|wanted| wanted.same_key(element))
        };
        if matches!(scope, Scope::Everything | Scope::Firewall) || state.structure != Structure::Current {
            let (within, beyond) = element::all(&mut self.netfilter)?.into_iter().partition(relevant);
            state.elements = within;
            return Ok(beyond);
        }
        let mut keys = desired.elements.clone();
        keys.extend(Family::ALL.map(Element::ForwardingGuard));
        for bridge in scope.networks().map(NetworkId::bridge) {
            keys.insert(Element::Masqueraded(bridge.clone()));
            keys.insert(Element::Internal(bridge.clone()));
            keys.insert(Element::SameBridge(bridge.clone()));
            keys.insert(Element::Icc(bridge.clone()));
            keys.insert(Element::Bridge(bridge));
        }
        keys.extend(scope.attachments().iter().flat_map(Attachment::elements));
        let found = element::look_up(&mut self.netfilter, &keys)?;
        state.elements = found.into_iter().filter(relevant).collect();
        Ok(BTreeSet::new())
    }

    fn observe_everything(&mut self, state: &mut State) -> Result<Unreadable, KernelError> {
        let (ends, unreadable) = self.observe_namespaces(state)?;
        let mut ends: BTreeMap<u32, Inside> = ends.into_iter().map(|end| (end.host, end.inside)).collect();
        let links = link::all(&mut self.route)?;
        self.splice.look_at_all(&mut state.shortcut, &links)?;
        let fixed = fdb::all(&mut self.route)?;
        let addresses = route::addresses(&mut self.route, 0)?;
        let names: BTreeMap<u32, IfName> =
            links.iter().filter_map(|link| Some((link.index, link.name.parse().ok()?))).collect();
        for link in links.iter().filter(|link| link.ours) {
            let Some(name) = names.get(&link.index) else {
                continue;
            };
            match link.kind.as_str() {
                "bridge" => {
                    let own = addresses.iter().filter(|address| address.link == link.index);
                    state.bridges.extend(bridge(link, own).map(|bridge| (name.clone(), bridge)));
                }
                "veth" => {
                    let master = link.master.and_then(|index| names.get(&index)).cloned();
                    let inside = ends.remove(&link.index);
                    let is_fixed = |inside: &Inside| {
                        inside.mac.is_some_and(|mac| fixed.contains(&Fixed { port: link.index, mac }))
                    };
                    let fixed = inside.as_ref().is_some_and(is_fixed);
                    state.veths.insert(name.clone(), veth(link, master, fixed, inside));
                }
                vlan::KIND => {
                    let on = links.iter().find(|other| Some(other.index) == link.peer);
                    state.vlans.extend(on.and_then(|on| vlan::seen(link, on)).map(|vlan| (name.clone(), vlan)));
                }
                _ => {}
            }
        }
        Ok(unreadable)
    }

    /// Fills in an interface for a VLAN.
    fn observe_vlan(&mut self, name: &IfName, state: &mut State) -> Result<(), KernelError> {
        let Some(link) = link::find(&mut self.route, name)?.filter(|link| link.ours) else { return Ok(()) };
        let Some(on) = link.peer.map(|index| link::at(&mut self.route, index)).transpose()?.flatten() else {
            return Ok(());
        };
        state.vlans.extend(vlan::seen(&link, &on).map(|vlan| (name.clone(), vlan)));
        Ok(())
    }

    /// Fills in a network's bridge and returns it.
    fn observe_bridge(&mut self, network: &NetworkId, state: &mut State) -> Result<Option<Link>, KernelError> {
        let name = network.bridge();
        let Some(link) = link::find(&mut self.route, &name)?.filter(|link| link.ours && link.kind == "bridge") else {
            return Ok(None);
        };
        let addresses = route::addresses(&mut self.route, link.index)?;
        state.bridges.extend(bridge(&link, addresses.iter()).map(|bridge| (name, bridge)));
        Ok(Some(link))
    }

    fn observe_container(
        &mut self,
        namespace: &NamespaceName,
        attachments: &[Attachment],
        state: &mut State,
    ) -> Result<(), KernelError> {
        let interfaces: Vec<&IfName> = attachments.iter().map(|attachment| &attachment.endpoint.interface).collect();
        let ends = self.observe_namespace(namespace, &interfaces, state)?;
        let mut ends: BTreeMap<u32, Inside> = ends.into_iter().map(|end| (end.host, end.inside)).collect();
        for attachment in attachments {
            let endpoint = &attachment.endpoint;
            let master = self.observe_bridge(&endpoint.network, state)?;
            let name = endpoint.host_interface();
            let Some(link) = self.find_port(&name)? else { continue };
            self.splice.look_at(&mut state.shortcut, attachment, &link)?;
            let bridge = master.filter(|master| link.master == Some(master.index)).map(|_| endpoint.network.bridge());
            let inside = match ends.remove(&link.index) {
                None if endpoint.interface != Spare::interface() => self.find_spare_end(namespace, link.index)?,
                inside => inside,
            };
            let fixed = match inside.as_ref().and_then(|inside| inside.mac) {
                Some(mac) if bridge.is_some() => fdb::is_fixed(&mut self.route, link.index, mac)?,
                _ => false,
            };
            state.veths.insert(name, veth(&link, bridge, fixed, inside));
        }
        Ok(())
    }

    /// The container's end of this pair, of which `port` is the host's, if it still has the name of one that waits.
    fn find_spare_end(&mut self, namespace: &NamespaceName, port: u32) -> Result<Option<Inside>, KernelError> {
        let interface = Spare::interface();
        let seen = look_into(&self.namespaces, &self.home, namespace, Extent::Some(&[&interface]))?;
        let ends = seen.into_iter().flat_map(|seen| seen.ends);
        Ok(ends.filter(|end| end.host == port).map(|end| end.inside).next())
    }

    fn observe_spare(&mut self, spare: &Spare, state: &mut State) -> Result<(), KernelError> {
        let ends = self.observe_namespace(&spare.namespace, &[&Spare::interface()], state)?;
        let name = spare.endpoint.host_interface();
        if let Some(link) = self.find_port(&name)? {
            let bridge = link.master.map(|index| link::name_of(&mut self.route, index)).transpose()?.flatten();
            let inside = ends.into_iter().find(|end| end.host == link.index).map(|end| end.inside);
            state.veths.insert(name, veth(&link, bridge, false, inside));
        }
        Ok(())
    }

    /// The host's end of a veth pair of Fabric's.
    fn find_port(&mut self, name: &IfName) -> Result<Option<Link>, KernelError> {
        Ok(link::find(&mut self.route, name)?.filter(|link| link.ours && link.kind == "veth"))
    }

    /// Fills in a namespace and returns the ends of veth pairs in it that have these names.
    fn observe_namespace(
        &mut self,
        name: &NamespaceName,
        interfaces: &[&IfName],
        state: &mut State,
    ) -> Result<Vec<End>, KernelError> {
        let seen = look_into(&self.namespaces, &self.home, name, Extent::Some(interfaces))?;
        self.note_namespace(name, seen, state)
    }

    /// Fills in every namespace, as many at a time as there are processors for this, and returns the ends in them.
    fn observe_namespaces(&mut self, state: &mut State) -> Result<(Vec<End>, Unreadable), KernelError> {
        let names = self.namespaces.names()?;
        let (namespaces, home) = (&self.namespaces, &self.home);
        let extent = if self.hurries { Extent::Interfaces } else { Extent::Everything };
        let look = |names: &[NamespaceName]| -> Vec<Result<Option<Seen>, KernelError>> {
            names.iter().map(|name| look_into(namespaces, home, name, extent)).collect()
        };
        let share = names.len().div_ceil(self.processors).max(FEW);
        let mut shares = names.chunks(share);
        let seen = thread::scope(|scope| {
            let own = shares.next().unwrap_or_default();
            let others: Vec<_> = shares.map(|names| scope.spawn(move || look(names))).collect();
            let mut seen = look(own);
            for other in others {
                seen.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            seen
        });
        let (mut ends, mut unreadable) = (Vec::new(), BTreeMap::new());
        for (name, seen) in names.into_iter().zip(seen) {
            match seen {
                Ok(seen) => ends.extend(self.note_namespace(&name, seen, state)?),
                Err(error) => {
                    // It is there, to be removed if that is wanted.
                    state.namespaces.insert(name.clone(), Namespace::Unprepared);
                    unreadable.insert(name, error);
                }
            }
        }
        Ok((ends, unreadable))
    }

    fn note_namespace(
        &mut self,
        name: &NamespaceName,
        seen: Option<Seen>,
        state: &mut State,
    ) -> Result<Vec<End>, KernelError> {
        let Some(Seen { readiness, ends, on_parents }) = seen else { return Ok(Vec::new()) };
        for OnParent { parent, kind, inside } in on_parents {
            // One whose parent cannot be named differs from every one that is desired.
            let Some(interface) = link::name_of(&mut self.route, parent)? else { continue };
            let parent = Parent { interface, kind };
            state.sub_interfaces.insert(inside.place(), SubInterface { parent, inside });
        }
        state.namespaces.insert(name.clone(), readiness);
        Ok(ends)
    }
}

/// What was seen where nothing else was looked at.
fn alone(state: State) -> Observed {
    Observed { state, elements_beyond: BTreeSet::new(), unreadable: BTreeSet::new() }
}

/// The elements that stand for a bridge's addresses.
fn gateways(name: &IfName, bridge: &Bridge) -> impl Iterator<Item = Element> {
    bridge.gateways().map(|net| Element::Gateway { bridge: name.clone(), address: net.addr() })
}

fn bridge<'a>(link: &Link, addresses: impl Iterator<Item = &'a route::Address>) -> Option<Bridge> {
    Some(Bridge {
        alias: link.alias.clone(),
        // A bridge always has a MAC address.
        mac: link.mac?,
        mtu: link.mtu,
        admin: link.admin,
        addresses: addresses.filter(|address| address.ours).map(|address| address.net).collect(),
        ipv6: link.ipv6,
        loopback_routing: link.loopback_routing,
        filtered: link.filtered,
        snooping: link.snooping,
    })
}

/// `fixed` says whether the forwarding database holds the MAC address of the container's end.
fn veth(link: &Link, bridge: Option<IfName>, fixed: bool, inside: Option<Inside>) -> Veth {
    let fixed = inside.as_ref().filter(|_| fixed && !link.lax).and_then(|inside| inside.mac);
    let (alias, mtu, admin) = (link.alias.clone(), link.mtu, link.admin);
    Veth { alias, bridge, hairpin: link.hairpin, isolated: link.isolated, fixed, mtu, admin, ipv6: link.ipv6, inside }
}
