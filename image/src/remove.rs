//! Removal of a tree whose shape another party chose: any depth, any mode, immutable files, links to anywhere.

use std::{
    ffi::{CStr, CString},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{
        AtFlags, CWD, Dir, FileType, IFlags, Mode, OFlags, RenameFlags, ResolveFlags, ioctl_getflags, ioctl_setflags,
        openat2, renameat_with, unlinkat,
    },
    io::Errno,
};

use crate::ImageError;

/// Deeper than this, directories are first moved up to the root of the tree, so that neither the stack nor the
/// descriptors of the process grow with a depth that a container chose.
const DEPTH: usize = 24;

/// Removes `path` and everything below it; that it is gone already is success.
///
/// Never follows a link and never enters another file system: a mount below `path` is an error that names it.
/// Immutable and append-only flags are cleared (`chattr(1)`).
pub fn remove_tree(path: &Path) -> Result<(), ImageError> {
    let fail = |cause: Errno| ImageError::storage("remove", path, cause);
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(ImageError::storage("remove", path, io::Error::from(io::ErrorKind::InvalidInput)));
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = match rustix::fs::openat(CWD, parent, flags, Mode::empty()) {
        Ok(parent) => parent,
        Err(Errno::NOENT) => return Ok(()),
        Err(cause) => return Err(fail(cause)),
    };
    let name = CString::new(name.as_encoded_bytes()).map_err(|_| fail(Errno::INVAL))?;
    remove_at(parent.as_fd(), &name).map_err(fail)
}

/// Removes `name` in `parent`, a single path component, and everything below it.
pub(crate) fn remove_at(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    match unlink(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        // Linux says EISDIR; POSIX would have EPERM.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(cause) => return Err(cause),
    }
    let root = open_directory(parent, name)?;
    let mut moved = 0;
    loop {
        let before = moved;
        empty(root.as_fd(), root.as_fd(), 0, &mut moved)?;
        if before == moved {
            break;
        }
    }
    unlink(parent, name, AtFlags::REMOVEDIR)
}

/// Empties `directory`; directories at [`DEPTH`] are moved to `root` and counted in `moved`.
fn empty(directory: BorrowedFd<'_>, root: BorrowedFd<'_>, depth: usize, moved: &mut u64) -> Result<(), Errno> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        if entry.file_type() != FileType::Directory {
            match unlink(directory, name, AtFlags::empty()) {
                Err(Errno::ISDIR) => {}
                Err(Errno::NOENT) => continue,
                result => {
                    result?;
                    continue;
                }
            }
        }
        if depth == DEPTH {
            move_up(directory, name, root, moved)?;
            continue;
        }
        let child = match open_directory(directory, name) {
            Err(Errno::NOENT) => continue,
            child => child?,
        };
        empty(child.as_fd(), root, depth + 1, moved)?;
        drop(child);
        unlink(directory, name, AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

/// Moves `name` to a free name in `root`, where the next round finds it.
fn move_up(directory: BorrowedFd<'_>, name: &CStr, root: BorrowedFd<'_>, moved: &mut u64) -> Result<(), Errno> {
    loop {
        *moved += 1;
        let target = format!(".removed-{moved}");
        match renameat_with(directory, name, root, &target, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            Err(Errno::PERM | Errno::ACCESS) => {
                thaw(directory);
                thaw(open_directory(directory, name)?.as_fd());
                return renameat_with(directory, name, root, &target, RenameFlags::NOREPLACE);
            }
            result => return result,
        }
    }
}

/// Opens a directory by one path component, not through a link and not into another file system.
fn open_directory(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    openat2(parent, name, flags, Mode::empty(), resolve)
}

/// `unlinkat`, a second time without the flags that forbid it.
fn unlink(parent: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> Result<(), Errno> {
    match unlinkat(parent, name, flags) {
        Err(Errno::PERM) => {
            thaw(parent);
            let open = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            // Only regular files and directories carry the flags; opening anything else may have effects.
            let regular = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| {
                matches!(FileType::from_raw_mode(stat.st_mode), FileType::RegularFile | FileType::Directory)
            });
            if regular && let Ok(file) = rustix::fs::openat(parent, name, open, Mode::empty()) {
                thaw(file.as_fd());
            }
            unlinkat(parent, name, flags)
        }
        result => result,
    }
}

/// Clears the immutable and append-only flags. A file system without flags has none to clear, and what still
/// forbids the removal shows when it is tried again.
fn thaw(file: BorrowedFd<'_>) {
    if let Ok(flags) = ioctl_getflags(file) {
        let _ = ioctl_setflags(file, flags - (IFlags::IMMUTABLE | IFlags::APPEND));
    }
}
