//! Programs that attach a namespace to a bridge and do nothing else: netavark, and the CNI reference plugins.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::json;

use super::{Absence, built};
use crate::{
    place::Place,
    row::attach::{Attacher, feed},
};

/// A host, a namespace, and netavark between them.
pub(crate) struct Netavark {
    host: Place,
    container: Place,
    program: PathBuf,
}

impl Netavark {
    pub(crate) fn start() -> Result<Self, Absence> {
        let program = built("netavark").ok_or("netavark 2.1 has not been built")?;
        Ok(Self { host: Place::apart("")?, container: Place::new("")?, program })
    }

    fn call(&self, action: &str) -> Result<(), Absence> {
        let id = "0".repeat(63) + "1";
        let network = json!({
            "name": "bench", "id": id, "driver": "bridge", "network_interface": "nv0", "dns_enabled": false,
            "internal": false, "ipv6_enabled": false, "created": "2026-01-01T00:00:00Z",
            "subnets": [{ "subnet": "10.95.0.0/16", "gateway": "10.95.0.1" }],
            "ipam_options": { "driver": "host-local" },
        });
        let request = json!({
            "container_id": id, "container_name": "bench",
            "networks": { "bench": { "interface_name": "eth0", "static_ips": ["10.95.0.2"] } },
            "network_info": { "bench": network },
        });
        let mut command = self.host.command(&self.program);
        command.arg("--config").arg(self.host.run()).arg(action).arg(format!("/proc/{}/ns/net", self.container.pid()));
        feed(&mut command, &request.to_string()).map(drop)
    }

    pub(crate) fn attacher(&self) -> Attacher<'_> {
        Attacher {
            pid: self.container.pid(),
            gateway: Ipv4Addr::new(10, 95, 0, 1),
            attach: Box::new(|| self.call("setup")),
            detach: Box::new(|| self.call("teardown")),
        }
    }
}

/// A host, a namespace, and the CNI plugin `bridge` between them.
pub(crate) struct Plugin {
    host: Place,
    container: Place,
    next: AtomicU32,
}

impl Plugin {
    const DIRECTORY: &str = "/usr/lib/cni";

    pub(crate) fn start() -> Result<Self, Absence> {
        if !Path::new(Self::DIRECTORY).join("bridge").is_file() {
            return Err("the CNI plugins are not installed".to_owned());
        }
        Ok(Self { host: Place::apart("")?, container: Place::new("")?, next: AtomicU32::new(0) })
    }

    fn call(&self, action: &str) -> Result<(), Absence> {
        if action == "ADD" {
            self.next.fetch_add(1, Ordering::Relaxed);
        }
        let request = json!({
            "cniVersion": "1.0.0", "name": "bench", "type": "bridge", "bridge": "cni0", "isGateway": true,
            "ipMasq": true,
            "ipam": { "type": "host-local", "subnet": "10.94.0.0/16", "dataDir": self.host.run().join("leases") },
        });
        let mut command = self.host.command(Path::new(Self::DIRECTORY).join("bridge"));
        command.env("CNI_COMMAND", action).env("CNI_PATH", Self::DIRECTORY).env("CNI_IFNAME", "eth0");
        command.env("CNI_CONTAINERID", format!("bench-{}", self.next.load(Ordering::Relaxed)));
        command.env("CNI_NETNS", format!("/proc/{}/ns/net", self.container.pid()));
        feed(&mut command, &request.to_string()).map(drop)
    }

    pub(crate) fn attacher(&self) -> Attacher<'_> {
        Attacher {
            pid: self.container.pid(),
            gateway: Ipv4Addr::new(10, 94, 0, 1),
            attach: Box::new(|| self.call("ADD")),
            detach: Box::new(|| self.call("DEL")),
        }
    }
}
