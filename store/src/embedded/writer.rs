//! The thread that commits: it alone writes the file and changes the image.
//!
//! While one durable commit waits for the disk, the transactions that arrive meanwhile queue up and share the next
//! wait. Keys changed by relaxed commits are remembered as dirty and written along with the next durable one, or by
//! themselves after [`FLUSH_AFTER`]. On a full disk, a transaction that makes room, and what relaxed commits left
//! behind, may use the space set aside.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use crate::{
    Change, CommitError, Durability, Entry, Event, Guard, Key, OnFullDisk, Revision, StoreError, Transaction, Write,
    embedded::{
        file::StateFile,
        image::{Image, Shared},
        reserve::Reserve,
    },
};

/// How many transactions share one wait for the disk at most.
const BATCH: usize = 512;
/// How long a relaxed change may stay in memory alone.
const FLUSH_AFTER: Duration = Duration::from_secs(1);
/// How many revisions are set aside at a time, so that relaxed commits can have theirs without a write.
const RESERVE: u64 = 1 << 16;

/// A transaction on its way to the writer.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) transaction: Transaction,
    /// Told before the wait for the disk, if its guards hold.
    pub(super) accepted: Option<oneshot::Sender<Revision>>,
    pub(super) reply: oneshot::Sender<Result<Revision, CommitError>>,
}

#[derive(Debug)]
pub(super) struct Writer {
    file: StateFile,
    reserve: Reserve,
    shared: Arc<Shared>,
    /// What the file says no revision is above.
    ceiling: Revision,
    /// Keys whose entries in the image are newer than in the file.
    dirty: BTreeSet<Key>,
    /// When the oldest dirty key must be written.
    flush_at: Option<Instant>,
}

impl Writer {
    pub(super) fn new(file: StateFile, reserve: Reserve, shared: Arc<Shared>, ceiling: Revision) -> Self {
        Self { file, reserve, shared, ceiling, dirty: BTreeSet::new(), flush_at: None }
    }

