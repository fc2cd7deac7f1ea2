//! What a container is given and kept from: mounts, users, limits, capabilities.

use std::{fs, path::Path, process::Command};

use serde_json::json;
use tests::{Host, eventually};

#[test]
fn files_of_the_host_appear_inside() {
    let host = Host::new();
    let data = host.path("shared");
    fs::create_dir_all(&data).expect("the directory is ours");
    fs::write(data.join("greeting"), "hello\n").expect("the directory is ours");
    let writable = format!("{}:/data", data.display());
    let read_only = format!("{}:/etc/greeting:ro", data.join("greeting").display());
    let script = "cat /data/greeting /etc/greeting; echo bye >/data/answer; echo x >/etc/greeting || echo refused";
    let seen = host.ok(&["run", "--rm", "-v", &writable, "-v", &read_only, "busybox", "sh", "-c", script]);
    assert_eq!(seen, "hello\nhello\nrefused");
    assert_eq!(fs::read_to_string(data.join("answer")).expect("it was written"), "bye\n");
    let missing = data.join("missing");
    let refused = host.fabric(&["run", "-d", "-v", &format!("{}:/data", missing.display()), "busybox", "true"]);
    let refused = refused.expect_code(125);
    assert!(refused.stderr.contains("cannot be mounted") && refused.stderr.contains("mkdir -p"), "{refused}");
    assert!(!missing.exists(), "nothing is made on the host");
    // The container's devices would be made in the host's directory.
    for option in ["-v", "--tmpfs"] {
        let mount = if option == "-v" { format!("{}:/dev/", data.display()) } else { "/dev".to_owned() };
        let refused = host.fabric(&["run", "-d", option, &mount, "busybox", "true"]).expect_code(2);
        assert!(refused.stderr.contains("at /dev, where the container's own devices are"), "{refused}");
    }
    assert_eq!(fs::read_dir(&data).expect("it is there").count(), 2);
    assert_eq!(host.json(&["ps", "-a"]), json!([]));
    // What went away since is told by the start, and the container stays as it was.
    host.ok(&["run", "-d", "--name", "job", "-v", &writable, "busybox", "true"]);
    host.ok(&["wait", "job"]);
    fs::rename(&data, host.path("elsewhere")).expect("the directory is ours");
    let refused = host.fabric(&["start", "job"]).expect_code(1);
    assert!(refused.stderr.contains("cannot be mounted"), "{refused}");
    assert_eq!(host.json(&["inspect", "job"])["exit_code"], 0);
}

#[test]
fn programs_users_and_variables_are_as_asked_for() {
    let host = Host::new();
    let file = host.path("env");
    fs::write(&file, "# from a file\nA=file\nB=two words\nHOME_OF_FABRIC\n").expect("the directory is ours");
    let file = file.to_string_lossy();
    let run = ["run", "--rm", "--env-file", &file, "-e", "A=given", "--user", "7:8", "--entrypoint", "/bin/sh"];
    let script = "id -u; id -g; echo $A; echo $B; echo ${HOME_OF_FABRIC-unset}";
    assert_eq!(host.ok(&[&run[..], &["busybox", "-c", script]].concat()), "7\n8\ngiven\ntwo words\nunset");
    host.ok(&["run", "-d", "--name", "api", "--user", "7", "busybox", "sleep", "1000"]);
    assert_eq!(host.ok(&["exec", "api", "id", "-u"]), "7");
    assert_eq!(host.ok(&["exec", "-u", "9:10", "api", "sh", "-c", "id -u; id -g"]), "9\n10");
    host.fabric(&["run", "--rm", "--env-file", "/no/such/file", "busybox", "true"]).expect_code(125);
    let unknown = host.fabric(&["run", "--rm", "--user", "nobody-here", "busybox", "true"]).expect_code(125);
    assert!(unknown.stderr.contains("nobody-here"), "{unknown}");
}

