//! A watch of the embedded store: a position in the history that is read when there is more.

use std::{collections::VecDeque, sync::Arc};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::{
    Event, EventSource, Revision, WatchEnd,
    embedded::image::{Phase, Shared},
};

/// How many changes are looked at under one hold of the lock.
const BATCH: usize = 1_000;

pub(super) struct Watcher {
    shared: Arc<Shared>,
    state: watch::Receiver<Phase>,
    prefix: String,
    /// Everything up to here was delivered, is in `ready` or does not concern the prefix.
    seen: Revision,
    ready: VecDeque<Arc<Event>>,
    delivered: Revision,
}

impl Watcher {
    pub(super) fn new(shared: Arc<Shared>, prefix: &str, after: Revision) -> Self {
        let state = shared.subscribe();
        Self { shared, state, prefix: prefix.to_owned(), seen: after, ready: VecDeque::new(), delivered: after }
    }

    /// Takes the next changes from the history; says whether it has read to the end.
    fn refill(&mut self) -> Result<bool, WatchEnd> {
        let image = self.shared.image();
        let Some(events) = image.events_after(self.seen) else {
            return Err(WatchEnd::Relist { prefix: self.prefix.clone(), after: self.delivered });
        };
        let mut count = 0;
        for event in events {
            count += 1;
            if count > BATCH && event.revision > self.seen {
                return Ok(false);
            }
            self.seen = event.revision;
            if event.key.as_str().starts_with(&self.prefix) {
                self.ready.push_back(Arc::clone(event));
            }
        }
        self.seen = image.revision;
        Ok(true)
    }
}

#[async_trait]
impl EventSource for Watcher {
    async fn next(&mut self) -> Result<Event, WatchEnd> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.delivered = event.revision;
                return Ok(Event::clone(&event));
            }
            // Before the history is read, so that a change in between wakes the wait below.
            let phase = *self.state.borrow_and_update();
            if self.refill()? && self.ready.is_empty() {
                if phase == Phase::Closed {
                    return Err(WatchEnd::Closed { prefix: self.prefix.clone() });
                }
                // The sender lives in `shared`, which this watcher holds.
                let _ = self.state.changed().await;
            }
        }
    }
}
