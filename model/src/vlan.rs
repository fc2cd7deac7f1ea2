//! VLANs of the host's interfaces (IEEE 802.1Q).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Admin, IfName, Ipv6};

/// The number of a VLAN: 1 to 4094. The kernel would take 0 as well, which says that a frame is of no VLAN (IEEE
/// 802.1Q-2022 §9.6, table 9-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VlanId(u16);

impl VlanId {
    /// The VLAN of this number, if there can be one.
    pub fn new(number: u16) -> Option<Self> {
        (1..=4094).contains(&number).then_some(Self(number))
    }

    /// The number.
    pub fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for VlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A VLAN of one of the host's interfaces, written as the interface is called that is made for it: `eth0.10` for VLAN
/// 10 of `eth0`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Vlan {
    interface: IfName,
    link: IfName,
    id: VlanId,
}

/// Why a text does not name a VLAN.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseVlanError {
    /// It has another form.
    #[error("`{}` is not an interface's name, a dot and the number of a VLAN", .0.escape_debug())]
    Form(String),
    /// It has, with a number that no VLAN has.
    #[error("`{0}` names no VLAN: they have numbers from 1 to 4094, without zeros before them")]
    Number(IfName),
}

impl Vlan {
    /// The interface that is made for it.
    pub fn interface(&self) -> &IfName {
        &self.interface
    }

    /// The interface whose frames carry its tag.
    pub fn link(&self) -> &IfName {
        &self.link
    }

    /// Its number.
    pub fn id(&self) -> VlanId {
        self.id
    }
}

impl TryFrom<&IfName> for Vlan {
    type Error = ParseVlanError;

    fn try_from(interface: &IfName) -> Result<Self, ParseVlanError> {
        let form = || ParseVlanError::Form(interface.to_string());
        let (link, number) = interface.as_str().rsplit_once('.').ok_or_else(form)?;
        let link = link.parse().map_err(|_| form())?;
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(form());
        }
        let id = number.parse().ok().filter(|_| !number.starts_with('0')).and_then(VlanId::new);
        let id = id.ok_or_else(|| ParseVlanError::Number(interface.clone()))?;
        Ok(Self { interface: interface.clone(), link, id })
    }
}

impl FromStr for Vlan {
    type Err = ParseVlanError;

    fn from_str(text: &str) -> Result<Self, ParseVlanError> {
        let interface: IfName = text.parse().map_err(|_| ParseVlanError::Form(text.chars().take(80).collect()))?;
        (&interface).try_into()
    }
}

impl TryFrom<String> for Vlan {
    type Error = ParseVlanError;

    fn try_from(text: String) -> Result<Self, ParseVlanError> {
        text.parse()
    }
}

impl From<Vlan> for String {
    fn from(vlan: Vlan) -> String {
        vlan.interface.into()
    }
}

impl fmt::Display for Vlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.interface.fmt(f)
    }
}

/// An interface of the host's for a VLAN, which interfaces of containers sit on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VlanLink {
    /// Text for people who look at the interface, `fabric:vlan:NAME`.
    pub alias: String,
    /// The interface that it is on.
    pub link: IfName,
    /// The VLAN whose tag its frames carry there.
    pub id: VlanId,
    /// How large its packets may be.
    pub mtu: VlanMtu,
    /// Whether it was told to be up. It can be while the interface that it is on is down (`VLAN_FLAG_LOOSE_BINDING`).
    pub admin: Admin,
    /// Whether the host speaks IPv6 by it.
    pub ipv6: Ipv6,
}

/// Whether a VLAN's interface has the MTU of the interface that it is on. The kernel gives it that at first, and takes
/// it along when that becomes smaller, not when it becomes larger (`vlan_device_event` in `net/8021q/vlan.c`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VlanMtu {
    /// It has.
    Inherited,
    /// It has another.
    Other,
}

impl VlanLink {
    /// How a VLAN's interface should be: up, and the host itself has no part in the VLAN.
    pub fn of(vlan: &Vlan) -> Self {
        Self {
            alias: format!("fabric:vlan:{vlan}"),
            link: vlan.link.clone(),
            id: vlan.id,
            mtu: VlanMtu::Inherited,
            admin: Admin::Up,
            ipv6: Ipv6::Off,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vlan_is_written_as_its_interface_is_called() {
        let form = |text: &str| Err(format!("`{text}` is not an interface's name, a dot and the number of a VLAN"));
        let number = |text: &str| {
            Err(format!("`{text}` names no VLAN: they have numbers from 1 to 4094, without zeros before them"))
        };
        for (text, expected) in [
            ("eth0.10", Ok(("eth0", 10))),
            ("eth0.1", Ok(("eth0", 1))),
            ("enp5s0f1np.4094", Ok(("enp5s0f1np", 4094))),
            ("eth0.10.20", Ok(("eth0.10", 20))),
            ("eth0", form("eth0")),
            ("eth0.", form("eth0.")),
            (".10", form(".10")),
            ("..10", form("..10")),
            ("eth0.lan", form("eth0.lan")),
            ("eth0.+10", form("eth0.+10")),
            ("enp5s0f1np0.4094", form("enp5s0f1np0.4094")),
            ("eth0.0", number("eth0.0")),
            ("eth0.010", number("eth0.010")),
            ("eth0.4095", number("eth0.4095")),
            ("eth0.70000", number("eth0.70000")),
        ] {
            let parsed = text.parse::<Vlan>();
            if let Ok(vlan) = &parsed {
                let written = serde_json::to_string(vlan).expect("it can be written");
                assert_eq!(written, format!("\"{text}\""));
                assert_eq!(serde_json::from_str::<Vlan>(&written).expect("what was written can be read"), *vlan);
                assert_eq!(vlan.interface().as_str(), text);
            }
            let parts = parsed.as_ref().map(|vlan| (vlan.link().as_str(), vlan.id().number()));
            assert_eq!(parts.map_err(ToString::to_string), expected);
        }
    }
}
