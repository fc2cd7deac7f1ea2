//! Names of entries.

use std::{borrow::Borrow, fmt, str::FromStr};

/// The name of an entry: segments joined by `/`, for example `networks/ab12cd34ef567890`.
///
/// A segment is one or more of the ASCII letters, digits and `.`, `_`, `-`, `:`, `@`, `+`, and neither `.` nor `..`.
/// The whole is at most [`Key::MAX_LENGTH`] octets. Keys sort by their octets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

/// Why a text is not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}` is not a key: expected segments of ASCII letters, digits and `._-:@+` joined by `/`, at most {max} octets",
    .0.escape_debug(), max = Key::MAX_LENGTH
)]
pub struct ParseKeyError(String);

impl Key {
    /// The length of the longest key, in octets.
    pub const MAX_LENGTH: usize = 512;

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments, first to last.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

fn is_segment(text: &str) -> bool {
    !matches!(text, "" | "." | "..")
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-:@+".contains(&byte))
}

impl FromStr for Key {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, ParseKeyError> {
        if text.len() <= Self::MAX_LENGTH && text.split('/').all(is_segment) {
            return Ok(Self(text.to_owned()));
        }
        Err(ParseKeyError(text.chars().take(80).collect()))
    }
}

impl TryFrom<String> for Key {
    type Error = ParseKeyError;

    fn try_from(text: String) -> Result<Self, ParseKeyError> {
        text.parse()
    }
}

// `Ord`, `Eq` and `Hash` of a key are those of its text, as `Borrow` demands.
impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_paths_of_plain_segments() {
        let longest = "a".repeat(Key::MAX_LENGTH);
        let too_long = "a".repeat(Key::MAX_LENGTH + 1);
        for (text, ok) in [
            ("a", true),
            ("networks/ab12", true),
            ("images/docker.io/library/busybox:1.36", true),
            ("leases/ab/0a400002", true),
            (longest.as_str(), true),
            (too_long.as_str(), false),
            ("", false),
            ("/", false),
            ("/a", false),
            ("a/", false),
            ("a//b", false),
            ("a/../b", false),
            ("a/./b", false),
            ("a b", false),
            ("a\0b", false),
            ("a\nb", false),
            ("ä", false),
        ] {
            assert_eq!(text.parse::<Key>().is_ok(), ok, "{text:?}");
        }
    }
}
