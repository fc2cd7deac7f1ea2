//! The containers' cgroups: one per container below one parent, in each hierarchy, in either layout.
//!
//! In the legacy and hybrid layouts every directory of `/sys/fs/cgroup` is the root of a hierarchy; in the unified
//! layout it is itself the only one.

mod stay;

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use model::{Confinement, ProcessLimit};

use crate::{Failure, RuntimeError, device_filter, system};

pub(crate) use stay::{Hidden, Stay};

const ROOT: &str = "/sys/fs/cgroup";
/// `statfs.f_type` of a cgroup2 file system (`include/uapi/linux/magic.h`).
const CGROUP2_SUPER_MAGIC: u64 = 0x6367_7270;
/// The shims' cgroup, beside those of the containers.
const SHIMS: &str = "shims";
/// How long killed processes may take to leave: a process in an uninterruptible system call is not gone at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// How the machine's cgroups are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One hierarchy per controller, with or without an additional empty unified one.
    Legacy,
    /// One hierarchy for all.
    Unified,
}

impl Layout {
    /// The layout that this process sees.
    pub(crate) fn detect() -> io::Result<Self> {
        let kind = rustix::fs::statfs(ROOT)?.f_type;
        Ok(if kind as u64 == CGROUP2_SUPER_MAGIC { Self::Unified } else { Self::Legacy })
    }
}

/// Tells the kernel that a process is about to be moved between cgroups of the unified hierarchy.
///
/// The first move after a pause waits for an RCU grace period (`cgroup_threadgroup_rwsem`), 10 to 20 ms in which
/// nothing happens; those soon after do not. So this process is moved to where it is already, while other things are
/// done.
pub(crate) fn expect_move() {
    let Ok(table) = fs::read_to_string("/proc/self/cgroup") else {
        return;
    };
    if let Some((_, own)) = table.lines().find_map(|line| line.split_once("0::/")) {
        // Refused or not: the lock has been taken.
        let _ = set(&Path::new(ROOT).join(own), "cgroup.procs", "0");
    }
}

/// Moves this process, a shim, out of the daemon's cgroup, in the unified layout. There a service manager counts the
/// shim among the daemon's processes, and ends it with them when it is told to kill the whole service.
///
/// It waits for nothing soon after another move ([`expect_move`]).
pub(crate) fn leave_daemon(layout: Layout, parent: &str) {
    if layout == Layout::Unified {
        let directory = Path::new(ROOT).join(parent).join(SHIMS);
        // Where that is refused it stays.
        let _ = fs::create_dir_all(&directory).and_then(|()| set(&directory, "cgroup.procs", "0"));
    }
}

/// Makes the cgroup in the hierarchy that decides about devices, and confines it to Docker's default devices.
/// libcontainer then finds it, and makes the rest. Without this CAP_MKNOD would open every disk of the host.
pub(crate) fn confine_devices(layout: Layout, cgroup: &Path) -> io::Result<()> {
    match layout {
        Layout::Legacy => {
            let directory = Path::new(ROOT).join("devices").join(cgroup);
            fs::create_dir_all(&directory)?;
            set(&directory, "devices.deny", "a")?;
            device_filter::RULES.iter().try_for_each(|rule| set(&directory, "devices.allow", &rule.to_string()))
        }
        Layout::Unified => {
            let directory = Path::new(ROOT).join(cgroup);
            let parent = directory.parent().expect("a cgroup has a parent");
            fs::create_dir_all(parent)?;
            enable_controllers(parent);
            fs::create_dir_all(&directory)?;
            device_filter::attach(&directory)
        }
    }
}

/// The period in which a share of processors counts, in microseconds; the kernel's default.
const PERIOD: u64 = 100_000;

