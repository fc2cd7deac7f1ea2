//! How a container ended, as it is kept on disk.

use std::{fs, io, path::Path};

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

    /// Replaces `path` as a whole. Not synced: a machine that crashes has lost the container anyway.
    ///
    /// # Errors
    /// When the file cannot be written or renamed.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let beside = path.with_extension("json.new");
        fs::write(&beside, serde_json::to_vec(self).expect("plain numbers and times serialise"))?;
        fs::rename(&beside, path)
    }
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
        exit.write(&path).expect("writes");
        assert_eq!(Exit::read(&path).expect("reads"), Some(exit));
        fs::write(&path, "{\"exit_").expect("writes");
        assert_eq!(Exit::read(&path).expect("reads"), None);
    }
}
