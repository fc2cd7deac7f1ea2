//! A directory for one import or removal under way, gone with it whatever happens.

use std::{
    cell::Cell,
    fs::{self, DirBuilder, File, Permissions},
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use crate::{ImageError, remove_tree, shape, tree::Tree};

/// A directory below `tmp`, removed when dropped. It is held by an flock, which ends with the process that holds it.
#[derive(Debug)]
pub(crate) struct Spool {
    pub(crate) path: PathBuf,
    next: Cell<u32>,
    _held: File,
}

impl Spool {
    /// Makes one in the store at `store`.
    pub(crate) fn new(store: &Path) -> Result<Self, ImageError> {
        let parent = store.join("tmp");
        loop {
            let path = tempfile::Builder::new()
                .permissions(Permissions::from_mode(0o700))
                .tempdir_in(&parent)
                .map_err(|cause| ImageError::storage("write in", &parent, cause))?
                .keep();
            // Between the two calls another process may open the store and take the directory for a dead one.
            let Ok(held) = File::open(&path) else { continue };
            let fail = |cause| ImageError::storage("lock", &path, cause);
            flock(&held, FlockOperation::LockExclusive).map_err(|cause| fail(cause.into()))?;
            let inode = held.metadata().map_err(fail)?.ino();
            if fs::symlink_metadata(&path).is_ok_and(|there| there.ino() == inode) {
                return Ok(Self { path, next: Cell::new(0), _held: held });
            }
        }
    }

    /// A path in it that was not given before.
    pub(crate) fn fresh(&self) -> PathBuf {
        self.next.set(self.next.get() + 1);
        self.path.join(self.next.get().to_string())
    }

    /// An empty directory for a layer, with the mode of a root directory that nothing describes.
    pub(crate) fn layer(&self) -> Result<Tree, ImageError> {
        let path = self.fresh();
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o755)))
            .map_err(|cause| ImageError::storage("make", &path, cause))?;
        Tree::open(&path)
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.path) {
            tracing::warn!(%error, cause = ?std::error::Error::source(&error), "left for the next start to remove");
        }
    }
}

/// Removes what nobody holds.
pub(crate) fn sweep(store: &Path) -> Result<(), ImageError> {
    for path in shape::own(store, "tmp")? {
        // Held until it is gone: who has made it just now waits for that, and sees that it is another one's.
        if let Some(_held) = hold(&path, FlockOperation::NonBlockingLockExclusive) {
            remove_tree(&path)?;
        }
    }
    Ok(())
}

/// Those that nobody holds.
pub(crate) fn abandoned(store: &Path) -> Result<Vec<PathBuf>, ImageError> {
    let mut found = shape::own(store, "tmp")?;
    // Asked for together with others: who begins just now and waits for it alone is not told that it is taken.
    found.retain(|path| hold(path, FlockOperation::NonBlockingLockShared).is_some());
    Ok(found)
}

/// Takes the lock of one that nobody holds; none if somebody does, it is gone, or it cannot be opened.
fn hold(path: &Path, operation: FlockOperation) -> Option<File> {
    let file = File::open(path).ok()?;
    flock(&file, operation).ok()?;
    Some(file)
}
