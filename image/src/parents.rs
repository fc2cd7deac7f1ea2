//! Directories that an archive implies by a path and does not describe.
//!
//! overlayfs shows the attributes of the uppermost directory, so such a directory must look as it does below:
//! a layer that holds only `tmp/file` would otherwise take the sticky bit from `/tmp`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::{
    fs::{
        FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid, fchmod, fchown, fstat, futimens,
        mkdirat, openat, openat2,
    },
    io::Errno,
};

use crate::{
    remove::remove_at,
    tree::{Tree, peek, split},
    whiteout,
};

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Makes the directory `path` and those on the way to it; those that exist are kept, links followed within the tree.
/// Says how many it made.
///
/// A deletion on the way gives way to a directory that shows nothing from below. Errors: `NOTDIR`, `EXIST` where
/// something else is in the way.
pub(crate) fn make(tree: &Tree, path: &[u8], lower: &[Tree]) -> Result<(OwnedFd, u64), Errno> {
    let mut count = 0;
    let ends = path.iter().enumerate().filter(|(_, octet)| **octet == b'/').map(|(index, _)| index);
    for end in ends.chain([path.len()]) {
        let prefix = &path[..end];
        match tree.directory(prefix) {
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            found => {
                found?;
                continue;
            }
        }
        let (directory, name) = split(prefix);
        let parent = tree.directory(directory)?;
        let deleted = peek(parent.as_fd(), &name)?.is_some_and(|stat| whiteout::is_deletion(&stat));
        if deleted {
            remove_at(parent.as_fd(), &name)?;
        }
        mkdirat(&parent, &name, Mode::from_raw_mode(0o755))?;
        count += 1;
        let made = openat(&parent, &name, DIRECTORY, Mode::empty())?;
        fchmod(&made, Mode::from_raw_mode(0o755))?;
        if deleted {
            whiteout::make_opaque(parent.as_fd(), &name)?;
        } else {
            inherit(made.as_fd(), prefix, lower);
        }
    }
    Ok((tree.directory(path)?, count))
}

/// Gives `directory` the owner, mode and times that `path` has in the layers below, where they have it.
///
/// What cannot be found out below leaves the directory as it is: root's, 0755.
pub(crate) fn inherit(directory: BorrowedFd<'_>, path: &[u8], lower: &[Tree]) {
    if let Some(stat) = below(path, lower) {
        let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds as _ };
        let times = Timestamps {
            last_access: time(stat.st_mtime as _, stat.st_mtime_nsec),
            last_modification: time(stat.st_mtime as _, stat.st_mtime_nsec),
        };
        let _ = fchown(directory, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))
            .and_then(|()| fchmod(directory, Mode::from_raw_mode(stat.st_mode & 0o7777)))
            .and_then(|()| futimens(directory, &times));
    }
}

/// The directory `path` as the layers below show it: in the topmost layer that knows the name, unless that deletes it
/// or hides what is further down.
fn below(path: &[u8], lower: &[Tree]) -> Option<Stat> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    for tree in lower {
        if path.is_empty() {
            return fstat(tree.root()).ok();
        }
        let found = openat2(tree.root(), path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve);
        match found {
            Ok(found) => {
                let stat = fstat(&found).ok()?;
                return (FileType::from_raw_mode(stat.st_mode) == FileType::Directory).then_some(stat);
            }
            Err(Errno::NOENT) if !hides(tree, path) => {}
            // A link or a file on the way: nothing below it is what this path means.
            Err(_) => return None,
        }
    }
    None
}

/// Whether a directory on the way to `path` hides what is further down.
fn hides(tree: &Tree, path: &[u8]) -> bool {
    let ends = path.iter().enumerate().filter(|(_, octet)| **octet == b'/').map(|(index, _)| index);
    whiteout::is_opaque(tree.root())
        || ends.into_iter().any(|end| {
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            openat2(tree.root(), &path[..end], DIRECTORY, Mode::empty(), resolve)
                .is_ok_and(|directory| whiteout::is_opaque(directory.as_fd()))
        })
}
