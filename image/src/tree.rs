//! A directory that no path leads out of, however it was shaped.
//!
//! Every path is resolved by the kernel with the directory as its root (`openat2(2)`, `RESOLVE_IN_ROOT`): `..` stops
//! there, absolute links begin there. Nothing is decided on a path that could have changed by the time it is used.

use std::{
    ffi::{CStr, CString},
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2},
    io::Errno,
};

use crate::{ImageError, Limit, Limits};

/// A directory opened as the root of all paths within it.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) path: PathBuf,
    root: OwnedFd,
}

impl Tree {
    /// Opens the directory at `path`.
    pub(crate) fn open(path: &Path) -> Result<Self, ImageError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, path, flags, Mode::empty())
            .map_err(|cause| ImageError::storage("open", path, cause))?;
        Ok(Self { path: path.to_owned(), root })
    }

    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Opens what `path` leads to, links followed within the tree. The empty path is the root.
    pub(crate) fn resolve(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { b".".as_slice() } else { path };
        let path = CString::new(path).map_err(|_| Errno::INVAL)?;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
    }

    /// The directory at `path`, good for `*at` calls.
    pub(crate) fn directory(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        self.resolve(path, OFlags::PATH | OFlags::DIRECTORY)
    }

    /// The regular file at `path`, for reading; none where there is nothing, or something else.
    pub(crate) fn file(&self, path: &str) -> Result<Option<File>, ImageError> {
        let fail = |cause: Errno| ImageError::storage("read", &self.path.join(path.trim_start_matches('/')), cause);
        // NONBLOCK: a FIFO of that name would block the open.
        let file = match self.resolve(path.as_bytes(), OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::INVAL | Errno::NAMETOOLONG | Errno::NXIO) => {
                return Ok(None);
            }
            file => file.map_err(fail)?,
        };
        let regular = FileType::from_raw_mode(fstat(&file).map_err(fail)?.st_mode) == FileType::RegularFile;
        Ok(regular.then(|| File::from(file)))
    }

    /// The whole content of a document, none where there is no such file.
    pub(crate) fn document(&self, path: &str, limits: &Limits) -> Result<Option<Vec<u8>>, ImageError> {
        let Some(file) = self.file(path)? else { return Ok(None) };
        let mut content = Vec::new();
        file.take(limits.document + 1)
            .read_to_end(&mut content)
            .map_err(|cause: io::Error| ImageError::storage("read", &self.path.join(path), cause))?;
        if content.len() as u64 > limits.document {
            return Err(ImageError::Limit { object: format!("`{path}`"), limit: Limit::Document(limits.document) });
        }
        Ok(Some(content))
    }
}

/// The path of an entry as its components, joined by single slashes and without a leading one; empty for the root.
///
/// A leading slash and `.` mean nothing in an archive; `..` has no honest use and is refused.
pub(crate) fn normalize(path: &[u8]) -> Result<Vec<u8>, &'static str> {
    if path.contains(&0) {
        return Err("has a NUL in its name");
    }
    let mut normal = Vec::with_capacity(path.len());
    for component in path.split(|octet| *octet == b'/') {
        match component {
            b"" | b"." => continue,
            b".." => return Err("has `..` in its path"),
            _ if component.len() > 255 => return Err("has a name longer than 255 octets"),
            _ => {}
        }
        if !normal.is_empty() {
            normal.push(b'/');
        }
        normal.extend_from_slice(component);
    }
    Ok(normal)
}

/// Splits a normal path, which is not empty, into its directory and its last component.
pub(crate) fn split(path: &[u8]) -> (&[u8], CString) {
    let (directory, name) = match path.iter().rposition(|octet| *octet == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"".as_slice(), path),
    };
    (directory, CString::new(name).expect("a normal path holds no NUL"))
}

/// What lies at `name` in `directory`, links not followed; none where there is nothing.
pub(crate) fn peek(directory: BorrowedFd<'_>, name: &CStr) -> Result<Option<rustix::fs::Stat>, Errno> {
    match rustix::fs::statat(directory, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(cause) => Err(cause),
    }
}

/// Whether the file system that holds `path` has all it was given.
pub(crate) fn sync(path: &Path) -> Result<(), ImageError> {
    open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .and_then(rustix::fs::syncfs)
        .map_err(|cause| ImageError::storage("write", path, cause))
}
