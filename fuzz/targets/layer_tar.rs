//! Tars that are imported as an image: one is a root file system, several behind one another are an image's layers.
//!
//! Wants to run in a mount namespace of its own with an empty file system in memory as its temporary directory, which
//! `scripts/fuzz` gives it.

#![no_main]

mod tape;

use std::{
    collections::BTreeSet,
    error::Error,
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    sync::LazyLock,
};

use image::{Image, ImageError, Images, Limits};
use jiff::Timestamp;
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use model::ImageName;
use sha2::{Digest as _, Sha256};

/// What no import may touch: a directory with a file beside the store. Dictionary and seeds know its path.
static OUTSIDE: LazyLock<PathBuf> = LazyLock::new(|| {
    let outside = std::env::temp_dir().join("outside");
    fs::create_dir_all(&outside).expect("the temporary directory is writable");
    fs::write(outside.join("sentinel"), "untouched").expect("the temporary directory is writable");
    outside
});

static NAME: LazyLock<ImageName> = LazyLock::new(|| "fuzz".parse().expect("literal"));

/// Small, so that what lies beyond them is reached.
const LIMITS: Limits = Limits { entries: 256, unpacked: 1 << 30, expansion: 200, path: 512, document: 4096, layers: 4 };

fuzz_mutator!(|octets: &mut [u8], size: usize, most: usize, _seed: u32| {
    let size = fuzzer_mutate(octets, size, most);
    tape::repair(&mut octets[..size]);
    size
});

fuzz_target!(|octets: &[u8]| {
    let before = state(&OUTSIDE);
    let directory = std::env::temp_dir().join("images");
    let images = Images::open(&directory, LIMITS).expect("the directory is ours");
    let tars = tape::tars(octets);
    let archive = if tars.len() > 1 { archive_of(&tars) } else { octets.to_vec() };
    match images.import(archive.as_slice(), &NAME, Timestamp::UNIX_EPOCH) {
        Ok(image) => imported(&images, &image, &archive),
        Err(error) => refused(&error),
    }
    // A refused image leaves nothing; one that was removed neither.
    for part in ["blobs/sha256", "images", "names", "layers", "l", "tmp"] {
        let left: Vec<_> = fs::read_dir(directory.join(part)).expect("the store has it").collect();
        assert!(left.is_empty(), "{left:?} are left in {part}");
    }
    assert_eq!(state(&OUTSIDE), before, "something outside of the store was changed");
    let beside = names(&std::env::temp_dir());
    assert_eq!(beside, ["images", "outside"], "something was made beside the store");
});

/// An archive as `docker save` writes it, of an image with these layers.
fn archive_of(layers: &[Vec<u8>]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |path: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, content).expect("memory takes all");
    };
    let (mut paths, mut diff_ids) = (Vec::new(), Vec::new());
    for (index, layer) in layers.iter().enumerate() {
        paths.push(format!("{index}.tar"));
        let hex: String = Sha256::digest(layer).iter().map(|octet| format!("{octet:02x}")).collect();
        diff_ids.push(format!("sha256:{hex}"));
        add(&paths[index], layer);
    }
    let config = serde_json::json!({
        "architecture": std::env::consts::ARCH.replace("x86_64", "amd64").replace("aarch64", "arm64"),
        "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    add("config.json", config.to_string().as_bytes());
    let manifest = serde_json::json!([{"Config": "config.json", "RepoTags": [], "Layers": paths}]);
    add("manifest.json", manifest.to_string().as_bytes());
    archive.into_inner().expect("memory takes all")
}

/// What holds of an image, until it is removed.
fn imported(images: &Images, image: &Image, archive: &[u8]) {
    let layers = images.layers(image);
    assert!(!layers.is_empty());
    for layer in &layers {
        check_tree(layer);
    }
    let again = images.import(archive, &NAME, Timestamp::UNIX_EPOCH).expect("what was imported can be again");
    assert_eq!((&again.digest, images.layers(&again)), (&image.digest, layers), "the same archive is the same image");
    let removed = images.remove(&NAME, None, &BTreeSet::new()).expect("nothing uses it");
    assert_eq!(removed.digest, image.digest);
}

/// Fails on what no layer may have: devices, other than the one that overlayfs takes for a deleted name.
fn check_tree(directory: &Path) {
    for entry in fs::read_dir(directory).expect("it is a directory, and we are root") {
        let path = entry.expect("it is being read").path();
        let metadata = fs::symlink_metadata(&path).expect("nobody removes it");
        let kind = metadata.file_type();
        assert!(!kind.is_block_device() && !kind.is_socket(), "{} is {kind:?}", path.display());
        assert!(!kind.is_char_device() || metadata.rdev() == 0, "{} is a device", path.display());
        if kind.is_dir() {
            check_tree(&path);
        }
    }
}

/// Every refusal is words that do nothing to a terminal, and is no fault of ours.
fn refused(error: &ImageError) {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.extend([": ", &error.to_string()]);
        cause = error.source();
    }
    assert!(!text.is_empty() && !text.chars().any(char::is_control), "{text:?}");
    assert!(!matches!(error, ImageError::Storage { .. } | ImageError::Damaged { .. }), "{text}");
}

/// What an import could have changed of a tree, a line for each file.
fn state(root: &Path) -> Vec<String> {
    let metadata = fs::symlink_metadata(root).expect("it is ours");
    let content = if metadata.is_file() { fs::read(root).expect("it is ours") } else { Vec::new() };
    let (mode, owner, links, time) = (metadata.mode(), metadata.uid(), metadata.nlink(), metadata.mtime_nsec());
    let mut found = vec![format!("{} {mode:o} {owner} {links} {time} {}", root.display(), content.escape_ascii())];
    if metadata.is_dir() {
        found.extend(names(root).iter().flat_map(|name| state(&root.join(name))));
    }
    found
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("it is ours").map(|entry| entry.expect("it is being read"));
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
