//! Docker: `dockerd` with a containerd of its own.

use std::{
    fs::File,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::{Absence, Peer, Sleeper, find, finish, remove_group};
use crate::place::{Place, end};

/// A `dockerd` with the image `busybox` and the network `bench`.
pub(crate) struct Docker {
    place: Place,
    dockerd: Child,
}

impl Docker {
    pub(crate) fn start(tar: &Path) -> Result<Self, Absence> {
        find("dockerd")?;
        find("docker")?;
        let place = Place::new("")?;
        let log = File::create(place.data().join("dockerd.log")).map_err(|error| error.to_string())?;
        let mut command = place.command("dockerd");
        command.arg("--host").arg(format!("unix://{}", place.run().join("docker.sock").display()));
        command.arg("--data-root").arg(place.data().join("data")).arg("--exec-root").arg(place.run().join("exec"));
        command.arg("--pidfile").arg(place.run().join("docker.pid"));
        command.arg("--cgroup-parent").arg(format!("/fabric-bench-{}", std::process::id()));
        let log_too = log.try_clone().map_err(|error| error.to_string())?;
        let dockerd = command.stdin(Stdio::null()).stdout(log).stderr(log_too).spawn();
        let dockerd = dockerd.map_err(|error| format!("dockerd: {error}"))?;
        let docker = Self { place, dockerd };
        docker.await_ready()?;
        finish(docker.command(&["import"]).arg(tar).arg("busybox"))?;
        finish(&mut docker.command(&["network", "create", "bench"]))?;
        Ok(docker)
    }

    fn await_ready(&self) -> Result<(), Absence> {
        for _ in 0..200 {
            if finish(&mut self.command(&["info"])).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let log = std::fs::read_to_string(self.place.data().join("dockerd.log")).unwrap_or_default();
        Err(format!("dockerd does not answer: {}", log.lines().last().unwrap_or_default()))
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.arg("--host").arg(format!("unix://{}", self.place.run().join("docker.sock").display()));
        command.args(arguments);
        command
    }

    /// A command that runs `true` in a container without a network.
    pub(crate) fn run_true_alone(&self) -> Command {
        self.command(&["run", "--rm", "--network", "none", "busybox", "true"])
    }

    /// The daemon, its containerd and, once there are containers, their shims.
    pub(crate) fn daemons(&self) -> Vec<u32> {
        let mut found = vec![self.dockerd.id()];
        found.extend(children(self.dockerd.id()));
        found
    }
}

fn children(pid: u32) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().map_while(Result::ok);
    let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

impl Peer for Docker {
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

impl Drop for Docker {
    fn drop(&mut self) {
        let listed = finish(&mut self.command(&["ps", "-aq"])).unwrap_or_default();
        for id in listed.lines() {
            let _ = finish(&mut self.command(&["rm", "-f", id]));
        }
        end(&mut self.dockerd);
        remove_group(&format!("fabric-bench-{}", std::process::id()));
    }
}
