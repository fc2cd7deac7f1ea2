//! OCI layouts and docker-archives.

use std::fs;

use image::{ImageError, Limits};
use model::Digest;
use serde_json::{Value, json};

use crate::tape::{Store, Tape, digest, gzip, image_name, names, zstd};

/// A layout, or an archive of `docker save`, being written.
#[derive(Debug, Default, Clone)]
struct Layout {
    tape: Tape,
    /// Descriptors for `index.json`.
    roots: Vec<Value>,
}

impl Layout {
    fn blob(&mut self, content: &[u8]) -> Value {
        let digest = digest(content);
        self.tape = std::mem::take(&mut self.tape).file(&format!("blobs/sha256/{}", digest.hex()), content);
        json!({"mediaType": "x", "digest": digest.as_str(), "size": content.len()})
    }

    /// Adds an image of these layers: as they are stored, and as their diff identifiers say.
    fn image(&mut self, architecture: &str, layers: &[(Vec<u8>, Digest)]) -> Value {
        let config = self.blob(&configuration(architecture, layers));
        let layers: Vec<Value> = layers.iter().map(|(stored, _)| self.blob(stored)).collect();
        self.blob(json!({"schemaVersion": 2, "config": config, "layers": layers}).to_string().as_bytes())
    }

    fn end(self) -> Vec<u8> {
        let index = json!({"schemaVersion": 2, "manifests": self.roots}).to_string();
        // Last, as tools write it that learn of the digests on the way.
        self.tape.file("index.json", index.as_bytes()).file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#).end()
    }
}

fn configuration(architecture: &str, layers: &[(Vec<u8>, Digest)]) -> Vec<u8> {
    let diff_ids: Vec<&str> = layers.iter().map(|(_, diff_id)| diff_id.as_str()).collect();
    let config = json!({
        "Entrypoint": ["/entry"], "Cmd": null, "Env": ["A=b=c", "NOT_SET"], "WorkingDir": "/srv", "User": "web:www",
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}, "9/sctp": {}, "7/icmp": {}, "0": {}}, "Labels": {"k": "v"},
        "StopSignal": "SIGQUIT", "Volumes": null, "OnBuild": [],
    });
    json!({"created": "2020-01-02T03:04:05Z", "architecture": architecture, "os": "linux", "config": config,
           "rootfs": {"type": "layers", "diff_ids": diff_ids}})
    .to_string()
    .into_bytes()
}

fn host() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn lower() -> Vec<u8> {
    Tape::default().directory("tmp", 0o1777).file("etc/a", b"a").file("etc/b", b"b").end()
}

fn upper() -> Vec<u8> {
    Tape::default().file("etc/.wh.a", b"").file("tmp/c", b"c").end()
}

/// Layers compressed in every way.
fn layers() -> Vec<(Vec<u8>, Digest)> {
    let third = Tape::default().file("d", b"d").end();
    vec![(gzip(&lower()), digest(&lower())), (zstd(&upper()), digest(&upper())), (third.clone(), digest(&third))]
}

fn simple() -> Vec<u8> {
    let mut layout = Layout::default();
    let root = layout.image(host(), &layers());
    layout.roots.push(root);
    layout.end()
}

#[test]
fn a_layout_becomes_an_image_with_its_configuration() {
    let store = Store::new();
    let image = store.import(&gzip(&simple())).expect("a good layout");
    let config = &image.config;
    assert_eq!(config.entrypoint, ["/entry"]);
    assert_eq!(config.cmd, [""; 0]);
    let environment: Vec<String> = config.environment.iter().map(ToString::to_string).collect();
    assert_eq!(environment, ["A=b=c"]);
    assert_eq!(config.working_directory.as_deref(), Some("/srv".as_ref()));
    assert_eq!(config.user.as_deref(), Some("web:www"));
    let ports: Vec<String> = config.exposed_ports.iter().map(ToString::to_string).collect();
    assert_eq!(ports, ["9/sctp", "53/udp", "80/tcp"]);
    assert_eq!(config.labels["k"], "v");
    assert_eq!(config.stop_signal.as_deref(), Some("SIGQUIT"));
    assert_eq!(image.created_at.expect("a time").to_string(), "2020-01-02T03:04:05Z");
    assert_eq!(image.size, 4);

    let layers = store.images.layers(&image);
    assert_eq!(layers.len(), 3);
    assert_eq!(names(&layers[0]), ["d"]);
    assert_eq!(names(&layers[1]), ["etc", "tmp"]);
    assert_eq!(fs::read(layers[2].join("etc/a")).expect("a file"), b"a");
    // The upper layer does not describe /tmp; it must not lose its sticky bit.
    use std::os::unix::fs::MetadataExt;
    assert_eq!(fs::metadata(layers[1].join("tmp")).expect("a directory").mode() & 0o7777, 0o1777);
}

