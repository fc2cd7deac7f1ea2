//! How a shim makes its container.

use std::{
    fs::{self, File},
    os::fd::RawFd,
    path::{Path, PathBuf},
};

use libcontainer::{container::builder::ContainerBuilder, syscall::syscall::SyscallType};
use model::Ulimit;
use pathrs::Root;
use rustix::{
    process::{Pid, PidfdFlags},
    thread::CapabilitySet,
};

use super::Newborn;
use crate::{
    Failure, FailureKind, capabilities,
    cgroup::{self, Hidden, Layout, Stay},
    diagnosis::Diagnosis,
    executor::{Launcher, Parentage, path_of},
    log::LogWriter,
    namespace, oci,
    oci::Surroundings,
    protocol::CreateRequest,
    rootfs,
    seccomp::Filter,
    streams::Streams,
    system, user,
};

/// libcontainer's own directory, in which it makes one for the container.
pub(super) fn state_directory(request: &CreateRequest) -> PathBuf {
    request.directories.run_of(&request.spec.id).join("state")
}

fn open_namespace(path: &Path) -> Result<File, Failure> {
    let opened = File::open(path).map_err(Failure::at(format!("open the network namespace {}", path.display())))?;
    namespace::check(&opened).map_err(Failure::at(format!("use {} as the network namespace", path.display())))?;
    Ok(opened)
}

/// Makes the container up to where its first process waits. `surplus` are descriptors it must not keep.
pub(super) fn make(request: &CreateRequest, filter: Filter, surplus: &[RawFd]) -> Result<Newborn, Failure> {
    let CreateRequest { spec, directories } = request;
    let run = directories.run_of(&spec.id);
    let words = run.join("shim.log");
    keep_last_words(&words)?;
    let log = LogWriter::open(&directories.log_of(&spec.id), spec.log).map_err(Failure::at("open its log"))?;

    // Opened before its mount is detached from this process's mount namespace.
    let network_namespace = spec.network_namespace.as_deref().map(open_namespace).transpose()?;
    namespace::enter_own_mounts(&directories.namespaces, &words).map_err(Failure::at("enter a mount namespace"))?;
    let root = run.join("rootfs");
    fs::create_dir(&root).map_err(Failure::at(format!("create {}", root.display())))?;
    rootfs::mount(spec, &root)?;

    let inside = Root::open(&root).map_err(|error| Failure::new("open the root file system", &error))?;
    let identity = user::resolve(&inside, spec.command.user.as_deref()).map_err(|error| Failure {
        kind: FailureKind::UnknownUser,
        ..Failure::new("find the user to run as", &error)
    })?;
    for own in ["/dev", "/proc", "/sys"].map(Path::new) {
        rootfs::refuse_link(&inside, own)
            // So that a link in a path that leads there is seen below.
            .and_then(|()| rootfs::make_directory(&inside, own))
            .map_err(Failure::at(format!("mount something at {}", own.display())))?;
    }
    let directory = &spec.command.working_directory;
    rootfs::make_directory(&inside, directory)
        .map_err(Failure::at(format!("make the working directory {}", directory.display())))?;
    let mut spec = spec.clone();
    for bind in &mut spec.confinement.binds {
        fs::metadata(&bind.source).map_err(Failure::at(format!("mount {}", bind.source.display())))?;
        bind.destination = rootfs::destination(&inside, &root, &bind.destination)
            .map_err(Failure::at(format!("mount something at {}", bind.destination.display())))?;
    }
    let spec = &spec;
    for bind in &spec.mounts {
        fs::metadata(&bind.source).map_err(Failure::at(format!("mount {}", bind.source.display())))?;
        rootfs::replace_dangling_link(&inside, &bind.destination)
            .map_err(Failure::at(format!("mount something at {}", bind.destination.display())))?;
    }
    drop(inside);

    let confinement = &spec.confinement;
    capabilities::check(confinement)?;
    check_ulimits(&confinement.ulimits)?;
    let added = capabilities::added(confinement);
    let filter = if added.is_empty() {
        filter
    } else {
        Filter::permitting(added).map_err(|error| Failure::new("compile the seccomp filter", &error))?
    };
    let layout = Layout::detect().map_err(Failure::at("find out the layout of cgroups"))?;
    let cgroup = directories.cgroup_of(&spec.id);
    cgroup::confine_devices(layout, &cgroup).map_err(Failure::at("confine it to its devices"))?;
    cgroup::limit(layout, &cgroup, confinement)?;
    let surroundings = Surroundings {
        layout,
        root,
        network_namespace: network_namespace.as_ref().map(path_of),
        cgroup,
        oom_score_adjustment: oom_score_adjustment(),
        thermal: thermal_directories(),
    };
    let specification = oci::specification(spec, &surroundings, &identity);
    let text = serde_json::to_vec(&specification).expect("a specification serialises");
    fs::write(run.join("config.json"), text).map_err(Failure::at("write its specification"))?;

    let (mut streams, ends) = Streams::pipes(spec.open_stdin, Some(log)).map_err(Failure::at("make its streams"))?;
    let diagnosis = Diagnosis::begin().map_err(Failure::at("prepare its program"))?;
    // Of a size that the first client tells.
    let terminal = spec.terminal.then_some(None);
    let parentage = if spec.init { Parentage::UnderInit } else { Parentage::Direct };
    let (launcher, launch) = Launcher::new(filter, capabilities::of(confinement), surplus, terminal, parentage)
        .map_err(Failure::at("prepare its program"))?;
    let step = "create it";
    // Where that is refused, libcontainer moves its processes, which takes longer.
    let stay = if layout == Layout::Legacy { Stay::begin(&directories.cgroup_of(&spec.id)).ok() } else { None };
    let container = ContainerBuilder::new(spec.id.to_string(), SyscallType::default())
        .with_root_path(state_directory(request))
        .map_err(|error| diagnosis.failure(step, &error))?
        .with_executor(launcher.clone())
        .with_stdin(ends.stdin)
        .with_stdout(ends.stdout)
        .with_stderr(ends.stderr)
        .as_init(&run)
        .with_systemd(false)
        .with_detach(true)
        .build()
        .map_err(|error| diagnosis.failure(step, &error))?;
    launcher.close();
    let hidden = stay.map(Stay::end).transpose().map_err(Failure::at("leave its cgroups"))?;
    hidden.map(Hidden::show).transpose().map_err(Failure::at("show the cgroups again"))?;
    cgroup::leave_daemon(layout, &directories.cgroup_parent);
    cgroup::limit_processes(layout, &directories.cgroup_of(&spec.id), confinement.processes)?;
    let pid = container.pid().and_then(|pid| Pid::from_raw(pid.as_raw()));
    let pid = pid.ok_or_else(|| Failure::message(FailureKind::Other, step, "it has no process"))?;
    let process = rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(Failure::at(step))?;
    if !confinement.binds.is_empty() || !confinement.tmpfs.is_empty() {
        let masked = specification.linux().as_ref().and_then(|linux| linux.masked_paths().as_deref());
        fs::read_to_string(format!("/proc/{}/mountinfo", pid.as_raw_nonzero()))
            .and_then(|table| rootfs::check_mounts(&table, masked.unwrap_or_default()))
            .map_err(Failure::at("mount what was asked for"))?;
    }
    if let Some(terminal) = launch.terminal().map_err(Failure::at("open its terminal"))? {
        streams.use_terminal(terminal).map_err(Failure::at("open its terminal"))?;
    }
    Ok(Newborn { pid, process, container, launch, streams, filter: launcher.filter() })
}

