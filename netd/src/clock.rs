//! The time of day by which rules of policies expire, and the time that names have their addresses by.

use std::{fs, path::PathBuf, time::Duration};

use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, clock_gettime};

/// The host's clock, which people may set while the daemon runs.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    ahead: Option<PathBuf>,
}

impl Clock {
    /// The host's clock, or as many seconds ahead of it as the file `NETD_CLOCK_AHEAD` says, for a test that sets it.
    pub(crate) fn from_environment() -> Self {
        Self { ahead: std::env::var_os("NETD_CLOCK_AHEAD").map(PathBuf::from) }
    }

    /// The moment it is.
    pub(crate) fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        now.saturating_add(SignedDuration::from_secs(self.seconds_ahead())).unwrap_or(now)
    }

    /// How long ago the machine was switched on. It counts while the machine sleeps, and nobody sets it, but a test that
    /// sets the clock ahead.
    pub(crate) fn uptime(&self) -> Duration {
        let uptime = clock_gettime(ClockId::Boottime);
        let seconds = uptime.tv_sec.saturating_add(self.seconds_ahead());
        Duration::new(seconds.unsigned_abs(), uptime.tv_nsec as u32)
    }

    fn seconds_ahead(&self) -> i64 {
        let Some(path) = &self.ahead else { return 0 };
        fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }
}
