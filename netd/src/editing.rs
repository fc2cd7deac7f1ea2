//! Networks that are changed while they are used.
//!
//! ```text
//! checked against who is on it -> committed -> bridge and firewall, zone, DNS -> each container on it that is concerned
//! ```
//!
//! A crash after the commit leaves what the next start completes: it reconciles everything.

use std::sync::Arc;

use api::{EventAction, NetworkUpdate};
use ipam::HostRange;
use model::{MtuSource, Network, NetworkName, Scope};

use crate::{
    daemon::{Daemon, chain},
    events,
    failure::Failure,
    record,
    uplinks::check_parent_mtu,
    world::World,
};

impl Daemon {
    /// Changes a network: when this returns everything on it is as if it had been made like that. Connections that are
    /// still allowed go on.
    pub(crate) async fn update_network(
        self: Arc<Self>,
        name: NetworkName,
        update: NetworkUpdate,
    ) -> Result<Network, Failure> {
        let _editing = self.editing.lock().await;
        let is_on_parent = self.world().network_by_reference(&name)?.parent.is_some();
        let uplinks = self.uplinks(is_on_parent).await?;
        let routes = self.host_ranges().await?;
        let plan = |world: &World, network: &Network| {
            let largest = uplinks.mtu_for(network);
            let planned = update.plan(network, largest.unwrap_or(network.mtu))?;
            check_ranges(world, network, &planned, &routes)?;
            // Where somebody made the parent's smaller, all else can be changed all the same.
            if let Some(largest) = largest.filter(|_| update.asks_for_mtu() || planned.mtu != network.mtu) {
                check_parent_mtu(&planned, largest)?;
            }
            Ok(planned)
        };
        let (old, new) = self.world().reserve_update(&name, plan)?;
        let doing = format!("update network `{name}`");
        if let Err(failure) = self.commit(doing.clone(), record::update_networks(std::slice::from_ref(&new))).await {
            self.world().withdraw_update(&old);
            return Err(failure);
        }
        self.world().confirm_update(&new);
        self.steps.after("network update intended");
        self.settle_network(doing, &old, &new).await?;
        self.events.tell(events::of_network(&new, EventAction::Update));
        Ok(new)
    }

    /// Makes the kernel, the names and the files fit a network that was like `old`.
    async fn settle_network(self: &Arc<Self>, doing: String, old: &Network, new: &Network) -> Result<(), Failure> {
        // The bridge first: what is no longer to leave the network leaves it no longer.
        self.reconcile(doing.clone(), Scope::Network(new.id.clone())).await?;
        if old.labels != new.labels {
            self.cut_denied(&doing).await?;
        }
        self.open_zone(new)?;
        self.listen_for(new).await?;
        if old.mtu != new.mtu {
            // No interface has a larger MTU than the one that it sits on.
            self.settle_vlan(doing.clone(), new).await?;
        }
        let of_containers = |network: &Network| {
            let Network { mtu, reach, icc, default_route, routes, .. } = network;
            (*mtu, *reach, *icc, *default_route, routes.clone())
        };
        if of_containers(old) == of_containers(new) {
            return Ok(());
        }
        let containers = self.world().scopes_on(&new.id);
        let mut settled = Ok(());
        for (container, scope) in containers {
            let one = async {
                self.reconcile(doing.clone(), scope).await?;
                match (old.reach.has_gateway(), old.default_route) == (new.reach.has_gateway(), new.default_route) {
                    true => Ok(()),
                    false => self.refresh_files(&container).await,
                }
            };
            // One that cannot follow keeps no other from it.
            settled = settled.and(one.await);
        }
        settled
    }

    /// Brings networks that follow the MTU of their uplink, be it the host's or their parent, up to date with it.
    pub(crate) async fn follow_uplinks(self: &Arc<Self>) -> Result<(), Failure> {
        let follows = |network: &&Network| network.mtu_source == MtuSource::Uplink;
        let on_parents: Vec<bool> = self.world().networks().filter(follows).map(|one| one.parent.is_some()).collect();
        if on_parents.is_empty() {
            return Ok(());
        }
        let with_parents = on_parents.contains(&true);
        // Almost always nothing is to be changed: that is found out where nobody waits behind it.
        let seen = self.uplinks_at_leisure(with_parents).await?;
        let keeps_up = |network: &Network| network.mtu == seen.followed_by(network);
        if self.world().networks().filter(follows).all(keeps_up) {
            return Ok(());
        }
        let _editing = self.editing.lock().await;
        let uplinks = self.uplinks(with_parents).await?;
        let changed: Vec<(Network, Network)> = {
            let world = self.world();
            let following = world.networks().filter(follows);
            let changed = following
                .map(|network| (network.clone(), Network { mtu: uplinks.followed_by(network), ..network.clone() }));
            changed.filter(|(old, new)| old != new).collect()
        };
        if changed.is_empty() {
            return Ok(());
        }
        let updates: Vec<Network> = changed.iter().map(|(_, new)| new.clone()).collect();
        self.commit("follow the uplink's MTU", record::update_networks(&updates)).await?;
        for (_, new) in &changed {
            self.world().confirm_update(new);
        }
        self.steps.after("uplink followed");
        for (old, new) in &changed {
            tracing::info!(network = %new.name, from = old.mtu, to = new.mtu, "the MTU follows the uplink's");
            // One that cannot follow keeps no other from it.
            if let Err(failure) = self.settle_network(format!("follow the uplink with `{}`", new.name), old, new).await
            {
                tracing::warn!(failure = chain(&failure), "a network does not follow the uplink");
            }
            self.events.tell(events::of_network(new, EventAction::Update));
        }
        Ok(())
    }
}

/// What the network is to have besides must be free.
fn check_ranges(world: &World, old: &Network, new: &Network, routes: &[HostRange]) -> Result<(), Failure> {
    let had = |range| old.subnets.iter().any(|subnet| subnet.range() == range);
    for range in new.subnets.iter().map(model::Subnet::range).filter(|range| !had(*range)) {
        let others = world.reserved_networks().filter(|other| other.id != old.id);
        ipam::overlap(range, others, routes).map_err(|source| Failure::Range {
            network: old.name.clone(),
            range,
            source: source.into(),
        })?;
    }
    Ok(())
}
