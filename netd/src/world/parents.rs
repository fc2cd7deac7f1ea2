//! Interfaces of the host that containers sit on: one that somebody has to itself is nobody else's.

use model::{Container, Endpoint, MacvlanMode, Network, Parent, SubInterfaceKind};

use super::World;
use crate::failure::Failure;

impl World {
    /// Whether the network can be on its parent beside the networks that are there, be anybody on them now or not: what
    /// one of them keeps from running must not depend on who was first.
    pub(super) fn check_parent(&self, network: &Network) -> Result<(), Failure> {
        let Some(parent) = &network.parent else { return Ok(()) };
        let held = self.reserved_networks().filter_map(|other| {
            let theirs = other.parent.as_ref().filter(|theirs| theirs.interface == parent.interface)?;
            (!parent.kind.goes_with(theirs.kind)).then_some((&other.name, theirs.kind))
        });
        // Of several always the same one is told.
        let Some((holder, theirs)) = held.min_by_key(|(name, _)| *name) else { return Ok(()) };
        Err(Failure::ParentHeld {
            network: network.name.clone(),
            parent: parent.interface.clone(),
            asked: parent.kind,
            holder: holder.clone(),
            theirs,
        })
    }

    /// Whether the container can be on the parents of its networks beside those who are there now. The kernel would
    /// refuse it without a word of why (`macvlan_common_newlink` in `drivers/net/macvlan.c`).
    pub(crate) fn check_parents(&self, container: &Container) -> Result<(), Failure> {
        for (index, endpoint) in container.endpoints.iter().enumerate() {
            let Some((network, parent)) = self.parent_of(endpoint) else { continue };
            let before = container.endpoints[..index].iter().map(|endpoint| (endpoint, container));
            let others = self.on_parent(parent).filter(|(_, other)| other.id != container.id);
            for (other, holder) in before.chain(others) {
                let Some((_, theirs)) = self.parent_of(other) else { continue };
                let alone =
                    [parent.kind, theirs.kind].contains(&SubInterfaceKind::Macvlan { mode: MacvlanMode::Passthru });
                if alone && theirs.interface == parent.interface {
                    return Err(Failure::ParentTaken {
                        network: network.name.clone(),
                        parent: parent.interface.clone(),
                        holder: holder.name.clone(),
                    });
                }
            }
        }
        Ok(())
    }

    fn parent_of(&self, endpoint: &Endpoint) -> Option<(&Network, &Parent)> {
        let network = self.network(&endpoint.network)?;
        Some((network, network.parent.as_ref()?))
    }

    /// The endpoints of live containers on the parent's interface.
    fn on_parent<'a>(&'a self, parent: &'a Parent) -> impl Iterator<Item = (&'a Endpoint, &'a Container)> {
        let same = |network: &&Network| network.parent.as_ref().is_some_and(|own| own.interface == parent.interface);
        self.networks().filter(same).flat_map(|network| {
            let live = self.on_network(&network.id).filter(|record| record.is_live());
            live.flat_map(|record| {
                let here = record.container.endpoints.iter().filter(|endpoint| endpoint.network == network.id);
                here.map(|endpoint| (endpoint, &record.container))
            })
        })
    }
}
