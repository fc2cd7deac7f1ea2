//! The OCI runtime specification of a container: Docker's defaults, in one place.
//!
//! Pure. Decisions that are not visible in the values:
//!
//! * "No new privileges" is off, as in Docker: `sudo`, `su` and `ping` of images work. What such a program can gain is
//!   bounded by the bounding set and the seccomp filter.
//! * The seccomp filter and the device rules are not in here, for libcontainer would not apply the one to `exec`, and
//!   knows the others for one cgroup layout only; see [`crate::executor`] and [`crate::device_filter`].
//! * No resource limits but those asked for: without CAP_SYS_RESOURCE a default could be above what the caller may
//!   grant.
//! * In the legacy cgroup layout no cgroup file system is mounted: libcontainer could only mount it writable.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use model::{Command, Confinement, Tmpfs, Ulimit};
use oci_spec::runtime::{
    Capabilities, Capability, LinuxBuilder, LinuxCapabilitiesBuilder, LinuxNamespaceBuilder, LinuxNamespaceType, Mount,
    PosixRlimit, PosixRlimitBuilder, PosixRlimitType, Process, RootBuilder, Spec, SpecBuilder, UserBuilder,
};

use crate::{BindMount, ContainerSpec, capabilities, cgroup::Layout, user::Identity};

/// What the specification needs to know beside the container itself.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    pub(crate) layout: Layout,
    /// Where the root file system is mounted.
    pub(crate) root: PathBuf,
    /// The network namespace, as the shim can reach it; none means its own.
    pub(crate) network_namespace: Option<PathBuf>,
    /// The cgroup relative to the root of each hierarchy.
    pub(crate) cgroup: PathBuf,
    /// What to set, if what would be inherited favours the container over the host's programs.
    pub(crate) oom_score_adjustment: Option<i32>,
    /// Directories of this machine's processors that tell other tenants' load by temperature.
    pub(crate) thermal: Vec<String>,
}

/// What `/proc` and `/sys` tell about the host, or let be changed in it, and a container must not see.
const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

const READ_ONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The specification of a container that runs its command as `identity`.
pub(crate) fn specification(container: &ContainerSpec, surroundings: &Surroundings, identity: &Identity) -> Spec {
    let confinement = &container.confinement;
    let mut process = process(&container.command, identity, confinement);
    process.set_oom_score_adj(surroundings.oom_score_adjustment);
    let mut linux = LinuxBuilder::default()
        .namespaces(
            [
                (LinuxNamespaceType::Pid, None),
                (LinuxNamespaceType::Ipc, None),
                (LinuxNamespaceType::Uts, None),
                (LinuxNamespaceType::Mount, None),
                (LinuxNamespaceType::Cgroup, None),
            ]
            .into_iter()
            .chain(surroundings.network_namespace.as_ref().map(|path| (LinuxNamespaceType::Network, Some(path))))
            .map(|(kind, path)| {
                let mut namespace =
                    LinuxNamespaceBuilder::default().typ(kind).build().expect("a kind is all a namespace needs");
                namespace.set_path(path.cloned());
                namespace
            })
            .collect::<Vec<_>>(),
        )
        .cgroups_path(Path::new("/").join(&surroundings.cgroup))
        .masked_paths(
            MASKED.iter().map(ToString::to_string).chain(surroundings.thermal.iter().cloned()).collect::<Vec<_>>(),
        )
        .readonly_paths(READ_ONLY.iter().map(ToString::to_string).collect::<Vec<_>>())
        .build()
        .expect("nothing is required");
    // Limits are set by [`crate::cgroup`].
    linux.set_resources(None);
    let parameters = confinement.sysctls.iter().map(|sysctl| (sysctl.name().to_owned(), sysctl.value().to_owned()));
    linux.set_sysctl(Some(parameters.collect()));
    let root = RootBuilder::default()
        .path(&surroundings.root)
        .readonly(confinement.read_only)
        .build()
        .expect("a path is all it needs");
    let mut spec = SpecBuilder::default()
        .version("1.2.0")
        .root(root)
        .process(process)
        .hostname(container.hostname.as_str())
        .mounts(mounts(surroundings.layout, &container.mounts, confinement))
        .linux(linux)
        .build()
        .expect("nothing else is required");
    spec.set_annotations(Some(HashMap::new()));
    spec
}

