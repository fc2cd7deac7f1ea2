//! One layer's archive becomes one directory that overlayfs can stack.
//!
//! What an entry may do: make, replace or hide something within the layer. A later entry of a name replaces an
//! earlier one, whatever both are; directories only merge with directories. A path through a link leads where the
//! link does *within the layer*. Hard links join what is in the same layer.
//!
//! Owner, mode (setuid included), times and the extended attributes `security.capability` and `user.*` are kept.
//! Others belong to the host that made the archive (`security.selinux`), or are commands to overlayfs
//! (`trusted.overlay.*`, `user.overlay.*`). Device nodes are left out: a container has its own `/dev`, and a node
//! that does not exist needs no device cgroup to guard it.

use std::{
    ffi::CStr,
    fs::File,
    io::{Seek, SeekFrom, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{
        AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat, fchmod, fchown,
        fsetxattr, futimens, linkat, mkdirat, openat, symlinkat, utimensat,
    },
    io::Errno,
};

use crate::{
    ImageError, Limits,
    archive::{Archive, Entry, Kind},
    meter::{Measured, Meter},
    parents,
    remove::remove_at,
    tree::{Tree, normalize, peek, split},
    whiteout::{self, Meaning},
};

/// How many octets of directories' paths are held for the times they get at the end: enough for a million
/// directories of a real image, and no more memory than that for a hostile one.
const REMEMBERED: usize = 64 << 20;

/// A layer that was unpacked completely.
#[derive(Debug)]
pub(crate) struct Unpacked {
    pub(crate) measured: Measured,
    /// Octets of its files.
    pub(crate) size: u64,
    /// It hides everything below it.
    pub(crate) opaque: bool,
    /// It ended with the end-of-archive block.
    pub(crate) has_trailer: bool,
    pub(crate) is_empty: bool,
}

/// Unpacks `meter` into `tree`, an empty directory. `lower` are the layers below, topmost first.
pub(crate) fn unpack(
    object: &str,
    meter: Meter<'_>,
    tree: &Tree,
    lower: &[Tree],
    limits: Limits,
) -> Result<Unpacked, ImageError> {
    let mut unpacker = Unpacker {
        archive: Archive::new(object, meter, limits),
        tree,
        lower,
        directories: Vec::new(),
        remembered: 0,
        buffer: vec![0; 1 << 17],
        size: 0,
    };
    parents::inherit(tree.root(), b"", lower);
    while let Some(entry) = unpacker.archive.next()? {
        unpacker.apply(&entry)?;
    }
    unpacker.finish()
}

struct Unpacker<'a> {
    archive: Archive<Meter<'a>>,
    tree: &'a Tree,
    lower: &'a [Tree],
    /// Directories with the times they get when nothing is written into them any more.
    directories: Vec<(Vec<u8>, Timestamps)>,
    /// Octets of their paths.
    remembered: usize,
    buffer: Vec<u8>,
    size: u64,
}

