//! `fabric doctor [--fix]`: each kind of damage is named on its object, mended, and gone afterwards.

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
use tests::{Host, eventually, within};

const GHOST: &str = "0123456789abcdef0123456789abcdef";

/// The doctor names `object` with `difference`; with `--fix` says that it mended just that, and finds nothing after it.
#[track_caller]
fn named_and_mended(host: &Host, object: &str, difference: &str) {
    let told = host.fabric(&["doctor"]).expect_code(1);
    let line = format!("{object}: {difference}");
    assert!(told.stdout.contains(&line), "`{line}` is named in\n{told}");
    assert!(told.stdout.contains("hint: mend it with `fabric doctor --fix`"), "{told}");
    assert!(told.stdout.lines().all(|line| line.chars().count() < 250), "no line is too long to read:\n{told}");
    let mended = host.fabric(&["doctor", "--fix"]).expect_code(0);
    assert!(mended.stdout.contains(&format!("mended: {line}")), "{mended}\n{}", host.log_tail());
    let again = host.fabric(&["doctor", "--fix"]).expect_code(0);
    assert!(!again.stdout.contains("mended"), "{again}");
    host.assert_healthy();
}

#[test]
fn leases_without_endpoints_and_endpoints_without_leases() {
    let host = Host::new();
    host.ok(&["network", "create", "web", "--subnet", "10.9.8.0/24"]);
    host.run("api", "web", &[], &["sleep", "1000"]);
    host.terminate();
    let (key, value) = keys(&host, "leases/").pop().expect("the container has one");
    let (leaked_key, leaked) = leaked(&key, &value);
    commit(&host, Transaction::durable().put(leaked_key, leaked));
    host.start();
    assert_eq!(host.json(&["network", "inspect", "web"])["usage"]["used"], 2);
    let leaked = host.json(&["network", "inspect", "web"])["usage"]["leaked"].clone();
    assert_eq!(leaked, serde_json::json!(["10.9.8.99"]));
    named_and_mended(
        &host,
        "lease 10.9.8.99 of network `web`",
        "is held by endpoint ffffffffffff, which does not exist",
    );
    assert_eq!(host.json(&["network", "inspect", "web"])["usage"]["used"], 1);
    host.terminate();
    commit(&host, Transaction::durable().delete(key.clone()));
    host.start();
    named_and_mended(&host, "lease 10.9.8.2 of network `web`", "is missing, and container `api` has the address");
    host.terminate();
    assert_eq!(keys(&host, "leases/"), [(key, value)], "the store is what it was");
    host.start();
}

#[test]
fn directories_cgroups_and_mounts_of_containers_that_are_gone() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    let api = host.run("api", "web", &[], &["sleep", "1000"]);
    let of_nobody = "is of container 0123456789ab, which does not exist";
    for directory in [host.data_dir().join("containers"), host.run_dir().join("containers")] {
        let stray = directory.join(GHOST);
        fs::create_dir(&stray).expect("root may");
        fs::write(stray.join("file"), "x").expect("root may");
        named_and_mended(&host, &stray.display().to_string(), of_nobody);
        assert!(!stray.exists());
    }
    let stray = host.run_dir().join("containers").join(GHOST);
    let mounted = stray.join("a mount");
    fs::create_dir_all(&mounted).expect("root may");
    let status = Command::new("mount").args(["-t", "tmpfs", "ghost"]).arg(&mounted).status().expect("mount runs");
    assert!(status.success());
    named_and_mended(&host, &stray.display().to_string(), of_nobody);
    assert!(!fs::read_to_string("/proc/self/mountinfo").expect("proc").contains(GHOST), "it is unmounted");

    let table = fs::read_to_string(format!("/proc/{}/cgroup", api.pid)).expect("it runs");
    let own = table.lines().filter_map(|line| line.split(':').nth(2)).find(|path| path.contains(&api.id));
    let parent = Path::new(own.expect("it has a cgroup")).parent().expect("it has a parent");
    let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/devices"].map(PathBuf::from);
    let mut own = roots.iter().map(|root| root.join(parent.strip_prefix("/").expect("absolute")));
    let stray = own.rfind(|path| path.is_dir()).expect("in one of the layouts").join(GHOST);
    fs::create_dir(&stray).expect("root may");
    named_and_mended(&host, &stray.display().to_string(), of_nobody);
    assert!(!stray.exists());

    let foreign = host.data_dir().join("containers/notes.txt");
    fs::write(&foreign, "x").expect("root may");
    let told = host.fabric(&["doctor", "--fix"]).expect_code(0);
    assert!(told.stdout.contains("warning") && told.stdout.contains("notes.txt"), "{told}");
    assert!(foreign.exists(), "what is not Fabric's is left alone");
    fs::remove_file(foreign).expect("it is the test's");
    assert_eq!(host.attached("api"), api, "the container itself went on");
}

