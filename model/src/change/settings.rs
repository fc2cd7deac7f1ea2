//! Attributes of interfaces.

use std::fmt;

use crate::{Admin, IfName, MacAddress, Switch};

/// Attributes of an interface to change; those that are none stay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkSettings {
    /// The bridge to become a port of.
    pub master: Option<IfName>,
    /// Whether the bridge may send a frame back out of this port of it.
    pub hairpin: Option<Switch>,
    /// Whether the bridge is to keep this port of it apart from others that are so too.
    pub isolated: Option<Switch>,
    /// The only MAC address that the bridge is to seek behind this port of it.
    pub fixed: Option<MacAddress>,
    /// MAC address.
    pub mac: Option<MacAddress>,
    /// Maximum transmission unit in octets.
    pub mtu: Option<u32>,
    /// Text for people.
    pub alias: Option<String>,
    /// Whether what passes from port to port of this bridge comes by rules of the family `inet`.
    pub filtered: Option<Switch>,
    /// Whether this bridge listens to who joins which multicast group.
    pub snooping: Option<Switch>,
    /// Whether to be up.
    pub admin: Option<Admin>,
}

impl LinkSettings {
    /// Whether anything changes.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for LinkSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.master.as_ref().map(|master| format!("master {master}")),
            self.hairpin.map(|hairpin| format!("hairpin {hairpin}")),
            self.isolated.map(|isolated| format!("isolated {isolated}")),
            self.fixed.map(|mac| format!("fixed {mac}")),
            self.mac.map(|mac| format!("mac {mac}")),
            self.mtu.map(|mtu| format!("mtu {mtu}")),
            self.alias.as_ref().map(|alias| format!("alias {alias}")),
            self.filtered.map(|filtered| format!("filtered {filtered}")),
            self.snooping.map(|snooping| format!("snooping {snooping}")),
            self.admin.map(|admin| admin.to_string()),
        ];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(" "))
    }
}
