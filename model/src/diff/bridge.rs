//! A network's bridge, as it comes up.

use std::collections::BTreeSet;

use super::{add_elements, set_link, silence_anew};
use crate::{Admin, Bridge, Change, Element, IfName, Ipv6, LinkSettings, State, Switch};

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

/// The bridges that stand and come back from being down or without IPv6. With that went what the host knew of who is
/// behind them, and its first question, asked before frames pass again, is asked a second time after a second only (RFC
/// 4861 §10).
pub(super) fn returning<'a>(desired: &'a State, observed: &'a State) -> impl Iterator<Item = &'a IfName> {
    desired.bridges.iter().filter_map(|(name, bridge)| {
        let seen = observed.bridges.get(name)?;
        let was_down = seen.admin == Admin::Down && bridge.admin == Admin::Up;
        let was_deaf = seen.ipv6 == Ipv6::Off && bridge.ipv6 != Ipv6::Off;
        (was_down || was_deaf).then_some(name)
    })
}
