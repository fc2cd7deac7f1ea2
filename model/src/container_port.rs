//! One port of a container.

use std::{fmt, num::NonZeroU16, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::Protocol;

/// One port of a container, `PORT[/PROTOCOL]`; of TCP where nothing is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerPort {
    /// 1 to 65,535.
    pub port: NonZeroU16,
    /// Its protocol.
    pub protocol: Protocol,
}

/// Why a text is not a port of a container.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a port of a container: {reason}; expected PORT[/tcp|/udp|/sctp]", .text.escape_debug())]
pub struct ParseContainerPortError {
    text: String,
    reason: &'static str,
}

impl FromStr for ContainerPort {
    type Err = ParseContainerPortError;

    fn from_str(text: &str) -> Result<Self, ParseContainerPortError> {
        let error = |reason| ParseContainerPortError { text: text.chars().take(80).collect(), reason };
        let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        // A sign is a number to the standard library.
        let is_number = !port.is_empty() && port.bytes().all(|octet| octet.is_ascii_digit());
        Ok(Self {
            port: port.parse().ok().filter(|_| is_number).ok_or_else(|| error("a port must be 1 to 65535"))?,
            protocol: Protocol::from_name(protocol).ok_or_else(|| error("the protocol must be tcp, udp or sctp"))?,
        })
    }
}

impl TryFrom<String> for ContainerPort {
    type Error = ParseContainerPortError;

    fn try_from(text: String) -> Result<Self, ParseContainerPortError> {
        text.parse()
    }
}

impl From<ContainerPort> for String {
    fn from(port: ContainerPort) -> String {
        port.to_string()
    }
}

impl fmt::Display for ContainerPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.port, self.protocol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_people_write_them() {
        for (text, expected) in [("80", "80/tcp"), ("53/udp", "53/udp"), ("65535/sctp", "65535/sctp")] {
            assert_eq!(text.parse().map(|port: ContainerPort| port.to_string()), Ok(expected.to_owned()));
        }
        for text in ["", "0", "+80", "65536", "80/", "80/icmp", "80/TCP", "80-81", "http"] {
            let error = text.parse::<ContainerPort>().expect_err(text).to_string();
            assert!(error.starts_with(&format!("`{text}` is not a port of a container")), "{error}");
        }
    }
}
