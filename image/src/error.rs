//! What can go wrong with an image, and on which object.

use std::{
    io,
    path::{Path, PathBuf},
};

use model::{Digest, ImageName};

use crate::Limit;

/// Why the content store refused or failed. The store is as it was before the request.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The stream is none of the forms that can be imported.
    #[error("not a tar archive: the stream begins with {begins}")]
    NotTar {
        /// The first octets, printable.
        begins: String,
    },
    /// The stream has no entries.
    #[error("the archive is empty: nothing to import")]
    Empty,
    /// The stream is compressed in a way that is not read here.
    #[error("the stream is compressed with {format}, which is not supported")]
    Compression {
        /// Name of the compression.
        format: &'static str,
        /// A command that undoes it.
        command: &'static str,
    },
    /// An archive breaks its own format, or ends early.
    #[error("{archive} is damaged at entry {entry}: {reason}")]
    Malformed {
        /// Which archive: the stream, or a layer.
        archive: String,
        /// The entry, quoted, or its number where it has no readable name.
        entry: String,
        /// What is wrong.
        reason: String,
    },
    /// An entry could only be meant to reach outside of its layer, or cannot exist in a file system.
    #[error("{archive} is refused: entry {entry} {reason}")]
    Hostile {
        /// Which archive: the stream, or a layer.
        archive: String,
        /// The entry's name, quoted.
        entry: String,
        /// What it does.
        reason: &'static str,
    },
    /// A limit was reached.
    #[error("{object} is refused: {limit}; an image like that fills a disk or a memory")]
    Limit {
        /// The archive or document.
        object: String,
        /// The limit.
        limit: Limit,
    },
    /// Content is not what its descriptor says.
    #[error("{object} does not match its description: {mismatch}")]
    Mismatch {
        /// The blob and where it was named.
        object: String,
        /// How it differs.
        mismatch: Mismatch,
    },
    /// A document names a blob that is not in the archive.
    #[error("{object} is missing from the archive")]
    Missing {
        /// The blob or file, and who names it.
        object: String,
    },
    /// A document cannot be read as what it should be.
    #[error("{object} is not usable: {reason}")]
    Document {
        /// The document.
        object: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An archive holds several images, and one was asked for.
    #[error("the archive holds several images: {}", .names.join(", "))]
    Several {
        /// The images' names, or digests where they have none.
        names: Vec<String>,
    },
    /// No image in the archive runs on this host.
    #[error("the archive has no image for {wanted}, only for {}", .found.join(", "))]
    Platform {
        /// This host's platform, `linux/amd64`.
        wanted: String,
        /// What there is.
        found: Vec<String>,
    },
    /// No image has that name.
    #[error("image `{name}` does not exist")]
    NotFound {
        /// The name asked for.
        name: ImageName,
    },
    /// The image has no other name, and a container was made from it.
    #[error("image `{name}` is in use by a container")]
    InUse {
        /// The name asked for.
        name: ImageName,
        /// The image's manifest.
        digest: Digest,
    },
    /// The stream itself could not be read.
    #[error("cannot read {object}")]
    Read {
        /// The stream, or an archive within it.
        object: String,
        /// The cause.
        source: io::Error,
    },
    /// The file system that holds the store has no room left.
    #[error("no space left below {}", .directory.display())]
    Full {
        /// The store's directory.
        directory: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The store's own files could not be used.
    #[error("cannot {action} {}", .path.display())]
    Storage {
        /// What was tried: "write", "remove".
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file of the store does not hold what the store wrote.
    #[error("the image store is damaged at {}: {reason}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// How content differs from its description.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Its SHA-256.
    #[error("its digest is {found}, not {expected}")]
    Digest {
        /// As described.
        expected: Digest,
        /// As computed.
        found: Digest,
    },
    /// Its length.
    #[error("it is {found} octets long, not {expected}")]
    Size {
        /// As described.
        expected: u64,
        /// As counted.
        found: u64,
    },
    /// The configuration and the manifest disagree about how many layers there are.
    #[error("it lists {found} layers, its manifest {expected}")]
    Layers {
        /// Layers in the manifest.
        expected: usize,
        /// `diff_ids` in the configuration.
        found: usize,
    },
}

impl ImageError {
    /// The store's file at `path` refused `action`. A full disk is told apart.
    pub(crate) fn storage(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full { directory: path.parent().unwrap_or(path).to_owned(), source }
            }
            _ => Self::Storage { action, path: path.to_owned(), source },
        }
    }

    /// Brings an error out of a reader: either one of ours that travelled through `io::Error`, or the cause.
    pub(crate) fn read(object: &str, source: io::Error) -> Self {
        match source.downcast::<Self>() {
            Ok(ours) => ours,
            Err(source) => Self::Read { object: object.to_owned(), source },
        }
    }
}
