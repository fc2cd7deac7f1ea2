//! What goes wrong with a store, and what to do about it.

use std::{error::Error, path::PathBuf, sync::Arc};

use crate::Key;

/// The error below one of this crate's, shared because one failed write answers many callers.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub struct Cause(Arc<dyn Error + Send + Sync>);

impl Cause {
    /// Wraps an error, for backends.
    pub fn new(error: impl Error + Send + Sync + 'static) -> Self {
        Self(Arc::new(error))
    }

    /// The error as what it was, if it is an `E`.
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }
}

/// Why a store cannot be opened. Nothing in the directory was replaced.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has the store open.
    #[error("state file {path} is in use by another netd")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a later release.
    #[error("state file {path} has format {found}, and this netd reads formats up to {supported}")]
    Newer {
        /// The file.
        path: PathBuf,
        /// The format the file says it has.
        found: u64,
        /// The newest format this release reads.
        supported: u64,
    },
    /// The file is something else.
    #[error("{path} is not a state file of netd: {reason}")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What gives it away.
        reason: &'static str,
    },
    /// The file was a state file and is damaged.
    #[error("state file {path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file system holding it is full.
    #[error("no space left to open state file {path}")]
    Full {
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        #[source]
        cause: Cause,
    },
    /// The file or its directory may not be written.
    #[error("state file {path} cannot be written")]
    ReadOnly {
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        #[source]
        cause: Cause,
    },
    /// The operating system refused for another reason.
    #[error("cannot {action} state file {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The operating system's words.
        #[source]
        cause: Cause,
    },
}

impl OpenError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "stop the other netd, or give this one its own --data-dir",
            Self::Newer { .. } => "start the netd release that wrote it, or a later one",
            Self::Foreign { .. } => "move the file away, or choose another --data-dir",
            Self::Damaged { .. } => "restore it from a backup, or move it away to start with empty state",
            Self::Full { .. } => "free space on that file system",
            Self::ReadOnly { .. } => "run netd as root and make the directory writable, or choose another --data-dir",
            Self::Io { .. } => "check the directory and the disk below it",
        }
    }
}

/// Why a store does not answer. Reads still work after every variant but [`StoreError::Closed`].
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file system is full; commits work again once it has space.
    #[error("no space left to write state file {path}")]
    Full {
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        #[source]
        cause: Cause,
    },
    /// The file may no longer be written; commits work again once it may.
    #[error("state file {path} is read-only")]
    ReadOnly {
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        #[source]
        cause: Cause,
    },
    /// The write failed for another reason.
    #[error("cannot write state file {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What failed.
        #[source]
        cause: Cause,
    },
    /// After a failed write the file could not be opened again.
    #[error("cannot open state file {path} again after a failed write")]
    Reopen {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: OpenError,
    },
    /// The store is closed.
    #[error("state file {path} is closed")]
    Closed {
        /// The file.
        path: PathBuf,
    },
}

impl StoreError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Full { .. } => "free space on that file system; netd goes on by itself then",
            Self::ReadOnly { .. } => "make the file system writable; netd goes on by itself then",
            Self::Write { .. } => "check the disk and the kernel's log",
            Self::Reopen { cause, .. } => cause.hint(),
            Self::Closed { .. } => "start netd again",
        }
    }
}

/// Why a transaction was not committed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// A guard did not hold; nothing changed. Read again, decide again, try again.
    #[error("`{key}` is not as the transaction expects it")]
    Conflict {
        /// The key of the first guard that failed.
        key: Key,
    },
    /// The transaction writes one key twice; nothing changed. A mistake of the caller.
    #[error("the transaction writes `{key}` twice")]
    WrittenTwice {
        /// The key.
        key: Key,
    },
    /// The store could not write it.
    #[error(transparent)]
    Store(#[from] StoreError),
}
