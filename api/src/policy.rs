//! Policies: files of them to put in force, and those that are.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use jiff::Timestamp;
use model::NetworkName;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema;

/// What `POST /v1/policies` puts in force, all or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyApply {
    /// The files.
    pub files: Vec<PolicyFile>,
    /// The network of policies of Kubernetes that have no `metadata.namespace`.
    #[serde(default)]
    #[schema(value_type = Option<schema::Name>)]
    pub network: Option<NetworkName>,
    /// Whether only what would change is told.
    #[serde(default)]
    pub dry_run: bool,
}

/// A file of policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyFile {
    /// Its name, which rules are told by; TOML ends in `.toml`, all else is YAML or JSON.
    pub name: String,
    /// What it holds.
    pub text: String,
}

/// What `POST /v1/policies` or `POST /v1/policy/rollback` changed, or would.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyChanges {
    /// Each policy and stance of the files, or of what is or was in force.
    pub changes: Vec<PolicyChange>,
    /// What is valid and probably not meant.
    pub warnings: Vec<String>,
}

/// What becomes of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyChange {
    /// Its name; those of Kubernetes have their network's before it, `NETWORK/NAME`.
    pub name: String,
    /// What it is: `Policy`, `Stance` or `NetworkPolicy`.
    pub kind: String,
    /// What becomes of it.
    pub action: PolicyAction,
}

/// What becomes of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PolicyAction {
    /// It was not there.
    Created,
    /// It said something else.
    Changed,
    /// It says the same as before.
    Unchanged,
    /// It is there no more.
    Removed,
}

/// A policy, or a stance, that is in force, or will be with its network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Policy {
    /// Its name; those of Kubernetes have their network's before it, `NETWORK/NAME`.
    pub name: String,
    /// What it is: `Policy`, `Stance` or `NetworkPolicy`.
    pub kind: String,
    /// The networks that it is for and that there are.
    #[schema(value_type = Vec<schema::Name>)]
    pub networks: Vec<NetworkName>,
    /// Those that it names and that there are not: it waits for them.
    #[schema(value_type = Vec<schema::Name>)]
    pub pending: Vec<NetworkName>,
    /// Those that it is for and that it is not enforced on: their packets do not come by this host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<schema::Name>)]
    pub unenforced: Vec<NetworkName>,
    /// How many endpoints it selects.
    pub endpoints: u64,
    /// When the next of its rules expires; none if none will.
    #[serde(default)]
    pub expires: Option<Timestamp>,
    /// How many of its rules have expired.
    #[serde(default)]
    pub expired: u64,
    /// Where it stands: `FILE:LINE:COLUMN`.
    pub place: String,
    /// The file it stands in, as it was given; where one policy is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// What is valid in it and probably not meant.
    pub warnings: Vec<String>,
    /// What its rules have counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counters: Vec<RuleCounter>,
    /// The names outside that its rules are about and that containers have asked for, with the addresses that they were
    /// answered; where one policy is asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, BTreeSet<String>>)]
    pub names: BTreeMap<String, BTreeSet<IpAddr>>,
}

/// What a rule has counted: packets that opened connections, or tried to, and that it decided or audited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RuleCounter {
    /// Which rule: `ingress rule 1`.
    pub rule: String,
    /// What it does: `allow`, `deny` or `audit`.
    pub action: String,
    /// How many packets, since the rule is in force.
    pub packets: u64,
    /// Their octets, IP headers included.
    pub octets: u64,
}

impl PolicyAction {
    /// The word itself.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Removed => "removed",
        }
    }
}
