//! What can be asked of networks.

use std::sync::Arc;

use api::{EventAction, NetworkCreate, NetworkPlan};
use ipam::{Former, HostRange};
use ipnet::IpNet;
use jiff::Timestamp;
use model::{Family, IfName, MtuSource, Network, NetworkId, NetworkName, Scope, Subnet};
use store::StoreError;

use crate::{
    daemon::{Daemon, chain},
    events,
    failure::Failure,
    record,
    uplinks::check_parent_mtu,
    world::World,
};

impl Daemon {
    /// Creates a network: when this returns its bridge stands, and its gateway answers DNS.
    pub(crate) async fn create_network(self: Arc<Self>, request: NetworkCreate) -> Result<Network, Failure> {
        let plan = request.plan()?;
        let mut routes = self.host_ranges().await?;
        let (uplink_mtu, vlan) = match &plan.parent {
            Some(parent) => {
                // Its LAN is where the network is meant to be.
                routes.retain(|route| route.interface != parent.interface);
                self.seat(&request.name, parent).await?
            }
            None => (self.uplink_mtu().await?, None),
        };
        // From here until the network is known no policy comes that names it.
        let ruling = self.ruling.lock().await;
        self.check_unnamed(&request.name, plan.driver)?;
        let editing = self.editing.lock().await;
        let network = {
            let mut world = self.world();
            let subnets = self.choose_subnets(&request.name, &plan, &world, &routes)?;
            api::check_routes(&request.name, &plan.routes, &subnets, &[], plan.parent.as_ref())?;
            let first = subnets.first().expect("a plan has a subnet, or a family to choose one of");
            let id = NetworkId::from_bytes(self.random());
            let network = Network {
                gateway_mac: world.free_gateway_mac(&id, first.gateway()),
                id,
                name: request.name,
                driver: plan.driver,
                mtu: plan.mtu.map_or_else(|| MtuSource::following(uplink_mtu, &subnets), api::Mtu::octets),
                mtu_source: if plan.mtu.is_some() { MtuSource::Fixed } else { MtuSource::Uplink },
                parent: plan.parent,
                vlan,
                subnets,
                reserved: plan.reserved,
                reach: plan.reach,
                icc: plan.icc,
                default_route: plan.default_route,
                routes: plan.routes,
                name_servers: request.name_servers,
                labels: request.labels,
                created_at: Timestamp::now(),
            };
            check_parent_mtu(&network, uplink_mtu)?;
            world.reserve_network(network.clone())?;
            network
        };
        // Its name and range are known to be taken from here on.
        drop((editing, ruling));
        let doing = format!("create network `{}`", network.name);
        if let Err(failure) = self.commit(doing.clone(), record::create_network(&network)).await {
            self.world().forget_network(&network);
            return Err(failure);
        }
        self.steps.after("network intended");
        self.world().confirm_network(&network.id);
        if let Err(failure) = self.make_network(doing, &network).await {
            return Err(self.withdraw_network(&network, failure).await);
        }
        self.events.tell(events::of_network(&network, EventAction::Create));
        Ok(network)
    }

    async fn make_network(&self, doing: String, network: &Network) -> Result<(), Failure> {
        // The zone first: whoever joins the network from now on has a name in it.
        self.open_zone(network)?;
        self.settle_vlan(doing.clone(), network).await?;
        self.reconcile(doing, Scope::Network(network.id.clone())).await?;
        self.listen_for(network).await
    }

    /// Removes a network that nothing is attached to.
    pub(crate) async fn remove_network(self: Arc<Self>, reference: NetworkName) -> Result<(), Failure> {
        let id = self.world().network_by_reference(&reference)?.id.clone();
        self.remove_network_by_id(&id).await
    }

    async fn remove_network_by_id(self: &Arc<Self>, id: &NetworkId) -> Result<(), Failure> {
        let _editing = self.editing.lock().await;
        let network = self.world().retire_network(id)?;
        let doing = format!("remove network `{}`", network.name);
        self.delete_network(&doing, &network).await?;
        self.steps.after("network no longer intended");
        let closed = self.close_network(doing, &network).await;
        self.events.tell(events::of_network(&network, EventAction::Remove));
        closed
    }

    /// Removes every network that nothing is attached to, or those of `only`, and tells their names.
    pub(crate) async fn prune_networks(
        self: Arc<Self>,
        only: Option<Vec<NetworkName>>,
    ) -> Result<Vec<NetworkName>, Failure> {
        let is_wanted = |network: &&Network| only.as_ref().is_none_or(|only| only.contains(&network.name));
        let networks: Vec<Network> = self.world().networks().filter(is_wanted).cloned().collect();
        let mut removed = Vec::new();
        for network in networks {
            match self.remove_network_by_id(&network.id).await {
                Ok(()) => removed.push(network.name),
                // It is in use, or somebody else removed it.
                Err(Failure::NetworkInUse { .. } | Failure::Unknown { .. }) => {}
                Err(failure) => return Err(failure),
            }
        }
        removed.sort();
        Ok(removed)
    }

