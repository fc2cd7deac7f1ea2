//! Somebody removes what netd keeps in its run directory, while containers run.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::mount::{UnmountFlags, unmount};
use tests::{Attached, Host, eventually};

fn run_directory(host: &Host, container: &Attached) -> PathBuf {
    host.run_dir().join("containers").join(&container.id)
}

#[track_caller]
fn assert_reached_by_name(host: &Host, from: &str, name: &str) {
    host.ok(&["exec", from, "ping", "-c", "1", "-W", "30", name]);
}

fn state(host: &Host, name: &str) -> String {
    host.json(&["inspect", name])["state"].as_str().expect("a text").to_owned()
}

#[test]
fn a_container_goes_on_without_it_and_the_doctor_tells() {
    let host = Host::with_config("upstreams = []");
    host.ok(&["network", "create", "web"]);
    let [api, client] = ["api", "client"].map(|name| host.run(name, "web", &[], &["sleep", "10000"]));
    fs::remove_dir_all(run_directory(&host, &api)).expect("it is there");
    for _ in 0..2 {
        let told = host.fabric(&["doctor"]).expect_code(1);
        for words in ["container `api`", "shim.sock, by which it is spoken to, is gone", "`fabric restart api`"] {
            assert!(told.stdout.contains(words), "`{words}`: {told}");
        }
        let refused = host.fabric(&["exec", "api", "true"]).expect_code(125);
        assert!(refused.stderr.contains("is gone"), "{refused}");
        // What cannot be mended without harm stays.
        host.fabric(&["doctor", "--fix"]).expect_code(1);
        assert_eq!(host.attached("api"), api, "whoever looks at it does not end it");
        assert_reached_by_name(&host, "client", "api");
    }
    host.ok(&["restart", "-t", "0", "api"]);
    let again = host.attached("api");
    assert!(again.pid != api.pid && again.ipv4 == api.ipv4, "{again:?}");
    assert_reached_by_name(&host, "api", "client");
    host.assert_healthy();
    assert_eq!(host.attached("client"), client);
}

#[test]
fn a_pin_comes_back_and_what_nobody_can_ask_can_be_ended() {
    let host = Host::with_config("upstreams = []\nnamespace_pool = 0");
    host.ok(&["network", "create", "web"]);
    let client = host.run("client", "web", &[], &["sleep", "10000"]);
    let before = (host.kernel_state(), host.holdings());
    let containers = ["stopped", "removed", "killed", "found"].map(|name| {
        let container = host.run(name, "web", &[], &["sleep", "10000"]);
        fs::remove_dir_all(run_directory(&host, &container)).expect("it is there");
        container
    });
    for pin in fs::read_dir(host.run_dir().join("netns")).expect("netd made it").map_while(Result::ok) {
        // netd, which looks after everything every so often, may be about to pin it again.
        eventually("nothing is mounted there any more", || {
            let _ = unmount(pin.path(), UnmountFlags::DETACH);
            fs::remove_file(pin.path()).ok()
        });
    }
    host.fabric(&["doctor", "--fix"]).expect_code(1);
    let told = host.fabric(&["doctor"]).expect_code(1);
    assert!(told.stdout.contains("every namespace is pinned"), "{told}");
    for (name, container) in ["stopped", "removed", "killed", "found"].into_iter().zip(&containers) {
        assert_eq!(&host.attached(name), container);
        assert_reached_by_name(&host, "client", name);
    }
    host.ok(&["stop", "-t", "0", "stopped"]);
    assert_eq!(state(&host, "stopped"), "exited");
    host.ok(&["rm", "-f", "removed"]);
    host.ok(&["kill", "killed"]);
    host.ok(&["wait", "killed"]);
    assert_eq!(state(&host, "killed"), "exited");
    // A daemon that never saw it run cannot learn of its end.
    host.restart();
    assert_eq!(state(&host, "found"), "exited");
    assert_eq!(host.attached("client"), client);
    host.assert_healthy();
    for name in ["stopped", "killed", "found"] {
        host.ok(&["rm", "-f", name]);
    }
    host.assert_healthy();
    eventually("nothing of them is left", || ((host.kernel_state(), host.holdings()) == before).then_some(()));
}

/// All of it: the API socket, the pins, the shims' sockets. Containers are ended by who starts next, because nobody can
/// ask how they are; nothing of them is left, and they start again.
#[test]
fn a_run_directory_that_is_gone_whole_is_made_anew_at_the_next_start() {
    let host = Host::with_config("upstreams = []");
    host.ok(&["network", "create", "web"]);
    let [api, client] = ["api", "client"].map(|name| host.run(name, "web", &[], &["sleep", "10000"]));
    let run_dir = host.run_dir();
    let remove = || {
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("proc");
        let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
        for path in points.filter(|path| Path::new(path).starts_with(&run_dir)) {
            // What is below another mount may be gone with it.
            let _ = unmount(path, UnmountFlags::DETACH);
        }
        fs::remove_dir_all(&run_dir).ok()
    };
    // netd may be making namespaces for the next containers meanwhile.
    eventually("nothing is mounted there any more", remove);
    let lost = host.fabric(&["ps"]).expect_code(1);
    assert!(lost.stderr.contains("netd.sock"), "{lost}");
    // Nobody needs netd for what is in force already.
    api.namespace().run(&["ping", "-n", "-c", "1", "-W", "30", &client.ipv4.to_string()]);

    host.restart();
    for container in ["api", "client"] {
        assert_eq!(state(&host, container), "exited");
        host.ok(&["start", container]);
    }
    assert_eq!(host.attached("api").ipv4, api.ipv4);
    assert_reached_by_name(&host, "client", "api");
    host.assert_healthy();
}
