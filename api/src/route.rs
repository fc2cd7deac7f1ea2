//! Where requests are sent: path patterns for the server, filled paths for the client.
//!
//! Patterns name their parameter in braces; a parameter is one percent-encoded path segment.

use std::fmt::Write;

/// `GET` → [`Version`](crate::Version).
pub const VERSION: &str = "/v1/version";
/// `GET` → [`Status`](crate::Status).
pub const STATUS: &str = "/v1/status";
/// `GET` → [`Doctor`](crate::Doctor); `POST` the same, once what can be mended is.
pub const DOCTOR: &str = "/v1/doctor";
/// `GET` → metrics in the text format of Prometheus.
pub const METRICS: &str = "/metrics";
/// `GET` → the OpenAPI document of all of these ([`openapi`](crate::openapi)).
pub const OPENAPI: &str = "/openapi.json";
/// `GET` with [`EventsQuery`](crate::EventsQuery) → one [`Event`](crate::Event) per line.
pub const EVENTS: &str = "/v1/events";
/// `GET` with [`DnsQuery`](crate::DnsQuery) → [`DnsAnswer`](crate::DnsAnswer).
pub const DNS_QUERY: &str = "/v1/dns/query";
/// `GET` with [`DnsLogQuery`](crate::DnsLogQuery) → one [`DnsLogEntry`](crate::DnsLogEntry) per line.
pub const DNS_LOG: &str = "/v1/dns/log";
/// `GET` → list of [`Network`](crate::Network); `POST` [`NetworkCreate`](crate::NetworkCreate) → 201 with it.
pub const NETWORKS: &str = "/v1/networks";
/// `GET` → [`Network`](crate::Network); `PATCH` [`NetworkUpdate`](crate::NetworkUpdate) → it; `DELETE` → 204.
pub const NETWORK: &str = "/v1/networks/{name}";
/// `GET` with [`ContainersQuery`](crate::ContainersQuery) → list of [`Container`](crate::Container);
/// `POST` [`ContainerCreate`](crate::ContainerCreate) → 201 with it.
pub const CONTAINERS: &str = "/v1/containers";
/// `GET` → [`Container`](crate::Container); `DELETE` with [`RemoveQuery`](crate::RemoveQuery) → 204.
pub const CONTAINER: &str = "/v1/containers/{reference}";
/// `POST` [`EndpointCreate`](crate::EndpointCreate) → 201 with the [`Container`](crate::Container); `DELETE` with
/// [`DisconnectQuery`](crate::DisconnectQuery) → [`Container`](crate::Container).
pub const CONTAINER_ENDPOINTS: &str = "/v1/containers/{reference}/endpoints";
/// `POST` with [`StartQuery`](crate::StartQuery) → [`Container`](crate::Container).
pub const CONTAINER_START: &str = "/v1/containers/{reference}/start";
/// `POST` with [`StopQuery`](crate::StopQuery) → [`Container`](crate::Container).
pub const CONTAINER_STOP: &str = "/v1/containers/{reference}/stop";
/// `POST` with [`StopQuery`](crate::StopQuery) → [`Container`](crate::Container).
pub const CONTAINER_RESTART: &str = "/v1/containers/{reference}/restart";
/// `POST` [`Rename`](crate::Rename) → [`Container`](crate::Container).
pub const CONTAINER_RENAME: &str = "/v1/containers/{reference}/rename";
/// `GET` → list of [`Process`](crate::Process).
pub const CONTAINER_TOP: &str = "/v1/containers/{reference}/top";
/// `POST` [`NetworksPrune`](crate::NetworksPrune) → [`PrunedNetworks`](crate::PrunedNetworks).
pub const NETWORKS_PRUNE: &str = "/v1/prune/networks";
/// `POST` [`ContainersPrune`](crate::ContainersPrune) → [`Pruned`](crate::Pruned).
pub const CONTAINERS_PRUNE: &str = "/v1/prune/containers";
/// `POST` with [`KillQuery`](crate::KillQuery) → 204.
pub const CONTAINER_KILL: &str = "/v1/containers/{reference}/kill";
/// `GET` with [`WaitQuery`](crate::WaitQuery) → [`Waited`](crate::Waited), when it has happened.
pub const CONTAINER_WAIT: &str = "/v1/containers/{reference}/wait";
/// `GET` with [`LogsQuery`](crate::LogsQuery) → one [`LogLine`](crate::LogLine) per line.
pub const CONTAINER_LOGS: &str = "/v1/containers/{reference}/logs";
/// `POST` with `Upgrade:` [`UPGRADE`] → 101, then frames both ways.
pub const CONTAINER_ATTACH: &str = "/v1/containers/{reference}/attach";
/// `POST` [`ExecCreate`](crate::ExecCreate) with `Upgrade:` [`UPGRADE`] → 101, then frames both ways.
pub const CONTAINER_EXEC: &str = "/v1/containers/{reference}/exec";
/// `GET` → list of [`Image`](crate::Image); `POST` a tar stream with [`ImportQuery`](crate::ImportQuery) → 201 with it.
pub const IMAGES: &str = "/v1/images";
/// `GET` → list of [`Policy`](crate::Policy); `POST` [`PolicyApply`](crate::PolicyApply) →
/// [`PolicyChanges`](crate::PolicyChanges).
pub const POLICIES: &str = "/v1/policies";
/// `GET` → [`Policy`](crate::Policy) with its source; `DELETE` → 204; the name's slash is percent-encoded.
pub const POLICY: &str = "/v1/policies/{name}";
/// `GET` → [`PolicyWorld`](crate::PolicyWorld).
pub const POLICY_WORLD: &str = "/v1/policy/world";
/// `GET` → list of [`PolicyRevision`](crate::PolicyRevision), the last first.
pub const POLICY_HISTORY: &str = "/v1/policy/history";
/// `GET` → [`PolicyRevision`](crate::PolicyRevision) with what was in force.
pub const POLICY_REVISION: &str = "/v1/policy/history/{revision}";
/// `POST` [`PolicyRollback`](crate::PolicyRollback) → [`PolicyChanges`](crate::PolicyChanges).
pub const POLICY_ROLLBACK: &str = "/v1/policy/rollback";
/// `GET` with [`FlowsQuery`](crate::FlowsQuery) → one [`Flow`](crate::Flow) per line.
pub const POLICY_FLOWS: &str = "/v1/policy/flows";
/// `DELETE` → 204; the name's slashes and colon are percent-encoded.
pub const IMAGE: &str = "/v1/images/{name}";

/// The protocol an attached connection is upgraded to: `model::Frame` in both directions.
pub const UPGRADE: &str = "fabric-stream";

/// The pattern with its one parameter filled in, percent-encoded.
pub fn fill(pattern: &str, parameter: &str) -> String {
    let (before, rest) = pattern.split_once('{').unwrap_or((pattern, ""));
    let (_, after) = rest.split_once('}').unwrap_or(("", ""));
    format!("{before}{}{after}", percent_encode(parameter))
}

/// The text with every octet escaped that is not an unreserved character (RFC 3986 §2.3).
pub fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("writing to a String never fails");
        }
    }
    encoded
}
