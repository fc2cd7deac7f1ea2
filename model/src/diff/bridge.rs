//! A network's bridge, as it comes up.

use std::collections::BTreeSet;

use super::{add_elements, set_link, silence_anew};
use crate::{Admin, Bridge, Change, Element, IfName, Ipv6, LinkSettings, Switch};

/// Makes it, or changes what differs; its elements are in force before it is up.
pub(super) fn raise_bridge(
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
        filtered: Switch::Off,
        snooping: Switch::Off,
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
        isolated: None,
        fixed: None,
        mac: (observed.mac != desired.mac).then_some(desired.mac),
        mtu: (observed.mtu != desired.mtu).then_some(desired.mtu),
        alias: (observed.alias != desired.alias).then(|| desired.alias.clone()),
        filtered: (observed.filtered != desired.filtered).then_some(desired.filtered),
        snooping: (observed.snooping != desired.snooping).then_some(desired.snooping),
        admin: (observed.admin != desired.admin).then_some(desired.admin),
    };
    set_link(name, settings, changes);
    silence_anew(name, (observed.mtu, desired.mtu), desired.ipv6, changes);
}
