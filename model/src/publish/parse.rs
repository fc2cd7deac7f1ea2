//! Reads what a person writes behind `-p`.

use std::{net::IpAddr, num::NonZeroU16, str::FromStr};

use super::PublishRequest;
use crate::{PortRange, Protocol};

/// Why a text does not publish a port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}` does not publish a port: {reason}; expected [HOST_ADDRESS:][HOST_PORTS:]CONTAINER_PORTS[/tcp|/udp|/sctp], \
     where ports are PORT or PORT-PORT", .text.escape_debug()
)]
pub struct ParsePublishError {
    text: String,
    reason: &'static str,
}

impl ParsePublishError {
    pub(super) fn new(text: &str, reason: &'static str) -> Self {
        Self { text: text.chars().take(80).collect(), reason }
    }
}

impl FromStr for PublishRequest {
    type Err = ParsePublishError;

    fn from_str(text: &str) -> Result<Self, ParsePublishError> {
        read(text).map_err(|reason| ParsePublishError::new(text, reason))
    }
}

fn read(text: &str) -> Result<PublishRequest, &'static str> {
    let (before, protocol) = match text.split_once('/') {
        None => (text, Protocol::Tcp),
        Some((before, name)) => (before, Protocol::from_name(name).ok_or("the protocol must be tcp, udp or sctp")?),
    };
    let (host_ip, host, container) = split(before)?;
    let host_ip = host_ip.map(host_address).transpose()?;
    let host_ports = host.filter(|host| !host.is_empty()).map(ports).transpose()?;
    let container_ports = ports(container)?;
    if host_ports.is_some_and(|host| host.count() != container_ports.count()) {
        return Err("there must be as many host ports as container ports");
    }
    Ok(PublishRequest { host_ip, host_ports, container_ports, protocol })
}

/// The three parts between colons: address, host ports (empty if left to Fabric), container ports.
fn split(text: &str) -> Result<(Option<&str>, Option<&str>, &str), &'static str> {
    const PORTS: &str = "behind the host address it needs a host port, which may be empty, and a container port";
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']').ok_or("the bracket before the IPv6 address is not closed")?;
        let ports = rest.strip_prefix(':').and_then(|ports| ports.split_once(':')).ok_or(PORTS)?;
        return match ports {
            (_, container) if container.contains(':') => Err("it has too many colons"),
            (host, container) => Ok((Some(address), Some(host), container)),
        };
    }
    let parts: Vec<&str> = text.split(':').collect();
    match parts[..] {
        [container] => Ok((None, None, container)),
        [address, _] if address.parse::<IpAddr>().is_ok() => Err(PORTS),
        ["", _] => Err("it needs a host port before the colon"),
        [host, container] => Ok((None, Some(host), container)),
        ["", ..] | [_, "", _, _, ..] => Err("an IPv6 host address must stand in brackets"),
        [address, host, container] => Ok((Some(address), Some(host), container)),
        _ => Err("it has too many colons; an IPv6 host address must stand in brackets"),
    }
}

/// An address that a host can have.
fn host_address(text: &str) -> Result<IpAddr, &'static str> {
    let address: IpAddr = text.parse().map_err(|_| "the host address must be an IPv4 address, or IPv6 in brackets")?;
    match address {
        IpAddr::V4(address) if address.is_multicast() || address.is_broadcast() => {
            Err("the host address must be one of one host, not of many")
        }
        IpAddr::V6(address) if address.is_multicast() => Err("the host address must be one of one host, not of many"),
        // The kernel delivers no answer to ::1 that comes in by another interface than the loopback, and unlike
        // net.ipv4.conf.*.route_localnet there is no setting that would let it (rt6_need_strict in net/ipv6/route.c).
        IpAddr::V6(address) if address.is_loopback() => {
            Err("Linux translates no connection to ::1; 127.0.0.1 is the loopback address that can be published on")
        }
        IpAddr::V6(address) if address.is_unicast_link_local() => {
            Err("a link-local address belongs to an interface, not to the host")
        }
        IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => Err("write it as an IPv4 address"),
        address => Ok(address),
    }
}

fn ports(text: &str) -> Result<PortRange, &'static str> {
    match text.split_once('-') {
        None => Ok(PortRange::single(port(text)?)),
        Some((first, last)) => {
            PortRange::new(port(first)?, port(last)?).ok_or("a range of ports must not run backwards")
        }
    }
}

fn port(text: &str) -> Result<NonZeroU16, &'static str> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("a port must be a number");
    }
    text.parse().map_err(|_| "a port must be 1 to 65535")
}