#[test]
fn files_of_a_running_container_that_are_of_before() {
    let host = Host::with_config("upstreams = []");
    host.ok(&["network", "create", "web", "--subnet", "10.9.8.0/24"]);
    let api = host.run("api", "web", &[], &["sleep", "1000"]);
    let read = |name: &str| host.ok(&["exec", "api", "cat", &format!("/etc/{name}")]);
    let before = ["resolv.conf", "hosts"].map(read);
    let files = host.data_dir().join("containers").join(&api.id);
    // What a container writes into them is its own business.
    host.ok(&["exec", "api", "sh", "-c", "echo 10.0.0.1 own >> /etc/hosts"]);
    host.assert_healthy();
    // As after a crash in the middle of a change: in place, so that the container sees it.
    fs::write(files.join("resolv.conf"), "nameserver 10.9.7.1\n").expect("root may");
    fs::write(files.join("written-by-fabric"), "== resolv.conf\nnameserver 10.9.7.1\n").expect("root may");
    assert_eq!(read("resolv.conf"), "nameserver 10.9.7.1", "the container sees it");
    let of_before = "has /etc/resolv.conf and /etc/hosts of before its networks were changed";
    named_and_mended(&host, "container `api`", of_before);
    assert_eq!(["resolv.conf", "hosts"].map(read), before);
    assert_eq!(host.attached("api"), api, "the container itself went on");
}

#[test]
fn images_that_are_damaged_or_left_over() {
    let host = Host::new();
    let images = host.data_dir().join("images");
    let (blob, layer) = (images.join("blobs/sha256").join("0".repeat(64)), images.join("l").join("0".repeat(24)));
    // What the daemon itself tidies up when it starts is over once these are gone.
    host.kill();
    fs::write(&blob, "x").expect("root may");
    fs::create_dir(&layer).expect("root may");
    host.start();
    eventually("netd has tidied up", || (!blob.exists() && !layer.exists()).then_some(()));
    host.assert_healthy();
    fs::write(&blob, "x").expect("root may");
    named_and_mended(&host, &blob.display().to_string(), "belongs to no image");
    fs::create_dir(&layer).expect("root may");
    named_and_mended(&host, &layer.display().to_string(), "belongs to no image");
    host.ok(&["run", "--rm", "busybox", "true"]);

    let layer = fs::read_dir(images.join("l")).expect("there").next().expect("one layer").expect("readable").path();
    let away = host.path("away");
    fs::rename(&layer, &away).expect("one file system");
    let told = host.fabric(&["doctor", "--fix"]).expect_code(1);
    assert!(told.stdout.contains("image `busybox:latest`") && told.stdout.contains("the layer is missing"), "{told}");
    assert!(told.stdout.contains("import it again"), "{told}");
    fs::rename(&away, &layer).expect("one file system");
    host.assert_healthy();
}

