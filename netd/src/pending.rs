//! Work that is asked for again and again, and done once for all who asked before it began.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Mutex, MutexGuard};

/// Whether such work is to be done.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    is_asked_for: AtomicBool,
    turn: Mutex<()>,
}

impl Pending {
    /// Asks for it. Returns whether nobody had: then the caller is to do it.
    pub(crate) fn ask(&self) -> bool {
        !self.is_asked_for.swap(true, Ordering::SeqCst)
    }

    /// Waits until nobody else does it. Whoever asks from then on asks anew.
    pub(crate) async fn begin(&self) -> MutexGuard<'_, ()> {
        let turn = self.turn.lock().await;
        self.is_asked_for.store(false, Ordering::SeqCst);
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_asks_before_it_begins_is_served_by_it() {
        let pending = Pending::default();
        assert!(pending.ask() && !pending.ask(), "one does it for both");
        let first = pending.begin().await;
        assert!(pending.ask() && !pending.ask(), "it has begun, and may not have seen what these have done");
        drop(first);
        drop(pending.begin().await);
        assert!(pending.ask());
    }
}
