//! Deletions: how layers write them (`.wh.` names, OCI image specification, layer, "Whiteouts") and how overlayfs
//! does (kernel documentation, overlayfs, "whiteouts and opaque directories").

use std::{
    ffi::{CStr, CString},
    os::fd::{AsFd, BorrowedFd},
};

use rustix::{
    fs::{FileType, Mode, OFlags, Stat, XattrFlags, fgetxattr, fsetxattr, mknodat, openat},
    io::Errno,
};

const OPAQUE: &CStr = c"trusted.overlay.opaque";

/// What a name in a layer means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// An ordinary file.
    File,
    /// This name is deleted.
    Deleted(CString),
    /// Everything the layers below have in this directory is deleted.
    Opaque,
    /// Bookkeeping of AUFS, which old builders left in layers.
    Ignored,
}

/// Reads the last component of a path.
pub(crate) fn meaning(name: &CStr) -> Result<Meaning, &'static str> {
    let Some(target) = name.to_bytes().strip_prefix(b".wh.") else { return Ok(Meaning::File) };
    match target {
        b".wh..opq" => Ok(Meaning::Opaque),
        _ if target.starts_with(b".wh.") => Ok(Meaning::Ignored),
        b"" | b"." | b".." => Err("is a whiteout of no name"),
        _ => Ok(Meaning::Deleted(CString::new(target).expect("part of a name without NUL"))),
    }
}

/// Makes overlayfs hide `name` of the layers below: a character device 0/0.
pub(crate) fn delete(directory: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    mknodat(directory, name, FileType::CharacterDevice, Mode::empty(), 0)
}

/// Whether `stat` is of what [`delete`] makes. Nothing else in a layer is, because device nodes are not unpacked.
pub(crate) fn is_deletion(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Makes overlayfs hide what the layers below have in the directory `name`.
pub(crate) fn make_opaque(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = openat(parent, name, flags, Mode::empty())?;
    fsetxattr(directory.as_fd(), OPAQUE, b"y", XattrFlags::empty())
}

/// Whether the directory hides what the layers below have in it.
pub(crate) fn is_opaque(directory: BorrowedFd<'_>) -> bool {
    let mut value = [0; 1];
    fgetxattr(directory, OPAQUE, &mut value).is_ok_and(|length| length == 1) && value == *b"y"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_the_prefix_are_deletions() {
        let deleted = |name: &CStr| Ok(Meaning::Deleted(name.to_owned()));
        for (name, expected) in [
            (c"a", Ok(Meaning::File)),
            (c".wha", Ok(Meaning::File)),
            (c".wh.a", deleted(c"a")),
            (c".wh..a", deleted(c".a")),
            (c".wh..wh..opq", Ok(Meaning::Opaque)),
            (c".wh..wh.plnk", Ok(Meaning::Ignored)),
            (c".wh.", Err("is a whiteout of no name")),
            (c".wh..", Err("is a whiteout of no name")),
            (c".wh...", Err("is a whiteout of no name")),
        ] {
            assert_eq!(meaning(name), expected, "{name:?}");
        }
    }
}
