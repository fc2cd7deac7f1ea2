//! What was in force when, and what put it in force.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{PolicyChange, PolicyInForce};

/// What was in force from one change of the policies to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyRevision {
    /// One more than that of the revision before; the first is 1.
    pub revision: u64,
    /// When it was put in force, by the host's clock.
    pub at: Timestamp,
    /// What put it in force.
    pub request: PolicyRequest,
    /// What that changed.
    pub changes: Vec<PolicyChange>,
    /// What was in force; where one revision is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_force: Option<Vec<PolicyInForce>>,
}

/// What put policies in force, or took them out of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PolicyRequest {
    /// Files were applied.
    Apply {
        /// Their names.
        files: Vec<String>,
    },
    /// One was removed.
    Remove {
        /// Its name.
        name: String,
    },
    /// Those of an earlier revision were put back.
    Rollback {
        /// Which.
        revision: u64,
    },
    /// The kernel would not have those of this revision after all, so those before it were put back.
    Refused {
        /// Which.
        revision: u64,
    },
}

/// What `POST /v1/policy/rollback` puts back in force, all or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyRollback {
    /// Which revision, of which 0 has nothing in force; the one before the last if absent.
    #[serde(default)]
    pub revision: Option<u64>,
    /// Whether only what would change is told.
    #[serde(default)]
    pub dry_run: bool,
}
