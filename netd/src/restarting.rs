//! Restart policies: a container that has ended by itself is started again, after a pause that grows while it keeps
//! failing.
//!
//! ```text
//! exit recorded    -> pause -> start intended (the count with it) -> brought up and started as by a person
//! stop intended    -> signal                                      -> exit recorded, and that is all
//! restart intended -> signal -> exit recorded                     -> start intended, by the request or after a pause
//! ```
//!
//! Whether a container waits for this follows from its record alone, so a crash in between loses nothing: the next
//! daemon reads the same, and pauses anew.

use std::{
    num::NonZero,
    sync::{Arc, atomic::Ordering},
    thread,
};

use api::EventAction;
use model::{ContainerId, RestartPolicy};
use store::Durability;
use tokio::sync::Semaphore;

use crate::{
    daemon::{Daemon, chain},
    failure::Failure,
    life::Life,
    record::{self, Goal, Record, Restarts},
};

/// Places for those that are being started: one for each processor, and two at least. After a boot all containers are
/// due at once; more of them at a time would each take longer, and a person's request among them too.
pub(crate) fn places() -> Semaphore {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    Semaphore::new(processors.max(2))
}

impl Daemon {
    /// Has the container started again after a pause, if its policy or a person wants that. Whatever comes first, a
    /// person's start, stop or removal, is what counts.
    pub(crate) fn plan_restart(self: &Arc<Self>, id: &ContainerId) {
        let planned = {
            let world = self.world();
            let record = world.record(id).filter(|record| record.awaits_restart());
            record.map(|record| record.restarts.in_a_row).zip(world.life(id).cloned())
        };
        let Some((in_a_row, life)) = planned else { return };
        let (daemon, id, run) = (self.clone(), id.clone(), life.run());
        tokio::spawn(async move {
            tokio::time::sleep(RestartPolicy::pause(in_a_row)).await;
            if life.run() != run {
                return;
            }
            let _place = daemon.restart_places.acquire().await.expect("nobody closes the semaphore");
            let _work = life.work().await;
            // In another run somebody else has seen to it.
            if life.run() == run {
                Box::pin(daemon.restart_as_planned(&id, &life)).await;
            }
        });
    }

    async fn restart_as_planned(self: &Arc<Self>, id: &ContainerId, life: &Life) {
        // The next boot does it.
        if self.host_ends.load(Ordering::SeqCst) {
            return;
        }
        let Some(record) = self.world().record(id).filter(|record| record.awaits_restart()).cloned() else { return };
        let is_requested = record.restarts.requested;
        let restarts = match is_requested {
            // The daemon that was asked for it has died, or is slow; it is none of its policy's.
            true => Restarts::default(),
            false => {
                self.metrics.restarts.add(1);
                self.tell_container(&record.container, EventAction::Restart, None);
                record.restarts.again()
            }
        };
        let (name, run) = (record.container.name.clone(), life.run());
        if let Err(failure) = self.start_again(record, life, Goal::Running, restarts, restarts).await {
            tracing::warn!(container = %name, failure = chain(&failure), "it cannot be started again");
            if is_requested {
                self.unnote_restart(id).await;
            }
            // One that failed later has ended once more, and was planned then.
            if life.run() == run {
                self.world().change_container(id, |record| record.restarts = restarts);
                self.plan_restart(id);
            }
        }
    }

    /// Remembers, before the container is ended, that a person wants it to be started again. Tells whether it runs.
    pub(crate) async fn note_restart(&self, id: &ContainerId, life: &Life) -> Result<bool, Failure> {
        let _work = life.work().await;
        let Some(mut record) = self.world().record(id).filter(|record| record.has_begun()).cloned() else {
            return Ok(false);
        };
        record.restarts.requested = true;
        let doing = format!("remember that container `{}` is restarted", record.container.name);
        self.commit(doing, record::update_container(&record, Durability::Durable)).await?;
        self.world().change_container(id, |record| record.restarts.requested = true);
        self.steps.after("restart intended");
        Ok(true)
    }

