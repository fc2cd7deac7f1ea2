//! A container's root file system: directories stacked by overlayfs.

use std::{
    ffi::CString,
    fs::{self, Permissions},
    io::{self, Read},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
    path::{Path, PathBuf},
};

use pathrs::{Root, flags::OpenFlags};
use rustix::mount::MountFlags;

use crate::{ContainerSpec, Failure, FailureKind, system};

/// mount(2) takes one page of options, terminated by NUL.
const MAX_OPTIONS: usize = 4095;
/// The most that is read of a file in an image.
const MAX_FILE: u64 = 4 << 20;

/// Mounts the stack at `target`, which must exist, in this process's mount namespace.
///
/// The directories are named by descriptor: short, so that more than 200 layers fit into the page of options; without
/// characters that overlayfs would take for separators; and the container, which can read its own mount table, learns
/// nothing about the host from it.
pub(crate) fn mount(spec: &ContainerSpec, target: &Path) -> Result<(), Failure> {
    let mut open = Vec::new();
    let mut name = |path: &PathBuf| -> Result<String, Failure> {
        let directory: OwnedFd = system::open_directory(path)
            .map_err(Failure::at(format!("open the root file system's directory {}", path.display())))?;
        let name = format!("/proc/self/fd/{}", directory.as_raw_fd());
        open.push(directory);
        Ok(name)
    };
    let lower: Vec<String> = spec.lower.iter().map(&mut name).collect::<Result<_, _>>()?;
    // `index` may be on by default, and would refuse an upper directory that was mounted over other layers before.
    let (upper, work) = (name(&spec.upper)?, name(&spec.work)?);
    let mut options = format!("index=off,lowerdir={},upperdir={upper},workdir={work}", lower.join(":"));
    if spec.ephemeral {
        // Otherwise the unmount waits until everything that anybody wrote to that file system is on the disk.
        options.push_str(",volatile");
    }
    let step = "mount the root file system";
    if options.len() > MAX_OPTIONS {
        let cause = format!("{} layers are more than one mount takes", spec.lower.len());
        return Err(Failure::message(FailureKind::Other, step, cause));
    }
    let options = CString::new(options).expect("made of numbers and fixed text");
    rustix::mount::mount("overlay", target, "overlay", MountFlags::empty(), options.as_c_str())
        .map_err(Failure::at(step))
}

/// Makes a directory inside a root, however its path is made of links, which cannot lead out.
pub(crate) fn make_directory(root: &Root, path: &Path) -> io::Result<()> {
    match root.mkdir_all(path, &Permissions::from_mode(0o755)) {
        Ok(_) => Ok(()),
        // A path that exists by way of links is not made by mkdir_all.
        Err(error) => match root.resolve(path).map_err(io::Error::other)?.reopen(OpenFlags::O_PATH) {
            Ok(file) if file.metadata()?.is_dir() => Ok(()),
            Ok(_) => Err(io::Error::other("the image has something else than a directory there")),
            _ => Err(io::Error::other(error)),
        },
    }
}

/// Refuses a link where a file system of the container's own is to be mounted. libcontainer follows one at `/dev` from
/// the host: what it mounts is inside, but the links that it makes there and the `ptmx` that it removes would be the
/// host's.
pub(crate) fn refuse_link(root: &Root, path: &Path) -> io::Result<()> {
    match root.readlink(path) {
        Ok(target) => Err(io::Error::other(format!("the image has a link to {} there", target.display()))),
        Err(_) => Ok(()),
    }
}

/// Makes sure that a file can be mounted at `path`, which libcontainer refuses where an image has a link to nowhere,
/// such as `/etc/resolv.conf` to what systemd would have made. The mount hides the link anyway.
pub(crate) fn replace_dangling_link(root: &Root, path: &Path) -> io::Result<()> {
    let dangling = root.resolve(path).is_err() && root.readlink(path).is_ok();
    if dangling { root.remove_file(path).map_err(io::Error::other) } else { Ok(()) }
}

