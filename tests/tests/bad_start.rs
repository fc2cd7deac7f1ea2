//! What keeps the daemon from starting: it says what, on which object, and changes nothing.

use std::{fs, process::Command};

use tests::Host;

/// Runs the daemon, which must refuse to start, and returns what it said.
#[track_caller]
fn refused(host: &Host, command: &mut Command) -> String {
    let status = command.status().expect("nsenter runs");
    let said = host.log_tail();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("error: "), "{said}");
    said
}

#[test]
fn settings_that_make_no_sense() {
    for (settings, expected) in [
        ("pools = []", &["netd.toml", "`pools` is empty", "leave the key out"][..]),
        ("pools = ['10.0.0.0/30']", &["`pools`", "10.0.0.0/30"]),
        ("pools = ['ten']", &["netd.toml", "line 1"]),
        ("log = 'loud=very'", &["loud=very"]),
        ("namespace_pool = 100000", &["netd.toml", "namespace_pool", "256"]),
        ("namespace_pool = 'many'", &["netd.toml", "line 1"]),
        ("domain = 'not a domain'", &["netd.toml", "not a domain"]),
        ("colour = 'blue'", &["netd.toml", "colour"]),
    ] {
        let host = Host::stopped(settings);
        let said = refused(&host, &mut host.netd_command());
        for word in expected {
            assert!(said.contains(word), "{settings}: `{word}` in\n{said}");
        }
        // The host of the test would be retired by a daemon, which these settings keep from starting.
        fs::write(host.path("netd.toml"), "").expect("the directory is ours");
    }
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
    assert!(said.contains("/data") && said.contains("Read-only file system"), "{said}");
    host.start();
    assert_eq!(host.json(&["network", "ls"])[0]["name"], "web");
}
