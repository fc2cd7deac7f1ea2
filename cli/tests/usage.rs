//! What can be typed: help texts, and how wrong usage is answered.

use std::process::{Command, Output};

fn fabric(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fabric"))
        .args(arguments)
        .env_clear()
        .output()
        .expect("the program was built with this test")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the program writes text")
}

#[test]
fn every_verb_explains_itself() {
    for verb in [
        "",
        "network",
        "network create",
        "network ls",
        "network inspect",
        "network update",
        "network rm",
        "network prune",
        "network connect",
        "network disconnect",
        "run",
        "attach",
        "create",
        "start",
        "restart",
        "rename",
        "prune",
        "container",
        "top",
        "ps",
        "inspect",
        "port",
        "logs",
        "exec",
        "stop",
        "kill",
        "wait",
        "rm",
        "image",
        "image import",
        "image ls",
        "image rm",
        "dns",
        "dns query",
        "dns log",
        "policy",
        "policy test",
        "policy explain",
        "policy matrix",
        "policy history",
        "policy rollback",
        "events",
        "completion",
        "status",
        "doctor",
        "version",
    ] {
        let arguments: Vec<&str> = verb.split_whitespace().chain(["--help"]).collect();
        let output = fabric(&arguments);
        assert_eq!(output.status.code(), Some(0), "{verb}");
        assert_eq!(text(&output.stderr), "", "{verb}");
        let name = if verb.is_empty() { "help".to_owned() } else { format!("help_{}", verb.replace(' ', "_")) };
        insta::assert_snapshot!(name, text(&output.stdout));
    }
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_is_right() {
    for (name, arguments) in [
        ("unknown_command", &["rnu"][..]),
        ("unknown_option", &["run", "--nam", "x", "busybox"]),
        ("no_image", &["run"]),
        ("bad_container_name", &["run", "--name", "Web_1", "busybox"]),
        ("bad_image_name", &["run", "Busybox"]),
        ("bad_publish", &["run", "--network", "web", "-p", "80:", "busybox"]),
        ("bad_port", &["port", "api", "80/icmp"]),
        ("publish_without_network", &["run", "-p", "80:80", "busybox"]),
        ("bad_environment", &["run", "-e", "=x", "busybox"]),
        ("bad_label", &["run", "-l", "a b=c", "busybox"]),
        ("relative_workdir", &["run", "-w", "etc", "busybox"]),
        ("bad_reference", &["inspect", "../etc"]),
        ("privileged", &["run", "--privileged", "busybox"]),
        ("bad_volume", &["run", "-v", "data:/data", "busybox"]),
        ("bad_detach_keys", &["attach", "--detach-keys", "ctrl-1", "api"]),
        ("bad_signal", &["kill", "-s", "HUPP", "api"]),
        ("bad_mtu", &["network", "create", "--mtu", "10", "web"]),
        ("gateway_alone", &["network", "create", "--gateway", "10.0.0.1", "web"]),
        ("bad_driver", &["network", "create", "--driver", "magic", "web"]),
        ("nothing_to_remove", &["rm"]),
        ("exec_without_command", &["exec", "api"]),
        ("bad_format", &["ps", "--format", "yaml"]),
        ("bad_timeout", &["stop", "-t", "soon", "api"]),
        ("bad_priority", &["network", "connect", "--gw-priority", "1.5", "web", "api"]),
        ("bad_filter", &["ps", "--filter", "state=runing"]),
    ] {
        let output = fabric(arguments);
        assert_eq!(output.status.code(), Some(2), "{name}");
        assert_eq!(text(&output.stdout), "", "{name}: standard output is for data");
        insta::assert_snapshot!(name, text(&output.stderr));
    }
}

/// Nobody listens at the socket: what contradicts itself is told without asking.
#[test]
fn what_contradicts_itself_ends_with_2_and_is_not_asked_for() {
    let run = |options: &[&'static str]| [&["run"][..], options, &["busybox"]].concat();
    let create = |options: &[&'static str]| [&["network", "create", "web"][..], options].concat();
    let update = |options: &[&'static str]| [&["network", "update", "web"][..], options].concat();
    for (arguments, expected) in [
        (run(&["--network", "host", "--network", "web"]), "the container uses the host's network\nhint: give either"),
        (run(&["--network", "host", "-p", "80:80"]), "cannot publish 80:80/tcp: the container uses the host's network"),
        (run(&["--network", "host", "-P"]), "cannot publish its ports: the container uses the host's network"),
        (run(&["--network", "none", "--network", "web"]), "network `web` and network mode `none` exclude each other"),
        (run(&["--network", "web", "--network", "web"]), "network `web` is given twice"),
        (run(&["--rm", "--restart", "always"]), "cannot have restart policy `always`\nhint: leave out"),
        (run(&["-it"]), "standard input is not a terminal\nhint: leave out `--tty`"),
        (vec!["exec", "-it", "api", "sh"], "standard input is not a terminal\nhint: leave out `--tty`"),
        (create(&["--no-ipv4"]), "needs IPv6 if it is to be without IPv4; add --ipv6"),
        (create(&["--internal", "--gateway-mode", "nat"]), "cannot be internal with gateway mode nat"),
        (update(&[]), "nothing is said that is to change\nhint: `fabric network update --help`"),
        (update(&["--dns", "auto", "--dns", "192.0.2.1"]), "`--dns auto` and another `--dns` exclude each other"),
        (update(&["--label", "a=b", "--label-rm", "a"]), "cannot have the label `a` and be without it"),
    ] {
        let output = fabric(&[&["--socket", "/nonexistent/netd.sock"], &arguments[..]].concat());
        let told = text(&output.stderr);
        assert!(told.contains(expected), "{arguments:?}: {told}");
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), ""), "{arguments:?}");
    }
}

#[test]
fn nothing_at_all_shows_the_help() {
    let output = fabric(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("Usage: fabric"), "{}", text(&output.stderr));
}

#[test]
fn the_environment_does_not_change_usage_lines() {
    let wrong = |socket: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fabric"));
        command.args(["rm"]).env_clear();
        let output = command.envs(socket.map(|path| ("FABRIC_SOCKET", path))).output().expect("it was built");
        text(&output.stderr).to_owned()
    };
    assert_eq!(wrong(None), wrong(Some("/somewhere/else.sock")));
}

