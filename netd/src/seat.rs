//! The interface of the host that a network sits on: whether it can, and the one that is made for a VLAN.

use kernel::{HostInterface, KernelError};
use model::{IfName, Network, NetworkName, Parent, ParseVlanError, Scope, Vlan};

use crate::{daemon::Daemon, failure::Failure};

impl Daemon {
    /// Looks whether a network that is to be created can sit on its parent. Returns how large its packets may be there,
    /// in octets, and the VLAN that the parent's interface is made for, if Fabric makes it.
    pub(crate) async fn seat(&self, network: &NetworkName, parent: &Parent) -> Result<(u32, Option<Vlan>), Failure> {
        let known = self.kernel.interfaces().await.map_err(unasked("list the host's interfaces"))?;
        let (mtu, vlan) = match find(&known, &parent.interface) {
            // Another network may have had it made: it goes with the last one that sits on it.
            Some(interface) => (interface.mtu, self.world().vlan_of(&parent.interface)),
            None => {
                let (vlan, link) = self.missing_vlan(network, &parent.interface, &known)?;
                (link.mtu, Some(vlan))
            }
        };
        let driver = parent.kind.driver();
        if !self.kernel.knows(parent.kind).await.map_err(unasked("ask the kernel for a driver"))? {
            return Err(Failure::NoFacility { network: network.clone(), driver });
        }
        if find(&known, &parent.interface).is_none()
            && !self.kernel.knows_vlans().await.map_err(unasked("ask the kernel for VLANs"))?
        {
            return Err(Failure::NoVlans { network: network.clone(), parent: parent.interface.clone() });
        }
        Ok((mtu, vlan))
    }

    /// The VLAN that the name of a parent stands for which is not there, and the interface that it is on.
    fn missing_vlan<'a>(
        &self,
        network: &NetworkName,
        parent: &IfName,
        known: &'a [HostInterface],
    ) -> Result<(Vlan, &'a HostInterface), Failure> {
        let (network, parent) = (network.clone(), parent.clone());
        let names = || known.iter().map(|interface| interface.name.to_string()).collect::<Vec<_>>();
        let vlan = match Vlan::try_from(&parent) {
            Ok(vlan) => vlan,
            Err(ParseVlanError::Number(_)) => return Err(Failure::VlanNumber { network, parent }),
            Err(ParseVlanError::Form(_)) if parent.as_str() == LOOPBACK => {
                return Err(Failure::LoopbackParent { network, parent, known: names() });
            }
            Err(ParseVlanError::Form(_)) => return Err(Failure::NoParent { network, parent, known: names() }),
        };
        if vlan.link().as_str() == LOOPBACK {
            return Err(Failure::LoopbackParent { network, parent: vlan.link().clone(), known: names() });
        }
        let Some(link) = find(known, vlan.link()) else {
            return Err(Failure::NoVlanLink { network, link: vlan.link().clone(), parent, known: names() });
        };
        // The kernel makes one interface for a VLAN.
        let is_it = |other: &&HostInterface| {
            other.vlan.as_ref().is_some_and(|(link, id)| (link, *id) == (vlan.link(), vlan.id()))
        };
        if let Some(other) = known.iter().find(is_it) {
            return Err(Failure::VlanElsewhere { network, parent, interface: other.name.clone() });
        }
        // Whoever made the interface that another network sits on makes it again.
        let is_awaited = |other: &Network| {
            other.vlan.is_none() && other.parent.as_ref().is_some_and(|theirs| theirs.interface == parent)
        };
        if self.world().reserved_networks().any(is_awaited) {
            return Err(Failure::NoParent { network, parent, known: names() });
        }
        Ok((vlan, link))
    }

    /// Has the interface for a network's VLAN made, if it has one that is to be made, or removed, where no network has
    /// it made any more.
    pub(crate) async fn settle_vlan(&self, doing: String, network: &Network) -> Result<(), Failure> {
        let Some(vlan) = &network.vlan else { return Ok(()) };
        self.reconcile(doing, Scope::Vlan(vlan.interface().clone())).await
    }
}

const LOOPBACK: &str = "lo";

fn find<'a>(known: &'a [HostInterface], name: &IfName) -> Option<&'a HostInterface> {
    known.iter().find(|interface| interface.name == *name)
}

fn unasked(doing: &'static str) -> impl FnOnce(KernelError) -> Failure {
    move |source| Failure::Kernel { doing: doing.into(), source: source.into() }
}
