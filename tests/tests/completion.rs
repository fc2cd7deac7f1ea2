//! What shells offer while somebody types: commands, options, and the names that the daemon knows.

use std::{fs, os::unix::net::UnixListener, path::Path};

use tests::{Host, completed_by_bash};

const NONE: [&str; 0] = [];

#[test]
fn names_of_containers_networks_and_images_are_offered() {
    let host = Host::new();
    let script = host.path("fabric.bash");
    fs::write(&script, host.ok(&["completion", "bash"])).expect("the directory is ours");
    let fabric = host.fabric_command(&[]).get_program().to_owned();
    let binaries = Path::new(&fabric).parent().expect("a program is in a directory");
    let socket = host.run_dir().join("netd.sock");
    let offered = |words: &[&str]| {
        let mut offered = completed_by_bash(&script, binaries, &socket, &[&["fabric"], words].concat());
        // Where nothing is typed yet, options are offered as well.
        offered.retain(|offer| !offer.starts_with("--") || words.last().is_some_and(|last| !last.is_empty()));
        offered
    };
    for network in ["web", "back"] {
        host.ok(&["network", "create", network]);
    }
    host.run("api", "web", &[], &["sleep", "1000"]);
    host.ok(&["create", "--name", "apart", "busybox", "true"]);
    let closed = host.path("closed.yaml");
    let text = "{apiVersion: fabric/v1, kind: Stance, metadata: {name: closed}, networks: [back], ingress: deny}";
    fs::write(&closed, text).expect("the directory is ours");
    host.ok(&["policy", "apply", "-f", &closed.to_string_lossy()]);

    for (words, expected) in [
        (&["network", "cre"][..], &["create"][..]),
        (&["run", "--detach-"], &["--detach-keys"]),
        (&["rm", "ap"], &["apart", "api"]),
        (&["rm", "apart", ""], &["apart", "api"]),
        (&["start", "-a", "apa"], &["apart"]),
        // What does not run can be none of these.
        (&["exec", "ap"], &["api"]),
        (&["dns", "query", "web", "--as", ""], &["api"]),
        (&["network", "rm", ""], &["back", "web"]),
        (&["network", "connect", "ba"], &["back"]),
        (&["network", "connect", "back", "ap"], &["apart", "api"]),
        (&["run", "--network", ""], &["back", "host", "none", "web"]),
        (&["run", "-d", "bu"], &["busybox"]),
        (&["image", "rm", "bu"], &["busybox"]),
        (&["policy", "rm", ""], &["closed"]),
        (&["policy", "explain", "ap"], &["api"]),
        // A new one's name is nobody's.
        (&["network", "create", "w"], &NONE),
    ] {
        assert_eq!(offered(words), expected, "{words:?}");
    }
    let elsewhere = host.path("elsewhere.sock");
    let typed = elsewhere.to_string_lossy();
    assert_eq!(offered(&["--socket", &typed, "rm", "ap"]), NONE, "nobody listens there");
    // Whoever pressed the key gets away from one who does not answer, too.
    let silent = UnixListener::bind(&elsewhere).expect("the directory is ours");
    assert_eq!(offered(&["--socket", &typed, "rm", "ap"]), NONE, "nobody answers there");
    drop(silent);
    host.kill();
    assert_eq!(offered(&["rm", "ap"]), NONE, "and there is no daemon");
    assert_eq!(offered(&["network", "cre"]), ["create"]);
}