    /// Commits what arrives until nobody can send any more.
    pub(super) fn run(mut self, queue: &Receiver<Job>) {
        loop {
            let first = match self.flush_at {
                None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(at) => queue.recv_timeout(at.saturating_duration_since(Instant::now())),
            };
            match first {
                Ok(job) => self.commit(std::iter::once(job).chain(queue.try_iter()).take(BATCH).collect()),
                Err(RecvTimeoutError::Timeout) => self.flush(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        // Nothing is set aside for a store that is closed, so that the next one goes on without a gap.
        let revision = self.shared.image().revision;
        if (!self.dirty.is_empty() || self.ceiling != revision)
            && let Err(error) = self.persist(&BTreeMap::new(), revision, OnFullDisk::UseReserve)
        {
            warn(&error, "the last relaxed changes are lost");
        }
    }

    fn commit(&mut self, jobs: Vec<Job>) {
        let mut batch = Batch::new(self.shared.image().revision);
        let mut durability = Durability::Relaxed;
        let mut on_full_disk = OnFullDisk::Fail;
        let mut answers = Vec::with_capacity(jobs.len());
        for Job { transaction, accepted, reply } in jobs {
            if transaction.durability == Durability::Durable {
                durability = Durability::Durable;
            }
            // Whoever shares its wait shares its luck.
            if transaction.on_full_disk == OnFullDisk::UseReserve {
                on_full_disk = OnFullDisk::UseReserve;
            }
            let answer = batch.apply(&self.shared.image(), transaction);
            if let (Some(accepted), Ok(revision)) = (accepted, &answer) {
                // Whoever asked may have stopped waiting, here and below.
                let _ = accepted.send(*revision);
            }
            answers.push((reply, answer));
        }

        let Batch { revision, changes, events } = batch;
        let written = if durability == Durability::Durable || revision > self.ceiling {
            let nothing = changes.is_empty() && self.dirty.is_empty();
            if nothing { Ok(()) } else { self.persist(&changes, set_aside(revision), on_full_disk) }
        } else {
            self.dirty.extend(changes.keys().cloned());
            if !self.dirty.is_empty() {
                self.flush_at.get_or_insert_with(|| Instant::now() + FLUSH_AFTER);
            }
            Ok(())
        };
        if written.is_ok() && !events.is_empty() {
            self.shared.advance(revision, changes, events);
        }
        for (reply, answer) in answers {
            let answer = match &written {
                Ok(()) => answer,
                Err(error) => Err(error.clone().into()),
            };
            let _ = reply.send(answer);
        }
    }

    /// Writes what relaxed commits left behind.
    fn flush(&mut self) {
        let revision = self.shared.image().revision;
        if let Err(error) = self.persist(&BTreeMap::new(), set_aside(revision), OnFullDisk::UseReserve) {
            self.flush_at = Some(Instant::now() + FLUSH_AFTER);
            warn(&error, "relaxed changes stay in memory until the next attempt");
        }
    }

    /// Writes the dirty keys and `changes`.
    fn persist(
        &mut self,
        changes: &BTreeMap<Key, Option<Entry>>,
        ceiling: Revision,
        on_full_disk: OnFullDisk,
    ) -> Result<(), StoreError> {
        match self.try_to_persist(changes, ceiling) {
            Err(StoreError::Full { .. }) if on_full_disk == OnFullDisk::UseReserve && self.reserve.release() => {
                tracing::warn!(path = %self.file.path().display(), "the disk is full: the space set aside is used");
                self.try_to_persist(changes, ceiling)?;
            }
            written => written?,
        }
        self.reserve.refill();
        Ok(())
    }

    fn try_to_persist(&mut self, changes: &BTreeMap<Key, Option<Entry>>, ceiling: Revision) -> Result<(), StoreError> {
        if self.file.is_failed() {
            self.recover()?;
        }
        {
            let image = self.shared.image();
            let dirty = self.dirty.iter().filter(|key| !changes.contains_key(*key));
            let dirty = dirty.map(|key| (key, image.entries.get(key).cloned())).collect::<Vec<_>>();
            drop(image);
            let dirty = dirty.iter().map(|(key, entry)| (*key, entry.as_ref()));
            let changes = changes.iter().map(|(key, entry)| (key, entry.as_ref()));
            self.file.write(dirty.chain(changes), ceiling)?;
        }
        self.ceiling = ceiling;
        self.dirty.clear();
        self.flush_at = None;
        Ok(())
    }

    /// Opens the file again and marks dirty whatever differs between it and the image, which is what was acknowledged.
    fn recover(&mut self) -> Result<(), StoreError> {
        let contents = self.file.reopen()?;
        let image = self.shared.image();
        let missing = image.entries.iter().filter(|(key, entry)| contents.entries.get(*key) != Some(*entry));
        self.dirty.extend(missing.map(|(key, _)| key.clone()));
        let surplus = contents.entries.keys().filter(|key| !image.entries.contains_key(*key));
        self.dirty.extend(surplus.cloned());
        self.ceiling = contents.ceiling;
        tracing::info!(path = %self.file.path().display(), "the state file is open again");
        Ok(())
    }
}

fn set_aside(revision: Revision) -> Revision {
    Revision::from_number(revision.number().saturating_add(RESERVE))
}

fn warn(error: &StoreError, consequence: &str) {
    tracing::warn!(error = error as &dyn std::error::Error, hint = error.hint(), "{consequence}");
}

/// Transactions applied on top of the image, not yet written.
struct Batch {
    revision: Revision,
    changes: BTreeMap<Key, Option<Entry>>,
    events: Vec<Arc<Event>>,
}

impl Batch {
    fn new(revision: Revision) -> Self {
        Self { revision, changes: BTreeMap::new(), events: Vec::new() }
    }

    fn entry<'a>(&'a self, image: &'a Image, key: &Key) -> Option<&'a Entry> {
        self.changes.get(key).map_or_else(|| image.entries.get(key), Option::as_ref)
    }

    fn apply(&mut self, image: &Image, transaction: Transaction) -> Result<Revision, CommitError> {
        let mut written = BTreeSet::new();
        for write in &transaction.writes {
            if !written.insert(write.key()) {
                return Err(CommitError::WrittenTwice { key: write.key().clone() });
            }
        }
        for guard in &transaction.guards {
            let entry = self.entry(image, guard.key());
            let holds = match guard {
                Guard::Absent(_) => entry.is_none(),
                Guard::Present(_) => entry.is_some(),
                Guard::Unchanged(_, revision) => entry.is_some_and(|entry| entry.modified == *revision),
            };
            if !holds {
                return Err(CommitError::Conflict { key: guard.key().clone() });
            }
        }

        let revision = Revision::from_number(self.revision.number() + 1);
        for write in transaction.writes {
            let key = write.key().clone();
            let created = self.entry(image, &key).map(|entry| entry.created);
            let (entry, change) = match write {
                Write::Put { value, .. } => {
                    let entry = Entry::new(value.clone(), created.unwrap_or(revision), revision);
                    (Some(entry), Change::Put(value))
                }
                Write::Delete { .. } if created.is_none() => continue,
                Write::Delete { .. } => (None, Change::Delete),
            };
            self.events.push(Arc::new(Event { revision, key: key.clone(), change }));
            self.changes.insert(key, entry);
            self.revision = revision;
        }
        Ok(self.revision)
    }
}