    /// The restart that was noted has failed, which was told. Whoever calls holds the container's work lock.
    pub(crate) async fn unnote_restart(&self, id: &ContainerId) {
        let noted = |record: &&Record| record.restarts.requested;
        if self.world().record(id).filter(noted).is_none() {
            return;
        }
        let forgotten = self.world().change_container(id, |record| record.restarts.requested = false);
        let Some(record) = forgotten else { return };
        let doing = format!("remember that container `{}` is not restarted", record.container.name);
        if let Err(failure) = self.commit(doing, record::update_container(&record, Durability::Durable)).await {
            tracing::warn!(failure = chain(&failure), "the next start of netd starts what could not be restarted");
        }
        self.steps.after("restart no longer intended");
    }

    /// Remembers that a person wants the container stopped: nothing starts it again. Tells whether that is news.
    pub(crate) async fn note_stop(&self, id: &ContainerId, life: &Life) -> Result<bool, Failure> {
        let matters = |record: &&Record| {
            let Restarts { stopped, requested, .. } = record.restarts;
            (requested || record.container.restart != RestartPolicy::No && !stopped)
                && (record.has_begun() || record.awaits_restart())
        };
        if self.world().record(id).filter(matters).is_none() {
            return Ok(false);
        }
        let _work = life.work().await;
        let Some(mut record) = self.world().record(id).filter(matters).cloned() else { return Ok(false) };
        let stopped = Restarts { stopped: true, ..record.restarts.without_request() };
        record.restarts = stopped;
        let doing = format!("remember that container `{}` is stopped", record.container.name);
        self.commit(doing, record::update_container(&record, Durability::Durable).making_room()).await?;
        self.world().change_container(id, |record| record.restarts = stopped);
        self.steps.after("stop intended");
        Ok(true)
    }

    /// The stop that was noted could not be begun: what goes on is not stopped by the next daemon either.
    pub(crate) async fn unnote_stop(&self, id: &ContainerId, life: &Life) {
        let _work = life.work().await;
        let goes_on = |record: &&Record| record.restarts.stopped && record.is_live();
        let Some(mut record) = self.world().record(id).filter(goes_on).cloned() else { return };
        record.restarts.stopped = false;
        let doing = format!("remember that container `{}` goes on", record.container.name);
        match self.commit(doing, record::update_container(&record, Durability::Durable)).await {
            Ok(_) => drop(self.world().change_container(id, |record| record.restarts.stopped = false)),
            Err(failure) => {
                tracing::warn!(failure = chain(&failure), "the next start of netd stops what could not be killed");
            }
        }
        self.steps.after("stop no longer intended");
    }

    /// Ends what a stop or a restart was about to end when the last daemon died; the latter starts it then.
    pub(crate) fn finish_stop(self: &Arc<Self>, id: &ContainerId, life: &Arc<Life>) {
        let (daemon, id, life) = (self.clone(), id.clone(), life.clone());
        tokio::spawn(async move {
            if let Err(failure) = daemon.end_container(&id, &life, id.as_str(), None).await {
                tracing::warn!(container = id.short(), failure = chain(&failure), "cannot stop it");
                // It goes on, and its end is some other one.
                let _work = life.work().await;
                daemon.unnote_restart(&id).await;
            }
        });
    }

    /// The host was booted since the container was made or last started: `always` forgets that a person stopped it.
    pub(crate) fn forget_stop_at_boot(&self, record: &Record) {
        if record.container.restart == RestartPolicy::Always
            && record.restarts.stopped
            && record.incarnation != self.directories.incarnation()
        {
            // Not committed: its start is, and until then the next daemon finds the same.
            let forgotten = self.world().forget_stop(&record.container.id);
            if let Err(failure) = forgotten {
                tracing::warn!(container = %record.container.name, failure = chain(&failure), "it stays stopped");
            }
        }
    }
}
