//! What a container's own resolver is told: `resolv.conf` and `hosts`.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::Hostname;

/// What a container asked for; what it left out is as its network and its host have it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResolverSettings {
    /// Whom names that are not containers' are asked of.
    #[serde(default)]
    pub servers: Vec<NameServer>,
    /// Search domains in place of the host's; the root alone means none.
    #[serde(default)]
    pub search: Vec<SearchDomain>,
    /// Options besides `ndots:0`; another `ndots` takes its place.
    #[serde(default)]
    pub options: Vec<ResolverOption>,
    /// Lines of `/etc/hosts` besides the container's own.
    #[serde(default)]
    pub hosts: Vec<ExtraHost>,
}

/// Why a text is none of the things that a resolver is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not {noun}: expected {expected}", .text.escape_debug())]
pub struct ParseResolverError {
    noun: &'static str,
    /// Cut to 80 characters.
    text: String,
    expected: &'static str,
}

impl ParseResolverError {
    fn new(noun: &'static str, text: &str, expected: &'static str) -> Self {
        Self { noun, text: text.chars().take(80).collect(), expected }
    }
}

/// Declares that a type travels as the text that it is read from.
macro_rules! as_text {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = ParseResolverError;

            fn try_from(text: String) -> Result<Self, ParseResolverError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.to_string()
            }
        }
    };
}

/// A DNS server: `ADDRESS`, which means port 53, or `ADDRESS:PORT` (`[ADDRESS]:PORT` for IPv6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NameServer(SocketAddr);

impl NameServer {
    /// Its address and port.
    pub fn address(self) -> SocketAddr {
        self.0
    }
}

impl FromStr for NameServer {
    type Err = ParseResolverError;

    fn from_str(text: &str) -> Result<Self, ParseResolverError> {
        let plain = text.parse::<IpAddr>().map(|address| SocketAddr::new(address, 53));
        let address: Option<SocketAddr> = plain.ok().or_else(|| text.parse().ok());
        address.filter(|address| address.port() != 0 && !address.ip().is_unspecified()).map(Self).ok_or_else(|| {
            ParseResolverError::new(
                "a DNS server",
                text,
                "ADDRESS or ADDRESS:PORT, such as 192.0.2.53 or [2001:db8::1]:53",
            )
        })
    }
}

impl fmt::Display for NameServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.port() == 53 { self.0.ip().fmt(f) } else { self.0.fmt(f) }
    }
}

as_text!(NameServer);

/// A domain that short names are looked up in, without a final dot; `.` is the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SearchDomain(String);

impl SearchDomain {
    /// Whether it is the root, in which every name is looked up anyway.
    pub fn is_root(&self) -> bool {
        self.0 == "."
    }
}

impl FromStr for SearchDomain {
    type Err = ParseResolverError;

    fn from_str(text: &str) -> Result<Self, ParseResolverError> {
        let name = text.strip_suffix('.').unwrap_or(text);
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        if text == "." {
            return Ok(Self(text.to_owned()));
        }
        if name.len() <= 253 && name.split('.').all(label) {
            return Ok(Self(name.to_owned()));
        }
        Err(ParseResolverError::new(
            "a search domain",
            text,
            "labels joined by dots, such as example.com, or `.` for none",
        ))
    }
}

impl fmt::Display for SearchDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

as_text!(SearchDomain);

/// An option of resolv.conf(5), such as `ndots:2` or `rotate`: a lower-case word, or a word and a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResolverOption(String);

impl ResolverOption {
    /// What stands before the number.
    pub fn word(&self) -> &str {
        self.0.split(':').next().unwrap_or(&self.0)
    }
}

impl FromStr for ResolverOption {
    type Err = ParseResolverError;

    fn from_str(text: &str) -> Result<Self, ParseResolverError> {
        let (word, number) = text.split_once(':').unwrap_or((text, "0"));
        let is_word = !word.is_empty()
            && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte));
        if text.len() <= 40 && is_word && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Self(text.to_owned()));
        }
        Err(ParseResolverError::new("a resolver option", text, "a word or WORD:NUMBER, such as ndots:2 or rotate"))
    }
}

