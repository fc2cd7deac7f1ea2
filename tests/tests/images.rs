//! Images from every form that can be imported, and run.

use std::{
    fs,
    io::Write,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tests::{Host, busybox_tar, eventually};

/// Runs a tool that must succeed; its standard output.
fn tool(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

fn sha256(path: &Path) -> String {
    tool("sha256sum", &[text(path)]).split(' ').next().expect("a hash comes first").to_owned()
}

/// Packs a directory to a layer's archive.
fn pack(directory: &Path, archive: &Path) {
    tool("tar", &["-C", text(directory), "-cf", text(archive), "."]);
}

/// A root file system with a shell and a file that a later layer takes away, and that later layer: two archives.
fn layers(host: &Host) -> [PathBuf; 2] {
    let (base, change) = (host.path("base"), host.path("change"));
    fs::create_dir_all(base.join("bin")).expect("the directory is ours");
    fs::copy("/bin/busybox", base.join("bin/busybox")).expect("busybox-static is installed");
    for applet in ["sh", "cat", "ls"] {
        std::os::unix::fs::symlink("busybox", base.join("bin").join(applet)).expect("the directory is ours");
    }
    fs::create_dir_all(&change).expect("the directory is ours");
    fs::write(base.join("taken-away"), "old").expect("the directory is ours");
    fs::write(base.join("replaced"), "old").expect("the directory is ours");
    fs::write(change.join(".wh.taken-away"), "").expect("the directory is ours");
    fs::write(change.join("replaced"), "new").expect("the directory is ours");
    [("base", base), ("change", change)].map(|(name, directory)| {
        let archive = host.path(&format!("{name}.tar"));
        pack(&directory, &archive);
        archive
    })
}

fn configuration(layers: &[PathBuf]) -> Value {
    let diff_ids: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", sha256(layer))).collect();
    json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": {
            "Env": ["PATH=/bin", "FROM_IMAGE=yes"],
            "Entrypoint": ["/bin/sh", "-c"],
            "Cmd": ["cat /replaced; ls /; echo $FROM_IMAGE"],
            "WorkingDir": "/bin",
        },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    })
}

fn assert_runs_its_command(host: &Host, image: &str) {
    let seen = host.ok(&["run", "--rm", image]);
    assert!(seen.starts_with("new"), "the later layer's file: {seen}");
    assert!(!seen.contains("taken-away"), "what the later layer took away: {seen}");
    assert!(seen.ends_with("yes"), "the image's environment: {seen}");
    assert_eq!(host.ok(&["run", "--rm", image, "cat /replaced"]), "new", "an argument replaces the command");
    assert_eq!(host.ok(&["run", "--rm", image, "pwd"]), "/bin", "the image's working directory");
}

#[test]
fn a_directory_with_an_oci_layout() {
    let host = Host::stopped("");
    host.start();
    let layers = layers(&host);
    let layout = host.path("layout");
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs).expect("the directory is ours");
    let add = |path: &Path, media_type: &str| {
        let hash = sha256(path);
        fs::copy(path, blobs.join(&hash)).expect("the directory is ours");
        let size = fs::metadata(path).expect("it was written").len();
        json!({ "mediaType": media_type, "digest": format!("sha256:{hash}"), "size": size })
    };
    let add_document = |document: &Value, media_type: &str| {
        let path = host.path("document");
        fs::write(&path, document.to_string()).expect("the directory is ours");
        add(&path, media_type)
    };
    let compressed = host.path("change.tar.gz");
    fs::write(&compressed, Command::new("gzip").arg("-c").arg(&layers[1]).output().expect("gzip runs").stdout)
        .expect("the directory is ours");
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": add_document(&configuration(&layers), "application/vnd.oci.image.config.v1+json"),
        "layers": [
            add(&layers[0], "application/vnd.oci.image.layer.v1.tar"),
            add(&compressed, "application/vnd.oci.image.layer.v1.tar+gzip"),
        ],
    });
    let index = json!({
        "schemaVersion": 2,
        "manifests": [add_document(&manifest, "application/vnd.oci.image.manifest.v1+json")],
    });
    fs::write(layout.join("index.json"), index.to_string()).expect("the directory is ours");
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("the directory is ours");
    host.ok(&["image", "import", text(&layout), "team/app:1.0"]);
    assert_runs_its_command(&host, "team/app:1.0");
}

