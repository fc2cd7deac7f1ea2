//! The Debian package: what it holds, that it installs, and that a purge leaves nothing.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tests::{Host, completed_by_bash};

const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}{err}", output.status);
    out.into_owned()
}

/// The package of the binaries under test.
fn package(directory: &Path) -> PathBuf {
    // The rig builds them.
    let host = Host::stopped("");
    let fabric = host.fabric_command(&[]).get_program().to_owned();
    let binaries = Path::new(&fabric).parent().expect("a program is in a directory").to_owned();
    let mut script = Command::new(Path::new(WORKSPACE).join("scripts/package"));
    let path = run(script.arg(directory).env("FABRIC_BIN_DIR", binaries));
    PathBuf::from(path.trim())
}

/// Everything below `root`, but for dpkg's own files.
fn files(root: &Path) -> BTreeSet<PathBuf> {
    fn walk(directory: &Path, root: &Path, found: &mut BTreeSet<PathBuf>) {
        for entry in fs::read_dir(directory).expect("readable").map(|entry| entry.expect("readable")) {
            let path = entry.path();
            if path.starts_with(root.join("var/lib/dpkg")) || path.starts_with(root.join("var/log")) {
                continue;
            }
            if entry.file_type().expect("readable").is_dir() {
                walk(&path, root, found);
            } else {
                found.insert(path.strip_prefix(root).expect("below it").to_owned());
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(root, root, &mut found);
    found
}

/// A page as a terminal shows it, and what groff warns of.
fn rendered(page: &Path) -> (String, String) {
    let mut groff = Command::new("sh");
    // All warnings there are; without colours and overstriking.
    groff.args(["-c", "zcat \"$0\" | groff -man -ww -Tutf8 -P-cbou"]).arg(page);
    let output = groff.output().expect("sh runs");
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn it_installs_and_a_purge_leaves_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let deb = package(directory.path());
    let root = directory.path().join("root");
    for path in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "var/log", "etc"] {
        fs::create_dir_all(root.join(path)).expect("the directory is ours");
    }
    for path in ["var/lib/dpkg/status", "var/lib/dpkg/available"] {
        fs::write(root.join(path), "").expect("the directory is ours");
    }
    fs::write(root.join("etc/group"), "root:x:0:\n").expect("the directory is ours");
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").expect("the directory is ours");
    let dpkg = |arguments: &[&str]| {
        let mut command = Command::new("dpkg");
        command.arg(format!("--root={}", root.display()));
        run(command.args(["--force-depends", "--force-script-chrootless"]).args(arguments))
    };
    let before = files(&root);
    dpkg(&["--install", &deb.to_string_lossy()]);
    for path in [
        "usr/sbin/netd",
        "usr/bin/fabric",
        "lib/systemd/system/netd.service",
        "usr/lib/sysusers.d/fabric.conf",
        "usr/lib/tmpfiles.d/fabric.conf",
        "etc/fabric/netd.toml",
        "usr/share/bash-completion/completions/fabric",
        "usr/share/zsh/vendor-completions/_fabric",
        "usr/share/fish/vendor_completions.d/fabric.fish",
        "usr/share/man/man1/fabric.1.gz",
        "usr/share/man/man1/fabric-network-create.1.gz",
        "usr/share/man/man8/netd.8.gz",
        "usr/share/doc/fabric/copyright",
    ] {
        assert!(root.join(path).is_file(), "{path} is installed: {:#?}", files(&root));
    }
    let group = fs::read_to_string(root.join("etc/group")).expect("it was there");
    assert!(group.lines().any(|line| line.starts_with("fabric:")), "{group}");
    let version = run(Command::new(root.join("usr/bin/fabric")).arg("--version"));
    assert!(version.starts_with("fabric "), "{version}");
    let completions = root.join("usr/share/bash-completion/completions/fabric");
    let (binaries, nobody) = (root.join("usr/bin"), root.join("nobody.sock"));
    assert_eq!(completed_by_bash(&completions, &binaries, &nobody, &["fabric", "network", "cre"]), ["create"]);

    let pages: Vec<_> = files(&root).into_iter().filter(|path| path.starts_with("usr/share/man")).collect();
    assert!(pages.len() > 40, "a page for each command: {pages:#?}");
    for page in pages {
        let (rendered, warnings) = rendered(&root.join(&page));
        assert_eq!(warnings, "", "{}", page.display());
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION"] {
            assert!(rendered.lines().any(|line| line == section), "{section} in {}:\n{rendered}", page.display());
        }
        let leftover = rendered.lines().find(|line| line.starts_with('.') || line.contains("\\f"));
        assert_eq!(leftover, None, "{} shows what was meant for groff", page.display());
    }

    // What netd would have made there.
    fs::create_dir_all(root.join("var/lib/fabric/images")).expect("the directory is ours");
    fs::write(root.join("var/lib/fabric/state.redb"), "x").expect("the directory is ours");
    dpkg(&["--remove", "fabric"]);
    assert!(root.join("var/lib/fabric/state.redb").exists(), "removal keeps the state");
    assert!(root.join("etc/fabric/netd.toml").exists(), "and the configuration");
    dpkg(&["--purge", "fabric"]);
    let left: Vec<_> = files(&root).difference(&before).cloned().collect();
    let backups = ["etc/group-", "etc/gshadow", "etc/gshadow-", "etc/.pwd.lock"].map(PathBuf::from);
    let left: Vec<_> = left.into_iter().filter(|path| !backups.contains(path)).collect();
    assert_eq!(left, Vec::<PathBuf>::new());
    assert!(!root.join("var/lib/fabric").exists() && !root.join("etc/fabric").exists());
    let group = fs::read_to_string(root.join("etc/group")).expect("it was there");
    assert!(!group.contains("fabric"), "{group}");
}

/// A machine of its own as far as names and files go: what the package's scripts do to one that runs is done for real.
const REMOVAL: &str = r#"
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/upper /run/work
mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/upper,workdir=/run/work /etc
mount -t tmpfs tmpfs /var/lib
mkdir -p /etc/fabric
echo fabric:x:64000: >> /etc/group
ip link set lo up
PATH="$BINARIES:$PATH"
netd > /run/netd.log 2>&1 &
netd=$!
until fabric status > /dev/null 2>&1; do kill -0 $netd || { cat /run/netd.log; exit 1; }; sleep 0.05; done
fabric image import "$IMAGE" busybox
fabric network create web
for name in one two; do fabric run -d --name $name --network web -p 80 busybox sleep 10000; done
waiting=$(fabric create --network web -p 81 busybox true)
parents=$(find /sys/fs/cgroup -type d -name "$waiting" -printf '%h\n')
sh "$SCRIPTS/prerm" remove
kill $netd
wait $netd
sh "$SCRIPTS/postrm" purge
own=$(readlink /proc/self/ns/net)
left() {
    ip -o link show | grep -v ': lo:' || true
    nft list tables
    ls -d /var/lib/fabric /run/fabric /etc/fabric 2> /dev/null || true
    grep fabric /etc/group || true
    grep -E " /(run|var/lib)/fabric" /proc/self/mountinfo || true
    for parent in $parents; do ls -d "$parent" 2> /dev/null || true; done
    for process in /proc/[0-9]*; do
        [ "$(readlink "$process/ns/net")" != "$own" ] || [ "${process#/proc/}" = $$ ] ||
            cat "$process/cmdline" 2> /dev/null | tr '\0' ' '
    done
}
# Processes of netd's end a moment after it. No shell but this one looks, as it would find itself.
tries=0
while left > /run/left && [ -s /run/left ] && [ $tries -lt 300 ]; do sleep 0.2; tries=$((tries + 1)); done
echo == left
cat /run/left
"#;

#[test]
fn a_removal_ends_what_was_made_and_a_purge_leaves_nothing_of_it() {
    let host = Host::stopped("");
    let fabric = host.fabric_command(&[]).get_program().to_owned();
    let binaries = Path::new(&fabric).parent().expect("a program is in a directory").to_owned();
    let image = tests::busybox_tar();
    let mut script = Command::new("unshare");
    script.args(["--mount", "--net", "sh", "-euc", REMOVAL]).env("BINARIES", binaries).env("IMAGE", image);
    let said = run(script.env("SCRIPTS", Path::new(WORKSPACE).join("packaging/debian")));
    let (_, left) = said.split_once("== left\n").unwrap_or_else(|| panic!("{said}"));
    assert_eq!(left, "", "{said}");
}

#[test]
fn its_settings_are_the_defaults_and_its_unit_is_understood() {
    let settings = fs::read_to_string(Path::new(WORKSPACE).join("packaging/netd.toml")).expect("it is there");
    // With the comments taken off every key must be one that netd knows: no daemon starts with one it does not.
    let active: String = settings
        .lines()
        .filter_map(|line| line.strip_prefix("# ").filter(|rest| rest.contains(" = ")))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(active.lines().count(), 12, "{active}");
    let host = Host::stopped(&active);
    host.start();
    host.terminate();
    let host = Host::stopped(&settings);
    host.start();
    host.terminate();

    let directory = tempfile::tempdir().expect("a temporary directory");
    let unit = directory.path().join("netd.service");
    let text = fs::read_to_string(Path::new(WORKSPACE).join("packaging/netd.service")).expect("it is there");
    // The program and the pages are not installed where this runs.
    let netd =
        host.netd_command().get_args().map(|it| it.to_string_lossy().into_owned()).find(|it| it.ends_with("/netd"));
    let text = text.replace("/usr/sbin/netd", &netd.expect("the program under test"));
    let text: String =
        text.lines().filter(|line| !line.starts_with("Documentation")).map(|line| format!("{line}\n")).collect();
    fs::write(&unit, text).expect("the directory is ours");
    let output = Command::new("systemd-analyze").arg("verify").arg(&unit).output().expect("systemd is installed");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let about_us: Vec<&str> = said.lines().filter(|line| line.contains("netd.service")).collect();
    assert!(output.status.success() || about_us.is_empty(), "{said}");
    assert_eq!(about_us, Vec::<&str>::new(), "{said}");
}
