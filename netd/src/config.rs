//! The configuration file: TOML, every key optional, unknown keys refused.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use ipam::{Pool, PoolError};
use ipnet::IpNet;
use model::{NameServer, Switch, nearest};
use serde::{Deserialize, Deserializer, de::Error};
use tracing::level_filters::LevelFilter;

/// The daemon's settings.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Resolvers for names that are not containers'; none means those of [`Config::resolv_conf`].
    pub(crate) upstreams: Option<Vec<NameServer>>,
    /// What the host's own programs find their resolvers and search domains in; changes are followed.
    pub(crate) resolv_conf: PathBuf,
    /// For how many seconds clients may remember the name of a container, or that there is none.
    #[serde(deserialize_with = "ttl")]
    pub(crate) dns_ttl: u32,
    /// How many of the last DNS queries are remembered; 0 remembers none.
    #[serde(deserialize_with = "query_log")]
    pub(crate) dns_query_log: usize,
    /// Where the host itself can ask for the names of containers.
    pub(crate) dns_host_listener: Option<HostListener>,
    /// Where metrics can be read by TCP.
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// The domain under which networks are zones.
    #[serde(deserialize_with = "domain")]
    pub(crate) domain: dns::Domain,
    /// Ranges that automatic subnets are cut from; none of a family means Fabric's own.
    #[serde(deserialize_with = "pools")]
    pub(crate) pools: Option<Vec<Pool>>,
    /// How many connections an address of a container may have open at once; 0 is any number, none an eighth of what
    /// the host's table holds.
    pub(crate) connection_limit: Option<u32>,
    /// What is logged: `info`, `netd=debug,warn`.
    pub(crate) log: LogFilter,
    /// How many network namespaces are kept ready for the next containers.
    #[serde(deserialize_with = "namespace_pool")]
    pub(crate) namespace_pool: usize,
    /// Whether frames between containers of one network may go past its bridge, where nobody looks at them there.
    #[serde(deserialize_with = "switch")]
    pub(crate) shortcut: Switch,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            upstreams: None,
            resolv_conf: "/etc/resolv.conf".into(),
            dns_ttl: dns::DEFAULT_TTL,
            dns_query_log: 0,
            dns_host_listener: None,
            metrics_listen: None,
            domain: dns::Domain::default(),
            pools: None,
            connection_limit: None,
            log: LogFilter::default(),
            namespace_pool: 4,
            shortcut: Switch::On,
        }
    }
}

fn domain<'de, D: Deserializer<'de>>(deserializer: D) -> Result<dns::Domain, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

fn switch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Switch, D::Error> {
    Ok(if bool::deserialize(deserializer)? { Switch::On } else { Switch::Off })
}

fn pools<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Pool>>, D::Error> {
    let pools = Vec::<PoolRange>::deserialize(deserializer)?;
    if pools.is_empty() {
        let reason = "`pools` is empty, so no network could get a subnet; name a range, or leave the key out";
        return Err(D::Error::custom(reason));
    }
    Ok(Some(pools.into_iter().map(|range| range.0).collect()))
}

/// A range that automatic subnets are cut from: of IPv4 /24, of IPv6 /64; a smaller one is a subnet itself.
#[derive(Deserialize)]
#[serde(try_from = "IpNet")]
struct PoolRange(Pool);

impl TryFrom<IpNet> for PoolRange {
    type Error = PoolError;

    fn try_from(range: IpNet) -> Result<Self, PoolError> {
        let prefix = if range.addr().is_ipv4() { 24 } else { 64 };
        Pool::new(range, range.prefix_len().max(prefix)).map(Self)
    }
}

fn namespace_pool<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    at_most(256, "`namespace_pool` is at most 256: more would only take memory", deserializer)
}

fn ttl<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    at_most(3600, "`dns_ttl` is at most 3600 s: names move with containers", deserializer)
}

fn query_log<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    at_most(100_000, "`dns_query_log` is at most 100000: each query takes memory", deserializer)
}

