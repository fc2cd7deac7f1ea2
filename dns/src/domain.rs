//! The domain below which every container has its full name.

use std::{fmt, str::FromStr};

/// The domain of all full names, `NAME.NETWORK.DOMAIN`: one or more DNS labels in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain(String);

/// Why a text is not a domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}` is not a domain: expected labels of lower-case letters, digits and `-` joined by dots, such as fabric.internal",
    .0.escape_debug()
)]
pub struct ParseDomainError(String);

impl Domain {
    /// The domain as text, without a final dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The labels, leftmost first.
    pub(crate) fn labels(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('.')
    }

    pub(crate) fn label_count(&self) -> usize {
        self.labels().count()
    }

    /// What stands before the domain in `labels`, which are in lower case; none if they do not end in it.
    pub(crate) fn strip_from<'q, 'l>(&self, labels: &'q [&'l [u8]]) -> Option<&'q [&'l [u8]]> {
        let mut inner = labels;
        for own in self.labels().rev() {
            let (last, rest) = inner.split_last()?;
            if *last != own.as_bytes() {
                return None;
            }
            inner = rest;
        }
        Some(inner)
    }
}

/// `fabric.internal`: `internal` is reserved for private use and never delegated (ICANN, 29 July 2024).
impl Default for Domain {
    fn default() -> Self {
        "fabric.internal".parse().expect("two labels of letters are a domain")
    }
}

impl FromStr for Domain {
    type Err = ParseDomainError;

    fn from_str(text: &str) -> Result<Self, ParseDomainError> {
        let fail = || ParseDomainError(text.chars().take(80).collect());
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        // A name is at most 255 octets (RFC 1035 §3.1); a container's and a network's label take up to 128 of them.
        if text.len() > 120 || !text.split('.').all(label) {
            return Err(fail());
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_labels_joined_by_dots() {
        let long = format!("{}.internal", "a".repeat(64));
        for (text, ok) in [
            ("fabric.internal", true),
            ("lan", true),
            ("a-b.c1", true),
            ("", false),
            (".", false),
            ("fabric.internal.", false),
            ("Fabric.internal", false),
            ("a..b", false),
            ("-a.b", false),
            ("a_b", false),
            ("a\0b", false),
            (&long, false),
        ] {
            assert_eq!(text.parse::<Domain>().is_ok(), ok, "{text:?}");
        }
    }
}
