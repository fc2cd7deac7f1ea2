//! What is under test, built once for each process that tests.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

pub(crate) const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Where the binaries of the profile under test are: beside the `deps` that this very test runs from.
fn directory() -> PathBuf {
    let test = std::env::current_exe().expect("Linux knows the path of a running program");
    let deps = test.parent().expect("a program is in a directory");
    deps.parent().expect("cargo puts tests into `deps`, inside the profile's directory").to_path_buf()
}

fn build() -> PathBuf {
    let directory = directory();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--locked", "--quiet", "-p", "netd", "-p", "cli"]).current_dir(WORKSPACE);
    if directory.file_name().is_some_and(|profile| profile == "release") {
        command.arg("--release");
    }
    let output = command.output().expect("cargo runs");
    assert!(output.status.success(), "netd and fabric do not build:\n{}", String::from_utf8_lossy(&output.stderr));
    directory
}

/// The path of one of the two binaries.
///
/// `FABRIC_BIN_DIR` names a directory to take them from as they are; without it they are built.
fn binary(name: &str) -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| std::env::var_os("FABRIC_BIN_DIR").map_or_else(build, PathBuf::from));
    let path = directory.join(name);
    assert!(path.is_file(), "there is no {}; the tests have nothing to test", path.display());
    path
}

pub(crate) fn netd() -> PathBuf {
    binary("netd")
}

pub(crate) fn fabric() -> PathBuf {
    binary("fabric")
}

/// The tar of a root file system with Debian's static busybox, made once for each build directory.
pub fn busybox_tar() -> &'static Path {
    static TAR: OnceLock<PathBuf> = OnceLock::new();
    TAR.get_or_init(|| {
        let path = directory().join("busybox.tar");
        // Made under a name of its own and renamed: other test processes may be making it too.
        let draft = directory().join(format!("busybox.{}.tar", std::process::id()));
        let script = Path::new(WORKSPACE).join("scripts/busybox-image");
        let status = Command::new(script).arg(&draft).status().expect("the script runs");
        assert!(status.success(), "scripts/busybox-image failed; scripts/install-dependencies installs what it needs");
        std::fs::rename(&draft, &path).expect("both names are in one directory");
        path
    })
}
