//! How a request says which container it means.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A container's name, its id, or the beginning of its id that no other has.
///
/// 1 to 63 lower-case letters, digits and hyphens: every name, id and beginning of an id is that.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Reference(String);

/// Why a text can mean no container.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}` is no container's name or id: expected 1 to 63 lower-case letters, digits and `-`",
    .0.escape_debug()
)]
pub struct ParseReferenceError(String);

impl Reference {
    /// The reference as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Reference {
    type Err = ParseReferenceError;

    fn from_str(text: &str) -> Result<Self, ParseReferenceError> {
        let valid = (1..=63).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if valid { Ok(Self(text.to_owned())) } else { Err(ParseReferenceError(text.chars().take(80).collect())) }
    }
}

impl TryFrom<String> for Reference {
    type Error = ParseReferenceError;

    fn try_from(text: String) -> Result<Self, ParseReferenceError> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> String {
        reference.0
    }
}

impl From<&model::ContainerId> for Reference {
    fn from(id: &model::ContainerId) -> Self {
        Self(id.as_str().to_owned())
    }
}

impl From<&model::ContainerName> for Reference {
    fn from(name: &model::ContainerName) -> Self {
        Self(name.as_str().to_owned())
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
