//! Docker: `dockerd` with a containerd of its own.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use super::{Absence, Peer, end_group, find, finish, look_as_docker, program};
use crate::{
    place::{Place, end},
    socket,
};

/// A `dockerd` with the image `busybox` and the network `bench`.
///
/// It has no process for each published port (`--userland-proxy=false`): its fastest way.
pub(crate) struct Docker {
    place: Place,
    dockerd: Child,
    /// The control group of its containers.
    group: String,
}

/// Numbers those that are started: each has a control group of its own.
static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Docker {
    pub(crate) fn start(tar: &Path) -> Result<Self, Absence> {
        find("dockerd")?;
        find("docker")?;
        let place = Place::apart("")?;
        let group = format!("fabric-bench-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut command = place.command("dockerd");
        command.arg("--host").arg(format!("unix://{}", place.run().join("docker.sock").display()));
        command.arg("--data-root").arg(place.data().join("data")).arg("--exec-root").arg(place.run().join("exec"));
        command.arg("--pidfile").arg(place.run().join("docker.pid")).arg("--userland-proxy=false");
        command.arg("--cgroup-parent").arg(format!("/{group}"));
        let dockerd = place.spawn(&mut command, "dockerd")?;
        let docker = Self { place, dockerd, group };
        docker.await_ready()?;
        finish(docker.command(&["import"]).arg(tar).arg("busybox"))?;
        finish(&mut docker.command(&["network", "create", "--subnet", "10.92.0.0/16", "bench"]))?;
        Ok(docker)
    }

    fn await_ready(&self) -> Result<(), Absence> {
        for _ in 0..200 {
            if finish(&mut self.command(&["info"])).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let log = std::fs::read_to_string(self.place.log("dockerd")).unwrap_or_default();
        Err(format!("dockerd does not answer: {}", log.lines().last().unwrap_or_default()))
    }

    /// Asks the daemon without a client's start.
    pub(crate) fn post(&self, target: &str, body: &str) -> Result<(), Absence> {
        socket::request(&self.socket(), "POST", target, body).map(drop)
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    fn socket(&self) -> PathBuf {
        self.place.run().join("docker.sock")
    }

    /// The daemon and its containerd.
    pub(crate) fn daemons(&self) -> Vec<u32> {
        let mut found = vec![self.dockerd.id()];
        found.extend(super::children(self.dockerd.id()));
        found
    }
}

impl Peer for Docker {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program("docker");
        command.arg("--host").arg(format!("unix://{}", self.socket().display())).args(arguments);
        command
    }

    fn start(&self, id: &str) -> Result<(), Absence> {
        self.post(&format!("/containers/{id}/start"), "")
    }

    fn look(&self, id: &str) -> Result<(u32, String), Absence> {
        look_as_docker(self, id)
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // Removing containers in good order takes it a second each where many ports are published. All that it has made
        // is in its place, but for the control groups; shims and containerd end with the place.
        end(&mut self.dockerd);
        end_group(&self.group);
    }
}