#[test]
fn a_docker_archive() {
    let host = Host::stopped("");
    host.start();
    let layers = layers(&host);
    let saved = host.path("saved");
    fs::create_dir_all(&saved).expect("the directory is ours");
    for layer in &layers {
        fs::copy(layer, saved.join(layer.file_name().expect("it has one"))).expect("the directory is ours");
    }
    fs::write(saved.join("config.json"), configuration(&layers).to_string()).expect("the directory is ours");
    let manifest = json!([{ "Config": "config.json", "RepoTags": ["app:1.0"], "Layers": ["base.tar", "change.tar"] }]);
    fs::write(saved.join("manifest.json"), manifest.to_string()).expect("the directory is ours");
    let archive = host.path("saved.tar");
    pack(&saved, &archive);
    host.ok(&["image", "import", text(&archive), "app"]);
    assert_runs_its_command(&host, "app");
}

#[test]
fn a_directory_with_a_root_file_system() {
    let host = Host::stopped("");
    host.start();
    layers(&host);
    host.ok(&["image", "import", text(&host.path("base")), "base"]);
    assert_eq!(host.ok(&["run", "--rm", "base", "cat", "/taken-away"]), "old");
}

#[test]
fn an_image_in_use_stays_and_an_unused_one_goes_with_all_that_is_its_own() {
    let host = Host::new();
    host.ok(&["run", "-d", "--name", "user", "busybox", "sleep", "1000"]);
    let refused = host.fabric(&["image", "rm", "busybox"]).expect_code(1);
    assert!(refused.stderr.contains("in use"), "{refused}");
    host.ok(&["exec", "user", "true"]);
    host.ok(&["rm", "-f", "user"]);
    host.ok(&["image", "rm", "busybox"]);
    assert_eq!(host.json(&["image", "ls"]), json!([]));
    let left = tool("find", &[text(&host.data_dir().join("images")), "-mindepth", "2", "-type", "f"]);
    assert_eq!(left, "", "nothing of it is left");
    host.fabric(&["run", "--rm", "busybox", "true"]).expect_code(125);
}

