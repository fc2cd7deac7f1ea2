//! An `nft` that refuses some of what it is given.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use crate::Host;

/// A value of PATH that finds, before all others, an `nft` that runs `refusal` first. That is shell script; it finds in
/// `$input` what `nft` is given, and exits with 1 to refuse it.
pub fn path_with_picky_nft(host: &Host, refusal: &str) -> String {
    let directory = host.path("programs");
    fs::create_dir(&directory).expect("the directory is ours");
    let program = directory.join("nft");
    // In the same process: what `nft` does is known by whose it is.
    let script = format!("#!/bin/sh\ninput=$(cat)\n{refusal}\nexec /usr/sbin/nft \"$@\" <<END\n$input\nEND\n");
    // Written by another process: what this one has open for writing, a child that another test starts meanwhile has
    // open for a moment, too, and then it cannot be executed.
    let draft = host.path("picky-nft");
    fs::write(&draft, script).expect("the directory is ours");
    let copied = Command::new("cp").args([&draft, &program]).status().expect("cp runs");
    assert!(copied.success(), "there is room");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("the file is ours");
    format!("{}:{}", directory.display(), std::env::var("PATH").expect("there is one"))
}
