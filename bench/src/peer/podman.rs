//! Podman with netavark and aardvark-dns, over runc.

use std::{path::Path, process::Command};

use super::{Absence, Peer, Sleeper, find, finish, remove_group};
use crate::place::Place;

/// Podman's stores with the image `busybox` and the network `bench`.
pub(crate) struct Podman {
    place: Place,
}

impl Podman {
    pub(crate) fn start(tar: &Path) -> Result<Self, Absence> {
        find("podman")?;
        find("runc")?;
        let podman = Self { place: Place::new("")? };
        // Limits above the caller's own are refused on machines that do not let even root raise them.
        let config = "[containers]\ndefault_ulimits=[]\n[network]\nnetwork_backend=\"netavark\"\n[engine]\nruntime=\"runc\"\ncgroup_manager=\"cgroupfs\"\n";
        std::fs::write(podman.config(), config).map_err(|error| error.to_string())?;
        finish(podman.command(&["import"]).arg(tar).arg("busybox"))?;
        finish(&mut podman.command(&["network", "create", "bench"]))?;
        Ok(podman)
    }

    fn config(&self) -> std::path::PathBuf {
        self.place.data().join("containers.conf")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.place.command("podman");
        command.arg("--root").arg(self.place.data().join("root")).arg("--runroot").arg(self.place.run().join("run"));
        command.arg("--tmpdir").arg(self.place.run().join("tmp"));
        command.arg("--network-config-dir").arg(self.place.data().join("networks"));
        command.args(arguments).env("CONTAINERS_CONF", self.config());
        command
    }

    /// A command that runs `true` in a container without a network.
    pub(crate) fn run_true_alone(&self) -> Command {
        self.command(&["run", "--rm", "--network", "none", "busybox", "true"])
    }
}

impl Peer for Podman {
    fn run_true(&self) -> Command {
        self.command(&["run", "--rm", "--network", "bench", "busybox", "true"])
    }

    fn sleeper(&self) -> Result<Sleeper, Absence> {
        let id = finish(&mut self.command(&["run", "-d", "--network", "bench", "busybox", "sleep", "100000"]))?;
        let format = "{{.State.Pid}} {{.NetworkSettings.Networks.bench.IPAddress}}";
        let shown = finish(&mut self.command(&["inspect", "--format", format, &id]))?;
        let (pid, address) = shown.split_once(' ').ok_or("inspect shows no address")?;
        Ok(Sleeper { id, pid: pid.parse().map_err(|_| "inspect shows no pid")?, address: address.to_owned() })
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = finish(&mut self.command(&["rm", "-af", "-t", "0"]));
        let _ = finish(&mut self.command(&["system", "reset", "-f"]));
        // aardvark-dns outlives its last container now and then.
        let pid = self.place.run().join("run/networks/aardvark-dns/aardvark.pid");
        let pid = std::fs::read_to_string(pid).ok().and_then(|pid| pid.trim().parse().ok());
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        remove_group("libpod_parent/conmon");
        remove_group("libpod_parent");
    }
}
