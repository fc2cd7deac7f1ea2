//! What the kernel holds and should not, or should and does not, told of the objects that people know.

use std::collections::{BTreeMap, BTreeSet};

use api::Difference;
use model::{Change, Element, Family, LinkSettings};

use crate::world::World;

const REMEDY: &str = "mend it with `fabric doctor --fix`; netd does so by itself every 10 s";

/// What of the kernel a difference is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// Interfaces, their addresses, routes and settings.
    Links,
    /// Network namespaces.
    Namespaces,
    /// `table inet fabric` and `table bridge fabric`.
    Rules,
    /// `table inet fabric-policy`.
    Policies,
    /// What takes frames between containers past their bridge.
    Shortcut,
    /// What holds for the whole host.
    Settings,
}

impl Part {
    pub(super) const ALL: [Self; 6] =
        [Self::Links, Self::Namespaces, Self::Rules, Self::Policies, Self::Shortcut, Self::Settings];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Links => "links",
            Self::Namespaces => "namespaces",
            Self::Rules => "rules",
            Self::Policies => "policies",
            Self::Shortcut => "shortcut",
            Self::Settings => "settings",
        }
    }

    pub(super) fn fine(self) -> &'static str {
        match self {
            Self::Links => "interfaces, addresses and routes are as they should be",
            Self::Namespaces => "every namespace is pinned and prepared, and no other",
            Self::Rules => "both tables hold every rule and element, and no other",
            Self::Policies => "connections that come by this host are judged by the policies there are",
            Self::Shortcut => "frames between containers go past their bridges",
            Self::Settings => "the host's settings are as they should be",
        }
    }
}

/// Whose interfaces and namespaces are whose.
#[derive(Debug, Default)]
pub(crate) struct Owners(BTreeMap<String, String>);

impl Owners {
    pub(crate) fn of(world: &World) -> Self {
        let bridges =
            world.networks().map(|network| (network.bridge().to_string(), format!("network `{}`", network.name)));
        let ends = world.endpoints().flat_map(|(endpoint, container)| {
            let owner = format!("container `{}`", container.name);
            let namespace = container.mode.namespace().map(|name| (name.to_string(), owner.clone()));
            [(endpoint.host_interface().to_string(), owner)].into_iter().chain(namespace)
        });
        let vlans = world.networks().filter_map(|network| Some((network.vlan.as_ref()?.to_string(), &network.name)));
        let mut sharers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (interface, network) in vlans {
            sharers.entry(interface).or_default().insert(format!("`{network}`"));
        }
        let vlans = sharers.into_iter().map(|(interface, networks)| {
            let noun = if networks.len() == 1 { "network" } else { "networks" };
            (interface, format!("{noun} {}", networks.into_iter().collect::<Vec<_>>().join(", ")))
        });
        Self(bridges.chain(ends).chain(vlans).collect())
    }

    /// Whether the interface or namespace is of a network or container that there is.
    pub(crate) fn knows(&self, subject: &str) -> bool {
        self.0.contains_key(subject)
    }

    pub(super) fn name(&self, kind: &str, subject: &str) -> String {
        match self.0.get(subject) {
            Some(owner) => format!("{kind} {subject} of {owner}"),
            None => format!("{kind} {subject}"),
        }
    }
}

