//! What is left of a host when nothing should be.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::mount::{UnmountFlags, unmount};

use crate::{Namespace, processes};

/// Mount points below `directory`, the innermost first.
pub(crate) fn mounts(directory: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("proc is mounted");
    // The fifth field is the mount point, its white space escaped in octal, which the rig's directories have none of.
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    let mut points: Vec<PathBuf> = points.filter(|point| point.starts_with(directory)).collect();
    points.reverse();
    points
}

/// The name of the control group around that of the container `id`, whose first process is `pid`.
pub(crate) fn cgroup_parent(pid: i64, id: &str) -> Option<String> {
    let table = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let own = table.lines().filter_map(|line| line.split(':').nth(2)).find(|path| path.contains(id))?;
    let parent = Path::new(own).parent()?.file_name()?;
    parent.to_str().filter(|name| !name.is_empty()).map(str::to_owned)
}

/// Control groups whose names hold one of `ids`, in every hierarchy, the innermost first.
pub(crate) fn cgroups(ids: &[String]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(Path::new("/sys/fs/cgroup"), &mut |path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if ids.iter().any(|id| name.contains(id)) {
            found.push(path.to_path_buf());
        }
    });
    found
}

fn collect(directory: &Path, visit: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(directory).into_iter().flatten().map_while(Result::ok) {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), visit);
            visit(&entry.path());
        }
    }
}

/// The group of Fabric's interfaces, as `ip` shows it: "fabr".
const GROUP: u32 = 0x6661_6272;

/// Fabric's links in the host's namespace.
pub(crate) fn links(host: &Namespace) -> Vec<String> {
    let links = host.run(&["ip", "-o", "link", "show"]);
    // Those for VLANs have other names.
    let ours = links
        .lines()
        .filter(|line| line.contains(": fb-") || line.contains(": fe-") || line.contains(&format!(" group {GROUP} ")));
    ours.filter_map(|line| line.split(": ").nth(1)).map(str::to_owned).collect()
}

/// Whether a line of `ip -o link` shows what waits for an endpoint: the host's end of a veth pair, down and in no
/// bridge. That of an endpoint that is gone stays in its bridge until it is removed.
pub(crate) fn is_spare(link: &str) -> bool {
    link.contains(": fe-") && !link.contains(",UP") && !link.contains(" master ")
}

/// The names of what [`is_spare`].
pub(crate) fn spares(host: &Namespace) -> Vec<String> {
    let links = host.run(&["ip", "-o", "link", "show"]);
    let names =
        links.lines().filter(|line| is_spare(line)).filter_map(|line| line.split(": ").nth(1)?.split('@').next());
    names.map(str::to_owned).collect()
}

/// One line for each thing that should not be there, and is.
pub(crate) fn survey(directory: &Path, host: &Namespace, pinned: &[PathBuf], ids: &[String]) -> Vec<String> {
    let mut left = Vec::new();
    let mounts = mounts(directory);
    let own = mounts.iter().filter(|point| !pinned.contains(point));
    left.extend(own.map(|point| format!("mount {}", point.display())));
    for process in processes::belonging_to(directory, &[host]) {
        left.push(format!("process {} `{}`, by {}", process.pid, process.command_line, process.because));
    }
    left.extend(cgroups(ids).iter().map(|path| format!("control group {}", path.display())));
    left.extend(links(host).iter().map(|name| format!("link {name}")));
    left.extend(rules(host));
    left
}

/// What is left in nftables: foreign tables, and elements of Fabric's.
///
/// The tables themselves and their rules never change and stay (`docs/adr/0004-constant-rules.md`), with two sets that
/// belong to them and not to any network: what the rules were made from, and which forwarding `netd` had to switch on.
fn rules(host: &Namespace) -> Vec<String> {
    let tables = host.run(&["nft", "list", "tables"]);
    let foreign = tables
        .lines()
        .filter(|table| !["table inet fabric", "table bridge fabric"].contains(table))
        .map(|table| format!("nft {table}"));
    let mut left: Vec<String> = foreign.collect();
    let mut set = "";
    let ruleset = host.run(&["nft", "list", "ruleset"]);
    for line in ruleset.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("set ").or_else(|| line.strip_prefix("map ")) {
            set = name.trim_end_matches(" {");
        }
        // Connections are counted for as long as the kernel remembers them.
        if line.starts_with("elements") && !["marker", "guarded", "connections", "connections6"].contains(&set) {
            left.push(format!("nft set {set}: {line}"));
        }
    }
    left
}

/// Whether `pool` pinned namespaces wait for a container, which nobody lives in, half of them with a veth pair.
pub(crate) fn is_pool_full(host: &Namespace, run: &Path, pool: usize) -> bool {
    let inode = |path: &Path| fs::metadata(path).ok().map(|file| file.ino());
    let processes = fs::read_dir("/proc").expect("proc is mounted").map_while(Result::ok);
    let used: BTreeSet<u64> = processes.filter_map(|process| inode(&process.path().join("ns/net"))).collect();
    let pins = mounts(&run.join("netns")).into_iter().filter(|point| *point != run.join("netns"));
    let idle = pins.filter_map(|point| inode(&point)).filter(|inode| !used.contains(inode)).count();
    idle == pool && spares(host).len() == pool.div_ceil(2)
}

/// How many mounts, processes and control groups a host has, by kind; names of no two containers are equal, counts are.
pub(crate) fn holdings(directory: &Path, host: &Namespace, run: &Path, ids: &[String]) -> Vec<String> {
    let (namespaces, others): (Vec<_>, Vec<_>) =
        mounts(directory).into_iter().partition(|point| point.parent() == Some(&run.join("netns")));
    let entries = |path: PathBuf| fs::read_dir(path).map_or(0, Iterator::count);
    vec![
        format!("{} pinned namespaces, {} files for them", namespaces.len(), entries(run.join("netns"))),
        format!("{} other mounts", others.len()),
        format!("{} veth pairs that wait", spares(host).len()),
        format!("{} processes", processes::belonging_to(directory, &[host]).len()),
        format!("{} control groups", cgroups(ids).len()),
        format!("{} run directories of containers", entries(run.join("containers"))),
    ]
}

/// Takes away by force what [`survey`] finds and lives outside the host's namespace, which takes the rest with it.
pub(crate) fn clear(directory: &Path, host: &Namespace, ids: &[String]) {
    // Twice: a shim that dies may leave its container behind for a moment.
    for _ in 0..2 {
        for process in processes::belonging_to(directory, &[host]) {
            process.kill();
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    for point in mounts(directory) {
        // What cannot be unmounted shows when the directory is removed.
        let _ = unmount(&point, UnmountFlags::DETACH);
    }
    for group in cgroups(ids) {
        let _ = fs::remove_dir(group);
    }
}
