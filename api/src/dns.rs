//! What DNS answers, and what it was asked.

use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use model::ContainerName;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Reference, schema};

/// What `GET /v1/dns/query` asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsQuery {
    /// The name, with or without a final dot.
    pub name: String,
    /// The type of records: a name such as `A` or `SRV`, or `TYPE` and a number.
    #[serde(rename = "type", default = "address")]
    pub kind: String,
    /// The container whose view the answer is wanted from; the host's if absent.
    #[serde(rename = "as", default)]
    pub viewer: Option<Reference>,
}

fn address() -> String {
    "A".to_owned()
}

/// An answer, exactly as it would have been given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DnsAnswer {
    /// The response code's name: `NOERROR`, `NXDOMAIN`, `SERVFAIL`, `REFUSED`.
    pub code: String,
    /// Where it came from.
    pub origin: DnsOrigin,
    /// The server that answered; null unless an upstream did.
    #[schema(value_type = Option<String>)]
    pub upstream: Option<SocketAddr>,
    /// Whether it is the word of who owns the zone.
    pub authoritative: bool,
    /// Why there is no answer, if that was said (RFC 8914).
    pub reason: Option<String>,
    /// The records that were asked for.
    pub answers: Vec<DnsRecord>,
    /// The zone's record where something is absent.
    pub authorities: Vec<DnsRecord>,
    /// Records that belong to the answers.
    pub additionals: Vec<DnsRecord>,
}

/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DnsOrigin {
    /// What the daemon knows of networks and containers; refusals too.
    Zone,
    /// What an upstream said before.
    Cache,
    /// An upstream.
    Upstream,
    /// Nobody: no upstream answered, or there is none.
    Failure,
}

impl DnsOrigin {
    /// The word itself.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Zone => "zone",
            Self::Cache => "cache",
            Self::Upstream => "upstream",
            Self::Failure => "failure",
        }
    }
}

/// One record, in the words of a zone file (RFC 1035 §5.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DnsRecord {
    /// Whose it is, without a final dot.
    pub name: String,
    /// For how many seconds it may be kept.
    pub ttl: u32,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its data.
    pub data: String,
}

/// Which entries `GET /v1/dns/log` sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsLogQuery {
    /// Whether to go on sending what is asked from now on, besides what is remembered.
    #[serde(default)]
    pub follow: bool,
}

/// One query that was answered; `GET /v1/dns/log` sends one JSON object per line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DnsLogEntry {
    /// When it was answered.
    pub time: Timestamp,
    /// Who asked.
    #[schema(value_type = String)]
    pub client: IpAddr,
    /// The container that asked; null for the host.
    #[schema(value_type = Option<schema::Name>)]
    pub container: Option<ContainerName>,
    /// `udp` or `tcp`.
    pub transport: String,
    /// The name asked for, without a final dot.
    pub name: String,
    /// The type asked for.
    #[serde(rename = "type")]
    pub kind: String,
    /// The response code's name.
    pub code: String,
    /// How many records were the answer.
    pub answers: u16,
    /// Where the answer came from.
    pub origin: DnsOrigin,
    /// The server that answered; null unless an upstream did.
    #[schema(value_type = Option<String>)]
    pub upstream: Option<SocketAddr>,
    /// How long an upstream was waited for, in microseconds; 0 if the answer was known.
    pub waited_us: u64,
}