#[test]
fn layers_are_shared_and_go_with_the_last_image() {
    let store = Store::new();
    let three = store.import_as(&simple(), "three").expect("a good layout");
    let mut layout = Layout::default();
    let root = layout.image(host(), &layers()[..2]);
    layout.roots.push(root);
    let two = store.import_as(&layout.end(), "two").expect("a good layout");
    assert_eq!(store.images.layers(&two), store.images.layers(&three)[1..]);
    assert_eq!(names(&store.path().join("l")).len(), 3);

    let removed = store.images.remove(&image_name("three"), None, &Default::default()).expect("removed");
    assert_eq!((removed.digest, removed.layers, removed.octets), (three.digest.clone(), 1, 1));
    assert_eq!(removed.images, [three.digest]);
    assert_eq!(names(&store.path().join("l")).len(), 2);
    assert_eq!(store.images.find(&image_name("two")).expect("readable"), Some(two));
    store.images.remove(&image_name("two"), None, &Default::default()).expect("removed");
    for directory in ["l", "layers", "images", "names", "blobs/sha256", "tmp"] {
        assert_eq!(names(&store.path().join(directory)), [""; 0], "{directory}");
    }
}

#[test]
fn the_index_is_searched_for_this_host() {
    let mut layout = Layout::default();
    let mut foreign = layout.image("s390x", &layers()[..1]);
    foreign["platform"] = json!({"os": "linux", "architecture": "s390x"});
    let mut ours = layout.image(host(), &layers()[..1]);
    ours["platform"] = json!({"os": "linux", "architecture": host()});
    let mut attestation = layout.blob(b"{}");
    attestation["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    let inner = json!({"schemaVersion": 2, "manifests": [attestation, foreign, ours]}).to_string();
    let index = layout.blob(inner.as_bytes());
    layout.roots.push(index);
    let image = Store::new().import(&layout.end()).expect("an image for this host");
    assert_eq!(json!(image.digest.as_str()), ours["digest"]);
}

#[test]
fn other_platforms_are_refused_by_name() {
    // With a platform in the index, and with none but in the configuration.
    for named in [true, false] {
        let mut layout = Layout::default();
        let mut root = layout.image("s390x", &layers()[..1]);
        if named {
            root["platform"] = json!({"os": "linux", "architecture": "s390x"});
        }
        layout.roots.push(root);
        let message = Store::new().refused(&layout.end());
        assert!(message.contains(&format!("no image for linux/{}, only for linux/s390x", host())), "{message}");
    }
}

#[test]
fn several_images_are_refused_by_name() {
    let mut layout = Layout::default();
    for (name, count) in [("one", 1), ("two", 2)] {
        let mut root = layout.image(host(), &layers()[..count]);
        root["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        layout.roots.push(root);
    }
    let message = Store::new().refused(&layout.end());
    assert!(message.contains("several images: one, two"), "{message}");
}

#[test]
fn one_image_under_two_names_is_one_image() {
    let mut layout = Layout::default();
    let root = layout.image(host(), &layers());
    layout.roots = vec![root.clone(), root];
    Store::new().import(&layout.end()).expect("one image");
}

/// Changes what `from` says to `to`, of the same length, wherever it stands.
fn altered(archive: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut archive = archive.to_vec();
    let at = archive.windows(from.len()).position(|window| window == from).expect("it is in there");
    archive[at..at + to.len()].copy_from_slice(to);
    archive
}

#[test]
fn content_that_is_not_what_it_is_called_is_refused_by_name() {
    let plain = Tape::default().file("a", b"content").end();
    let mut layout = Layout::default();
    let root = layout.image(host(), &[(plain.clone(), digest(&plain))]);
    layout.roots.push(root.clone());
    let good = layout.clone().end();
    Store::new().import(&good).expect("the control");

    let layer = format!("layer {} does not match its description: its digest is", digest(&plain));
    let manifest = format!("manifest {}", root["digest"].as_str().expect("text"));
    for (archive, expected) in [
        (altered(&good, b"content", b"CONTENT"), layer.as_str()),
        (altered(&good, b"SIGQUIT", b"SIGTERM"), "configuration sha256:"),
        (altered(&good, b"\"schemaVersion\":2}", b"\"schemaVersion\":3}"), &manifest),
    ] {
        let message = Store::new().refused(&archive);
        assert!(message.contains(expected), "{message}\n{expected}");
    }

    // Described with another size.
    let mut wrong = layout.clone();
    wrong.roots[0]["size"] = json!(1);
    let message = Store::new().refused(&wrong.end());
    assert!(message.contains("octets long, not 1"), "{message}");

    // The blob is right and the configuration is not.
    let mut wrong = Layout::default();
    let root = wrong.image(host(), &[(gzip(&plain), digest(b"another"))]);
    wrong.roots.push(root);
    let message = Store::new().refused(&wrong.end());
    let expected = format!("decompressed, does not match its description: its digest is {}", digest(&plain));
    assert!(message.contains(&expected), "{message}");
}

#[test]
fn a_layer_that_is_there_already_is_still_verified() {
    let plain = Tape::default().file("a", b"content").end();
    let mut layout = Layout::default();
    let root = layout.image(host(), &[(plain.clone(), digest(&plain))]);
    layout.roots.push(root);
    let store = Store::new();
    let good = layout.end();
    store.import(&good).expect("the control");
    let message = store.refused(&altered(&good, b"content", b"CONTENT"));
    assert!(message.contains("its digest is"), "{message}");
}

#[test]
fn broken_layouts_are_refused_by_what_is_broken() {
    let document = |content: &str| {
        let mut layout = Layout::default();
        let root = layout.blob(content.as_bytes());
        layout.roots.push(root);
        layout.end()
    };
    let mut missing = Layout::default();
    let root = missing.image(host(), &layers());
    missing.tape = Tape::default();
    missing.roots.push(root);
    let mut uneven = Layout::default();
    let config = uneven.blob(&configuration(host(), &layers()));
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": []}).to_string();
    let root = uneven.blob(manifest.as_bytes());
    uneven.roots.push(root);
    let mut empty = Layout::default();
    let root = empty.image(host(), &[]);
    empty.roots.push(root);
    let mut nested = Layout::default();
    let mut root = nested.image(host(), &layers()[..1]);
    for _ in 0..6 {
        root = nested.blob(json!({"schemaVersion": 2, "manifests": [root]}).to_string().as_bytes());
    }
    nested.roots.push(root);
    let both = json!({"config": json!({"digest": digest(b"x"), "size": 1}), "layers": [], "manifests": []});
    for (archive, expected) in [
        (document("{}"), "is neither a manifest nor an index"),
        (document(&both.to_string()), "is neither a manifest nor an index"),
        (document("no json"), "expected ident"),
        (missing.end(), "is missing from the archive"),
        (uneven.end(), "it lists 3 layers, its manifest 0"),
        (empty.end(), "the image has no layers"),
        (nested.end(), "nested too deep"),
        (Layout::default().end(), "only for nothing that is an image"),
    ] {
        let message = Store::new().refused(&archive);
        assert!(message.contains(expected), "{message}\n{expected}");
    }
}

#[test]
fn limits_of_documents_and_layers_hold() {
    let store = Store::limited(Limits { layers: 2, ..Limits::default() });
    let message = store.refused(&simple());
    assert!(message.contains("more than 2 layers (limit `layers`)"), "{message}");
    let store = Store::limited(Limits { document: 100, ..Limits::default() });
    let message = store.refused(&simple());
    assert!(message.contains("longer than 100 octets (limit `document`)"), "{message}");
}

/// What `docker save` wrote before it wrote layouts, with one layer stored as a link to the other.
fn docker_archive(images: usize) -> (Vec<u8>, Vec<u8>) {
    let layer = lower();
    let config = configuration(host(), &[(vec![], digest(&layer)), (vec![], digest(&layer))]);
    let name = format!("{}.json", digest(&config).hex());
    let entries: Vec<Value> = (0..images)
        .map(|index| json!({"Config": name, "RepoTags": [format!("app:{index}")], "Layers": ["one/layer.tar", "two/layer.tar"]}))
        .collect();
    let archive = Tape::default()
        .directory("one/", 0o755)
        .file("one/VERSION", b"1.0")
        .file("one/layer.tar", &layer)
        .symlink("two/layer.tar", "../one/layer.tar")
        .file(&name, &config)
        .file("manifest.json", json!(entries).to_string().as_bytes())
        .end();
    (archive, config)
}

#[test]
fn a_docker_archive_becomes_an_image() {
    let store = Store::new();
    let (archive, config) = docker_archive(1);
    let image = store.import(&archive).expect("a good archive");
    assert_eq!(store.images.layers(&image).len(), 2);
    assert_eq!(image.config.entrypoint, ["/entry"]);
    let blob = store.path().join("blobs/sha256").join(digest(&config).hex());
    assert_eq!(fs::read(blob).expect("a blob"), config, "verbatim");
    assert_eq!(store.import_as(&archive, "again").expect("twice").digest, image.digest);
}

#[test]
fn broken_docker_archives_are_refused_by_what_is_broken() {
    let (archive, _) = docker_archive(1);
    for (archive, expected) in [
        (docker_archive(2).0, "several images: app:0, app:1"),
        (altered(&archive, b"SIGQUIT", b"SIGTERM"), "configuration `"),
        (
            altered(&archive, b"two/layer.tar\"", b"two/layer.tax\""),
            "layer `two/layer.tax`, which `manifest.json` names,",
        ),
        (altered(&archive, b"two/layer.tar\"", b"../../../../x\""), "is missing from the archive"),
    ] {
        let message = Store::new().refused(&archive);
        assert!(message.contains(expected), "{message}\n{expected}");
    }
}

#[test]
fn a_root_file_system_with_such_a_file_is_one() {
    let archive = Tape::default().file("manifest.json", b"{\"name\": \"an app\"}").file("index.json", b"[]").end();
    let store = Store::new();
    assert_eq!(names(&store.root(&archive)), ["index.json", "manifest.json"]);
}

#[test]
fn an_image_in_use_keeps_its_last_name_and_outlives_a_lost_one() {
    let store = Store::new();
    let archive = Tape::default().file("a", b"1").end();
    let old = store.import_as(&archive, "app").expect("a good archive");
    store.import_as(&archive, "app:v1").expect("a good archive");
    let in_use = [old.digest.clone()].into();
    // One of two names goes.
    let removed = store.images.remove(&image_name("app:v1"), None, &in_use).expect("untagged");
    assert_eq!((removed.images, removed.layers), (vec![], 0));
    let error = store.images.remove(&image_name("app"), None, &in_use).expect_err("refused");
    assert!(
        matches!(&error, ImageError::InUse { name, digest } if name.as_str() == "app:latest" && *digest == old.digest)
    );
    // A new image takes the name; the old one still runs.
    let new = store.import_as(&Tape::default().file("a", b"22").end(), "app").expect("a good archive");
    assert_eq!(store.images.find(&image_name("app")).expect("readable"), Some(new.clone()));
    // Whoever means the old one does not take the new one's name.
    let error = store.images.remove(&image_name("app"), Some(&old.digest), &in_use).expect_err("it is another's");
    assert!(matches!(error, ImageError::NotFound { .. }), "{error}");
    assert_eq!(store.images.meaning(&image_name("app")).expect("readable"), Some(new.digest.clone()));
    store.import_as(&Tape::default().file("b", b"").end(), "other").expect("a good archive");
    store.images.remove(&image_name("other"), None, &in_use).expect("removed");
    let found = store.images.by_digest(&old.digest).expect("readable").expect("kept, because it is in use");
    assert!(store.images.layers(&found)[0].join("a").exists());
    // When nothing uses it, it goes with the next removal.
    let removed = store.images.remove(&image_name("app"), Some(&new.digest), &Default::default()).expect("removed");
    assert_eq!(removed.images.len(), 2);
    assert_eq!(names(&store.path().join("l")), [""; 0]);
    let error = store.images.remove(&image_name("app"), None, &Default::default()).expect_err("gone");
    assert!(error.to_string().contains("image `app:latest` does not exist"), "{error}");
}
