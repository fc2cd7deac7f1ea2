//! What the documents say is tested, is.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Sources below a directory.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let paths = entries.map(|entry| entry.expect("readable").path());
    let below = |path: PathBuf| if path.is_dir() { sources(&path) } else { vec![path] };
    paths.flat_map(below).filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// What stands between backticks, in parts that `::` divides.
fn code(document: &str) -> impl Iterator<Item = &str> {
    document.split('`').skip(1).step_by(2).flat_map(|code| code.split("::"))
}

#[test]
fn every_test_that_the_page_on_security_names_is_there() {
    let page = fs::read_to_string(Path::new(WORKSPACE).join("docs/security.md")).expect("readable");
    let is_sentence = |name: &&str| {
        name.split('_').count() > 3
            && name.chars().all(|letter| letter.is_ascii_lowercase() || "_0123456789".contains(letter))
    };
    let named: BTreeSet<&str> = code(&page).filter(is_sentence).collect();
    assert!(named.len() > 20, "{named:?}");
    let crates =
        ["tests", "kernel", "runtime", "image", "dns"].map(|name| Path::new(WORKSPACE).join(name).join("tests"));
    let text: String = crates
        .iter()
        .flat_map(|directory| sources(directory))
        .map(|path| fs::read_to_string(path).expect("readable"))
        .collect();
    let missing = |name: &&str| !text.contains(&format!("fn {name}("));
    let missing: Vec<_> = named.into_iter().filter(missing).collect();
    assert_eq!(missing, [""; 0], "tests that docs/security.md names and nobody wrote");
}