impl Unpacker<'_> {
    fn apply(&mut self, entry: &Entry) -> Result<(), ImageError> {
        let path = normalize(&entry.path).map_err(|reason| self.archive.hostile(&entry.path, reason))?;
        if path.is_empty() {
            if !matches!(entry.kind, Kind::Directory) {
                return Err(self.archive.hostile(&entry.path, "would replace the root directory"));
            }
            self.remember(&path, entry);
            return attributes(self.tree.root(), entry).map_err(|cause| self.refused(entry, cause));
        }
        let (directory, name) = split(&path);
        let parent = self.parent(directory, entry)?;
        let parent = parent.as_fd();
        match whiteout::meaning(&name).map_err(|reason| self.archive.hostile(&entry.path, reason))? {
            Meaning::File => {}
            Meaning::Ignored => return Ok(()),
            Meaning::Opaque => {
                return whiteout::make_opaque(parent, c".").map_err(|cause| self.refused(entry, cause));
            }
            Meaning::Deleted(target) => {
                return hide(parent, &target).map_err(|cause| self.refused(entry, cause));
            }
        }
        let done = match &entry.kind {
            Kind::File { .. } => return self.file(parent, &name, entry),
            Kind::Directory => {
                self.remember(&path, entry);
                make_directory(parent, &name, entry)
            }
            Kind::Symlink(target) if target.is_empty() || target.contains(&0) => {
                return Err(self.archive.hostile(&entry.path, "is a link to no name"));
            }
            Kind::Symlink(target) => remove_at(parent, &name)
                .and_then(|()| symlinkat(target.as_slice(), parent, &name))
                .and_then(|()| own(parent, &name, entry)),
            Kind::HardLink(target) => return self.hard_link(parent, &name, target, entry),
            Kind::Fifo => remove_at(parent, &name)
                .and_then(|()| rustix::fs::mknodat(parent, &name, FileType::Fifo, Mode::empty(), 0))
                .and_then(|()| own(parent, &name, entry))
                .and_then(|()| chmodat(parent, &name, Mode::from_raw_mode(entry.mode), AtFlags::empty())),
            Kind::Device => {
                tracing::debug!(entry = %crate::archive::quote(&entry.path), "device node left out");
                remove_at(parent, &name)
            }
        };
        done.map_err(|cause| self.refused(entry, cause))
    }

    /// Notes the time a directory gets at the end. Past [`REMEMBERED`] it keeps the time of its unpacking.
    fn remember(&mut self, path: &[u8], entry: &Entry) {
        self.remembered += path.len();
        if self.remembered <= REMEMBERED {
            self.directories.push((path.to_owned(), timestamps(entry)));
        }
    }

    /// The directory an entry goes into, made where the archive has not described it.
    fn parent(&mut self, directory: &[u8], entry: &Entry) -> Result<OwnedFd, ImageError> {
        let made = match self.tree.directory(directory) {
            Err(Errno::NOENT | Errno::NOTDIR) => parents::make(self.tree, directory, self.lower),
            found => found.map(|found| (found, 0)),
        };
        let (parent, made) = made.map_err(|cause| match cause {
            Errno::NOTDIR | Errno::EXIST | Errno::NOENT => {
                self.archive.hostile(&entry.path, "lies below something in its layer that is no directory")
            }
            Errno::LOOP => self.archive.hostile(&entry.path, "lies below a link that leads in a circle"),
            cause => self.refused(entry, cause),
        })?;
        self.archive.charge(made)?;
        Ok(parent)
    }

    fn file(&mut self, parent: BorrowedFd<'_>, name: &CStr, entry: &Entry) -> Result<(), ImageError> {
        let Kind::File { size, segments } = &entry.kind else { unreachable!("called for files only") };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file: File = remove_at(parent, name)
            .and_then(|()| openat(parent, name, flags, Mode::RUSR | Mode::WUSR))
            .map_err(|cause| self.refused(entry, cause))?
            .into();
        let mut end = 0;
        // GNU tar marks the end of a file with an empty segment, which writes nothing.
        for segment in segments.iter().filter(|segment| segment.length > 0) {
            if segment.offset != end {
                file.seek(SeekFrom::Start(segment.offset)).map_err(|cause| self.refused(entry, cause))?;
            }
            end = segment.offset + segment.length;
            let mut left = segment.length;
            while left > 0 {
                let most = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let count = self.archive.read(&mut self.buffer[..most])?;
                if count == 0 {
                    return Err(self.archive.malformed(&entry.path, "it has less data than it says"));
                }
                file.write_all(&self.buffer[..count]).map_err(|cause| self.refused(entry, cause))?;
                left -= count as u64;
            }
        }
        if end != *size {
            file.set_len(*size).map_err(|cause| self.refused(entry, cause))?;
        }
        self.size += size;
        attributes(file.as_fd(), entry)
            .and_then(|()| futimens(&file, &timestamps(entry)))
            .map_err(|cause| self.refused(entry, cause))
    }

    fn hard_link(&self, parent: BorrowedFd<'_>, name: &CStr, target: &[u8], entry: &Entry) -> Result<(), ImageError> {
        let hostile = |reason| self.archive.hostile(&entry.path, reason);
        let nowhere = || hostile("is a hard link to something that is not before it in its layer");
        let target = normalize(target)
            .map_err(|_| hostile("is a hard link whose target has `..`, a NUL or a name that is too long"))?;
        if target.is_empty() {
            return Err(hostile("is a hard link to the root directory"));
        }
        let (directory, target_name) = split(&target);
        let target_parent = match self.tree.directory(directory) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Err(nowhere()),
            found => found.map_err(|cause| self.refused(entry, cause))?,
        };
        let at_target = peek(target_parent.as_fd(), &target_name).map_err(|cause| self.refused(entry, cause))?;
        let Some(at_target) = at_target.filter(|stat| !whiteout::is_deletion(stat)) else { return Err(nowhere()) };
        if FileType::from_raw_mode(at_target.st_mode) == FileType::Directory {
            return Err(hostile("is a hard link to a directory"));
        }
        let there = peek(parent, name).map_err(|cause| self.refused(entry, cause))?;
        if there.is_some_and(|there| (there.st_dev, there.st_ino) == (at_target.st_dev, at_target.st_ino)) {
            return Ok(());
        }
        match remove_at(parent, name)
            .and_then(|()| linkat(&target_parent, &target_name, parent, name, AtFlags::empty()))
        {
            // It replaced a directory that held its target.
            Err(Errno::NOENT) => Err(nowhere()),
            result => result.map_err(|cause| self.refused(entry, cause)),
        }
    }

    /// Gives directories their times, innermost first, and reads the stream to its end.
    fn finish(self) -> Result<Unpacked, ImageError> {
        for (path, times) in self.directories.iter().rev() {
            // What took the place of a directory has its own time.
            if let Ok(directory) = self.tree.resolve(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW) {
                futimens(&directory, times)
                    .map_err(|cause| ImageError::storage("set the time of", &self.tree.path, cause))?;
            }
        }
        let (has_trailer, is_empty) = (self.archive.has_trailer(), self.archive.is_empty());
        let measured = self.archive.into_stream().finish()?;
        let opaque = whiteout::is_opaque(self.tree.root());
        Ok(Unpacked { measured, size: self.size, opaque, has_trailer, is_empty })
    }

    /// An error of the file system, on the entry that met it.
    fn refused(&self, entry: &Entry, cause: impl Into<std::io::Error>) -> ImageError {
        let cause = cause.into();
        match cause.kind() {
            std::io::ErrorKind::InvalidFilename => {
                self.archive.hostile(&entry.path, "has a name that no file can have")
            }
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                ImageError::Full { directory: self.tree.path.clone(), source: cause }
            }
            _ => {
                let path = self.tree.path.join(crate::archive::quote(&entry.path));
                ImageError::Storage { action: "unpack into", path, source: cause }
            }
        }
    }
}