fn at_most<'de, T: Deserialize<'de> + PartialOrd, D: Deserializer<'de>>(
    most: T,
    reason: &str,
    deserializer: D,
) -> Result<T, D::Error> {
    let number = T::deserialize(deserializer)?;
    if number <= most { Ok(number) } else { Err(D::Error::custom(reason)) }
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

/// What is logged: one level for everything, and others for what is named. A word that is neither would be taken for a
/// name, and all else be silenced, so it is refused.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct LogFilter {
    /// Of what has no level of its own.
    pub(crate) rest: LevelFilter,
    /// By where it comes from: a crate, or the path of a module in it.
    pub(crate) targets: BTreeMap<String, LevelFilter>,
}

/// The levels, by the least that they let pass.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The daemon's own crates that log. Libraries do so, too.
const OWN: [&str; 6] = ["netd", "dns", "image", "kernel", "runtime", "store"];

impl Default for LogFilter {
    fn default() -> Self {
        Self { rest: LevelFilter::INFO, targets: BTreeMap::new() }
    }
}

impl TryFrom<String> for LogFilter {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut filter = Self::default();
        let mut directives = text.split(',').map(str::trim).filter(|directive| !directive.is_empty()).peekable();
        if directives.peek().is_none() {
            return Err("`log` names no level; `off` logs nothing, and without the key it is `info`".to_owned());
        }
        for directive in directives {
            let (target, level) = match directive.split_once('=') {
                Some((target, named)) => (self::target(target.trim())?, level(named.trim())?),
                // All that it tells.
                None if OWN.contains(&directive) => (directive.to_owned(), LevelFilter::TRACE),
                None => {
                    filter.rest = level(directive)?;
                    continue;
                }
            };
            filter.targets.insert(target, level);
        }
        Ok(filter)
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.targets.iter().try_for_each(|(target, level)| write!(f, "{target}={level},"))?;
        write!(f, "{}", self.rest)
    }
}

fn level(name: &str) -> Result<LevelFilter, String> {
    let lower = name.to_ascii_lowercase();
    if LEVELS.contains(&&*lower)
        && let Ok(level) = lower.parse()
    {
        return Ok(level);
    }
    let meant = nearest(&lower, LEVELS).map(|level| format!("; did you mean `{level}`?")).unwrap_or_default();
    Err(format!("`{name}` is no level, which is one of {}, and no part of netd{meant}", LEVELS.join(", ")))
}

