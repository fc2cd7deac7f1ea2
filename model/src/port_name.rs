//! Names that containers give their ports.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{ContainerPort, ParseContainerPortError};

/// The name of a port: 1 to 15 lower-case letters, digits and hyphens, with a letter (RFC 6335 §5.1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PortName(String);

/// Why a text is not the name of a port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not the name of a port: write 1 to 15 lower-case letters, digits and `-`, with a letter", .0.escape_debug())]
pub struct ParsePortNameError(String);

/// What a person says of a port of a container: `[NAME=]PORT[/PROTOCOL]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ExposedPort {
    /// What it is called, if anything.
    pub name: Option<PortName>,
    /// Which it is.
    pub port: ContainerPort,
}

/// Why a text says nothing of a port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseExposedPortError {
    /// By its name.
    #[error(transparent)]
    Name(#[from] ParsePortNameError),
    /// By its number.
    #[error(transparent)]
    Port(#[from] ParseContainerPortError),
}

impl PortName {
    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PortName {
    type Err = ParsePortNameError;

    fn from_str(text: &str) -> Result<Self, ParsePortNameError> {
        let is_valid = (1..=15).contains(&text.len())
            && text.bytes().all(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-')
            && text.bytes().any(|octet| octet.is_ascii_lowercase())
            && !text.starts_with('-')
            && !text.ends_with('-')
            && !text.contains("--");
        if is_valid { Ok(Self(text.to_owned())) } else { Err(ParsePortNameError(text.chars().take(80).collect())) }
    }
}

impl TryFrom<String> for PortName {
    type Error = ParsePortNameError;

    fn try_from(text: String) -> Result<Self, ParsePortNameError> {
        text.parse()
    }
}

impl From<PortName> for String {
    fn from(name: PortName) -> String {
        name.0
    }
}

impl fmt::Display for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ExposedPort {
    type Err = ParseExposedPortError;

    fn from_str(text: &str) -> Result<Self, ParseExposedPortError> {
        Ok(match text.split_once('=') {
            Some((name, port)) => Self { name: Some(name.parse()?), port: port.parse()? },
            None => Self { name: None, port: text.parse()? },
        })
    }
}

impl TryFrom<String> for ExposedPort {
    type Error = ParseExposedPortError;

    fn try_from(text: String) -> Result<Self, ParseExposedPortError> {
        text.parse()
    }
}

impl From<ExposedPort> for String {
    fn from(exposed: ExposedPort) -> String {
        exposed.to_string()
    }
}

impl fmt::Display for ExposedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.iter().try_for_each(|name| write!(f, "{name}="))?;
        self.port.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_named_as_people_write_them() {
        let read =
            |text: &str| text.parse().map(|ExposedPort { name, port }| (name.map(String::from), port.to_string()));
        let port = |name: Option<&str>, port: &str| Ok((name.map(str::to_owned), port.to_owned()));
        assert_eq!(read("80"), port(None, "80/tcp"));
        assert_eq!(read("http=8080"), port(Some("http"), "8080/tcp"));
        assert_eq!(read("dns-1=53/udp"), port(Some("dns-1"), "53/udp"));
        for text in ["=80", "http=", "http", "HTTP=80", "80=80", "-a=80", "a--b=80", "a=80=81", "sixteen-letters1=80"] {
            assert!(text.parse::<ExposedPort>().is_err(), "{text}");
        }
    }
}
