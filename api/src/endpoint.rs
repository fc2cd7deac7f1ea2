//! Attachments of containers to networks: what is asked for, and how a person writes it.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use model::{ContainerIfName, ContainerName, MacAddress, NetworkName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema;

/// Asks for one attachment of a container to a network: in [`ContainerCreate`](crate::ContainerCreate), and as
/// `POST /v1/containers/{reference}/endpoints`.
///
/// As text: `NAME[:OPTION,…]` with the options `ip=ADDRESS`, `ip6=ADDRESS`, `mac=ADDRESS`, `ifname=NAME`, `alias=NAME`
/// (any number of them) and `gw-priority=NUMBER`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointCreate {
    /// The network.
    #[schema(value_type = schema::Name)]
    pub network: NetworkName,
    /// The IPv4 address to have; a free one if absent.
    #[serde(default)]
    #[schema(value_type = Option<schema::Ipv4>)]
    pub ipv4: Option<Ipv4Addr>,
    /// The IPv6 address to have; a free one if absent.
    #[serde(default)]
    #[schema(value_type = Option<schema::Ipv6>)]
    pub ipv6: Option<Ipv6Addr>,
    /// The MAC address of the container's end; one that follows from its address if absent.
    #[serde(default)]
    #[schema(value_type = Option<schema::Mac>)]
    pub mac: Option<MacAddress>,
    /// The interface's name inside the container; the lowest free one of `eth0`, `eth1` and so on if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::InterfaceName>)]
    pub interface: Option<ContainerIfName>,
    /// Names that DNS answers for on this network besides the container's own; several containers may have the same.
    #[serde(default)]
    #[schema(value_type = Vec<schema::Name>)]
    pub aliases: Vec<ContainerName>,
    /// The container's default route leads over the endpoint with the highest; of several, over the one named first.
    #[serde(default)]
    pub gateway_priority: i32,
}

/// Which attachment `DELETE /v1/containers/{reference}/endpoints` ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DisconnectQuery {
    /// The network it is to.
    #[schema(value_type = schema::Name)]
    pub network: NetworkName,
}

