//! Whatever an archive holds, nothing outside of its layer changes.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use image::{Images, Limits, remove_tree};
use jiff::Timestamp;
use proptest::prelude::*;

use crate::tape::{DIRECTORY, FIFO, FILE, HARD_LINK, SYMLINK, Tape, image_name, memory};

/// Components that meet each other often, with those that try to get out.
fn component() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        6 => prop::sample::select(vec!["a", "b", "c", "d"]),
        2 => prop::sample::select(vec!["..", ".", "", "sentinel", "\n"]),
        1 => prop::sample::select(vec![".wh.a", ".wh.b", ".wh..wh..opq", ".wh...", ".wh..wh.x"]),
    ]
}

fn path() -> impl Strategy<Value = String> {
    (any::<bool>(), prop::collection::vec(component(), 1..5))
        .prop_map(|(absolute, parts)| format!("{}{}", if absolute { "/" } else { "" }, parts.join("/")))
}

fn target(outside: PathBuf) -> impl Strategy<Value = String> {
    let outside = outside.to_str().expect("a temporary directory in ASCII").to_owned();
    prop_oneof![
        4 => path(),
        2 => Just(outside.clone()),
        2 => Just(format!("{outside}/sentinel")),
        1 => Just("../../../../../../..".to_owned() + &outside),
        1 => Just("../../../outside".to_owned()),
        1 => Just("/proc/self/root".to_owned()),
        1 => Just("/proc/self/cwd/..".to_owned()),
    ]
}

fn entry(outside: PathBuf) -> impl Strategy<Value = (u8, String, String)> {
    let kind = prop_oneof![
        4 => Just(FILE), 3 => Just(SYMLINK), 3 => Just(HARD_LINK), 3 => Just(DIRECTORY), 1 => Just(FIFO), 1 => Just(b'3'),
    ];
    (kind, path(), target(outside))
}

/// Everything in a tree that an archive could have changed.
fn state(root: &Path) -> BTreeMap<PathBuf, (u32, u32, u64, i64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        let metadata = fs::symlink_metadata(&path).expect("a file");
        let content = if metadata.is_file() { fs::read(&path).expect("readable") } else { Vec::new() };
        if metadata.is_dir() {
            left.extend(fs::read_dir(&path).expect("readable").map(|entry| entry.expect("an entry").path()));
        }
        found.insert(path, (metadata.mode(), metadata.uid(), metadata.nlink(), metadata.mtime_nsec(), content));
    }
    found
}

#[test]
fn no_sequence_of_entries_reaches_out() {
    let directory = memory();
    let outside = directory.path().join("outside");
    fs::create_dir_all(outside.join("a/b")).expect("made");
    for path in ["sentinel", "a/sentinel", "a/b/c"] {
        fs::write(outside.join(path), b"untouched").expect("written");
    }
    let before = state(&outside);
    let root = fs::read_dir("/").expect("readable").count();
    let store = directory.path().join("images");
    let images = Images::open(&store, Limits::default()).expect("a new store");
    let imported = std::cell::Cell::new(0);
    let config = ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(entries in prop::collection::vec(entry(outside.clone()), 1..24))| {
        // Entry by entry, so that one refusal does not end the others: those that are refused are left out.
        let mut tape = Tape::default();
        for (kind, path, target) in &entries {
            let data: &[u8] = if *kind == FILE { b"hostile" } else { b"" };
            let next = tape.clone().raw(*kind, path.as_bytes(), target.as_bytes(), 0o6777, data);
            if images.import(next.clone().end().as_slice(), &image_name("x"), Timestamp::UNIX_EPOCH).is_ok() {
                tape = next;
                imported.set(imported.get() + 1);
            }
            prop_assert_eq!(&before, &state(&outside));
        }
        prop_assert_eq!(fs::read_dir(store.join("tmp")).expect("readable").count(), 0);
        // Old ones pile up otherwise.
        if images.find(&image_name("x")).expect("readable").is_some() {
            images.remove(&image_name("x"), None, &Default::default()).expect("removed");
        }
        prop_assert_eq!(&before, &state(&outside));
        prop_assert_eq!(fs::read_dir(store.join("l")).expect("readable").count(), 0);
    });
    assert!(imported.get() > 400, "too few entries were good to prove anything: {}", imported.get());
    assert_eq!(fs::read_dir("/").expect("readable").count(), root);
    remove_tree(&store).expect("removable");
    assert_eq!(before, state(&outside));
}
