//! Archives that mean harm, are damaged, or are none. Each refusal says what it refuses.

use std::{collections::BTreeSet, fs, io, process::Command};

use image::{ImageError, Images, Limits};
use jiff::Timestamp;

use crate::tape::{DIRECTORY, FILE, HARD_LINK, SYMLINK, Store, Tape, gzip, image_name, names, zstd};

#[test]
fn entries_that_reach_out_are_refused() {
    let file = |path: &str| Tape::default().file("ok", b"").file(path, b"x").end();
    let link = |target: &str| Tape::default().file("a/b", b"").hard_link("l", target).end();
    for (archive, expected) in [
        (file("../x"), "entry `../x` has `..` in its path"),
        (file("a/../../x"), "has `..`"),
        (file(".."), "has `..`"),
        (link("../../etc/passwd"), "entry `l` is a hard link whose target has `..`"),
        (link("/etc/passwd"), "is a hard link to something that is not before it in its layer"),
        (link("a"), "is a hard link to a directory"),
        (link("/"), "is a hard link to the root directory"),
        (link("a/b/c"), "is a hard link to something"),
        (Tape::default().symlink("s", "/etc").hard_link("l", "s/passwd").end(), "is a hard link to something"),
        (
            Tape::default().symlink("s", "/nowhere").file("s/x", b"").end(),
            "below something in its layer that is no directory",
        ),
        (Tape::default().symlink("s", "s").file("s/x", b"").end(), "leads in a circle"),
        (Tape::default().file("f", b"").file("f/x", b"").end(), "no directory"),
        (Tape::default().symlink("s", "").end(), "is a link to no name"),
        (Tape::default().file("./", b"x").end(), "would replace the root directory"),
        (Tape::default().symlink("/", "/etc").end(), "would replace the root directory"),
        (Tape::default().raw(HARD_LINK, b".", b"x", 0, b"").end(), "would replace the root directory"),
        (Tape::default().pax(&[("path", b"a\0b")]).file("x", b"").end(), "entry `a\\x00b` has a NUL in its name"),
        (Tape::default().pax(&[("path", &[b'n'; 256])]).file("x", b"").end(), "longer than 255 octets"),
        (Tape::default().pax(&[("uid", b"4294967295")]).file("x", b"").end(), "has an owner no system has"),
        (Tape::default().pax(&[("uid", b"99999999999")]).file("x", b"").end(), "has an owner no system has"),
        (Tape::default().file("a/.wh...", b"").end(), "is a whiteout of no name"),
        (Tape::default().raw(b'D', b"x", b"", 0, b"").end(), "is of a type that no file of an image has"),
        (Tape::default().file("new\nline/../x\x1b[31m", b"").end(), "`new\\nline/../x\\x1b[31m`"),
    ] {
        let message = Store::new().refused(&archive);
        assert!(message.contains(expected), "{message}\n{expected}");
    }
}

#[test]
fn absolute_names_and_links_lead_into_the_layer() {
    let archive = Tape::default()
        .file("/etc/written", b"1")
        .directory("target", 0o755)
        .symlink("out", "/target")
        .symlink("far", "../../../../../../../../target")
        .file("out/a", b"")
        .file("far/b", b"")
        .raw(DIRECTORY, b"//double//slash/./", b"", 0o755, b"")
        .raw(SYMLINK, b"proc", b"/proc/self/root", 0o777, b"")
        .end();
    let store = Store::new();
    let root = store.root(&archive);
    assert_eq!(names(&root), ["double", "etc", "far", "out", "proc", "target"]);
    assert_eq!(names(&root.join("target")), ["a", "b"]);
    assert!(!fs::exists("/etc/written").expect("readable"));
}

#[test]
fn what_is_no_archive_is_told_so() {
    let xz = b"\xfd7zXZ\0rest";
    for (stream, expected) in [
        (b"".as_slice(), "the archive is empty: nothing to import"),
        (&[0; 10240], "the archive is empty: nothing to import"),
        (b"hello", "not a tar archive: the stream begins with `hello`"),
        (&[b'#'; 4096], "not a tar archive: the stream begins with `################`"),
        (&gzip(b"hello"), "not a tar archive: the stream begins with `hello`"),
        (xz, "compressed with xz, which is not supported"),
        (b"BZh91AY", "compressed with bzip2"),
        (b"\x1f\x8b\x08rest", "the archive is damaged"),
        (b"\x28\xb5\x2f\xfdrest", "the archive"),
    ] {
        let message = Store::new().refused(stream);
        assert!(message.contains(expected), "{message}\n{expected}");
    }
}

