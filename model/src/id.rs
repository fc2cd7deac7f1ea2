//! Identifiers that Fabric draws itself, and content digests.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not {noun}: expected {expected}", .text.escape_debug())]
pub struct ParseIdError {
    /// What the text should have been, with its article.
    pub noun: &'static str,
    /// The text, cut to 80 characters.
    pub text: String,
    /// The form that would be right.
    pub expected: &'static str,
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String never fails");
        text
    })
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Declares an identifier of `$bytes` random octets, written as lower-case hexadecimal.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $noun:literal, $bytes:literal, $expected:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The identifier made of these octets.
            pub fn from_bytes(bytes: [u8; $bytes]) -> Self {
                Self(hex(&bytes))
            }

            /// Its octets.
            pub fn octets(&self) -> [u8; $bytes] {
                let digit = |at: usize| u8::from_str_radix(&self.0[at..at + 2], 16).expect("two hexadecimal digits");
                std::array::from_fn(|index| digit(2 * index))
            }

            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The first 12 hexadecimal digits, for tables and interface names.
            pub fn short(&self) -> &str {
                &self.0[..12]
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                if is_hex(text, $bytes * 2) {
                    return Ok(Self(text.to_owned()));
                }
                Err(ParseIdError { noun: $noun, text: text.chars().take(80).collect(), expected: $expected })
            }
        }

        impl TryFrom<String> for $name {
            type Error = ParseIdError;

            fn try_from(text: String) -> Result<Self, ParseIdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// A container: 16 random octets, 32 hexadecimal digits.
    ContainerId, "a container id", 16, "32 hexadecimal digits"
}
id! {
    /// A network: 8 random octets, 16 hexadecimal digits.
    NetworkId, "a network id", 8, "16 hexadecimal digits"
}
id! {
    /// An endpoint: 8 random octets, 16 hexadecimal digits.
    EndpointId, "an endpoint id", 8, "16 hexadecimal digits"
}

/// The SHA-256 of some content, written `sha256:` and 64 hexadecimal digits (OCI image specification, descriptor).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// The digest made of the 32 octets of a SHA-256.
    pub fn sha256(octets: [u8; 32]) -> Self {
        Self(format!("sha256:{}", hex(&octets)))
    }

    /// The 64 hexadecimal digits without the algorithm.
    pub fn hex(&self) -> &str {
        &self.0["sha256:".len()..]
    }

    /// The digest as text, with its algorithm.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Digest {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        match text.strip_prefix("sha256:") {
            Some(rest) if is_hex(rest, 64) => Ok(Self(text.to_owned())),
            _ => Err(ParseIdError {
                noun: "a digest",
                text: text.chars().take(80).collect(),
                expected: "`sha256:` and 64 lower-case hexadecimal digits",
            }),
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = ParseIdError;

    fn try_from(text: String) -> Result<Self, ParseIdError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_lower_case_hexadecimal_of_one_length() {
        let id = ContainerId::from_bytes([0xab; 16]);
        assert_eq!(id.as_str(), "ab".repeat(16));
        assert_eq!(id.short(), "abababababab");
        assert_eq!(id.as_str().parse::<ContainerId>().as_ref(), Ok(&id));
        for text in ["", "ab", &"AB".repeat(16), &"ab".repeat(17), &"g".repeat(32), "../../../../../../../../etc/pass"]
        {
            assert!(text.parse::<ContainerId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn digests_carry_their_algorithm() {
        let digest = Digest::sha256([1; 32]);
        assert_eq!(digest.as_str().parse::<Digest>().as_ref(), Ok(&digest));
        assert_eq!(digest.hex(), "01".repeat(32));
        for text in ["sha256:", "md5:00", &"01".repeat(32), "sha256:../../x"] {
            assert!(text.parse::<Digest>().is_err(), "{text:?}");
        }
    }
}
