//! What is asked for: ports of a transport protocol, or types of ICMP.

use std::{fmt, num::NonZeroU16};

use model::{Family, ParsePortNameError, PortName, PortRange, Protocol};

use crate::label::shown;

/// What a rule is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// Ports of a transport protocol.
    Ports(Protocol, Ports),
    /// Messages of ICMP (RFC 792) or ICMPv6 (RFC 4443).
    Icmp(Family, IcmpMessages),
}

/// Which ports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ports {
    /// Each one.
    All,
    /// One or several by number.
    Range(PortRange),
    /// The one that the target calls so.
    Named(PortName),
}

/// Which messages of ICMP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum IcmpMessages {
    /// Each one.
    All,
    /// Those of one type.
    Type(u8),
    /// Those of one type and code.
    Code(u8, u8),
}

/// What one connection asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    /// A port.
    Port(Protocol, NonZeroU16),
    /// A message of ICMP: its type and its code.
    Icmp(Family, u8, u8),
    /// Another protocol, by its number in the IP header: no service is about it.
    Other(u8),
}

/// Why a text says nothing that could be asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseServiceError {
    /// Not the name of a port.
    #[error(transparent)]
    PortName(#[from] ParsePortNameError),
    /// Not ports.
    #[error("`{}` is not a port: write NUMBER (1 to 65535), FIRST-LAST or a name, and `/tcp`, `/udp` or `/sctp`", shown(.0))]
    Ports(String),
    /// Not messages of ICMP.
    #[error("`{}` is not a type of ICMP: write `any`, TYPE, TYPE/CODE, or one of: {known}", shown(.text))]
    Icmp {
        /// As it was written.
        text: String,
        /// The names there are.
        known: String,
    },
}

/// Names of types, with their numbers for IPv4 and IPv6 (IANA, ICMP Parameters and ICMPv6 Parameters).
const TYPES: [(&str, Option<u8>, Option<u8>); 6] = [
    ("echo-reply", Some(0), Some(129)),
    ("destination-unreachable", Some(3), Some(1)),
    ("packet-too-big", None, Some(2)),
    ("echo-request", Some(8), Some(128)),
    ("time-exceeded", Some(11), Some(3)),
    ("parameter-problem", Some(12), Some(4)),
];

impl Service {
    /// Whether it is about what is asked for. A port that has a name is looked up among those of the target, which
    /// `named` knows.
    pub fn includes(&self, asked: Asked, named: impl Fn(&PortName, Protocol, NonZeroU16) -> bool) -> bool {
        match (self, asked) {
            (Self::Ports(protocol, ports), Asked::Port(asked, port)) => {
                *protocol == asked
                    && match ports {
                        Ports::All => true,
                        Ports::Range(range) => range.contains(port.get()),
                        Ports::Named(name) => named(name, asked, port),
                    }
            }
            (Self::Icmp(family, messages), Asked::Icmp(asked, kind, code)) => {
                *family == asked
                    && match *messages {
                        IcmpMessages::All => true,
                        IcmpMessages::Type(only) => only == kind,
                        IcmpMessages::Code(only, only_code) => only == kind && only_code == code,
                    }
            }
            _ => false,
        }
    }