#[test]
fn an_archive_cut_off_anywhere_is_refused() {
    let archive = Tape::default().file("a", &[1; 700]).pax(&[("path", b"b")]).file("x", b"").file("c", b"c").end();
    let content = archive.len() - 1024;
    for length in (1..=content).step_by(64).chain([content]) {
        let message = Store::new().refused(&archive[..length]);
        let cut = ["ends", "not a tar archive", "none follows"].iter().any(|word| message.contains(word));
        assert!(cut, "{length}: {message}");
    }
    // The end-of-archive block is there, what pads it is not.
    Store::new().import(&archive[..content + 512]).expect("complete");
    for compressed in [gzip(&archive), zstd(&archive)] {
        Store::new().refused(&compressed[..compressed.len() - 3]);
    }
}

#[test]
fn damaged_headers_are_refused() {
    let names: Vec<String> = (0..1025).map(|index| format!("SCHILY.xattr.user.{index}")).collect();
    let attributes: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), b"".as_slice())).collect();
    let good = Tape::default().file("first", b"1").file("second", b"2").end();
    let mut checksum = good.clone();
    checksum[1024] ^= 1;
    let mut size = Tape::default().file("first", b"1");
    let at = size.0.len();
    size = size.file("second", b"2");
    let mut size = size.end();
    size[at + 124..at + 136].copy_from_slice(b"number\x1b[31m\n");
    let mut header = tar::Header::new_old();
    header.as_mut_bytes().copy_from_slice(&size[at..at + 512]);
    header.set_cksum();
    size[at..at + 512].copy_from_slice(header.as_bytes());
    // The first offset of GNU tar's old map, with octets that command a terminal.
    let mut sparse = Tape::default().raw(b'S', b"holes", b"", 0o644, b"1").end();
    sparse[386..398].copy_from_slice(b"000\x1b[31m\x05\x05\x05\x05");
    header.as_mut_bytes().copy_from_slice(&sparse[..512]);
    header.set_cksum();
    sparse[..512].copy_from_slice(header.as_bytes());
    for (archive, expected) in [
        (checksum, "the archive is damaged at entry number 1: the checksum behind it is wrong"),
        (sparse, "the archive is damaged at entry `holes`: its map of data holds no number"),
        (size, "the archive is damaged at entry `second`"),
        (Tape::default().pax(&[("size", b"-1")]).file("x", b"").end(), "a number in its extended header is not valid"),
        (Tape::default().raw(b'x', b"p", b"", 0, b"99 path=a\n").file("x", b"").end(), "extended header"),
        (Tape::default().pax(&attributes).file("x", b"").end(), "more than 1,024 extended attributes"),
        (Tape::default().pax(&[("size", b"18446744073709551615")]).file("x", b"").end(), "damaged"),
        (
            Tape::default()
                .pax(&[("GNU.sparse.map", b"0,5,3,5"), ("GNU.sparse.size", b"9")])
                .file("x", b"0123456789")
                .end(),
            "overlaps",
        ),
        (Tape::default().pax(&[("GNU.sparse.major", b"1")]).file("x", b"9999999\n").end(), "damaged"),
    ] {
        let message = Store::new().refused(&archive);
        assert!(message.contains(expected), "{message}\n{expected}");
    }
}

/// An endless stream of a small archive's head and zeros after it, of which nothing is kept in memory.
fn bomb(octets: u64) -> impl io::Read {
    let mut header = tar::Header::new_gnu();
    header.set_path("zeros").expect("short");
    header.set_size(octets);
    header.set_mode(0o644);
    header.set_cksum();
    io::Read::chain(io::Cursor::new(header.as_bytes().to_vec()), io::Read::take(io::repeat(0), octets + 1024))
}

#[test]
fn bombs_are_refused_long_before_the_disk_is_full() {
    let store = Store::new();
    let octets = 10 << 30;
    // 10 GiB of zeros: gzip makes 10 MB of them, zstd less than one.
    let gzip = flate2::read::GzEncoder::new(bomb(octets), flate2::Compression::fast());
    let zstd = zstd::stream::read::Encoder::new(bomb(octets), 1).expect("memory");
    for stream in [&mut { gzip } as &mut dyn io::Read, &mut { zstd }] {
        let error = store.images.import(stream, &image_name("bomb"), Timestamp::UNIX_EPOCH).expect_err("refused");
        assert!(error.to_string().contains("more than 200 times its compressed size (limit `expansion`)"), "{error}");
        assert_eq!(names(&store.path().join("tmp")), [""; 0]);
    }
}

