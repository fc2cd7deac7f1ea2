//! Names outside, as DNS has them, and patterns of them.

use std::{fmt, str::FromStr};

use crate::label::shown;

/// A name in DNS with at least two labels, in lower case and without the last dot (RFC 1035 §2.3.1, with `_`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DnsName(String);

/// One name, or all below one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum DnsPattern {
    /// `api.example.com`: this name.
    Exact(DnsName),
    /// `*.example.com`: whatever is below this name, at any depth, but not the name itself.
    Below(DnsName),
}

/// Why a text is not a name in DNS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a name in DNS: {reason}", shown(.text))]
pub struct ParseDnsNameError {
    text: String,
    reason: &'static str,
}

impl FromStr for DnsName {
    type Err = ParseDnsNameError;

    fn from_str(text: &str) -> Result<Self, ParseDnsNameError> {
        let error = |reason| ParseDnsNameError { text: text.to_owned(), reason };
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.len() > 253 {
            return Err(error("it is longer than 253 characters"));
        }
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_')
        };
        if !name.split('.').all(is_label) {
            return Err(error("its parts must be 1 to 63 letters, digits, `-` and `_`; `*.` may stand only in front"));
        }
        if !name.contains('.') {
            return Err(error("a name outside has a dot in it; containers are selected by `names`"));
        }
        if name.split('.').all(|label| label.bytes().all(|octet| octet.is_ascii_digit())) {
            return Err(error("it is an address, which `cidr` takes"));
        }
        Ok(Self(name.to_ascii_lowercase()))
    }
}

impl FromStr for DnsPattern {
    type Err = ParseDnsNameError;

    fn from_str(text: &str) -> Result<Self, ParseDnsNameError> {
        match text.strip_prefix("*.") {
            Some(parent) => parent.parse().map(Self::Below),
            None => text.parse().map(Self::Exact),
        }
    }
}

impl DnsName {
    /// The name as text, in lower case and without a last dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// All patterns of this name: itself, and whatever is below each name that it is below. Fewer than it has labels.
    pub fn patterns(&self) -> impl Iterator<Item = DnsPattern> + '_ {
        let parents = self.0.match_indices('.').map(|(dot, _)| &self.0[dot + 1..]).filter(|rest| rest.contains('.'));
        let below = parents.map(|parent| DnsPattern::Below(Self(parent.to_owned())));
        std::iter::once(DnsPattern::Exact(self.clone())).chain(below)
    }
}

impl DnsPattern {
    /// Whether it is a pattern of this name.
    pub fn matches(&self, name: &DnsName) -> bool {
        match self {
            Self::Exact(exact) => exact == name,
            Self::Below(parent) => {
                name.0.strip_suffix(&parent.0).is_some_and(|front| front.len() > 1 && front.ends_with('.'))
            }
        }
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for DnsPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => name.fmt(f),
            Self::Below(parent) => write!(f, "*.{parent}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_all_that_is_below() {
        for (pattern, name, expected) in [
            ("api.example.com", "API.example.com.", true),
            ("api.example.com", "v2.api.example.com", false),
            ("*.example.com", "api.example.com", true),
            ("*.example.com", "v2.api.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "badexample.com", false),
        ] {
            let (pattern, name): (DnsPattern, DnsName) =
                (pattern.parse().expect("literal"), name.parse().expect("literal"));
            assert_eq!(pattern.matches(&name), expected, "{pattern} {name}");
            assert_eq!(name.patterns().any(|it| it == pattern), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_not_a_name_is_refused() {
        for text in ["", "web", "*", "*.com", "a.*.com", "a..b", ".a.b", "a b.c", "a.b\n", "1.2.3.4", "a;b.c", "é.com"]
        {
            assert!(text.parse::<DnsPattern>().is_err(), "{text:?}");
        }
    }
}
