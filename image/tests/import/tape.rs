//! Archives built in memory, header by header, so that they may be as wrong as a test wants.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use image::{Image, ImageError, Images, Limits};
use jiff::Timestamp;
use model::{Digest, ImageName};
use sha2::Digest as _;
use tar::Header;

pub(crate) const FILE: u8 = b'0';
pub(crate) const HARD_LINK: u8 = b'1';
pub(crate) const SYMLINK: u8 = b'2';
pub(crate) const CHARACTER: u8 = b'3';
pub(crate) const BLOCK_DEVICE: u8 = b'4';
pub(crate) const DIRECTORY: u8 = b'5';
pub(crate) const FIFO: u8 = b'6';

/// A tar archive being written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tape(pub(crate) Vec<u8>);

impl Tape {
    /// Appends a header with exactly these fields, cut to their width, and `data` padded to a block.
    pub(crate) fn raw(mut self, kind: u8, path: &[u8], link: &[u8], mode: u32, data: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        let gnu = header.as_gnu_mut().expect("made as one");
        let cut = |field: &mut [u8], text: &[u8]| {
            let length = text.len().min(field.len());
            field[..length].copy_from_slice(&text[..length]);
        };
        cut(&mut gnu.name, path);
        cut(&mut gnu.linkname, link);
        gnu.typeflag = [kind];
        header.set_mode(mode);
        header.set_uid(1000);
        header.set_gid(1001);
        header.set_mtime(1_234_567_890);
        header.set_size(data.len() as u64);
        header.set_device_major(1).expect("fits");
        header.set_device_minor(3).expect("fits");
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, path: &str, data: &[u8]) -> Self {
        self.raw(FILE, path.as_bytes(), b"", 0o644, data)
    }

    pub(crate) fn directory(self, path: &str, mode: u32) -> Self {
        self.raw(DIRECTORY, path.as_bytes(), b"", mode, b"")
    }

    pub(crate) fn symlink(self, path: &str, target: &str) -> Self {
        self.raw(SYMLINK, path.as_bytes(), target.as_bytes(), 0o777, b"")
    }

    pub(crate) fn hard_link(self, path: &str, target: &str) -> Self {
        self.raw(HARD_LINK, path.as_bytes(), target.as_bytes(), 0o644, b"")
    }

    /// Appends an extended header for the next entry.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let rest = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
            let length =
                (1..).find(|length: &usize| length.to_string().len() + rest.len() == *length).expect("some length");
            data.extend_from_slice(length.to_string().as_bytes());
            data.extend_from_slice(&rest);
        }
        self.raw(b'x', b"pax", b"", 0o644, &data)
    }

    /// The archive with its end.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// A store in a directory of its own, gone with the test.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) images: Images,
    pub(crate) directory: tempfile::TempDir,
}

impl Store {
    pub(crate) fn new() -> Self {
        Self::limited(Limits::default())
    }

    pub(crate) fn limited(limits: Limits) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let images = Images::open(&directory.path().join("images"), limits).expect("a new store");
        Self { images, directory }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("images")
    }

    pub(crate) fn import(&self, archive: &[u8]) -> Result<Image, ImageError> {
        self.import_as(archive, "test")
    }

    pub(crate) fn import_as(&self, archive: &[u8], name: &str) -> Result<Image, ImageError> {
        self.images.import(archive, &image_name(name), Timestamp::UNIX_EPOCH)
    }

    /// The root of an image of one layer.
    pub(crate) fn root(&self, archive: &[u8]) -> PathBuf {
        let image = self.import(archive).expect("a good archive");
        self.images.layers(&image).remove(0)
    }

    /// Imports what must fail, and gives the message with its causes. Nothing may be left of it.
    pub(crate) fn refused(&self, archive: &[u8]) -> String {
        let before = self.images.list().expect("a store that can be read").len();
        let error = self.import(archive).expect_err("a refusal");
        assert_eq!(names(&self.path().join("tmp")), [""; 0], "after {error}");
        assert_eq!(self.images.list().expect("a store that can be read").len(), before);
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        assert!(!text.chars().any(char::is_control), "it would command a terminal: {text:?}");
        text
    }
}

/// A directory in memory, for tests that import hundreds of times and ask nothing of the disk.
pub(crate) fn memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").expect("a temporary directory")
}

pub(crate) fn image_name(name: &str) -> ImageName {
    name.parse().expect("a valid name")
}

pub(crate) fn digest(content: &[u8]) -> Digest {
    Digest::sha256(sha2::Sha256::digest(content).into())
}

pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).expect("memory");
    encoder.finish().expect("memory")
}

pub(crate) fn zstd(content: &[u8]) -> Vec<u8> {
    zstd::encode_all(content, 1).expect("memory")
}

/// The names in a directory, sorted.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let list = fs::read_dir(directory).expect("a directory");
    let mut names: Vec<String> =
        list.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