    /// Whether it is about all that `other` is about, as far as can be told at a look.
    pub(crate) fn is_at_least(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ports(protocol, ports), Self::Ports(there, those)) => {
                protocol == there
                    && match (ports, those) {
                        (Ports::All, _) => true,
                        (Ports::Range(range), Ports::Range(inner)) => {
                            range.first() <= inner.first() && inner.last() <= range.last()
                        }
                        _ => ports == those,
                    }
            }
            (Self::Icmp(family, messages), Self::Icmp(there, those)) => {
                family == there
                    && match (messages, those) {
                        (IcmpMessages::All, _) => true,
                        (IcmpMessages::Type(kind), IcmpMessages::Code(inner, _)) => kind == inner,
                        _ => messages == those,
                    }
            }
            _ => false,
        }
    }

    /// Ports as a person writes them: `80`, `8000-8010/udp`, `http/tcp`, `any/sctp`; of TCP where nothing is said.
    pub fn ports(text: &str) -> Result<Self, ParseServiceError> {
        let error = || ParseServiceError::Ports(text.to_owned());
        let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let protocol = Protocol::from_name(protocol).ok_or_else(error)?;
        let ports = match ports {
            "any" => Ports::All,
            _ if ports.starts_with(|first: char| first.is_ascii_digit()) && !ports.contains(char::is_alphabetic) => {
                let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
                let number = |text: &str| text.parse().ok().filter(|_| !text.starts_with('+')).ok_or_else(error);
                Ports::Range(PortRange::new(number(first)?, number(last)?).ok_or_else(error)?)
            }
            _ => Ports::Named(ports.parse()?),
        };
        Ok(Self::Ports(protocol, ports))
    }

    /// Messages of ICMP as a person writes them: `any`, `echo-request`, `3`, `3/4`. A name stands for the message of
    /// IPv4 and that of IPv6, a number for that of `family`.
    pub fn icmp(family: Family, text: &str) -> Result<Self, ParseServiceError> {
        let number = |text: &str| text.parse::<u8>().ok().filter(|_| !text.starts_with('+'));
        let named = TYPES.iter().find(|(name, ..)| *name == text).and_then(|(_, v4, v6)| match family {
            Family::Ipv4 => *v4,
            Family::Ipv6 => *v6,
        });
        let messages = match text.split_once('/') {
            _ if text == "any" => Some(IcmpMessages::All),
            Some((kind, code)) => number(kind).zip(number(code)).map(|(kind, code)| IcmpMessages::Code(kind, code)),
            None => number(text).or(named).map(IcmpMessages::Type),
        };
        messages.map(|messages| Self::Icmp(family, messages)).ok_or_else(|| {
            let of_family = TYPES.iter().filter(|(_, v4, v6)| match family {
                Family::Ipv4 => v4.is_some(),
                Family::Ipv6 => v6.is_some(),
            });
            let known = of_family.map(|(name, ..)| *name).collect::<Vec<_>>().join(", ");
            ParseServiceError::Icmp { text: text.to_owned(), known }
        })
    }
}

impl Asked {
    /// What `ping` asks for.
    pub fn echo(family: Family) -> Self {
        match family {
            Family::Ipv4 => Self::Icmp(family, 8, 0),
            Family::Ipv6 => Self::Icmp(family, 128, 0),
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(protocol, port) => write!(f, "{port}/{protocol}"),
            asked if [Family::Ipv4, Family::Ipv6].map(Self::echo).contains(asked) => f.write_str("ping"),
            Self::Icmp(Family::Ipv4, kind, code) => write!(f, "icmp {kind}/{code}"),
            Self::Icmp(Family::Ipv6, kind, code) => write!(f, "icmpv6 {kind}/{code}"),
            Self::Other(protocol) => write!(f, "protocol {protocol}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(port: u16) -> Asked {
        Asked::Port(Protocol::Tcp, NonZeroU16::new(port).expect("literal"))
    }

    #[test]
    fn services_are_read_as_people_write_them() {
        for (text, asked, expected) in [
            ("80", tcp(80), true),
            ("80", tcp(81), false),
            ("80/udp", tcp(80), false),
            ("8000-8010/tcp", tcp(8010), true),
            ("8000-8010/tcp", tcp(8011), false),
            ("any", tcp(1), true),
            ("any/sctp", tcp(1), false),
            ("http", tcp(8080), true),
            ("http", tcp(80), false),
            ("http", Asked::echo(Family::Ipv4), false),
        ] {
            let service = Service::ports(text).expect(text);
            let named = |name: &PortName, _, port: NonZeroU16| name.to_string() == "http" && port.get() == 8080;
            assert_eq!(service.includes(asked, named), expected, "{text} {asked}");
        }
        for (text, asked, expected) in [
            ("any", Asked::echo(Family::Ipv4), true),
            ("any", Asked::echo(Family::Ipv6), false),
            ("echo-request", Asked::echo(Family::Ipv4), true),
            ("8", Asked::echo(Family::Ipv4), true),
            ("8/0", Asked::echo(Family::Ipv4), true),
            ("8/1", Asked::echo(Family::Ipv4), false),
            ("any", tcp(8), false),
        ] {
            let service = Service::icmp(Family::Ipv4, text).expect(text);
            assert_eq!(service.includes(asked, |_, _, _| false), expected, "{text} {asked}");
        }
        assert_eq!(
            Service::icmp(Family::Ipv6, "echo-request"),
            Ok(Service::Icmp(Family::Ipv6, IcmpMessages::Type(128)))
        );
    }

    #[test]
    fn what_says_nothing_is_refused() {
        for text in
            ["", "0", "65536", "+80", "80-", "90-80", "80/icmp", "80/TCP", "HTTP", "a--b", "-a", "a;b", "http\n"]
        {
            assert!(Service::ports(text).is_err(), "{text:?}");
        }
        for text in ["", "256", "3/", "+3", "packet-too-big", "ping\0"] {
            assert!(Service::icmp(Family::Ipv4, text).is_err(), "{text:?}");
        }
    }
}
