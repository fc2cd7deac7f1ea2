//! What the next daemon makes of containers that the last one left in the middle of something.

use std::{
    fs::{self, File},
    path::PathBuf,
    time::{Duration, Instant},
};

use rustix::{
    mount::{MountFlags, UnmountFlags, mount, unmount},
    process::{Pid, Signal, kill_process},
};
use tests::{Host, eventually, pings};

/// A mount whose server takes every question and answers none, like that of a network that is down (fuse(4)); unmounted
/// when dropped.
struct Silent {
    path: PathBuf,
    server: Option<File>,
}

impl Silent {
    fn mount(path: PathBuf) -> Self {
        use std::os::fd::AsRawFd;

        let server = File::options().read(true).write(true).open("/dev/fuse").expect("root may");
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", server.as_raw_fd());
        let options = std::ffi::CString::new(options).expect("no NUL");
        mount("silent", &path, "fuse", MountFlags::empty(), Some(options.as_c_str())).expect("the kernel has FUSE");
        Self { path, server: Some(server) }
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // Whoever waits for an answer is told that there is none.
        self.server = None;
        unmount(&self.path, UnmountFlags::DETACH).expect("it is mounted");
    }
}

/// Runs `request` with a daemon that dies right after the first step called `step`.
fn die_after(host: &Host, step: &str, request: &[&str]) {
    let log = host.path("steps");
    let steps = || fs::read_to_string(&log).expect("the daemon writes its steps");
    fs::write(&log, "").expect("the directory is ours");
    host.terminate();
    let mut netd = host.netd_command();
    netd.env("NETD_STEP_LOG", &log).env("NETD_CRASH_AT", step);
    host.spawn(&mut netd);
    host.wait_until_ready();
    host.fabric(request);
    let ended = eventually("the daemon has died", || host.ended_by(Duration::from_millis(100)));
    assert_eq!(ended, 9, "{}", host.log_tail());
    assert_eq!(steps().lines().last(), Some(step));
}

#[test]
fn a_job_that_removes_itself_is_not_run_twice() {
    let host = Host::new();
    let (ran, mount) = (host.path("ran"), format!("{}:/out", host.path("out").display()));
    fs::create_dir(host.path("out")).expect("the directory is ours");
    let job = ["run", "-d", "--rm", "--name", "job", "-v", &mount, "busybox", "sh", "-c", "echo ran >> /out/ran"];
    // By then nothing is left that tells that it ran, and that it is to go may not be on the disk yet.
    die_after(&host, "container deleted", &job);
    host.start();
    eventually("it is gone", || (host.fabric(&["inspect", "job"]).code == 1).then_some(()));
    assert_eq!(fs::read_to_string(ran.with_file_name("out/ran")).expect("it ran"), "ran\n");
    host.assert_healthy();
}

#[test]
fn what_a_person_made_to_remove_itself_waits_for_its_start_through_every_end_of_the_daemon() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    host.ok(&["create", "--rm", "--name", "waits", "--network", "web", "busybox", "echo", "ran"]);
    let seen = || {
        let waits = host.json(&["inspect", "waits"]);
        (waits["id"].clone(), waits["state"].clone(), waits["endpoints"][0]["ipv4"].clone())
    };
    let before = seen();
    host.restart();
    assert_eq!(seen(), before, "netd was killed");
    host.terminate();
    host.start();
    assert_eq!(seen(), before, "netd was ended");
    host.reboot();
    assert_eq!(seen(), before, "the host was");
    assert_eq!(host.ok(&["start", "-a", "waits"]), "ran");
    eventually("it is gone after its end", || (host.fabric(&["inspect", "waits"]).code == 1).then_some(()));
    host.restart();
    assert_eq!(host.fabric(&["inspect", "waits"]).code, 1, "it ran once");
}

#[test]
fn a_restart_policy_outlives_a_crash_right_after_the_start() {
    let host = Host::new();
    host.ok(&["create", "--name", "service", "--restart", "always", "busybox", "sleep", "10000"]);
    die_after(&host, "container started", &["start", "service"]);
    host.start();
    let pid = host.json(&["inspect", "service"])["pid"].as_i64().and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
    kill_process(pid.expect("it runs"), Signal::KILL).expect("it is a process");
    let restarts = || host.json(&["inspect", "service"])["restart_count"].as_u64();
    eventually("its policy has started it again", || (restarts()? > 0).then_some(()));
}

#[test]
fn a_restart_outlives_a_crash_before_the_start() {
    let host = Host::new();
    let run = ["run", "-d", "--name", "service", "--stop-timeout", "0", "busybox", "sleep", "10000"];
    let actions = || host.ok(&["events", "--filter", "name=service", "--format", "{{.action}}"]);
    for step in ["restart intended", "exit recorded", "container released"] {
        host.ok(&run);
        let pid = || host.json(&["inspect", "service"])["pid"].as_i64();
        let before = pid().expect("it runs");
        die_after(&host, step, &["restart", "service"]);
        host.start();
        let again = || pid().is_some_and(|pid| pid != before).then_some(());
        eventually(&format!("it runs again, which was to be done after {step}"), again);
        assert!(actions().ends_with("create\nstart\nexit\nstart"), "{}", actions());
        assert_eq!(host.json(&["inspect", "service"])["restart_count"], 0, "no policy did that");
        host.assert_healthy();
        // What was asked for is done, and not done once more.
        host.ok(&["stop", "service"]);
        host.restart();
        assert_eq!(host.json(&["inspect", "service"])["state"], "exited", "{step}");
        host.ok(&["rm", "service"]);
    }
}

