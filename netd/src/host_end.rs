//! The end of the host: containers end before it, while there still are a network, names and file systems for them.
//!
//! systemd stops all units, and then kills whatever runs: a container's shim at once, and the container with it.

use std::{
    pin::pin,
    process::{Command, Stdio},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    task::{JoinSet, spawn_blocking},
    time::{sleep, timeout},
};

use crate::{
    daemon::{Daemon, chain},
    notify::Manager,
};

/// How long systemd may take to say what it is about.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is asked to wait.
const PAUSE: Duration = Duration::from_secs(5);

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
    /// Ends all containers by their stop signals, each within its own time. Nobody has stopped them: the next boot
    /// starts again whom a restart policy wants, and until then nobody does.
    pub(crate) async fn end_with_host(self: &Arc<Self>, manager: &Manager) {
        self.host_ends.store(true, Ordering::Relaxed);
        let running: Vec<_> = {
            let world = self.world();
            let ids = world.records().filter(|record| record.has_begun()).map(|record| record.container.id.clone());
            ids.filter_map(|id| world.life(&id).cloned().map(|life| (id, life))).collect()
        };
        tracing::info!(containers = running.len(), "the host is shut down: containers end");
        let mut ending = JoinSet::new();
        for (id, life) in running {
            let daemon = self.clone();
            ending.spawn(async move {
                if let Err(failure) = daemon.end_container(&id, &life, id.as_str(), None).await {
                    tracing::warn!(container = id.short(), failure = chain(&failure), "it ends with the host");
                }
            });
        }
        let mut all = pin!(ending.join_all());
        loop {
            manager.ask_for_time(PAUSE * 3);
            tokio::select! {
                _ = &mut all => return,
                () = sleep(PAUSE) => {}
            }
        }
    }
}
