//! `kill -9` of the daemon in the middle of imports and removals of images, of the doctor's repairs, and of a restart:
//! what it said to be done is done, what it did not is whole or gone, and nothing is left over.

#[path = "state/lease.rs"]
mod lease;
mod state;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use lease::leaked;
use state::{commit, keys};
use store::Transaction;
use tests::{Course, Host, Scenario, busybox_tar, crash_after_each, eventually};

/// What no scenario here is about takes no steps.
const CONFIG: &str = "upstreams = []\nnamespace_pool = 0";

/// The root file system of `busybox`, with a file `/marker` that holds `text`.
fn tar_with_marker(host: &Host, text: &str) -> String {
    let (directory, tar) = (host.path(&format!("marker-{text}")), host.path(&format!("{text}.tar")));
    fs::create_dir(&directory).expect("the directory is ours");
    fs::write(directory.join("marker"), text).expect("the directory is ours");
    fs::copy(busybox_tar(), &tar).expect("the directory is ours");
    let status = Command::new("tar").arg("-C").arg(&directory).arg("-rf").arg(&tar).arg("marker").status();
    assert!(status.expect("tar runs").success());
    tar.to_str().expect("temporary paths are UTF-8").to_owned()
}

/// All that the store of images has in its directories.
fn kept(host: &Host) -> Vec<PathBuf> {
    let entries = |directory: &Path| {
        let entries = fs::read_dir(directory).expect("it is there").map(|entry| entry.expect("it is readable").path());
        entries.collect::<Vec<_>>()
    };
    let directories = ["blobs/sha256", "images", "names", "layers", "l", "tmp"];
    let images = host.data_dir().join("images");
    let mut all: Vec<PathBuf> = directories.iter().flat_map(|directory| entries(&images.join(directory))).collect();
    all.sort();
    all
}

/// What the image that the name means says it is; nothing where it means none.
fn meaning(host: &Host) -> Option<String> {
    let listed = host.json(&["image", "ls"]);
    let mut names = listed.as_array().expect("a list").iter().filter_map(|image| image["name"].as_str());
    names.any(|name| name == "victim:latest").then(|| host.ok(&["run", "--rm", "victim", "cat", "/marker"]))
}

#[test]
fn images_that_are_imported_replaced_and_removed_while_a_container_needs_one() {
    let host = Host::with_config(CONFIG);
    let tars = ["old", "new"].map(|text| tar_with_marker(&host, text));
    let requests = [
        vec!["image", "import", &tars[0], "victim"],
        vec!["create", "--name", "user", "victim", "cat", "/marker"],
        vec!["image", "import", &tars[1], "victim"],
        vec!["image", "rm", "victim"],
        vec!["rm", "-f", "user"],
    ];
    let baseline = kept(&host);
    let scenario = Scenario::of(&requests);
    let steps = scenario.play(&host, None).steps;
    host.start();
    eventually("nothing is left of both images", || (kept(&host) == baseline).then_some(()));
    let of_images = |step: &str| step.starts_with("image ");
    assert!(steps.iter().filter(|step| of_images(step)).count() >= 20, "too few to be all: {steps:#?}");
    crash_after_each(&steps, of_images, |step| {
        let Course { steps, done } = scenario.play(&host, Some(step));
        let when = format!("after step {step}, {:?}", steps.last());
        host.start();
        let meant = match done.iter().rposition(|done| *done) {
            None => [None, Some("old")],
            Some(0 | 1) => [Some("old"), Some("new")],
            Some(2) => [Some("new"), None],
            Some(_) => [None, None],
        };
        let found = meaning(&host);
        assert!(meant.contains(&found.as_deref()), "{when}: {found:?}, which is not among {meant:?}");
        // Whatever became of the name: the container has what it was made from.
        if host.fabric(&["inspect", "user"]).code == 0 {
            assert_eq!(host.ok(&["start", "-a", "user"]), "old", "{when}");
            host.ok(&["rm", "-f", "user"]);
        } else {
            assert!(!done.get(1).is_some_and(|done| *done) || done.len() == 5, "{when}: the container is gone");
        }
        if found.is_some() {
            host.ok(&["image", "rm", "victim"]);
        }
        eventually(&format!("{when}: nothing is left over"), || (kept(&host) == baseline).then_some(()));
        host.assert_healthy();
        steps
    });
}

