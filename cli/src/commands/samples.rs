//! Fixed answers of a daemon, for tests of how they are shown.

use api::{Container, Network};
use jiff::Timestamp;
use serde_json::json;

/// The moment at which the samples are looked at.
pub(crate) fn now() -> Timestamp {
    "2026-11-20T10:00:00Z".parse().expect("literal")
}

/// Three containers: attached and published, exited and attached nowhere, created.
pub(crate) fn containers() -> Vec<Container> {
    let container = |id: &str, name: &str, state: &str, rest: serde_json::Value| {
        let mut value = json!({
            "id": id.repeat(16), "name": name, "image": "busybox:1.36", "state": state, "exit_code": null, "pid": null,
            "created_at": "2026-11-20T08:00:00Z", "started_at": null, "finished_at": null, "hostname": name,
            "command": ["httpd", "-f", "-p", "80"], "labels": {}, "publishes": [], "endpoints": [],
        });
        value.as_object_mut().expect("an object").extend(rest.as_object().expect("an object").clone());
        serde_json::from_value(value).expect("the literal is a container")
    };
    vec![
        container(
            "a1",
            "api",
            "running",
            json!({
                "pid": 4711, "started_at": "2026-11-20T08:00:01Z", "labels": {"team": "a", "tier": "web"},
                "publishes": ["8080:80/tcp", "127.0.0.1:53:53/udp"],
                "endpoints": [{
                    "id": "0123456789abcdef", "network": "web", "ipv4": "10.89.0.2", "ipv6": null,
                    "mac": "02:42:0a:59:00:02", "gateway": "10.89.0.1", "gateway6": null, "aliases": ["www"], "interface": "eth0",
                    "gateway_priority": 5, "default_routes": ["ipv4"],
                }],
            }),
        ),
        container(
            "b2",
            "job",
            "exited",
            json!({
                "exit_code": 137, "started_at": "2026-11-20T08:00:01Z", "finished_at": "2026-11-20T09:59:00Z",
                "created_at": "2026-11-20T09:59:30Z", "command": ["sh", "-c", "echo \u{1b}[31m\nred"], "network_mode": "none",
            }),
        ),
        container(
            "c3",
            "idle",
            "created",
            json!({"created_at": "2026-11-20T10:00:00Z", "network_mode": "container:api"}),
        ),
    ]
}

/// Two networks, one of which has an endpoint.
pub(crate) fn networks() -> Vec<Network> {
    let network = |id: &str, name: &str, subnet: &str, gateway: &str, rest: serde_json::Value| {
        let mut value = json!({
            "id": id.repeat(8), "name": name, "driver": "bridge", "subnets": [{"range": subnet, "gateway": gateway}], "reserved": [], "internal": false, "gateway_mode": "nat",
            "mtu": 1500, "mtu_source": "uplink", "labels": {}, "created_at": "2026-11-19T10:00:00Z", "endpoints": [],
            "usage": {"capacity": 253, "used": 0},
        });
        value.as_object_mut().expect("an object").extend(rest.as_object().expect("an object").clone());
        serde_json::from_value(value).expect("the literal is a network")
    };
    vec![
        network(
            "d4",
            "web",
            "10.89.0.0/24",
            "10.89.0.1",
            json!({
                "labels": {"team": "a"}, "usage": {"capacity": 253, "used": 1},
                "endpoints": [{
                    "id": "0123456789abcdef", "container": "api", "container_id": "a1".repeat(16), "ipv4": "10.89.0.2",
                    "ipv6": null, "mac": "02:42:0a:59:00:02",
                }],
            }),
        ),
        network("e5", "back-end", "10.89.1.0/24", "10.89.1.1", json!({})),
    ]
}
