//! Going on with a container where the last daemon, or a step that failed, left it.

use std::{future::ready, sync::Arc};

use jiff::Timestamp;
use model::ContainerId;
use runtime::{Exit, Observed};
use store::Durability;

use crate::{
    daemon::Daemon,
    failure::Failure,
    life::Life,
    lifecycle::{exited, runtime_failure},
    record::{Goal, Record},
    retry,
};

impl Daemon {
    /// Continues the container's life, wherever it stood.
    pub(crate) async fn resume(self: &Arc<Self>, id: &ContainerId) -> Result<(), Failure> {
        let Some(life) = self.world().life(id).cloned() else { return Ok(()) };
        let _work = life.work().await;
        // Read only now: whoever worked on the container until now has changed it.
        let Some(record) = self.world().record(id).cloned() else { return Ok(()) };
        if record.goal == Goal::Removed {
            return self.take_down(id, Durability::Relaxed).await;
        }
        if let Some(exit) = record.exit {
            life.set_state(exited(exit));
            if record.container.auto_remove {
                return self.take_down(id, Durability::Relaxed).await;
            }
            self.finish_leaving(&record).await?;
            self.forget_stop_at_boot(&record);
            let released = self.release(&record.container).await;
            self.plan_restart(id);
            return released;
        }
        match self.observe_or_end(id, &life).await? {
            Some(Observed::Running { started_at, .. }) => {
                self.watch_exit(id.clone());
                if record.goal == Goal::Created || record.started_at.is_none() {
                    self.note_start(&record.container, started_at).await;
                }
                self.finish_leaving(&record).await?;
                if self.has_outdated_files(&record.container).await? {
                    self.refresh_files(&record.container).await?;
                }
                self.publish_names(&record.container)?;
                self.keep_listening_inside(&record.container).await;
                if record.restarts.stopped || record.restarts.requested {
                    self.finish_stop(id, &life);
                }
                Ok(())
            }
            Some(Observed::Exited(exit)) if record.started_at.is_some() || exit.exit_code != Exit::LOST => {
                if record.goal == Goal::Created
                    && let Some(started_at) = exit.started_at
                {
                    self.note_start(&record.container, started_at).await;
                }
                self.after_exit(id, exit).await
            }
            // The host was switched off, perhaps before it was noted that the program ran: it must not run twice.
            Some(Observed::Exited(_)) | None
                if record.goal == Goal::Running && record.incarnation != self.directories.incarnation() =>
            {
                let lost = Exit { exit_code: Exit::LOST, started_at: None, finished_at: Timestamp::now() };
                self.after_exit(id, lost).await
            }
            // Nobody waits for it any more.
            Some(Observed::Created { .. } | Observed::Exited(_)) | None if record.goes_unstarted() => {
                self.take_down(id, Durability::Relaxed).await
            }
            // It ran, and what told of that went before its removal was remembered.
            Some(Observed::Exited(_)) | None if record.container.auto_remove && record.goal == Goal::Running => {
                self.take_down(id, Durability::Relaxed).await
            }
            // Its program never ran: what was half made is made anew.
            Some(Observed::Created { .. } | Observed::Exited(_)) | None => self.make_anew(&record, &life).await,
        }
    }

    /// Tries in the background until the container's life goes on.
    pub(crate) fn resume_later(self: &Arc<Self>, id: ContainerId) {
        let daemon = self.clone();
        retry::until_it_succeeds(id, "cannot be continued yet", move |id| {
            let daemon = daemon.clone();
            async move { daemon.resume(&id).await }
        });
    }

    async fn finish_leaving(self: &Arc<Self>, record: &Record) -> Result<(), Failure> {
        if record.leaving.is_empty() { Ok(()) } else { self.finish_parting(record).await }
    }

    /// What a person made is never taken back because it cannot be continued now.
    async fn make_anew(self: &Arc<Self>, record: &Record, life: &Life) -> Result<(), Failure> {
        let container = &record.container;
        self.finish_leaving(record).await?;
        // Whoever mounts what does not answer waits for as long as that lasts, and the start of netd with them.
        let sources = self.binds.check(&container.confinement.binds).await;
        let cleared = self.runtime.reset(&container.id).await;
        cleared.map_err(|source| runtime_failure("clear", container, source))?;
        let image = self.image_of(container).await?;
        let mut made = match sources {
            Ok(()) => self.bring_up(container, &image, ready(Ok(()))).await.map_err(Failure::from),
            Err(failure) => Err(failure),
        };
        if made.is_ok() && record.goal == Goal::Running {
            made = self.launch(container).await;
        }
        if made.is_err()
            && let Some(last) = record.last_exit
        {
            self.end_again(&container.id, life, last, record.restarts).await;
        }
        made
    }
}
