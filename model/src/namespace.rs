//! What names a pinned network namespace.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The name of a pinned network namespace: a file name of 1 to 64 letters, digits, `-` and `_` that starts with a
/// letter or a digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NamespaceName(String);

/// Why a text does not name a namespace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` does not name a network namespace: expected 1 to 64 letters, digits, `-` and `_`", .0.escape_debug())]
pub struct ParseNamespaceNameError(String);

impl NamespaceName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NamespaceName {
    type Err = ParseNamespaceNameError;

    fn from_str(text: &str) -> Result<Self, ParseNamespaceNameError> {
        let valid = (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && text.as_bytes()[0].is_ascii_alphanumeric();
        if valid { Ok(Self(text.to_owned())) } else { Err(ParseNamespaceNameError(text.chars().take(80).collect())) }
    }
}

impl TryFrom<String> for NamespaceName {
    type Error = ParseNamespaceNameError;

    fn try_from(text: String) -> Result<Self, ParseNamespaceNameError> {
        text.parse()
    }
}

impl From<NamespaceName> for String {
    fn from(name: NamespaceName) -> String {
        name.0
    }
}

impl fmt::Display for NamespaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespace_names_never_leave_their_directory() {
        for (text, ok) in [
            ("pool-1", true),
            ("0123456789abcdef0123456789abcdef", true),
            ("", false),
            (".", false),
            ("..", false),
            ("a/b", false),
            ("-a", false),
            ("a\0", false),
            (&"a".repeat(65), false),
        ] {
            assert_eq!(text.parse::<NamespaceName>().is_ok(), ok, "{text:?}");
        }
    }
}