#[test]
fn every_limit_holds_and_says_its_name() {
    let limits = Limits { entries: 3, unpacked: 1 << 20, path: 100, document: 4096, ..Limits::default() };
    let many = (0..4).fold(Tape::default(), |tape, index| tape.file(&index.to_string(), b"")).end();
    for (archive, expected) in [
        (many, "more than 3 entries (limit `entries`)"),
        (Tape::default().file("implied/by/one/path/x", b"").end(), "more than 3 entries (limit `entries`)"),
        (Tape::default().file("x", &vec![1; 1 << 20]).end(), "more than 1048576 octets (limit `unpacked`)"),
        (gzip(&Tape::default().file("x", &vec![1; 1 << 20]).end()), "(limit `unpacked`)"),
        (Tape::default().pax(&[("path", &[b'a'; 101])]).file("x", b"").end(), "longer than 100 octets (limit `path`)"),
        (Tape::default().pax(&[("linkpath", &[b'a'; 101])]).symlink("x", "x").end(), "(limit `path`)"),
        (Tape::default().pax(&[("comment", &[b'a'; 5000])]).file("x", b"").end(), "(limit `document`)"),
        (Tape::default().raw(b'L', b"", b"", 0, &[b'a'; 5000]).file("x", b"").end(), "(limit `document`)"),
        (
            Tape::default().pax(&[("GNU.sparse.map", b"0,1"), ("GNU.sparse.size", b"9999999")]).file("x", b"1").end(),
            "(limit `unpacked`)",
        ),
    ] {
        let message = Store::limited(limits).refused(&archive);
        assert!(message.contains(expected), "{message}\n{expected}");
        assert!(message.contains("fills a disk or a memory"), "{message}");
    }
    let archive = Tape::default().file("x", &[1; 1000]).end();
    Store::limited(limits).import(&archive).expect("the control");
}

#[test]
fn a_full_disk_is_named_and_left_clean() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let archive = directory.path().join("archive.tar");
    fs::write(&archive, Tape::default().file("big", &vec![7; 8 << 20]).end()).expect("written");
    // A file system of 4 MiB that only the child sees; this test runs again within it.
    let script = "mount -t tmpfs -o size=4m tmpfs \"$1\" && FABRIC_SMALL=\"$1\" exec \"$2\" --exact \
                  hostile::a_small_disk_holds_small_images --nocapture";
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"])
        .arg(directory.path())
        .arg(std::env::current_exe().expect("this test"))
        .output()
        .expect("unshare runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{output:?}");
}

/// By itself, on the file system of the temporary directory; see above.
#[test]
fn a_small_disk_holds_small_images() {
    let directory = std::env::var_os("FABRIC_SMALL");
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let path = directory.as_ref().map_or(temporary.path(), |path| path.as_ref()).join("images");
    let images = Images::open(&path, Limits::default()).expect("a new store");
    let import = |size| {
        let archive = Tape::default().file("file", &vec![7; size]).end();
        images.import(archive.as_slice(), &image_name("test"), Timestamp::UNIX_EPOCH)
    };
    if directory.is_some() {
        let error = import(8 << 20).expect_err("no room");
        assert!(matches!(&error, ImageError::Full { directory, .. } if *directory == path), "{error}");
        assert_eq!(error.to_string(), format!("no space left below {}", path.display()));
        assert_eq!(names(&path.join("tmp")), [""; 0]);
    }
    import(1 << 20).expect("there is room for a small one");
}

#[test]
fn a_file_of_the_store_that_was_altered_is_told() {
    let store = Store::new();
    let image = store.import(&Tape::default().raw(FILE, b"a", b"", 0o644, b"1").end()).expect("a good archive");
    let blob = store.path().join("blobs/sha256").join(image.digest.hex());
    fs::write(&blob, b"{}").expect("written");
    let error = store.images.find(&image_name("test")).expect_err("damaged");
    assert!(error.to_string().contains("its content does not match its digest"), "{error}");
    // It can still be opened, and the damaged image replaced.
    let images = Images::open(&store.path(), Limits::default()).expect("opens");
    let archive = Tape::default().file("a", b"2").end();
    images.import(archive.as_slice(), &image_name("test"), Timestamp::UNIX_EPOCH).expect("a good archive");
    assert_eq!(images.list().expect("readable").len(), 1);
}

/// What was read once is not read again, but whoever alters a file of it is not believed.
#[test]
fn an_image_is_recalled_as_long_as_its_files_are_as_they_were() {
    let store = Store::new();
    let (images, name) = (&store.images, image_name("test"));
    let import = |content: &[u8]| {
        let archive = Tape::default().raw(FILE, b"a", b"", 0o644, content).end();
        store.import(&archive).expect("a good archive");
    };
    import(b"1");
    let found = images.find(&name).expect("readable");
    assert!(found.is_some() && images.recall(&name) == found && images.recall(&image_name("test:latest")) == found);
    assert_eq!(images.recall(&image_name("other")), None);
    for directory in ["names", "blobs/sha256", "layers"] {
        for file in fs::read_dir(store.path().join(directory)).expect("listed") {
            let path = file.expect("listed").path();
            let content = fs::read(&path).expect("read");
            assert!(images.find(&name).expect("readable").is_some() && images.recall(&name).is_some());
            fs::write(&path, b"{}").expect("written");
            assert_eq!(images.recall(&name), None, "{}", path.display());
            fs::write(&path, &content).expect("written");
        }
    }
    import(b"2");
    let other = images.find(&name).expect("readable");
    assert!(other != found && images.recall(&name) == other, "the name means another one");
    images.remove(&name, None, &BTreeSet::new()).expect("removed");
    assert_eq!(images.recall(&name), None);
}
