//! What a container cannot see or do.

use std::{fs, os::unix::fs::symlink, time::Duration};

use crate::bed::{Bed, Case, case, command, shell};

pub(crate) const CASES: &[Case] = &[
    case!(run_and_exec_are_confined_alike),
    case!(run_and_exec_are_confined_alike, unified),
    case!(only_the_standard_streams_are_open),
    case!(kernel_interfaces_are_hidden),
    case!(devices_of_the_host_cannot_be_opened),
    case!(devices_of_the_host_cannot_be_opened, unified),
    case!(the_runtime_cannot_be_overwritten),
    case!(links_in_the_image_lead_nowhere),
    case!(the_namespaces_are_its_own),
    case!(the_host_sees_no_mount),
];

async fn run_and_exec_are_confined_alike(bed: &Bed) {
    let show = "grep -E '^(Cap|NoNewPrivs|Seccomp:|Groups|Uid|Gid)' /proc/self/status; cat /proc/self/cgroup; \
                unshare -m true; mount -t tmpfs x /tmp; echo $?";
    let spec = bed.container(&shell(&format!("{show}; sleep 100")));
    bed.start_in_background(&spec).await;
    let seen = bed.exec(&spec.id, &command(&shell(show)), b"").await;
    let text = seen.text();
    for line in [
        "CapInh:\t0000000000000000",
        "CapPrm:\t00000000a80425fb",
        "CapEff:\t00000000a80425fb",
        "CapBnd:\t00000000a80425fb",
        "CapAmb:\t0000000000000000",
        "NoNewPrivs:\t0",
        "Seccomp:\t2",
        "Groups:\t0 ",
    ] {
        assert!(text.lines().any(|seen| seen == line), "{line:?} in {text}");
    }
    assert!(text.lines().filter(|line| line.contains(":/")).all(|line| line.ends_with(":/")), "{text}");
    assert!(String::from_utf8_lossy(&seen.stderr).contains("unshare"), "{seen:?}");
    let mut log = bed.runtime.read_log(&spec.id);
    let mut first = String::new();
    while first.lines().count() < text.lines().count() {
        let lines = log.read().expect("reads").into_iter();
        first.extend(lines.filter(|line| line.stream == model::Stream::Stdout).map(|line| line.log));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(first, text, "run and exec");
    bed.runtime.delete(&spec.id).await.expect("deletes");
    assert_eq!(bed.traces(&spec.id), [""; 0]);
}

async fn only_the_standard_streams_are_open(bed: &Bed) {
    // `ls` itself opens the directory.
    let own = ["ls", "/proc/self/fd"];
    let seen = bed.run(&bed.container(&own), b"").await;
    assert_eq!(seen.text(), "0\n1\n2\n3\n");
    // A program that opens nothing while it is looked at, unlike a shell.
    let spec = bed.container(&["sleep", "100"]);
    bed.start_in_background(&spec).await;
    let seen = bed.exec(&spec.id, &command(&own), b"").await;
    assert_eq!(seen.text(), "0\n1\n2\n3\n");
    let seen = bed.exec(&spec.id, &command(&["ls", "/proc/1/fd"]), b"").await;
    assert_eq!(seen.text(), "0\n1\n2\n");
    let seen = bed.exec(&spec.id, &command(&["ls", "-l", "/proc/1/fd"]), b"").await;
    assert!(!seen.text().contains("socket"), "{}", seen.text());
    bed.runtime.delete(&spec.id).await.expect("deletes");
}

async fn kernel_interfaces_are_hidden(bed: &Bed) {
    let script = "cat /proc/kcore /proc/keys /proc/interrupts /proc/timer_list 2>/dev/null | wc -c; \
                  ls /sys/firmware | wc -l; \
                  for f in /proc/sys/kernel/hostname /proc/sysrq-trigger /sys/kernel/x; do \
                  sh -c \"echo x >$f\" 2>/dev/null; echo $?; done; \
                  sh -c 'echo x >/etc/hosts' 2>/dev/null; echo $?; \
                  ls /dev; cat /sys/fs/cgroup/cgroup.procs >/dev/null 2>&1; mkdir /sys/fs/cgroup/x 2>/dev/null; echo $?";
    let seen = bed.run(&bed.container(&shell(script)), b"").await;
    let lines: Vec<String> = seen.text().lines().map(ToOwned::to_owned).collect();
    assert_eq!(lines[..6], ["0", "0", "1", "1", "1", "1"], "{lines:?}");
    // A link to what is masked, where the kernel has it.
    let devices: Vec<&String> = lines[6..lines.len() - 1].iter().filter(|name| *name != "kcore").collect();
    let expected = [
        "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom",
        "zero",
    ];
    assert_eq!(devices, expected);
    assert_eq!(lines.last().map(String::as_str), Some("1"));
}

async fn devices_of_the_host_cannot_be_opened(bed: &Bed) {
    let script = "for d in 'b 254 0' 'b 8 0' 'c 1 1' 'c 10 200'; do mknod /dev/x $d && cat /dev/x; echo $?; rm /dev/x; done; \
                  mknod /tmp/null c 1 3 && echo x >/tmp/null && cat /tmp/null; echo $?; head -c 4 /dev/urandom | wc -c";
    let seen = bed.run(&bed.container(&shell(script)), b"").await;
    assert_eq!(seen.text(), "1\n1\n1\n1\n0\n4\n");
    let errors = String::from_utf8_lossy(&seen.stderr).into_owned();
    assert_eq!(errors.matches("Operation not permitted").count(), 4, "{errors}");
}

async fn the_runtime_cannot_be_overwritten(bed: &Bed) {
    // As in CVE-2019-5736: the program is the runtime's own, as far as the container can name it.
    let spec = bed.container(&["sleep", "100"]);
    let created = bed.runtime.create(&spec).await.expect("creates");
    for pid in [created.pid, crate::bed::shim_of(created.pid)] {
        let program = fs::read_link(format!("/proc/{pid}/exe")).expect("has a program");
        assert!(program.to_string_lossy().starts_with("/memfd:fabric"), "{}", program.display());
        let error = fs::OpenOptions::new().write(true).open(format!("/proc/{pid}/exe")).expect_err("is sealed");
        assert!(matches!(error.raw_os_error(), Some(1 | 13 | 26)), "{error}");
    }
    bed.runtime.start(&spec.id).await.expect("starts");
    bed.runtime.delete(&spec.id).await.expect("deletes");
    let spec = bed.container(&["/proc/self/exe"]);
    bed.runtime.create(&spec).await.expect("creates");
    let _ = bed.runtime.start(&spec.id).await;
    bed.wait(&spec.id).await;
    bed.runtime.delete(&spec.id).await.expect("deletes");
}

async fn links_in_the_image_lead_nowhere(bed: &Bed) {
    let outside = bed.base().join("outside");
    fs::create_dir_all(&outside).expect("makes a directory");
    let mut spec = bed.container(&shell("pwd; cat /etc/passwd; ls /escape"));
    symlink(&outside, spec.upper.join("escape")).expect("links");
    fs::create_dir_all(spec.upper.join("etc")).expect("makes a directory");
    // The host's passwd has daemon; the container's must not.
    fs::write(spec.upper.join("etc/passwd"), "").expect("writes");
    fs::remove_file(spec.upper.join("etc/passwd")).expect("removes");
    symlink("/../../../../../../etc/host-passwd", spec.upper.join("etc/passwd")).expect("links");
    spec.command.working_directory = "/escape/made".into();
    match bed.runtime.create(&spec).await {
        Ok(_) => bed.runtime.start(&spec.id).await.expect("starts"),
        // Refused is as good.
        Err(error) => assert_eq!(error.exit_code(), 125, "{error}"),
    }
    assert_eq!(fs::read_dir(&outside).expect("lists").count(), 0, "nothing was made outside");
    bed.runtime.delete(&spec.id).await.expect("deletes");
    let mut spec = bed.container(&["true"]);
    spec.command.working_directory = "/proc/self/fd/7/../../..".into();
    let _ = bed.runtime.create(&spec).await;
    bed.runtime.delete(&spec.id).await.expect("deletes");
}

async fn the_namespaces_are_its_own(bed: &Bed) {
    let spec = bed.container(&shell(
        "echo $$; for n in pid ipc uts mnt cgroup net user; do readlink /proc/self/ns/$n; done; ls /sys/class/net",
    ));
    let seen = bed.run(&spec, b"").await;
    let lines: Vec<String> = seen.text().lines().map(ToOwned::to_owned).collect();
    assert_eq!(lines[0], "1");
    for namespace in &lines[1..7] {
        let kind = namespace.split(':').next().expect("has a kind");
        let host = fs::read_link(format!("/proc/self/ns/{kind}")).expect("has a namespace");
        assert_ne!(host.to_string_lossy(), namespace.as_str());
    }
    assert_eq!(lines[8..], ["lo"]);
}

async fn the_host_sees_no_mount(bed: &Bed) {
    let spec = bed.container(&["sleep", "100"]);
    let created = bed.runtime.create(&spec).await.expect("creates");
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("has a mount table");
    assert!(!mounts.contains(spec.id.as_str()), "{mounts}");
    // And neither the shim nor the container keeps the host's pinned namespaces.
    for pid in [created.pid, crate::bed::shim_of(created.pid)] {
        let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).expect("has a mount table");
        let pinned = mounts.lines().filter(|line| line.contains(" - nsfs "));
        // One that is left is below another mount, and unmounted with the host's.
        assert!(pinned.clone().all(|line| line.contains(" master:")), "{mounts}");
    }
    bed.runtime.start(&spec.id).await.expect("starts");
    let mounts = bed.exec(&spec.id, &command(&["cat", "/proc/self/mountinfo"]), b"").await.text();
    assert!(!mounts.contains("layers") && !mounts.contains("/image"), "{mounts}");
    bed.runtime.delete(&spec.id).await.expect("deletes");
}
