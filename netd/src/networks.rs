//! What can be asked of networks.

use std::sync::Arc;

use api::{EventAction, NetworkCreate, NetworkPlan};
use ipam::HostRange;
use jiff::Timestamp;
use model::{Family, MacAddress, Network, NetworkId, NetworkName, Scope, Subnet};

use crate::{
    daemon::{Daemon, chain},
    events,
    failure::Failure,
    record,
    world::World,
};

impl Daemon {
    /// Creates a network: when this returns its bridge stands, and its gateway answers DNS.
    pub(crate) async fn create_network(self: Arc<Self>, request: NetworkCreate) -> Result<Network, Failure> {
        let plan = request.plan()?;
        let routes = self.host_ranges().await?;
        let mtu = match plan.mtu {
            Some(mtu) => mtu.octets(),
            None => self.uplink_mtu().await?,
        };
        let network = {
            let mut world = self.world();
            let subnets = self.choose_subnets(&request.name, &plan, &world, &routes)?;
            let first = subnets.first().expect("a plan has a subnet, or a family to choose one of");
            let network = Network {
                id: NetworkId::from_bytes(self.random()),
                name: request.name,
                driver: plan.driver,
                gateway_mac: MacAddress::of(first.gateway()),
                subnets,
                reserved: plan.reserved,
                reach: plan.reach,
                mtu,
                name_servers: request.name_servers,
                labels: request.labels,
                created_at: Timestamp::now(),
            };
            world.reserve_network(network.clone())?;
            network
        };
        let doing = format!("create network `{}`", network.name);
        if let Err(failure) = self.commit(doing.clone(), record::create_network(&network)).await {
            self.world().forget_network(&network);
            return Err(failure);
        }
        self.steps.after("network intended");
        self.world().confirm_network(&network.id);
        let made = self.make_network(doing, &network).await;
        if made.is_err() {
            self.withdraw_network(&network).await;
        }
        made.map(|()| {
            self.events.tell(events::of_network(&network, EventAction::Create));
            network
        })
    }

    async fn make_network(&self, doing: String, network: &Network) -> Result<(), Failure> {
        self.reconcile(doing, Scope::Network(network.id.clone())).await?;
        self.open_zone(network)?;
        self.listen().await
    }

    /// Removes a network that nothing is attached to.
    pub(crate) async fn remove_network(self: Arc<Self>, name: NetworkName) -> Result<(), Failure> {
        let network = self.world().retire_network(&name)?;
        let doing = format!("remove network `{name}`");
        if let Err(failure) = self.commit(doing.clone(), record::delete_network(&network)).await {
            self.world().confirm_network(&network.id);
            // Another reconcile may have taken it for gone meanwhile.
            self.reconcile(doing, Scope::Network(network.id.clone())).await?;
            return Err(failure);
        }
        self.steps.after("network no longer intended");
        let closed = self.close_network(doing, &network).await;
        self.events.tell(events::of_network(&network, EventAction::Remove));
        closed
    }

    /// The intent of a network that could not be made is taken back; what is left of it goes with the intent.
    async fn withdraw_network(&self, network: &Network) {
        let doing = format!("withdraw network `{}`", network.name);
        let withdrawn = match self.commit(doing.clone(), record::delete_network(network)).await {
            Ok(_) => self.close_network(doing, network).await,
            Err(failure) => Err(failure),
        };
        if let Err(failure) = withdrawn {
            tracing::error!(failure = chain(&failure), "the next start of netd tries again");
        }
    }

    async fn close_network(&self, doing: String, network: &Network) -> Result<(), Failure> {
        self.close_zone(network);
        if let Err(failure) = self.listen().await {
            // Of another network, for this one's gateway is no longer wanted; the doctor tells.
            tracing::warn!(failure = chain(&failure), "a gateway does not answer DNS");
        }
        // Its range and name are free once its bridge is gone. If that fails, the next look at the host tries again.
        let cleared = self.reconcile(doing, Scope::Network(network.id.clone())).await;
        self.world().forget_network(network);
        cleared
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
    async fn host_ranges(&self) -> Result<Vec<HostRange>, Failure> {
        let routes = self.kernel.host_routes().await;
        let routes = routes
            .map_err(|source| Failure::Kernel { doing: "read the host's routes".into(), source: source.into() })?;
        Ok(routes.into_iter().map(|(interface, range)| HostRange { range, interface }).collect())
    }

    async fn uplink_mtu(&self) -> Result<u32, Failure> {
        let mtu = self.kernel.uplink_mtu().await;
        mtu.map_err(|source| Failure::Kernel { doing: "read the uplink's MTU".into(), source: source.into() })
    }
}
