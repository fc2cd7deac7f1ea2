//! Which changes of rules are Fabric's own though a program made them.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

/// So many runs of `nft` are known: more than there are between two times that somebody reads what the kernel has told.
const REMEMBERED: usize = 64;

/// The processes that were run last. `nft` opens one socket, whose port the kernel makes its process's number
/// (`netlink_autobind`), and who listens for changes is told by which port they were asked for.
///
/// Another program that happens to get the number of one of them is taken for it, once in as many processes as there are
/// numbers. What that one changed is found by the next look at everything.
#[derive(Debug, Clone, Default)]
pub(crate) struct Runs(Arc<Mutex<VecDeque<u32>>>);

impl Runs {
    pub(super) fn note(&self, process: u32) {
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if runs.len() == REMEMBERED {
            runs.pop_front();
        }
        runs.push_back(process);
    }

    /// Whether one of them has this port.
    pub(crate) fn have(&self, port: u32) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&port)
    }
}
