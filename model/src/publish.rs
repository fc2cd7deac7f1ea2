//! A published port: a host port that leads to an endpoint.

mod parse;

use std::{fmt, net::IpAddr, num::NonZeroU16, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{PortRange, Protocol};
pub use parse::ParsePublishError;

/// Host ports that lead to as many ports of a container, each to the one at its place.
///
/// Text form: `[HOST_ADDRESS:]HOST_PORTS:CONTAINER_PORTS[/PROTOCOL]`, where ports are `PORT` or `PORT-PORT`, and an
/// IPv6 address stands in brackets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Publish {
    host_ip: Option<IpAddr>,
    host_ports: PortRange,
    container_ports: PortRange,
    protocol: Protocol,
}

/// What a person asks for: a [`Publish`] whose host ports may be left to Fabric.
///
/// Text form: that of a [`Publish`]; without host ports `CONTAINER_PORTS[/PROTOCOL]` or
/// `HOST_ADDRESS::CONTAINER_PORTS[/PROTOCOL]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublishRequest {
    host_ip: Option<IpAddr>,
    host_ports: Option<PortRange>,
    container_ports: PortRange,
    protocol: Protocol,
}

impl Publish {
    /// The host's address it is published on. `0.0.0.0` and `::` mean every one of that family, none means every one.
    pub fn host_ip(&self) -> Option<IpAddr> {
        self.host_ip
    }

    /// The ports on the host.
    pub fn host_ports(&self) -> PortRange {
        self.host_ports
    }

    /// The ports in the container, as many as on the host.
    pub fn container_ports(&self) -> PortRange {
        self.container_ports
    }

    /// The protocol of both.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The host port that leads to this port of the container.
    pub fn host_port_of(&self, container_port: NonZeroU16) -> Option<NonZeroU16> {
        let offset = container_port.get().checked_sub(self.container_ports.first().get())?;
        self.host_ports.first().checked_add(offset).filter(|port| self.host_ports.contains(port.get()))
    }

    /// Whether it leads to a container's address of the family that `address` is of: no address is translated to one
    /// of the other family.
    pub fn leads_to(&self, address: IpAddr) -> bool {
        self.host_ip.is_none_or(|host| host.is_ipv4() == address.is_ipv4())
    }

    /// Whether a connection to 127.0.0.1 on the host can reach it.
    pub fn reaches_from_loopback(&self) -> bool {
        match self.host_ip {
            None => true,
            Some(IpAddr::V4(address)) => address.is_loopback() || address.is_unspecified(),
            Some(IpAddr::V6(_)) => false,
        }
    }

    /// Whether both claim one port of the host.
    pub fn collides(&self, other: &Self) -> bool {
        self.protocol == other.protocol
            && self.host_ports.overlaps(other.host_ports)
            && match (self.host_ip, other.host_ip) {
                (Some(own), Some(others)) => {
                    own.is_ipv4() == others.is_ipv4()
                        && (own == others || own.is_unspecified() || others.is_unspecified())
                }
                _ => true,
            }
    }
}

impl PublishRequest {
    /// One port of a container at every address of the host, the host port left to Fabric.
    pub fn exposed(port: NonZeroU16, protocol: Protocol) -> Self {
        Self { host_ip: None, host_ports: None, container_ports: PortRange::single(port), protocol }
    }

    /// The host's address to publish on, as [`Publish::host_ip`].
    pub fn host_ip(&self) -> Option<IpAddr> {
        self.host_ip
    }

    /// The ports in the container.
    pub fn container_ports(&self) -> PortRange {
        self.container_ports
    }

    /// The protocol.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The publish that was asked for, if it names its host ports.
    pub fn fixed(&self) -> Option<Publish> {
        self.at(self.host_ports?.first())
    }

    /// The publish that was asked for, at as many host ports as it has from `first` on; none if there are not so many.
    pub fn at(&self, first: NonZeroU16) -> Option<Publish> {
        let Self { host_ip, container_ports, protocol, .. } = *self;
        Some(Publish { host_ip, host_ports: container_ports.moved_to(first)?, container_ports, protocol })
    }
}

impl FromStr for Publish {
    type Err = ParsePublishError;

    fn from_str(text: &str) -> Result<Self, ParsePublishError> {
        let request: PublishRequest = text.parse()?;
        request.fixed().ok_or_else(|| ParsePublishError::new(text, "it needs a host port"))
    }
}

impl TryFrom<String> for Publish {
    type Error = ParsePublishError;

    fn try_from(text: String) -> Result<Self, ParsePublishError> {
        text.parse()
    }
}

impl From<Publish> for String {
    fn from(publish: Publish) -> Self {
        publish.to_string()
    }
}

impl From<Publish> for PublishRequest {
    fn from(publish: Publish) -> Self {
        let Publish { host_ip, host_ports, container_ports, protocol } = publish;
        Self { host_ip, host_ports: Some(host_ports), container_ports, protocol }
    }
}

/// An address as it stands before a port.
fn with_brackets(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        PublishRequest::from(*self).fmt(f)
    }
}

impl fmt::Display for PublishRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(address) = self.host_ip {
            write!(f, "{}:", with_brackets(address))?;
        }
        match (self.host_ports, self.host_ip) {
            (Some(ports), _) => write!(f, "{ports}:")?,
            (None, Some(_)) => f.write_str(":")?,
            (None, None) => {}
        }
        write!(f, "{}/{}", self.container_ports, self.protocol)
    }
}

#[cfg(test)]
mod tests;
