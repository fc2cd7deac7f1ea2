//! What the daemon knows of a container's processes, and one piece of work at a time on it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use model::ContainerState;
use tokio::sync::{Mutex, OwnedMutexGuard, watch};

/// What is known of one container's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) state: ContainerState,
    /// Nothing of the container is left; the state is the last one it had.
    pub(crate) removed: bool,
    /// Which run of the container this is, from zero on.
    pub(crate) run: u64,
}

/// A container's present, which ends with the daemon: the store knows what was asked for, the runtime what is.
#[derive(Debug)]
pub(crate) struct Life {
    work: Arc<Mutex<()>>,
    seen: watch::Sender<Seen>,
    /// Whether somebody waits for the end of this run.
    is_watched: AtomicBool,
}

impl Life {
    pub(crate) fn new() -> Self {
        let seen = Seen { state: ContainerState::Created, removed: false, run: 0 };
        Self { work: Arc::default(), seen: watch::Sender::new(seen), is_watched: AtomicBool::new(false) }
    }

    /// Waits until no other work is done on the container.
    pub(crate) async fn work(&self) -> OwnedMutexGuard<()> {
        self.work.clone().lock_owned().await
    }

    /// Whether somebody works on the container.
    pub(crate) fn is_worked_on(&self) -> bool {
        self.work.try_lock().is_err()
    }

    pub(crate) fn state(&self) -> ContainerState {
        self.seen.borrow().state
    }

    pub(crate) fn set_state(&self, state: ContainerState) {
        self.seen.send_modify(|seen| seen.state = state);
    }

    /// A new run begins: what is still to be told of the one before does not concern it.
    pub(crate) fn begin(&self) {
        self.seen.send_modify(|seen| {
            seen.state = ContainerState::Created;
            seen.run += 1;
        });
        self.is_watched.store(false, Ordering::Relaxed);
    }

    /// Whether the caller is the first to wait for the end of this run.
    pub(crate) fn watch(&self) -> bool {
        !self.is_watched.swap(true, Ordering::Relaxed)
    }

    /// Which run this is.
    pub(crate) fn run(&self) -> u64 {
        self.seen.borrow().run
    }

    pub(crate) fn set_removed(&self) {
        self.seen.send_modify(|seen| seen.removed = true);
    }

    /// Whether its first process has ended, or nothing of it is left.
    pub(crate) fn has_ended(&self) -> bool {
        let seen = self.seen.borrow();
        seen.removed || matches!(seen.state, ContainerState::Exited { .. })
    }

    /// Waits until `event` has happened, and tells what was seen then. Removal ends every wait.
    pub(crate) async fn wait(&self, event: impl Fn(&Seen) -> bool) -> Seen {
        let mut receiver = self.seen.subscribe();
        *receiver
            .wait_for(|seen| seen.removed || event(seen))
            .await
            .expect("the sender is borrowed for as long as this waits")
    }
}
