//! `fabric doctor [--fix]`: each kind of damage is named on its object, mended, and gone afterwards.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use store::{Key, Store, Transaction};
use tests::{Host, within};

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

fn keys(host: &Host, prefix: &str) -> Vec<(Key, Vec<u8>)> {
    let store = store::Embedded::open(host.data_dir()).expect("no daemon holds it");
    let tokio = tokio::runtime::Runtime::new().expect("threads");
    let listing = tokio.block_on(store.list(prefix)).expect("it is readable");
    listing.entries.iter().map(|(key, entry)| (key.clone(), entry.value.to_vec())).collect()
}

fn commit(host: &Host, transaction: Transaction) {
    let store = store::Embedded::open(host.data_dir()).expect("no daemon holds it");
    let tokio = tokio::runtime::Runtime::new().expect("threads");
    tokio.block_on(store.commit(transaction)).expect("nothing is guarded");
}

#[test]
fn leases_without_endpoints_and_endpoints_without_leases() {
    let host = Host::new();
    host.ok(&["network", "create", "web", "--subnet", "10.9.8.0/24"]);
    host.run("api", "web", &[], &["sleep", "1000"]);
    host.terminate();
    let (key, value) = keys(&host, "leases/").pop().expect("the container has one");
    let text = String::from_utf8(value.clone()).expect("JSON");
    let endpoint = serde_json::from_str::<serde_json::Value>(&text).expect("JSON")["endpoint"].clone();
    let endpoint = endpoint.as_str().expect("a text");
    let leaked = text.replace(endpoint, &"f".repeat(endpoint.len())).replace("10.9.8.2", "10.9.8.99");
    let leaked_key: Key = key.to_string().replace("0a090802", "0a090863").parse().expect("a key");
    commit(&host, Transaction::durable().put(leaked_key, leaked.into_bytes()));
    host.start();
    assert_eq!(host.json(&["network", "inspect", "web"])["usage"]["used"], 2);
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
fn images_that_are_damaged_or_left_over() {
    let host = Host::new();
    let images = host.data_dir().join("images");
    let blob = images.join("blobs/sha256").join("0".repeat(64));
    fs::write(&blob, "x").expect("root may");
    named_and_mended(&host, &blob.display().to_string(), "belongs to no image");
    let layer = images.join("l/stray");
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
fn links_rules_and_settings_are_named_or_restored_already() {
    let host = Host::new();
    host.ok(&["network", "create", "web", "--subnet", "10.9.8.0/24"]);
    host.run("api", "web", &["-p", "8080:80"], &["sleep", "1000"]);
    let links = host.namespace().run(&["ip", "-o", "link"]);
    let link = |prefix: &str| {
        let names = links.lines().filter_map(|line| line.split(": ").nth(1)).map(|name| name.split('@').next());
        names.flatten().find(|name| name.starts_with(prefix)).expect("the network is there").to_owned()
    };
    let (bridge, port) = (link("fb-"), link("fe-"));
    let bridge_of_web = format!("interface {bridge} of network `web`");
    let port_of_api = format!("interface {port} of container `api`");
    let damages: [(&[&str], &str, &str); 6] = [
        (&["ip", "link", "set", &bridge, "mtu", "1400"], &bridge_of_web, "should have mtu 1500"),
        (&["ip", "address", "del", "10.9.8.1/24", "dev", &bridge], &bridge_of_web, "lacks the address 10.9.8.1/24"),
        (&["ip", "link", "set", &port, "down"], &port_of_api, "should have up"),
        (&["nft", "flush", "ruleset"], "table inet fabric", "is missing or was altered"),
        (&["nft", "flush", "set", "inet", "fabric", "bridges"], "element bridge ", "is missing"),
        (&["sysctl", "-qw", "net.ipv4.ip_forward=0"], "net.ipv4.ip_forward", "is 0 and should be 1"),
    ];
    let healthy = host.kernel_state();
    for (damage, object, difference) in damages {
        host.namespace().run(damage);
        let told = host.fabric(&["doctor", "--fix"]).expect_code(0);
        // netd looks at the host by itself, too, and may have been there first.
        let mended: Vec<&str> = told.stdout.lines().filter(|line| line.starts_with("mended: ")).collect();
        let named = mended.iter().any(|line| line.contains(object) && line.contains(difference));
        assert!(named || mended.is_empty(), "{damage:?}: {told}");
        let restored = within(std::time::Duration::from_secs(3), || (host.kernel_state() == healthy).then_some(()));
        assert!(restored.is_some(), "{damage:?}: {}", tests::difference(&healthy, &host.kernel_state()));
        host.assert_healthy();
    }
}