/// The process of a container's command, or of one that `exec` adds.
///
/// The capabilities include CAP_SYS_ADMIN, which [`crate::executor`] gives up after it has loaded the filter.
pub(crate) fn process(command: &Command, identity: &Identity, confinement: &Confinement) -> Process {
    let container: Capabilities = capabilities::specified(capabilities::of(confinement)).collect();
    let setup: Capabilities = container.iter().copied().chain([Capability::SysAdmin]).collect();
    let mut capabilities = LinuxCapabilitiesBuilder::default()
        .bounding(container)
        .effective(setup.clone())
        .permitted(setup)
        .build()
        .expect("nothing is required");
    // Files' capabilities could regain what is inheritable (CVE-2022-24769).
    capabilities.set_inheritable(Some(Capabilities::new())).set_ambient(Some(Capabilities::new()));
    // The own group is listed, too: a process could otherwise drop it, and pass where the group is denied access
    // (CVE-2022-36109). And with an empty list libcontainer would leave the daemon's groups.
    let groups: Vec<u32> =
        [identity.gid].into_iter().chain(identity.groups.iter().copied().filter(|gid| *gid != identity.gid)).collect();
    let user = UserBuilder::default()
        .uid(identity.uid)
        .gid(identity.gid)
        .additional_gids(groups)
        .umask(0o022_u32)
        .build()
        .expect("nothing else is required");
    let mut environment: Vec<String> = command.environment.iter().map(ToString::to_string).collect();
    if !command.environment.iter().any(|variable| variable.name() == "HOME") {
        environment.push(format!("HOME={}", identity.home));
    }
    let mut process = Process::default();
    process
        .set_terminal(Some(false))
        .set_user(user)
        .set_args(Some(command.arguments.clone()))
        .set_env(Some(environment))
        .set_cwd(command.working_directory.clone())
        .set_capabilities(Some(capabilities))
        .set_rlimits(Some(confinement.ulimits.iter().map(ulimit).collect()))
        .set_no_new_privileges(None)
        .set_oom_score_adj(None);
    process
}

fn ulimit(limit: &Ulimit) -> PosixRlimit {
    let kind = format!("\"RLIMIT_{}\"", limit.name().to_ascii_uppercase());
    let kind: PosixRlimitType = serde_json::from_str(&kind).expect("the specification knows every resource");
    let limit = PosixRlimitBuilder::default().typ(kind).soft(limit.soft).hard(limit.hard);
    limit.build().expect("everything is given")
}

fn mounts(layout: Layout, binds: &[BindMount], confinement: &Confinement) -> Vec<Mount> {
    let mut mounts = vec![
        mount("/proc", "proc", "proc", "nosuid,noexec,nodev"),
        mount("/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
        mount("/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"),
        mount("/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"),
        mount("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"),
        mount("/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=65536k"),
    ];
    if layout == Layout::Unified {
        mounts.push(mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid,noexec,nodev,relatime,ro"));
    }
    let bind = |source: &PathBuf, destination: &PathBuf, read_only: bool| {
        // Also what is mounted below the source.
        let access = if read_only { "rro" } else { "rw" };
        let mut mount = mount("", "bind", "", &format!("rbind,rprivate,{access}"));
        mount.set_destination(destination.clone()).set_source(Some(source.clone()));
        mount
    };
    mounts.extend(binds.iter().map(|it| bind(&it.source, &it.destination, it.read_only)));
    let mut own: Vec<Mount> = confinement.tmpfs.iter().map(tmpfs).collect();
    own.extend(confinement.binds.iter().map(|it| bind(&it.source, &it.destination, it.read_only)));
    // What is mounted inside another mount comes after it.
    own.sort_by_key(|mount| mount.destination().components().count());
    mounts.extend(own);
    mounts
}

fn tmpfs(tmpfs: &Tmpfs) -> Mount {
    let mut options = format!("nosuid,nodev,mode={:o}", tmpfs.mode);
    options.push_str(if tmpfs.executable { ",exec" } else { ",noexec" });
    options.push_str(if tmpfs.read_only { ",ro" } else { ",rw" });
    if let Some(size) = tmpfs.size {
        options.push_str(&format!(",size={}", size.octets()));
    }
    let mut mount = mount("", "tmpfs", "tmpfs", &options);
    mount.set_destination(tmpfs.destination.clone());
    mount
}

fn mount(destination: &str, kind: &str, source: &str, options: &str) -> Mount {
    let mut mount = Mount::default();
    mount
        .set_destination(destination.into())
        .set_typ(Some(kind.to_owned()))
        .set_source(Some(source.into()))
        .set_options(Some(options.split(',').map(ToOwned::to_owned).collect()));
    mount
}

#[cfg(test)]
mod tests;
