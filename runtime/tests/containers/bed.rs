//! What a case runs in, and how a client talks to a container.

use std::{
    fs,
    io::{Read, Write},
    os::{
        fd::OwnedFd,
        unix::{fs::PermissionsExt, net::UnixStream},
    },
    path::{Path, PathBuf},
    process::Command as Process,
    sync::atomic::{AtomicU8, Ordering},
    time::{Duration, Instant},
};

use model::{Command, Confinement, ContainerId, Frame, FrameDecoder, Stream};
use runtime::{BindMount, ContainerSpec, Directories, ExecStreams, Exit, Runtime};

/// How long what has to happen may take: a machine that stands still for seconds changes nothing about it.
pub(crate) const ENOUGH: Duration = Duration::from_secs(60);

/// One test.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Whether it sees nothing but a unified cgroup hierarchy.
    pub(crate) unified: bool,
    pub(crate) run: fn(&Bed),
}

/// A case in the machine's own cgroup layout, whose body is an async function.
macro_rules! case {
    ($name:ident) => {
        crate::bed::Case { name: stringify!($name), unified: false, run: |bed| crate::bed::Bed::block_on($name(bed)) }
    };
    ($name:ident, unified) => {
        crate::bed::Case {
            name: concat!(stringify!($name), "_unified"),
            unified: true,
            run: |bed| crate::bed::Bed::block_on($name(bed)),
        }
    };
}
pub(crate) use case;

/// Directories, a network namespace, an image and a runtime of a case's own.
pub(crate) struct Bed {
    directory: tempfile::TempDir,
    pub(crate) runtime: Runtime,
    mounts_before: String,
    next: AtomicU8,
}

/// What a client saw of a process.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// None if the connection was closed without a last frame.
    pub(crate) last: Option<Frame>,
}

impl Seen {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

impl Bed {
    pub(crate) fn make() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let zygote = Runtime::spawn_zygote().expect("the zygote starts");
        // Longer than a socket's address may be.
        let base = directory.path().join("a-rather-long-directory-name".repeat(5));
        let directories = Directories {
            run: base.join("run"),
            data: base.join("data"),
            namespaces: directory.path().join("pins"),
            cgroup_parent: format!("fabric-test-{}", std::process::id()),
        };
        let bed = Self {
            directory,
            runtime: Runtime::new(zygote, directories),
            mounts_before: fs::read_to_string("/proc/self/mountinfo").expect("has a mount table"),
            next: AtomicU8::new(1),
        };
        bed.make_image();
        bed
    }

    pub(crate) fn block_on(future: impl Future<Output = ()>) {
        let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        tokio.expect("tokio starts").block_on(future);
    }

    /// The directory that holds everything of the case.
    pub(crate) fn base(&self) -> &Path {
        self.directory.path()
    }

    fn make_image(&self) {
        let root = self.image();
        for directory in ["bin", "etc", "proc", "sys", "dev", "tmp"] {
            fs::create_dir_all(root.join(directory)).expect("makes a directory");
        }
        fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static is installed");
        let applets = Process::new("/bin/busybox").arg("--list").output().expect("busybox runs").stdout;
        for applet in String::from_utf8_lossy(&applets).lines().filter(|applet| *applet != "busybox") {
            let _ = std::os::unix::fs::symlink("busybox", root.join("bin").join(applet));
        }
        fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nwww:x:33:34::/srv/www:/bin/sh\n")
            .expect("writes");
        fs::write(root.join("etc/group"), "root:x:0:\nwww:x:34:\nlog:x:40:www\n").expect("writes");
        fs::write(root.join("bin/data"), "no program").expect("writes");
        fs::set_permissions(root.join("bin/data"), fs::Permissions::from_mode(0o644)).expect("changes its mode");
    }

