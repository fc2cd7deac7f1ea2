//! The daemon about itself and its host.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The version of the API that this crate describes, as it stands in every path.
pub const API_VERSION: &str = "v1";

/// What the daemon is: `GET /v1/version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Version {
    /// The daemon's version.
    pub version: String,
    /// The API's version.
    pub api: String,
}

/// What the daemon looks after: `GET /v1/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// The daemon's process.
    pub pid: u32,
    /// When the daemon was started.
    pub started_at: Timestamp,
    /// Where it keeps what must survive a boot.
    #[schema(value_type = String)]
    pub data_dir: PathBuf,
    /// Where it keeps what must not.
    #[schema(value_type = String)]
    pub run_dir: PathBuf,
    /// How many networks there are.
    pub networks: u64,
    /// How many containers there are.
    pub containers: u64,
    /// How many of them run.
    pub running: u64,
    /// How many images there are.
    pub images: u64,
}

/// The desired state held against the host's: `GET /v1/doctor`; `POST` mends what it can before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Doctor {
    /// What was looked at, in a fixed order.
    pub checks: Vec<Check>,
    /// Whether no check found a problem.
    pub healthy: bool,
    /// What was found first and is not there any more, if mending was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mended: Vec<Difference>,
}

impl Doctor {
    /// The outcome of these checks: healthy if none found a problem.
    pub fn new(checks: Vec<Check>) -> Self {
        let healthy = checks.iter().all(|check| check.result != CheckResult::Problem);
        Self { checks, healthy, mended: Vec::new() }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Check {
    /// What was looked at, in a few words that do not change.
    pub name: String,
    /// What came out.
    pub result: CheckResult,
    /// What was seen.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What is not as it should be, one by one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Difference {
    /// What differs: `bridge fb-0123456789ab of network web`, a path, a lease.
    pub object: String,
    /// How it differs.
    pub difference: String,
    /// What to do about it.
    pub remedy: String,
}

/// What came out of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckResult {
    /// As it should be.
    Ok,
    /// Works, but a person should know.
    Warning,
    /// Does not work as intended.
    Problem,
}

impl CheckResult {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}
