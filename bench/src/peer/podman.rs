//! Podman with netavark and aardvark-dns, over runc.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::Signal;

use super::{Absence, Peer, find, finish, look_as_docker, remove_group};
use crate::place::{Place, kill};

/// Podman's stores with the image `busybox` and the network `bench`.
pub(crate) struct Podman {
    place: Place,
    /// The place's directory in memory, where Podman finds it.
    run: PathBuf,
}

impl Podman {
    pub(crate) fn start(tar: &Path) -> Result<Self, Absence> {
        find("podman")?;
        find("runc")?;
        // Podman keeps its locks in one file of /dev/shm, whatever its directories are.
        let place = Place::apart("mkdir $DATA/run; mount --bind $RUN $DATA/run; mount -t tmpfs shm /dev/shm")?;
        let podman = Self { run: place.data().join("run"), place };
        // Limits above the caller's own are refused on machines that do not let even root raise them.
        let config = "[containers]\ndefault_ulimits=[]\n[network]\nnetwork_backend=\"netavark\"\n[engine]\nruntime=\"runc\"\ncgroup_manager=\"cgroupfs\"\n";
        std::fs::write(podman.config(), config).map_err(|error| error.to_string())?;
        finish(podman.command(&["import"]).arg(tar).arg("busybox"))?;
        finish(&mut podman.command(&["network", "create", "bench"]))?;
        Ok(podman)
    }

    fn config(&self) -> PathBuf {
        self.place.data().join("containers.conf")
    }
}

impl Peer for Podman {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.place.command("podman");
        command.arg("--root").arg(self.place.data().join("root")).arg("--runroot").arg(self.run.join("run"));
        command.arg("--tmpdir").arg(self.run.join("tmp"));
        command.arg("--network-config-dir").arg(self.place.data().join("networks"));
        command.args(arguments).env("CONTAINERS_CONF", self.config());
        command
    }

    /// There is no daemon: nobody else can be asked.
    fn start(&self, id: &str) -> Result<(), Absence> {
        finish(&mut self.command(&["start", id])).map(drop)
    }

    fn look(&self, id: &str) -> Result<(u32, String), Absence> {
        look_as_docker(self, id)
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = finish(&mut self.command(&["rm", "-af", "-t", "0"]));
        let _ = finish(&mut self.command(&["system", "reset", "-f"]));
        // aardvark-dns outlives its last container now and then.
        let pid = self.place.run().join("run/networks/aardvark-dns/aardvark.pid");
        let pid = std::fs::read_to_string(pid).ok().and_then(|pid| pid.trim().parse().ok());
        if let Some(pid) = pid {
            kill(pid, Signal::TERM);
        }
        remove_group("libpod_parent/conmon");
        remove_group("libpod_parent");
    }
}
