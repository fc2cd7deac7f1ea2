//! The end of a host: everything removed as a person would, and then a look at what is left.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
    sync::PoisonError,
    time::Duration,
};

use super::Host;
use crate::{leftovers, within};

impl Host {
    /// Removes everything through the daemon, as a person would, and ends it.
    fn retire(&self) {
        if self.netd().is_none() {
            self.start();
        }
        for container in self.json(&["ps", "-a"]).as_array().expect("a list") {
            self.ok(&["rm", "-f", container["name"].as_str().expect("a container has a name")]);
        }
        for network in self.json(&["network", "ls"]).as_array().expect("a list") {
            self.ok(&["network", "rm", network["name"].as_str().expect("a network has a name")]);
        }
        self.terminate();
    }

    fn leftovers(&self) -> Vec<String> {
        let lans = self.lans.lock().expect("no holder panics");
        let mut pinned: Vec<PathBuf> = lans.iter().map(|lan| lan.namespace.path().to_path_buf()).collect();
        pinned.push(self.namespace.path().to_path_buf());
        leftovers::survey(self.directory.path(), &self.namespace, &pinned, &self.known_ids())
    }

    fn clear(&self) {
        if let Some(mut netd) = self.netd().take() {
            let _ = netd.kill();
            let _ = netd.wait();
        }
        leftovers::clear(self.directory.path(), &self.namespace, &self.known_ids());
        for lan in self.lans.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            lan.namespace.unpin();
        }
        self.namespace.unpin();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if failed {
            eprintln!("{}", self.log_tail());
        }
        // Also after a failure, because the daemon knows best what it made. A host that never had one has nothing to
        // remove.
        let used = Path::exists(&self.data_dir());
        let retired = catch_unwind(AssertUnwindSafe(|| used.then(|| self.retire())));
        if failed {
            self.clear();
            return;
        }
        let mut left = Vec::new();
        let gone = within(Duration::from_secs(20), || {
            left = self.leftovers();
            left.is_empty().then_some(())
        });
        let log = self.log_tail();
        self.clear();
        if let Err(panic) = retired {
            resume_unwind(panic);
        }
        assert!(gone.is_some(), "the host left behind:\n  {}\n{log}", left.join("\n  "));
    }
}
