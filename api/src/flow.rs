//! What rules of policies log.

use std::net::IpAddr;

use jiff::Timestamp;
use model::{ContainerName, NetworkName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema;

/// A packet that opens a connection, or would, and that a rule with `log` decided or audited; `GET /v1/policy/flows`
/// sends one JSON object per line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Flow {
    /// Its place in the order: one more than that of the flow before it, from 1 at the start of the daemon. Where some
    /// are missing, there were more than are remembered.
    pub sequence: u64,
    /// When it was logged, by the host's clock.
    pub time: Timestamp,
    /// What the rule does: `allow`, `deny` or `audit`.
    pub verdict: String,
    /// The policy's name.
    pub policy: String,
    /// Which rule of it: `ingress rule 1`.
    pub rule: String,
    /// Where the rule stands: `FILE:LINE:COLUMN`.
    pub place: String,
    /// Who sends it.
    pub source: FlowEnd,
    /// Who receives it, after translation of destinations.
    pub destination: FlowEnd,
    /// `tcp`, `udp`, `sctp`, `icmp`, `icmpv6`, or another protocol's number.
    pub protocol: String,
    /// Of ICMP and ICMPv6: the message's type and code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<[u8; 2]>,
}

/// One end of a flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FlowEnd {
    /// Its address.
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// Its port, where the protocol has ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The container that has the address; none if none has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Name>)]
    pub container: Option<ContainerName>,
    /// The network that it has the address on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Name>)]
    pub network: Option<NetworkName>,
}

/// Which flows `GET /v1/policy/flows` sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FlowsQuery {
    /// Whether to go on sending what is logged from now on.
    #[serde(default)]
    pub follow: bool,
}
