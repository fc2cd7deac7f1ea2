//! Names a person chooses: networks, containers, images, hosts and labels.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{noun} `{}` is not valid: {reason}", .text.escape_debug())]
pub struct ParseNameError {
    /// What the text should have named, as a person would say it.
    pub noun: &'static str,
    /// The text, cut to 80 characters.
    pub text: String,
    /// What is wrong with it, and what would be right.
    pub reason: &'static str,
}

impl ParseNameError {
    fn new(noun: &'static str, text: &str, reason: &'static str) -> Self {
        let mut shown: String = text.chars().take(80).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        Self { noun, text: shown, reason }
    }
}

/// Declares a newtype over `String` whose text is checked by a function of that text.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $noun:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ParseNameError;

            fn from_str(text: &str) -> Result<Self, ParseNameError> {
                let check: fn(&str) -> Result<(), &'static str> = $check;
                check(text).map_err(|reason| ParseNameError::new($noun, text, reason))?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = ParseNameError;

            fn try_from(text: String) -> Result<Self, ParseNameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// A network's name: one DNS label of lower-case letters, digits and hyphens (RFC 1123 §2.1), because the
    /// network is a DNS zone; 1 to 63 octets.
    NetworkName, "network name", dns_label
}

name! {
    /// A container's name, which DNS answers for: one DNS label of lower-case letters, digits and hyphens
    /// (RFC 1123 §2.1); 1 to 63 octets.
    ContainerName, "container name", dns_label
}

name! {
    /// The host name a container sees: one or more DNS labels joined by dots; at most 64 octets (Linux `utsname`).
    Hostname, "host name", |text| {
        if text.len() > 64 {
            return Err("it is longer than 64 characters");
        }
        text.split('.').try_for_each(|label| any_case_label(label))
    }
}

name! {
    /// An image's name in the local content store, with an optional tag: `busybox`, `team/app:1.2`.
    ///
    /// Path components are lower-case letters, digits and single separators `.`, `_`, `-` between them, joined
    /// by `/` (the OCI distribution specification's `<name>`); a tag is up to 128 of `[A-Za-z0-9_.-]`.
    ImageName, "image name", image_name
}

/// Labels by key.
pub type Labels = BTreeMap<String, String>;

/// One label as a person writes it, `KEY=VALUE` or `KEY` for an empty value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// 1 to 128 of `[A-Za-z0-9._/-]`.
    pub key: String,
    /// At most 256 characters, none of them a control character.
    pub value: String,
}

impl Label {
    /// Whether a person could have written it: an image may bring others.
    pub fn is_writable(key: &str, value: &str) -> bool {
        check_label(key, value).is_ok()
    }
}

impl FromStr for Label {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        check_label(key, value).map_err(|reason| ParseNameError::new("label", text, reason))?;
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }
}

fn check_label(key: &str, value: &str) -> Result<(), &'static str> {
    if key.is_empty() || key.len() > 128 {
        return Err("its key must be 1 to 128 characters long");
    }
    if !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._/-".contains(&byte)) {
        return Err("its key may hold only letters, digits and `.`, `_`, `/`, `-`");
    }
    if value.chars().count() > 256 || value.chars().any(char::is_control) {
        return Err("its value must be at most 256 characters without control characters");
    }
    Ok(())
}

fn dns_label(text: &str) -> Result<(), &'static str> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err("use lower-case letters, because names are looked up in DNS");
    }
    any_case_label(text)
}

fn any_case_label(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.len() > 63 {
        return Err("it is longer than 63 characters");
    }
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err("use only letters, digits and `-`");
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err("it must begin and end with a letter or digit");
    }
    Ok(())
}

fn image_name(text: &str) -> Result<(), &'static str> {
    let (path, tag) = match text.rsplit_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (text, None),
    };
    if path.is_empty() || path.len() > 255 {
        return Err("its name must be 1 to 255 characters long");
    }
    let separator = |byte| matches!(byte, b'.' | b'_' | b'-');
    for component in path.split('/') {
        let bytes = component.as_bytes();
        let edges_ok =
            bytes.first().is_some_and(|byte| !separator(*byte)) && bytes.last().is_some_and(|byte| !separator(*byte));
        if !edges_ok || !bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || separator(*byte))
        {
            return Err("use lower-case letters, digits and `.`, `_`, `-` between them, parts joined by `/`");
        }
    }
    match tag {
        Some(tag) if tag.is_empty() || tag.len() > 128 => Err("its tag must be 1 to 128 characters long"),
        Some(tag) if !tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || separator(byte)) => {
            Err("its tag may hold only letters, digits and `.`, `_`, `-`")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_and_container_names_are_dns_labels() {
        let long = "a".repeat(64);
        for (text, ok) in [
            ("web", true),
            ("a", true),
            ("db-1", true),
            ("1", true),
            (&long[..63], true),
            (&long, false),
            ("", false),
            ("-a", false),
            ("a-", false),
            ("Web", false),
            ("a.b", false),
            ("a_b", false),
            ("a b", false),
            ("a\n", false),
            ("a\0", false),
            ("a;reboot", false),
            ("é", false),
            ("../x", false),
        ] {
            assert_eq!(text.parse::<NetworkName>().is_ok(), ok, "network {text:?}");
            assert_eq!(text.parse::<ContainerName>().is_ok(), ok, "container {text:?}");
        }
    }

    #[test]
    fn image_names_follow_the_distribution_specification() {
        for (text, ok) in [
            ("busybox", true),
            ("team/app:1.2", true),
            ("a.b/c-d_e:Latest", true),
            ("a:", false),
            (":a", false),
            ("", false),
            ("A", false),
            ("a//b", false),
            ("/a", false),
            ("a/../b", false),
            ("a:b c", false),
        ] {
            assert_eq!(text.parse::<ImageName>().is_ok(), ok, "{text:?}");
        }
    }

    #[test]
    fn labels_take_a_key_and_an_optional_value() {
        let label: Label = "com.example/tier=a=b".parse().expect("valid");
        assert_eq!((label.key.as_str(), label.value.as_str()), ("com.example/tier", "a=b"));
        assert_eq!("x".parse::<Label>().expect("valid").value, "");
        for text in ["", "=v", "a b=c", "k=line\nbreak", "k=\0"] {
            assert!(text.parse::<Label>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_long_bad_name_is_cut_in_its_error() {
        let error = "A".repeat(10_000_000).parse::<NetworkName>().expect_err("too long");
        assert!(error.to_string().len() < 250);
    }
}