/// Where something that is to be mounted at `path` inside appears: where the links of the image lead, which is inside,
/// and `path` itself as far as it does not exist. `mounted_at` is where the root is mounted.
pub(crate) fn destination(root: &Root, mounted_at: &Path, path: &Path) -> io::Result<PathBuf> {
    replace_dangling_link(root, path)?;
    let Ok(existing) = root.resolve(path) else { return Ok(path.to_owned()) };
    let existing: OwnedFd = existing.into();
    let found = fs::read_link(format!("/proc/self/fd/{}", existing.as_raw_fd()))?;
    let inside = Path::new("/").join(found.strip_prefix(mounted_at).map_err(io::Error::other)?);
    match model::why_not_at(&inside) {
        Some(reason) => Err(io::Error::other(format!("the image has it lead to {}: {reason}", inside.display()))),
        None => Ok(inside),
    }
}

/// Refuses what was mounted where [nothing of anybody's can be](model::why_not_at): a link can lead there that came into
/// a directory of the host's after [`destination`] had looked. `table` is the container's `mountinfo`
/// (proc_pid_mountinfo(5)), `masked` are the paths at which the runtime itself mounts something else.
pub(crate) fn check_mounts(table: &str, masked: &[String]) -> io::Result<()> {
    let mut devices = 0;
    for line in table.lines() {
        let Some((mount, file_system)) = line.split_once(" - ") else { continue };
        let point = mount.split(' ').nth(4).unwrap_or_default();
        let kind = file_system.split(' ').next().unwrap_or_default();
        devices += usize::from(point == "/dev");
        let is_own = match Path::new(point) {
            _ if masked.iter().any(|masked| masked == point) => true,
            path if path.starts_with("/proc") => kind == "proc",
            path if path.starts_with("/sys") => matches!(kind, "sysfs" | "cgroup" | "cgroup2"),
            _ => devices <= 1,
        };
        if !is_own {
            return Err(io::Error::other(format!("a link that was put there meanwhile has it lead to {point}")));
        }
    }
    Ok(())
}

/// The text of a regular file inside a root; none if there is none. Links cannot lead out, and neither a device nor a
/// pipe in its place is opened.
pub(crate) fn read_text(root: &Root, path: &str) -> io::Result<Option<String>> {
    let Ok(file) = root.resolve(path) else {
        return Ok(None);
    };
    let kind = file.reopen(OpenFlags::O_PATH | OpenFlags::O_CLOEXEC).map_err(io::Error::other)?.metadata()?;
    if !kind.is_file() {
        return Ok(None);
    }
    let file: fs::File = file.reopen(OpenFlags::O_RDONLY | OpenFlags::O_CLOEXEC).map_err(io::Error::other)?;
    let mut octets = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut octets)?;
    Ok(Some(String::from_utf8_lossy(&octets).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_in_the_place_of_the_containers_own_are_refused() {
        let own = "1 0 0:5 / / rw - overlay overlay rw
            2 1 0:6 / /proc rw - proc proc rw
            3 2 0:6 /sys /proc/sys ro - proc proc rw
            4 2 0:7 /null /proc/kcore rw - tmpfs tmpfs rw
            5 1 0:7 / /dev rw - tmpfs tmpfs rw
            6 5 8:1 /srv /dev/shm rw - ext4 /dev/vda rw
            7 1 0:8 / /sys ro - sysfs sysfs ro
            8 7 0:9 / /sys/fs/cgroup ro - cgroup2 cgroup ro
            9 1 8:1 /srv /process rw - ext4 /dev/vda rw";
        let check = |table: &str| {
            let lines: Vec<&str> = table.lines().map(str::trim).collect();
            check_mounts(&lines.join("\n"), &["/proc/kcore".to_owned()]).map_err(|error| error.to_string())
        };
        assert_eq!(check(own), Ok(()));
        for point in ["/proc", "/proc/sys", "/proc/keys", "/sys", "/sys/fs/cgroup", "/sys/kernel", "/dev"] {
            let error =
                check(&format!("{own}\n10 3 8:1 /srv {point} rw master:1 - ext4 /dev/vda rw")).expect_err(point);
            assert!(error.ends_with(&format!("lead to {point}")), "{error}");
        }
    }
}
