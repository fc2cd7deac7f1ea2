//! Ending containers: by a stop, by a signal, by their removal; and waiting for that.

use std::{sync::Arc, time::Duration};

use api::{EventAction, Signal, Until};
use model::{ContainerId, ContainerState};
use store::Durability;

use crate::{daemon::Daemon, failure::Failure, life::Life, record::Record};

impl Daemon {
    /// Ends the container, and keeps its restart policy from starting it again. One that never began stays as it is.
    pub(crate) async fn stop_container(
        self: &Arc<Self>,
        reference: &str,
        timeout_seconds: Option<u32>,
    ) -> Result<ContainerId, Failure> {
        let (id, life) = self.container(reference)?;
        self.live_record(&id, reference)?;
        self.note_stop(&id, &life).await?;
        // Not looked up again: another container may be called so by now.
        self.end_container(&id, &life, reference, timeout_seconds).await?;
        Ok(id)
    }

    /// Asks the container to stop with its stop signal, ends it with SIGKILL after so many seconds, or its own number
    /// of them, and returns when it has ended. One that has ended already, or never began, is a success.
    pub(crate) async fn end_container(
        &self,
        id: &ContainerId,
        life: &Life,
        reference: &str,
        timeout_seconds: Option<u32>,
    ) -> Result<(), Failure> {
        const SIGKILL: i32 = 9;
        let record = self.live_record(id, reference)?;
        let policy = record.container.stop;
        let patience = Duration::from_secs(timeout_seconds.unwrap_or(policy.timeout_seconds).into());
        let ended = || life.wait(|seen| matches!(seen.state, ContainerState::Exited { .. }));
        match life.state() {
            ContainerState::Exited { .. } => return Ok(()),
            ContainerState::Running { .. } => {
                self.ask_to_end(id, reference, policy.signal.number().into()).await?;
            }
            // One that ran before is made ready again with its network, and whoever wanted to start it may be gone.
            ContainerState::Created if !record.has_begun() && record.last_exit.is_none() => return Ok(()),
            // Its first process has not executed anything that could understand a signal.
            ContainerState::Created => {
                // One that could not be made again has no end to wait for.
                if !self.ask_to_end(id, reference, SIGKILL).await? {
                    return Ok(());
                }
            }
        }
        if tokio::time::timeout(patience, ended()).await.is_err() {
            self.ask_to_end(id, reference, SIGKILL).await?;
            ended().await;
        }
        Ok(())
    }

    /// Sends a signal; returns whether there was anybody to hear it. That the container has ended meanwhile is success.
    async fn ask_to_end(&self, id: &ContainerId, reference: &str, signal: i32) -> Result<bool, Failure> {
        match self.signal(id, reference, signal).await {
            Ok(()) => Ok(true),
            Err(Failure::NotRunning { .. }) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Sends a signal to the container's first process. SIGKILL counts as a stop; with any other a program may go on.
    pub(crate) async fn kill_container(self: Arc<Self>, reference: &str, signal: Signal) -> Result<(), Failure> {
        let (id, life) = self.container(reference)?;
        let is_stop = signal == Signal::kill() && matches!(life.state(), ContainerState::Running { .. });
        let is_news = is_stop && self.note_stop(&id, &life).await?;
        match self.signal(&id, reference, signal.number().into()).await {
            // It ended by itself the moment before, and stays ended, as was asked for.
            Err(Failure::NotRunning { .. }) if is_news => Ok(()),
            Err(failure) if is_news => {
                self.unnote_stop(&id, &life).await;
                Err(failure)
            }
            signalled => signalled,
        }
    }

    async fn signal(&self, id: &ContainerId, reference: &str, signal: i32) -> Result<(), Failure> {
        match self.runtime.kill(id, signal).await {
            Ok(()) => Ok(()),
            Err(runtime::RuntimeError::NotRunning { .. }) => Err(Failure::NotRunning { name: reference.to_owned() }),
            Err(source) => {
                Err(Failure::Runtime { doing: "send a signal to", name: reference.to_owned(), source: source.into() })
            }
        }
    }

    /// Waits for an event in the container's life; its exit code then, if it has one.
    pub(crate) async fn wait_container(self: Arc<Self>, reference: &str, until: Until) -> Result<i32, Failure> {
        let (_, life) = self.container(reference)?;
        let seen =
            life.wait(|seen| until == Until::Exited && matches!(seen.state, ContainerState::Exited { .. })).await;
        match seen.state {
            ContainerState::Exited { exit_code, .. } => Ok(exit_code),
            ContainerState::Created | ContainerState::Running { .. } => Ok(runtime::Exit::LOST),
        }
    }

    /// Removes the container and everything that belongs to it; a running one only with `force`.
    pub(crate) async fn remove_container(self: Arc<Self>, reference: &str, force: bool) -> Result<(), Failure> {
        let (id, life) = self.container(reference)?;
        let _work = life.work().await;
        if matches!(life.state(), ContainerState::Running { .. }) {
            if !force {
                return Err(Failure::StillRunning { name: reference.to_owned() });
            }
            self.intend_removal(&id, Durability::Durable).await?;
            self.end_by_force(&id, &life).await;
        } else if !force && self.world().record(&id).is_some_and(Record::is_restarting) {
            return Err(Failure::Restarting { name: reference.to_owned() });
        }
        self.take_down(&id, Durability::Durable).await
    }

    /// Kills the container so that whoever waits for its end learns the exit code. One that cannot be asked is left to
    /// its removal, which asks nobody.
    async fn end_by_force(&self, id: &ContainerId, life: &Life) {
        const SIGKILL: i32 = 9;
        const PATIENCE: Duration = Duration::from_secs(2);
        if self.runtime.kill(id, SIGKILL).await.is_ok()
            && let Ok(Ok(exit)) = tokio::time::timeout(PATIENCE, self.runtime.wait(id)).await
        {
            let record = self.world().record(id).cloned();
            if let Some(record) = record {
                self.tell_container(&record.container, EventAction::Exit, Some(exit.exit_code));
            }
            life.set_state(ContainerState::Exited { exit_code: exit.exit_code, finished_at: exit.finished_at });
        }
    }
}
