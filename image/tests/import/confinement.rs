//! Whatever an archive holds, nothing outside of its layer changes.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, symlink},
    },
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

/// Unpacks as one would who trusts every name: what a path means is the kernel's business.
fn unpack_naively(archive: &[u8], root: &Path) -> io::Result<()> {
    let path_of = |octets: &[u8]| root.join(std::ffi::OsStr::from_bytes(octets));
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        let path = path_of(&entry.path_bytes());
        let link = entry.link_name_bytes().unwrap_or_default().into_owned();
        let name = path.file_name().map(|name| name.as_bytes().to_owned()).unwrap_or_default();
        match (entry.header().entry_type().as_byte(), name.strip_prefix(b".wh.")) {
            (_, Some(removed)) => fs::remove_file(path.with_file_name(std::ffi::OsStr::from_bytes(removed)))?,
            (DIRECTORY, _) => fs::create_dir_all(&path)?,
            (SYMLINK, _) => symlink(std::ffi::OsStr::from_bytes(&link), &path)?,
            (HARD_LINK, _) => fs::hard_link(path_of(&link), &path)?,
            _ => drop(io::copy(&mut entry, &mut fs::File::create(&path)?)?),
        }
    }
    Ok(())
}

/// Each way out that archives are known to take; the control is an unpacker that they take it with.
#[test]
fn what_a_naive_unpacker_lets_out_stays_in() {
    let directory = memory();
    let outside = directory.path().join("outside");
    let restore = || {
        let _ = fs::remove_dir_all(&outside);
        fs::create_dir(&outside).expect("made");
        fs::write(outside.join("sentinel"), b"untouched").expect("written");
    };
    let absolute = outside.to_str().expect("a temporary directory in ASCII").to_owned();
    // Above the root there is the root.
    let up = "../".repeat(10) + absolute.trim_start_matches('/');
    let (sentinel, written) = (format!("{absolute}/sentinel"), format!("{absolute}/written"));
    let tape = Tape::default;
    let through = |link: &str, path: &str| tape().symlink("s", link).file(path, b"hostile");
    let archives = [
        ("an absolute path", tape().file(&written, b"hostile")),
        ("a path with ..", tape().file(&format!("{up}/written"), b"hostile")),
        ("a path that goes down first", tape().directory("a", 0o755).file(&format!("a/../{up}/written"), b"hostile")),
        ("a directory outside", tape().directory(&written, 0o755)),
        ("below an absolute link", through(&absolute, "s/written")),
        ("below a link with ..", through(&up, "s/written")),
        ("below a link by way of another", tape().symlink("t", "s").symlink("s", &absolute).file("t/written", b"")),
        ("below a link to the root by way of proc", through("/proc/self/root", &format!("s{written}"))),
        ("in the place of a link", through(&sentinel, "s")),
        ("in the place of a link to nothing", through(&written, "s")),
        ("a hard link to an absolute path", tape().hard_link("l", &sentinel).file("l", b"hostile")),
        ("a hard link to a path with ..", tape().hard_link("l", &format!("{up}/sentinel")).file("l", b"hostile")),
        ("a hard link through a link", tape().symlink("s", &absolute).hard_link("l", "s/sentinel")),
        ("a hard link to a link", tape().symlink("s", &sentinel).hard_link("l", "s").file("l", b"hostile")),
        ("a link made outside", tape().symlink("s", &absolute).symlink("s/written", "sentinel")),
        ("a whiteout below a link", through(&absolute, "s/.wh.sentinel")),
        ("a whiteout of an absolute path", tape().file(&format!("{absolute}/.wh.sentinel"), b"")),
    ];
    let images = Images::open(&directory.path().join("images"), Limits::default()).expect("a new store");
    for (way, archive) in archives {
        restore();
        let (archive, before) = (archive.end(), state(&outside));
        // Refused, or led into the layer.
        let _ = images.import(archive.as_slice(), &image_name("x"), Timestamp::UNIX_EPOCH);
        assert_eq!(before, state(&outside), "{way}");
        let naive = tempfile::tempdir_in(directory.path()).expect("a temporary directory");
        unpack_naively(&archive, naive.path()).unwrap_or_else(|error| panic!("the control, {way}: {error}"));
        assert_ne!(before, state(&outside), "the control, {way}: with a naive unpacker it gets out");
    }
}
