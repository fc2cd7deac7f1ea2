//! What a person is told when a request fails: the error, its causes, a hint; and nothing has changed.

use std::fmt::Write;

use tests::{Host, PATIENCE, difference, within};

/// One of them is in every error: a hint, or words of the error itself that say what to give instead.
const REMEDIES: [&str; 5] = [
    "\nhint: ",
    "try '--help'",
    "did you mean 10.1.2.0/24?",
    "use a prefix of /30",
    "give one that holds it with --subnet",
];

#[test]
fn a_bad_request_is_explained_and_changes_nothing() {
    let host = Host::new();
    host.ok(&["network", "create", "web", "--subnet", "10.9.8.0/24"]);
    host.run("api", "web", &["-p", "8080:80"], &["sleep", "1000"]);
    host.ok(&["run", "-d", "--name", "done", "busybox", "true"]);
    host.ok(&["wait", "done"]);
    let long = "a".repeat(300);
    let no_tar = host.path("no-tar").to_string_lossy().into_owned();
    std::fs::write(&no_tar, "words\n").expect("the directory is ours");
    let requests: &[&[&str]] = &[
        &["network", "create", "web"],
        &["network", "create", "Web"],
        &["network", "create", "w;reboot"],
        &["network", "create", "new\nline"],
        &["network", "create", &long],
        &["network", "create", "same", "--subnet", "10.9.8.0/25"],
        &["network", "create", "bits", "--subnet", "10.1.2.3/24"],
        &["network", "create", "small", "--subnet", "10.1.2.0/31"],
        &["network", "create", "none", "--subnet", "10.1.2.0/33"],
        &["network", "create", "odd", "--subnet", "10.1.2.0/24", "--gateway", "10.3.0.1"],
        &["network", "rm", "web"],
        &["network", "rm", "wbe"],
        &["network", "rm", "nope"],
        &["network", "inspect", "wbe"],
        &["run", "-d", "--name", "api", "--network", "web", "busybox", "true"],
        &["run", "-d", "--network", "wbe", "busybox", "true"],
        &["run", "-d", "--network", "web", "bussybox", "true"],
        &["run", "-d", "--network", "web", "-p", "8080:80", "busybox", "true"],
        &["run", "-d", "--network", "web", "-p", "99999:80", "busybox", "true"],
        &["run", "-d", "-p", "8081:80", "busybox", "true"],
        &["run", "-d", "--network", "web:ip6=fd00::5", "busybox", "true"],
        &["run", "-d", "--memory", "64k", "busybox", "true"],
        &["network", "create", "lan", "--driver", "macvlan", "--opt", "parent=lo", "--subnet", "10.1.2.0/24"],
        &["ps", "--format", "{{.nmae}}"],
        &["man", "/no/such/directory"],
        &["run", "--rm", "--network", "web", "busybox", "no-such-program"],
        &["run", "--rm", "--network", "web", "busybox", "/etc/passwd"],
        &["run", "--rm", "--network", "web", "-w", "tmp", "busybox", "true"],
        &["run", "--rm", "--network", "web", "-w", "/etc/passwd", "busybox", "true"],
        &["exec", "-w", "/nope", "api", "true"],
        &["exec", "apy", "true"],
        &["exec", "done", "true"],
        &["run", "--rm", "--env-file", "/no/such/file", "busybox", "true"],
        &["exec", "api", "no-such-program"],
        &["exec", "api", "/etc/passwd"],
        &["logs", "apy"],
        &["stop", "apy"],
        &["kill", "done"],
        &["kill", "-s", "NOSUCH", "api"],
        &["wait", "apy"],
        &["rm", "api"],
        &["rm", "apy"],
        &["inspect", "apy"],
        &["image", "rm", "busybox"],
        &["image", "rm", "bussybox"],
        &["image", "rm", "nope"],
        &["ps", "--filter", "size=1"],
        &["image", "import", "/no/such/file", "other"],
        &["image", "import", &no_tar, "other"],
        &["no-such-command"],
    ];
    let state = || {
        let lists: [&[&str]; 3] = [&["ps", "-a"], &["network", "ls"], &["image", "ls"]];
        // The address of a container that could not be started rests, as every other that was held.
        let rests = |line: &&str| line.contains("\"resting\":") || line.contains("\"free\":");
        let lists = lists.map(|list| {
            let shown = format!("{:#}\n", host.json(list));
            shown.lines().filter(|line| !rests(line)).collect::<Vec<_>>().join("\n")
        });
        host.kernel_state() + &host.holdings().join("\n") + "\n" + &lists.concat()
    };
    let before = state();
    let mut text = String::new();
    for request in requests {
        let outcome = host.fabric(request);
        assert_ne!(outcome.code, 0, "{outcome}");
        assert_eq!(outcome.stdout, "", "errors are not data: {outcome}");
        assert!(outcome.stderr.starts_with("error: "), "it is said what failed: {outcome}");
        assert!(outcome.stderr.len() < 2000, "an error is short enough to read: {outcome}");
        let says = |remedy: &&str| outcome.stderr.contains(remedy);
        assert!(REMEDIES.iter().any(says), "it is said what to do: {outcome}");
        let line = outcome.line.replace(&long, "a…").escape_debug().to_string();
        writeln!(text, "$ {line}\n{}\n[exit code {}]\n", outcome.stderr.trim_end(), outcome.code).expect("a String");
        let unchanged = within(PATIENCE, || (state() == before).then_some(()));
        assert!(unchanged.is_some(), "`{line}` changed something:\n{}", difference(&before, &state()));
    }
    let filters =
        [(r"\b[0-9a-f]{32}\b", "[id]"), (r"\b[0-9a-f]{12}\b", "[short id]"), (r"/tmp/fabric-test-\w+", "[host]")];
    insta::with_settings!({ filters => filters, omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("errors", text);
    });
}

#[test]
fn without_a_daemon_the_socket_is_named() {
    let host = Host::stopped("");
    let outcome = host.fabric(&["ps"]).expect_code(1);
    assert!(outcome.stderr.contains("netd.sock") && outcome.stderr.contains("hint:"), "{outcome}");
    let outcome = host.fabric(&["run", "--rm", "busybox", "true"]).expect_code(125);
    assert!(outcome.stderr.contains("netd.sock"), "{outcome}");
}
