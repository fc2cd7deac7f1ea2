//! Network namespaces: made, prepared, pinned to a file, entered, unpinned.
//!
//! A namespace lives as long as a process is in it or something is mounted from it. A file in the directory of
//! namespaces pins it by a bind mount; the file's name is the namespace's.

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use model::{Admin, Namespace, NamespaceName};
use netlink_sys::constants::NETLINK_ROUTE;
use rustix::{
    fs::{AtFlags, CWD, StatxAttributes, StatxFlags, fstatfs, statx},
    io::Errno,
    mount::{MountPropagationFlags, UnmountFlags, mount_bind, mount_change, unmount},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe},
};

use crate::{KernelError, link, netlink::Socket, sysctl};

/// `NSFS_MAGIC`, `include/uapi/linux/magic.h`: what `statfs` says of a file that pins a namespace.
const NSFS_MAGIC: u64 = 0x6e73_6673;
const CURRENT: &str = "/proc/thread-self/ns/net";

/// The directory of pinned namespaces.
#[derive(Debug, Clone)]
pub(crate) struct Namespaces {
    directory: PathBuf,
    /// Held while a namespace is pinned, so that none is mounted over another.
    pinning: Arc<Mutex<()>>,
}

/// A pinned namespace that a thread can enter.
pub(crate) struct Pinned {
    name: NamespaceName,
    file: File,
}

/// The namespace that the kernel thread belongs in.
pub(crate) struct Home(File);

impl Home {
    /// The namespace that the calling thread is in.
    pub(crate) fn current() -> Result<Self, KernelError> {
        let file =
            File::open(CURRENT).map_err(|source| KernelError::File { action: "open", path: CURRENT.into(), source })?;
        Ok(Self(file))
    }

    /// Runs `work` in another namespace and returns.
    pub(crate) fn visit<T>(&self, namespace: &Pinned, work: impl FnOnce() -> T) -> Result<T, KernelError> {
        enter(namespace)?;
        let result = work();
        // Going on in a container's namespace would change the container's network instead of the host's.
        move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("a thread with CAP_SYS_ADMIN may return to a namespace it holds open");
        Ok(result)
    }
}

impl Pinned {
    /// The namespace's descriptor.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn enter(namespace: &Pinned) -> Result<(), KernelError> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).map_err(|error| {
        KernelError::System { action: format!("enter namespace {}", namespace.name), source: error.into() }
    })
}

