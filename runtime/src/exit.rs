//! How a container ended, as it is kept on disk.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How and when a container's first process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Its exit code, or 128 and the number of the signal that ended it, or [`Exit::LOST`].
    pub exit_code: i32,
    /// When its program was executed; none if it never was, or nobody knows.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// When it ended, or when its loss was noticed.
    pub finished_at: Timestamp,
}

impl Exit {
    /// The exit code of a container nobody saw end: its shim was killed, or the machine was switched off.
    pub const LOST: i32 = 255;

    /// What `path` holds; none if it does not exist or is not whole.
    ///
    /// # Errors
    /// When the file exists and cannot be read.
    pub(crate) fn read(path: &Path) -> io::Result<Option<Self>> {
        match fs::read(path) {
            // A torn file can only be left by a crash of the machine, which lost the container as well.
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sets space aside for [`Exit::write`], so that how a container ends can be kept on a disk that is full by then.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn reserve(path: &Path) -> io::Result<()> {
        fs::write(draft(path), [b' '; ROOM])
    }

    /// Replaces `path` as a whole. Not synced: a machine that crashes has lost the container anyway.
    ///
    /// # Errors
    /// When the file cannot be written or renamed, or what was set aside has been [removed](Self::remove) with the
    /// container.
    pub(crate) fn write(&self, path: &Path, draft_is: Draft) -> io::Result<()> {
        let mut text = serde_json::to_vec(self).expect("plain numbers and times serialise");
        // JSON may end in white space, and what was set aside is written over, not cut off and written anew.
        text.resize(text.len().max(ROOM), b' ');
        let beside = draft(path);
        OpenOptions::new()
            .write(true)
            .create(draft_is == Draft::Absent)
            .truncate(false)
            .open(&beside)?
            .write_all(&text)?;
        fs::rename(&beside, path)
    }

    /// Removes `path` and what is set aside for it; that there is nothing is success.
    ///
    /// # Errors
    /// When a file is there and cannot be removed.
    pub(crate) fn remove(path: &Path) -> io::Result<()> {
        // In this order: what is set aside may be on its way to the other's place.
        for path in [&draft(path), path] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether space was set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Draft {
    /// It was ([`Exit::reserve`]).
    Reserved,
    /// It was not, or could not be.
    Absent,
}

/// Octets of a file that holds an [`Exit`]: enough for any.
const ROOM: usize = 256;

fn draft(path: &Path) -> PathBuf {
    path.with_extension("json.new")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_the_disk_and_a_torn_file_is_none() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("exit.json");
        assert_eq!(Exit::read(&path).expect("missing is fine"), None);
        let exit = Exit { exit_code: 137, started_at: None, finished_at: Timestamp::UNIX_EPOCH };
        exit.write(&path, Draft::Absent).expect("writes");
        assert_eq!(Exit::read(&path).expect("reads"), Some(exit));
        Exit::remove(&path).expect("removes");
        Exit::reserve(&path).expect("writes");
        assert_eq!(Exit::read(&path).expect("reads"), None);
        exit.write(&path, Draft::Reserved).expect("writes");
        assert_eq!(Exit::read(&path).expect("reads"), Some(exit));
        Exit::reserve(&path).expect("writes");
        Exit::remove(&path).expect("removes");
        exit.write(&path, Draft::Reserved).expect_err("a shim that is late leaves nothing behind");
        assert_eq!(fs::read_dir(directory.path()).expect("it is there").count(), 0);
        fs::write(&path, "{\"exit_").expect("writes");
        assert_eq!(Exit::read(&path).expect("reads"), None);
    }
}
