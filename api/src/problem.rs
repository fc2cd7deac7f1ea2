//! How a request that failed is answered.

use std::error::Error;

use model::causes;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The body of every answer with a status of 400 or more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[error("{error}")]
pub struct Problem {
    /// What failed, on which object.
    pub error: String,
    /// Why, from the nearest cause to the farthest.
    #[serde(default)]
    pub causes: Vec<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What `fabric run` and `fabric exec` are to exit with: 125, 126 or 127.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u8>,
}

impl Problem {
    /// A problem without causes or a hint.
    pub fn new(error: impl Into<String>) -> Self {
        Self { error: error.into(), causes: Vec::new(), hint: None, exit_code: None }
    }

    /// The error and its chain of sources.
    pub fn from_error(error: &(dyn Error + 'static)) -> Self {
        let causes = causes(error).map(ToString::to_string).collect();
        Self { causes, ..Self::new(error.to_string()) }
    }

    /// The same problem with advice.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The same problem with the exit code that stands for it.
    #[must_use]
    pub fn with_exit_code(self, exit_code: u8) -> Self {
        Self { exit_code: Some(exit_code), ..self }
    }
}
