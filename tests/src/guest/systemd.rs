//! A guest whose first process is systemd, with Fabric's Debian package unpacked.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use tempfile::TempDir;

use super::{BEGIN, END, Guest, STAGE2};
use crate::binaries::WORKSPACE;

/// Of this machine, where systemd need not be the first process.
const PROGRAMS: [&str; 7] = [
    "lib/systemd/systemd",
    "lib/systemd/systemd-journald",
    "lib/systemd/systemd-shutdown",
    "bin/systemctl",
    "bin/journalctl",
    "bin/systemd-sysusers",
    "bin/systemd-tmpfiles",
];
const UNITS: [&str; 21] = [
    "basic.target",
    "final.target",
    "local-fs.target",
    "multi-user.target",
    "network-pre.target",
    "network.target",
    "paths.target",
    "reboot.target",
    "remote-fs.target",
    "remote-fs-pre.target",
    "shutdown.target",
    "slices.target",
    "sockets.target",
    "swap.target",
    "sysinit.target",
    "systemd-journald-dev-log.socket",
    "systemd-journald.service",
    "systemd-journald.socket",
    "systemd-reboot.service",
    "timers.target",
    "umount.target",
];

/// The unit that runs the script.
const UNIT: &str = "\
[Unit]
Description=The script
After=basic.target
Wants=systemd-journald.service
[Service]
ExecStart=/bin/busybox sh /guest/stage3
";

/// What its program is.
fn stage3() -> String {
    format!(
        r#"
exec >/dev/ttyS0 2>&1 </dev/null
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root NO_COLOR=1
cd /guest
echo "{BEGIN}"
code=0
sh -eu /guest/script || code=$?
echo $code >/guest/code
cut -d. -f1 /proc/uptime >/guest/asked
systemctl reboot
"#
    )
}

/// What systemd runs when it has ended everything else.
fn shutdown() -> String {
    format!(
        r#"#!/bin/busybox sh
exec >/dev/ttyS0 2>&1 </dev/null
echo "guest: everything has ended after $(($(cut -d. -f1 /proc/uptime) - $(cat /guest/asked))) s"
[ ! -e /guest/last ] || sh -eu /guest/last
echo "{END}$(cat /guest/code)"
"#
    )
}

impl Guest {
    /// The same, booted by systemd, with its journal. The script is run by a unit, and when it has ended the guest is
    /// shut down as a host is; what it left in `/guest/last` is run at the very end, when nobody else runs any more.
    ///
    /// Fabric's package is unpacked; its scripts are in `/guest/package`, and what they do is not done.
    pub fn with_systemd(self) -> Self {
        for path in PROGRAMS {
            self.program(&Path::new("/").join(path), path);
        }
        for unit in UNITS {
            let path = format!("lib/systemd/system/{unit}");
            self.copy(&Path::new("/").join(&path), &path);
        }
        self.write("etc/systemd/system/default.target", "[Unit]\nRequires=multi-user.target\nWants=script.service\n");
        self.write("etc/systemd/system/script.service", UNIT);
        self.write("lib/systemd/system-shutdown/last", &shutdown());
        self.write("etc/machine-id", "00000000000000000000000000000001\n");
        self.write("etc/group", "root:x:0:\n");
        self.write("guest/stage2", &[STAGE2, "exec /lib/systemd/systemd\n"].concat());
        self.write("guest/stage3", &stage3());
        self.unpack_package();
        self
    }

    /// The package of the programs that the guest has.
    fn unpack_package(&self) {
        let directory = TempDir::with_prefix("fabric-guest-").expect("a temporary directory");
        for program in ["usr/sbin/netd", "usr/bin/fabric"] {
            let name = Path::new(program).file_name().expect("it has one");
            symlink(self.root.path().join(program), directory.path().join(name)).expect("the directory is ours");
        }
        let mut script = Command::new(Path::new(WORKSPACE).join("scripts/package"));
        let made = script.arg(directory.path()).env("FABRIC_BIN_DIR", directory.path()).output().expect("it is there");
        assert!(made.status.success(), "no package: {}", String::from_utf8_lossy(&made.stderr));
        let package = String::from_utf8_lossy(&made.stdout).trim().to_owned();
        for (what, place) in [("-x", "."), ("-e", "guest/package")] {
            let place = self.root.path().join(place);
            let unpacked = Command::new("dpkg-deb").arg(what).arg(&package).arg(place).status().expect("dpkg-deb runs");
            assert!(unpacked.success(), "{package} can be unpacked");
        }
        // Nobody reads there.
        fs::remove_dir_all(self.root.path().join("usr/share")).expect("the directory is ours");
    }
}
