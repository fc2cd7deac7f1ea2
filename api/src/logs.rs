//! What a container wrote, line by line.

use jiff::Timestamp;
use model::Stream;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema;

/// One line of a container's output; `GET /v1/containers/{reference}/logs` sends one JSON object per line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// When it was written.
    pub time: Timestamp,
    /// Where it was written to.
    #[schema(value_type = schema::Stream)]
    pub stream: Stream,
    /// The text with its line feed; a piece of a line that was too long or never ended has none.
    pub log: String,
}

/// Which lines `GET /v1/containers/{reference}/logs` sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogsQuery {
    /// Whether to go on sending until the container has exited.
    #[serde(default)]
    pub follow: bool,
    /// Only what was written from this moment on; absent means from the first line that is kept.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// Only what was written before this moment, at which following ends too; absent means no end.
    #[serde(default)]
    pub until: Option<Timestamp>,
    /// Only so many of the last lines of these, and what follows; absent means all.
    #[serde(default)]
    pub tail: Option<u64>,
}
