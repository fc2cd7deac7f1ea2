//! How much an import may take, so that a small hostile file cannot fill the disk or the memory.

use std::fmt;

/// What one import may take at most. The defaults are generous: real images stay far below them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries in one archive (a layer, or the stream itself), with the directories and headers that they imply.
    /// Default 2,000,000.
    pub entries: u64,
    /// Octets one import may unpack to, over all its layers and the stream itself. Default 64 GiB.
    pub unpacked: u64,
    /// Unpacked octets per compressed octet of one stream, looked at from 256 MiB of unpacked octets on. Default 200:
    /// file systems stay below 20, a gzip bomb is at 1,000, one of zstd above 10,000.
    pub expansion: u64,
    /// Octets in the path of an entry or in the target of a link. Default 4,095 (Linux `PATH_MAX` with its NUL).
    pub path: usize,
    /// Octets in one document (manifest, index, configuration) and in one entry's extended header. Default 4 MiB,
    /// which is what registries allow a manifest.
    pub document: u64,
    /// Layers of one image. Default 127, which is what other builders keep to and what one overlayfs mount takes.
    pub layers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 2_000_000, unpacked: 64 << 30, expansion: 200, path: 4095, document: 4 << 20, layers: 127 }
    }
}

/// Which limit was reached, with its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// [`Limits::entries`].
    Entries(u64),
    /// [`Limits::unpacked`].
    Unpacked(u64),
    /// [`Limits::expansion`].
    Expansion(u64),
    /// [`Limits::path`].
    Path(usize),
    /// [`Limits::document`].
    Document(u64),
    /// [`Limits::layers`].
    Layers(usize),
}

impl fmt::Display for Limit {
    /// What was exceeded, then how to go on with an image that is trusted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entries(limit) => write!(f, "it has more than {limit} entries (limit `entries`)"),
            Self::Unpacked(limit) => write!(f, "it unpacks to more than {limit} octets (limit `unpacked`)"),
            Self::Expansion(limit) => write!(
                f,
                "it unpacks to more than {limit} times its compressed size (limit `expansion`), as a decompression \
                 bomb does; if it is trusted, decompress it first and import the plain tar"
            ),
            Self::Path(limit) => write!(f, "a path in it is longer than {limit} octets (limit `path`)"),
            Self::Document(limit) => {
                write!(f, "a document or extended header in it is longer than {limit} octets (limit `document`)")
            }
            Self::Layers(limit) => {
                write!(f, "it has more than {limit} layers (limit `layers`); squash it into fewer")
            }
        }
    }
}
