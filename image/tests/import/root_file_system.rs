//! A tar of a root directory becomes an image of one layer.

use std::{
    fs,
    io::Read,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    process::Command,
};

use rustix::fs::{XattrFlags, lgetxattr, setxattr};

use crate::tape::{BLOCK_DEVICE, CHARACTER, DIRECTORY, FIFO, FILE, Store, Tape, gzip, image_name, names, zstd};

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("a file").mode() & 0o7777
}

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = [0; 256];
    let length = lgetxattr(path, name, &mut value).ok()?;
    Some(value[..length].to_vec())
}

#[test]
fn the_busybox_of_the_host_becomes_an_image() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let root = directory.path().join("root");
    fs::create_dir_all(root.join("bin")).expect("made");
    fs::create_dir_all(root.join("etc")).expect("made");
    fs::copy("/bin/busybox", root.join("bin/busybox")).expect("Debian's busybox-static is installed");
    for applet in ["sh", "httpd", "nslookup", "wget"] {
        std::os::unix::fs::symlink("/bin/busybox", root.join("bin").join(applet)).expect("made");
    }
    let output = Command::new("tar").arg("-C").arg(&root).args(["-c", "."]).output().expect("tar runs");
    assert!(output.status.success());

    let store = Store::new();
    let image = store.import_as(&output.stdout, "busybox").expect("a good archive");
    assert_eq!(image.name, image_name("busybox:latest"));
    assert_eq!(image.config.cmd, ["/bin/sh"]);
    assert_eq!(image.config.environment[0].name(), "PATH");
    assert_eq!(image.size, fs::metadata("/bin/busybox").expect("a file").len());
    assert_eq!(store.images.find(&image_name("busybox")).expect("readable"), Some(image.clone()));
    assert_eq!(store.images.find(&image_name("busybox:latest")).expect("readable"), Some(image.clone()));
    assert_eq!(store.images.find(&image_name("busybox:1")).expect("readable"), None);
    assert_eq!(store.images.by_digest(&image.digest).expect("readable"), Some(image.clone()));
    assert_eq!(store.images.list().expect("readable"), std::slice::from_ref(&image));

    let layers = store.images.layers(&image);
    let [layer] = layers.as_slice() else { panic!("{layers:?}") };
    assert_eq!(layer.file_name().expect("a name").len(), 24);
    let run = Command::new("chroot").arg(layer).args(["/bin/sh", "-c", "echo it runs"]).output().expect("chroot runs");
    assert_eq!(run.stdout, b"it runs\n");
}

#[test]
fn every_compression_gives_the_same_image() {
    let archive = Tape::default().file("a", b"content").end();
    let store = Store::new();
    let plain = store.import_as(&archive, "plain").expect("plain");
    for (name, compressed) in [("gzip", gzip(&archive)), ("zstd", zstd(&archive))] {
        let image = store.import_as(&compressed, name).expect("compressed");
        assert_eq!(
            (&image.digest, store.images.layers(&image)),
            (&plain.digest, store.images.layers(&plain)),
            "{name}"
        );
    }
    assert_eq!(names(&store.path().join("l")).len(), 1);
    assert_eq!(store.images.list().expect("readable").len(), 3);
}

#[test]
fn owners_modes_and_times_are_kept() {
    let archive = Tape::default()
        .directory("./", 0o711)
        .directory("./tmp/", 0o1777)
        .raw(FILE, b"./bin/su", b"", 0o4755, b"setuid")
        .raw(FIFO, b"./pipe", b"", 0o620, b"")
        .symlink("./link", "/etc/nowhere")
        .file("./tmp/a", b"later than the directory")
        .end();
    let store = Store::new();
    let root = store.root(&archive);
    for (path, expected) in [("", 0o711), ("tmp", 0o1777), ("bin/su", 0o4755), ("pipe", 0o620)] {
        let metadata = fs::symlink_metadata(root.join(path)).expect("a file");
        assert_eq!(mode(&root.join(path)), expected, "{path}");
        assert_eq!((metadata.uid(), metadata.gid(), metadata.mtime()), (1000, 1001, 1_234_567_890), "{path}");
    }
    let link = fs::symlink_metadata(root.join("link")).expect("a link");
    assert_eq!((link.uid(), link.gid(), link.mtime()), (1000, 1001, 1_234_567_890));
    assert_eq!(fs::read_link(root.join("link")).expect("a link"), Path::new("/etc/nowhere"));
    assert!(fs::symlink_metadata(root.join("pipe")).expect("a file").file_type().is_fifo());
    // Nothing describes it.
    let implied = fs::symlink_metadata(root.join("bin")).expect("a directory");
    assert_eq!((implied.mode() & 0o7777, implied.uid()), (0o755, 0));
}

