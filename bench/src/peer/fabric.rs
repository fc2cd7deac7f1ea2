//! Fabric itself.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{Absence, Peer, Sleeper, finish};
use crate::place::{Place, end};

/// A `netd` with the image `busybox` and the network `bench`.
pub(crate) struct Fabric {
    place: Place,
    netd: Child,
    binaries: PathBuf,
}

impl Fabric {
    /// Starts the `netd` of `binaries`.
    pub(crate) fn start(binaries: &Path, tar: &Path) -> Result<Self, Absence> {
        let place = Place::new("")?;
        let netd = spawn(&place, binaries)?;
        let fabric = Self { place, netd, binaries: binaries.to_owned() };
        fabric.await_ready()?;
        finish(fabric.command(&["image", "import"]).arg(tar).arg("busybox"))?;
        finish(&mut fabric.command(&["network", "create", "bench", "--subnet", "10.99.0.0/16"]))?;
        Ok(fabric)
    }

    /// A `fabric` command.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.binaries.join("fabric"));
        command.args(arguments).env("FABRIC_SOCKET", self.place.run().join("netd.sock"));
        command
    }

    /// The process of the daemon itself.
    pub(crate) fn daemon(&self) -> u32 {
        // nsenter executes it in its own place.
        self.netd.id()
    }

    /// Kills the daemon, starts another, and returns how long it took until that answered, with all looked at.
    pub(crate) fn kill_and_restart(&mut self) -> Result<Duration, Absence> {
        let _ = self.netd.kill();
        let _ = self.netd.wait();
        let start = Instant::now();
        self.netd = spawn(&self.place, &self.binaries)?;
        self.await_ready()?;
        Ok(start.elapsed())
    }

    /// The first process of a container.
    pub(crate) fn process(&self, id: &str) -> Result<u32, Absence> {
        process(&self.inspect(id)?)
    }

    fn inspect(&self, id: &str) -> Result<Value, Absence> {
        let text = finish(&mut self.command(&["inspect", id, "--format", "json"]))?;
        serde_json::from_str(&text).map_err(|error| error.to_string())
    }

    fn await_ready(&self) -> Result<(), Absence> {
        let mut last = String::new();
        for _ in 0..3000 {
            match finish(&mut self.command(&["status"])) {
                Ok(_) => return Ok(()),
                Err(said) => last = said,
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(last)
    }

    fn containers(&self) -> Vec<String> {
        let listed = finish(&mut self.command(&["ps", "-a", "--format", "json"])).unwrap_or_default();
        let containers: Vec<Value> = serde_json::from_str(&listed).unwrap_or_default();
        containers.iter().filter_map(|container| container["id"].as_str().map(str::to_owned)).collect()
    }
}

fn spawn(place: &Place, binaries: &Path) -> Result<Child, Absence> {
    let log = File::options().append(true).create(true).open(place.data().join("netd.log"));
    let log = log.map_err(|error| error.to_string())?;
    let mut command = place.command(binaries.join("netd"));
    command.arg("--data-dir").arg(place.data().join("data")).arg("--run-dir").arg(place.run());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().map_err(|error| format!("netd: {error}"))
}

fn process(shown: &Value) -> Result<u32, Absence> {
    let pid = shown["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
    pid.ok_or_else(|| "inspect shows no pid".to_owned())
}

impl Peer for Fabric {
    fn run_true(&self) -> Command {
        self.command(&["run", "--rm", "--network", "bench", "busybox", "true"])
    }

    fn sleeper(&self) -> Result<Sleeper, Absence> {
        let id = finish(&mut self.command(&["run", "-d", "--network", "bench", "busybox", "sleep", "100000"]))?;
        let shown = self.inspect(&id)?;
        let pid = process(&shown)?;
        let address = shown["endpoints"][0]["ipv4"].as_str().unwrap_or_default().to_owned();
        Ok(Sleeper { id, pid, address })
    }
}

impl Drop for Fabric {
    fn drop(&mut self) {
        for id in self.containers() {
            let _ = finish(&mut self.command(&["rm", "-f", &id]));
        }
        for network in ["bench", "bench-two", "bench-few"] {
            let _ = finish(&mut self.command(&["network", "rm", network]));
        }
        end(&mut self.netd);
    }
}
