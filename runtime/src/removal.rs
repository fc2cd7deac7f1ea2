//! How what a container leaves behind is removed, in whatever state it is.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use model::ContainerId;
use rustix::mount::{UnmountFlags, unmount};

use crate::{Directories, Runtime, RuntimeError, cgroup, client::Connection, log, protocol::Request};

/// How long a shim may take to kill its container before it is killed itself.
const DELETE_PATIENCE: Duration = Duration::from_secs(5);

/// What stays of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    Nothing,
    Log,
    LogAndEnd,
}

impl Runtime {
    /// Removes the container in whatever state it is: processes, cgroups, mounts, shim, directories, log. One that is
    /// already gone is removed with success.
    ///
    /// # Errors
    /// When something cannot be removed; asking again goes on from there.
    pub async fn delete(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.remove(id, Keep::Nothing).await
    }

    /// Removes everything that a container which has ended has no use for: what [`Runtime::delete`] removes but its log
    /// and how it ended. One that runs is ended by it.
    ///
    /// # Errors
    /// When something cannot be removed; asking again goes on from there.
    pub async fn release(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.remove(id, Keep::LogAndEnd).await
    }

    /// Removes everything but the log, so that the container can be created once more.
    ///
    /// # Errors
    /// When something cannot be removed; asking again goes on from there.
    pub async fn reset(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.remove(id, Keep::Log).await
    }

    async fn remove(&self, id: &ContainerId, keep: Keep) -> Result<(), RuntimeError> {
        let run = self.directories.run_of(id);
        let shim = |source| RuntimeError::Shim { id: id.clone(), step: "end", source };
        // As long as a shim is silent, the connections to it that were given up fill its backlog.
        let connecting = tokio::time::timeout(DELETE_PATIENCE, Connection::to_shim(&run)).await;
        let silent = |_| RuntimeError::ShimSilent { id: id.clone(), step: "end" };
        if let Some(connection) = connecting.map_err(silent)?.map_err(shim)? {
            // A shim that dies meanwhile has done what was asked.
            let _ = connection.send(&Request::Delete, &[]).await;
            if tokio::time::timeout(DELETE_PATIENCE, connection.closed()).await.is_err() {
                // Connected anew, for the credentials are of the time of connecting.
                let again = tokio::time::timeout(DELETE_PATIENCE, Connection::to_shim(&run)).await;
                if let Some(again) = again.map_err(silent)?.map_err(shim)? {
                    again.kill_shim().map_err(shim)?;
                    let _ = tokio::time::timeout(DELETE_PATIENCE, connection.closed()).await;
                }
            }
        }
        let (directories, id) = (self.directories.clone(), id.clone());
        tokio::task::spawn_blocking(move || remove_remains(&directories, &id, keep))
            .await
            .expect("removing files does not panic and is never aborted")
    }
}

fn remove_remains(directories: &Directories, id: &ContainerId, keep: Keep) -> Result<(), RuntimeError> {
    cgroup::remove(&directories.cgroup_of(id))?;
    let run = directories.run_of(id);
    // The shim's own mounts are in a namespace of its own; what somebody mounted there in the host's is in the way.
    for point in mounts_below(&run).map_err(|source| RuntimeError::path("list the mounts of", &run, source))? {
        gone(unmount(&point, UnmountFlags::DETACH).map_err(io::Error::from))
            .map_err(|source| RuntimeError::path("unmount", point, source))?;
    }
    gone(fs::remove_dir_all(&run)).map_err(|source| RuntimeError::path("remove", run, source))?;
    let data = match keep {
        Keep::Nothing => log::files(&directories.log_of(id)).chain([directories.exit_of(id)]).collect(),
        Keep::Log => vec![directories.exit_of(id)],
        Keep::LogAndEnd => return Ok(()),
    };
    for path in data {
        gone(fs::remove_file(&path)).map_err(|source| RuntimeError::path("remove", path, source))?;
    }
    let data = directories.data_of(id);
    match fs::remove_dir(&data) {
        // Others may keep something of the container there, too.
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        removed => gone(removed).map_err(|source| RuntimeError::path("remove", data, source)),
    }
}

/// Mount points below `directory` in the host's mount namespace, the innermost first.
fn mounts_below(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    // The fifth field is the mount point, white space and backslashes in it as octal escapes (proc_pid_mountinfo(5)).
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(|point| {
        let plain = point.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n");
        PathBuf::from(plain.replace("\\134", "\\"))
    });
    let mut points: Vec<PathBuf> = points.filter(|point| point.starts_with(directory)).collect();
    points.reverse();
    Ok(points)
}

fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
