//! Connecting containers to networks and disconnecting them, whether they run or not.
//!
//! ```text
//! connect:    endpoint and leases committed -> kernel, names, files
//! disconnect: endpoint marked as leaving    -> names withdrawn -> kernel cleared, files -> endpoint and leases forgotten
//! ```
//!
//! A crash in between leaves what the next start completes: an endpoint that was committed is made, one that was
//! leaving goes.

use std::sync::Arc;

use api::{EndpointCreate, EventAction};
use model::{ContainerId, EndpointId, NetworkName};
use store::Durability;

use crate::{
    daemon::{Daemon, chain},
    failure::{Failure, Noun},
    record::{self, Record},
};

impl Daemon {
    /// Connects the container to another network: when this returns it is reachable and resolvable there.
    pub(crate) async fn connect_container(
        self: Arc<Self>,
        reference: &str,
        request: EndpointCreate,
    ) -> Result<ContainerId, Failure> {
        let (id, life) = self.container(reference)?;
        let _work = life.work().await;
        let record = self.live_record(&id, reference)?;
        self.world().check_attachable(&record.container, &request.network)?;
        let endpoint = EndpointId::from_bytes(self.random());
        let (record, endpoint) = self.world().reserve_endpoint(&id, endpoint, &request)?;
        let doing = format!("connect container `{}` to network `{}`", record.container.name, request.network);
        match self.commit(doing, record::connect(&record, &endpoint)).await {
            Ok(revision) => self.world().confirm_endpoint(&id, &endpoint, revision),
            Err(failure) => {
                self.world().forget_endpoint(&id, &endpoint);
                return Err(failure);
            }
        }
        self.tell_endpoint(&record.container, &endpoint, EventAction::Connect);
        self.steps.after("endpoint intended");
        let made = self.settle(&id).await;
        if let Err(failure) = made {
            if let Err(failure) = self.part(&id, &endpoint.id).await {
                tracing::error!(
                    container = id.short(),
                    failure = chain(&failure),
                    "the next start of netd tries again"
                );
            }
            return Err(failure);
        }
        Ok(id)
    }

    /// Makes the kernel, the names and the files fit the container's endpoints.
    async fn settle(self: &Arc<Self>, id: &ContainerId) -> Result<(), Failure> {
        let Some(record) = self.world().record(id).cloned() else { return Ok(()) };
        self.attach(&record.container).await?;
        if record.is_live() {
            self.publish_names(&record.container)?;
            self.listen_inside(&record.container).await?;
        }
        self.refresh_files(&record.container).await
    }

    /// Disconnects the container from a network: when this returns nothing of it is left there. One whose disconnection
    /// failed is tried again.
    pub(crate) async fn disconnect_container(
        self: Arc<Self>,
        reference: &str,
        network: NetworkName,
    ) -> Result<ContainerId, Failure> {
        let (id, life) = self.container(reference)?;
        let _work = life.work().await;
        let record = self.live_record(&id, reference)?;
        let network = self.world().network_by_reference(&network)?.clone();
        let Some(endpoint) = record.held().find(|endpoint| endpoint.network == network.id) else {
            return Err(Failure::NotConnected { container: record.container.name, network: network.name });
        };
        self.part(&id, &endpoint.id).await?;
        Ok(id)
    }

    /// The endpoint goes.
    async fn part(self: &Arc<Self>, id: &ContainerId, endpoint: &EndpointId) -> Result<(), Failure> {
        let unknown = || Failure::unknown(Noun::Container, id.short(), std::iter::empty());
        let mut record = self.world().record(id).cloned().ok_or_else(unknown)?;
        record.part(endpoint);
        let doing = format!("disconnect container `{}`", record.container.name);
        self.commit(doing, record::update_container(&record, Durability::Durable)).await?;
        self.world().part_endpoint(id, endpoint);
        self.steps.after("endpoint no longer intended");
        self.finish_parting(&record).await
    }

    /// Clears away the endpoints that the container is leaving.
    pub(crate) async fn finish_parting(self: &Arc<Self>, record: &Record) -> Result<(), Failure> {
        let container = &record.container;
        self.withdraw_endpoints(&record.leaving);
        self.settle(&container.id).await?;
        let forgotten = self.world().release(record::forget_leaving(record), &record.leaving, &container.name);
        let doing = format!("forget what container `{}` was disconnected from", container.name);
        let freed = self.commit(doing, forgotten).await?;
        for endpoint in &record.leaving {
            self.tell_endpoint(container, endpoint, EventAction::Disconnect);
        }
        self.steps.after("endpoint forgotten");
        self.world().forget_leaving(&container.id, freed);
        self.forget_judged();
        Ok(())
    }
}
