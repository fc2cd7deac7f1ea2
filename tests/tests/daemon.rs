//! How the daemon is started, and who may talk to it.

use std::{
    fs::{self, Permissions},
    io::Write,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::Path,
    process::{Command, Stdio},
};

use tests::{Host, eventually};

/// Somebody who has an account on the host and nothing to do with containers; in these groups besides.
fn somebody(groups: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", groups]);
    command
}

#[test]
fn the_socket_is_for_root_and_the_group_fabric() {
    let host = Host::new();
    let socket = std::fs::metadata(host.run_dir().join("netd.sock")).expect("the daemon made it");
    assert!(socket.file_type().is_socket());
    assert_eq!((socket.uid(), socket.permissions().mode() & 0o777), (0, 0o660));
    let groups = std::fs::read_to_string("/etc/group").expect("every system has it");
    let fabric = groups.lines().find_map(|line| line.strip_prefix("fabric:")?.split(':').nth(1)?.parse().ok());
    assert_eq!(socket.gid(), fabric.unwrap_or(0));
}

/// In a mount namespace of the daemon's own, whose `/etc/group` is not the machine's.
#[test]
fn the_socket_belongs_to_the_group_fabric_where_there_is_one() {
    for (groups, gid) in [
        ("root:x:0:\nfabric:x:64123:\nusers:x:100:\n", 64123),
        ("fabric:!:64124:somebody,else", 64124),
        ("root:x:0:\n", 0),
        ("root:x:0:\nfabrics:x:64125:\nnot-fabric:x:64126:fabric\n", 0),
        ("fabric:x:many:\nfabric\nfabric:x\n", 0),
    ] {
        let host = Host::stopped("");
        let file = host.path("group");
        fs::write(&file, groups).expect("the directory is ours");
        let netd = host.netd_command();
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-euc", "mount --bind \"$0\" /etc/group; exec \"$@\""]).arg(&file);
        command.arg(netd.get_program()).args(netd.get_args());
        command.stderr(fs::File::options().append(true).open(host.path("netd.log")).expect("it was made"));
        host.spawn(&mut command);
        host.wait_until_ready();
        let socket = fs::metadata(host.run_dir().join("netd.sock")).expect("the daemon made it");
        let owned = (socket.uid(), socket.gid(), socket.permissions().mode() & 0o7777);
        assert_eq!(owned, (0, gid, 0o660), "{groups:?}");
        host.terminate();
    }
}

#[test]
fn somebody_else_gets_no_answer() {
    let host = Host::new();
    // Where users may go: what is tried is the socket, not the directory of the test.
    let program = host.path("fabric");
    // By another process: what this one has open for writing, a child that another test starts meanwhile has open for a
    // moment, too, and then it cannot be executed.
    let copied = Command::new("cp").arg(host.fabric_command(&[]).get_program()).arg(&program).status();
    assert!(copied.expect("cp runs").success(), "there is room");
    fs::set_permissions(program.parent().expect("a directory"), Permissions::from_mode(0o755)).expect("it is ours");
    let socket = host.run_dir().join("netd.sock");
    let status = |groups: &str| {
        let mut command = somebody(groups);
        command.arg(&program).arg("status").env("FABRIC_SOCKET", &socket).output().expect("setpriv runs")
    };
    let refused = status("--clear-groups");
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && told.contains("ermission denied"), "{told}");
    let group = fs::metadata(&socket).expect("the daemon made it").gid();
    assert!(status(&format!("--groups={group}")).status.success(), "the control: one of the socket's group");
}

/// Every path below a directory.
fn below(directory: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().map_while(Result::ok) {
        found.push(entry.path().display().to_string());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            below(&entry.path(), found);
        }
    }
}

#[test]
fn somebody_else_reads_and_writes_nothing_of_containers() {
    let host = Host::new();
    host.ok(&["network", "create", "web"]);
    host.run(
        "api",
        "web",
        &["-e", "PASSWORD=secret"],
        &["sh", "-c", "echo secret; umask 0; echo x >/open; sleep 1000"],
    );
    fs::set_permissions(host.path(""), Permissions::from_mode(0o755)).expect("it is ours");
    let mut paths = eventually("it has written to its log and its file", || {
        let mut paths = Vec::new();
        below(&host.run_dir(), &mut paths);
        below(&host.data_dir(), &mut paths);
        let is_there = |name| paths.iter().any(|path: &String| path.ends_with(name));
        (is_there("/log.jsonl") && is_there("/open")).then_some(paths)
    });
    // Notes that say nothing of any container.
    paths.retain(|path| !path.ends_with("/incarnation") && !path.ends_with("-enabled-by-fabric"));
    let list = paths.join("\n") + "\n";
    let list = &list;
    let may = |mut command: Command, test: &str| -> Vec<String> {
        let script = format!("while read -r path; do [ {test} \"$path\" ] && echo \"$path\"; done; true");
        command.args(["sh", "-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("setpriv runs");
        let mut stdin = child.stdin.take().expect("it is piped");
        let told = std::thread::scope(|scope| {
            scope.spawn(move || stdin.write_all(list.as_bytes()).expect("it reads all"));
            child.wait_with_output().expect("it is our child")
        });
        String::from_utf8_lossy(&told.stdout).lines().map(str::to_owned).collect()
    };
    for test in ["-r", "-w"] {
        assert_eq!(may(somebody("--clear-groups"), test), [""; 0], "{test}");
        let mut root = Command::new("setpriv");
        root.arg("--clear-groups");
        assert!(may(root, test).len() > 20, "the control: root may");
    }
}

#[test]
fn a_second_daemon_on_the_same_directories_is_refused() {
    let host = Host::new();
    let status = host.netd_command().status().expect("nsenter runs");
    assert_eq!(status.code(), Some(1));
    assert!(host.log_tail().contains("in use"), "{}", host.log_tail());
    host.assert_healthy();
}

#[test]
fn a_bad_configuration_is_refused_by_line() {
    let host = Host::stopped("domain = 'fabric.internal'\nupstream = []");
    let status = host.netd_command().status().expect("nsenter runs");
    assert_eq!(status.code(), Some(2));
    let log = host.log_tail();
    assert!(log.contains("netd.toml") && log.contains("line 2") && log.contains("upstream"), "{log}");
}
