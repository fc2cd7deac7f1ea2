//! The daemon's two directories, and the claim of one daemon on them.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

/// The daemon's directories, held by this process alone for as long as the value lives.
#[derive(Debug)]
pub(crate) struct Directories {
    data: PathBuf,
    run: PathBuf,
    incarnation: String,
    _claims: [File; 2],
}

/// Why the directories cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DirectoryError {
    #[error("cannot prepare directory {}", .path.display())]
    Prepare {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "directory {} is in use by another netd; stop that one, or give this one its own --data-dir and --run-dir",
        .path.display()
    )]
    InUse { path: PathBuf },
}

impl Directories {
    /// Creates what is missing, mode 0711 so that the API socket can be reached, and claims both directories.
    pub(crate) fn claim(data: &Path, run: &Path) -> Result<Self, DirectoryError> {
        let prepare = |path: &Path| -> Result<PathBuf, DirectoryError> {
            let fail = |source| DirectoryError::Prepare { path: path.into(), source };
            DirBuilder::new().recursive(true).mode(0o711).create(path).map_err(fail)?;
            path.canonicalize().map_err(fail)
        };
        let (data, run) = (prepare(data)?, prepare(run)?);
        for private in [data.join("containers"), data.join("images"), run.join("containers"), run.join("netns")] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&private)
                .map_err(|source| DirectoryError::Prepare { path: private, source })?;
        }
        let claims = [claim(&data)?, claim(&run)?];
        let incarnation = incarnation(&run)?;
        Ok(Self { data, run, incarnation, _claims: claims })
    }

    /// A text that is new whenever the run directory is: with another one, all processes of before are gone.
    pub(crate) fn incarnation(&self) -> &str {
        &self.incarnation
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    pub(crate) fn run(&self) -> &Path {
        &self.run
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.run.join("netd.sock")
    }

    pub(crate) fn netns(&self) -> PathBuf {
        self.run.join("netns")
    }

    pub(crate) fn images(&self) -> PathBuf {
        self.data.join("images")
    }

    /// What happened.
    pub(crate) fn events(&self) -> PathBuf {
        self.data.join("events.jsonl")
    }

    /// Everything of all containers that must survive a reboot.
    pub(crate) fn containers(&self) -> PathBuf {
        self.data.join("containers")
    }

    /// Everything of all containers that lives as long as the boot.
    pub(crate) fn running(&self) -> PathBuf {
        self.run.join("containers")
    }
}

fn incarnation(run: &Path) -> Result<String, DirectoryError> {
    let path = run.join("incarnation");
    let fail = |source| DirectoryError::Prepare { path: run.into(), source };
    match fs::read_to_string(&path) {
        Ok(text) if !text.is_empty() => return Ok(text),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(error)),
        _ => {}
    }
    let mut octets = [0; 8];
    getrandom::fill(&mut octets).map_err(|error| fail(io::Error::other(error)))?;
    let text = format!("{:016x}", u64::from_ne_bytes(octets));
    fs::write(&path, &text).map_err(fail)?;
    Ok(text)
}

fn claim(directory: &Path) -> Result<File, DirectoryError> {
    let path = directory.join("netd.lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        // Whoever can open the file can lock it, so nobody else may, whatever its mode was before.
        .and_then(|file| file.set_permissions(Permissions::from_mode(0o600)).map(|()| file))
        .map_err(|source| DirectoryError::Prepare { path: directory.into(), source })?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(DirectoryError::InUse { path: directory.into() }),
        Err(errno) => Err(DirectoryError::Prepare { path: directory.into(), source: errno.into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_claim_on_either_directory_is_refused_and_names_it() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let path = |name| root.path().join(name);
        let first = Directories::claim(&path("data"), &path("run")).expect("free");
        let mode = path("run").join("netd.lock").metadata().expect("it was made").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "who can open it can claim it");
        let error = Directories::claim(&path("other"), &path("run")).expect_err("run is taken");
        assert!(error.to_string().contains("/run is in use"), "{error}");
        let error = Directories::claim(&path("data"), &path("other-run")).expect_err("data is taken");
        assert!(error.to_string().contains("/data is in use"), "{error}");
        drop(first);
        Directories::claim(&path("data"), &path("run")).expect("free again");
    }
}
