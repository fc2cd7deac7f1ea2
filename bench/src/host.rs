//! Whether the machine is as it was.

use std::{collections::BTreeSet, fs, process::Command};

use crate::peer::finish;

/// What programs that handle containers leave behind: links, rules, mounts, control groups, and entries of the
/// directories that they write to.
#[derive(Debug)]
pub(crate) struct Host(BTreeSet<String>);

impl Host {
    pub(crate) fn look() -> Self {
        let mut found = BTreeSet::new();
        let links = finish(Command::new("ip").args(["-o", "link"])).unwrap_or_default();
        found.extend(links.lines().filter_map(|line| Some(format!("link {}", line.split(": ").nth(1)?))));
        let tables = finish(Command::new("nft").args(["list", "tables"])).unwrap_or_default();
        found.extend(tables.lines().map(|table| format!("nft {table}")));
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        found.extend(mounts.lines().filter_map(|line| Some(format!("mount {}", line.split(' ').nth(1)?))));
        for hierarchy in entries("/sys/fs/cgroup") {
            found.extend(entries(&hierarchy).into_iter().map(|group| format!("control group {group}")));
        }
        for directory in ["/dev/shm", "/etc", "/etc/docker", "/opt", "/run", "/run/docker", "/run/netns", "/var/lib"] {
            found.extend(entries(directory).into_iter().map(|entry| format!("file {entry}")));
        }
        Self(found)
    }

    /// What is there now and was not then.
    pub(crate) fn left_since(&self, then: &Self) -> Vec<String> {
        self.0.difference(&then.0).cloned().collect()
    }
}

/// Sorted out: control groups' files and directories look alike here, and neither comes or goes by itself.
fn entries(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().map_while(Result::ok);
    entries.map(|entry| entry.path().display().to_string()).collect()
}
