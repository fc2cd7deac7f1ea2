//! The daemon's two directories.

mod traces;

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

pub(crate) use self::traces::Traces;

/// The daemon's directories.
#[derive(Debug)]
pub(crate) struct Directories {
    data: PathBuf,
    run: PathBuf,
    incarnation: String,
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
    /// Creates what is missing, mode 0711 so that the API socket can be reached, and claims both directories. If that
    /// fails, what was made is gone.
    pub(crate) fn claim(data: &Path, run: &Path) -> Result<(Self, Traces), DirectoryError> {
        let mut traces = Traces::default();
        match Self::make(data, run, &mut traces) {
            Ok(directories) => Ok((directories, traces)),
            Err(error) => {
                traces.remove();
                Err(error)
            }
        }
    }

    fn make(data: &Path, run: &Path, traces: &mut Traces) -> Result<Self, DirectoryError> {
        let (data, run) = (traces.directory(data)?, traces.directory(run)?);
        // Before anything is made inside: what is there belongs to whoever has the claim.
        for directory in [&data, &run] {
            traces.claim(directory)?;
        }
        for private in [data.join("containers"), data.join("images"), run.join("containers"), run.join("netns")] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&private)
                .map_err(|source| DirectoryError::Prepare { path: private, source })?;
        }
        let incarnation = incarnation(&run)?;
        Ok(Self { data, run, incarnation })
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

    /// The addresses of names outside that containers know.
    pub(crate) fn learned(&self) -> PathBuf {
        self.run.join("names")
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// What there is below a directory.
    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).expect("it is there").map(|entry| entry.expect("it can be read"));
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().expect("UTF-8")).collect();
        names.sort();
        names
    }

    #[test]
    fn a_second_claim_on_either_directory_is_refused_and_names_it() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let path = |name| root.path().join(name);
        let first = Directories::claim(&path("data"), &path("run")).expect("free");
        let mode = path("run").join("netd.lock").metadata().expect("it was made").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "who can open it can claim it");
        let error = Directories::claim(&path("other/data"), &path("run")).expect_err("run is taken");
        assert!(error.to_string().contains("/run is in use"), "{error}");
        let error = Directories::claim(&path("data"), &path("other-run")).expect_err("data is taken");
        assert!(error.to_string().contains("/data is in use"), "{error}");
        assert_eq!(names(root.path()), ["data", "run"], "who is refused leaves nothing");
        assert_eq!(names(&path("run")), ["containers", "incarnation", "netd.lock", "netns"]);
        drop(first);
        Directories::claim(&path("data"), &path("run")).expect("free again");
    }

    /// A child that has not executed its program yet holds every descriptor of the daemon that was killed.
    #[test]
    fn what_is_held_a_little_longer_is_waited_for() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let (data, run) = (root.path().join("data"), root.path().join("run"));
        let waits = || {
            let killed = Directories::claim(&data, &run).expect("free");
            let child = std::thread::spawn(move || {
                std::thread::sleep(std::time::Duration::from_millis(50));
                drop(killed);
            });
            let claimed = Directories::claim(&data, &run).is_ok();
            child.join().expect("no panic");
            claimed
        };
        // A machine that stands still may hold up one child for too long.
        assert!((0..5).any(|_| waits()));
    }

    #[test]
    fn who_does_not_start_leaves_what_was_there() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let (data, run) = (root.path().join("lib/fabric"), root.path().join("run"));
        fs::create_dir_all(data.join("images")).expect("creates");
        let (_, traces) = Directories::claim(&data, &run).expect("free");
        fs::write(data.join("state.redb"), "new").expect("writes");
        traces.remove();
        assert_eq!((names(root.path()), names(&data)), (vec!["lib".to_owned()], vec!["images".to_owned()]));
    }
}
