//! Space set aside beside the state file, so that what makes room can be committed on a full disk.
//!
//! The file is copy-on-write: even a deletion needs pages before it gives any back. The reserve is a file of octets
//! nobody reads. It is removed when a commit that makes room finds the disk full, and written anew once there is space.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// What one commit needs and more: redb's repair after the failed write, the pages of a deletion, and the housekeeping.
pub(super) const OCTETS: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    held: bool,
}

impl Reserve {
    /// The reserve of the state file at `path`; held if there is space for it.
    pub(super) fn of(path: &Path) -> Self {
        let path = path.with_extension("reserve");
        let held = fs::metadata(&path).is_ok_and(|file| file.len() == OCTETS as u64);
        let mut reserve = Self { path, held };
        reserve.refill();
        reserve
    }

    /// Sets space aside, if none is and there is some.
    pub(super) fn refill(&mut self) {
        if self.held {
            return;
        }
        match write(&self.path) {
            Ok(()) => self.held = true,
            Err(error) => {
                tracing::debug!(path = %self.path.display(), %error, "no space can be set aside");
                // Half of it would be in the way of others and no help.
                let _ = fs::remove_file(&self.path);
            }
        }
    }

    /// Gives the space back; false if there was none.
    pub(super) fn release(&mut self) -> bool {
        let released = self.held && fs::remove_file(&self.path).is_ok();
        self.held = false;
        released
    }
}

/// Octets that are no zeros: some file systems keep no space for those.
fn write(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(&vec![0xFB; OCTETS])
}
