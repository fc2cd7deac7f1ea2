//! A directory as a tar stream.

use std::{
    collections::HashMap,
    ffi::{CStr, OsString},
    fs::{self, File, Metadata},
    io::{self, Write},
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use tar::{Builder, EntryType, Header};

/// Writes everything under `root` as a tar: entries in the order of their names, numeric owners, links as links,
/// hard links kept, extended attributes as `SCHILY.xattr` records (file capabilities live there). Sockets are left
/// out, because a tar cannot hold them.
pub(crate) fn write_directory(root: &Path, writer: impl Write) -> io::Result<()> {
    let mut tarball = Tarball { builder: Builder::new(writer), first_links: HashMap::new() };
    tarball.directory(root, Path::new(""))?;
    tarball.builder.into_inner()?.flush()
}

struct Tarball<W: Write> {
    builder: Builder<W>,
    /// Where a file with several names was written first, by device and inode.
    first_links: HashMap<(u64, u64), PathBuf>,
}

impl<W: Write> Tarball<W> {
    fn directory(&mut self, directory: &Path, inside: &Path) -> io::Result<()> {
        let mut names: Vec<OsString> = fs::read_dir(directory)
            .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect())
            .map_err(|error| at(directory, &error))?;
        names.sort();
        for name in names {
            let path = directory.join(&name);
            let inside = inside.join(name);
            let metadata = fs::symlink_metadata(&path).map_err(|error| at(&path, &error))?;
            self.entry(&path, &inside, &metadata).map_err(|error| at(&path, &error))?;
            if metadata.is_dir() {
                self.directory(&path, &inside)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, inside: &Path, metadata: &Metadata) -> io::Result<()> {
        let kind = metadata.file_type();
        if kind.is_socket() {
            return Ok(());
        }
        let mut header = Header::new_gnu();
        header.set_metadata(metadata);
        header.set_size(0);
        if !metadata.is_dir() && metadata.nlink() > 1 {
            if let Some(first) = self.first_links.get(&(metadata.dev(), metadata.ino())) {
                header.set_entry_type(EntryType::Link);
                return self.builder.append_link(&mut header, inside, first);
            }
            self.first_links.insert((metadata.dev(), metadata.ino()), inside.to_owned());
        }
        self.extended_attributes(path)?;
        if kind.is_symlink() {
            header.set_entry_type(EntryType::Symlink);
            return self.builder.append_link(&mut header, inside, fs::read_link(path)?);
        }
        if kind.is_file() {
            header.set_entry_type(EntryType::Regular);
            header.set_size(metadata.len());
            let file = Exactly { file: File::open(path)?, left: metadata.len() };
            return self.builder.append_data(&mut header, inside, file);
        }
        if kind.is_dir() {
            header.set_entry_type(EntryType::Directory);
        } else if kind.is_fifo() {
            header.set_entry_type(EntryType::Fifo);
        } else {
            let block = kind.is_block_device();
            header.set_entry_type(if block { EntryType::Block } else { EntryType::Char });
            header.set_device_major(rustix::fs::major(metadata.rdev()))?;
            header.set_device_minor(rustix::fs::minor(metadata.rdev()))?;
        }
        self.builder.append_data(&mut header, inside, io::empty())
    }

    fn extended_attributes(&mut self, path: &Path) -> io::Result<()> {
        let mut records = Vec::new();
        for name in attribute_names(path)? {
            // Access-control labels of this host mean nothing on another.
            if name.starts_with(b"security.selinux") || name.starts_with(b"system.") {
                continue;
            }
            let key = format!("SCHILY.xattr.{}", String::from_utf8_lossy(&name));
            records.push((key, attribute(path, &name)?));
        }
        if records.is_empty() {
            return Ok(());
        }
        self.builder.append_pax_extensions(records.iter().map(|(key, value)| (key.as_str(), value.as_slice())))
    }
}

fn attribute_names(path: &Path) -> io::Result<Vec<Vec<u8>>> {
    let mut buffer = vec![0; 64 << 10];
    match rustix::fs::llistxattr(path, &mut buffer[..]) {
        Ok(length) => {
            Ok(buffer[..length].split(|byte| *byte == 0).filter(|n| !n.is_empty()).map(<[u8]>::to_vec).collect())
        }
        Err(rustix::io::Errno::NOTSUP) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

fn attribute(path: &Path, name: &[u8]) -> io::Result<Vec<u8>> {
    let name = [name, b"\0"].concat();
    let name = CStr::from_bytes_with_nul(&name).expect("names were split at their NULs");
    let mut buffer = vec![0; 64 << 10];
    let length = rustix::fs::lgetxattr(path, name, &mut buffer[..])?;
    buffer.truncate(length);
    Ok(buffer)
}

/// A file that is read to the length its header was written with: one that grows is cut, one that shrinks is an
/// error, because either would shift every entry behind it.
struct Exactly {
    file: File,
    left: u64,
}

impl io::Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let length = self.file.read(&mut buffer[..wanted])?;
        if length == 0 && wanted > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file shrank while it was read"));
        }
        self.left -= length as u64;
        Ok(length)
    }
}

/// The error with the path it happened at.
fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests;
