//! What a snapshot is made from.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU16,
    sync::Arc,
};

use ipnet::IpNet;
use model::{ContainerName, NetworkName, Protocol};

/// One network, which is a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneConfig {
    /// The network.
    pub network: NetworkName,
    /// Where its endpoints have their addresses. Subnets of all networks are apart.
    pub subnets: Vec<IpNet>,
    /// Who is asked for names that are not ours.
    pub forwarding: Forwarding,
}

/// Who is asked for names that are not ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forwarding {
    /// The upstreams of the host.
    Host,
    /// These, in order of preference.
    To(Arc<[SocketAddr]>),
    /// Nobody: the network is internal, and a query is a way to tell somebody outside something.
    Never,
}

/// One container on one network: the addresses that DNS gives and takes queries from, and the names it goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The network, whose zone the names are in.
    pub network: NetworkName,
    /// The container; all attachments with an equal name make one client with one view.
    pub container: ContainerName,
    /// Its short identifier, which is a name as well.
    pub short_id: String,
    /// Its addresses on the network: at least one, sorted.
    pub addresses: Vec<IpAddr>,
    /// Further names; several containers may have the same.
    pub aliases: Vec<ContainerName>,
    /// The ports it is known to serve, for SRV records.
    pub services: Vec<Service>,
    /// Whom its queries for names that are not ours go to, in place of the network's upstreams; none if empty.
    pub upstreams: Arc<[SocketAddr]>,
}

impl Attachment {
    /// Each name once.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let own = [self.container.as_str(), &self.short_id];
        own.into_iter().chain(self.aliases.iter().map(ContainerName::as_str))
    }
}

/// A port that a container serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Service {
    /// The port in the container.
    pub port: NonZeroU16,
    /// The protocol.
    pub protocol: Protocol,
}

impl Service {
    /// Whether `_PORT._PROTOCOL` or `_NAME._PROTOCOL` in lower case means it, with the name that IANA registered for
    /// the port (RFC 6335).
    pub(crate) fn is_meant(&self, port: &[u8], protocol: &[u8]) -> bool {
        let (Some(port), true) = (port.strip_prefix(b"_"), self.speaks(protocol)) else { return false };
        let Ok(port) = std::str::from_utf8(port) else { return false };
        match port.parse::<u16>() {
            // `_080` and `_+80` parse as numbers too; they are other names.
            Ok(number) => {
                number == self.port.get() && port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0')
            }
            Err(_) => REGISTERED.iter().any(|(name, number)| *name == port && *number == self.port.get()),
        }
    }

    /// Whether `_PROTOCOL` in lower case is its protocol.
    pub(crate) fn speaks(&self, protocol: &[u8]) -> bool {
        protocol.strip_prefix(b"_").is_some_and(|protocol| protocol == self.protocol.to_string().as_bytes())
    }
}

/// Names of IANA's "Service Name and Transport Protocol Port Number Registry" that clients look up by SRV, and those
/// of what is most often run in containers.
const REGISTERED: &[(&str, u16)] = &[
    ("amqp", 5672),
    ("amqps", 5671),
    ("domain", 53),
    ("etcd-client", 2379),
    ("etcd-server", 2380),
    ("ftp", 21),
    ("http", 80),
    ("http-alt", 8080),
    ("https", 443),
    ("imap", 143),
    ("imaps", 993),
    ("kerberos", 88),
    ("ldap", 389),
    ("ldaps", 636),
    ("mqtt", 1883),
    ("mysql", 3306),
    ("nfs", 2049),
    ("ntp", 123),
    ("postgresql", 5432),
    ("redis", 6379),
    ("sip", 5060),
    ("smtp", 25),
    ("ssh", 22),
    ("submission", 587),
    ("xmpp-client", 5222),
    ("xmpp-server", 5269),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_meant_by_number_and_by_registered_name() {
        let http = Service { port: NonZeroU16::new(80).expect("literal"), protocol: Protocol::Tcp };
        for (port, protocol, meant) in [
            ("_80", "_tcp", true),
            ("_http", "_tcp", true),
            ("_80", "_udp", false),
            ("_http", "_udp", false),
            ("_https", "_tcp", false),
            ("_8080", "_tcp", false),
            ("_080", "_tcp", false),
            ("_+80", "_tcp", false),
            ("80", "_tcp", false),
            ("_80", "tcp", false),
            ("_", "_tcp", false),
            ("_80", "_", false),
        ] {
            assert_eq!(http.is_meant(port.as_bytes(), protocol.as_bytes()), meant, "{port} {protocol}");
        }
    }
}