/// Hides `name` of the layers below. What this same layer has under that name stays
/// (OCI image specification, layer: whiteouts apply to lower layers only).
fn hide(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    match peek(parent, name)? {
        None => whiteout::delete(parent, name),
        Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
            whiteout::make_opaque(parent, name)
        }
        Some(_) => Ok(()),
    }
}

fn make_directory(parent: BorrowedFd<'_>, name: &CStr, entry: &Entry) -> Result<(), Errno> {
    let there = peek(parent, name)?;
    if !there.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory) {
        remove_at(parent, name)?;
        mkdirat(parent, name, Mode::RWXU)?;
        if there.is_some_and(|stat| whiteout::is_deletion(&stat)) {
            whiteout::make_opaque(parent, name)?;
        }
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    attributes(openat(parent, name, flags, Mode::empty())?.as_fd(), entry)
}

/// Owner, then mode, then capabilities: a change of owner clears the setuid bit and capabilities.
fn attributes(file: BorrowedFd<'_>, entry: &Entry) -> Result<(), Errno> {
    fchown(file, Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)))?;
    fchmod(file, Mode::from_raw_mode(entry.mode))?;
    for (name, value) in &entry.xattrs {
        let user = name.starts_with(b"user.") && !name.starts_with(b"user.overlay.");
        if user || name == b"security.capability" {
            match fsetxattr(file, name.as_slice(), value, XattrFlags::empty()) {
                // A file system without user attributes loses nothing that runs depend on.
                Err(Errno::OPNOTSUPP) if user => {}
                result => result?,
            }
        }
    }
    Ok(())
}

/// Owner and time of what cannot be opened.
fn own(parent: BorrowedFd<'_>, name: &CStr, entry: &Entry) -> Result<(), Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    chownat(parent, name, Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)), flags)?;
    utimensat(parent, name, &timestamps(entry), flags)
}

fn timestamps(entry: &Entry) -> Timestamps {
    let (seconds, nanoseconds) = entry.modified;
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}