/// A path of modules, which begins with the name of a crate. One that is almost our own is a slip of the finger.
fn target(path: &str) -> Result<String, String> {
    let begin = path.split("::").next().unwrap_or_default();
    let is_named = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !path.split("::").all(is_named) {
        return Err(format!("`{path}` is not the name of a part of netd, such as `dns` or `netd::doctor`"));
    }
    match nearest(begin, OWN) {
        Some(meant) if meant != begin => Err(format!("`{begin}` is no part of netd; did you mean `{meant}`?")),
        _ => Ok(path.to_owned()),
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
}

impl Config {
    /// The settings in `path`, or the defaults without one.
    pub(crate) fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = path else { return Ok(Self::default()) };
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.into(), source })?;
        Self::parse(path, &text)
    }

    /// The settings that `text`, the content of `path`, makes.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|source| ConfigError::Parse { path: path.into(), source: Box::new(source) })
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
            parse("upstreams = ['10.0.0.1', '10.0.0.2:5353']\ndomain = 'lab.example'\npools = ['10.9.0.0/16']\nconnection_limit = 0")
                .expect("valid");
        let upstreams: Vec<_> =
            config.upstreams.expect("given").iter().map(|upstream| upstream.address().to_string()).collect();
        assert_eq!(upstreams, ["10.0.0.1:53", "10.0.0.2:5353"]);
        assert_eq!(parse("shortcut = false").expect("valid").shortcut, Switch::Off);
        for text in [
            "upstream = []",
            "shortcut = 'no'",
            "domain = 'A b'",
            "domain = ''",
            "pools = ['x']",
            "log = ''",
            "log = ','",
            "log = '=info'",
            "log = 'netd='",
            "log = 'dns[query]=debug'",
            "upstreams = ['x']",
            "namespace_pool = 1000",
            "connection_limit = -1",
            "connection_limit = 4294967296",
            "dns_ttl = 86400",
            "dns_query_log = 1000000",
            "dns_host_listener = '127.0.0.54'",
            "metrics_listen = '127.0.0.1'",
            "dns_host_listener = '0.0.0.0:53'",
            "dns_host_listener = '192.0.2.1:53'",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn whatever_is_wrong_is_shown_where_it_stands() {
        for (line, reason, column) in [
            ("upstream = []", "unknown field `upstream`", 1),
            ("pools = []", "`pools` is empty", 9),
            ("pools = ['x']", "invalid IP address syntax", 10),
            ("pools = ['10.9.0.0/16', '10.0.0.1/24']", "did you mean 10.0.0.0/24?", 9),
            ("pools = ['127.0.0.0/8']", "127.0.0.0/8 cannot be routed to: it overlaps loopback", 9),
            ("pools = ['0.0.0.0/0']", "0.0.0.0/0 cannot be routed to", 9),
            ("pools = ['10.0.0.0/30']", "10.0.0.0/30 has no room for a subnet; use a prefix of /29 or shorter", 9),
            ("pools = ['10.0.0.1/32']", "10.0.0.1/32 has no room for a subnet", 9),
            ("pools = ['fd00::/65']", "fd00::/65 has no room for a subnet; use a prefix of /64 or shorter", 9),
            ("log = 'debgu'", "`debgu` is no level", 7),
            ("log = 'debgu'", "did you mean `debug`?", 7),
            ("log = 'loud=very'", "`very` is no level, which is one of off, error, warn, info, debug, trace", 7),
            ("log = 'netd=wran,info'", "did you mean `warn`?", 7),
            ("log = 'nted=debug,info'", "`nted` is no part of netd; did you mean `netd`?", 7),
            ("log = 'netd::=debug'", "`netd::` is not the name of a part of netd", 7),
            ("namespace_pool = 257", "`namespace_pool` is at most 256", 18),
            ("namespace_pool = -1", "invalid value", 18),
            ("dns_ttl = 3601", "`dns_ttl` is at most 3600 s", 11),
            ("dns_query_log = 100001", "`dns_query_log` is at most 100000", 17),
            ("domain = 'A b'", "A b", 10),
            ("shortcut = 'no'", "invalid type", 12),
        ] {
            let Err(error) = parse(&format!("# settings\n{line}\n")) else { panic!("{line}") };
            let shown = std::error::Error::source(&error).expect("what is wrong with it").to_string();
            assert!(shown.contains(reason), "{line}: {shown}");
            assert!(shown.contains(&format!("line 2, column {column}\n")), "{line}: {shown}");
            assert!(shown.contains(line), "{line}: {shown}");
        }
        for line in ["namespace_pool = 256", "dns_ttl = 3600", "dns_query_log = 100000"] {
            assert!(parse(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn what_a_filter_does_not_name_is_logged_as_ever() {
        for (text, meant) in [
            ("info", "info"),
            ("WARN", "warn"),
            ("netd=debug", "netd=debug,info"),
            ("netd=debug, warn", "netd=debug,warn"),
            ("off,dns", "dns=trace,off"),
            ("error,netd::doctor=trace,hyper_util=debug,", "hyper_util=debug,netd::doctor=trace,error"),
        ] {
            let filter = parse(&format!("log = '{text}'")).unwrap_or_else(|error| panic!("{text}: {error:?}")).log;
            assert_eq!(filter.to_string(), meant, "{text}");
            assert_eq!(LogFilter::try_from(filter.to_string()), Ok(filter), "{text}");
        }
    }

    #[test]
    fn a_range_smaller_than_a_subnet_is_one() {
        let config = parse("pools = ['10.9.0.0/16', '10.8.7.128/25', '10.8.6.8/29', 'fd09::/48']").expect("valid");
        let pools: Vec<_> = config.pools.expect("given").iter().map(ToString::to_string).collect();
        assert_eq!(
            pools,
            ["10.9.0.0/16 (in /24)", "10.8.7.128/25 (in /25)", "10.8.6.8/29 (in /29)", "fd09::/48 (in /64)"]
        );
    }
}