#[test]
fn what_nobody_made_is_named_and_in_nobodys_way() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    let api = host.run("api", "web", &[], &["sleep", "1000"]);
    let data = host.data_dir();
    // Made where each could be taken for one of Fabric's own, and before a start, which reads them all.
    host.terminate();
    let directories = ["images/layers/stray", "images/names/stray", "images/blobs/sha256/stray", "images/tmp/stray"];
    let files = ["images/l/stray", "images/images/stray.json", "images/stray", "stray.redb"];
    let in_container = format!("containers/{}/stray", api.id);
    for directory in directories {
        fs::create_dir(data.join(directory)).expect("root may");
    }
    let files: Vec<&str> = files.into_iter().chain([&*in_container]).collect();
    for file in &files {
        fs::write(data.join(file), "x").expect("root may");
    }
    host.start();
    let told = host.fabric(&["doctor", "--fix"]).expect_code(0);
    assert!(!told.stdout.contains("mended"), "{told}");
    for stray in directories.iter().chain(&files) {
        let path = data.join(stray);
        let line = format!("{}: is nothing that Fabric makes", path.display());
        assert!(told.stdout.contains(&line) && path.exists(), "`{line}` is named, and it is left alone\n{told}");
    }
    assert_eq!(told.stdout.matches("hint: it is in nobody's way; move it away by hand").count(), 2, "{told}");
    host.ok(&["run", "--rm", "busybox", "true"]);
    host.ok(&["image", "import", &tests::busybox_tar().to_string_lossy(), "other"]);
    host.ok(&["image", "rm", "other"]);
    // Each hint works.
    for stray in directories {
        fs::remove_dir(data.join(stray)).expect("it is the test's");
    }
    for stray in files {
        fs::remove_file(data.join(stray)).expect("it is the test's");
    }
    assert!(!host.fabric(&["doctor"]).expect_code(0).stdout.contains("warning"));
    assert_eq!(host.attached("api"), api, "the container itself went on");
}

#[test]
fn what_is_left_of_an_import_is_named_and_mended() {
    let host = Host::new();
    let (half_made, held) =
        (host.data_dir().join("images/tmp/.tmpAb12Cd"), host.data_dir().join("images/tmp/.tmpEf34Gh"));
    fs::create_dir_all(half_made.join("1/etc")).expect("root may");
    // One that an import works on.
    fs::create_dir(&held).expect("root may");
    let import = fs::File::open(&held).expect("it is there");
    rustix::fs::flock(&import, rustix::fs::FlockOperation::LockExclusive).expect("nobody holds it");
    named_and_mended(&host, &half_made.display().to_string(), "belongs to no image");
    assert!(!half_made.exists() && held.exists());
    fs::remove_dir(held).expect("it is empty");
}

#[test]
fn links_rules_and_settings_are_named_or_restored_already() {
    let host = Host::new();
    host.ok(&["network", "create", "web", "--subnet", "10.9.8.0/24", "--subnet", "fd09::/64"]);
    host.run("api", "web", &["-p", "8080:80"], &["sleep", "1000"]);
    let (bridge, port) = (host.interface("fb-"), host.interface("fe-"));
    let bridge_of_web = format!("interface {bridge} of network `web`");
    let port_of_api = format!("interface {port} of container `api`");
    let damages: [(&[&str], &str, &str); 8] = [
        (&["ip", "link", "set", &bridge, "mtu", "1400"], &bridge_of_web, "should have mtu 1500"),
        (&["ip", "address", "del", "10.9.8.1/24", "dev", &bridge], &bridge_of_web, "lacks the address 10.9.8.1/24"),
        (&["ip", "address", "del", "fd09::1/64", "dev", &bridge], &bridge_of_web, "lacks the address fd09::1/64"),
        (&["ip", "link", "set", &port, "down"], &port_of_api, "should have up"),
        (&["nft", "flush", "ruleset"], "table inet fabric or bridge fabric", "is missing or was altered"),
        (&["nft", "flush", "set", "inet", "fabric", "bridges"], "element bridge ", "is missing"),
        (&["sysctl", "-qw", "net.ipv4.ip_forward=0"], "net.ipv4.ip_forward", "is 0 and should be 1"),
        (&["sysctl", "-qw", "net.ipv6.conf.all.forwarding=0"], "net.ipv6.conf.all.forwarding", "is 0 and should be 1"),
    ];
    let healthy = host.kernel_state();
    for (damage, object, difference) in damages {
        host.namespace().run(damage);
        let told = host.fabric(&["doctor", "--fix"]).expect_code(0);
        // netd looks at the host by itself, too, and may have been there first.
        let mended: Vec<&str> = told.stdout.lines().filter(|line| line.starts_with("mended: ")).collect();
        let named = mended.iter().any(|line| line.contains(object) && line.contains(difference));
        assert!(named || mended.is_empty(), "{damage:?}: {told}");
        // Before netd's own look at everything, which comes every 10 s.
        let restored = within(std::time::Duration::from_secs(8), || (host.kernel_state() == healthy).then_some(()));
        assert!(restored.is_some(), "{damage:?}: {}", tests::difference(&healthy, &host.kernel_state()));
        host.assert_healthy();
    }
}

