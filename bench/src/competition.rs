//! All that take part, started once for the whole report.

use std::path::{Path, PathBuf};

use crate::peer::{Absence, Docker, Fabric, Podman};

/// Fabric, which must run, and its peers, each of which may be unable to.
pub(crate) struct Competition {
    pub(crate) fabric: Fabric,
    pub(crate) docker: Result<Docker, Absence>,
    pub(crate) podman: Result<Podman, Absence>,
    /// The image's root file system.
    pub(crate) tar: PathBuf,
    /// The directory of `netd` and `fabric`.
    pub(crate) binaries: PathBuf,
}

impl Competition {
    pub(crate) fn start(binaries: &Path) -> Result<Self, Absence> {
        // Daemons start elsewhere.
        let binaries = &std::path::absolute(binaries).map_err(|error| error.to_string())?;
        let tar = tests::busybox_tar().to_owned();
        let fabric = Fabric::start(binaries, &tar, "")?;
        Ok(Self {
            fabric,
            docker: Docker::start(&tar),
            podman: Podman::start(&tar),
            tar,
            binaries: binaries.to_owned(),
        })
    }
}