    /// The intent of a network that could not be made, for the reason `failure`, is taken back, and what is left of it
    /// goes with the intent. Whoever joined the network meanwhile keeps it. Returns what is to be told.
    async fn withdraw_network(self: &Arc<Self>, network: &Network, failure: Failure) -> Failure {
        let doing = format!("withdraw network `{}`", network.name);
        let _editing = self.editing.lock().await;
        let retired = self.world().retire_unmade(network);
        let withdrawn = match retired {
            Ok(true) => match self.delete_network(&doing, network).await {
                Ok(()) => self.close_network(doing, network).await,
                Err(failure) => Err(failure),
            },
            // Somebody else has removed it.
            Ok(false) => Ok(()),
            Err(Failure::NetworkInUse { network, containers }) => {
                return Failure::HalfMade { network, containers, source: Box::new(failure) };
            }
            Err(failure) => Err(failure),
        };
        if let Err(failure) = withdrawn {
            tracing::error!(failure = chain(&failure), "the next start of netd tries again");
        }
        failure
    }

    /// The network, which has been retired, is intended no more, and nobody's past on it is remembered. If that fails
    /// it is in use again.
    async fn delete_network(&self, doing: &str, network: &Network) -> Result<(), Failure> {
        let deleted = self.commit_deletion(doing, network).await;
        if deleted.is_err() {
            self.world().confirm_network(&network.id);
            // Another reconcile may have taken it for gone meanwhile.
            self.reconcile(doing, Scope::Network(network.id.clone())).await?;
        }
        deleted
    }

    async fn commit_deletion(&self, doing: &str, network: &Network) -> Result<(), Failure> {
        let formers = self.store.list(&Former::prefix(&network.id)).await;
        let unreadable = |source: StoreError| Failure::commit(doing, source);
        let remembered = formers.map_err(unreadable)?.entries.into_iter().map(|(key, _)| key).collect();
        self.commit(doing, record::delete_network(network, remembered).making_room()).await.map(drop)
    }

    async fn close_network(self: &Arc<Self>, doing: String, network: &Network) -> Result<(), Failure> {
        self.close_zone(network);
        self.listen().await;
        // Its range and name are free once its bridge is gone. If that fails, the next look at the host tries again.
        let cleared = self.reconcile(doing.clone(), Scope::Network(network.id.clone())).await;
        let unseated = self.settle_vlan(doing, network).await;
        self.world().forget_network(network);
        self.forget_judged();
        cleared.and(unseated)
    }

    /// The subnets that were asked for, if they are free, and a free one of each family without.
    fn choose_subnets(
        &self,
        network: &NetworkName,
        plan: &NetworkPlan,
        world: &World,
        routes: &[HostRange],
    ) -> Result<Vec<Subnet>, Failure> {
        for subnet in &plan.subnets {
            ipam::overlap(subnet.range(), world.reserved_networks(), routes).map_err(|source| Failure::Range {
                network: network.clone(),
                range: subnet.range(),
                source: source.into(),
            })?;
        }
        let networks = world.reserved_networks().flat_map(|network| &network.subnets).chain(&plan.subnets);
        let taken: Vec<_> = networks.map(Subnet::range).chain(routes.iter().map(|route| route.range)).collect();
        let pooled = |family| self.pools.iter().any(|pool| pool.family() == family);
        let chosen = plan.automatic.iter().map(|family| {
            let range = match family {
                Family::Ipv6 if !pooled(Family::Ipv6) => ipam::choose_unique_local(&taken, || self.random()),
                family => ipam::choose_subnet(&self.pools, *family, &taken),
            };
            let range = range.map_err(|source| Failure::NoRange { network: network.clone(), source: source.into() })?;
            Ok(Subnet::new(range, None).expect("pools hold only ranges that containers can live in"))
        });
        // IPv4 first, as asked for within a family.
        let mut subnets = plan.subnets.clone();
        subnets.extend(chosen.collect::<Result<Vec<_>, Failure>>()?);
        subnets.sort_by_key(Subnet::family);
        Ok(subnets)
    }

    /// Where the host's routes lead.
    pub(crate) async fn host_ranges(&self) -> Result<Vec<HostRange>, Failure> {
        ranges(self.kernel.host_routes().await)
    }

    /// The same, for who had better not keep anybody waiting.
    pub(crate) async fn host_ranges_at_leisure(&self) -> Result<Vec<HostRange>, Failure> {
        ranges(self.kernel.host_routes_at_leisure().await)
    }
}

fn ranges(routes: Result<Vec<(IfName, IpNet)>, kernel::KernelError>) -> Result<Vec<HostRange>, Failure> {
    let routes =
        routes.map_err(|source| Failure::Kernel { doing: "read the host's routes".into(), source: source.into() })?;
    Ok(routes.into_iter().map(|(interface, range)| HostRange { range, interface }).collect())
}
