//! Whose network a container lives in, as people write it.

use std::{fmt, str::FromStr};

use model::NetworkName;
use serde::{Deserialize, Serialize};

use crate::{ParseReferenceError, Reference};

/// Whose network namespace a container lives in; as text `networks`, `none`, `host` or `container:REFERENCE`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum NetworkMode {
    /// Its own, attached to the networks that are named.
    #[default]
    Networks,
    /// Its own, with the loopback interface alone.
    None,
    /// The host's.
    Host,
    /// That of another container, which must run: its interfaces, addresses, ports, names and resolver.
    Container(Reference),
}

/// Why a text says no network mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseNetworkModeError {
    /// It is none of the words.
    #[error("there is no network mode `{}`; known: networks, none, host, container:NAME", .0.escape_debug())]
    Unknown(String),
    /// What stands behind `container:` is no container's name.
    #[error(transparent)]
    Reference(#[from] ParseReferenceError),
}

impl NetworkMode {
    /// The words that stand for a mode where a network can be named; no network is called so.
    pub const RESERVED: [&str; 3] = ["none", "host", "container"];

    /// Whether a network's name would be taken for a mode.
    pub fn reserves(name: &NetworkName) -> bool {
        Self::RESERVED.contains(&name.as_str())
    }
}

impl FromStr for NetworkMode {
    type Err = ParseNetworkModeError;

    fn from_str(text: &str) -> Result<Self, ParseNetworkModeError> {
        match (text, text.strip_prefix("container:")) {
            (_, Some(reference)) => Ok(Self::Container(reference.parse()?)),
            ("networks", _) => Ok(Self::Networks),
            ("none", _) => Ok(Self::None),
            ("host", _) => Ok(Self::Host),
            _ => Err(ParseNetworkModeError::Unknown(text.chars().take(80).collect())),
        }
    }
}

impl fmt::Display for NetworkMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Networks => f.write_str("networks"),
            Self::None => f.write_str("none"),
            Self::Host => f.write_str("host"),
            Self::Container(reference) => write!(f, "container:{reference}"),
        }
    }
}

impl TryFrom<String> for NetworkMode {
    type Error = ParseNetworkModeError;

    fn try_from(text: String) -> Result<Self, ParseNetworkModeError> {
        text.parse()
    }
}

impl From<NetworkMode> for String {
    fn from(mode: NetworkMode) -> String {
        mode.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_read_as_people_write_them() {
        for text in ["networks", "none", "host", "container:db", "container:0123abcd"] {
            assert_eq!(text.parse::<NetworkMode>().expect(text).to_string(), text);
        }
        for text in ["", "bridge", "container", "container:", "container:A b", "host "] {
            assert!(text.parse::<NetworkMode>().is_err(), "{text:?}");
        }
    }
}
