//! A container's own writable layer.

use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use crate::{Image, ImageError};

/// The writable directories of one container's overlay. Removed with the container's directory by
/// [`remove_tree`](crate::remove_tree).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// overlayfs `upperdir`: what the container writes. Its root's mode and owner are those of `/` in the container.
    pub upper: PathBuf,
    /// overlayfs `workdir`: the kernel's own, on the same file system.
    pub work: PathBuf,
}

impl Snapshot {
    /// Makes `upper` and `work` in `container_directory`, which exists; an `upper` that is there already is kept.
    /// Nothing may be mounted from them.
    ///
    /// The upper directory takes mode and owner of the topmost layer's root, because overlayfs shows the attributes
    /// of the uppermost directory.
    pub fn prepare(image: &Image, container_directory: &Path) -> Result<Self, ImageError> {
        let snapshot = Self { upper: container_directory.join("upper"), work: container_directory.join("work") };
        // overlayfs refuses what it was once told not to write to the disk (`work/incompat/volatile`).
        crate::remove_tree(&snapshot.work)?;
        for directory in [&snapshot.upper, &snapshot.work] {
            match DirBuilder::new().mode(0o700).create(directory) {
                Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {}
                result => result.map_err(|cause| ImageError::storage("make", directory, cause))?,
            }
        }
        if let Some(layer) = image.layers.first() {
            let root = fs::symlink_metadata(layer).map_err(|cause| ImageError::storage("read", layer, cause))?;
            chown(&snapshot.upper, Some(root.uid()), Some(root.gid()))
                .and_then(|()| fs::set_permissions(&snapshot.upper, Permissions::from_mode(root.mode() & 0o7777)))
                .map_err(|cause| ImageError::storage("set owner and mode of", &snapshot.upper, cause))?;
        }
        Ok(snapshot)
    }
}