/// Makes a file this process's standard error, so that a panic leaves a trace.
fn keep_last_words(path: &Path) -> Result<(), Failure> {
    let step = "keep a record of its shim";
    let file = File::options().append(true).create(true).open(path).map_err(Failure::at(step))?;
    system::duplicate_to(&file, 2).map_err(Failure::at(step))
}

/// Refuses limits beyond what this process may grant, which libcontainer would not explain.
fn check_ulimits(ulimits: &[Ulimit]) -> Result<(), Failure> {
    let step = "set its resource limits";
    let own = rustix::thread::capabilities(None).map_err(Failure::at(step))?.permitted;
    if own.contains(CapabilitySet::SYS_RESOURCE) {
        return Ok(());
    }
    let text = fs::read_to_string("/proc/self/limits").map_err(Failure::at(step))?;
    for ulimit in ulimits {
        if let Some(most) = hard_limit(&text, ulimit.name()).filter(|most| ulimit.hard > *most) {
            let cause = format!("{ulimit}: netd itself may have {most} at most");
            return Err(Failure::message(FailureKind::Other, step, cause));
        }
    }
    Ok(())
}

/// The hard limit of that name in `/proc/PID/limits` (`proc_pid_limits(5)`), none if there is none.
fn hard_limit(table: &str, name: &str) -> Option<u64> {
    let title = match name {
        "as" => "Max address space",
        "core" => "Max core file size",
        "cpu" => "Max cpu time",
        "data" => "Max data size",
        "fsize" => "Max file size",
        "locks" => "Max file locks",
        "memlock" => "Max locked memory",
        "msgqueue" => "Max msgqueue size",
        "nice" => "Max nice priority",
        "nofile" => "Max open files",
        "nproc" => "Max processes",
        "rss" => "Max resident set",
        "rtprio" => "Max realtime priority",
        "rttime" => "Max realtime timeout",
        "sigpending" => "Max pending signals",
        _ => "Max stack size",
    };
    let line = table.lines().find_map(|line| line.strip_prefix(title))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// A service manager may protect the daemon from the kernel's out-of-memory killer; containers do not inherit that.
/// Otherwise nothing is set, for lowering the value needs CAP_SYS_RESOURCE.
fn oom_score_adjustment() -> Option<i32> {
    let current: i32 = fs::read_to_string("/proc/self/oom_score_adj").ok()?.trim().parse().ok()?;
    (current < 0).then_some(0)
}

/// libcontainer skips masked paths that do not exist, but only after it has looked each of them up.
fn thermal_directories() -> Vec<String> {
    let Ok(processors) = fs::read_dir("/sys/devices/system/cpu") else {
        return Vec::new();
    };
    processors
        .filter_map(Result::ok)
        .map(|processor| processor.path().join("thermal_throttle"))
        .filter(|directory| directory.is_dir())
        .filter_map(|directory| directory.into_os_string().into_string().ok())
        .collect()
}
