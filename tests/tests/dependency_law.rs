//! Which crate may depend on which, as `docs/architecture.md` has it, held against what cargo sees.

use std::collections::BTreeSet;

use cargo_metadata::{DependencyKind, MetadataCommand, Package};

/// Each crate of the workspace and the crates of the workspace it may depend on, for tests and builds too.
/// `tests` and `bench` may depend on anything.
const MAY_DEPEND_ON: [(&str, &[&str]); 12] = [
    ("model", &[]),
    ("store", &["model"]),
    ("ipam", &["store", "model"]),
    ("policy", &["model"]),
    ("drivers", &["model"]),
    ("kernel", &["model"]),
    ("dns", &["model"]),
    ("image", &["model"]),
    ("runtime", &["model"]),
    ("api", &["model"]),
    ("netd", &["api", "store", "ipam", "policy", "drivers", "kernel", "dns", "image", "runtime", "model"]),
    ("cli", &["api", "policy", "model"]),
];

const FREE: [&str; 2] = ["tests", "bench"];

/// Foreign crates, by the beginning of their names, that one crate hides from all others.
const HIDDEN_IN: [(&str, &str); 9] = [
    ("rtnetlink", "kernel"),
    ("netlink-", "kernel"),
    ("nftables", "kernel"),
    ("libcontainer", "runtime"),
    ("redb", "store"),
    ("etcd-client", "store"),
    ("hickory-", "dns"),
    ("axum", "netd"),
    ("oci-client", "image"),
];

/// Crates that decide and touch nothing, and what they therefore have no use for outside their tests.
const PURE: [&str; 4] = ["model", "policy", "drivers", "ipam"];
const EFFECTS: [&str; 7] = ["tokio", "rustix", "nix", "libc", "getrandom", "rand", "tempfile"];

fn workspace() -> Vec<Package> {
    let metadata = MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo describes the workspace");
    metadata.packages
}

fn direct(package: &Package) -> impl Iterator<Item = (&str, DependencyKind)> {
    package.dependencies.iter().map(|dependency| (dependency.name.as_str(), dependency.kind))
}

fn assert_none(broken: BTreeSet<String>) {
    assert!(broken.is_empty(), "the dependency law is broken:\n  {}", Vec::from_iter(broken).join("\n  "));
}

#[test]
fn crates_of_the_workspace_depend_only_on_what_the_architecture_lets_them() {
    let packages = workspace();
    let ours: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let mut broken = BTreeSet::new();
    for package in &packages {
        let name = package.name.as_str();
        if FREE.contains(&name) {
            continue;
        }
        let Some((_, allowed)) = MAY_DEPEND_ON.iter().find(|(known, _)| *known == name) else {
            broken.insert(format!("{name} is not in the architecture's table"));
            continue;
        };
        for (dependency, _) in direct(package) {
            if ours.contains(dependency) && !allowed.contains(&dependency) {
                broken.insert(format!("{name} -> {dependency}"));
            }
        }
    }
    assert_none(broken);
}

#[test]
fn foreign_crates_that_one_crate_hides_are_named_by_no_other() {
    let mut broken = BTreeSet::new();
    // Tests make what a crate that hides something is to meet, such as a state file of a later release.
    for package in workspace().iter().filter(|package| !FREE.contains(&package.name.as_str())) {
        for (dependency, _) in direct(package) {
            for (prefix, home) in HIDDEN_IN {
                if dependency.starts_with(prefix) && package.name.as_str() != home {
                    broken.insert(format!("{} -> {dependency}, which belongs to {home}", package.name));
                }
            }
        }
    }
    assert_none(broken);
}

#[test]
fn pure_crates_have_no_means_of_touching_anything() {
    let mut broken = BTreeSet::new();
    for package in workspace().iter().filter(|package| PURE.contains(&package.name.as_str())) {
        for (dependency, kind) in direct(package) {
            if kind != DependencyKind::Development && EFFECTS.contains(&dependency) {
                broken.insert(format!("{} -> {dependency}", package.name));
            }
        }
    }
    assert_none(broken);
}
