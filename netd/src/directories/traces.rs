//! The claim of one daemon on its directories, and what it made there, so that one which does not start leaves nothing.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::fs::{FlockOperation, flock};

use super::DirectoryError;

/// The claim's file in a directory.
const LOCK: &str = "netd.lock";

/// How long a claim of another is waited for: a daemon's child holds it until it executes its program, also when the
/// daemon was killed. That is microseconds unless the machine stands still.
const PATIENCE: Duration = Duration::from_millis(500);

/// The claims, held for as long as the value lives, and what was there before them.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    /// Directories that were made to be claimed, each before those in it.
    made: Vec<PathBuf>,
    claims: Vec<Claim>,
}

#[derive(Debug)]
struct Claim {
    directory: PathBuf,
    /// What was in it before.
    before: BTreeSet<OsString>,
    _lock: File,
}

impl Traces {
    /// The directory's own path; it is made if it is missing.
    pub(super) fn directory(&mut self, path: &Path) -> Result<PathBuf, DirectoryError> {
        let made = self.make(path).and_then(|()| path.canonicalize());
        made.map_err(|source| DirectoryError::Prepare { path: path.into(), source })
    }

    /// Makes what is missing of `path`, one by one: of a directory that another process makes first it is known that it
    /// is not this one's.
    fn make(&mut self, path: &Path) -> io::Result<()> {
        let create = || DirBuilder::new().mode(0o711).create(path);
        let created = match create() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make(path.parent().ok_or(error)?)?;
                create()
            }
            created => created,
        };
        match created {
            Ok(()) => self.made.push(path.to_owned()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Claims a directory for this process.
    pub(super) fn claim(&mut self, directory: &Path) -> Result<(), DirectoryError> {
        let fail = |source| DirectoryError::Prepare { path: directory.into(), source };
        let (lock, is_new) = lock(directory)?;
        let entries = fs::read_dir(directory).and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<BTreeSet<_>>>()
        });
        let mut before = entries.map_err(fail)?;
        if is_new {
            before.remove(&OsString::from(LOCK));
        }
        self.claims.push(Claim { directory: directory.into(), before, _lock: lock });
        Ok(())
    }

    /// Removes all that was not there before the claims, and gives them up. What cannot be removed stays: it is told
    /// why the daemon does not start, and that is worth more.
    pub(crate) fn remove(self) {
        for claim in &self.claims {
            let entries = fs::read_dir(&claim.directory).into_iter().flatten().map_while(Result::ok);
            let new = entries.filter(|entry| !claim.before.contains(&entry.file_name()));
            for entry in new {
                let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
                let _ = if is_directory { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) };
            }
        }
        for directory in self.made.iter().rev() {
            // One in which somebody else has made something is theirs.
            let _ = fs::remove_dir(directory);
        }
    }
}

/// The lock on the directory, and whether its file is new.
fn lock(directory: &Path) -> Result<(File, bool), DirectoryError> {
    let path = directory.join(LOCK);
    let fail = |source| DirectoryError::Prepare { path: directory.into(), source };
    let begun = Instant::now();
    loop {
        let open = |new: bool| File::options().write(true).create(!new).create_new(new).mode(0o600).open(&path);
        let (file, is_new) = match open(true) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => (open(false).map_err(fail)?, false),
            opened => (opened.map_err(fail)?, true),
        };
        // Whoever can open the file can lock it, so nobody else may, whatever its mode was before.
        file.set_permissions(Permissions::from_mode(0o600)).map_err(fail)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) if begun.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(5));
                continue;
            }
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(DirectoryError::InUse { path: directory.into() }),
            Err(errno) => return Err(fail(errno.into())),
        }
        // One that did not start may have removed the file that was opened here: a lock on that is nobody's obstacle.
        let locked = file.metadata().map_err(fail)?;
        if fs::metadata(&path).is_ok_and(|there| (there.dev(), there.ino()) == (locked.dev(), locked.ino())) {
            return Ok((file, is_new));
        }
    }
}
