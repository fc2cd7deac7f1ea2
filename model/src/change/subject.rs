//! What a change works on, and what it needs.

use crate::{Change, IfName, NamespaceName, Place};

/// What a change works on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// An interface in the host's namespace; of a veth pair the other end as well.
    Link(IfName),
    /// A namespace.
    Namespace(NamespaceName),
    /// An interface in a container's namespace that no interface of the host's leads to.
    Inside(Place),
}

impl Change {
    /// What the change works on. If the change fails, no later change to it may be tried.
    pub fn subject(&self) -> Option<Subject> {
        match self {
            Self::InstallFirewall { .. }
            | Self::RemoveElements { .. }
            | Self::InstallPolicing(_)
            | Self::ChangePolicing { .. }
            | Self::ForgetFlows(_)
            | Self::InstallShortcut { .. }
            | Self::RemoveShortcut
            | Self::RemoveStrays(_)
            | Self::LeaveQuestions
            | Self::TakeQuestions
            | Self::AllowForwarding(_) => None,
            Self::CreateNamespace(name) | Self::PrepareNamespace(name) | Self::RemoveNamespace(name) => {
                Some(Subject::Namespace(name.clone()))
            }
            // The namespace's other interfaces are none of its concern: they may sit on other ones of the host's.
            Self::CreateSubInterface(wanted) | Self::ConfigureSubInterface { wanted, .. } => {
                Some(Subject::Inside(wanted.inside.place()))
            }
            Self::RemoveSubInterface(place) => Some(Subject::Inside(place.clone())),
            Self::AddElements { of, .. } => of.clone().map(Subject::Link),
            Self::CreateBridge { name, .. }
            | Self::CreateVeth { name, .. }
            | Self::CreateVlan { name, .. }
            | Self::InheritMtu { name, .. }
            | Self::SetLink { name, .. }
            | Self::RemoveLink(name)
            | Self::AddAddress { name, .. }
            | Self::RemoveAddress { name, .. }
            | Self::SetIpv6 { name, .. }
            | Self::SetLoopbackRouting { name, .. }
            | Self::OpenPassage { port: name, .. }
            | Self::ClosePassage(name)
            | Self::RenameInside { name, .. }
            | Self::Reacquaint { name, .. }
            | Self::ConfigureInside { name, .. } => Some(Subject::Link(name.clone())),
        }
    }

    /// What must be in order before the change can be tried, its subject included.
    pub fn relies_on(&self) -> impl Iterator<Item = Subject> {
        let (link, namespace) = match self {
            Self::CreateVeth { veth, .. } => {
                (veth.bridge.as_ref(), veth.inside.as_ref().map(|inside| &inside.namespace))
            }
            Self::SetLink { settings, .. } => (settings.master.as_ref(), None),
            Self::CreateSubInterface(wanted) => (Some(&wanted.parent.interface), Some(&wanted.inside.namespace)),
            Self::ConfigureSubInterface { wanted, .. } => (None, Some(&wanted.inside.namespace)),
            Self::RemoveSubInterface(place) | Self::RenameInside { place, .. } => (None, Some(&place.namespace)),
            Self::ConfigureInside { inside, .. } | Self::Reacquaint { inside, .. } => (None, Some(&inside.namespace)),
            _ => (None, None),
        };
        let link = link.cloned().map(Subject::Link);
        self.subject().into_iter().chain(link).chain(namespace.cloned().map(Subject::Namespace))
    }
}