/// Sets the limits of the container but [that of its processes](limit_processes), in the hierarchies of their
/// controllers, where libcontainer then finds its cgroups.
pub(crate) fn limit(layout: Layout, cgroup: &Path, confinement: &Confinement) -> Result<(), Failure> {
    let apply = |controller: &str, settings: &[Setting<'_>]| apply(layout, cgroup, controller, settings);
    if let Some(memory) = confinement.memory {
        let octets = memory.octets().to_string();
        let settings = [("memory.limit_in_bytes", "memory.max", octets.clone())];
        apply("memory", &settings).map_err(Failure::at(format!("limit its memory to {memory}")))?;
        // Without swap beyond it; not every kernel counts that.
        let swap = if layout == Layout::Legacy { octets } else { "0".to_owned() };
        let _ = apply("memory", &[("memory.memsw.limit_in_bytes", "memory.swap.max", swap)]);
    }
    if let Some(processors) = confinement.processors {
        let quota = u64::from(processors.thousandths()) * PERIOD / 1000;
        let step = format!("limit it to {processors} processors");
        let settings = [(
            "cpu.cfs_quota_us",
            "cpu.max",
            match layout {
                Layout::Legacy => quota.to_string(),
                Layout::Unified => format!("{quota} {PERIOD}"),
            },
        )];
        apply("cpu", &settings).map_err(Failure::at(step))?;
    }
    Ok(())
}

/// Whether the kernel has killed one of the container's processes because its memory was used up.
pub(crate) fn was_out_of_memory(cgroup: &Path) -> bool {
    // In both layouts with a line `oom_kill COUNT`.
    let path = match Layout::detect() {
        Ok(Layout::Unified) => Path::new(ROOT).join(cgroup).join("memory.events"),
        Ok(Layout::Legacy) => Path::new(ROOT).join("memory").join(cgroup).join("memory.oom_control"),
        Err(_) => return false,
    };
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| line.strip_prefix("oom_kill ")).any(|count| count.trim() != "0")
}

/// Limits the number of the container's processes, once those that make it have left its cgroup.
pub(crate) fn limit_processes(layout: Layout, cgroup: &Path, processes: ProcessLimit) -> Result<(), Failure> {
    let default = ProcessLimit::default();
    if let ProcessLimit::AtMost(number) = processes {
        let limited = apply(layout, cgroup, "pids", &[("pids.max", "pids.max", number.to_string())]);
        // Nobody asked for the default, so a host that cannot count processes need not.
        if processes != default {
            limited.map_err(Failure::at(format!("limit it to {processes} processes")))?;
        }
    }
    Ok(())
}

/// A file's name in the legacy layout and in the unified one, and what to write into it.
type Setting<'a> = (&'a str, &'a str, String);

fn apply(layout: Layout, cgroup: &Path, controller: &str, settings: &[Setting<'_>]) -> io::Result<()> {
    let root = Path::new(ROOT);
    if layout == Layout::Legacy && !root.join(controller).join("cgroup.procs").exists() {
        return Err(io::Error::other(format!("this host has no cgroup controller `{controller}`")));
    }
    let directory = match layout {
        Layout::Unified => root.join(cgroup),
        Layout::Legacy => root.join(controller).join(cgroup),
    };
    fs::create_dir_all(&directory)?;
    for (legacy, unified, value) in settings {
        let file = if layout == Layout::Legacy { legacy } else { unified };
        set(&directory, file, value).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => io::Error::other(format!("this host does not offer {file} to containers")),
            _ => error,
        })?;
    }
    Ok(())
}

/// Writes one of a cgroup's files. It must exist: where a controller is not mounted there is a plain directory, in
/// which a file that is made would confine nothing.
fn set(directory: &Path, file: &str, value: &str) -> io::Result<()> {
    let mut file = fs::File::options().write(true).open(directory.join(file))?;
    io::Write::write_all(&mut file, value.as_bytes())
}

/// Gives the children of `parent` the controllers that it has. What the machine did not give the parent stays so.
fn enable_controllers(parent: &Path) {
    let controllers = fs::read_to_string(parent.join("cgroup.controllers")).unwrap_or_default();
    for controller in controllers.split_whitespace() {
        // One at a time: a controller that cannot be enabled must not keep the others from it.
        let _ = set(parent, "cgroup.subtree_control", &format!("+{controller}"));
    }
}

