//! The end of the host: containers end before it, while there still are a network, names and file systems for them.
//!
//! systemd stops all units, and then kills whatever runs: a container's shim at once, and the container with it.

use std::{
    pin::pin,
    process::{Command, Stdio},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use model::{Container, ContainerId};
use tokio::{
    task::{JoinSet, spawn_blocking},
    time::{sleep, timeout},
};

use crate::{
    daemon::{Daemon, chain},
    life::Life,
    notify::Manager,
};

/// How long systemd may take to say what it is about.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is asked to wait.
const PAUSE: Duration = Duration::from_secs(5);
/// How long containers may have to end at most, whatever they ask for.
const LONGEST: Duration = Duration::from_secs(600);
/// How long one may take to be gone after that.
const KILLED: Duration = Duration::from_secs(10);
/// After which pause those are tried again that could not be ended.
const AGAIN: Duration = Duration::from_millis(100);

/// Whether systemd ends the host, and not this daemon alone. Who has none is not asked.
pub(crate) async fn has_begun() -> bool {
    let mut question = Command::new("systemctl");
    question.arg("is-system-running").stdin(Stdio::null()).stderr(Stdio::null());
    match timeout(PATIENCE, spawn_blocking(move || question.output())).await {
        // It is no success, whatever it says but `running`.
        Ok(Ok(Ok(answer))) => answer.stdout.trim_ascii() == b"stopping",
        _ => {
            tracing::warn!("systemctl does not say whether the host is shut down");
            false
        }
    }
}

impl Daemon {
    /// Ends all containers by their stop signals, each within its own time, and lets nobody start one any more. Nobody
    /// has stopped them: the next boot starts again whom a restart policy wants, and until then nobody does.
    ///
    /// What cannot be ended, such as a process that waits for a disk that is gone, is left to systemd.
    pub(crate) async fn end_with_host(self: &Arc<Self>, manager: &Manager) {
        self.host_ends.store(true, Ordering::SeqCst);
        let running = self.to_end();
        let longest = running.iter().map(|(_, _, patience)| *patience).max().unwrap_or_default();
        let bound = longest.min(LONGEST) + KILLED;
        tracing::info!(containers = running.len(), "the host is shut down: containers end");
        let mut all = pin!(timeout(bound, self.end_all()));
        let ended = loop {
            manager.ask_for_time(PAUSE * 3);
            tokio::select! {
                ended = &mut all => break ended,
                () = sleep(PAUSE) => {}
            }
        };
        for (id, ..) in self.to_end().into_iter().filter(|_| ended.is_err()) {
            tracing::warn!(container = id.short(), "it does not end, and is left to the end of the host");
        }
    }

    /// Who runs or is being started, and within which time it is to end.
    fn to_end(&self) -> Vec<(ContainerId, Arc<Life>, Duration)> {
        let world = self.world();
        let begun = world.records().filter(|record| record.has_begun());
        let known = begun.filter_map(|record| {
            let Container { id, stop, .. } = &record.container;
            let life = world.life(id)?.clone();
            Some((id.clone(), life, Duration::from_secs(stop.timeout_seconds.into())))
        });
        known.collect()
    }

    /// Ends whoever runs until nobody does, so also who was being started, or whose shim was slow to hear of it.
    async fn end_all(self: &Arc<Self>) {
        loop {
            let running = self.to_end();
            if running.is_empty() {
                return;
            }
            let mut ending = JoinSet::new();
            for (id, life, _) in running {
                let daemon = self.clone();
                ending.spawn(async move {
                    if let Err(failure) = daemon.end_container(&id, &life, id.as_str(), None).await {
                        tracing::warn!(container = id.short(), failure = chain(&failure), "it ends with the host");
                    }
                });
            }
            ending.join_all().await;
            sleep(AGAIN).await;
        }
    }
}