#[test]
fn a_root_that_is_not_described_can_be_entered_by_everyone() {
    let store = Store::new();
    assert_eq!(mode(&store.root(&Tape::default().file("a", b"").end())), 0o755);
    assert_eq!(mode(&store.path()), 0o700);
}

#[test]
fn names_are_read_in_every_dialect() {
    let long = format!("deep/{}/{}", "d".repeat(200), "f".repeat(200));
    let target = "t".repeat(300);
    let archive = Tape::default()
        .raw(b'L', b"././@LongLink", b"", 0, format!("{long}-gnu\0").as_bytes())
        .file("cut", b"gnu")
        .pax(&[("path", format!("{long}-pax").as_bytes()), ("uid", b"70000"), ("mtime", b"12.5")])
        .file("cut", b"pax")
        .raw(b'K', b"././@LongLink", b"", 0, format!("{target}\0").as_bytes())
        .symlink("gnu-link", "cut")
        .pax(&[("linkpath", target.as_bytes())])
        .symlink("pax-link", "cut")
        .raw(b'g', b"global", b"", 0, b"14 gid=234567\n")
        .file("with space\nand newline", b"x")
        .end();
    let store = Store::new();
    let root = store.root(&archive);
    assert_eq!(fs::read(root.join(format!("{long}-gnu"))).expect("a file"), b"gnu");
    assert_eq!(fs::read(root.join(format!("{long}-pax"))).expect("a file"), b"pax");
    let pax = fs::metadata(root.join(format!("{long}-pax"))).expect("a file");
    assert_eq!((pax.uid(), pax.mtime(), pax.mtime_nsec()), (70000, 12, 500_000_000));
    for link in ["gnu-link", "pax-link"] {
        assert_eq!(fs::read_link(root.join(link)).expect("a link"), Path::new(&target));
    }
    assert_eq!(fs::metadata(root.join("with space\nand newline")).expect("a file").gid(), 234_567);
    assert!(!root.join("cut").exists());
}

#[test]
fn fields_left_blank_are_zero() {
    let mut header = tar::Header::new_gnu();
    header.set_path("blank").expect("short");
    header.as_old_mut().mode = *b"        ";
    header.set_cksum();
    let store = Store::new();
    let root = store.root(&Tape(header.as_bytes().to_vec()).end());
    let metadata = fs::metadata(root.join("blank")).expect("a file");
    assert_eq!((metadata.mode() & 0o7777, metadata.uid(), metadata.len(), metadata.mtime()), (0, 0, 0, 0));
}

#[test]
fn hard_links_share_an_inode_and_replace_each_other() {
    let archive = Tape::default()
        .file("a", b"x")
        .hard_link("b", "./a")
        .hard_link("b", "b")
        .hard_link("a", "b")
        .symlink("s", "a")
        .hard_link("t", "s")
        .end();
    let store = Store::new();
    let root = store.root(&archive);
    let inode = |name: &str| fs::symlink_metadata(root.join(name)).expect("a file").ino();
    assert_eq!(inode("a"), inode("b"));
    assert_eq!(fs::read(root.join("a")).expect("a file"), b"x");
    assert!(fs::symlink_metadata(root.join("t")).expect("a file").is_symlink());
}

#[test]
fn a_later_entry_replaces_an_earlier_one_and_directories_merge() {
    let archive = Tape::default()
        .file("x", b"file")
        .directory("x", 0o700)
        .file("x/inner", b"1")
        .directory("x", 0o750)
        .file("y/inner", b"1")
        .file("y", b"file again")
        .symlink("z", "x")
        .directory("z", 0o711)
        .end();
    let store = Store::new();
    let root = store.root(&archive);
    assert_eq!(mode(&root.join("x")), 0o750);
    assert_eq!(fs::read(root.join("x/inner")).expect("kept"), b"1");
    assert_eq!(fs::read(root.join("y")).expect("a file"), b"file again");
    assert!(fs::symlink_metadata(root.join("z")).expect("there").is_dir());
}

