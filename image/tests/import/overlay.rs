//! The layers, stacked by the kernel's overlayfs, show what the image means.

use std::{os::unix::fs::MetadataExt, path::Path, process::Command};

use image::{Image, Snapshot};
use serde_json::json;

use crate::tape::{Store, Tape, digest};

/// Imports an image of these layers, bottom first.
fn import(store: &Store, layers: &[Vec<u8>]) -> Image {
    let diff_ids: Vec<_> = layers.iter().map(|layer| digest(layer)).collect();
    let config = json!({"rootfs": {"type": "layers", "diff_ids": diff_ids}}).to_string();
    let names: Vec<String> = (0..layers.len()).map(|index| format!("{index}.tar")).collect();
    let manifest = json!([{"Config": "config.json", "Layers": names}]).to_string();
    let mut tape = Tape::default().file("config.json", config.as_bytes()).file("manifest.json", manifest.as_bytes());
    for (name, layer) in names.iter().zip(layers) {
        tape = tape.file(name, layer);
    }
    store.import(&tape.end()).expect("a good archive")
}

/// Mounts the image in a mount namespace of its own, runs `script` in its root, and gives what it prints, sorted.
fn mounted(store: &Store, image: &Image, script: &str) -> Vec<String> {
    mounted_with(store, image, "", script)
}

/// The same with more options of overlayfs.
fn mounted_with(store: &Store, image: &Image, more: &str, script: &str) -> Vec<String> {
    let container = store.directory.path().join("container");
    std::fs::create_dir_all(&container).expect("made");
    let snapshot = Snapshot::prepare(image, &container).expect("prepared");
    assert_eq!(Snapshot::prepare(image, &container).expect("prepared again"), snapshot);
    let paths = |paths: &[std::path::PathBuf]| {
        paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(":")
    };
    let options = format!(
        "lowerdir={},upperdir={},workdir={}{more}",
        paths(&store.images.layers(image)),
        snapshot.upper.display(),
        snapshot.work.display()
    );
    let root = store.directory.path().join("root");
    std::fs::create_dir_all(&root).expect("made");
    let run = format!("mount -t overlay overlay -o \"$1\" \"$2\" && cd \"$2\" && {script}");
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", &run, "sh", &options])
        .arg(Path::new(&root))
        .output()
        .expect("unshare runs");
    assert!(output.status.success(), "{output:?}");
    let mut lines: Vec<String> = String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

const FILES: &str = "find . -type f -printf '%P %U %m\\n'";

#[test]
fn deletions_hide_what_is_below_and_nothing_else() {
    let lower = Tape::default()
        .directory("./", 0o751)
        .file("gone", b"")
        .file("kept", b"")
        .file("dir/gone", b"")
        .file("dir/deep/kept", b"")
        .file("opaque/gone", b"")
        .file("replaced/gone", b"")
        .file("first/gone", b"")
        .file("implied/gone", b"")
        .end();
    let upper = Tape::default()
        .file(".wh.gone", b"")
        .file("dir/.wh.gone", b"")
        .file("opaque/new", b"")
        .file("opaque/.wh..wh..opq", b"")
        // The directory of this layer stays, that of the layer below does not show through it: in either order.
        .directory("replaced", 0o755)
        .file("replaced/new", b"")
        .file(".wh.replaced", b"")
        .file(".wh.first", b"")
        .directory("first", 0o755)
        .file("first/new", b"")
        .file(".wh.implied", b"")
        .file("implied/new", b"")
        .end();
    let store = Store::new();
    let image = import(&store, &[lower, upper]);
    let expected = ["dir/deep/kept", "first/new", "implied/new", "kept", "opaque/new", "replaced/new"]
        .map(|path| format!("{path} 1000 644"));
    assert_eq!(mounted(&store, &image, FILES), expected);
    // The upper layer says nothing about the root directory, so it looks as it does below.
    assert_eq!(mounted(&store, &image, "stat -c '%a %u' ."), ["751 1000"]);
    let upper = store.directory.path().join("container/upper");
    let metadata = std::fs::metadata(upper).expect("a directory");
    assert_eq!((metadata.mode() & 0o7777, metadata.uid(), metadata.gid()), (0o751, 1000, 1001));
}

#[test]
fn a_layer_whose_root_is_opaque_ends_the_stack() {
    let store = Store::new();
    let lower = Tape::default().file("gone", b"").end();
    let upper = Tape::default().file("new", b"").file(".wh..wh..opq", b"").end();
    let image = import(&store, &[lower, upper]);
    assert_eq!(store.images.layers(&image).len(), 1);
    assert_eq!(mounted(&store, &image, FILES), ["new 1000 644"]);
}

#[test]
fn a_container_writes_into_its_own_layer_only() {
    let store = Store::new();
    let image = import(&store, &[Tape::default().file("a", b"1").file("b", b"2").end()]);
    assert_eq!(mounted(&store, &image, "echo new > a && rm b && ls"), ["a"]);
    let layer = &store.images.layers(&image)[0];
    assert_eq!(std::fs::read(layer.join("a")).expect("a file"), b"1");
    assert!(layer.join("b").exists());
    image::remove_tree(&store.directory.path().join("container")).expect("removed");
    assert!(!store.directory.path().join("container").exists());
}

#[test]
fn what_was_not_to_reach_the_disk_is_mounted_again_all_the_same() {
    let store = Store::new();
    let image = import(&store, &[Tape::default().file("a", b"1").end()]);
    for _ in 0..2 {
        assert_eq!(mounted_with(&store, &image, ",volatile", "echo new > b && ls"), ["a", "b"]);
    }
}

#[test]
fn as_many_layers_as_the_limit_allows_can_be_mounted() {
    let store = Store::new();
    let layers: Vec<Vec<u8>> = (0..127).map(|index| Tape::default().file(&format!("{index}"), b"").end()).collect();
    let image = import(&store, &layers);
    let paths = store.images.layers(&image);
    assert_eq!(paths.len(), 127);
    // One page holds them when they are given relative to their directory.
    let options: usize = paths.iter().map(|path| path.file_name().expect("a name").len() + 1).sum();
    assert!(options < 3400, "{options}");
}
