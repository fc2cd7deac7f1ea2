//! Starting what waits for its start, and what has ended once more.

use std::{future::ready, sync::Arc};

use model::{ContainerId, ContainerState, NetworkMode};
use runtime::{Exit, Observed};
use store::Durability;

use crate::{
    daemon::{Daemon, chain},
    failure::Failure,
    life::Life,
    lifecycle::runtime_failure,
    namespaces::Purpose,
    record::{self, Goal, Record, Restarts},
};

impl Daemon {
    /// Starts a container: one that waits for it, or one that has ended. The latter keeps its identifier, name,
    /// addresses and files, and gets fresh processes. With `goal` created it is only brought as far as the moment
    /// before its program.
    pub(crate) async fn start_container(self: &Arc<Self>, reference: &str, goal: Goal) -> Result<ContainerId, Failure> {
        let (id, life) = self.container(reference)?;
        let _work = life.work().await;
        let record = self.live_record(&id, reference)?;
        match (life.state(), goal) {
            (ContainerState::Created, Goal::Running) => self.start_waiting(record).await?,
            (ContainerState::Created, _) => {}
            (ContainerState::Running { .. }, _) => {
                return Err(Failure::AlreadyRunning { name: record.container.name.to_string() });
            }
            (ContainerState::Exited { .. }, goal) => {
                let otherwise = record.restarts.without_request();
                self.start_again(record, &life, goal, Restarts::default(), otherwise).await?;
            }
        }
        Ok(id)
    }

    /// Stops a container as [`Daemon::stop_container`] does, and starts it again; one that does not run is started.
    /// That is remembered before it is stopped: if this daemon dies in between, the next one starts it.
    pub(crate) async fn restart_container(
        self: Arc<Self>,
        reference: &str,
        timeout_seconds: Option<u32>,
    ) -> Result<ContainerId, Failure> {
        let (id, life) = self.container(reference)?;
        let container = self.live_record(&id, reference)?.container;
        if container.auto_remove {
            return Err(Failure::EndsOnce { name: container.name.to_string() });
        }
        // What would keep it from coming up again is told while it runs.
        let zygote = self.runtime.check_zygote(&id);
        zygote.map_err(|source| runtime_failure("restart", &container, source))?;
        self.binds.check(&container.confinement.binds).await?;
        self.image_of(&container).await?;
        let run = life.run();
        let is_noted = self.note_restart(&id, &life).await?;
        let ended = self.end_container(&id, &life, reference, timeout_seconds).await;
        // The later request counts.
        let is_stopped = || self.world().record(&id).is_some_and(|record| record.restarts.stopped);
        let restarted = match ended {
            Ok(()) if is_noted && is_stopped() => Err(Failure::StoppedMeanwhile { name: container.name.to_string() }),
            Ok(()) => self.start_container(id.as_str(), Goal::Running).await,
            Err(failure) => Err(failure),
        };
        match restarted {
            // Its restart policy was quicker.
            Err(Failure::AlreadyRunning { .. }) if life.run() != run => Ok(id),
            Err(failure) => {
                if is_noted {
                    let _work = life.work().await;
                    self.unnote_restart(&id).await;
                }
                Err(failure)
            }
            restarted => restarted,
        }
    }

    async fn start_waiting(self: &Arc<Self>, mut record: Record) -> Result<(), Failure> {
        if let NetworkMode::Joined { container, .. } = &record.container.mode {
            self.world().join_again(&record.container.name, container)?;
        }
        let has_begun = record.has_begun();
        // That one runs which is gone once it has: it must not come back as one that never ran.
        let ends_once = record.container.auto_remove && !record.attended;
        let durability = if ends_once { Durability::Durable } else { Durability::Relaxed };
        record.goal = Goal::Running;
        record.restarts = Restarts::default();
        let doing = format!("start container `{}`", record.container.name);
        self.commit(doing, record::update_container(&record, durability)).await?;
        self.world().change_container(&record.container.id, |record| {
            record.goal = Goal::Running;
            record.restarts = Restarts::default();
        });
        let launched = self.launch(&record.container).await;
        if launched.is_err() && has_begun && self.has_run(&record.container.id).await {
            return Err(Failure::AlreadyRunning { name: record.container.name.to_string() });
        }
        launched
    }

    /// Whether the container's program has been executed, which is recorded later than it is so.
    async fn has_run(&self, id: &ContainerId) -> bool {
        match self.observe(id).await {
            Ok(Some(Observed::Running { .. })) => true,
            Ok(Some(Observed::Exited(exit))) => exit.started_at.is_some(),
            Ok(Some(Observed::Created { .. }) | None) | Err(_) => false,
        }
    }

    /// Starts a container that has ended; its restart policy goes on from `restarts`. If that fails it has ended as
    /// before, and its policy goes on from `otherwise`.
    pub(crate) async fn start_again(
        self: &Arc<Self>,
        ended: Record,
        life: &Life,
        goal: Goal,
        restarts: Restarts,
        otherwise: Restarts,
    ) -> Result<(), Failure> {
        let container = &ended.container;
        let Some(last) = ended.exit else { return Err(Failure::NotRunning { name: container.name.to_string() }) };
        self.check_ports(&container.publishes, &container.endpoints).await.map_err(Failure::of_made)?;
        self.binds.check(&container.confinement.binds).await?;
        let image = self.image_of(container).await?;
        let reset = self.runtime.reset(&container.id).await;
        reset.map_err(|source| runtime_failure("clear up after", container, source))?;
        let namespace = match container.mode {
            NetworkMode::Own { .. } => Some(self.take_namespace(Purpose::Other).await?),
            NetworkMode::Joined { .. } | NetworkMode::Host => None,
        };
        let incarnation = self.directories.incarnation().to_owned();
        let revived = self.world().revive_container(&container.id, goal, namespace.clone(), incarnation, restarts);
        let record = match revived {
            Ok(record) => record,
            Err(failure) => {
                self.world().namespaces.return_unused(namespace);
                return Err(failure.of_made());
            }
        };
        let doing = format!("start container `{}`", container.name);
        // Durable, for the record names the namespace that it runs in.
        if let Err(failure) = self.commit(doing, record::update_container(&record, Durability::Durable)).await {
            let mut world = self.world();
            world.end_as_before(&container.id, last, otherwise);
            let used = namespace.filter(|fresh| record.container.mode.namespace() == Some(fresh));
            world.namespaces.return_unused(used);
            return Err(failure);
        }
        self.steps.after("start intended");
        self.fill_pool();
        life.begin();
        let mut made = self.bring_up(&record.container, &image, ready(Ok(()))).await.map_err(Failure::from);
        if made.is_ok() && goal == Goal::Running {
            made = self.launch(&record.container).await;
        }
        if made.is_err() {
            self.end_again(&container.id, life, last, otherwise).await;
        }
        made
    }

    /// Takes back the start of a container that had run before: it has ended as it had then.
    pub(crate) async fn end_again(self: &Arc<Self>, id: &ContainerId, life: &Life, last: Exit, restarts: Restarts) {
        self.world().change_container(id, |record| record.restarts = restarts);
        // Whoever waits for the end of what was half made is not to record it.
        life.begin();
        if let Err(failure) = self.after_exit(id, last).await {
            tracing::error!(container = id.short(), failure = chain(&failure), "the next start of netd tries again");
        }
    }
}
