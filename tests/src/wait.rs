//! Waiting for what happens soon.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

/// Asks until there is an answer, for at most `limit`.
pub fn within<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if start.elapsed() > limit {
            return None;
        }
        sleep(Duration::from_millis(10));
    }
}

/// How long is waited for what is sure to happen: on a machine that is busy with much else, too.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until there is an answer, and fails the test after [`PATIENCE`] without one.
#[track_caller]
pub fn eventually<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, ask).unwrap_or_else(|| panic!("after {PATIENCE:?} still not: {what}"))
}
