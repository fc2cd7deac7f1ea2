//! A bare OCI runtime: a bundle, no image, no network but loopback.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::Value;

use super::{Absence, find, finish, unpack};
use crate::place::Place;

/// `runc` or `crun` with a bundle that runs `true`.
pub(crate) struct Oci {
    place: Place,
    program: &'static str,
    bundle: PathBuf,
    next: AtomicU32,
}

impl Oci {
    pub(crate) fn start(program: &'static str, tar: &Path) -> Result<Self, Absence> {
        find(program)?;
        // Debian 12's crun takes an empty v2 tree beside v1 controllers for a mistake.
        let setup = "if [ $(stat -fc %T /sys/fs/cgroup) = tmpfs ]; then umount /sys/fs/cgroup/unified || true; fi";
        let place = Place::new(setup)?;
        let bundle = place.data().join("bundle");
        unpack(tar, &bundle.join("rootfs"))?;
        finish(place.command(program).arg("spec").arg("--bundle").arg(&bundle)).or_else(|_| {
            finish(place.command("sh").arg("-c").arg(format!("cd {} && {program} spec", bundle.display())))
        })?;
        let config = bundle.join("config.json");
        let text = std::fs::read_to_string(&config).map_err(|error| error.to_string())?;
        let mut spec: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        spec["process"]["args"] = serde_json::json!(["true"]);
        spec["process"]["terminal"] = false.into();
        spec["process"]["rlimits"] = serde_json::json!([]);
        std::fs::write(&config, spec.to_string()).map_err(|error| error.to_string())?;
        let oci = Self { place, program, bundle, next: AtomicU32::new(0) };
        finish(&mut oci.run_true())?;
        Ok(oci)
    }

    /// A command that runs `true` in a new container and ends when the container is gone.
    pub(crate) fn run_true(&self) -> Command {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut command = self.place.command(self.program);
        command.arg("--root").arg(self.place.run().join("state")).arg("run").arg("--bundle").arg(&self.bundle);
        command.arg(format!("fabric-bench-{}-{number}", std::process::id()));
        command
    }
}
