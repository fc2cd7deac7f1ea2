//! A published port: a host port that leads to an endpoint.

use std::{fmt, net::Ipv4Addr, num::NonZeroU16, str::FromStr};

use serde::{Deserialize, Serialize};

/// A transport protocol whose ports can be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
}

impl Protocol {
    /// The number IANA assigned, as it stands in the IP header.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A host port that leads to a port of a container.
///
/// Text form: `[HOST_ADDRESS:]HOST_PORT:CONTAINER_PORT[/PROTOCOL]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Publish {
    /// The host's address it is published on; none means every address of the host.
    pub host_ip: Option<Ipv4Addr>,
    /// The port on the host.
    pub host_port: NonZeroU16,
    /// The port in the container.
    pub container_port: NonZeroU16,
    /// The protocol of both.
    pub protocol: Protocol,
}

impl Publish {
    /// Whether a connection to 127.0.0.1 on the host can reach it.
    pub fn reaches_from_loopback(&self) -> bool {
        self.host_ip.is_none_or(|address| address.is_loopback())
    }

    /// Whether both claim one port of the host.
    pub fn collides(&self, other: &Self) -> bool {
        self.host_port == other.host_port
            && self.protocol == other.protocol
            && (self.host_ip.is_none() || other.host_ip.is_none() || self.host_ip == other.host_ip)
    }
}

/// Why a text does not publish a port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` does not publish a port: {reason}; expected [HOST_ADDRESS:]HOST_PORT:CONTAINER_PORT[/tcp|/udp]", .text.escape_debug())]
pub struct ParsePublishError {
    text: String,
    reason: &'static str,
}

impl FromStr for Publish {
    type Err = ParsePublishError;

    fn from_str(text: &str) -> Result<Self, ParsePublishError> {
        let fail = |reason| ParsePublishError { text: text.chars().take(80).collect(), reason };
        let (ports, protocol) = match text.split_once('/') {
            None | Some((_, "tcp")) => (text.split('/').next().unwrap_or(text), Protocol::Tcp),
            Some((ports, "udp")) => (ports, Protocol::Udp),
            Some(_) => return Err(fail("the protocol must be tcp or udp")),
        };
        let port = |text: &str| {
            if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(fail("a port must be a number"));
            }
            text.parse().map_err(|_| fail("a port must be 1 to 65535"))
        };
        let parts: Vec<&str> = ports.split(':').collect();
        let (host_ip, host_port, container_port) = match parts[..] {
            [host, container] => (None, host, container),
            [address, host, container] => {
                let address: Ipv4Addr =
                    address.parse().map_err(|_| fail("the host address must be an IPv4 address"))?;
                ((!address.is_unspecified()).then_some(address), host, container)
            }
            _ => return Err(fail("it needs a host port and a container port")),
        };
        Ok(Self { host_ip, host_port: port(host_port)?, container_port: port(container_port)?, protocol })
    }
}

impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(address) = self.host_ip {
            write!(f, "{address}:")?;
        }
        write!(f, "{}:{}/{}", self.host_port, self.container_port, self.protocol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishes_read_as_people_write_them() {
        for (text, shown) in [
            ("8080:80", Ok("8080:80/tcp")),
            ("8080:80/tcp", Ok("8080:80/tcp")),
            ("53:53/udp", Ok("53:53/udp")),
            ("127.0.0.1:8080:80", Ok("127.0.0.1:8080:80/tcp")),
            ("0.0.0.0:8080:80", Ok("8080:80/tcp")),
            ("80", Err(())),
            ("0:80", Err(())),
            ("65536:80", Err(())),
            ("+1:80", Err(())),
            ("a:b", Err(())),
            (":80", Err(())),
            ("80:80/icmp", Err(())),
            ("1:2:3:4", Err(())),
            ("80:80/", Err(())),
            ("80:80/tcp/udp", Err(())),
            ("300.0.0.1:80:80", Err(())),
        ] {
            let parsed = text.parse::<Publish>().map(|publish| publish.to_string()).map_err(|_| ());
            assert_eq!(parsed, shown.map(str::to_owned), "{text:?}");
        }
    }

    #[test]
    fn an_address_collides_with_every_address() {
        let parse = |text: &str| text.parse::<Publish>().expect("literal");
        for (a, b, collide) in [
            ("80:1", "80:2", true),
            ("80:1", "127.0.0.1:80:2", true),
            ("10.0.0.1:80:1", "127.0.0.1:80:2", false),
            ("80:1", "80:1/udp", false),
            ("80:1", "81:1", false),
        ] {
            assert_eq!(parse(a).collides(&parse(b)), collide, "{a} {b}");
            assert_eq!(parse(b).collides(&parse(a)), collide, "{b} {a}");
        }
    }
}
