//! The snapshot that is in force, shared by whoever changes it and whoever answers from it.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use crate::{DnsError, Snapshot};

/// A handle on the snapshot in force; clones share it.
///
/// Reading takes no lock and never waits for a writer. A query is answered from one snapshot from beginning to end.
#[derive(Debug, Clone)]
pub struct Zones(Arc<ArcSwap<Snapshot>>);

impl Zones {
    /// A handle with `snapshot` in force.
    pub fn new(snapshot: Snapshot) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(snapshot)))
    }

    /// Puts `snapshot` in force: queries read after the return are answered from it.
    pub fn publish(&self, snapshot: Snapshot) {
        self.0.store(Arc::new(snapshot));
    }

    /// Puts in force what `change` makes of the snapshot in force. Of two changes at once none is lost: `change` is
    /// called again if another one came in between, so it must have no effect besides its result.
    ///
    /// # Errors
    /// What `change` returned; the snapshot in force stays.
    pub fn update(&self, change: impl Fn(&Snapshot) -> Result<Snapshot, DnsError>) -> Result<(), DnsError> {
        let mut current = self.0.load();
        loop {
            let next = Arc::new(change(&current)?);
            let before = self.0.compare_and_swap(&*current, next);
            if Arc::ptr_eq(&current, &before) {
                return Ok(());
            }
            current = before;
        }
    }

    /// The snapshot in force.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }

    pub(crate) fn load(&self) -> Guard<Arc<Snapshot>> {
        self.0.load()
    }
}
