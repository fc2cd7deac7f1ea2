//! What names and addresses a network interface.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

/// A network interface's name as the kernel takes it: 1 to 15 octets, no `/`, `:` or white space, not `.` or `..`
/// (`dev_valid_name` in `net/core/dev.c`); here printable ASCII only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IfName(String);

/// Why a text is not an interface name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not an interface name: 1 to 15 printable characters without `/`, `:`, `%` and spaces", .0.escape_debug())]
pub struct ParseIfNameError(String);

impl IfName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IfName {
    type Err = ParseIfNameError;

    fn from_str(text: &str) -> Result<Self, ParseIfNameError> {
        let valid = (1..=15).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b':' && byte != b'%')
            && text != "."
            && text != "..";
        if valid { Ok(Self(text.to_owned())) } else { Err(ParseIfNameError(text.chars().take(80).collect())) }
    }
}

impl TryFrom<String> for IfName {
    type Error = ParseIfNameError;

    fn try_from(text: String) -> Result<Self, ParseIfNameError> {
        text.parse()
    }
}

impl From<IfName> for String {
    fn from(name: IfName) -> String {
        name.0
    }
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name that somebody chooses for a container's interface: one that the kernel does not keep for itself, and without
/// `,`, which ends the option that it is given by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerIfName(IfName);

/// Why a text is no name for a container's interface.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseContainerIfNameError {
    /// No interface can be called so, or what is behind a comma would be taken for another option.
    #[error(
        "`{}` is not a container's interface name: 1 to 15 printable characters without `/`, `:`, `%`, `,` and spaces",
        .0.escape_debug()
    )]
    Name(String),
    /// The kernel has something else of that name.
    #[error("the kernel keeps the name `{0}` for itself")]
    Kept(IfName),
}

impl ContainerIfName {
    /// What the kernel keeps: the loopback interface, the directories of settings that are for all interfaces
    /// (`sysctl_dev_name_is_allowed` in `include/linux/netdevice.h`), and what drivers of tunnels make in each
    /// namespace where they are loaded (`net.core.fb_tunnels_only_for_init_net` in
    /// `Documentation/admin-guide/sysctl/net.rst`).
    const KEPT: [&str; 12] = [
        "lo", "all", "default", "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "sit0", "ip6tnl0", "ip6_vti0",
        "ip6gre0",
    ];

    /// As any interface's name.
    pub fn as_if_name(&self) -> &IfName {
        &self.0
    }
}

impl FromStr for ContainerIfName {
    type Err = ParseContainerIfNameError;

    fn from_str(text: &str) -> Result<Self, ParseContainerIfNameError> {
        let name = text.parse::<IfName>().ok().filter(|_| !text.contains(','));
        let name = name.ok_or_else(|| ParseContainerIfNameError::Name(text.chars().take(80).collect()))?;
        match Self::KEPT.contains(&name.as_str()) {
            true => Err(ParseContainerIfNameError::Kept(name)),
            false => Ok(Self(name)),
        }
    }
}

impl TryFrom<String> for ContainerIfName {
    type Error = ParseContainerIfNameError;

    fn try_from(text: String) -> Result<Self, ParseContainerIfNameError> {
        text.parse()
    }
}

impl From<ContainerIfName> for String {
    fn from(name: ContainerIfName) -> String {
        name.0.into()
    }
}

impl fmt::Display for ContainerIfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A unicast 48-bit MAC address, written as six pairs of lower-case hexadecimal digits joined by colons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddress([u8; 6]);

/// Why a text is not a unicast MAC address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a unicast MAC address such as 02:42:ac:11:00:02", .0.escape_debug())]
pub struct ParseMacError(String);

impl MacAddress {
    /// The locally administered unicast address made of these octets: the two lowest bits of the first octet are
    /// set to say so (IEEE 802-2014 §8.2), all others are kept.
    pub fn local(mut octets: [u8; 6]) -> Self {
        octets[0] = (octets[0] | 0b10) & !0b1;
        Self(octets)
    }

    /// The locally administered address that belongs to an IP address: `0a:fb` and an IPv4 address's four octets, or
    /// `0a:fc` and a hash (32 bits, FNV-1a) of an IPv6 address, whose prefix is part of it: a link-local address follows
    /// from this one, and must be another on each network. Whoever has the address next has the MAC address as well, so
    /// a neighbour's cache is not stale.
    pub fn of(address: IpAddr) -> Self {
        let (kind, word) = match address {
            IpAddr::V4(address) => (0xfb, u32::from(address)),
            IpAddr::V6(address) => {
                let step = |hash: u32, octet: u8| (hash ^ u32::from(octet)).wrapping_mul(0x0100_0193);
                (0xfc, address.octets().into_iter().fold(0x811c_9dc5, step))
            }
        };
        let [a, b, c, d] = word.to_be_bytes();
        Self([0x0a, kind, a, b, c, d])
    }

    /// The locally administered address that belongs to an identifier: its last six octets.
    pub(crate) fn of_identifier(digits: &str) -> Self {
        let number = u64::from_str_radix(digits, 16).expect("an identifier is 16 hexadecimal digits");
        let [.., a, b, c, d, e, g] = number.to_be_bytes();
        Self::local([a, b, c, d, e, g])
    }

