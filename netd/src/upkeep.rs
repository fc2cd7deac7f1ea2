//! What keeps the containers of a host in order: other names, a look at their processes, and an end for those that
//! nobody needs any more.

use std::sync::Arc;

use api::EventAction;
use model::{ContainerId, ContainerName, ContainerState};
use runtime::ProcessInfo;

use store::Durability;

use crate::{daemon::Daemon, failure::Failure, images::blocking, life::Life, record};

impl Daemon {
    /// Gives the container another name. DNS answers for the new one, and no longer for the old one, when this returns.
    pub(crate) async fn rename_container(
        self: Arc<Self>,
        reference: &str,
        name: ContainerName,
    ) -> Result<ContainerId, Failure> {
        let (id, life) = self.container(reference)?;
        let _work = life.work().await;
        let mut record = self.live_record(&id, reference)?;
        if record.container.name == name {
            return Ok(id);
        }
        self.world().reserve_name(&id, &name)?;
        let old = std::mem::replace(&mut record.container.name, name.clone());
        let doing = format!("rename container `{old}`");
        if let Err(failure) = self.commit(doing, record::rename_container(&record, &old)).await {
            self.world().release_name(&name);
            return Err(failure);
        }
        self.steps.after("container renamed");
        self.world().rename_container(&id, name);
        self.tell_container(&record.container, EventAction::Rename, None);
        if record.is_live() {
            self.publish_names(&record.container)?;
        }
        Ok(id)
    }

    /// The container's processes, those of `exec` included.
    pub(crate) async fn processes(self: &Arc<Self>, reference: &str) -> Result<Vec<ProcessInfo>, Failure> {
        let (id, _) = self.running(reference)?;
        let daemon = self.clone();
        let processes = blocking(move || daemon.runtime.processes(&id)).await;
        processes.map_err(|source| Failure::Runtime {
            doing: "list the processes of",
            name: reference.to_owned(),
            source: source.into(),
        })
    }

    /// Removes every container that has exited, and tells their names.
    pub(crate) async fn prune_containers(self: Arc<Self>) -> Result<Vec<ContainerName>, Failure> {
        let containers: Vec<(ContainerId, Arc<Life>)> = {
            let world = self.world();
            let ids = world.records().map(|record| &record.container.id);
            ids.filter_map(|id| Some((id.clone(), world.life(id)?.clone()))).collect()
        };
        let mut removed = Vec::new();
        for (id, life) in containers {
            // One that somebody works on is needed.
            if !matches!(life.state(), ContainerState::Exited { .. }) {
                continue;
            }
            let _work = life.work().await;
            let Some(record) = self.world().record(&id).cloned() else { continue };
            if matches!(life.state(), ContainerState::Exited { .. }) {
                self.take_down(&id, Durability::Durable).await?;
                removed.push(record.container.name);
            }
        }
        removed.sort();
        Ok(removed)
    }
}
