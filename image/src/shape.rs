//! What the store's own files and directories are called and are: anything else in its directories is somebody else's,
//! is never read or removed, and keeps nothing from working.

use std::{
    fs::{self, FileType},
    path::{Path, PathBuf},
};

use crate::{ImageError, files};

/// The store's directories, each before those in it.
pub(crate) const DIRECTORIES: [&str; 8] = ["", "blobs", "blobs/sha256", "images", "names", "layers", "l", "tmp"];

/// The store's own entries of one of its [`DIRECTORIES`], in order of their names.
pub(crate) fn own(store: &Path, directory: &str) -> Result<Vec<PathBuf>, ImageError> {
    let mut entries = files::entries(&store.join(directory))?;
    entries.retain(|path| is_own(directory, path));
    Ok(entries)
}

/// The others in all of them.
pub(crate) fn foreign(store: &Path) -> Result<Vec<PathBuf>, ImageError> {
    let mut found = Vec::new();
    for directory in DIRECTORIES {
        let entries = files::entries(&store.join(directory))?;
        // What was there a moment ago and is no more was the store's.
        let is_there = |path: &PathBuf| fs::symlink_metadata(path).is_ok();
        found.extend(entries.into_iter().filter(|path| !is_own(directory, path) && is_there(path)));
    }
    Ok(found)
}

fn is_own(directory: &str, path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return false };
    let is = |kind: fn(&FileType) -> bool| fs::symlink_metadata(path).is_ok_and(|seen| kind(&seen.file_type()));
    match directory {
        // Whose they are is certain, also where a person has put a link to another disk in their place.
        "" => name == "lock" || DIRECTORIES.contains(&name),
        "blobs" => name == "sha256",
        "blobs/sha256" => is_hex(name, 64) && is(FileType::is_file),
        "l" => is_hex(name, 24) && is(FileType::is_dir),
        // As the crate `tempfile` names them.
        "tmp" => name.strip_prefix(".tmp").is_some_and(|rest| is_word(rest, 6)) && is(FileType::is_dir),
        _ => name.strip_suffix(".json").is_some_and(|digest| is_hex(digest, 64)) && is(FileType::is_file),
    }
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|octet| matches!(octet, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_word(text: &str, characters: usize) -> bool {
    text.len() == characters && text.bytes().all(|octet| octet.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Images, Limits};

    #[test]
    fn an_entry_is_known_by_its_name_and_its_kind() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = directory.path();
        drop(Images::open(store, Limits::default()).expect("opens"));
        let digest = "0123456789abcdef".repeat(4);
        let record = format!("{digest}.json");
        let layer = &digest[..24];
        let mut others = Vec::new();
        for (part, name, is_directory, is_own) in [
            ("", "notes.txt", false, false),
            ("", "more", true, false),
            ("blobs", "sha512", true, false),
            ("blobs/sha256", digest.as_str(), false, true),
            ("blobs/sha256", &digest[1..], false, false),
            ("layers", &record, false, true),
            ("layers", &digest, false, false),
            ("images", &record, true, false),
            ("names", "busybox.json", false, false),
            ("l", layer, true, true),
            ("l", &layer[1..], true, false),
            ("l", &digest[..24].replace('a', "A"), true, false),
            ("tmp", ".tmpAb12Cd", true, true),
            ("tmp", ".tmpAb12C", true, false),
            ("tmp", ".tmpAb12Ce", false, false),
        ] {
            let path = store.join(part).join(name);
            let made = if is_directory { fs::create_dir(&path) } else { fs::write(&path, "") };
            made.expect("the directory is ours");
            assert_eq!(own(store, part).expect("readable").contains(&path), is_own, "{}", path.display());
            others.extend((!is_own).then_some(path));
        }
        others.sort();
        let mut found = foreign(store).expect("readable");
        found.sort();
        assert_eq!(found, others);
    }
}
