//! The store of a single host, in one file.
//!
//! The file (redb, copy-on-write B-trees) is the durable copy; what is served comes from an image of it in memory.
//! That keeps reads and watches off the disk, keeps them working when the disk is full (redb refuses even
//! reads after a failed write until it is opened again), and makes a relaxed commit a change of memory that
//! the next durable commit carries along. One thread owns the file and is the only one to change the image.

mod file;
mod image;
mod reserve;
mod watcher;
mod writer;

use std::{
    future::{Future, ready},
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use async_trait::async_trait;
use tokio::sync::oneshot;

use crate::{
    Accepted, CommitError, Entry, Key, Listing, OpenError, Revision, Store, StoreError, Transaction, Watch,
    embedded::{
        file::StateFile,
        image::Shared,
        reserve::Reserve,
        watcher::Watcher,
        writer::{Job, Writer},
    },
};

/// A store in the file `state.redb` of a directory, held by one process at a time.
///
/// Dropping it makes relaxed commits durable, ends its watches and gives the file free; that may wait for the disk.
#[derive(Debug)]
pub struct Embedded {
    path: PathBuf,
    shared: Arc<Shared>,
    jobs: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
}

impl Embedded {
    /// Opens the store of `directory`, which must exist, and makes an empty one if there is none.
    ///
    /// Blocks on the disk. A file another process has open is waited for for half a second, because the locks of a
    /// killed process go with its last thread.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong with which file. A file that cannot be used is left as it is.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = directory.as_ref().join("state.redb");
        let (file, contents) = StateFile::open(&path)?;
        let shared = Arc::new(Shared::new(contents.ceiling, contents.entries));
        let (jobs, queue) = mpsc::channel();
        let reserve = Reserve::of(&path);
        let writer = Writer::new(file, reserve, Arc::clone(&shared), contents.ceiling);
        let writer = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run(&queue))
            .map_err(|error| file::io_error(&path, "start the writer thread of", error))?;
        Ok(Self { path, shared, jobs: Some(jobs), writer: Some(writer) })
    }

    /// How many octets of space a commit takes at most, as long as its values are small.
    pub const SPACE_OF_A_COMMIT: u64 = reserve::OCTETS as u64;

    /// The file it is kept in.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the transaction to the writer and returns what becomes of it. `accepted` is told, or dropped if a guard
    /// fails.
    fn hand_over(
        &self,
        transaction: Transaction,
        accepted: Option<oneshot::Sender<Revision>>,
    ) -> Result<impl Future<Output = Result<Revision, CommitError>> + Send + 'static, CommitError> {
        let path = self.path.clone();
        let closed = || StoreError::Closed { path };
        let (reply, answer) = oneshot::channel();
        let sent = self.jobs.as_ref().and_then(|jobs| jobs.send(Job { transaction, accepted, reply }).ok());
        match sent {
            Some(()) => Ok(async { answer.await.map_err(|_| closed())? }),
            None => Err(closed().into()),
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        // The writer ends when its queue does.
        drop(self.jobs.take());
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!(path = %self.path.display(), "the store's writer thread panicked");
        }
        self.shared.close();
    }
}

#[async_trait]
impl Store for Embedded {
    async fn entry(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        Ok(self.shared.image().entries.get(key).cloned())
    }

    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        Ok(self.shared.image().list(prefix))
    }

    async fn commit(&self, transaction: Transaction) -> Result<Revision, CommitError> {
        self.hand_over(transaction, None)?.await
    }

    async fn submit(&self, transaction: Transaction) -> Result<Accepted, CommitError> {
        let (accepted, acceptance) = oneshot::channel();
        let outcome = self.hand_over(transaction, Some(accepted))?;
        match acceptance.await {
            Ok(revision) => Ok(Accepted::new(revision, outcome)),
            Err(_) => outcome.await.map(|revision| Accepted::new(revision, ready(Ok(revision)))),
        }
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, StoreError> {
        Ok(Watch::new(Box::new(Watcher::new(Arc::clone(&self.shared), prefix, after))))
    }
}

#[cfg(test)]
mod tests;
