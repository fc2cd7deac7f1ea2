//! What can be done when the data directory's file system is full: nothing that takes space, and all that makes some.

use std::{
    fs::{self, File},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    process::Command,
    thread::sleep,
    time::Duration,
};

use tests::{Attached, Host, RecordType, ask, eventually};

fn networks_and_containers(host: &Host) -> String {
    format!("{:#}\n{:#}", host.json(&["network", "ls"]), host.json(&["ps", "-a"]))
}

fn answers(of: &Attached, gateway: [u8; 4]) -> bool {
    ask(&of.namespace(), (gateway, 53).into(), "api", RecordType::A).is_ok_and(|answer| answer.code == 0)
}

/// A host whose data directory is a file system of 32 MiB, which its daemon alone sees.
struct SmallDisk {
    host: Host,
    /// The mount namespace with it, which outlives the daemon.
    mounts: File,
}

impl SmallDisk {
    fn new() -> Self {
        let host = Host::stopped("");
        fs::create_dir_all(host.data_dir()).expect("the directory is ours");
        let netd = host.netd_command();
        let script = "mount -t tmpfs -o size=32m,mode=700 tmpfs \"$0\" && exec \"$@\"";
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", script])
            .arg(host.data_dir())
            .arg(netd.get_program())
            .args(netd.get_args());
        host.spawn(&mut command);
        host.wait_until_ready();
        host.import_busybox();
        host.ok(&["network", "create", "web", "--subnet", "10.9.8.0/24"]);
        let mounts = File::open(format!("/proc/{}/ns/mnt", host.netd_pid().as_raw_nonzero())).expect("netd runs");
        Self { host, mounts }
    }

    /// The directory as the daemon sees it.
    fn directory(&self) -> PathBuf {
        let data = self.host.data_dir();
        let inside = data.strip_prefix("/").expect("an absolute path");
        PathBuf::from(format!("/proc/{}/root", self.host.netd_pid().as_raw_nonzero())).join(inside)
    }

    /// Runs `mount` on the directory as the daemon sees it.
    fn mount(&self, options: &[&str]) {
        let mounts = format!("--mount=/proc/{}/fd/{}", std::process::id(), self.mounts.as_raw_fd());
        let mut command = Command::new("nsenter");
        let status = command.arg(mounts).arg("mount").args(options).arg(self.host.data_dir()).status();
        assert!(status.expect("nsenter runs").success(), "mount {options:?}");
    }

    /// `kill -9` of the daemon, and a new one.
    fn restart(&self) {
        self.host.kill();
        let mounts = format!("--mount=/proc/{}/fd/{}", std::process::id(), self.mounts.as_raw_fd());
        let netd = self.host.netd_command();
        let mut command = Command::new("nsenter");
        self.host.spawn(command.arg(mounts).arg(netd.get_program()).args(netd.get_args()));
        self.host.wait_until_ready();
    }

    /// Takes all space that is left but what the daemon has set aside, which it is given the space for first.
    fn fill_anew(&self) -> PathBuf {
        fs::remove_file(self.directory().join("filler")).expect("it is ours");
        // Whatever is committed once there is space.
        self.host.ok(&["network", "create", "passing"]);
        self.host.ok(&["network", "rm", "passing"]);
        let reserve = self.directory().join("state.reserve");
        eventually("space is set aside", || {
            fs::metadata(&reserve).is_ok_and(|file| file.len() == 1 << 20).then_some(())
        });
        self.fill()
    }

    /// Takes all space that is left, and returns the file that does.
    fn fill(&self) -> PathBuf {
        fill(&self.directory())
    }

    fn state(&self, name: &str) -> serde_json::Value {
        self.host.json(&["inspect", name])["state"].clone()
    }
}

/// Fills the file system that holds `directory`, and returns the file that does.
fn fill(directory: &Path) -> PathBuf {
    let path = directory.join("filler");
    let mut filler = File::options().append(true).create(true).open(&path).expect("it can be written");
    let mut block = vec![0; 1 << 20];
    while !block.is_empty() {
        // What does not fit is tried in smaller pieces.
        if std::io::Write::write_all(&mut filler, &block).is_err() {
            block.truncate(block.len() / 2);
        }
    }
    path
}

