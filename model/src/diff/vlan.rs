//! Interfaces for VLANs, as they come up.

use std::collections::BTreeSet;

use super::set_link;
use crate::{Admin, Change, IfName, Ipv6, LinkSettings, State, VlanLink};

/// Those that are made, anew or for the first time: whatever sat on one of them is gone with it.
pub(super) fn made<'a>(desired: &'a State, observed: &State) -> BTreeSet<&'a IfName> {
    let stands = |name, vlan: &VlanLink| observed.vlans.get(name).is_some_and(|seen| !is_another(seen, vlan));
    desired.vlans.iter().filter(|(name, vlan)| !stands(name, vlan)).map(|(name, _)| name).collect()
}

/// Neither what it is on nor its VLAN can be changed.
fn is_another(seen: &VlanLink, desired: &VlanLink) -> bool {
    (&seen.link, seen.id) != (&desired.link, desired.id)
}

/// Makes it, or changes what differs.
pub(super) fn raise_vlan(name: &IfName, desired: &VlanLink, observed: Option<&VlanLink>, changes: &mut Vec<Change>) {
    // What the kernel makes of a creating message.
    let fresh = VlanLink { alias: String::new(), admin: Admin::Down, ipv6: Ipv6::Credulous, ..desired.clone() };
    if observed.is_some_and(|observed| is_another(observed, desired)) {
        changes.push(Change::RemoveLink(name.clone()));
    }
    let observed = observed.filter(|observed| !is_another(observed, desired));
    if observed.is_none() {
        changes.push(Change::CreateVlan { name: name.clone(), vlan: desired.clone() });
    }
    let observed = observed.unwrap_or(&fresh);
    if observed.mtu != desired.mtu {
        changes.push(Change::InheritMtu { name: name.clone(), link: desired.link.clone() });
    }
    if observed.ipv6 != desired.ipv6 {
        changes.push(Change::SetIpv6 { name: name.clone(), to: desired.ipv6 });
    }
    let settings = LinkSettings {
        alias: (observed.alias != desired.alias).then(|| desired.alias.clone()),
        admin: (observed.admin != desired.admin).then_some(desired.admin),
        ..LinkSettings::default()
    };
    set_link(name, settings, changes);
}
