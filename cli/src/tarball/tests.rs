use std::{
    collections::BTreeMap,
    io::Read,
    os::unix::{fs::PermissionsExt, net::UnixListener},
};

use super::*;

/// A line for each entry: kind, mode, size, path and where it leads.
fn listing(bytes: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(bytes);
    let entries = archive.entries().expect("a tar begins");
    entries
        .map(|entry| {
            let entry = entry.expect("entries follow");
            let target = entry.link_name().expect("a path").map(|target| format!(" -> {}", target.display()));
            format!(
                "{:?} {:o} {} {}{}",
                entry.header().entry_type(),
                entry.header().mode().expect("a mode") & 0o7777,
                entry.size(),
                entry.path().expect("a path").display(),
                target.unwrap_or_default()
            )
        })
        .collect()
}

#[test]
fn a_directory_keeps_its_modes_links_and_order() {
    let root = tempfile::tempdir().expect("a temporary directory can be made");
    let path = |name: &str| root.path().join(name);
    fs::create_dir_all(path("bin")).expect("new");
    fs::write(path("bin/sh"), "#!").expect("new");
    fs::set_permissions(path("bin/sh"), fs::Permissions::from_mode(0o4755)).expect("own file");
    fs::hard_link(path("bin/sh"), path("bin/ls")).expect("new");
    std::os::unix::fs::symlink("/outside/of/it", path("link")).expect("new");
    std::os::unix::fs::symlink(".", path("loop")).expect("new");
    fs::write(path("a"), "").expect("new");
    fs::set_permissions(path("a"), fs::Permissions::from_mode(0o600)).expect("own file");
    fs::set_permissions(path("bin"), fs::Permissions::from_mode(0o755)).expect("own directory");
    let long = "l".repeat(150);
    fs::write(path(&long), "x").expect("new");
    fs::set_permissions(path(&long), fs::Permissions::from_mode(0o644)).expect("own file");
    let _socket = UnixListener::bind(path("socket")).expect("new");
    let mut bytes = Vec::new();
    write_directory(root.path(), &mut bytes).expect("all of it is readable");
    assert_eq!(
        listing(&bytes),
        [
            "Regular 600 0 a".to_owned(),
            "Directory 755 0 bin".to_owned(),
            "Regular 4755 2 bin/ls".to_owned(),
            "Link 4755 0 bin/sh -> bin/ls".to_owned(),
            "Symlink 777 0 link -> /outside/of/it".to_owned(),
            format!("Regular 644 1 {long}"),
            "Symlink 777 0 loop -> .".to_owned(),
        ]
    );
    let mut again = Vec::new();
    write_directory(root.path(), &mut again).expect("all of it is readable");
    assert!(bytes == again, "one directory gives one tar");
}

#[test]
fn extended_attributes_travel_with_their_file() {
    let root = tempfile::tempdir().expect("a temporary directory can be made");
    let file = root.path().join("a".repeat(120));
    fs::write(&file, "x").expect("new");
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(&file, "user.note", b"a=b\0c", flags).expect("the file system has attributes");
    let mut bytes = Vec::new();
    write_directory(root.path(), &mut bytes).expect("all of it is readable");
    let mut archive = tar::Archive::new(&bytes[..]);
    let mut entry = archive.entries().expect("a tar begins").next().expect("one entry").expect("readable");
    let records: BTreeMap<String, Vec<u8>> = entry
        .pax_extensions()
        .expect("readable")
        .expect("there are some")
        .map(|record| record.expect("readable"))
        .map(|record| (record.key().expect("text").to_owned(), record.value_bytes().to_vec()))
        .collect();
    assert_eq!(records["SCHILY.xattr.user.note"], b"a=b\0c");
    assert_eq!(entry.path().expect("a path").as_os_str().len(), 120);
    let mut content = String::new();
    entry.read_to_string(&mut content).expect("readable");
    assert_eq!(content, "x");
}

#[test]
fn what_cannot_be_read_is_named() {
    let root = tempfile::tempdir().expect("a temporary directory can be made");
    let error = write_directory(&root.path().join("gone"), io::sink()).expect_err("it does not exist");
    assert!(error.to_string().contains("gone: No such file"), "{error}");
}
