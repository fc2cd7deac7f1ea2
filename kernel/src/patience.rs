//! What whoever asked for a change has to wait for.

use model::{Change, Flows, Inside, State};

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// That it is done.
    Done,
    /// That nobody finds any more what it removes. The kernel goes on with that for tens of milliseconds, which is in
    /// nobody's way.
    OutOfSight,
    /// Nothing: it only removes what nobody can reach any more, or makes what packets go without.
    Nothing,
}

impl Patience {
    /// For a change that leads from what was observed to what is desired in a scope of one container.
    pub(crate) fn with(change: &Change, desired: &State, observed: &State) -> Self {
        match change {
            // It is about those who came before there was what they look for.
            Change::ForgetFlows(Flows::Before(_)) => Self::Nothing,
            change if change.is_optional() => Self::Nothing,
            Change::ForgetFlows(Flows::Of(_)) | Change::RemoveNamespace(_) if makes_nothing(desired) => Self::Nothing,
            Change::RemoveLink(name) => {
                let end = observed.veths.get(name).and_then(|veth| veth.inside.as_ref());
                let is_remade = desired.veths.contains_key(name) || desired.bridges.contains_key(name);
                if is_remade || end.is_some_and(|end| is_in_the_way(end, desired)) {
                    Self::Done
                } else if makes_nothing(desired) {
                    Self::Nothing
                } else {
                    // Whoever lives in the namespace sees it.
                    Self::OutOfSight
                }
            }
            _ => Self::Done,
        }
    }
}

/// Whether nobody is to live where something is removed.
fn makes_nothing(desired: &State) -> bool {
    desired.veths.is_empty() && desired.sub_interfaces.is_empty() && desired.namespaces.is_empty()
}

/// Whether a container's end has the place or an address of one that is to stand.
fn is_in_the_way(end: &Inside, desired: &State) -> bool {
    let veths = desired.veths.values().filter_map(|veth| veth.inside.as_ref());
    let mut wanted = veths.chain(desired.sub_interfaces.values().map(|wanted| &wanted.inside));
    wanted.any(|wanted| wanted.place() == end.place() || !wanted.addresses.is_disjoint(&end.addresses))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use model::{Admin, IfName, Ipv6, MacvlanMode, Namespace, Parent, SubInterface, SubInterfaceKind, Switch, Veth};

    use super::*;

    fn end(interface: &str, address: &str) -> Inside {
        Inside {
            namespace: "c1".parse().expect("literal"),
            interface: interface.parse().expect("literal"),
            mac: Some("0a:fb:0a:01:00:02".parse().expect("literal")),
            mtu: 1500,
            admin: Admin::Up,
            ipv6: Ipv6::Off,
            addresses: [address.parse().expect("literal")].into(),
            gateway: None,
            gateway6: None,
            routes: Default::default(),
        }
    }

    fn veth(inside: Inside) -> Veth {
        Veth {
            alias: String::new(),
            bridge: None,
            hairpin: Switch::Off,
            isolated: Switch::Off,
            fixed: None,
            mtu: 1500,
            admin: Admin::Up,
            ipv6: Ipv6::Off,
            inside: Some(inside),
        }
    }

    fn name(text: &str) -> IfName {
        text.parse().expect("literal")
    }

    fn on_parent(inside: Inside) -> SubInterface {
        let kind = SubInterfaceKind::Macvlan { mode: MacvlanMode::Bridge };
        SubInterface { parent: Parent { interface: name("lan0"), kind }, inside }
    }

    /// What waits for the removal of `fe-1`, which leads to eth1 with 10.2.0.2.
    fn removing(desire: impl FnOnce(&mut State)) -> [Patience; 3] {
        let (mut desired, mut observed) = (State::empty(), State::empty());
        observed.veths.insert(name("fe-1"), veth(end("eth1", "10.2.0.2/24")));
        desire(&mut desired);
        let address: IpAddr = "10.2.0.2".parse().expect("literal");
        let namespace = "c1".parse().expect("literal");
        let changes = [
            Change::RemoveLink(name("fe-1")),
            Change::ForgetFlows(Flows::Of(address)),
            Change::RemoveNamespace(namespace),
        ];
        changes.map(|change| Patience::with(&change, &desired, &observed))
    }

    #[test]
    fn nobody_waits_for_the_removal_of_what_nobody_lives_in() {
        assert_eq!(removing(|_| {}), [Patience::Nothing; 3]);
    }

    #[test]
    fn whoever_lives_there_finds_no_more_what_was_removed() {
        let [link, flows, _] = removing(|desired| {
            desired.namespaces.insert("c1".parse().expect("literal"), Namespace::Ready);
        });
        assert_eq!([link, flows], [Patience::OutOfSight, Patience::Done]);
        let [link, ..] = removing(|desired| {
            desired.veths.insert(name("fe-2"), veth(end("eth0", "10.1.0.2/24")));
        });
        assert_eq!(link, Patience::OutOfSight);
    }

    #[test]
    fn what_needs_the_name_the_place_or_the_address_of_what_goes_waits_until_it_is_gone() {
        for (port, end) in [
            ("fe-1", end("eth0", "10.1.0.2/24")),
            ("fe-2", end("eth1", "10.1.0.2/24")),
            ("fe-2", end("eth0", "10.2.0.2/24")),
        ] {
            let [link, ..] = removing(|desired| drop(desired.veths.insert(name(port), veth(end.clone()))));
            assert_eq!(link, Patience::Done, "{port} {end}");
        }
        for end in [end("eth1", "10.1.0.2/24"), end("eth0", "10.2.0.2/24")] {
            let [link, ..] =
                removing(|desired| drop(desired.sub_interfaces.insert(end.place(), on_parent(end.clone()))));
            assert_eq!(link, Patience::Done, "{end}");
        }
    }

    #[test]
    fn what_others_look_for_or_nobody_misses_is_made_later_and_the_rest_now() {
        let state = State::empty();
        let added = Change::AddElements { of: None, elements: Default::default() };
        assert_eq!(Patience::with(&added, &state, &state), Patience::Done);
        let publish = "8080:80/udp".parse().expect("literal");
        let published = model::Published::of(&publish, [10, 1, 0, 2].into()).next().expect("one port");
        let before = Change::ForgetFlows(Flows::Before(published));
        assert_eq!(Patience::with(&before, &state, &state), Patience::Nothing);
        let flows = Change::ForgetFlows(Flows::Beyond("10.1.0.0/24".parse().expect("literal")));
        assert_eq!(Patience::with(&flows, &state, &state), Patience::Done);
        assert_eq!(Patience::with(&Change::RemoveStrays(Default::default()), &state, &state), Patience::Nothing);
    }
}
