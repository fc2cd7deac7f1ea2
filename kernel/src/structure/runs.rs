//! Which changes of rules are Fabric's own though a program made them.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long after its end a run is known: what the kernel has told of it is read by then.
const REMEMBERED: Duration = Duration::from_secs(2);

/// The processes that are run, and were a moment ago. `nft` opens one socket, whose port the kernel makes its process's
/// number (`netlink_autobind`), and who listens for changes is told by which port they were asked for.
///
/// Another program that gets the number of one of them meanwhile is taken for it. What that one changed is found by the
/// next look at everything.
#[derive(Debug, Clone, Default)]
pub(crate) struct Runs(Arc<Mutex<VecDeque<Run>>>);

#[derive(Debug)]
struct Run {
    process: u32,
    /// None as long as it runs.
    ended: Option<Instant>,
}

/// One that is over when this is dropped.
pub(super) struct Running<'r> {
    runs: &'r Runs,
    process: u32,
}

impl Runs {
    pub(super) fn begin(&self, process: u32) -> Running<'_> {
        self.change(|runs| runs.push_back(Run { process, ended: None }));
        Running { runs: self, process }
    }

    /// Whether one of them has this port.
    pub(crate) fn have(&self, port: u32) -> bool {
        self.change(|runs| runs.iter().any(|run| run.process == port))
    }

    fn change<T>(&self, change: impl FnOnce(&mut VecDeque<Run>) -> T) -> T {
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        runs.retain(|run| run.ended.is_none_or(|ended| ended.elapsed() < REMEMBERED));
        change(&mut runs)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let ends = |run: &&mut Run| run.process == self.process && run.ended.is_none();
        self.runs.change(|runs| runs.iter_mut().filter(ends).for_each(|run| run.ended = Some(Instant::now())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_known_until_a_moment_after_its_end() {
        let runs = Runs::default();
        let running = runs.begin(7);
        assert!(runs.have(7) && !runs.have(8));
        drop(running);
        assert!(runs.have(7), "what it did may not have been read yet");
        let before = Instant::now().checked_sub(REMEMBERED).expect("the machine runs longer than that");
        runs.0.lock().expect("nobody panicked")[0].ended = Some(before);
        assert!(!runs.have(7), "another process may have the number by now");
    }
}