    /// The link-local IPv6 address that an interface with this address gives itself (RFC 4291 §2.5.6, appendix A).
    pub fn link_local(self) -> Ipv6Addr {
        let [a, b, c, d, e, g] = self.0;
        let pair = |high, low| u16::from_be_bytes([high, low]);
        Ipv6Addr::new(0xfe80, 0, 0, 0, pair(a ^ 0b10, b), pair(c, 0xff), pair(0xfe, d), pair(e, g))
    }

    /// The six octets in transmission order.
    pub fn octets(self) -> [u8; 6] {
        self.0
    }
}

impl TryFrom<[u8; 6]> for MacAddress {
    type Error = ParseMacError;

    fn try_from(octets: [u8; 6]) -> Result<Self, ParseMacError> {
        if octets[0] & 1 == 0 && octets != [0; 6] {
            Ok(Self(octets))
        } else {
            Err(ParseMacError(Self(octets).to_string()))
        }
    }
}

impl FromStr for MacAddress {
    type Err = ParseMacError;

    fn from_str(text: &str) -> Result<Self, ParseMacError> {
        let fail = || ParseMacError(text.chars().take(80).collect());
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().filter(|part| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit()));
            *octet = part.and_then(|part| u8::from_str_radix(part, 16).ok()).ok_or_else(fail)?;
        }
        if parts.next().is_some() {
            return Err(fail());
        }
        octets.try_into()
    }
}

impl TryFrom<String> for MacAddress {
    type Error = ParseMacError;

    fn try_from(text: String) -> Result<Self, ParseMacError> {
        text.parse()
    }
}

impl From<MacAddress> for String {
    fn from(mac: MacAddress) -> String {
        mac.to_string()
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_names_are_what_the_kernel_takes() {
        for (text, ok) in [
            ("eth0", true),
            ("fb-0123456789ab", true),
            ("fb-0123456789abc", false),
            ("", false),
            (".", false),
            ("..", false),
            ("a/b", false),
            ("a b", false),
            ("a:1", false),
            ("a%d", false),
            ("a\0", false),
            ("é", false),
        ] {
            assert_eq!(text.parse::<IfName>().is_ok(), ok, "{text:?}");
        }
    }

    #[test]
    fn a_container_s_interface_has_no_name_that_the_kernel_keeps() {
        let no_name =
            "is not a container's interface name: 1 to 15 printable characters without `/`, `:`, `%`, `,` and spaces";
        for (text, expected) in [
            ("lan0", Ok(())),
            ("eth7", Ok(())),
            ("UP_link.1@a=b", Ok(())),
            ("abcdefghijklmno", Ok(())),
            ("lo0", Ok(())),
            ("lo", Err("the kernel keeps the name `lo` for itself".to_owned())),
            ("all", Err("the kernel keeps the name `all` for itself".to_owned())),
            ("default", Err("the kernel keeps the name `default` for itself".to_owned())),
            ("sit0", Err("the kernel keeps the name `sit0` for itself".to_owned())),
            ("a,b", Err(format!("`a,b` {no_name}"))),
            ("", Err(format!("`` {no_name}"))),
            ("..", Err(format!("`..` {no_name}"))),
            ("abcdefghijklmnop", Err(format!("`abcdefghijklmnop` {no_name}"))),
            ("a/b", Err(format!("`a/b` {no_name}"))),
            ("eth%d", Err(format!("`eth%d` {no_name}"))),
            ("a b\n", Err(format!("`a b\\n` {no_name}"))),
        ] {
            let parsed = text.parse::<ContainerIfName>();
            assert_eq!(
                parsed.map(|name| assert_eq!(name.to_string(), text)).map_err(|error| error.to_string()),
                expected
            );
        }
    }

    #[test]
    fn mac_addresses_are_unicast() {
        let mac: MacAddress = "02:42:AC:11:00:02".parse().expect("valid");
        assert_eq!(mac.to_string(), "02:42:ac:11:00:02");
        for text in [
            "",
            "02:42:ac:11:00",
            "02:42:ac:11:00:02:03",
            "01:00:5e:00:00:01",
            "ff:ff:ff:ff:ff:ff",
            "00:00:00:00:00:00",
            "+2:42:ac:11:00:02",
        ] {
            assert!(text.parse::<MacAddress>().is_err(), "{text:?}");
        }
        assert_eq!(MacAddress::local([0xff; 6]).octets()[0], 0xfe);
        for (address, mac) in [
            ("10.208.0.2", "0a:fb:0a:d0:00:02"),
            ("fd00::2", "0a:fc:95:02:5e:5e"),
            ("fd00::1:0:0:2", "0a:fc:c9:57:bb:59"),
            ("fd00:0:0:1::2", "0a:fc:b6:4b:1f:51"),
        ] {
            let derived = MacAddress::of(address.parse().expect("literal"));
            assert_eq!(derived.to_string(), mac);
            assert_eq!(MacAddress::local(derived.octets()), derived);
        }
        let mac: MacAddress = "0a:fb:0a:d0:00:02".parse().expect("literal");
        assert_eq!(mac.link_local().to_string(), "fe80::8fb:aff:fed0:2");
    }
}
