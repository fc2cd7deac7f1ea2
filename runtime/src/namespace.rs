//! The shim's own mount namespace.

use std::{
    fs::{self, File},
    io::{self, Read, Seek},
    path::Path,
};

use rustix::mount::{MountPropagationFlags, UnmountFlags};

use crate::system;

/// Leaves the host's mount namespace for a copy, in which mounts are the shim's alone and end with it.
///
/// What the host unmounts vanishes here, too, but not the other way round. Pinned namespaces are detached at once: they
/// are often mounted privately, and a copy would keep a network alive that the host has removed. Where `ip netns` has
/// mounted its directory over itself, a twin below is out of reach; but that one is shared, and goes when the host's
/// does.
///
/// An unmount waits for an RCU grace period (`namespace_unlock` in `fs/namespace.c`), and there are as many pins as
/// there are containers. So what is mounted on the directory `namespaces` goes in one piece, with all pins in it, and
/// the pins of others are first moved on top of `file`, of this process's own, to go with what that is mounted in.
pub(crate) fn enter_own_mounts(namespaces: &Path, file: &Path) -> io::Result<()> {
    system::unshare_mounts()?;
    rustix::mount::mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
    // Refused where nothing is mounted.
    let _ = rustix::mount::unmount(namespaces, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    detach(&pinned_namespaces(&table).collect::<Vec<_>>(), file)
}

/// Detaches mounts on files, all with one unmount if they can be moved on top of `file`.
fn detach(mount_points: &[String], file: &Path) -> io::Result<()> {
    let directory = file.parent().filter(|_| mount_points.len() > 1);
    if let Some(directory) = directory {
        rustix::mount::mount_bind(directory, directory)?;
    }
    for mount_point in mount_points {
        // One that cannot be moved, or has gone already, is nobody's harm.
        if directory.is_none() || rustix::mount::mount_move(mount_point, file).is_err() {
            let _ = rustix::mount::unmount(mount_point, UnmountFlags::DETACH);
        }
    }
    Ok(directory.map_or(Ok(()), |directory| rustix::mount::unmount(directory, UnmountFlags::DETACH))?)
}

/// Detaches every mount but the root's, in the mount namespace that [`enter_own_mounts`] made; `table` is this
/// process's `mountinfo`, opened, for `/proc` is among them.
pub(crate) fn leave_mounts(mut table: File) -> io::Result<()> {
    loop {
        let mut text = String::new();
        table.rewind()?;
        table.read_to_string(&mut text)?;
        let points = mounts_on_root(&text).ok_or_else(|| io::Error::other("the root's mounts are not its own"))?;
        if points.is_empty() {
            return Ok(());
        }
        // One that another covers is within reach when that one is gone.
        let detached =
            points.iter().filter(|point| rustix::mount::unmount(*point, UnmountFlags::DETACH).is_ok()).count();
        if detached == 0 {
            return Err(io::Error::other(format!("cannot detach {}", points.join(", "))));
        }
    }
}

/// The mount points directly on the root's mount in a `mountinfo` table; none if there is no such mount, or what is
/// unmounted there would be unmounted for others, too.
fn mounts_on_root(table: &str) -> Option<Vec<String>> {
    let mounts = || {
        table.lines().filter_map(|line| {
            let (mount, _) = line.split_once(" - ")?;
            Some(mount.split(' ').collect::<Vec<_>>()).filter(|fields| fields.len() >= 6)
        })
    };
    let root = mounts().rfind(|fields| fields[4] == "/")?;
    if root[6..].iter().any(|field| field.starts_with("shared:")) {
        return None;
    }
    let above = mounts().filter(|fields| fields[1] == root[0] && fields[4] != "/");
    Some(above.map(|fields| unescape(fields[4])).collect())
}

/// `statfs.f_type` of a namespace (`include/uapi/linux/magic.h`).
const NSFS_MAGIC: u64 = 0x6e73_6673;

/// Refuses what is not a namespace, which a file of its name often is while nothing is mounted on it.
pub(crate) fn check(namespace: &File) -> io::Result<()> {
    if rustix::fs::fstatfs(namespace)?.f_type as u64 == NSFS_MAGIC {
        Ok(())
    } else {
        Err(io::Error::other("it is not a namespace"))
    }
}

/// The mount points of `nsfs` in a `mountinfo` table (proc_pid_mountinfo(5)).
fn pinned_namespaces(table: &str) -> impl Iterator<Item = String> {
    table.lines().filter_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let point = mount.split(' ').nth(4)?;
        file_system.starts_with("nsfs ").then(|| unescape(point))
    })
}

/// Space, tab, line feed and backslash stand as a backslash and three octal digits.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (escape, character)| text.replace(escape, character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_of_others_are_detached_however_many_and_nothing_else_is() {
        let test = || {
            let parent = std::env::temp_dir().join(format!("fabric-pins-{}", std::process::id()));
            fs::create_dir(&parent).expect("nobody else's");
            system::unshare_mounts().expect("root may unshare");
            let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
            rustix::mount::mount_change("/", private).expect("these mounts are this thread's");
            for count in [0, 1, 2, 5] {
                let own = parent.join(format!("own {count}"));
                fs::create_dir(&own).expect("it is new");
                fs::write(own.join("file"), "text").expect("there is room");
                let bystander = parent.join(format!("bystander-{count}"));
                fs::create_dir(&bystander).expect("it is new");
                rustix::mount::mount_bind(&bystander, &bystander).expect("root may mount");
                for number in 0..count {
                    let pin = parent.join(format!("pin {number}"));
                    fs::write(&pin, "").expect("there is room");
                    rustix::mount::mount_bind("/proc/thread-self/ns/net", &pin).expect("root may mount");
                }
                let table = || fs::read_to_string("/proc/thread-self/mountinfo").expect("proc is mounted");
                let pins = || -> Vec<String> {
                    pinned_namespaces(&table()).filter(|pin| pin.contains("fabric-pins")).collect()
                };
                assert_eq!(pins().len(), count, "control");
                let others = || table().lines().filter(|line| !line.contains(" - nsfs ")).count();
                let before = others();
                detach(&pins(), &own.join("file")).expect("they can be");
                assert_eq!(pins(), Vec::<String>::new());
                assert_eq!(others(), before);
                assert_eq!(fs::read_to_string(own.join("file")).expect("it is back"), "text");
                rustix::mount::unmount(&bystander, UnmountFlags::DETACH).expect("it is mounted still");
            }
            fs::remove_dir_all(&parent).expect("nothing is mounted there");
        };
        std::thread::spawn(test).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }

    #[test]
    fn only_pinned_namespaces_are_found() {
        let table = "\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
40 22 0:4 net:[4026532200] /run/a\\040b/netns/x rw shared:2 - nsfs nsfs rw
41 22 0:5 / /proc rw - proc proc rw
";
        assert_eq!(pinned_namespaces(table).collect::<Vec<_>>(), ["/run/a b/netns/x"]);
    }

    #[test]
    fn only_what_is_mounted_on_the_root_is_detached_and_nobody_else_s() {
        let table = "\
22 1 254:0 / / rw,relatime master:1 - ext4 /dev/root rw
41 22 0:5 / /proc rw master:4 - proc proc rw
42 41 0:6 / /proc/fs rw - proc proc rw
43 22 0:7 / /a\\040b rw - tmpfs tmpfs rw
";
        assert_eq!(mounts_on_root(table).expect("has a root"), ["/proc", "/a b"]);
        assert_eq!(mounts_on_root(&table.replace("master:1", "shared:1")), None);
        assert_eq!(mounts_on_root(""), None);
    }
}
