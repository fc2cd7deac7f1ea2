//! Labels as selectors name them.

use std::{fmt, str::FromStr};

use model::Label;

/// A label's key: 1 to 128 of `[A-Za-z0-9._/-]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LabelKey(String);

/// A label's value: at most 256 characters, none of them a control character.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LabelValue(String);

/// Why a text is not part of a label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseLabelError {
    /// Not a key.
    #[error("`{}` is not a label's key: write 1 to 128 letters, digits and `.`, `_`, `/`, `-`", shown(.0))]
    Key(String),
    /// Not a value.
    #[error("`{}` is not a label's value: write at most 256 characters, without control characters", shown(.0))]
    Value(String),
}

/// A text that a person can look at: its beginning, without characters that act on a terminal.
pub(crate) fn shown(text: &str) -> String {
    let cut: String = text.chars().take(80).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    format!("{}{more}", cut.escape_debug())
}

impl FromStr for LabelKey {
    type Err = ParseLabelError;

    fn from_str(text: &str) -> Result<Self, ParseLabelError> {
        if Label::is_writable(text, "") {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseLabelError::Key(text.to_owned()))
        }
    }
}

impl FromStr for LabelValue {
    type Err = ParseLabelError;

    fn from_str(text: &str) -> Result<Self, ParseLabelError> {
        if Label::is_writable("key", text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseLabelError::Value(text.to_owned()))
        }
    }
}

impl LabelKey {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl LabelValue {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LabelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for LabelValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
