//! One step from a host's state as it is to the state as it should be.

mod settings;
mod subject;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use ipnet::IpNet;

pub use settings::LinkSettings;
pub use subject::Subject;

use crate::{
    Announcement, Bridge, DataPath, Element, Family, Flows, IfName, Inside, Ipv6, NamespaceName, Passage, Place, Route,
    Stray, SubInterface, Switch, Veth, VlanLink,
    data_path::{self, Difference},
    state::list,
};

/// One change to a host's kernel. Each can be applied twice without harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Put the whole of `table inet fabric` in place, with these elements, in one transaction.
    InstallFirewall {
        /// All that its sets and maps hold from then on.
        elements: BTreeSet<Element>,
    },
    /// Make a namespace, prepare it and pin it.
    CreateNamespace(NamespaceName),
    /// Bring a namespace's loopback and settings in order.
    PrepareNamespace(NamespaceName),
    /// Unpin a namespace; the kernel frees it with its last process.
    RemoveNamespace(NamespaceName),
    /// Make a bridge, down and without an address.
    CreateBridge {
        /// Its name.
        name: IfName,
        /// How it should become.
        bridge: Bridge,
    },
    /// Make a veth pair, both ends down, each in its namespace.
    CreateVeth {
        /// The host's end.
        name: IfName,
        /// How it should become.
        veth: Veth,
    },
    /// Change attributes of an interface in the host's namespace.
    SetLink {
        /// The interface.
        name: IfName,
        /// What changes.
        settings: LinkSettings,
    },
    /// Remove an interface from the host's namespace; of a veth pair both ends go.
    RemoveLink(IfName),
    /// Put an address on a bridge.
    AddAddress {
        /// The bridge.
        name: IfName,
        /// The address with its prefix length.
        address: IpNet,
    },
    /// Take an address off a bridge.
    RemoveAddress {
        /// The bridge.
        name: IfName,
        /// The address with its prefix length.
        address: IpNet,
    },
    /// Turn IPv6 on a bridge, or on the host's end of a veth pair, on or off.
    SetIpv6 {
        /// The interface.
        name: IfName,
        /// Whether it speaks IPv6.
        to: Ipv6,
    },
    /// Allow or forbid 127.0.0.0/8 on a bridge.
    SetLoopbackRouting {
        /// The bridge.
        name: IfName,
        /// Whether such packets may pass.
        to: Switch,
    },
    /// Give a container's end another name.
    RenameInside {
        /// The host's end of the veth pair.
        name: IfName,
        /// Where the container's end is, and under which name.
        place: Place,
        /// Its name from then on.
        to: IfName,
    },
    /// Address a container's end, bring it up, and set its default route, in one batch.
    ConfigureInside {
        /// The host's end of the veth pair.
        name: IfName,
        /// How the container's end should become.
        inside: Inside,
        /// Addresses of Fabric's that no longer belong there.
        remove: BTreeSet<IpNet>,
        /// Routes of Fabric's that no longer lead over it.
        leave: BTreeSet<Route>,
        /// Whether its neighbours are told of it.
        announcement: Announcement,
    },
    /// Tell a container's end and its host of each other once more: with the carrier of a port that was down or in no
    /// bridge, or of its bridge, went what they knew, and who asks before frames pass again asks the next time a second
    /// later.
    Reacquaint {
        /// The host's end of the veth pair.
        name: IfName,
        /// The container's end.
        inside: Inside,
    },
    /// Make an interface for a VLAN, down, with the MTU of the interface that it is on.
    CreateVlan {
        /// Its name.
        name: IfName,
        /// How it should become.
        vlan: VlanLink,
    },
    /// Give an interface for a VLAN the MTU of the interface that it is on.
    InheritMtu {
        /// Its name.
        name: IfName,
        /// What it is on.
        link: IfName,
    },
    /// Make an interface on one of the host's, down, in its namespace.
    CreateSubInterface(SubInterface),
    /// Address such an interface, bring it up, and set its default route, in one batch.
    ConfigureSubInterface {
        /// How it should become.
        wanted: SubInterface,
        /// Addresses of Fabric's that no longer belong there.
        remove: BTreeSet<IpNet>,
        /// Routes of Fabric's that no longer lead over it.
        leave: BTreeSet<Route>,
    },
    /// Remove such an interface.
    RemoveSubInterface(Place),
    /// Add elements to the firewall, in one transaction.
    AddElements {
        /// The interface they are there for, if it is one.
        of: Option<IfName>,
        /// The elements.
        elements: BTreeSet<Element>,
    },
    /// Remove elements from the firewall, in one transaction.
    RemoveElements {
        /// The elements.
        elements: BTreeSet<Element>,
    },
    /// Put the whole of `table inet fabric-policy` in place, in one transaction; away, if it is to hold nothing.
    InstallPolicing(Arc<DataPath>),
    /// Change what it holds, in one transaction.
    ChangePolicing {
        /// What changes.
        difference: Box<Difference>,
        /// What it holds then.
        to: Arc<DataPath>,
    },
    /// Delete conntrack entries.
    ForgetFlows(Flows),
    /// Put the program of the shortcut in front of the ports that these passages open, and of no other.
    InstallShortcut {
        /// Who takes it from then on, by port.
        passages: BTreeMap<IfName, Passage>,
    },
    /// Take the program away from all ports: all frames pass their bridges again.
    RemoveShortcut,
    /// Let frames of one more port take the shortcut, and those for it.
    OpenPassage {
        /// The port.
        port: IfName,
        /// What it should become.
        passage: Passage,
    },
    /// Let none of a port's frames take the shortcut any more, and none that are for it.
    ClosePassage(IfName),
    /// Clear the shortcut of what belongs to nobody.
    RemoveStrays(BTreeSet<Stray>),
    /// Have every question for a name go to the server, by all rules.
    LeaveQuestions,
    /// Answer questions for names at the ports.
    TakeQuestions,
    /// Let the host forward packets of a family, and leave a note that it was Fabric who did.
    AllowForwarding(Family),
}