/// Kills whatever is in the cgroup or below, without waiting for it to be gone.
pub(crate) fn kill(cgroup: &Path) -> Result<(), RuntimeError> {
    hierarchies()?.iter().for_each(|hierarchy| kill_tree(&hierarchy.join(cgroup)));
    Ok(())
}

/// Kills whatever is in the cgroup or below and removes it, in every hierarchy.
pub(crate) fn remove(cgroup: &Path) -> Result<(), RuntimeError> {
    for hierarchy in hierarchies()? {
        let directory = hierarchy.join(cgroup);
        remove_directory(&directory).map_err(|source| RuntimeError::path("remove", directory, source))?;
    }
    Ok(())
}

/// Where the cgroup is, or would be, in each hierarchy.
pub(crate) fn directories(cgroup: &Path) -> Result<Vec<PathBuf>, RuntimeError> {
    Ok(hierarchies()?.iter().map(|hierarchy| hierarchy.join(cgroup)).collect())
}

/// The names of all cgroups directly below the parent, in any hierarchy.
pub(crate) fn names(parent: &str) -> Result<BTreeSet<String>, RuntimeError> {
    let found = directories(Path::new(parent))?.into_iter().flat_map(|directory| children(&directory));
    Ok(found.filter_map(|child| Some(child.file_name()?.to_str()?.to_owned())).collect())
}

/// Removes the parent in every hierarchy where nothing is in it.
pub(crate) fn remove_parent(parent: &str) -> Result<(), RuntimeError> {
    let parents = hierarchies()?.into_iter().map(|hierarchy| hierarchy.join(parent));
    for directory in parents.flat_map(|parent| [parent.join(SHIMS), parent]) {
        match fs::remove_dir(&directory) {
            Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ResourceBusy) => {
                return Err(RuntimeError::path("remove", directory, error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The processes in the cgroup and below.
pub(crate) fn processes(cgroup: &Path) -> Result<Vec<i32>, RuntimeError> {
    let failed = |source| RuntimeError::path("read", ROOT, source);
    let hierarchy = match Layout::detect().map_err(failed)? {
        Layout::Unified => PathBuf::from(ROOT),
        Layout::Legacy => Path::new(ROOT).join("devices"),
    };
    let mut found = Vec::new();
    collect(&hierarchy.join(cgroup), &mut found);
    Ok(found)
}

fn collect(directory: &Path, found: &mut Vec<i32>) {
    let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
    children(directory).iter().for_each(|child| collect(child, found));
}

fn hierarchies() -> Result<Vec<PathBuf>, RuntimeError> {
    let failed = |source| RuntimeError::path("list", ROOT, source);
    match Layout::detect().map_err(failed)? {
        Layout::Unified => Ok(vec![ROOT.into()]),
        Layout::Legacy => {
            let entries = fs::read_dir(ROOT).map_err(failed)?;
            // Links are second names of hierarchies with several controllers (`cpu` of `cpu,cpuacct`).
            Ok(entries
                .filter_map(Result::ok)
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path())
                .collect())
        }
    }
}

fn remove_directory(directory: &Path) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_micros(200);
    loop {
        match remove_tree(directory) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline => {
                kill_tree(directory);
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(20));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            result => return result,
        }
    }
}

/// Removes a cgroup and those the container made below it, deepest first.
fn remove_tree(directory: &Path) -> io::Result<()> {
    match fs::remove_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
            let children = children(directory);
            if children.is_empty() {
                return Err(error);
            }
            children.iter().try_for_each(|child| remove_tree(child))?;
            fs::remove_dir(directory)
        }
        result => result,
    }
}

fn kill_tree(directory: &Path) {
    // Linux 5.14, unified hierarchy only; it includes what is below, and cannot be outrun by forking.
    if set(directory, "cgroup.kill", "1").is_ok() {
        return;
    }
    children(directory).iter().for_each(|child| kill_tree(child));
    let processes = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    processes.lines().filter_map(|line| line.parse().ok()).for_each(system::kill_by_number);
}

fn children(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}