#[test]
fn what_takes_space_is_refused_and_all_goes_on_once_there_is_some() {
    let disk = SmallDisk::new();
    let host = &disk.host;
    let api = host.run("api", "web", &[], &["sh", "-c", "i=0; while sleep 0.1; do i=$((i + 1)); echo line $i; done"]);
    let before = networks_and_containers(host);
    let ports = || host.namespace().run(&["ip", "-o", "link", "show"]).matches(" master fb-").count();
    let filler = disk.fill();
    let archive = tests::busybox_tar();
    for (request, code) in [
        (&["image", "import", &archive.to_string_lossy(), "other"][..], 1),
        (&["network", "create", "more"], 1),
        (&["run", "-d", "--network", "web", "busybox", "sleep", "1000"], 125),
    ] {
        let refused = host.fabric(request).expect_code(code);
        assert!(refused.stderr.to_lowercase().contains("no space left"), "{refused}");
        assert!(refused.stderr.contains(&*host.data_dir().to_string_lossy()), "it names the directory: {refused}");
        assert!(refused.stderr.contains("free "), "it says what to do: {refused}");
        assert_eq!(ports(), 1, "what was made meanwhile is taken back: {request:?}");
    }
    let told = host.fabric(&["doctor"]).expect_code(1);
    let space = told.stdout.lines().find(|line| line.contains("is on a file system with ")).unwrap_or_default();
    assert!(space.contains(&format!("data directory {}", host.data_dir().display())), "{told}");
    assert_eq!(before, networks_and_containers(host), "nothing half-made is left");
    assert!(answers(&api, [10, 9, 8, 1]), "DNS goes on");
    // Longer than its log could keep in memory anywhere.
    sleep(Duration::from_secs(1));
    assert_eq!(host.attached("api"), api, "it goes on without its log");
    fs::remove_file(filler).expect("it is ours");
    let lines = || host.ok(&["logs", "api"]).lines().count();
    let logged = lines();
    eventually("the log goes on", || (lines() > logged).then_some(()));
    eventually("networks can be made again", || (host.fabric(&["network", "create", "more"]).code == 0).then_some(()));
    host.run("next", "more", &[], &["sleep", "1000"]);
    host.assert_healthy();
}

#[test]
fn what_makes_room_is_done_and_stays_done() {
    let disk = SmallDisk::new();
    let host = &disk.host;
    host.ok(&["network", "create", "spare"]);
    for (name, options) in [("plain", &[][..]), ("always", &["--restart", "always"]), ("killed", &[]), ("gone", &[])] {
        host.run(name, "web", options, &["sleep", "1000"]);
    }
    let exits = ["plain", "always", "killed"].map(|name| (name, host.attached(name).id));
    // What was to be written of the starts is.
    eventually("the shims have set space aside", || {
        let set_aside = |id: &str| disk.directory().join("containers").join(id).join("exit.json.new").exists();
        exits.iter().all(|(_, id)| set_aside(id)).then_some(())
    });
    disk.fill();
    host.ok(&["stop", "-t", "0", "plain", "always"]);
    host.ok(&["kill", "killed"]);
    host.ok(&["wait", "killed"]);
    disk.restart();
    for (name, _) in &exits {
        assert_eq!(disk.state(name), "exited", "{name} has ended and stays so");
        assert_eq!(host.json(&["inspect", name])["exit_code"], 137, "{name}");
    }
    disk.fill_anew();
    host.ok(&["rm", "-f", "gone"]);
    disk.restart();
    host.fabric(&["inspect", "gone"]).expect_code(1);
    disk.fill_anew();
    host.ok(&["network", "rm", "spare"]);
    host.ok(&["rm", "plain", "always", "killed"]);
    disk.restart();
    let filler = disk.directory().join("filler");
    assert_eq!(host.json(&["ps", "-a"]), serde_json::json!([]));
    host.fabric(&["network", "inspect", "spare"]).expect_code(1);
    host.ok(&["image", "rm", "busybox"]);
    fs::remove_file(filler).expect("it is ours");
    host.import_busybox();
    host.run("next", "web", &[], &["sleep", "1000"]);
    host.assert_healthy();
}