#[test]
fn what_the_host_comes_to_use_of_a_networks_range_is_named_and_logged_once() {
    let host = Host::new();
    let _lan = host.lan();
    host.ok(&["network", "create", "web", "--subnet", "10.9.8.0/24"]);
    let on_lan =
        ["network", "create", "lan", "--driver", "macvlan", "--opt", "parent=lan0", "--subnet", "192.0.2.0/24"];
    host.ok(&on_lan);
    let doctor = || host.fabric(&["doctor"]).expect_code(0).stdout;
    assert!(!doctor().contains("overlaps"), "a LAN is where its network is meant to be");
    let logged = |what: &str| {
        let log = fs::read_to_string(host.path("netd.log")).expect("netd writes it");
        log.lines().filter(|line| line.contains(" WARN ") && line.contains(what)).count()
    };
    let route = "its subnet 10.9.8.0/24 overlaps the host's 10.9.0.0/16 on interface lan0";
    let address = "its subnet 10.9.8.0/24 overlaps the host's 10.9.8.128/25 on interface lan0";
    for (command, what) in [
        (&["ip", "route", "add", "10.9.0.0/16", "dev", "lan0"][..], route),
        (&["ip", "address", "add", "10.9.8.200/25", "dev", "lan0"], address),
    ] {
        host.namespace().run(command);
        let told = doctor();
        assert!(told.contains(&format!("network `web`: {what}")) && told.contains("overlaps     warning"), "{told}");
        eventually("it is logged", || (logged(what) > 0).then_some(()));
    }
    assert_eq!([route, address].map(logged), [1, 1]);
    host.namespace().run(&["ip", "address", "del", "10.9.8.200/25", "dev", "lan0"]);
    host.namespace().run(&["ip", "route", "del", "10.9.0.0/16", "dev", "lan0"]);
    assert!(!doctor().contains("overlaps"));
}

#[test]
fn a_gateway_that_does_not_answer_is_named() {
    let host = Host::with_config("dns_query_log = 10");
    host.ok(&["network", "create", "web", "--subnet", "10.9.8.0/24"]);
    host.assert_healthy();
    assert_eq!(host.ok(&["dns", "log", "--format", "json"]), "", "the doctor is no client");
    let nft = |script: &str| host.namespace().run(&["nft", script]);
    nft("table inet other {\n chain input {\n type filter hook input priority 0; iifname lo udp dport 53 drop\n }\n}");
    let told = host.fabric(&["doctor"]).expect_code(1);
    let line = "DNS of network `web`: 10.9.8.1:53 does not answer the host: no answer within 2s";
    assert!(told.stdout.contains(line), "{told}");
    nft("delete table inet other");
    host.assert_healthy();
}
