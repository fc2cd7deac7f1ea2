//! Whether there is space for what the daemon writes.

use std::path::Path;

use api::{Check, Difference};
use rustix::fs::{StatVfs, statvfs};
use store::Embedded;

use super::check;
use crate::daemon::Daemon;

impl Daemon {
    /// Names each directory of the daemon's whose file system is full, or as good as full; none if there is none.
    pub(super) fn examine_space(&self) -> Option<Check> {
        const DATA: &str = "what is removed makes space: `fabric prune`, `fabric image rm`; or free some of what others \
                            have there";
        const RUN: &str = "free space there, or make the file system larger";
        let directories = [("data", self.directories.data(), DATA), ("run", self.directories.run(), RUN)];
        let differences: Vec<_> = directories
            .into_iter()
            .filter_map(|(kind, path, remedy)| {
                // One that cannot be looked at is told by all that is to be written there.
                let difference = lack(&statvfs(path).ok()?)?;
                Some(Difference { object: object(kind, path), difference, remedy: remedy.to_owned() })
            })
            .collect();
        (!differences.is_empty()).then(|| check("space", "", differences))
    }
}

fn object(kind: &str, path: &Path) -> String {
    format!("{kind} directory {}", path.display())
}

/// What the file system has too little of for one more change.
fn lack(of: &StatVfs) -> Option<String> {
    let free = of.f_bavail.saturating_mul(of.f_frsize);
    if free < Embedded::SPACE_OF_A_COMMIT {
        let wanted = Embedded::SPACE_OF_A_COMMIT / 1024;
        return Some(format!("is on a file system with {} KiB free, and a change may take {wanted} KiB", free / 1024));
    }
    // Some file systems have no fixed number of files, and say 0 of 0.
    (of.f_files > 0 && of.f_favail == 0).then(|| "is on a file system that can hold no more files".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_system(free: u64, files: u64, free_files: u64) -> StatVfs {
        let mut seen = statvfs("/").expect("there is a root");
        (seen.f_frsize, seen.f_bavail, seen.f_files, seen.f_favail) = (4096, free, files, free_files);
        seen
    }

    #[test]
    fn space_and_files_can_be_too_few() {
        for (free, files, free_files, expected) in [
            (256, 100, 1, None),
            (256, 0, 0, None),
            (255, 0, 0, Some("is on a file system with 1020 KiB free, and a change may take 1024 KiB")),
            (0, 100, 0, Some("is on a file system with 0 KiB free, and a change may take 1024 KiB")),
            (256, 100, 0, Some("is on a file system that can hold no more files")),
        ] {
            assert_eq!(lack(&file_system(free, files, free_files)).as_deref(), expected, "{free} {files} {free_files}");
        }
    }
}
