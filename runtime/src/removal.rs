//! How what a container leaves behind is removed, in whatever state it is.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use model::ContainerId;
use rustix::{
    fs::{AtFlags, CWD, FileType, StatxAttributes, StatxFlags, statx},
    io::Errno,
    mount::{UnmountFlags, unmount},
};

use crate::{Directories, Exit, Runtime, RuntimeError, cgroup, client::Connection, log, protocol::Request};

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
    // That is rare, and the host's table of mounts as long as it has containers.
    let mounted = holds_mount(&run).map_err(|source| RuntimeError::path("look for mounts in", &run, source))?;
    let points = if mounted { mounts_below(&run) } else { Ok(Vec::new()) };
    for point in points.map_err(|source| RuntimeError::path("list the mounts of", &run, source))? {
        gone(unmount(&point, UnmountFlags::DETACH).map_err(io::Error::from))
            .map_err(|source| RuntimeError::path("unmount", point, source))?;
    }
    gone(fs::remove_dir_all(&run)).map_err(|source| RuntimeError::path("remove", run, source))?;
    match keep {
        Keep::LogAndEnd => return Ok(()),
        Keep::Log => {}
        Keep::Nothing => {
            let path = directories.log_of(id);
            log::remove(&path).map_err(|source| RuntimeError::path("remove", path, source))?;
        }
    }
    let end = directories.exit_of(id);
    Exit::remove(&end).map_err(|source| RuntimeError::path("remove", end, source))?;
    let data = directories.data_of(id);
    match fs::remove_dir(&data) {
        // Others may keep something of the container there, too.
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        removed => gone(removed).map_err(|source| RuntimeError::path("remove", data, source)),
    }
}

/// Whether anything is mounted at `path` or below it, in the host's mount namespace. Nothing is followed or entered
/// that is mounted there. Where the kernel cannot tell (before Linux 5.8), something may be.
fn holds_mount(path: &Path) -> io::Result<bool> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    let seen = match statx(CWD, path, flags, StatxFlags::TYPE) {
        Err(Errno::NOENT) => return Ok(false),
        seen => seen?,
    };
    if !seen.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT)
        || seen.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)
    {
        return Ok(true);
    }
    if FileType::from_raw_mode(seen.stx_mode.into()) != FileType::Directory {
        return Ok(false);
    }
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        entries => entries?,
    };
    for entry in entries {
        if holds_mount(&entry?.path())? {
            return Ok(true);
        }
    }
    Ok(false)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_found_without_the_table_of_mounts() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let own = directory.path();
        fs::create_dir_all(own.join("a/b")).expect("it is ours");
        fs::write(own.join("a/b/file"), "").expect("it is ours");
        std::os::unix::fs::symlink("/proc", own.join("link")).expect("it is ours");
        for (path, holds) in
            [(own, false), (&own.join("link"), false), (&own.join("none"), false), (Path::new("/proc"), true)]
        {
            assert_eq!(holds_mount(path).expect("readable"), holds, "{}", path.display());
            assert_eq!(
                !mounts_below(path).expect("readable").is_empty(),
                holds,
                "as the table says: {}",
                path.display()
            );
        }
    }
}
