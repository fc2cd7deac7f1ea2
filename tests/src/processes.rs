//! Processes that belong to a host of the rig, whatever their parents are now.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::Namespace;

/// A process of the machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) command_line: String,
    /// Why it belongs to the host.
    pub(crate) because: String,
}

impl Process {
    pub(crate) fn kill(&self) {
        if let Some(pid) = Pid::from_raw(self.pid) {
            // It may have ended meanwhile.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// Every process that holds anything below `directory` or lives in one of `namespaces`, the caller itself excepted.
pub(crate) fn belonging_to(directory: &Path, namespaces: &[&Namespace]) -> BTreeSet<Process> {
    let inodes: Vec<u64> =
        namespaces.iter().filter_map(|namespace| Some(fs::metadata(namespace.path()).ok()?.ino())).collect();
    let entries = fs::read_dir("/proc").expect("proc is mounted").map_while(Result::ok);
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != std::process::id())
        .filter_map(|pid| {
            let because = why(pid, directory, &inodes)?;
            let pid = i32::try_from(pid).expect("a process identifier has 22 bits");
            Some(Process { pid, command_line: text(pid, "cmdline"), because })
        })
        .collect()
}

fn text(pid: i32, file: &str) -> String {
    let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ").trim().to_owned()
}

fn why(pid: u32, directory: &Path, namespaces: &[u64]) -> Option<String> {
    let base = PathBuf::from(format!("/proc/{pid}"));
    let mentions = |file: &str| {
        let bytes = fs::read(base.join(file)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).contains(&*directory.to_string_lossy())
    };
    if mentions("cmdline") {
        return Some("its command line".to_owned());
    }
    // A process that has ended but was not waited for has neither namespace nor files: it shows up by its command
    // line only, which is gone too; its parent is then what is left behind.
    if fs::metadata(base.join("ns/net")).is_ok_and(|namespace| namespaces.contains(&namespace.ino())) {
        return Some("its network namespace".to_owned());
    }
    for link in ["cwd", "root", "exe"] {
        if fs::read_link(base.join(link)).is_ok_and(|target| target.starts_with(directory)) {
            return Some(format!("its {link}"));
        }
    }
    let descriptors = fs::read_dir(base.join("fd")).into_iter().flatten().map_while(Result::ok);
    descriptors
        .filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
        .find(|target| target.starts_with(directory))
        .map(|target| format!("its open {}", target.display()))
}
