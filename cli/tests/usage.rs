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
    ] {
        let output = fabric(arguments);
        assert_eq!(output.status.code(), Some(2), "{name}");
        assert_eq!(text(&output.stdout), "", "{name}: standard output is for data");
        insta::assert_snapshot!(name, text(&output.stderr));
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
fn a_daemon_that_is_away_is_named_with_a_hint() {
    let output = fabric(&["--socket", "/nonexistent/netd.sock", "ps"]);
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!("no_daemon", text(&output.stderr));
    let run = fabric(&["--socket", "/nonexistent/netd.sock", "run", "busybox"]);
    assert_eq!(run.status.code(), Some(125));
}