/// Why a text does not say what to attach a container to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseEndpointError {
    /// What stands before the first colon is no network's name.
    #[error(transparent)]
    Network(#[from] model::ParseNameError),
    /// There is no such option.
    #[error("there is no option `{}`; known: {}", .0.escape_debug(), EndpointCreate::OPTIONS.join(", "))]
    Unknown(String),
    /// An option without a value.
    #[error("option `{}` has no value: expected {}=VALUE", .0.escape_debug(), .0.escape_debug())]
    NoValue(String),
    /// An option that can be given once.
    #[error("option `{0}` is given twice")]
    Twice(&'static str),
    /// A value that does not fit its option.
    #[error("option `{option}` cannot be `{}`: {reason}", .value.escape_debug())]
    Value {
        /// The option.
        option: &'static str,
        /// What was given.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl EndpointCreate {
    /// The options there are.
    const OPTIONS: [&str; 6] = ["ip", "ip6", "mac", "ifname", "alias", "gw-priority"];

    /// An attachment to `network` with everything chosen by the daemon.
    pub fn new(network: NetworkName) -> Self {
        Self { network, ipv4: None, ipv6: None, mac: None, interface: None, aliases: Vec::new(), gateway_priority: 0 }
    }

    /// The addresses that were asked for.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        self.ipv4.map(IpAddr::from).into_iter().chain(self.ipv6.map(IpAddr::from))
    }
}

/// The value of `option`, which may be given once.
fn once<T: FromStr<Err: fmt::Display>>(
    option: &'static str,
    text: &str,
    place: &mut Option<T>,
) -> Result<(), ParseEndpointError> {
    let value = parse(option, text)?;
    if place.replace(value).is_some() { Err(ParseEndpointError::Twice(option)) } else { Ok(()) }
}

fn parse<T: FromStr<Err: fmt::Display>>(option: &'static str, text: &str) -> Result<T, ParseEndpointError> {
    read(option, text, text.parse())
}

fn read<T>(option: &'static str, text: &str, read: Result<T, impl fmt::Display>) -> Result<T, ParseEndpointError> {
    read.map_err(|error| ParseEndpointError::Value {
        option,
        value: text.chars().take(80).collect(),
        reason: error.to_string(),
    })
}

impl FromStr for EndpointCreate {
    type Err = ParseEndpointError;

    fn from_str(text: &str) -> Result<Self, ParseEndpointError> {
        let (name, options) = text.split_once(':').map_or((text, None), |(name, options)| (name, Some(options)));
        let mut endpoint = Self::new(name.parse()?);
        let mut priority = None;
        for option in options.into_iter().flat_map(|options| options.split(',')) {
            let shown = || option.chars().take(80).collect::<String>();
            let (key, value) = option.split_once('=').map_or((option, None), |(key, value)| (key, Some(value)));
            let known = Self::OPTIONS.contains(&key);
            let Some(value) = value.filter(|value| known && !value.is_empty()) else {
                return Err(if known {
                    ParseEndpointError::NoValue(key.to_owned())
                } else {
                    ParseEndpointError::Unknown(shown())
                });
            };
            match key {
                "ip" => once("ip", value, &mut endpoint.ipv4)?,
                "ip6" => once("ip6", value, &mut endpoint.ipv6)?,
                "mac" => once("mac", value, &mut endpoint.mac)?,
                "ifname" => once("ifname", value, &mut endpoint.interface)?,
                "alias" => endpoint.aliases.push(parse("alias", value)?),
                _ => {
                    let given = read("gw-priority", value, model::whole_number(value))?;
                    if priority.replace(given).is_some() {
                        return Err(ParseEndpointError::Twice("gw-priority"));
                    }
                }
            }
        }
        endpoint.gateway_priority = priority.unwrap_or_default();
        Ok(endpoint)
    }
}

impl fmt::Display for EndpointCreate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut options = Vec::new();
        options.extend(self.ipv4.map(|address| format!("ip={address}")));
        options.extend(self.ipv6.map(|address| format!("ip6={address}")));
        options.extend(self.mac.map(|mac| format!("mac={mac}")));
        options.extend(self.interface.as_ref().map(|name| format!("ifname={name}")));
        options.extend(self.aliases.iter().map(|alias| format!("alias={alias}")));
        options.extend((self.gateway_priority != 0).then(|| format!("gw-priority={}", self.gateway_priority)));
        let separator = if options.is_empty() { "" } else { ":" };
        write!(f, "{}{separator}{}", self.network, options.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attachments_read_as_people_write_them() {
        for text in [
            "web",
            "web:ip=10.1.0.9",
            "web:ip6=fd00:1::9",
            "web:ifname=lan0",
            "web:ip=10.1.0.9,ip6=fd00::9,mac=02:00:00:00:00:09,ifname=up=1,alias=db,alias=store,gw-priority=-7",
        ] {
            let endpoint: EndpointCreate = text.parse().expect("valid");
            assert_eq!(endpoint.to_string(), text);
        }
    }

    #[test]
    fn what_is_wrong_with_an_attachment_is_told() {
        for (text, expected) in [
            ("a b", "network name `a b` is not valid: "),
            ("", "network name `` is not valid: "),
            ("web:", "there is no option ``; known: ip, ip6, mac, ifname, alias, gw-priority"),
            ("web:ip=10.1.0.9,", "there is no option ``"),
            ("web:db", "there is no option `db`"),
            ("web:ipv4=1.2.3.4", "there is no option `ipv4=1.2.3.4`"),
            ("web:ip", "option `ip` has no value: expected ip=VALUE"),
            ("web:alias=", "option `alias` has no value"),
            ("web:ip=10.1.0", "option `ip` cannot be `10.1.0`: invalid IPv4 address syntax"),
            ("web:ip=fd00::1", "option `ip` cannot be `fd00::1`: invalid IPv4 address syntax"),
            ("web:mac=01:00:5e:00:00:01", "option `mac` cannot be `01:00:5e:00:00:01`: "),
            ("web:ifname=", "option `ifname` has no value"),
            ("web:ifname=a/b", "option `ifname` cannot be `a/b`: `a/b` is not a container's interface name: "),
            ("web:ifname=lo", "option `ifname` cannot be `lo`: the kernel keeps the name `lo` for itself"),
            ("web:ifname=a,ifname=b", "option `ifname` is given twice"),
            ("web:alias=A_b", "option `alias` cannot be `A_b`: "),
            (
                "web:gw-priority=1.5",
                "option `gw-priority` cannot be `1.5`: expected a whole number from -2147483648 to 2147483647",
            ),
            ("web:gw-priority=2147483648", "option `gw-priority` cannot be `2147483648`: expected a whole number"),
            ("web:ip=10.1.0.9,ip=10.1.0.9", "option `ip` is given twice"),
            ("web:gw-priority=1,gw-priority=2", "option `gw-priority` is given twice"),
        ] {
            let error = text.parse::<EndpointCreate>().expect_err(text).to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }
}
