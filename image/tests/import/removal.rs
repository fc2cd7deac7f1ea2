//! Trees that do not want to go.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use image::remove_tree;

fn run(program: &str, arguments: &[&str], path: &Path) {
    assert!(Command::new(program).args(arguments).arg(path).status().expect("it runs").success());
}

#[test]
fn links_are_removed_and_not_followed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (tree, outside) = (directory.path().join("tree"), directory.path().join("outside"));
    fs::create_dir_all(tree.join("inner")).expect("made");
    fs::create_dir_all(outside.join("kept")).expect("made");
    symlink(&outside, tree.join("inner/link")).expect("made");
    remove_tree(&tree).expect("removed");
    assert!(!tree.exists() && outside.join("kept").exists());
    remove_tree(&tree).expect("gone already");
    // A link itself.
    symlink(&outside, &tree).expect("made");
    remove_tree(&tree).expect("removed");
    assert!(fs::symlink_metadata(&tree).is_err() && outside.join("kept").exists());
    remove_tree(&directory.path().join("no/such/parent")).expect("gone already");
}

#[test]
fn immutable_files_go() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let tree = directory.path().join("tree");
    fs::create_dir_all(tree.join("inner")).expect("made");
    fs::write(tree.join("inner/immutable"), b"").expect("written");
    fs::write(tree.join("inner/log"), b"").expect("written");
    run("chattr", &["+i"], &tree.join("inner/immutable"));
    run("chattr", &["+a"], &tree.join("inner/log"));
    run("chattr", &["+i"], &tree.join("inner"));
    run("chattr", &["+i"], &tree);
    run("chmod", &["000"], directory.path());
    remove_tree(&tree).expect("removed");
    assert!(!tree.exists());
}

#[test]
fn any_depth_goes() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let tree = directory.path().join("tree");
    fs::create_dir(&tree).expect("made");
    // Deeper than any path is long, and than this process may have files open.
    let script = "import os, sys\nos.chdir(sys.argv[1])\nfor i in range(5000):\n    os.mkdir('d' * 100)\n    \
                  open('f', 'w').close()\n    os.chdir('d' * 100)\n";
    run("python3", &["-c", script], &tree);
    remove_tree(&tree).expect("removed");
    assert!(!tree.exists());
}

#[test]
fn a_mount_below_is_refused_and_kept() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let tree = directory.path().join("tree");
    fs::create_dir_all(tree.join("mounted")).expect("made");
    let script = "mount -t tmpfs tmpfs \"$1/mounted\" && touch \"$1/mounted/kept\" && FABRIC_TREE=\"$1\" \"$2\" --exact \
                  removal::what_is_mounted_is_not_entered --nocapture && test -e \"$1/mounted/kept\"";
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"])
        .arg(&tree)
        .arg(std::env::current_exe().expect("this test"))
        .output()
        .expect("unshare runs");
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
}

/// By itself, on a mount that every host has; see above.
#[test]
fn what_is_mounted_is_not_entered() {
    let Some(tree) = std::env::var_os("FABRIC_TREE") else {
        let error = remove_tree(Path::new("/proc")).expect_err("a mount");
        assert!(error.to_string().contains("cannot remove /proc"), "{error}");
        return;
    };
    let error = remove_tree(Path::new(&tree)).expect_err("a mount");
    assert!(error.to_string().contains("cannot remove"), "{error}");
}
