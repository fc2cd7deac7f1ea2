//! Containers at a terminal: `run -it`, `exec -it`, `attach`, and the way out.

use rustix::process::{Signal, kill_process};
use tests::{Host, Terminal, eventually};

const DETACH: &str = "\x10\x11";

fn at_terminal(host: &Host, arguments: &[&str]) -> Terminal {
    Terminal::start(&host.fabric_command(arguments))
}

/// A shell without prompts, so that the screen shows what was typed and what came of it.
const SHELL: [&str; 4] = ["busybox", "env", "PS1=", "sh"];

#[test]
fn a_shell_has_a_terminal_of_the_right_size_with_job_control() {
    let host = Host::new();
    host.ok(&["run", "-d", "--name", "api", "busybox", "sleep", "1000"]);
    let run = [&["run", "-it", "--rm"], &SHELL[..]].concat();
    let under_init = [&["run", "-it", "--rm", "--init"], &SHELL[..]].concat();
    let exec = ["exec", "-it", "api", "env", "PS1=", "sh"];
    for command in [&run[..], &under_init, &exec] {
        let mut terminal = at_terminal(&host, command);
        terminal.wait_until_raw();
        terminal.keys("stty size; tty; echo $TERM\n");
        terminal.expect("40 100\r\n/dev/pts/");
        terminal.expect("xterm");
        terminal.resize(31, 77);
        terminal.keys("until stty size | grep -q '31 77'; do sleep 0.1; done; stty size\n");
        terminal.expect("31 77");
        // Ctrl-C ends what is in the foreground, not the shell, and not `fabric`. It says itself that it runs: a shell
        // that is caught between a word of its own and starting it goes on waiting for it.
        terminal.keys("sh -c \"echo sl''eeps; exec sleep 100\"\n");
        terminal.expect("sleeps\r\n");
        terminal.keys("\x03");
        terminal.keys("echo code $?\n");
        terminal.expect("code 130");
        terminal.keys("exit 5\n");
        assert_eq!(terminal.end(), 5, "{command:?}");
    }
    eventually("only its own process is left", || {
        (host.json(&["top", "api"]).as_array().expect("a list").len() == 1).then_some(())
    });
}

#[test]
fn every_key_reaches_a_program_that_reads_raw() {
    let host = Host::new();
    let script = "stty raw -echo; echo ready; dd bs=1 count=6 2>/dev/null | od -An -tx1; stty sane";
    let mut terminal = at_terminal(&host, &["run", "-it", "--rm", "busybox", "sh", "-c", script]);
    terminal.expect("ready");
    // Among them the first of the keys that detach, followed by another.
    terminal.keys("\x03\x1a\x04\x10x\x1b");
    terminal.expect("03 1a 04 10 78 1b");
    assert_eq!(terminal.end(), 0);
}

#[test]
fn who_detaches_can_come_back() {
    let host = Host::new();
    let mut terminal = at_terminal(&host, &[&["run", "-it", "--name", "work"], &SHELL[..]].concat());
    terminal.wait_until_raw();
    terminal.keys("x=kept; echo set''\n");
    terminal.expect("set\r\n");
    terminal.keys(DETACH);
    terminal.expect("fabric attach work");
    assert_eq!(terminal.end(), 0);
    assert_eq!(host.json(&["inspect", "work"])["state"], "running");

    let mut terminal = at_terminal(&host, &["attach", "--detach-keys", "ctrl-a,d", "work"]);
    terminal.wait_until_raw();
    terminal.keys("echo $x; stty size\n");
    terminal.expect("kept\r\n40 100");
    terminal.keys(DETACH);
    terminal.keys("\x01d");
    assert_eq!(terminal.end(), 0);

    let (mut one, mut two) = (at_terminal(&host, &["attach", "work"]), at_terminal(&host, &["attach", "work"]));
    // A terminal is raw a moment before it is attached. Whose keys have come back is.
    two.wait_until_raw();
    two.keys("\x03echo th''ere\n");
    two.expect("there");
    one.wait_until_raw();
    one.keys("echo bo''th\n");
    one.expect("both");
    two.expect("both");
    one.keys("exit 3\n");
    assert_eq!((one.end(), two.end()), (3, 3));
    let log = host.ok(&["logs", "work"]);
    assert!(log.contains("kept") && log.contains("both"), "{log}");
    let gone = host.fabric(&["attach", "work"]).expect_code(125);
    assert!(gone.stderr.contains("has exited"), "{gone}");
}

#[test]
fn a_created_container_can_be_started_at_a_terminal_again_and_again() {
    let host = Host::new();
    host.ok(&[&["create", "-it", "--name", "work"], &SHELL[..]].concat());
    for code in [4, 6] {
        let mut terminal = at_terminal(&host, &["start", "-ai", "work"]);
        terminal.wait_until_raw();
        terminal.keys(&format!("stty size; exit {code}\n"));
        terminal.expect("40 100");
        assert_eq!(terminal.end(), code);
        assert_eq!(host.ok(&["wait", "work"]), code.to_string());
    }
}

#[test]
fn signals_restore_the_terminal() {
    let host = Host::new();
    let script = "trap 'exit 9' TERM; echo up; while :; do sleep 0.05; done";
    let terminal = at_terminal(&host, &["run", "-it", "--rm", "busybox", "sh", "-c", script]);
    terminal.expect("up");
    kill_process(terminal.pid(), Signal::TERM).expect("it is our child");
    assert_eq!(terminal.end(), 9);
    // A terminal that is closed leaves the container alone.
    let terminal = at_terminal(&host, &["run", "-it", "--name", "work", "busybox", "sh", "-c", script]);
    terminal.expect("up");
    kill_process(terminal.pid(), Signal::HUP).expect("it is our child");
    assert_eq!(terminal.end(), 0);
    assert_eq!(host.json(&["inspect", "work"])["state"], "running");
}

#[test]
fn a_program_of_exec_does_not_outlive_its_terminal() {
    let host = Host::new();
    host.ok(&["run", "-d", "--name", "api", "busybox", "sleep", "1000"]);
    let terminal = at_terminal(&host, &["exec", "-it", "api", "sh", "-c", "echo up; sleep 1000"]);
    terminal.expect("up");
    assert!(terminal.is_raw());
    kill_process(terminal.pid(), Signal::KILL).expect("it is our child");
    eventually("only its own process is left", || {
        (host.json(&["top", "api"]).as_array().expect("a list").len() == 1).then_some(())
    });
}

#[test]
fn without_a_terminal_outside_only_output_has_one_inside() {
    let host = Host::new();
    let refused = host.fabric(&["run", "-it", "--rm", "busybox", "true"]).expect_code(2);
    assert!(refused.stderr.contains("not a terminal") && refused.stderr.contains("--tty"), "{refused}");
    assert_eq!(host.ok(&["run", "-t", "--rm", "busybox", "tty"]), "/dev/pts/0");
    host.ok(&["run", "-dit", "--name", "work", "busybox", "sh", "-c", "tty; read line; echo $line"]);
    eventually("it has one", || (host.ok(&["logs", "work"]) == "/dev/pts/0").then_some(()));
    let mut terminal = at_terminal(&host, &["attach", "work"]);
    terminal.wait_until_raw();
    terminal.keys("word\n");
    terminal.expect("word\r\nword");
    assert_eq!(terminal.end(), 0);
}