#[test]
fn what_cannot_be_remembered_is_not_done() {
    let disk = SmallDisk::new();
    let host = &disk.host;
    let before = host.run("api", "web", &["--restart", "always"], &["sleep", "1000"]);
    fs::remove_file(disk.directory().join("state.reserve")).expect("netd has set space aside");
    let filler = disk.fill();
    for request in [&["rm", "-f", "api"][..], &["stop", "-t", "0", "api"], &["kill", "api"]] {
        let refused = host.fabric(request).expect_code(1);
        assert!(refused.stderr.contains("container `api`"), "{refused}");
        assert!(refused.stderr.to_lowercase().contains("no space left"), "{refused}");
        assert!(refused.stderr.contains("hint: free space"), "{refused}");
        assert_eq!(host.attached("api"), before, "nothing happened to it");
    }
    fs::remove_file(filler).expect("it is ours");
    host.ok(&["rm", "-f", "api"]);
    host.assert_healthy();
}

/// The kernel makes a file system that it finds damaged read-only, whoever writes to it. What is refused by hand as long
/// as a file is open for writing is done by a mount over it here, once netd has closed its state file for a failed write.
#[test]
fn what_cannot_be_written_to_a_read_only_disk_is_refused_and_all_goes_on_once_it_can() {
    let disk = SmallDisk::new();
    let host = &disk.host;
    host.ok(&["network", "create", "spare"]);
    let api = host.run("api", "web", &["--restart", "always"], &["sleep", "1000"]);
    host.run("old", "web", &[], &["sleep", "1000"]);
    host.ok(&["stop", "-t", "0", "old"]);
    let ports = || host.namespace().run(&["ip", "-o", "link", "show"]).matches(" master fb-").count();
    eventually("the port of who is stopped is gone", || (ports() == 1).then_some(()));
    let before = networks_and_containers(host);
    let filler = File::options().write(true).open(disk.fill()).expect("it is ours");
    host.fabric(&["network", "create", "more"]).expect_code(1);
    disk.mount(&["--bind", &host.data_dir().to_string_lossy()]);
    disk.mount(&["-o", "remount,bind,ro"]);
    filler.set_len(0).expect("it was opened before");
    let archive = tests::busybox_tar();
    for (request, code, object) in [
        (&["network", "create", "more"][..], 1, "network `more`"),
        (&["network", "rm", "spare"], 1, "network `spare`"),
        (&["run", "-d", "--name", "new", "--network", "web", "busybox", "sleep", "1000"], 125, "container `new`"),
        (&["start", "old"], 1, "images/lock"),
        (&["stop", "-t", "0", "api"], 1, "container `api`"),
        (&["rm", "old"], 1, "container `old`"),
        (&["rm", "-f", "api"], 1, "container `api`"),
        (&["image", "import", &archive.to_string_lossy(), "other"], 1, "images/lock"),
    ] {
        let refused = host.fabric(request).expect_code(code);
        let data = host.data_dir().display().to_string();
        for words in [object, &data, "ead-only", "hint: make the file system"] {
            assert!(refused.stderr.contains(words), "{words} in: {refused}");
        }
        eventually("what was made meanwhile is taken back", || (ports() == 1).then_some(()));
    }
    assert_eq!(host.attached("api"), api, "nothing happened to it");
    assert!(answers(&api, [10, 9, 8, 1]), "DNS goes on");
    assert_eq!(before, networks_and_containers(host), "nothing half-made is left");
    disk.mount(&["-o", "remount,bind,rw"]);
    host.ok(&["rm", "old"]);
    host.ok(&["rm", "-f", "api"]);
    host.ok(&["network", "create", "more"]);
    host.run("next", "more", &[], &["sleep", "1000"]);
    host.assert_healthy();
}
