//! What keeps the containers of a host in order: other names, a look at their processes, and an end for those that
//! nobody needs any more.

use std::sync::Arc;

use api::EventAction;
use model::{ContainerId, ContainerName, ContainerState};
use runtime::{Observed, ProcessInfo};

use store::Durability;

use crate::{
    daemon::{Daemon, chain},
    failure::Failure,
    images::blocking,
    life::Life,
    record,
};

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
        // Policies may be about it by its name.
        self.judge_anew("judge a container by its new name").await?;
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

    /// Pins the namespaces of running containers that somebody unpinned, before a new one is made in their place, which
    /// would not be theirs.
    pub(crate) async fn hold_namespaces(&self) {
        let unpinned: Vec<_> = {
            let world = self.world();
            let live = world.records().filter(|record| record.is_live()).map(|record| &record.container);
            let named = live.filter_map(|container| Some((container.id.clone(), container.mode.namespace()?.clone())));
            named.filter(|(_, name)| self.kernel.is_pinned(name).is_ok_and(|pinned| !pinned)).collect()
        };
        for (id, name) in unpinned {
            let known = self.world().life(&id).map(|life| life.state());
            let pid = match (self.runtime.state(&id).await, known) {
                (Ok(Some(Observed::Created { pid } | Observed::Running { pid, .. })), _) => pid,
                // Its shim cannot be reached, and it goes on as it did.
                (Err(error), Some(ContainerState::Running { pid, .. })) if error.is_unreachable() => pid,
                // One that has not begun, or has ended, gets a new one.
                _ => continue,
            };
            if let Err(error) = self.kernel.adopt_namespace(name, pid).await {
                tracing::warn!(container = %id.short(), error = chain(&error), "cannot pin a container's namespace again");
            }
        }
    }

    /// Looks at what the container's processes do. One whose shim cannot be reached, and that this daemon never saw
    /// run, is ended: nobody is left who would learn of its end.
    pub(crate) async fn observe_or_end(&self, id: &ContainerId, life: &Life) -> Result<Option<Observed>, Failure> {
        match self.observe(id).await {
            Err(Failure::Runtime { source, .. })
                if source.is_unreachable() && !matches!(life.state(), ContainerState::Running { .. }) =>
            {
                tracing::warn!(container = id.short(), error = chain(&source), "it is ended");
                let abandoned = self.runtime.abandon(id);
                let failed = |source: runtime::RuntimeError| Failure::Runtime {
                    doing: "end",
                    name: id.short().to_owned(),
                    source: source.into(),
                };
                Ok(Some(Observed::Exited(abandoned.map_err(failed)?)))
            }
            observed => observed,
        }
    }

    /// Removes every container that has exited, or those of `only`, and tells their names.
    pub(crate) async fn prune_containers(
        self: Arc<Self>,
        only: Option<Vec<ContainerId>>,
    ) -> Result<Vec<ContainerName>, Failure> {
        let is_wanted = |id: &&ContainerId| only.as_ref().is_none_or(|only| only.contains(id));
        let containers: Vec<(ContainerId, Arc<Life>)> = {
            let world = self.world();
            let ids = world.records().map(|record| &record.container.id).filter(is_wanted);
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
            if matches!(life.state(), ContainerState::Exited { .. }) && !record.awaits_restart() {
                self.take_down(&id, Durability::Durable).await?;
                removed.push(record.container.name);
            }
        }
        removed.sort();
        Ok(removed)
    }
}
