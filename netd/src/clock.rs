//! The time of day by which rules of policies expire.

use std::{fs, path::PathBuf};

use jiff::{SignedDuration, Timestamp};

/// The host's clock, which people may set while the daemon runs.
#[derive(Debug)]
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
        let Some(path) = &self.ahead else { return now };
        let seconds = fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        now.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(now)
    }
}