/// The differences that `change` would do away with.
pub(crate) fn differences(change: &Change, owners: &Owners) -> Vec<(Part, Difference)> {
    let one = |part, object: String, difference: String| {
        vec![(part, Difference { object, difference, remedy: REMEDY.to_owned() })]
    };
    let link = |name: &dyn std::fmt::Display, difference: String| {
        one(Part::Links, owners.name("interface", &name.to_string()), difference)
    };
    let namespace = |name: &dyn std::fmt::Display, difference: &str| {
        one(Part::Namespaces, owners.name("namespace", &name.to_string()), difference.to_owned())
    };
    let inside = |place: &model::Place, difference: String| {
        let object = format!("interface {} in {}", place.interface, owners.name("namespace", place.namespace.as_str()));
        one(Part::Links, object, difference)
    };
    let passage = |port: &model::IfName, difference: &str| {
        one(Part::Shortcut, owners.name("port", port.as_str()), difference.to_owned())
    };
    let questions = |difference: &str| one(Part::Shortcut, "questions for names".to_owned(), difference.to_owned());
    let each = |elements: &BTreeSet<Element>, before: &str, behind: &str| {
        let difference = |element: &Element| format!("{before} table {} fabric{behind}", element.family());
        let element = |element: &Element| one(Part::Rules, format!("element {element}"), difference(element));
        elements.iter().flat_map(element).collect()
    };
    match change {
        Change::InstallFirewall { .. } => {
            one(Part::Rules, "table inet fabric or bridge fabric".to_owned(), "is missing or was altered".to_owned())
        }
        Change::AddElements { elements, .. } => each(elements, "is missing from", ""),
        Change::RemoveElements { elements } => each(elements, "is in", " and should not be"),
        Change::CreateNamespace(name) => namespace(name, "is missing"),
        Change::PrepareNamespace(name) => namespace(name, "has no loopback interface that is up, or other settings"),
        Change::RemoveNamespace(name) => namespace(name, "belongs to no container"),
        Change::CreateBridge { name, .. } | Change::CreateVeth { name, .. } | Change::CreateVlan { name, .. } => {
            link(name, "is missing".to_owned())
        }
        Change::InheritMtu { name, link: on } => link(name, format!("should have the MTU of {on}")),
        Change::SetLink { name, settings } => link(name, format!("should have {}", should(settings))),
        Change::RemoveLink(name) => link(name, "belongs to no network and no container".to_owned()),
        Change::AddAddress { name, address } => link(name, format!("lacks the address {address}")),
        Change::RemoveAddress { name, address } => link(name, format!("has the address {address} and should not")),
        Change::SetIpv6 { name, to } => link(name, format!("should have ipv6 {to}")),
        Change::SetLoopbackRouting { name, to } => link(name, format!("should have loopback routing {to}")),
        Change::RenameInside { name, place, to } => {
            link(name, format!("its other end is called {} and should be {to}", place.interface))
        }
        Change::ConfigureInside { name, inside, .. } => link(name, format!("its other end should be {inside}")),
        Change::CreateSubInterface(wanted) => inside(&wanted.inside.place(), "is missing".to_owned()),
        Change::ConfigureSubInterface { wanted, .. } => {
            inside(&wanted.inside.place(), format!("should be {}", wanted.inside))
        }
        Change::RemoveSubInterface(place) => inside(place, "belongs to no endpoint".to_owned()),
        Change::AllowForwarding(Family::Ipv4) => {
            one(Part::Settings, "net.ipv4.ip_forward".to_owned(), "is 0 and should be 1".to_owned())
        }
        Change::AllowForwarding(Family::Ipv6) => {
            one(Part::Settings, "net.ipv6.conf.all.forwarding".to_owned(), "is 0 and should be 1".to_owned())
        }
        Change::InstallShortcut { .. } => {
            one(Part::Shortcut, "the shortcut from port to port".to_owned(), "is missing or was altered".to_owned())
        }
        Change::LeaveQuestions => questions("are answered at the ports, past rules that look at them"),
        Change::TakeQuestions => questions("are left to netd for rules that are gone"),
        Change::RemoveShortcut => {
            one(Part::Shortcut, "the shortcut from port to port".to_owned(), "is there and should not be".to_owned())
        }
        Change::OpenPassage { port, .. } => passage(port, "does not take the shortcut, or takes it only partly"),
        Change::ClosePassage(port) => passage(port, "takes the shortcut and should not, or in another's name"),
        Change::RemoveStrays(strays) => {
            let stray = |stray: &model::Stray| {
                one(Part::Shortcut, format!("entry {stray}"), "is in the shortcut's maps, and nobody's".to_owned())
            };
            strays.iter().flat_map(stray).collect()
        }
        Change::InstallPolicing(path) => {
            let difference = if path.is_empty() { "is there and should not be" } else { "is missing or was altered" };
            one(Part::Policies, format!("table inet {}", model::data_path::TABLE), difference.to_owned())
        }
        Change::ChangePolicing { difference, .. } => {
            let object = format!("table inet {}", model::data_path::TABLE);
            one(Part::Policies, object, format!("is not what the policies come to: {difference}"))
        }
        // These follow from differences of the objects they belonged to.
        Change::ForgetFlows(_) | Change::Reacquaint { .. } => Vec::new(),
    }
}

fn should(settings: &LinkSettings) -> String {
    if settings.is_empty() { "other settings".to_owned() } else { settings.to_string() }
}

#[cfg(test)]
mod tests {
    use model::{Admin, IfName};

    use super::*;

    #[test]
    fn a_difference_names_its_object_and_owner() {
        let owners = Owners(BTreeMap::from([("fb-000000000001".to_owned(), "network `web`".to_owned())]));
        let bridge: IfName = "fb-000000000001".parse().expect("literal");
        let stray: IfName = "fe-000000000002".parse().expect("literal");
        let down = LinkSettings { admin: Some(Admin::Up), mtu: Some(1500), ..LinkSettings::default() };
        let cases = [
            (
                Change::SetLink { name: bridge.clone(), settings: down },
                "interface fb-000000000001 of network `web`: should have mtu 1500 up",
            ),
            (
                Change::AddAddress { name: bridge.clone(), address: "10.0.0.1/24".parse().expect("literal") },
                "interface fb-000000000001 of network `web`: lacks the address 10.0.0.1/24",
            ),
            (Change::RemoveLink(stray), "interface fe-000000000002: belongs to no network and no container"),
            (
                Change::RemoveElements { elements: [Element::Bridge(bridge)].into() },
                "element bridge fb-000000000001: is in table inet fabric and should not be",
            ),
            (
                Change::InstallFirewall { elements: Default::default() },
                "table inet fabric or bridge fabric: is missing or was altered",
            ),
            (Change::RemoveShortcut, "the shortcut from port to port: is there and should not be"),
            (
                Change::ClosePassage("fe-000000000003".parse().expect("literal")),
                "port fe-000000000003: takes the shortcut and should not, or in another's name",
            ),
            (
                Change::RemoveStrays([model::Stray::Port(7)].into()),
                "entry interface number 7: is in the shortcut's maps, and nobody's",
            ),
            (Change::AllowForwarding(Family::Ipv4), "net.ipv4.ip_forward: is 0 and should be 1"),
            (Change::AllowForwarding(Family::Ipv6), "net.ipv6.conf.all.forwarding: is 0 and should be 1"),
            (Change::RemoveNamespace("ns-1".parse().expect("literal")), "namespace ns-1: belongs to no container"),
        ];
        for (change, expected) in cases {
            let found = differences(&change, &owners);
            let texts: Vec<String> = found.iter().map(|(_, it)| format!("{}: {}", it.object, it.difference)).collect();
            assert_eq!(texts, [expected], "{change}");
        }
    }
}