    pub(crate) fn image(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    /// A container that runs `arguments`, with directories and a network namespace of its own.
    pub(crate) fn container(&self, arguments: &[&str]) -> ContainerSpec {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let own = self.directory.path().join(format!("c{number}"));
        for directory in ["upper", "work"] {
            fs::create_dir_all(own.join(directory)).expect("makes a directory");
        }
        fs::write(own.join("hosts"), "127.0.0.1 localhost\n").expect("writes");
        ContainerSpec {
            id: ContainerId::from_bytes([number; 16]),
            hostname: "tester".parse().expect("a host name"),
            command: command(arguments),
            lower: vec![self.image()],
            upper: own.join("upper"),
            work: own.join("work"),
            ephemeral: false,
            network_namespace: Some(self.namespace()),
            mounts: vec![BindMount { source: own.join("hosts"), destination: "/etc/hosts".into(), read_only: true }],
            open_stdin: false,
            confinement: Confinement::default(),
            terminal: false,
            init: false,
            log: Default::default(),
        }
    }

    /// A pinned network namespace, made once.
    fn namespace(&self) -> PathBuf {
        let path = self.pin();
        if !path.exists() {
            fs::write(&path, "").expect("the directory is the case's own");
            // `ip netns add` would mount /run/netns and leave that behind.
            let status = Process::new("unshare").arg(format!("--net={}", path.display())).arg("true").status();
            assert!(status.expect("util-linux is installed").success(), "a network namespace needs root");
        }
        path
    }

    fn pin(&self) -> PathBuf {
        self.directory.path().join("netns")
    }

    /// Creates, attaches, starts, waits until the client has the last frame, deletes.
    pub(crate) async fn run(&self, spec: &ContainerSpec, input: &[u8]) -> Seen {
        self.runtime.create(spec).await.expect("creates");
        let client = self.attach(&spec.id, input).await;
        self.runtime.start(&spec.id).await.expect("starts");
        let seen = client.await.expect("the client does not panic");
        self.runtime.delete(&spec.id).await.expect("deletes");
        seen
    }

    /// A client that sends `input` and its end, and collects everything.
    pub(crate) async fn attach(&self, id: &ContainerId, input: &[u8]) -> tokio::task::JoinHandle<Seen> {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        self.runtime.attach(id, OwnedFd::from(theirs), Vec::new()).await.expect("attaches");
        converse(ours, input.to_vec())
    }

    /// Runs a program in a running container.
    pub(crate) async fn exec(&self, id: &ContainerId, command: &Command, input: &[u8]) -> Seen {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        self.runtime
            .exec(id, command, input_of(input), OwnedFd::from(theirs), Vec::new())
            .await
            .expect("hands over the client");
        converse(ours, input.to_vec()).await.expect("the client does not panic")
    }

    pub(crate) async fn start_in_background(&self, spec: &ContainerSpec) {
        self.runtime.create(spec).await.expect("creates");
        self.runtime.start(&spec.id).await.expect("starts");
    }

    pub(crate) async fn wait(&self, id: &ContainerId) -> Exit {
        tokio::time::timeout(ENOUGH, self.runtime.wait(id)).await.expect("ends in time").expect("waits")
    }

    /// Waits for the first line of the container's log.
    pub(crate) async fn wait_for_output(&self, id: &ContainerId) {
        let mut log = self.runtime.read_log(id);
        let written = async {
            while log.read().expect("reads").is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(ENOUGH, written).await.expect("writes in time");
    }

    /// What of the container, by its identifier, is visible on the host.
    pub(crate) fn traces(&self, id: &ContainerId) -> Vec<String> {
        let mut traces = Vec::new();
        let directories = self.runtime.directories();
        traces.extend(
            [directories.run_of(id), directories.log_of(id)].into_iter().filter(|path| path.exists()).map(text),
        );
        traces.extend(cgroups_named(id.as_str()).into_iter().map(text));
        traces.extend(processes_that_mention(id.as_str()));
        traces
    }

    /// Removes everything, and tells what the case left.
    pub(crate) fn strip(self) -> Vec<String> {
        let mut left = Vec::new();
        Self::block_on(async {
            for id in self.runtime.list().expect("lists") {
                left.push(format!("container {id}"));
                let _ = self.runtime.delete(&id).await;
            }
        });
        let parent = self.runtime.directories().cgroup_parent.clone();
        self.runtime.remove_cgroup_parent().expect("removes the parent");
        left.extend(cgroups_named(&parent).into_iter().map(text));
        // Not every case has made one.
        let _ = rustix::mount::unmount(self.pin(), rustix::mount::UnmountFlags::DETACH);
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("has a mount table");
        let new = |line: &&str| !self.mounts_before.contains(*line) && line.contains("a-rather-long");
        left.extend(mounts.lines().filter(new).map(ToOwned::to_owned));
        left
    }
}

fn text(path: PathBuf) -> String {
    path.display().to_string()
}

pub(crate) fn command(arguments: &[&str]) -> Command {
    Command {
        arguments: arguments.iter().map(ToString::to_string).collect(),
        environment: vec!["PATH=/bin".parse().expect("a variable")],
        working_directory: "/".into(),
        user: None,
    }
}

fn input_of(input: &[u8]) -> ExecStreams {
    ExecStreams::Pipes { stdin: !input.is_empty() }
}

pub(crate) fn shell(script: &str) -> Vec<&str> {
    vec!["sh", "-c", script]
}

/// Talks to a process until the connection ends.
pub(crate) fn converse(socket: UnixStream, input: Vec<u8>) -> tokio::task::JoinHandle<Seen> {
    let mut writer = socket.try_clone().expect("duplicates");
    std::thread::spawn(move || {
        for piece in input.chunks(60_000) {
            if writer.write_all(&Frame::Stdin(piece.to_vec()).encode()).is_err() {
                return;
            }
        }
        let _ = writer.write_all(&Frame::StdinEnd.encode());
    });
    tokio::task::spawn_blocking(move || listen(socket))
}

/// Collects what comes until the connection ends.
pub(crate) fn listen(mut socket: UnixStream) -> Seen {
    socket.set_read_timeout(Some(ENOUGH)).expect("sets a timeout");
    let mut decoder = FrameDecoder::default();
    let mut seen = Seen::default();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match socket.read(&mut buffer) {
            Ok(0) | Err(_) => return seen,
            Ok(read) => decoder.push(&buffer[..read]),
        }
        while let Some(frame) = decoder.next_frame().expect("frames") {
            match frame {
                Frame::Output(Stream::Stdout, octets) => seen.stdout.extend(octets),
                Frame::Output(Stream::Stderr, octets) => seen.stderr.extend(octets),
                last => seen.last = Some(last),
            }
        }
    }
}

/// Directories with this name in any cgroup hierarchy.
fn cgroups_named(name: &str) -> Vec<PathBuf> {
    let output =
        Process::new("find").args(["/sys/fs/cgroup", "-type", "d", "-name", name]).output().expect("find runs");
    String::from_utf8_lossy(&output.stdout).lines().map(PathBuf::from).collect()
}

/// Processes whose mounts mention this; a shim and a container's processes do. One that is ending does nothing any
/// more, and its descriptors, whose end is waited for, are closed before its mounts.
fn processes_that_mention(text: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("has /proc").filter_map(Result::ok);
    processes
        .map(|process| process.path())
        .filter(|process| {
            let mounts = fs::read(process.join("mountinfo")).unwrap_or_default();
            let mounts = String::from_utf8_lossy(&mounts);
            mounts.contains(text) && !is_ending(process)
        })
        .map(|process| format!("process {}: {}", process.display(), comm(&process)))
        .collect()
}

/// Whether a process has begun to end (PF_EXITING of `include/linux/sched.h`, in the ninth field of proc_pid_stat(5)),
/// or has ended.
fn is_ending(process: &Path) -> bool {
    let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
    let flags = stat.rsplit_once(") ").and_then(|(_, fields)| fields.split(' ').nth(6)?.parse::<u32>().ok());
    flags.is_none_or(|flags| flags & 0x4 != 0)
}

fn comm(process: &Path) -> String {
    fs::read_to_string(process.join("comm")).unwrap_or_default().trim_end().to_owned()
}

/// The shim of a container that was just made.
pub(crate) fn shim_of(init: i32) -> i32 {
    let status = fs::read_to_string(format!("/proc/{init}/status")).expect("the process exists");
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("has a parent");
    parent.trim().parse().expect("a number")
}

/// Waits for the end of a process. A zombie is gone as well; when it is reaped is up to the machine's first process.
pub(crate) async fn is_gone(pid: i32) {
    let start = Instant::now();
    while is_there(pid) {
        assert!(start.elapsed() < ENOUGH, "process {pid} is still there");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Whether a process has not ended.
pub(crate) fn is_there(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

/// Replaces `/sys/fs/cgroup` by its unified tree, in a mount namespace of this process's own.
pub(crate) fn enter_unified_cgroups() -> bool {
    use rustix::mount::{MountPropagationFlags, UnmountFlags};
    // SAFETY is rustix's own affair here: this process has one thread, and shares its mounts with nobody afterwards.
    #[allow(deprecated)]
    rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNS).expect("unshares");
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).expect("private");
    let unified = Path::new("/sys/fs/cgroup/unified");
    if !unified.exists() {
        // The machine is in this layout already.
        return true;
    }
    let aside = tempfile::tempdir().expect("a temporary directory");
    rustix::mount::mount_bind(unified, aside.path()).expect("binds");
    rustix::mount::unmount("/sys/fs/cgroup", UnmountFlags::DETACH).expect("detaches");
    rustix::mount::mount_bind(aside.path(), "/sys/fs/cgroup").expect("binds");
    rustix::mount::unmount(aside.path(), UnmountFlags::DETACH).expect("detaches");
    Path::new("/sys/fs/cgroup/cgroup.procs").exists()
}
