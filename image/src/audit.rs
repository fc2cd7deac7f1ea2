//! Whether the store holds what its images need, and nothing else.

use std::{collections::BTreeSet, io::ErrorKind, path::PathBuf};

use model::{Digest, ImageName};
use rustix::fs::FlockOperation;

use crate::{
    ImageError, Images, collect,
    files::{self, NameRecord},
    shape,
    spool::{self, Spool},
};

/// What is not as it should be in the store.
#[derive(Debug, Default)]
pub struct Audit {
    /// Images that cannot be used, and why.
    pub damaged: Vec<(ImageName, ImageError)>,
    /// Files and directories of the store's making that belong to no image; [`Images::tidy`] removes them.
    pub strays: Vec<PathBuf>,
    /// What the store never made. It is in nobody's way, and left alone.
    pub foreign: Vec<PathBuf>,
}

impl Images {
    /// Looks for damage and strays; changes nothing. `in_use` holds the manifests of all containers. While an import is
    /// being committed nothing is called a stray.
    pub fn audit(&self, in_use: &BTreeSet<Digest>) -> Result<Audit, ImageError> {
        let mut audit = Audit { foreign: shape::foreign(&self.directory)?, ..Audit::default() };
        let exclusive = match self.lock(FlockOperation::NonBlockingLockExclusive) {
            Ok(lock) => Some(lock),
            Err(ImageError::Storage { source, .. }) if source.kind() == ErrorKind::WouldBlock => None,
            Err(other) => return Err(other),
        };
        if exclusive.is_some() {
            audit.strays = collect::unneeded(self, in_use)?;
        }
        drop(exclusive);
        let _lock = self.lock(FlockOperation::LockShared)?;
        for (_, record) in files::records::<NameRecord>(&self.directory, "names")? {
            if let Err(error) = self.whole(&record) {
                audit.damaged.push((record.name, error));
            }
        }
        Ok(audit)
    }

    /// Removes what [`Images::audit`] calls strays.
    pub fn tidy(&self, in_use: &BTreeSet<Digest>) -> Result<(), ImageError> {
        spool::sweep(&self.directory)?;
        // Dropped after the lock, with the layers that were moved into it.
        let spool = Spool::new(&self.directory)?;
        let _lock = self.lock(FlockOperation::LockExclusive)?;
        collect::collect(self, &spool, crate::store::digest_of(b""), in_use).map(drop)
    }

    fn whole(&self, record: &NameRecord) -> Result<(), ImageError> {
        for path in self.load(record)?.layers {
            if !path.is_dir() {
                return Err(ImageError::Damaged { path, reason: "the layer is missing".to_owned() });
            }
        }
        Ok(())
    }
}
