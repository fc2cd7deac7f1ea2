//! The interfaces that packets of networks leave the host by, and the MTUs that networks have from them.

use kernel::{HostInterface, KernelError};
use model::{IfName, MtuSource, Network, Vlan};

use crate::{daemon::Daemon, failure::Failure};

/// How large packets may be that leave the host, in octets.
pub(crate) struct Uplinks {
    /// By the default route.
    default_route: u32,
    /// By interfaces that networks can sit on; none if nobody asked about them.
    parents: Vec<HostInterface>,
}

impl Uplinks {
    /// The MTU of what a network's packets leave the host by: of its parent, if it has one, which may be missing. An
    /// interface that Fabric makes for a VLAN has the MTU of the one that it is on.
    pub(crate) fn mtu_for(&self, network: &Network) -> Option<u32> {
        let Some(parent) = &network.parent else { return Some(self.default_route) };
        let mtu = |name: &IfName| self.parents.iter().find(|known| known.name == *name).map(|known| known.mtu);
        mtu(&parent.interface).or_else(|| mtu(network.vlan.as_ref().map(Vlan::link)?))
    }

    /// The MTU that a network is to have that follows its uplink; what it has, if its parent is missing.
    pub(crate) fn followed_by(&self, network: &Network) -> u32 {
        self.mtu_for(network).map_or(network.mtu, |mtu| MtuSource::following(mtu, &network.subnets))
    }
}

/// A network on a parent whose MTU is `largest`, in octets, cannot have a larger one: the kernel refuses that to the
/// interfaces of containers.
pub(crate) fn check_parent_mtu(network: &Network, largest: u32) -> Result<(), Failure> {
    match &network.parent {
        Some(parent) if network.mtu > largest => {
            let (name, parent) = (network.name.clone(), parent.interface.clone());
            Err(Failure::ParentMtu { network: name, parent, asked: network.mtu, mtu: largest })
        }
        _ => Ok(()),
    }
}

impl Daemon {
    /// The MTU of the interface that the default route leaves by.
    pub(crate) async fn uplink_mtu(&self) -> Result<u32, Failure> {
        self.kernel.uplink_mtu().await.map_err(unread)
    }

    /// How large packets may be; by interfaces that networks can sit on only `with_parents`.
    pub(crate) async fn uplinks(&self, with_parents: bool) -> Result<Uplinks, Failure> {
        let parents = if with_parents { self.kernel.interfaces().await.map_err(unread)? } else { Vec::new() };
        Ok(Uplinks { default_route: self.uplink_mtu().await?, parents })
    }

    /// The same, for who had better not keep anybody waiting.
    pub(crate) async fn uplinks_at_leisure(&self, with_parents: bool) -> Result<Uplinks, Failure> {
        let parents =
            if with_parents { self.kernel.interfaces_at_leisure().await.map_err(unread)? } else { Vec::new() };
        let default_route = self.kernel.uplink_mtu_at_leisure().await.map_err(unread)?;
        Ok(Uplinks { default_route, parents })
    }
}

fn unread(source: KernelError) -> Failure {
    Failure::Kernel { doing: "read the uplink's MTU".into(), source: source.into() }
}