#[test]
fn paths_through_links_lead_where_the_link_does_within_the_layer() {
    let archive = Tape::default()
        .directory("usr/lib", 0o755)
        .symlink("lib", "/usr/lib")
        .symlink("up", "../../../../usr")
        .file("lib/a", b"1")
        .file("up/lib/b", b"2")
        .end();
    let store = Store::new();
    let root = store.root(&archive);
    assert_eq!(names(&root.join("usr/lib")), ["a", "b"]);
}

#[test]
fn capabilities_and_user_attributes_are_kept_and_others_are_not() {
    // cap_net_raw=ep, revision 2; then one whose value holds a newline (10 = CAP_NET_BIND_SERVICE's number).
    let capability: &[u8] = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let newline: &[u8] = b"\x01\0\0\x02\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let archive = Tape::default()
        .pax(&[
            ("SCHILY.xattr.security.capability", capability),
            ("SCHILY.xattr.user.mine", b"yes"),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
            ("SCHILY.xattr.user.overlay.opaque", b"y"),
            ("SCHILY.xattr.security.selinux", b"other_host_t"),
        ])
        .raw(FILE, b"ping", b"", 0o755, b"x")
        .pax(&[("SCHILY.xattr.security.capability", newline)])
        .raw(FILE, b"newline", b"", 0o755, b"x")
        .pax(&[("SCHILY.xattr.trusted.overlay.opaque", b"y"), ("SCHILY.xattr.user.mine", b"dir")])
        .raw(DIRECTORY, b"directory", b"", 0o755, b"")
        .end();
    let store = Store::new();
    let root = store.root(&archive);
    assert_eq!(xattr(&root.join("ping"), "security.capability").as_deref(), Some(capability));
    assert_eq!(xattr(&root.join("newline"), "security.capability").as_deref(), Some(newline));
    assert_eq!(xattr(&root.join("ping"), "user.mine").as_deref(), Some(b"yes".as_slice()));
    assert_eq!(xattr(&root.join("directory"), "user.mine").as_deref(), Some(b"dir".as_slice()));
    for (path, name) in
        [("ping", "trusted.overlay.redirect"), ("ping", "user.overlay.opaque"), ("directory", "trusted.overlay.opaque")]
    {
        assert_eq!(xattr(&root.join(path), name), None, "{path} {name}");
    }
    // A control: this file system does take what was left out.
    setxattr(root.join("directory"), "trusted.overlay.opaque", b"y", XattrFlags::empty()).expect("settable");
}

#[test]
fn device_nodes_are_left_out() {
    let archive = Tape::default()
        .raw(CHARACTER, b"dev/null", b"", 0o666, b"")
        .raw(BLOCK_DEVICE, b"dev/sda", b"", 0o660, b"")
        .file("dev/kept", b"")
        .end();
    let store = Store::new();
    assert_eq!(names(&store.root(&archive).join("dev")), ["kept"]);
}

/// Makes a sparse file, archives it with GNU tar in `format`, and reads it back.
fn sparse(directory: &Path, format: &[&str]) -> (PathBuf, Store) {
    let file = directory.join("sparse");
    // More segments than fit into one header.
    let script = "import sys\nf = open(sys.argv[1], 'wb')\nfor i in range(40):\n    f.seek(i * 65536)\n    \
                  f.write(bytes([i + 1]) * 5000)\nf.truncate(40 * 65536 + 777777)\n";
    assert!(Command::new("python3").args(["-c", script]).arg(&file).status().expect("python3 runs").success());
    let output = Command::new("tar")
        .arg("-C")
        .arg(directory)
        .args(["--sparse", "-c"])
        .args(format)
        .arg("sparse")
        .output()
        .expect("tar runs");
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout.len() < 1 << 20, "tar found no holes");
    let store = Store::new();
    let root = store.root(&output.stdout);
    (root.join("sparse"), store)
}

#[test]
fn sparse_files_come_out_whole_and_sparse() {
    for format in [
        ["--format=gnu"].as_slice(),
        &["--format=posix", "--sparse-version=0.0"],
        &["--format=posix", "--sparse-version=0.1"],
        &["--format=posix", "--sparse-version=1.0"],
    ] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (unpacked, _store) = sparse(directory.path(), format);
        let mut content = Vec::new();
        fs::File::open(&unpacked).expect("a file").read_to_end(&mut content).expect("read");
        assert!(content == fs::read(directory.path().join("sparse")).expect("a file"), "{format:?}");
        let metadata = fs::metadata(&unpacked).expect("a file");
        assert!(metadata.blocks() * 512 < metadata.len() / 2, "{format:?}: {metadata:?}");
    }
}