impl Namespaces {
    /// Uses `directory`, makes it if it is missing, and mounts it over itself unless that was done before.
    ///
    /// So whoever copies the host's mounts, as each container's shim does, gets rid of every pin in it by a single
    /// unmount instead of one for each, which makes the cost of a start grow with the number of containers. The mount
    /// is private: pins do not appear in the mount namespaces of other programs, where they would outlive their removal
    /// here.
    pub(crate) fn open(directory: &Path) -> Result<Self, KernelError> {
        let failed = |action| move |source| KernelError::File { action, path: directory.into(), source };
        fs::create_dir_all(directory).map_err(failed("create"))?;
        let examined = statx(CWD, directory, AtFlags::empty(), StatxFlags::empty());
        let examined = examined.map_err(|error| failed("examine")(error.into()))?;
        if !examined.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
            let mounted =
                mount_bind(directory, directory).and_then(|()| mount_change(directory, MountPropagationFlags::PRIVATE));
            mounted.map_err(|error| failed("mount over itself")(error.into()))?;
        }
        Ok(Self { directory: directory.into(), pinning: Arc::default() })
    }

    /// Unmounts the directory if nothing is pinned in it; otherwise the next [`Namespaces::open`] finds it mounted.
    pub(crate) fn close(&self) -> Result<(), KernelError> {
        match unmount(&self.directory, UnmountFlags::NOFOLLOW) {
            Ok(()) | Err(Errno::BUSY | Errno::INVAL) => Ok(()),
            Err(error) => {
                Err(KernelError::File { action: "unmount", path: self.directory.clone(), source: error.into() })
            }
        }
    }

    fn path(&self, name: &NamespaceName) -> PathBuf {
        self.directory.join(name.as_str())
    }

    /// The names of all files in the directory that could pin a namespace.
    pub(crate) fn names(&self) -> Result<Vec<NamespaceName>, KernelError> {
        let failed = |source| KernelError::File { action: "list", path: self.directory.clone(), source };
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            names.extend(name.to_str().and_then(|name| name.parse().ok()));
        }
        Ok(names)
    }

    /// The namespace of this name: none if there is no file, nothing inside if the file pins nothing.
    pub(crate) fn find(&self, name: &NamespaceName) -> Result<Option<Option<Pinned>>, KernelError> {
        let path = self.path(name);
        match File::open(&path) {
            Ok(file) => {
                let pins = fstatfs(&file)
                    .map_err(|error| KernelError::File { action: "examine", path, source: error.into() })?
                    .f_type as u64
                    == NSFS_MAGIC;
                Ok(Some(pins.then(|| Pinned { name: name.clone(), file })))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(KernelError::File { action: "open", path, source }),
        }
    }

    /// The namespace of this name, which must be pinned.
    pub(crate) fn require(&self, name: &NamespaceName) -> Result<Pinned, KernelError> {
        let missing = || KernelError::Missing { object: format!("namespace {name}") };
        self.find(name)?.flatten().ok_or_else(missing)
    }

    /// Makes, prepares and pins a namespace, unless one is pinned; then it is only prepared.
    ///
    /// The work is done on a thread of its own, which ends in the new namespace: nothing can be left half entered.
    pub(crate) fn create(&self, name: &NamespaceName) -> Result<(), KernelError> {
        thread::scope(|scope| {
            let thread = thread::Builder::new().name("fabric-netns".into()).spawn_scoped(scope, || {
                if let Some(Some(pinned)) = self.find(name)? {
                    enter(&pinned)?;
                    return prepare();
                }
                // SAFETY: the new namespace is this thread's alone, and the thread runs nothing but the lines below.
                // CLONE_NEWNET leaves memory, descriptors and the file system shared.
                #[expect(unsafe_code, reason = "unshare affects the whole thread")]
                let unshared = unsafe { unshare_unsafe(UnshareFlags::NEWNET) };
                unshared.map_err(|error| KernelError::System {
                    action: format!("make namespace {name}"),
                    source: error.into(),
                })?;
                prepare()?;
                self.pin(name, Path::new(CURRENT))
            });
            let thread =
                thread.map_err(|source| KernelError::System { action: format!("make namespace {name}"), source })?;
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Whether a namespace of this name is pinned.
    pub(crate) fn is_pinned(&self, name: &NamespaceName) -> Result<bool, KernelError> {
        Ok(self.find(name)?.flatten().is_some())
    }

    /// Pins the namespace that a process is in, unless one is pinned under this name.
    pub(crate) fn adopt(&self, name: &NamespaceName, pid: i32) -> Result<(), KernelError> {
        let own = PathBuf::from(format!("/proc/{pid}/ns/net"));
        let inode = |path: &Path| {
            let examined = fs::metadata(path).map(|metadata| metadata.ino());
            examined.map_err(|source| KernelError::File { action: "examine", path: path.into(), source })
        };
        // The number of a process that has ended may be that of one of the host's by now.
        if inode(&own)? == inode(Path::new(CURRENT))? {
            return Err(KernelError::Missing { object: format!("process {pid} in namespace {name}") });
        }
        self.pin(name, &own)
    }

    /// Pins the namespace that `source` stands for.
    fn pin(&self, name: &NamespaceName, source: &Path) -> Result<(), KernelError> {
        // The lock guards no data that a panic could leave broken.
        let _guard = self.pinning.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Some(_)) = self.find(name)? {
            return Ok(());
        }
        let path = self.path(name);
        let failed = |source: io::Error| KernelError::File { action: "pin a namespace to", path: path.clone(), source };
        File::options().write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        mount_bind(source, &path).map_err(|error| failed(error.into()))
    }

    /// Unpins a namespace. Removing the file also removes copies of the mount in other mount namespaces
    /// (`detach_mounts` in `fs/namespace.c`).
    pub(crate) fn remove(&self, name: &NamespaceName) -> Result<(), KernelError> {
        let path = self.path(name);
        let failed =
            |source: io::Error| KernelError::File { action: "unpin the namespace of", path: path.clone(), source };
        loop {
            match unmount(&path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
                Ok(()) => {}
                Err(Errno::INVAL | Errno::NOENT) => break,
                Err(error) => return Err(failed(error.into())),
            }
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        }
    }
}

/// Brings the namespace that the thread is in to [`Namespace::Ready`].
pub(crate) fn prepare() -> Result<(), KernelError> {
    sysctl::make_container_ready()?;
    link::raise_loopback(&mut Socket::open(NETLINK_ROUTE)?)
}

/// How far the namespace that the thread is in has been prepared; `socket` is of that namespace.
pub(crate) fn readiness(socket: &mut Socket) -> Result<Namespace, KernelError> {
    match readiness_told_by_loopback(socket)? {
        Namespace::Ready if !sysctl::is_container_ready()? => Ok(Namespace::Unprepared),
        told => Ok(told),
    }
}

/// The same without a look at the settings, which takes the longer the more namespaces there are (see
/// `kernel/src/link/spec.rs`): that the loopback interface is up is the last of what [`prepare`] does.
pub(crate) fn readiness_told_by_loopback(socket: &mut Socket) -> Result<Namespace, KernelError> {
    let loopback = "lo".parse().expect("two letters name an interface");
    let up = link::find(socket, &loopback)?.is_some_and(|link| link.admin == Admin::Up);
    Ok(if up { Namespace::Ready } else { Namespace::Unprepared })
}
