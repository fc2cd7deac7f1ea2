//! What readers and watchers see: the entries at the present revision, and the last changes.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    sync::{Arc, RwLock, RwLockReadGuard},
};

use tokio::sync::watch;

use crate::{Change, Entry, Event, Key, Listing, Revision};

/// How many changes are kept for watchers that lag; who lags more lists anew.
pub(super) const HISTORY: usize = 256;
/// How many octets of values that may be long replaced are kept with them.
pub(super) const HISTORY_OCTETS: usize = 16 << 20;

/// The state at one revision.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) revision: Revision,
    pub(super) entries: BTreeMap<Key, Entry>,
    /// The last changes, oldest first, whole transactions only.
    events: VecDeque<Arc<Event>>,
    /// Octets of all values in `events`.
    octets: usize,
    /// Changes up to this revision are no longer in `events`.
    forgotten: Revision,
}

impl Image {
    pub(super) fn list(&self, prefix: &str) -> Listing {
        let entries = self
            .entries
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(key, _)| key.as_str().starts_with(prefix))
            .map(|(key, entry)| (key.clone(), entry.clone()))
            .collect();
        Listing { revision: self.revision, entries }
    }

    /// The changes after `after` in whole transactions, or none if some of them are forgotten or `after` never was.
    pub(super) fn events_after(&self, after: Revision) -> Option<impl Iterator<Item = &Arc<Event>>> {
        if after < self.forgotten || after > self.revision {
            return None;
        }
        let start = self.events.partition_point(|event| event.revision <= after);
        Some(self.events.range(start..))
    }

    /// Moves on to `revision` with all changes since the present one.
    fn advance(&mut self, revision: Revision, changes: BTreeMap<Key, Option<Entry>>, events: Vec<Arc<Event>>) {
        for (key, entry) in changes {
            match entry {
                Some(entry) => self.entries.insert(key, entry),
                None => self.entries.remove(&key),
            };
        }
        self.octets += events.iter().map(|event| octets(event)).sum::<usize>();
        self.events.extend(events);
        while (self.events.len() > HISTORY || self.octets > HISTORY_OCTETS)
            && let Some(oldest) = self.events.front().map(|event| event.revision)
        {
            self.forgotten = oldest;
            while self.events.front().is_some_and(|event| event.revision == oldest)
                && let Some(event) = self.events.pop_front()
            {
                self.octets -= octets(&event);
            }
        }
        self.revision = revision;
    }
}

fn octets(event: &Event) -> usize {
    match &event.change {
        Change::Put(value) => value.len(),
        Change::Delete => 0,
    }
}

/// The image, and the signal that it changed.
///
/// Lock hold times are those of memory operations; nobody does I/O under the lock.
#[derive(Debug)]
pub(super) struct Shared {
    image: RwLock<Image>,
    state: watch::Sender<Phase>,
}

/// How far the store is, for those who wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    At(Revision),
    Closed,
}

impl Shared {
    pub(super) fn new(revision: Revision, entries: BTreeMap<Key, Entry>) -> Self {
        let image = Image { revision, entries, events: VecDeque::new(), octets: 0, forgotten: revision };
        Self { image: RwLock::new(image), state: watch::Sender::new(Phase::At(revision)) }
    }

    pub(super) fn image(&self) -> RwLockReadGuard<'_, Image> {
        self.image.read().expect("nothing panics while it changes the image")
    }

    pub(super) fn advance(&self, revision: Revision, changes: BTreeMap<Key, Option<Entry>>, events: Vec<Arc<Event>>) {
        self.image.write().expect("nothing panics while it changes the image").advance(revision, changes, events);
        self.state.send_replace(Phase::At(revision));
    }

    pub(super) fn close(&self) {
        self.state.send_replace(Phase::Closed);
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Phase> {
        self.state.subscribe()
    }
}
