//! The state as text: one object on a line.

use std::fmt;

use super::{Admin, Bridge, Forwarding, Inside, Ipv6, Namespace, Place, Policing, State, SubInterface, Switch, Veth};
use crate::{Family, Route, Structure, VlanLink, VlanMtu, data_path};

/// Addresses as text, joined by commas.
pub(crate) fn list(items: impl IntoIterator<Item = impl fmt::Display>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.interface, self.namespace)
    }
}

impl fmt::Display for SubInterface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}: {}", self.parent.kind, self.parent.interface, self.inside)
    }
}

impl fmt::Display for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Down => "down",
        })
    }
}

impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::On => "on",
            Self::Off => "off",
        })
    }
}

impl fmt::Display for Ipv6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Credulous => "on, from any router",
            Self::On => "on",
        })
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unpinned => "unpinned",
            Self::Unprepared => "unprepared",
            Self::Ready => "ready",
        })
    }
}

impl fmt::Display for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} mtu {} mac {}", self.admin, self.mtu, self.mac)?;
        if !self.addresses.is_empty() {
            write!(f, " address {}", list(&self.addresses))?;
        }
        write!(f, " ipv6 {} loopback routing {}", self.ipv6, self.loopback_routing)?;
        if self.filtered == Switch::On {
            f.write_str(" filtered")?;
        }
        if self.snooping == Switch::On {
            f.write_str(" snooping")?;
        }
        write!(f, " alias {}", self.alias)
    }
}

impl fmt::Display for VlanLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mtu = match self.mtu {
            VlanMtu::Inherited => "its",
            VlanMtu::Other => "another",
        };
        write!(f, "{} VLAN {} of {} with {mtu} mtu", self.admin, self.id, self.link)?;
        write!(f, " ipv6 {} alias {}", self.ipv6, self.alias)
    }
}

impl fmt::Display for Veth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} mtu {}", self.admin, self.mtu)?;
        if let Some(bridge) = &self.bridge {
            write!(f, " master {bridge}")?;
        }
        write!(f, " hairpin {}", self.hairpin)?;
        if self.isolated == Switch::On {
            f.write_str(" isolated")?;
        }
        if let Some(mac) = self.fixed {
            write!(f, " fixed {mac}")?;
        }
        write!(f, " ipv6 {} alias {}", self.ipv6, self.alias)?;
        match &self.inside {
            Some(inside) => write!(f, "\n  <-> {inside}"),
            None => f.write_str("\n  <-> nowhere"),
        }
    }
}

impl fmt::Display for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}: {} mtu {}", self.interface, self.namespace, self.admin, self.mtu)?;
        if let Some(mac) = self.mac {
            write!(f, " mac {mac}")?;
        }
        if !self.addresses.is_empty() {
            write!(f, " address {}", list(&self.addresses))?;
        }
        if self.ipv6 != Ipv6::Off {
            write!(f, " ipv6 {}", self.ipv6)?;
        }
        self.gateways().into_iter().try_for_each(|gateway| write!(f, " {}", Route::default(gateway)))?;
        if self.routes.is_empty() { Ok(()) } else { write!(f, " route {}", list(&self.routes)) }
    }
}

/// One object on a line, in the order in which they are made.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (family, forwarding) in [(Family::Ipv4, self.forwarding), (Family::Ipv6, self.forwarding6)] {
            let forwarding = match forwarding {
                Forwarding::Off => "off",
                Forwarding::On => "on",
                Forwarding::TurnedOn => "on, turned on by fabric",
            };
            writeln!(f, "{family} forwarding {forwarding}")?;
        }
        let structure = match self.structure {
            Structure::Current => "current",
            Structure::Missing => "missing",
            Structure::Altered => "altered",
        };
        writeln!(f, "table inet fabric {structure}")?;
        match &self.policing {
            Policing::Holds(path) if path.is_empty() => {}
            Policing::Holds(path) => write!(f, "{}", path.commands(data_path::TABLE))?,
            Policing::Altered => writeln!(f, "table inet {} altered", data_path::TABLE)?,
        }
        for element in &self.elements {
            writeln!(f, "element {element}")?;
        }
        for (name, namespace) in &self.namespaces {
            writeln!(f, "namespace {name}: {namespace}")?;
        }
        for (name, bridge) in &self.bridges {
            writeln!(f, "bridge {name}: {bridge}")?;
        }
        for (name, veth) in &self.veths {
            writeln!(f, "veth {name}: {veth}")?;
        }
        for (name, vlan) in &self.vlans {
            writeln!(f, "vlan {name}: {vlan}")?;
        }
        for sub_interface in self.sub_interfaces.values() {
            writeln!(f, "{sub_interface}")?;
        }
        for (name, passage) in &self.shortcut.passages {
            writeln!(f, "passage {name}: {passage}")?;
        }
        Ok(())
    }
}
