//! Rules that expire: they are gone at their moment, whoever sets the clock.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use crate::{
    daemon::{Daemon, chain},
    failure::Failure,
};

/// How soon it is noticed that the clock was set, and tried again what failed.
const GLANCE: Duration = Duration::from_secs(1);

/// Has the kernel judge anew whenever a rule expires, or comes back because the clock was set back. Where no rule ever
/// expires, nothing is done.
pub(crate) async fn expire(daemon: Arc<Daemon>) {
    // When a rule had expired last as it was judged last; the last daemon's rules may be of any time.
    let mut judged: Option<Option<Timestamp>> = None;
    loop {
        let now = daemon.clock.now();
        let rulebook = daemon.world().rulebook().clone();
        let (last, next) = (rulebook.policies().last_expiry(now), rulebook.policies().next_expiry(now));
        let may_expire = last.is_some() || next.is_some();
        if may_expire && judged != Some(last) {
            match daemon.judge_at_this_moment().await {
                Ok(()) => judged = Some(last),
                Err(failure) => tracing::warn!(failure = chain(&failure), "a rule that has expired is still there"),
            }
        }
        let until_next = next.and_then(|next| Duration::try_from(next.duration_since(daemon.clock.now())).ok());
        tokio::select! {
            () = daemon.ruled.notified() => {}
            () = tokio::time::sleep(until_next.unwrap_or(GLANCE).min(GLANCE)), if may_expire => {}
        }
    }
}

impl Daemon {
    async fn judge_at_this_moment(&self) -> Result<(), Failure> {
        // Policies that change meanwhile are put in force step by step.
        let _ruling = self.ruling.lock().await;
        self.note_time();
        self.judge_anew("let rules expire").await?;
        self.steps.after("rules expired");
        Ok(())
    }

    /// Notes the moment it is, by which rules have expired. Returns it.
    pub(crate) fn note_time(&self) -> Timestamp {
        let now = self.clock.now();
        self.world().note_time(now);
        now
    }
}