#[test]
fn nothing_is_asked_for_before_there_is_something_to_send() {
    let host = Host::stopped("");
    let mut command = host.fabric_command(&["image", "import", "-", "slow"]);
    let mut import = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    thread::sleep(Duration::from_millis(300));
    assert!(import.try_wait().expect("a child").is_none(), "it waits, though there is no daemon");
    import.stdin.take().expect("piped").write_all(b"something").expect("it reads");
    let output = import.wait_with_output().expect("ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("netd"), "{said}");
}

/// How many unpacked layers there are.
fn unpacked(host: &Host) -> usize {
    fs::read_dir(host.data_dir().join("images/l")).expect("netd made it").count()
}

#[test]
fn what_nobody_refers_to_any_more_goes() {
    let host = Host::new();
    let layers = layers(&host);
    let import = |layer: &Path| host.ok(&["image", "import", &layer.to_string_lossy(), "busybox"]);
    let tree = host.path("tree");
    assert_eq!(unpacked(&host), 1);
    host.ok(&["run", "-d", "--name", "one", "busybox", "sleep", "1000"]);
    host.ok(&["create", "--name", "two", "busybox", "true"]);
    import(&layers[0]);
    assert_eq!(unpacked(&host), 2, "the old one is what two containers were made from");
    host.ok(&["rm", "-f", "one"]);
    assert_eq!(unpacked(&host), 2, "it still is what one was made from");
    host.ok(&["rm", "two"]);
    assert_eq!(unpacked(&host), 1);
    host.assert_healthy();
    // Nobody was made from the one that is replaced now.
    fs::create_dir_all(&tree).expect("the directory is ours");
    fs::write(tree.join("file"), "another").expect("the directory is ours");
    let other = host.path("other.tar");
    pack(&tree, &other);
    import(&other);
    assert_eq!(unpacked(&host), 1);
    host.assert_healthy();
    // As a daemon that died in between leaves it.
    let stray = host.data_dir().join("images/l/0123456789abcdef01234567");
    host.kill();
    fs::create_dir(&stray).expect("the directory is ours");
    let blob = host.data_dir().join("images/blobs/sha256").join("0".repeat(64));
    fs::write(&blob, "stray").expect("the directory is ours");
    host.start();
    eventually("what is left over is gone", || (!stray.exists() && !blob.exists()).then_some(()));
    host.ok(&["image", "rm", "busybox"]);
}

#[test]
fn an_image_is_meant_by_its_digest_or_the_beginning_of_it() {
    let host = Host::new();
    let digest = host.json(&["image", "ls"])[0]["digest"].as_str().expect("a text").to_owned();
    let hex = digest.strip_prefix("sha256:").expect("its hash has a name");
    for reference in [&digest, hex, &hex[..12], &hex[..4], &format!("sha256:{}", &hex[..12])] {
        host.ok(&["run", "--name", "one", reference, "true"]);
        assert_eq!(host.json(&["inspect", "one"])["image"], "busybox:latest", "what it was made from has a name");
        host.ok(&["rm", "one"]);
    }
    for reference in [&hex[..3], "sha256:00000000", "0000"] {
        let refused = host.fabric(&["run", "--rm", reference, "true"]).expect_code(125);
        assert!(refused.stderr.contains(&format!("there is no image `{reference}`")), "{refused}");
    }
    let state = || host.json(&["image", "ls"]).to_string();
    let before = state();
    host.ok(&["run", "-d", "--name", "user", "busybox", "sleep", "1000"]);
    let refused = host.fabric(&["image", "rm", &hex[..12]]).expect_code(1);
    assert!(refused.stderr.contains("in use by container user"), "{refused}");
    host.ok(&["rm", "-f", "user"]);
    host.ok(&["image", "import", &busybox_tar().to_string_lossy(), "second:1"]);
    let refused = host.fabric(&["image", "rm", &hex[..12]]).expect_code(1);
    assert!(refused.stderr.contains("has more than one name: busybox:latest, second:1"), "{refused}");
    host.ok(&["image", "rm", "second:1"]);
    assert_eq!(state(), before);
    // A name that looks like the beginning of a digest is a name first.
    let tree = host.path("tree");
    fs::create_dir(&tree).expect("the directory is ours");
    fs::write(tree.join("file"), "another").expect("the directory is ours");
    host.ok(&["image", "import", &tree.to_string_lossy(), &hex[..6]]);
    host.ok(&["image", "rm", &hex[..6]]);
    assert_eq!(state(), before);
    // One that is damaged is in nobody else's way.
    host.ok(&["image", "import", &tree.to_string_lossy(), "damaged"]);
    let images = host.json(&["image", "ls"]);
    let other = images.as_array().expect("a list").iter().find(|image| image["name"] == "damaged:latest");
    let other = other.and_then(|image| image["digest"].as_str()?.strip_prefix("sha256:")).expect("a digest").to_owned();
    let manifest = host.data_dir().join("images/blobs/sha256").join(&other);
    let content = fs::read(&manifest).expect("it was imported");
    fs::write(&manifest, "{}").expect("the directory is ours");
    host.ok(&["run", "--rm", &hex[..12], "true"]);
    let refused = host.fabric(&["run", "--rm", &other[..12], "true"]).expect_code(125);
    assert!(refused.stderr.contains("its content does not match its digest"), "{refused}");
    fs::write(&manifest, content).expect("the directory is ours");
    host.ok(&["image", "rm", "damaged"]);
    assert_eq!(state(), before);
    host.ok(&["image", "rm", &hex[..12]]);
    assert_eq!(host.ok(&["image", "ls", "-q"]), "");
}

#[test]
fn an_import_whose_client_goes_away_once_it_has_sent_all_is_told_as_any_other() {
    let host = Host::stopped("");
    host.start();
    let tar = fs::read(busybox_tar()).expect("it was made");
    let mut client = UnixStream::connect(host.run_dir().join("netd.sock")).expect("netd listens");
    let head = format!("POST /v1/images?name=left HTTP/1.1\r\nHost: netd\r\nContent-Length: {}\r\n\r\n", tar.len());
    client.write_all(head.as_bytes()).and_then(|()| client.write_all(&tar)).expect("netd reads it");
    drop(client);
    eventually("it is imported", || host.ok(&["image", "ls"]).contains("left").then_some(()));
    let told = || host.ok(&["events", "--filter", "action=import"]).contains("left").then_some(());
    eventually("its import is told", told);
}