#[test]
fn an_empty_variable_is_as_good_as_none() {
    let told = |socket: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fabric"));
        command.args(["rm", "no-such-container"]).env_clear();
        command.envs(socket.map(|path| ("FABRIC_SOCKET", path))).output().expect("it was built").stderr
    };
    assert_eq!(text(&told(Some(""))), text(&told(None)));
}

#[test]
fn a_daemon_that_is_away_is_named_with_a_hint() {
    let output = fabric(&["--socket", "/nonexistent/netd.sock", "ps"]);
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!("no_daemon", text(&output.stderr));
    let run = fabric(&["--socket", "/nonexistent/netd.sock", "run", "busybox"]);
    assert_eq!(run.status.code(), Some(125));
}

#[test]
fn what_cannot_be_meant_is_told_in_words_of_what_it_should_be() {
    for (arguments, expected) in [
        (&["policy", "history", "foo"][..], "a revision is a number"),
        (&["policy", "rollback", "1x"], "a revision is a number"),
        (&["policy", "matrix", "--format", "xml"], "`dot`"),
        (&["dns", "query", ""], "a value is required"),
        (&["run", "--ulimit", "foo=1", "busybox"], "nofile, nproc"),
        (&["run", "--ulimit", "nofile=100:50", "busybox"], "does not exceed the hard one"),
        (&["run", "-m", "999999999999g", "busybox"], "too large"),
    ] {
        let output = fabric(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let said = text(&output.stderr);
        assert!(said.contains(expected) && !said.contains("invalid digit"), "{arguments:?}: {said}");
    }
}
