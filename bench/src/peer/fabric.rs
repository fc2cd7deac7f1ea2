//! Fabric itself.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{Absence, Peer, children, finish, program};
use crate::{
    place::{Place, end},
    socket,
};

/// How long a `netd` may take until it answers.
const PATIENCE: Duration = Duration::from_secs(30);

/// A `netd` with the image `busybox` and the network `bench`.
pub(crate) struct Fabric {
    place: Place,
    netd: Child,
    binaries: PathBuf,
}

impl Fabric {
    /// The gateway of the network `bench`.
    pub(crate) const GATEWAY: std::net::Ipv4Addr = std::net::Ipv4Addr::new(10, 99, 0, 1);

    /// Starts the `netd` of `binaries` with these settings (`netd.toml`).
    pub(crate) fn start(binaries: &Path, tar: &Path, settings: &str) -> Result<Self, Absence> {
        let place = Place::new("")?;
        std::fs::write(place.data().join("netd.toml"), settings).map_err(|error| error.to_string())?;
        let netd = spawn(&place, binaries)?;
        let fabric = Self { place, netd, binaries: binaries.to_owned() };
        fabric.await_ready()?;
        finish(fabric.command(&["image", "import"]).arg(tar).arg("busybox"))?;
        fabric.make_network("bench", "10.99.0.0/16")?;
        Ok(fabric)
    }

    pub(crate) fn make_network(&self, name: &str, subnet: &str) -> Result<(), Absence> {
        finish(&mut self.command(&["network", "create", name, "--subnet", subnet])).map(drop)
    }

    /// The daemon and its zygote.
    pub(crate) fn daemons(&self) -> Vec<u32> {
        // nsenter executes it in its own place.
        let mut found = vec![self.netd.id()];
        found.extend(children(self.netd.id()));
        found
    }

    /// Kills the daemon, runs shell script in its place, and starts another; returns how long it took from then until
    /// it answers.
    pub(crate) fn kill_and_restart(&mut self, meanwhile: &str) -> Result<Duration, Absence> {
        let _ = self.netd.kill();
        let _ = self.netd.wait();
        self.place.sh(meanwhile)?;
        let start = Instant::now();
        self.netd = spawn(&self.place, &self.binaries)?;
        self.await_ready()?;
        Ok(start.elapsed())
    }

    /// The first process of a container.
    pub(crate) fn process(&self, id: &str) -> Result<u32, Absence> {
        self.look(id).map(|(pid, _)| pid)
    }

    /// Asks the daemon without a client's start.
    pub(crate) fn post(&self, target: &str, body: &str) -> Result<(), Absence> {
        socket::request(&self.socket(), "POST", target, body).map(drop)
    }

    /// How long it has worked with the kernel's network so far.
    pub(crate) fn reconciled(&self) -> Result<Duration, Absence> {
        let page = socket::request(&self.socket(), "GET", "/metrics", "")?;
        let sum = page.lines().find_map(|line| line.strip_prefix("fabric_reconcile_seconds_sum "));
        let seconds = sum.and_then(|text| text.trim().parse().ok());
        seconds.map(Duration::from_secs_f64).ok_or_else(|| "its metrics tell no sum".to_owned())
    }

    pub(crate) fn connect(&self, network: &str, id: &str) -> Result<(), Absence> {
        let body = json!({ "network": network }).to_string();
        self.post(&format!("/v1/containers/{id}/endpoints"), &body)
    }

    pub(crate) fn disconnect(&self, network: &str, id: &str) -> Result<(), Absence> {
        socket::request(&self.socket(), "DELETE", &format!("/v1/containers/{id}/endpoints?network={network}"), "")
            .map(drop)
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    fn socket(&self) -> PathBuf {
        self.place.run().join("netd.sock")
    }

    fn await_ready(&self) -> Result<(), Absence> {
        let begin = Instant::now();
        // Asked without a client: its start would be part of what is measured.
        while let Err(said) = socket::request(&self.socket(), "GET", "/v1/status", "") {
            if begin.elapsed() > PATIENCE {
                let log = std::fs::read_to_string(self.place.log("netd")).unwrap_or_default();
                return Err(format!("{said}; netd said: {}", log.lines().last().unwrap_or_default()));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// The identifiers of all containers.
    pub(crate) fn containers(&self) -> Vec<String> {
        let listed = finish(&mut self.command(&["ps", "-a", "--format", "json"])).unwrap_or_default();
        let containers: Vec<Value> = serde_json::from_str(&listed).unwrap_or_default();
        containers.iter().filter_map(|container| container["id"].as_str().map(str::to_owned)).collect()
    }

    /// Removes containers, many by one command.
    pub(crate) fn remove(&self, ids: &[String]) -> Result<(), Absence> {
        ids.chunks(100).try_for_each(|some| finish(self.command(&["rm", "-f"]).args(some)).map(drop))
    }
}

fn spawn(place: &Place, binaries: &Path) -> Result<Child, Absence> {
    let mut command = place.command(binaries.join("netd"));
    command.arg("--config").arg(place.data().join("netd.toml"));
    command.arg("--data-dir").arg(place.data().join("data")).arg("--run-dir").arg(place.run());
    place.spawn(&mut command, "netd")
}

impl Peer for Fabric {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program(self.binaries.join("fabric"));
        command.args(arguments).env("FABRIC_SOCKET", self.socket());
        command
    }

    fn start(&self, id: &str) -> Result<(), Absence> {
        self.post(&format!("/v1/containers/{id}/start"), "")
    }

    fn run_true_alone(&self) -> Command {
        self.command(&["run", "--rm", "busybox", "true"])
    }

    fn look(&self, id: &str) -> Result<(u32, String), Absence> {
        let text = finish(&mut self.command(&["inspect", id, "--format", "json"]))?;
        let shown: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let pid = shown["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).ok_or("inspect shows no pid")?;
        Ok((pid, shown["endpoints"][0]["ipv4"].as_str().unwrap_or_default().to_owned()))
    }
}

impl Drop for Fabric {
    fn drop(&mut self) {
        let _ = self.remove(&self.containers());
        let listed = finish(&mut self.command(&["network", "ls", "--format", "{{.name}}"])).unwrap_or_default();
        for network in listed.lines() {
            let _ = finish(&mut self.command(&["network", "rm", network]));
        }
        end(&mut self.netd);
    }
}
