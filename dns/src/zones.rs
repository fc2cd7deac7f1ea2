//! The snapshot that is in force, shared by whoever changes it and whoever answers from it.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use crate::Snapshot;

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

    /// Puts `snapshot` in force: queries read after the return are answered from it. Of two who change the snapshot in
    /// force at once one change is lost: there must be one.
    pub fn publish(&self, snapshot: Snapshot) {
        self.0.store(Arc::new(snapshot));
    }

    /// The snapshot in force.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }

    pub(crate) fn load(&self) -> Guard<Arc<Snapshot>> {
        self.0.load()
    }
}
