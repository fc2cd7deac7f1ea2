//! What a container is given and kept from on request.

use std::{fs, os::unix::fs::symlink, path::Path};

use model::Confinement;

use crate::bed::{Bed, Case, case, command, shell};

pub(crate) const CASES: &[Case] = &[
    case!(run_and_exec_have_the_same_capabilities_and_limits),
    case!(run_and_exec_have_the_same_capabilities_and_limits, unified),
    case!(what_is_mounted_stays_inside),
    case!(a_read_only_mount_is_read_only_to_its_depth),
    case!(limits_are_set_in_the_cgroup),
    case!(who_has_too_little_memory_to_be_made_is_told_so),
    case!(its_cgroups_are_its_own),
    case!(what_nobody_keeps_is_not_written_to_the_disk),
    case!(what_this_host_cannot_limit_is_told, unified),
    case!(what_netd_may_not_grant_is_told),
];

fn all<T: std::str::FromStr<Err: std::fmt::Debug>>(texts: &[&str]) -> Vec<T> {
    texts.iter().map(|text| text.parse().expect("literal")).collect()
}

async fn run_and_exec_have_the_same_capabilities_and_limits(bed: &Bed) {
    let show = "grep -E '^(Cap|Seccomp:)' /proc/self/status; ulimit -n; ulimit -Hn; cat /proc/sys/net/core/somaxconn; \
                cat /proc/sys/kernel/shmmni; mount -t tmpfs x /tmp && echo mounted";
    let mut spec = bed.container(&shell(&format!("{show}; sleep 100")));
    spec.confinement = Confinement {
        add_capabilities: all(&["SYS_ADMIN", "NET_ADMIN"]),
        drop_capabilities: all(&["ALL"]),
        ulimits: all(&["nofile=100:200"]),
        sysctls: all(&["net.core.somaxconn=77", "kernel.shmmni=88"]),
        ..Confinement::default()
    };
    bed.start_in_background(&spec).await;
    let seen = bed.exec(&spec.id, &command(&shell(show)), b"").await.text();
    let expected = "CapInh:\t0000000000000000\nCapPrm:\t0000000000201000\nCapEff:\t0000000000201000\n\
                    CapBnd:\t0000000000201000\nCapAmb:\t0000000000000000\nSeccomp:\t2\n100\n200\n77\n88\nmounted\n";
    assert_eq!(seen, expected);
    let mut log = bed.runtime.read_log(&spec.id);
    let mut first = String::new();
    while first.lines().count() < expected.lines().count() {
        first.extend(log.read().expect("reads").into_iter().map(|line| line.log));
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(first, expected);
    bed.runtime.delete(&spec.id).await.expect("deletes");
}

async fn what_is_mounted_stays_inside(bed: &Bed) {
    let (data, outside) = (bed.base().join("data"), bed.base().join("outside"));
    for directory in [&data, &outside] {
        fs::create_dir_all(directory).expect("makes a directory");
    }
    fs::write(data.join("file"), "of the host\n").expect("writes");
    let binds = [format!("{}:/in/data", data.display()), format!("{}:/link/x", data.display())];
    let binds: Vec<&str> = binds.iter().map(String::as_str).collect();
    let mut spec = bed.container(&shell("cat /in/data/file /link/x/file /in/data/../memory/x; echo y >/in/data/back"));
    spec.confinement.binds = all(&binds);
    spec.confinement.tmpfs = all(&["/in:size=1m", "/in/memory:mode=700"]);
    spec.command.arguments[2].insert_str(0, "echo kept >/in/memory/x; ");
    symlink("/tmp", spec.upper.join("link")).expect("links");
    let seen = bed.run(&spec, b"").await;
    assert_eq!(seen.text(), "of the host\nof the host\nkept\n", "{seen:?}");
    assert_eq!(fs::read_to_string(data.join("back")).expect("it was written to"), "y\n");
    // A link of the image that would lead out, were it followed on the host, leads nowhere.
    let mut spec = bed.container(&["true"]);
    spec.confinement.binds = all(&[&format!("{}:/link/x", data.display())]);
    symlink(&outside, spec.upper.join("link")).expect("links");
    assert_eq!(bed.runtime.create(&spec).await.expect_err("is refused").exit_code(), 125);
    bed.runtime.delete(&spec.id).await.expect("deletes");
    assert_eq!(fs::read_dir(&outside).expect("lists").count(), 0);
    // A link at the very place, absolute and dangling ones included.
    for target in ["/etc", "/nowhere", "../../../../etc"] {
        let mut spec = bed.container(&["cat", "/place/file"]);
        spec.confinement.binds = all(&[&format!("{}:/place:ro", data.display())]);
        symlink(target, spec.upper.join("place")).expect("links");
        let seen = bed.run(&spec, b"").await;
        assert_eq!(seen.text(), "of the host\n", "{target}: {seen:?}");
    }
    assert!(!Path::new("/etc/file").exists() && !Path::new("/nowhere").exists());
    // Links to where the container's own file systems are, whether the image has the place or not.
    let bare = bed.base().join("bare");
    fs::create_dir_all(&bare).expect("makes a directory");
    for (target, path) in [("/dev", "/place"), ("/", "/place/dev"), ("/", "/place/proc"), ("/sys", "/place/x")] {
        for image in [bed.image(), bare.clone()] {
            let mut spec = bed.container(&["true"]);
            spec.lower = vec![image];
            spec.confinement.binds = all(&[&format!("{}:{path}", data.display())]);
            symlink(target, spec.upper.join("place")).expect("links");
            let refusal = bed.runtime.create(&spec).await.expect_err("is refused");
            assert_eq!(refusal.exit_code(), 125);
            bed.runtime.delete(&spec.id).await.expect("deletes");
        }
    }
    assert_eq!(fs::read_dir(&data).expect("lists").count(), 2, "nothing was made in what is the host's");
}

async fn a_read_only_mount_is_read_only_to_its_depth(bed: &Bed) {
    let data = bed.base().join("data");
    fs::create_dir_all(data.join("below")).expect("makes a directory");
    let mount = |destination: &Path| {
        rustix::mount::mount("x", destination, "tmpfs", rustix::mount::MountFlags::empty(), None).expect("mounts")
    };
    mount(&data.join("below"));
    let mut spec = bed.container(&shell(
        "for f in /data/x /data/below/x /x /etc/x /tmp/x /dev/shm/x; do sh -c \"echo >$f\" 2>/dev/null; echo $f $?; done",
    ));
    spec.confinement.binds = all(&[&format!("{}:/data:ro", data.display())]);
    spec.confinement.tmpfs = all(&["/tmp"]);
    spec.confinement.read_only = true;
    let seen = bed.run(&spec, b"").await;
    let unmounted = rustix::mount::unmount(data.join("below"), rustix::mount::UnmountFlags::DETACH);
    unmounted.expect("it was mounted");
    assert_eq!(seen.text(), "/data/x 1\n/data/below/x 1\n/x 1\n/etc/x 1\n/tmp/x 0\n/dev/shm/x 0\n", "{seen:?}");
}

async fn who_has_too_little_memory_to_be_made_is_told_so(bed: &Bed) {
    let mut spec = bed.container(&["true"]);
    let limit = "64k".parse().expect("literal");
    spec.confinement.memory = Some(limit);
    let error = bed.runtime.create(&spec).await.expect_err("nothing fits in there");
    assert!(error.is_out_of_memory(), "{error}");
    let expected = format!("container {}: its memory, 64k, was used up before its program could be executed", spec.id);
    assert_eq!(error.to_string(), expected);
    bed.runtime.delete(&spec.id).await.expect("deletes");
    assert_eq!(bed.traces(&spec.id), [""; 0]);
}

async fn limits_are_set_in_the_cgroup(bed: &Bed) {
    if !Path::new("/sys/fs/cgroup/memory").exists() {
        // A machine in the unified layout has other files; there the black-box tests look at what the limits do.
        return;
    }
    let mut spec = bed.container(&["sleep", "100"]);
    let directories = bed.runtime.directories().clone();
    let group = Path::new(&directories.cgroup_parent).join(spec.id.as_str());
    let read = |controller: &str, file: &str| {
        let path = Path::new("/sys/fs/cgroup").join(controller).join(&group).join(file);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().to_owned()
    };
    bed.start_in_background(&spec).await;
    assert_eq!(read("pids", "pids.max"), "4096");
    bed.runtime.delete(&spec.id).await.expect("deletes");
    spec.confinement.memory = Some("64m".parse().expect("literal"));
    spec.confinement.processors = Some("0.5".parse().expect("literal"));
    spec.confinement.processes = "7".parse().expect("literal");
    bed.start_in_background(&spec).await;
    assert_eq!(read("memory", "memory.limit_in_bytes"), (64 << 20).to_string());
    assert_eq!(read("cpu", "cpu.cfs_quota_us"), "50000");
    assert_eq!(read("pids", "pids.max"), "7");
    let processes = |file| read(file, "cgroup.procs").lines().count();
    assert_eq!([processes("memory"), processes("cpu"), processes("pids")], [1; 3]);
    let fork = command(&shell("for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; wait"));
    let seen = bed.exec(&spec.id, &fork, b"").await;
    assert!(String::from_utf8_lossy(&seen.stderr).contains("fork"), "{seen:?}");
    bed.runtime.delete(&spec.id).await.expect("deletes");
    assert_eq!(bed.traces(&spec.id), [""; 0]);
}

async fn its_cgroups_are_its_own(bed: &Bed) {
    let table = |process: &str| fs::read_to_string(format!("/proc/{process}/cgroup")).expect("has a table");
    let mut spec = bed.container(&["sleep", "100"]);
    // Whoever makes it is not counted.
    spec.confinement.processes = "1".parse().expect("literal");
    let pid = bed.runtime.create(&spec).await.expect("creates").pid.to_string();
    let own = format!(":/{}/{}", bed.runtime.directories().cgroup_parent, spec.id);
    let unified = !Path::new("/sys/fs/cgroup/devices").exists();
    let counts = |line: &&str| unified || !(line.starts_with("0::") || line.contains(":name="));
    let elsewhere: Vec<String> =
        table(&pid).lines().filter(counts).filter(|line| !line.ends_with(&own)).map(str::to_owned).collect();
    assert_eq!(elsewhere, [""; 0]);
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("has a status");
    let shim = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).expect("has a parent");
    assert_eq!(table(shim), table("self"), "its shim is where the daemon is");
    bed.runtime.start(&spec.id).await.expect("starts");
    bed.runtime.delete(&spec.id).await.expect("deletes");
    assert_eq!(bed.traces(&spec.id), [""; 0]);
}

