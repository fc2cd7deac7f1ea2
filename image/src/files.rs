//! The store's own small files: written whole or not at all, read back checked.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use model::{Digest, ImageName};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{ImageError, shape};

/// `names/HEX.json` and `images/HEX.json`: a manifest and the name it was imported as.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct NameRecord {
    pub(crate) name: ImageName,
    pub(crate) digest: Digest,
    pub(crate) imported_at: Timestamp,
}

/// `layers/HEX.json`: an unpacked layer, by chain identifier.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    /// Its name below `l`.
    pub(crate) directory: String,
    pub(crate) diff_id: Digest,
    /// Octets of its files.
    pub(crate) size: u64,
    /// It hides everything below it, which overlayfs does not do for the root directory by itself.
    pub(crate) opaque: bool,
}

/// Writes `content` into `temporary`, makes it durable, and moves it to `path` over what was there.
pub(crate) fn write(path: &Path, content: &[u8], temporary: &Path) -> Result<(), ImageError> {
    let file = prepare(path, content, temporary)?;
    file.persist(path).map_err(|cause| ImageError::storage("write", path, cause.error))?;
    sync_directory(path.parent().expect("files of the store lie in its directories"))
}

/// Writes `content` and makes it durable, but not yet visible.
fn prepare(path: &Path, content: &[u8], temporary: &Path) -> Result<tempfile::NamedTempFile, ImageError> {
    let mut file = tempfile::NamedTempFile::new_in(temporary)
        .map_err(|cause| ImageError::storage("write in", temporary, cause))?;
    file.write_all(content)
        .and_then(|()| file.as_file().sync_all())
        .map_err(|cause| ImageError::storage("write", path, cause))?;
    Ok(file)
}

/// As [`write`], for a value that is kept as JSON.
pub(crate) fn write_record(path: &Path, record: &impl Serialize, temporary: &Path) -> Result<(), ImageError> {
    let json = serde_json::to_vec(record).expect("records are plain data with string keys");
    write(path, &json, temporary)
}

/// As [`write_record`], but what is there already stays. Says whether this record is now the one.
pub(crate) fn write_new_record(path: &Path, record: &impl Serialize, temporary: &Path) -> Result<bool, ImageError> {
    let json = serde_json::to_vec(record).expect("records are plain data with string keys");
    let file = prepare(path, &json, temporary)?;
    match file.persist_noclobber(path) {
        Ok(_) => sync_directory(path.parent().expect("files of the store lie in its directories")).map(|()| true),
        Err(cause) if cause.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(cause) => Err(ImageError::storage("write", path, cause.error)),
    }
}

/// The record at `path`, or none where there is no file.
pub(crate) fn read_record<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, ImageError> {
    let content = match fs::read(path) {
        Ok(content) => content,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(ImageError::storage("read", path, cause)),
    };
    serde_json::from_slice(&content)
        .map(Some)
        .map_err(|cause| ImageError::Damaged { path: path.to_owned(), reason: cause.to_string() })
}

/// Every record in `directory` of the store, with its file.
pub(crate) fn records<T: DeserializeOwned>(store: &Path, directory: &str) -> Result<Vec<(PathBuf, T)>, ImageError> {
    let mut found = Vec::new();
    for path in shape::own(store, directory)? {
        if let Some(record) = read_record(&path)? {
            found.push((path, record));
        }
    }
    Ok(found)
}

/// The paths in `directory`, in order of their names.
pub(crate) fn entries(directory: &Path) -> Result<Vec<PathBuf>, ImageError> {
    let mut paths: Vec<PathBuf> = fs::read_dir(directory)
        .and_then(|list| list.map(|entry| entry.map(|entry| entry.path())).collect())
        .map_err(|cause| ImageError::storage("list", directory, cause))?;
    paths.sort();
    Ok(paths)
}

/// Removes a file; one that is gone already is as good.
pub(crate) fn remove(path: &Path) -> Result<(), ImageError> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(ImageError::storage("remove", path, cause)),
        _ => Ok(()),
    }
}

/// Makes renames and removals in `directory` durable.
pub(crate) fn sync_directory(directory: &Path) -> Result<(), ImageError> {
    File::open(directory)
        .and_then(|file| file.sync_all())
        .map_err(|cause| ImageError::storage("write", directory, cause))
}