#[test]
fn a_restart_that_is_refused_leaves_the_container_running() {
    let host = Host::new();
    let (source, away) = (host.path("source"), host.path("away"));
    fs::create_dir(&source).expect("the directory is ours");
    let mount = format!("{}:/data", source.display());
    host.ok(&["run", "-d", "--name", "service", "-v", &mount, "busybox", "sleep", "10000"]);
    let before = host.json(&["inspect", "service"]);
    fs::rename(&source, &away).expect("the directory is ours");
    let refused = host.fabric(&["restart", "-t", "0", "service"]).expect_code(1);
    assert!(refused.stderr.contains("cannot be mounted"), "{refused}");
    assert_eq!(host.json(&["inspect", "service"]), before);
}

#[test]
fn what_is_in_the_way_at_a_start_is_waited_for_and_the_container_watched() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    host.run("service", "web", &[], &["sleep", "10000"]);
    let id = host.json(&["inspect", "service"])["id"].as_str().expect("an identifier").to_owned();
    let file = host.data_dir().join("containers").join(id).join("resolv.conf");
    let aside = file.with_extension("aside");
    host.terminate();
    fs::rename(&file, &aside).expect("it is there");
    fs::create_dir(&file).expect("nothing is in its place");
    host.start();
    assert_eq!(host.json(&["inspect", "service"])["state"], "running");
    fs::remove_dir(&file).expect("it is empty");
    fs::rename(&aside, &file).expect("it is where it was put");
    eventually("it goes on", || (host.fabric(&["doctor"]).code == 0).then_some(()));
    host.ok(&["stop", "-t", "0", "service"]);
    assert_eq!(host.json(&["inspect", "service"])["state"], "exited", "its end was seen");
}

#[test]
fn what_was_made_is_kept_though_it_cannot_be_made_anew() {
    let host = Host::new();
    let data = host.path("disk");
    fs::create_dir(&data).expect("the directory is ours");
    let mount = format!("{}:/data", data.display());
    host.ok(&["create", "--name", "waits", "-v", &mount, "busybox", "cat", "/data/greeting"]);
    fs::remove_dir(&data).expect("it is empty");
    host.reboot();
    assert_eq!(
        host.json(&["inspect", "waits"])["state"],
        "created",
        "a disk that comes late is no reason to remove it"
    );
    assert_eq!(host.fabric(&["doctor"]).code, 1);
    fs::create_dir(&data).expect("it is gone");
    fs::write(data.join("greeting"), "hello").expect("the directory is ours");
    eventually("it is made", || (host.fabric(&["doctor"]).code == 0).then_some(()));
    assert_eq!(host.ok(&["start", "-a", "waits"]), "hello");
}

#[test]
fn a_mount_that_does_not_answer_holds_up_neither_the_start_nor_other_containers() {
    let host = Host::new();
    let data = host.path("disk");
    fs::create_dir(&data).expect("the directory is ours");
    fs::write(data.join("greeting"), "hello").expect("the directory is ours");
    host.ok(&["create", "--name", "other", "busybox", "echo", "other"]);
    let bind = format!("{}:/data", data.display());
    // To be made by the next daemon.
    die_after(
        &host,
        "container intended",
        &["create", "--name", "waits", "-v", &bind, "busybox", "cat", "/data/greeting"],
    );
    let silent = Silent::mount(data);
    let begun = Instant::now();
    host.start();
    assert!(begun.elapsed() < Duration::from_secs(40), "it waited for the mount: {:?}", begun.elapsed());
    assert_eq!(host.ok(&["start", "-a", "other"]), "other");
    assert_eq!(host.json(&["inspect", "waits"])["state"], "created", "it is kept");
    assert!(host.log_tail().contains("nothing answered there"), "{}", host.log_tail());
    drop(silent);
    eventually("it is made", || (host.fabric(&["doctor"]).code == 0).then_some(()));
    assert_eq!(host.ok(&["start", "-a", "waits"]), "hello");
}

/// The kernel's part of a container is made while its record is on its way to the disk: what a crash of the host's disk
/// or of `netd` loses in between must not be in anybody's way.
#[test]
fn what_no_record_tells_of_is_cleared_away() {
    let host = Host::new();
    host.ok(&["network", "create", "web", "--subnet", "10.9.8.0/24"]);
    host.terminate();
    let (state, before) = (host.data_dir().join("state.redb"), host.path("before"));
    fs::copy(&state, &before).expect("nobody writes to it");
    host.start();
    let lost = host.run("lost", "web:ip=10.9.8.77", &["-p", "8080:80"], &["sleep", "1000"]);
    let ports = || host.namespace().run(&["ip", "-o", "link", "show"]).matches(" master fb-").count();
    assert!(ports() == 1 && pings(host.namespace(), lost.ipv4), "control: it is there");
    host.kill();
    fs::copy(&before, &state).expect("nobody writes to it");
    host.start();
    assert_eq!(host.json(&["ps", "-a"]), serde_json::json!([]));
    eventually("its port is gone", || (ports() == 0).then_some(()));
    let next = host.run("next", "web:ip=10.9.8.77", &["-p", "8080:80"], &["sleep", "1000"]);
    assert_eq!((next.ipv4, ports()), (lost.ipv4, 1));
    host.assert_healthy();
}
