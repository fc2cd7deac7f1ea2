//! What every backend offers.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use async_trait::async_trait;

use crate::{CommitError, Key, StoreError, Transaction, Watch};

/// A point in the history of a store. Every transaction that changes something has one, greater than all before it.
///
/// A revision is never given out twice by one store, not even when a crash takes relaxed commits with it.
/// Revisions of different stores do not compare.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(u64);

impl Revision {
    /// Before the first change.
    pub const ZERO: Self = Self(0);

    /// The revision with this number, for backends.
    pub fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// The revision's number.
    pub fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A value and when it changed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The value; may be empty, may be any octets.
    pub value: Arc<[u8]>,
    /// The transaction that last wrote the key.
    pub modified: Revision,
    /// The transaction that created the key; deleting and writing it again is a new creation.
    pub created: Revision,
}

impl Entry {
    /// An entry, for backends.
    pub fn new(value: Arc<[u8]>, created: Revision, modified: Revision) -> Self {
        Self { value, modified, created }
    }
}

/// The entries under a prefix at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The store's revision that the listing shows; a watch after it misses nothing.
    pub revision: Revision,
    /// The entries, ordered by key.
    pub entries: Vec<(Key, Entry)>,
}

/// A transaction whose guards hold and whose place among all others is fixed, which is on its way to where it lasts.
pub struct Accepted {
    /// What its writes have, once it is [settled](Self::settled).
    pub revision: Revision,
    outcome: Pin<Box<dyn Future<Output = Result<Revision, CommitError>> + Send>>,
}

impl Accepted {
    /// One that ends like this, for backends.
    pub fn new(
        revision: Revision,
        outcome: impl Future<Output = Result<Revision, CommitError>> + Send + 'static,
    ) -> Self {
        Self { revision, outcome: Box::pin(outcome) }
    }

    /// Waits until it is committed, as [`Store::commit`] does.
    ///
    /// # Errors
    /// When it cannot be written: then nothing of it is there, and nothing that was accepted later relies on it.
    pub async fn settled(self) -> Result<(), CommitError> {
        self.outcome.await.map(drop)
    }
}

impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepted").field("revision", &self.revision).finish_non_exhaustive()
    }
}

/// A revisioned key-value store.
///
/// A prefix is plain text: `a` covers `a`, `a/b` and `ab`; `a/` covers `a/b` alone; the empty prefix covers everything.
/// What a read returns was committed; a durable commit is not seen before it is on the disk.
#[async_trait]
pub trait Store: Send + Sync {
    /// The entry of `key`, if there is one.
    ///
    /// # Errors
    /// [`StoreError`] when the backend cannot be read.
    async fn entry(&self, key: &Key) -> Result<Option<Entry>, StoreError>;

    /// All entries whose keys start with `prefix`, as they were at one moment.
    ///
    /// # Errors
    /// [`StoreError`] when the backend cannot be read.
    async fn list(&self, prefix: &str) -> Result<Listing, StoreError>;

    /// Applies all writes of `transaction` if all its guards hold, and nothing otherwise.
    ///
    /// Returns the revision the writes have, which is the store's present one when they change nothing (there are
    /// none, or they delete what is absent). Once this is called the transaction takes its course; dropping
    /// the future only forgets the answer.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] names the key whose guard failed. After [`CommitError::Store`] reads show nothing
    /// of the transaction, but after a restart it may turn out to have reached the disk.
    async fn commit(&self, transaction: Transaction) -> Result<Revision, CommitError>;

    /// The same, which returns as soon as it is decided that the guards hold, and leaves the wait for the disk to
    /// [`Accepted::settled`]: for whoever has something to do meanwhile that can be taken back. Nobody sees anything of the
    /// transaction before it is settled, and a crash of the process until then may lose it.
    ///
    /// # Errors
    /// As [`Store::commit`].
    async fn submit(&self, transaction: Transaction) -> Result<Accepted, CommitError>;

    /// The changes of keys that start with `prefix`, from the first revision greater than `after` on.
    ///
    /// # Errors
    /// [`StoreError`] when the backend cannot be watched. That `after` is too long ago is said by the watch itself.
    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, StoreError>;
}
