//! Being in a container's cgroups while its first process is made, in the legacy layout.
//!
//! To write a process's number into `cgroup.procs` takes a lock for which the kernel waits 10 to 20 ms, an RCU grace
//! period (`cgroup_threadgroup_rwsem`). A thread that moves itself, by a 0 in `tasks`, waits for nothing
//! (`cgroup_procs_write_start` in `kernel/cgroup/cgroup.c`), and what it forks is born where it is then. So the shim,
//! which has one thread, goes into the cgroups itself, and leaves them when the container's first process is born.
//!
//! Meanwhile its mount namespace shows no hierarchy: libcontainer would move its processes to where they are already,
//! and wait for that.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::fd::OwnedFd,
    path::Path,
};

use rustix::{
    fs::CWD,
    mount::{MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, move_mount, open_tree, unmount},
};

use super::{ROOT, set};

/// This thread is in the container's cgroups.
pub(crate) struct Stay {
    /// `tasks` of the cgroups that it came from.
    homes: Vec<File>,
    hidden: Hidden,
}

/// The hierarchies are out of sight.
pub(crate) struct Hidden(OwnedFd);

impl Stay {
    /// Enters the cgroups, which are made where they are missing, and hides the hierarchies; must be called in a mount
    /// namespace of the caller's own, by its only thread.
    ///
    /// # Errors
    /// When one cannot be entered; the caller is then where it was.
    pub(crate) fn begin(cgroup: &Path) -> io::Result<Self> {
        let mut homes = Vec::new();
        let begun = enter(cgroup, &mut homes).and_then(|()| Hidden::hide());
        match begun {
            Ok(hidden) => Ok(Self { homes, hidden }),
            Err(error) => {
                go_home(homes)?;
                Err(error)
            }
        }
    }

    /// Returns to where the thread came from. The hierarchies stay hidden.
    ///
    /// # Errors
    /// When it cannot leave: it would be killed together with the container.
    pub(crate) fn end(self) -> io::Result<Hidden> {
        go_home(self.homes)?;
        Ok(self.hidden)
    }
}

impl Hidden {
    fn hide() -> io::Result<Self> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::AT_RECURSIVE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let tree = open_tree(CWD, ROOT, flags)?;
        unmount(ROOT, UnmountFlags::DETACH)?;
        // libcontainer takes this for a legacy layout without controllers.
        mount("tmpfs", ROOT, "tmpfs", MountFlags::RDONLY, c"size=0")?;
        Ok(Self(tree))
    }

    /// Shows the hierarchies again, to programs that `exec` adds.
    pub(crate) fn show(self) -> io::Result<()> {
        unmount(ROOT, UnmountFlags::DETACH)?;
        Ok(move_mount(&self.0, "", CWD, ROOT, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
    }
}

/// Enters the cgroup in each hierarchy that has controllers; `homes` are those that it has left for it.
fn enter(cgroup: &Path, homes: &mut Vec<File>) -> io::Result<()> {
    let table = fs::read_to_string("/proc/self/cgroup")?;
    for (controllers, path) in memberships(&table) {
        // Where several share a hierarchy, each has a name of its own for it.
        let first = controllers.split(',').next().unwrap_or(controllers);
        let hierarchy = Path::new(ROOT).join(first);
        if !hierarchy.join("tasks").exists() {
            continue;
        }
        let directory = hierarchy.join(cgroup);
        fs::create_dir_all(&directory)?;
        if controllers.split(',').any(|controller| controller == "cpuset") {
            inherit_processors(&hierarchy, cgroup)?;
        }
        let home = File::options().write(true).open(hierarchy.join(path).join("tasks"))?;
        set(&directory, "tasks", "0")?;
        homes.push(home);
    }
    Ok(())
}

fn go_home(homes: Vec<File>) -> io::Result<()> {
    homes.into_iter().try_for_each(|mut home| home.write_all(b"0"))
}

/// The hierarchies with controllers and the paths in them, of a table as `/proc/PID/cgroup` has it (cgroups(7)).
fn memberships(table: &str) -> impl Iterator<Item = (&str, &str)> {
    table.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let counts = !controllers.is_empty() && !controllers.starts_with("name=");
        counts.then_some((controllers, path.strip_prefix('/')?))
    })
}

/// Gives a new cgroup the processors and the memory of its parent; without them nothing can enter it.
fn inherit_processors(hierarchy: &Path, cgroup: &Path) -> io::Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let mut directory = hierarchy.to_owned();
        let mut inherited = fs::read_to_string(directory.join(file))?;
        for component in cgroup.components() {
            directory.push(component);
            let own = fs::read_to_string(directory.join(file))?;
            if own.trim().is_empty() {
                set(&directory, file, inherited.trim())?;
            } else {
                inherited = own;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hierarchies_with_controllers_are_entered() {
        let table = "9:name=systemd:/user\n4:cpu,cpuacct:/a:b\n3:cpuset:/\n0::/unified\n";
        assert_eq!(memberships(table).collect::<Vec<_>>(), [("cpu,cpuacct", "a:b"), ("cpuset", "")]);
    }
}