#[test]
fn repairs_by_the_doctor() {
    const GHOST: &str = "0123456789abcdef0123456789abcdef";
    let host = Host::with_config(CONFIG);
    host.ok(&["network", "create", "web", "--subnet", "10.9.8.0/24", "--subnet", "fd09::/64"]);
    let api = host.run("api", "web", &[], &["sleep", "10000"]);
    let bridge = host.interface("fb-");
    host.terminate();
    let before = keys(&host, "leases/");
    host.start();
    host.assert_healthy();
    let kernel = || host.kernel_state() + &host.kernel_state_inside();
    let (healthy, holdings, images) = (kernel(), host.holdings(), kept(&host));

    let (key, value) = before.first().expect("the container has one");
    let (leaked_key, leaked) = leaked(key, value);
    let exchange_leases = |host: &Host| {
        let exchange = Transaction::durable().delete(key.clone()).put(leaked_key.clone(), leaked.clone());
        commit(host, exchange);
    };
    let damage = |host: &Host| {
        for directory in [host.data_dir().join("containers"), host.run_dir().join("containers")] {
            fs::create_dir(directory.join(GHOST)).expect("nothing is there");
        }
        let store = host.data_dir().join("images");
        fs::write(store.join("blobs/sha256").join("0".repeat(64)), "x").expect("root may");
        fs::create_dir(store.join("l").join("0".repeat(24))).expect("nothing is there");
        host.namespace().run(&["ip", "address", "flush", "dev", &bridge]);
        host.namespace().run(&["ip", "link", "set", &bridge, "mtu", "1300"]);
    };
    let requests = [vec!["doctor", "--fix"], vec!["doctor"]];
    let environment = [("NETD_HANDS_OFF", "1")];
    let scenario =
        Scenario { before: &exchange_leases, environment: &environment, once_ready: &damage, requests: &requests };
    let assert_mended = |when: &str| {
        host.assert_healthy();
        let reached = || kernel() == healthy && host.holdings() == holdings && kept(&host) == images;
        eventually(&format!("{when}: all is as it was"), || reached().then_some(()));
        assert!(!host.data_dir().join("containers").join(GHOST).exists(), "{when}");
        assert_eq!(host.attached("api"), api, "{when}: the container itself went on");
    };
    let Course { steps, .. } = scenario.play(&host, None);
    assert_eq!(keys(&host, "leases/"), before);
    host.start();
    assert_mended("without a crash");
    let repairs = ["stray", "missing", "image ", "kernel: "];
    let is_repair = |step: &str| repairs.iter().any(|repair| step.starts_with(repair));
    assert!(steps.iter().filter(|step| is_repair(step)).count() >= 8, "too few to be all: {steps:#?}");
    crash_after_each(&steps, is_repair, |step| {
        let Course { steps, done } = scenario.play(&host, Some(step));
        let when = format!("after step {step}, {:?}", steps.last());
        assert!(!done.contains(&true) || done == [true, true], "{when}: it says that all is mended, and died");
        host.start();
        host.fabric(&["doctor", "--fix"]).expect_code(0);
        assert_mended(&when);
        steps
    });
    host.terminate();
    assert_eq!(keys(&host, "leases/"), before);
    host.start();
}

#[test]
fn a_restart_that_the_restart_policy_brings_to_its_end() {
    let host = Host::with_config(CONFIG);
    host.ok(&["network", "create", "web", "--ipv6"]);
    let options = ["--restart", "always", "-p", "8080:80", "--stop-timeout", "0"];
    host.run("service", "web", &options, &["sleep", "10000"]);
    host.assert_healthy();
    let holdings = host.holdings();
    let requests = [vec!["restart", "-t", "0", "service"]];
    let scenario = Scenario::of(&requests);
    let steps = scenario.play(&host, None).steps;
    host.start();
    assert!(steps.len() >= 10, "too few to be all: {steps:#?}");
    crash_after_each(
        &steps,
        // What the kernel is told meanwhile, `crash.rs` tries for every start and every end.
        |step| !step.starts_with("kernel: "),
        |step| {
            let Course { steps, .. } = scenario.play(&host, Some(step));
            let when = format!("after step {step}, {:?}", steps.last());
            host.start();
            let is_owed = ["restart intended", "start intended"].map(|step| steps.iter().any(|taken| taken == step));
            let actions = || host.ok(&["events", "--filter", "name=service", "--format", "{{.action}}"]);
            let again = || (is_owed != [true, false] || actions().ends_with("exit\nstart")).then_some(());
            eventually(&format!("{when}: it is restarted"), again);
            let runs = || host.fabric(&["inspect", "service", "--format", "{{.state}}"]).stdout.trim() == "running";
            eventually(&format!("{when}: it runs"), || runs().then_some(()));
            host.assert_healthy();
            eventually(&format!("{when}: it holds what it held"), || (host.holdings() == holdings).then_some(()));
            steps
        },
    );
}