/// How many elements a line of text still names one by one.
const MANY: usize = 16;

impl Change {
    /// Whether nothing may come up if it fails: without it packets would pass that rules are to keep from it.
    pub fn guards_all(&self) -> bool {
        matches!(
            self,
            Self::InstallFirewall { .. }
                | Self::AddElements { of: None, .. }
                | Self::InstallPolicing(_)
                | Self::ChangePolicing { .. }
        )
    }

    /// Whether all works without it, only slower: its failure fails nothing else, and nobody needs to wait for it.
    pub fn is_optional(&self) -> bool {
        matches!(self, Self::InstallShortcut { .. } | Self::OpenPassage { .. } | Self::RemoveStrays(_))
    }
}

/// The MAC address that an end is made with, if it is to have one of its own.
fn mac(inside: &Inside) -> String {
    inside.mac.map(|mac| format!(" mac {mac}")).unwrap_or_default()
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InstallFirewall { elements } if elements.is_empty() => f.write_str("install table inet fabric"),
            Self::InstallFirewall { elements } if elements.len() > MANY => {
                write!(f, "install table inet fabric with {} elements", elements.len())
            }
            Self::InstallFirewall { elements } => write!(f, "install table inet fabric with {}", list(elements)),
            Self::CreateNamespace(name) => write!(f, "create namespace {name}"),
            Self::PrepareNamespace(name) => write!(f, "prepare namespace {name}"),
            Self::RemoveNamespace(name) => write!(f, "remove namespace {name}"),
            Self::CreateBridge { name, bridge } => {
                write!(f, "create bridge {name} mtu {} mac {}", bridge.mtu, bridge.mac)
            }
            Self::CreateVeth { name, veth } => {
                write!(f, "create veth {name} mtu {}", veth.mtu)?;
                if let Some(bridge) = &veth.bridge {
                    write!(f, " master {bridge}")?;
                }
                match &veth.inside {
                    Some(inside) => {
                        write!(f, " <-> {}{}", inside.place(), mac(inside))
                    }
                    None => Ok(()),
                }
            }
            Self::SetLink { name, settings } => write!(f, "set {name} {settings}"),
            Self::RemoveLink(name) => write!(f, "remove {name}"),
            Self::AddAddress { name, address } => write!(f, "add address {address} to {name}"),
            Self::RemoveAddress { name, address } => write!(f, "remove address {address} from {name}"),
            Self::SetIpv6 { name, to } => write!(f, "set {name} ipv6 {to}"),
            Self::SetLoopbackRouting { name, to } => write!(f, "set {name} loopback routing {to}"),
            Self::RenameInside { place, to, .. } => write!(f, "rename {place} to {to}"),
            Self::ConfigureInside { inside, remove, leave, announcement, .. } => {
                write!(f, "configure {inside}")?;
                if !remove.is_empty() {
                    write!(f, " without {}", list(remove))?;
                }
                if !leave.is_empty() {
                    write!(f, " no longer {}", list(leave))?;
                }
                if *announcement == Announcement::Due {
                    f.write_str(" announced")?;
                }
                Ok(())
            }
            Self::Reacquaint { inside, .. } => write!(f, "reacquaint {} with its host", inside.place()),
            Self::CreateVlan { name, vlan } => write!(f, "create {name} for VLAN {} of {}", vlan.id, vlan.link),
            Self::InheritMtu { name, link } => write!(f, "set {name} mtu of {link}"),
            Self::CreateSubInterface(SubInterface { parent, inside }) => {
                write!(f, "create {} as {} on {}", inside.place(), parent.kind, parent.interface)?;
                write!(f, "{} mtu {}", mac(inside), inside.mtu)
            }
            Self::ConfigureSubInterface { wanted: SubInterface { inside, .. }, remove, leave } => {
                write!(f, "configure {inside}")?;
                if !remove.is_empty() {
                    write!(f, " without {}", list(remove))?;
                }
                if !leave.is_empty() {
                    write!(f, " no longer {}", list(leave))?;
                }
                Ok(())
            }
            Self::RemoveSubInterface(place) => write!(f, "remove {place}"),
            Self::AddElements { elements, .. } => write!(f, "add {}", list(elements)),
            Self::RemoveElements { elements } => write!(f, "remove {}", list(elements)),
            Self::InstallPolicing(path) if path.is_empty() => write!(f, "remove table inet {}", data_path::TABLE),
            Self::InstallPolicing(path) => {
                write!(f, "install table inet {} with {} chains", data_path::TABLE, path.chains.len())
            }
            Self::ChangePolicing { difference, .. } => {
                write!(f, "change table inet {}: {difference}", data_path::TABLE)
            }
            Self::ForgetFlows(flows) => write!(f, "forget flows {flows}"),
            Self::InstallShortcut { passages } => write!(f, "install the shortcut for {} ports", passages.len()),
            Self::RemoveShortcut => f.write_str("remove the shortcut"),
            Self::OpenPassage { port, passage } => write!(f, "open a passage for {port}: {passage}"),
            Self::ClosePassage(port) => write!(f, "close the passage of {port}"),
            Self::RemoveStrays(strays) => write!(f, "clear the shortcut of {}", list(strays)),
            Self::LeaveQuestions => f.write_str("leave questions for names to the server"),
            Self::TakeQuestions => f.write_str("answer questions for names at the ports"),
            Self::AllowForwarding(family) => write!(f, "turn on {family} forwarding"),
        }
    }
}