impl fmt::Display for ResolverOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

as_text!(ResolverOption);

/// A line of `/etc/hosts`: `NAME:ADDRESS`, or `NAME:host-gateway` for the host as the container reaches it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ExtraHost {
    /// The name.
    pub name: Hostname,
    /// What it leads to.
    pub address: HostAddress,
}

/// What a line of `/etc/hosts` leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostAddress {
    /// This address.
    Given(IpAddr),
    /// The gateway of the container's first network, which is the host.
    Gateway,
}

impl FromStr for ExtraHost {
    type Err = ParseResolverError;

    fn from_str(text: &str) -> Result<Self, ParseResolverError> {
        let fail = || {
            ParseResolverError::new(
                "a host",
                text,
                "NAME:ADDRESS or NAME:host-gateway, such as db.example.com:192.0.2.7",
            )
        };
        // The first of either: an IPv6 address has colons itself.
        let (name, address) = text.split_once([':', '=']).ok_or_else(fail)?;
        let name = name.parse().map_err(|_| fail())?;
        let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
        let address = match bare {
            "host-gateway" => HostAddress::Gateway,
            bare => HostAddress::Given(bare.parse().map_err(|_| fail())?),
        };
        Ok(Self { name, address })
    }
}

impl fmt::Display for ExtraHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            HostAddress::Given(address) => write!(f, "{}:{address}", self.name),
            HostAddress::Gateway => write!(f, "{}:host-gateway", self.name),
        }
    }
}

as_text!(ExtraHost);

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: FromStr + fmt::Display>(text: &str) -> Option<String> {
        text.parse::<T>().ok().map(|value| value.to_string())
    }

    #[test]
    fn settings_read_as_people_write_them() {
        for (text, shown) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.1:53", Some("192.0.2.1")),
            ("192.0.2.1:5353", Some("192.0.2.1:5353")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("[2001:db8::1]:5353", Some("[2001:db8::1]:5353")),
            ("", None),
            ("dns.example", None),
            ("192.0.2.1:0", None),
            ("0.0.0.0", None),
            ("192.0.2.1\nsearch evil", None),
        ] {
            assert_eq!(read::<NameServer>(text).as_deref(), shown, "{text:?}");
        }
        for (text, shown) in [
            ("example.com.", Some("example.com")),
            ("_tcp.Example", Some("_tcp.Example")),
            (".", Some(".")),
            ("", None),
            ("..", None),
            ("a b", None),
            ("a\nnameserver 1.2.3.4", None),
        ] {
            assert_eq!(read::<SearchDomain>(text).as_deref(), shown, "{text:?}");
        }
        for (text, shown) in [
            ("ndots:2", Some("ndots:2")),
            ("rotate", Some("rotate")),
            ("ndots:", None),
            ("ndots:x", None),
            ("", None),
            ("a b", None),
            ("a\nb", None),
        ] {
            assert_eq!(read::<ResolverOption>(text).as_deref(), shown, "{text:?}");
        }
        for (text, shown) in [
            ("db:192.0.2.7", Some("db:192.0.2.7")),
            ("db.example=192.0.2.7", Some("db.example:192.0.2.7")),
            ("db:2001:db8::7", Some("db:2001:db8::7")),
            ("db:[2001:db8::7]", Some("db:2001:db8::7")),
            ("host:host-gateway", Some("host:host-gateway")),
            ("db", None),
            ("db:", None),
            (":192.0.2.7", None),
            ("a b:192.0.2.7", None),
            ("db:192.0.2.7 evil", None),
            ("db:192.0.2.7\n1.2.3.4 evil", None),
        ] {
            assert_eq!(read::<ExtraHost>(text).as_deref(), shown, "{text:?}");
        }
    }
}
