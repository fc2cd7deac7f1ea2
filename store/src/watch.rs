//! Watches: the changes under a prefix, in order, each once.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{Key, Revision};

/// One change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The transaction it belongs to. Events of one transaction share it and come in the order of its writes.
    pub revision: Revision,
    /// The key that changed.
    pub key: Key,
    /// How.
    pub change: Change,
}

/// How a key changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It has this value now.
    Put(Arc<[u8]>),
    /// It is gone.
    Delete,
}

/// Why a watch has no more events.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WatchEnd {
    /// Changes between the last event and now are no longer known: list again and watch from there.
    #[error("the watch of `{prefix}` missed changes after revision {after}; list again")]
    Relist {
        /// The prefix that was watched.
        prefix: String,
        /// The last revision that was delivered, or the one the watch was to start after.
        after: Revision,
    },
    /// The store is closed.
    #[error("the store was closed while `{prefix}` was watched")]
    Closed {
        /// The prefix that was watched.
        prefix: String,
    },
}

/// The changes under a prefix.
pub struct Watch {
    source: Box<dyn EventSource>,
    end: Option<WatchEnd>,
}

/// Where a backend's watch takes its events from.
#[async_trait]
pub trait EventSource: Send {
    /// The next event. Must be cancel-safe: a future that was dropped has taken no event.
    ///
    /// # Errors
    /// [`WatchEnd`] once there will be no more; it is not called again after that.
    async fn next(&mut self) -> Result<Event, WatchEnd>;
}

impl Watch {
    /// A watch that delivers what `source` does.
    pub fn new(source: Box<dyn EventSource>) -> Self {
        Self { source, end: None }
    }

    /// Waits for the next event. Cancel-safe.
    ///
    /// # Errors
    /// [`WatchEnd`], every time from then on: nothing is left out silently.
    pub async fn next(&mut self) -> Result<Event, WatchEnd> {
        if let Some(end) = &self.end {
            return Err(end.clone());
        }
        let next = self.source.next().await;
        if let Err(end) = &next {
            self.end = Some(end.clone());
        }
        next
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("end", &self.end).finish_non_exhaustive()
    }
}