async fn what_nobody_keeps_is_not_written_to_the_disk(bed: &Bed) {
    for ephemeral in [true, false] {
        let mut spec = bed.container(&shell("grep ' / ' /proc/mounts"));
        spec.ephemeral = ephemeral;
        let seen = bed.run(&spec, b"").await;
        assert_eq!(seen.text().contains("volatile"), ephemeral, "{seen:?}");
    }
}

async fn what_this_host_cannot_limit_is_told(bed: &Bed) {
    let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").expect("a unified hierarchy");
    if controllers.contains("memory") {
        return;
    }
    let mut spec = bed.container(&["true"]);
    spec.confinement.memory = Some("64m".parse().expect("literal"));
    let error = bed.runtime.create(&spec).await.expect_err("is refused");
    assert!(error.to_string().contains("limit its memory to 64m"), "{error}");
    bed.runtime.delete(&spec.id).await.expect("deletes");
    spec.confinement.memory = None;
    bed.run(&spec, b"").await;
}

async fn what_netd_may_not_grant_is_told(bed: &Bed) {
    let status = fs::read_to_string("/proc/self/status").expect("has a status");
    let own = status.lines().find_map(|line| line.strip_prefix("CapPrm:")).expect("has capabilities");
    let own = u64::from_str_radix(own.trim(), 16).expect("a set");
    let missing = (0..41).filter(|number| own & (1 << number) == 0).filter_map(model::Capability::from_number);
    for capability in missing {
        let mut spec = bed.container(&["true"]);
        spec.confinement.add_capabilities = vec![capability];
        let error = bed.runtime.create(&spec).await.expect_err("is refused");
        let cause = std::error::Error::source(&error).expect("has a cause").to_string();
        assert!(cause.contains(capability.name()), "{error}: {cause}");
        bed.runtime.delete(&spec.id).await.expect("deletes");
    }
    if own & (1 << 24) == 0 {
        let mut spec = bed.container(&["true"]);
        spec.confinement.ulimits = all(&["nofile=5:4000000000"]);
        let error = bed.runtime.create(&spec).await.expect_err("is refused");
        let cause = std::error::Error::source(&error).expect("has a cause").to_string();
        assert!(cause.contains("nofile"), "{error}: {cause}");
        bed.runtime.delete(&spec.id).await.expect("deletes");
    }
}
