//! What keeps the daemon from starting: it says what, on which object, and changes nothing.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use redb::{ReadableDatabase, ReadableTable};
use tests::Host;

/// Runs the daemon, which must refuse to start, and returns what it said.
#[track_caller]
fn refused(host: &Host, command: &mut Command) -> String {
    refused_with(1, host, command)
}

#[track_caller]
fn refused_with(code: i32, host: &Host, command: &mut Command) -> String {
    let status = command.status().expect("nsenter runs");
    let said = host.log_tail();
    assert_eq!(status.code(), Some(code), "{said}");
    assert!(said.contains("error: "), "{said}");
    said
}

#[test]
fn settings_that_make_no_sense() {
    for (settings, expected) in [
        ("pools = []", &["netd.toml", "line 1, column 9", "`pools` is empty", "leave the key out"][..]),
        ("pools = ['10.0.0.0/30']", &["netd.toml", "line 1, column 9", "10.0.0.0/30 has no room for a subnet"]),
        ("pools = ['127.0.0.0/8']", &["netd.toml", "line 1, column 9", "127.0.0.0/8 cannot be routed to"]),
        ("pools = ['ten']", &["netd.toml", "line 1"]),
        ("log = 'loud=very'", &["netd.toml", "line 1, column 7", "`very` is no level"]),
        ("log = 'debgu'", &["netd.toml", "line 1, column 7", "did you mean `debug`?"]),
        ("namespace_pool = 100000", &["netd.toml", "line 1, column 18", "namespace_pool", "256"]),
        ("namespace_pool = 'many'", &["netd.toml", "line 1"]),
        ("domain = 'not a domain'", &["netd.toml", "not a domain"]),
        ("metrics_listen = '192.0.2.1:9273'", &["cannot serve metrics on 192.0.2.1:9273", "hint: `metrics_listen`"]),
        ("colour = 'blue'", &["netd.toml", "colour"]),
    ] {
        let host = Host::stopped(settings);
        // An address may be there later. What makes no sense will never do: no service manager is to try again.
        let code = if settings.starts_with("metrics_listen") { 1 } else { 2 };
        let said = refused_with(code, &host, &mut host.netd_command());
        for word in expected {
            assert!(said.contains(word), "{settings}: `{word}` in\n{said}");
        }
        assert_nothing_was_made(&host);
        // The host of the test would be retired by a daemon, which these settings keep from starting.
        fs::write(host.path("netd.toml"), "").expect("the directory is ours");
    }
}

/// The daemon with other directories.
fn elsewhere(host: &Host, data: &Path, run: &Path) -> Command {
    let usual = host.netd_command();
    let mut command = Command::new(usual.get_program());
    let (data_dir, run_dir) = (host.data_dir(), host.run_dir());
    command.args(usual.get_args().map(|argument| match Path::new(argument) {
        path if path == data_dir => data.as_os_str(),
        path if path == run_dir => run.as_os_str(),
        _ => argument,
    }));
    let log = fs::File::options().append(true).create(true).open(host.path("netd.log")).expect("the directory is ours");
    command.stderr(log);
    command
}

/// A daemon that did not start made nothing, neither on the disk nor in the kernel.
#[track_caller]
fn assert_nothing_was_made(host: &Host) {
    for directory in [host.data_dir(), host.run_dir()] {
        assert!(!directory.exists(), "{} is left", directory.display());
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("the kernel tells");
    assert!(!mounts.contains(&*host.run_dir().to_string_lossy()), "{mounts}");
}

#[test]
fn nothing_is_left_of_what_was_made_before_it_failed() {
    // Another one works in the same network namespace.
    let host = Host::new();
    let said = refused(&host, &mut elsewhere(&host, &host.path("lib/data"), &host.path("other-run")));
    assert!(said.contains("network namespace"), "{said}");
    for path in ["lib", "other-run"] {
        assert!(!host.path(path).exists(), "{path} is left");
    }
    // One that was there stays.
    fs::create_dir(host.path("mine")).expect("the directory is ours");
    let said = refused(&host, &mut elsewhere(&host, &host.path("mine"), &host.run_dir()));
    assert!(said.contains("/run is in use"), "{said}");
    assert_eq!(fs::read_dir(host.path("mine")).expect("it is there").count(), 0);
    host.assert_healthy();
}

#[test]
fn a_run_directory_that_no_socket_can_be_in() {
    let host = Host::stopped("");
    let long = host.run_dir().join("a-rather-long-directory-name".repeat(5));
    let said = refused(&host, &mut elsewhere(&host, &host.data_dir(), &long));
    assert!(said.contains("cannot serve the API on") && said.contains("hint: "), "{said}");
    assert_nothing_was_made(&host);
}

#[test]
fn a_damaged_state_file_is_never_overwritten() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    host.terminate();
    let path = host.data_dir().join("state.redb");
    let whole = fs::read(&path).expect("netd made it");
    for damaged in [b"this is no database".to_vec(), vec![0; whole.len()], whole[..whole.len() / 2].to_vec()] {
        fs::write(&path, &damaged).expect("root may");
        let said = refused(&host, &mut host.netd_command());
        assert!(said.contains("state.redb"), "{said}");
        assert!(said.contains("hint: "), "{said}");
        assert!(fs::read(&path).expect("it is there") == damaged, "it is as it was");
    }
    fs::write(&path, &whole).expect("root may");
    host.start();
    assert_eq!(host.json(&["network", "ls"])[0]["name"], "web");
}

