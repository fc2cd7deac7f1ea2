//! A guest: Debian's cloud kernel in an emulator, for what the kernel of this machine lacks.

mod systemd;

use std::{
    collections::BTreeSet,
    fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::binaries::{self, WORKSPACE};

/// What the script wrote stands behind this line; before it, the emulator's and the kernel's words.
const BEGIN: &str = "guest: begins";
/// The script's last words, with its exit code.
const END: &str = "guest: ends with ";

/// What is run before the script. The root of the first file system of a kernel cannot be pivoted away from, which
/// containers need, so everything moves to another one.
const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox mkdir -p /proc /new
/bin/busybox mount -t tmpfs -o size=80% tmpfs /new
/bin/busybox cp -a /bin /etc /lib /lib64 /sbin /usr /guest /new/ 2>/dev/null
/bin/busybox mkdir -p /new/proc /new/sys /new/dev /new/run /new/tmp /new/var/lib /new/root
exec /bin/busybox switch_root /new /bin/busybox sh /guest/stage2
"#;
/// What is run on it, before the [script](script_and_end) or another first process.
const STAGE2: &str = r#"
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root NO_COLOR=1
/bin/busybox --install -s /bin
ln -s /bin/busybox /sbin/modprobe
"#;
/// What systemd would do.
const MOUNTS: &str = r#"
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
ln -s /proc/self/fd /dev/fd
ln -s /proc/self/fd/0 /dev/stdin
mount -t tmpfs tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
"#;

/// The script, between the two lines.
fn script_and_end() -> String {
    format!(
        r#"
ip link set lo up
cd /guest
echo "{BEGIN}"
sh -eu /guest/script </dev/null
echo "{END}$?"
reboot -f
"#
    )
}

/// A machine of its own, with a kernel that has all its modules. What scripts have in common is its `/guest/lib.sh`.
#[derive(Debug)]
pub struct Guest {
    root: TempDir,
}

impl Guest {
    /// A machine with busybox, `ip`, `nft`, `netd`, `fabric` and the image `/guest/busybox.tar`. It loads the modules
    /// of `modules` and of netfilter, by name, when they are needed; those of `aside` are in `/guest` to be loaded by
    /// `insmod`.
    pub fn new(modules: &[&str], aside: &[&str]) -> Self {
        let guest = Self { root: TempDir::with_prefix("fabric-guest-").expect("a temporary directory") };
        // All of them are moved.
        for directory in ["bin", "etc", "guest", "lib", "lib64", "sbin", "usr"] {
            fs::create_dir_all(guest.root.path().join(directory)).expect("the directory is ours");
        }
        for (path, name) in [(binaries::netd(), "usr/sbin/netd"), (binaries::fabric(), "usr/bin/fabric")] {
            guest.program(&path, name);
        }
        guest.program(&found("nft"), "usr/sbin/nft");
        guest.program(&found("ip"), "usr/sbin/ip");
        guest.copy(&found("busybox"), "bin/busybox");
        guest.copy(binaries::busybox_tar(), "guest/busybox.tar");
        guest.modules(modules, aside);
        guest.write("init", INIT);
        guest.write("guest/stage2", &[STAGE2, MOUNTS, &script_and_end()].concat());
        guest.write("guest/lib.sh", include_str!("../guests/lib.sh"));
        guest.write("etc/passwd", "root:x:0:0::/root:/bin/sh\n");
        guest
    }

    /// The same with a program of this machine's in `/usr/bin`.
    pub fn with_program(self, name: &str) -> Self {
        self.program(&found(name), &format!("usr/bin/{name}"));
        self
    }

    /// Runs a script of `sh -eu` in the guest and returns what it wrote, and its exit code; none if it did not end in
    /// time.
    pub fn run(&self, script: &str, limit: Duration) -> (String, Option<i32>) {
        self.write("guest/script", script);
        let archive = tempfile::NamedTempFile::with_prefix("fabric-guest-").expect("a temporary file");
        let pack = "busybox find . | busybox cpio -o -H newc 2>/dev/null";
        let mut packing = Command::new("sh");
        packing.args(["-c", pack]).current_dir(self.root.path()).stdout(archive.reopen().expect("the file is ours"));
        assert!(packing.status().expect("sh runs").success(), "the guest's files can be packed");
        let mut emulator = Command::new("qemu-system-x86_64")
            .args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1536", "-no-reboot", "-nodefaults"])
            .args(["-display", "none", "-serial", "stdio", "-append", "console=ttyS0 quiet panic=-1"])
            .arg("-kernel")
            .arg(kernel_image())
            .arg("-initrd")
            .arg(archive.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("qemu-system-x86_64 runs; scripts/install-dependencies installs it");
        let mut output = emulator.stdout.take().expect("it is piped");
        let (sender, told) = mpsc::channel();
        let reader = thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut chunk) {
                // Nobody listens once the time is over.
                let _ = sender.send(chunk[..count].to_vec());
            }
        });
        let (mut console, deadline) = (Vec::new(), Instant::now() + limit);
        while let Ok(more) = told.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            console.extend(more);
        }
        // It has ended, or has to.
        let _ = emulator.kill();
        emulator.wait().expect("it is our child");
        reader.join().expect("it only reads");
        let console = String::from_utf8_lossy(&console).replace('\r', "");
        let text = console.split_once(BEGIN).map_or(console.as_str(), |(_, text)| text);
        let Some((text, code)) = text.rsplit_once(END) else { return (text.to_owned(), None) };
        (text.to_owned(), code.lines().next().and_then(|code| code.trim().parse().ok()))
    }

    /// Where the guest's file is, in a directory that exists.
    fn place(&self, path: &str) -> PathBuf {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().expect("it is below the root")).expect("the directory is ours");
        path
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.place(path);
        fs::write(&path, text).expect("the directory is ours");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("the file is ours");
    }

    fn copy(&self, from: &Path, to: &str) {
        fs::copy(from, self.place(to)).unwrap_or_else(|error| panic!("copy {}: {error}", from.display()));
    }

    /// A program without its debugging symbols, and the libraries that it is linked to where it looks for them.
    fn program(&self, from: &Path, to: &str) {
        let path = self.place(to);
        let strip = Command::new("strip").arg("-o").arg(&path).arg(from).status().expect("strip runs");
        assert!(strip.success(), "{} can be stripped", from.display());
        let needed = Command::new("ldd").arg(from).output().expect("ldd runs");
        for line in String::from_utf8_lossy(&needed.stdout).lines() {
            let Some(library) = line.split_whitespace().find(|word| word.starts_with('/')) else { continue };
            self.copy(Path::new(library), library.trim_start_matches('/'));
        }
    }

    fn modules(&self, modules: &[&str], aside: &[&str]) {
        let (tree, version) = kernel();
        let all = fs::read_to_string(tree.join("modules.dep")).expect("scripts/install-dependencies made it");
        let name = |path: &str| path.rsplit('/').next().and_then(|file| file.strip_suffix(".ko")).map(str::to_owned);
        let wanted = |path: &str| {
            path.contains("/netfilter/") || name(path).is_some_and(|name| modules.contains(&name.as_str()))
        };
        let mut paths = BTreeSet::new();
        for line in all.lines().filter(|line| line.split(':').next().is_some_and(wanted)) {
            paths.extend(line.split([':', ' ']).filter(|path| !path.is_empty()));
        }
        let place = format!("lib/modules/{version}");
        for path in paths {
            self.copy(&tree.join(path), &format!("{place}/{path}"));
        }
        for index in ["modules.dep", "modules.alias", "modules.symbols", "modules.builtin", "modules.order"] {
            self.copy(&tree.join(index), &format!("{place}/{index}"));
        }
        for module in aside {
            let line = all.lines().find(|line| line.split(':').next().and_then(name).as_deref() == Some(module));
            let path = line.and_then(|line| line.split(':').next()).unwrap_or_else(|| panic!("no module {module}"));
            self.copy(&tree.join(path), &format!("guest/{module}.ko"));
        }
    }
}

/// The directory of the kernel's modules, and its version.
fn kernel() -> (PathBuf, String) {
    let modules = Path::new(WORKSPACE).join("target/guest/lib/modules");
    let mut versions = fs::read_dir(&modules).expect("scripts/install-dependencies unpacks the guest's kernel");
    let version = versions.next().expect("it has one").expect("the directory is ours").path();
    let name = version.file_name().expect("it has a name").to_string_lossy().into_owned();
    (version, name)
}

fn kernel_image() -> PathBuf {
    Path::new(WORKSPACE).join("target/guest/boot").join(format!("vmlinuz-{}", kernel().1))
}

/// A program of this machine's.
fn found(name: &str) -> PathBuf {
    let places = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(|directory| Path::new(directory).join(name));
    let place = places.into_iter().find(|path| path.is_file());
    place.unwrap_or_else(|| panic!("there is no {name}; scripts/install-dependencies installs it"))
}