/// What numbers a name has, which further groups, and where it is at home, is the container's own business.
#[test]
fn a_user_has_the_home_and_the_groups_that_the_container_s_files_say() {
    let host = Host::new();
    let tree = host.path("tree");
    fs::create_dir(&tree).expect("the directory is ours");
    let tar = |arguments: &[&str], archive: &Path| {
        let mut command = Command::new("tar");
        command.args(arguments).arg(archive).arg("-C").arg(&tree);
        command
    };
    assert!(tar(&["-xf"], tests::busybox_tar()).status().expect("tar runs").success());
    fs::write(tree.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nweb:x:70:80::/srv/web:/bin/sh\n").expect("ours");
    fs::write(tree.join("etc/group"), "root:x:0:\nweb:x:80:\nlogs:x:90:other,web\nmail:x:91:other\n").expect("ours");
    let archive = host.path("users.tar");
    assert!(tar(&["-cf"], &archive).arg(".").status().expect("tar runs").success());
    host.ok(&["image", "import", &archive.to_string_lossy(), "users"]);
    let script = "id -u; id -g; id -G; echo $HOME";
    for (user, expected) in [
        ("web", "70\n80\n80 90\n/srv/web"),
        ("70", "70\n80\n80 90\n/srv/web"),
        ("web:mail", "70\n91\n91\n/srv/web"),
        ("5:6", "5\n6\n6\n/"),
        ("root", "0\n0\n0\n/root"),
    ] {
        assert_eq!(host.ok(&["run", "--rm", "--user", user, "users", "sh", "-c", script]), expected, "{user}");
    }
    host.ok(&["run", "-d", "--name", "api", "--user", "web", "users", "sleep", "1000"]);
    assert_eq!(host.ok(&["exec", "api", "sh", "-c", script]), "70\n80\n80 90\n/srv/web");
    assert_eq!(host.ok(&["exec", "-u", "root", "api", "sh", "-c", script]), "0\n0\n0\n/root");
    assert_eq!(
        host.ok(&["run", "--rm", "--user", "web", "-e", "HOME=/else", "users", "sh", "-c", "echo $HOME"]),
        "/else"
    );
}

#[test]
fn an_init_is_parent_to_the_program_and_a_log_is_as_large_as_it_may() {
    let host = Host::new();
    let options = ["--init", "--log-opt", "max-size=2k", "--log-opt", "max-file=2"];
    let run = [&["run", "-d", "--name", "api"], &options[..]].concat();
    let script = "trap 'exit 7' TERM; echo pid $$; seq 1 200; while :; do sleep 0.05; done";
    host.ok(&[&run[..], &["busybox", "sh", "-c", script]].concat());
    // It takes its name beside what the program does.
    let named = || (host.json(&["top", "api"])[0]["command"] == "fabric-init").then_some(());
    eventually("the first process is the init", named);
    let log = || host.ok(&["logs", "api"]);
    eventually("it wrote all", || log().ends_with("200").then_some(()));
    let lines = log();
    assert!(!lines.contains("pid") && (20..100).contains(&lines.lines().count()), "the newest lines: {lines}");
    let limits = json!({"max_size": "2k", "max_files": 2});
    assert_eq!(host.json(&["inspect", "api"])["log"], limits);
    host.ok(&["stop", "api"]);
    assert_eq!(host.json(&["inspect", "api"])["exit_code"], 7, "the signal reached it");
    host.ok(&["start", "api"]);
    eventually("the first process is the init again", named);
    assert_eq!(host.json(&["inspect", "api"])["init"], true);
    let run = ["run", "--rm", "--init", "--cap-add", "SYS_PTRACE", "busybox", "true"];
    let refused = host.fabric(&run).expect_code(2).stderr;
    assert_eq!(
        refused,
        "error: a container with an init cannot have capability SYS_PTRACE, which could read netd's memory out of the \
         init\nhint: leave out `--init` or `--cap-add`; an init that the image brings can be traced\n"
    );
    assert_eq!(host.fabric(&["run", "--rm", "--init", "busybox", "/no/such"]).code, 127);
    assert_eq!(host.fabric(&["run", "--rm", "--init", "busybox", "sh", "-c", "exit 9"]).code, 9);
}

#[test]
fn confinement_holds_for_run_and_exec_and_after_a_new_start() {
    let host = Host::new();
    let options = [
        "--read-only",
        "--tmpfs",
        "/tmp:size=1m",
        "--cap-drop",
        "ALL",
        "--cap-add",
        "KILL",
        "--memory",
        "64m",
        "--cpus",
        "0.5",
        "--pids-limit",
        "20",
        "--ulimit",
        "nofile=64",
        "--sysctl",
        "net.core.somaxconn=99",
    ];
    host.ok(&[&["run", "-d", "--name", "api"], &options[..], &["busybox", "sleep", "1000"]].concat());
    let script = "grep CapEff /proc/self/status; ulimit -n; cat /proc/sys/net/core/somaxconn; echo x >/x || echo refused; \
                  echo y >/tmp/y && cat /tmp/y; dd if=/dev/zero of=/tmp/z bs=1M count=2 2>/dev/null || echo full; \
                  echo z >/etc/hosts || echo refused";
    let expected = "CapEff:\t0000000000000020\n64\n99\nrefused\ny\nfull\nrefused";
    for _ in 0..2 {
        let seen = host.fabric(&["exec", "api", "sh", "-c", script]);
        assert_eq!(seen.stdout.trim(), expected, "{seen}");
        // More memory than it may have ends what wants it, and nobody else.
        let hungry = host.fabric(&["exec", "api", "sh", "-c", "head -c 200m /dev/zero | tail | wc -c; echo $?"]);
        assert!(!hungry.stdout.contains("209715200"), "{hungry}");
        let forks = "for i in $(seq 40); do sleep 3 & done 2>&1; wait";
        let forks = host.fabric(&["exec", "api", "sh", "-c", forks]);
        assert!((forks.stdout.clone() + &forks.stderr).contains("fork"), "{forks}");
        host.ok(&["restart", "-t", "0", "api"]);
    }
    let shown = &host.json(&["inspect", "api"])["confinement"];
    assert_eq!((&shown["memory"], &shown["tmpfs"]), (&json!("64m"), &json!(["/tmp:mode=1777,size=1m"])), "{shown:#}");
}

#[test]
fn what_would_reach_the_host_is_refused() {
    let host = Host::new();
    for (option, reason) in [
        (&["--privileged"][..], "--cap-add"),
        (&["--sysctl", "kernel.panic=1"], "would change the host"),
        (&["--sysctl", "net.ipv6.conf.all.disable_ipv6=0"], "networks"),
        (&["-v", "data:/data"], "named volumes"),
        (&["-v", "/tmp:/proc/x"], "/proc"),
        (&["--cap-add", "ALL"], "name those"),
    ] {
        let run = [&["run", "-d"], option, &["busybox", "true"]].concat();
        let refused = host.fabric(&run).expect_code(2);
        assert!(refused.stderr.contains(reason), "{refused}");
    }
    assert_eq!(host.json(&["ps", "-a"]), json!([]));
}

#[test]
fn a_container_can_live_on_the_least_memory_and_not_on_less() {
    let host = Host::new();
    for memory in ["64k", "6143k"] {
        let refused = host.fabric(&["run", "-d", "--memory", memory, "busybox", "true"]).expect_code(125);
        assert!(
            refused.stderr.starts_with(&format!("error: a container cannot live on {memory} of memory\n")),
            "{refused}"
        );
        assert!(refused.stderr.contains("hint: give it `--memory 6m` or more"), "{refused}");
    }
    assert_eq!(host.json(&["ps", "-a"]), json!([]));
    for init in [&[][..], &["--init"]] {
        let run = [&["run", "--rm", "--memory", "6m"], init, &["busybox", "echo", "lives"]].concat();
        assert_eq!(host.ok(&run), "lives");
    }
}

#[test]
fn more_than_a_request_may_say_is_refused_by_its_size() {
    let host = Host::new();
    let file = host.path("much.env");
    let lines = (0..20).map(|number| format!("BIG{number}={}\n", "x".repeat(60_000)));
    fs::write(&file, lines.collect::<String>()).expect("the directory is ours");
    let refused = host.fabric(&["run", "--rm", "--env-file", &file.to_string_lossy(), "busybox", "true"]);
    assert!(
        refused.code == 125 && refused.stderr.contains("environment together are too long: at most 1 MiB"),
        "{refused}"
    );
}