#[test]
fn a_data_directory_that_cannot_be_written() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    host.terminate();
    let netd = host.netd_command();
    // In a mount namespace of its own, where the directory is read-only.
    let script = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(host.data_dir()).arg(netd.get_program()).args(netd.get_args());
    let log = fs::File::options().append(true).open(host.path("netd.log")).expect("netd wrote it");
    command.stderr(log);
    let said = refused(&host, &mut command);
    for word in ["/data", "Read-only file system", "hint: make its file system writable"] {
        assert!(said.contains(word), "`{word}` in\n{said}");
    }
    host.start();
    assert_eq!(host.json(&["network", "ls"])[0]["name"], "web");
}

#[test]
fn a_state_file_of_a_later_release_is_never_overwritten() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    host.terminate();
    let path = host.data_dir().join("state.redb");
    let whole = fs::read(&path).expect("netd made it");
    let database = redb::Database::open(&path).expect("no daemon holds it");
    let transaction = database.begin_write().expect("nobody else writes");
    let table = redb::TableDefinition::<&str, u64>::new("fabric_meta");
    transaction.open_table(table).expect("the table").insert("format", 1_000_000).expect("inserts");
    transaction.commit().expect("commits");
    drop(database);
    let newer = fs::read(&path).expect("it is there");
    let said = refused(&host, &mut host.netd_command());
    for word in ["state.redb", "format 1000000", "hint: ", "release that wrote it"] {
        assert!(said.contains(word), "`{word}` in\n{said}");
    }
    assert!(fs::read(&path).expect("it is there") == newer, "it is as it was");
    fs::write(&path, &whole).expect("root may");
    host.start();
    assert_eq!(host.json(&["network", "ls"])[0]["name"], "web");
}

/// Key to the numbers of two revisions and the value.
const ENTRIES: redb::TableDefinition<'static, &[u8], (u64, u64, &[u8])> = redb::TableDefinition::new("fabric_entries");

type Entries = BTreeMap<Vec<u8>, (u64, u64, Vec<u8>)>;

/// All that a state file holds.
fn entries(path: &Path) -> Entries {
    let database = redb::Database::open(path).expect("no daemon holds it");
    let transaction = database.begin_read().expect("it is readable");
    let table = transaction.open_table(ENTRIES).expect("the table");
    table
        .iter()
        .expect("it is readable")
        .map(|row| {
            let (key, value) = row.expect("it is readable");
            let (created, modified, octets) = value.value();
            (key.value().to_vec(), (created, modified, octets.to_vec()))
        })
        .collect()
}

/// Puts another value in the place of an entry's.
fn replace(path: &Path, key: &[u8], value: &[u8]) {
    let database = redb::Database::open(path).expect("no daemon holds it");
    let transaction = database.begin_write().expect("nobody else writes");
    transaction.open_table(ENTRIES).expect("the table").insert(key, (1, 1, value)).expect("inserts");
    transaction.commit().expect("commits");
}

#[test]
fn a_state_file_with_one_record_that_cannot_be_read_is_never_overwritten() {
    let host = Host::new();
    host.ok(&["network", "create", "web", "--subnet", "10.9.8.0/24"]);
    for name in ["first", "second"] {
        host.ok(&["create", "--name", name, "--network", "web", "busybox", "true"]);
    }
    host.ok(&["rm", "second"]);
    host.terminate();
    let path = host.data_dir().join("state.redb");
    let (whole, good) = (fs::read(&path).expect("netd made it"), entries(&path));
    for kind in ["networks/", "containers/", "leases/", "formers/"] {
        let (key, (.., value)) =
            good.iter().find(|(key, _)| key.starts_with(kind.as_bytes())).unwrap_or_else(|| panic!("no {kind}"));
        let text = String::from_utf8_lossy(value);
        // What a later release might write: a word that this one does not know where it expects one of a few.
        let later = [("\"bridge\"", "\"teleport\""), ("\"created\"", "\"suspended\""), ("10.9.8.", "somewhere.")];
        let later = later.iter().fold(text.to_string(), |text, (known, unknown)| text.replace(known, unknown));
        let mut bad = vec![
            b"\xff\xfe\0".to_vec(),
            Vec::new(),
            b"{}".to_vec(),
            b"[1, 2]".to_vec(),
            value[..value.len() / 2].to_vec(),
            [&value[..], b"x"].concat(),
        ];
        bad.extend((later != text).then(|| later.into_bytes()));
        for value in bad {
            replace(&path, key, &value);
            let before = entries(&path);
            let shown = String::from_utf8_lossy(&value).into_owned();
            let said = refused(&host, &mut host.netd_command());
            let last = said.rsplit("error: ").next().unwrap_or_default();
            let key = String::from_utf8_lossy(key);
            for word in [&*key, "hint: ", "nothing of it was changed"] {
                assert!(last.contains(word), "`{word}`, with {shown:?} in {key}:\n{said}");
            }
            assert_eq!(entries(&path), before, "with {shown:?} in {key}");
            fs::write(&path, &whole).expect("root may");
        }
    }
    // A key that nobody can have written.
    replace(&path, b"containers/\xff", b"{}");
    let before = entries(&path);
    let said = refused(&host, &mut host.netd_command());
    assert!(said.contains("state.redb") && said.contains("hint: "), "{said}");
    assert_eq!(entries(&path), before);
    fs::write(&path, &whole).expect("root may");
    host.start();
    assert_eq!(host.json(&["ps", "-a"])[0]["name"], "first");
}
