//! The configuration file: TOML, every key optional, unknown keys refused.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use ipnet::IpNet;
use model::NameServer;
use serde::{Deserialize, Deserializer, de::Error};

/// The daemon's settings.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Resolvers for names that are not containers'; none means those of [`Config::resolv_conf`].
    pub(crate) upstreams: Option<Vec<NameServer>>,
    /// What the host's own programs find their resolvers and search domains in; changes are followed.
    pub(crate) resolv_conf: PathBuf,
    /// For how many seconds clients may remember the name of a container, or that there is none.
    pub(crate) dns_ttl: u32,
    /// How many of the last DNS queries are remembered; 0 remembers none.
    pub(crate) dns_query_log: usize,
    /// Where the host itself can ask for the names of containers.
    pub(crate) dns_host_listener: Option<HostListener>,
    /// The domain under which networks are zones.
    #[serde(deserialize_with = "domain")]
    pub(crate) domain: dns::Domain,
    /// Ranges that automatic subnets are cut from; none of a family means Fabric's own.
    pub(crate) pools: Option<Vec<IpNet>>,
    /// What is logged, in the syntax of `tracing_subscriber::EnvFilter`: `info`, `netd=debug,info`.
    pub(crate) log: String,
    /// How many network namespaces are kept ready for the next containers.
    pub(crate) namespace_pool: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            upstreams: None,
            resolv_conf: "/etc/resolv.conf".into(),
            dns_ttl: dns::DEFAULT_TTL,
            dns_query_log: 0,
            dns_host_listener: None,
            domain: dns::Domain::default(),
            pools: None,
            log: "info".to_owned(),
            namespace_pool: 4,
        }
    }
}

fn domain<'de, D: Deserializer<'de>>(deserializer: D) -> Result<dns::Domain, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

/// A loopback address with a port, such as `127.0.0.54:53`: whoever asks there sees all networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct HostListener(pub(crate) SocketAddr);

impl TryFrom<String> for HostListener {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let address: SocketAddr =
            text.parse().map_err(|_| format!("`{text}` is not IP:PORT, such as 127.0.0.54:53"))?;
        if !address.ip().is_loopback() {
            return Err(format!("`{text}` is not a loopback address: names of containers are told to this host only"));
        }
        Ok(Self(address))
    }
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read configuration file {}", .path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("configuration file {} is not valid", .path.display())]
    Parse {
        path: PathBuf,
        #[source]
        source: Box<toml::de::Error>,
    },
    #[error(
        "configuration file {}: `pools` is empty, so no network could get a subnet; name a range, or leave the key out",
        .path.display()
    )]
    NoPools { path: PathBuf },
    #[error("configuration file {}: namespace_pool is {size}; at most 256 make sense", .path.display())]
    Pool { path: PathBuf, size: usize },
    #[error("configuration file {}: dns_ttl is {seconds} s; names move with containers, so at most 3600", .path.display())]
    Ttl { path: PathBuf, seconds: u32 },
    #[error("configuration file {}: dns_query_log is {entries}; at most 100000 are remembered", .path.display())]
    QueryLog { path: PathBuf, entries: usize },
}

impl Config {
    /// The settings in `path`, or the defaults without one.
    pub(crate) fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = path else { return Ok(Self::default()) };
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.into(), source })?;
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text)
            .map_err(|source| ConfigError::Parse { path: path.into(), source: Box::new(source) })?;
        if config.pools.as_ref().is_some_and(Vec::is_empty) {
            return Err(ConfigError::NoPools { path: path.into() });
        }
        if config.namespace_pool > 256 {
            return Err(ConfigError::Pool { path: path.into(), size: config.namespace_pool });
        }
        if config.dns_ttl > 3600 {
            return Err(ConfigError::Ttl { path: path.into(), seconds: config.dns_ttl });
        }
        if config.dns_query_log > 100_000 {
            return Err(ConfigError::QueryLog { path: path.into(), entries: config.dns_query_log });
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(Path::new("netd.toml"), text)
    }

    #[test]
    fn every_key_is_optional_and_unknown_ones_are_refused() {
        assert_eq!(parse("").expect("empty is valid"), Config::default());
        let config =
            parse("upstreams = ['10.0.0.1', '10.0.0.2:5353']\ndomain = 'lab.example'\npools = ['10.9.0.0/16']")
                .expect("valid");
        let upstreams: Vec<_> =
            config.upstreams.expect("given").iter().map(|upstream| upstream.address().to_string()).collect();
        assert_eq!(upstreams, ["10.0.0.1:53", "10.0.0.2:5353"]);
        for text in [
            "upstream = []",
            "domain = 'A b'",
            "domain = ''",
            "pools = ['x']",
            "upstreams = ['x']",
            "namespace_pool = 1000",
            "dns_ttl = 86400",
            "dns_query_log = 1000000",
            "dns_host_listener = '127.0.0.54'",
            "dns_host_listener = '0.0.0.0:53'",
            "dns_host_listener = '192.0.2.1:53'",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
