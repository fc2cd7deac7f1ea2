//! The daemon's configuration file: what is accepted is within its bounds, and reads as the same if it is written anew.

#![no_main]

#[expect(dead_code, reason = "the file is read by the daemon alone")]
#[path = "../../netd/src/config.rs"]
mod daemon;

use std::{error::Error, fmt::Display, path::Path};

use daemon::Config;
use libfuzzer_sys::{Corpus, fuzz_target};
use model::Switch;

fuzz_target!(|octets: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(octets) else { return Corpus::Reject };
    let path = Path::new("/etc/fabric/netd.toml");
    match Config::parse(path, text) {
        Ok(config) => {
            assert!(config.dns_ttl <= 3600 && config.namespace_pool <= 256 && config.dns_query_log <= 100_000);
            assert!(config.dns_host_listener.is_none_or(|listener| listener.0.ip().is_loopback()));
            assert!(config.pools.as_ref().is_none_or(|pools| !pools.is_empty()));
            let text = written(&config);
            let again =
                Config::parse(path, &text).unwrap_or_else(|error| panic!("{error}: {:?}\n{text}", error.source()));
            assert_eq!(again, config, "{text}");
        }
        Err(error) => assert!(error.to_string().contains("/etc/fabric/netd.toml"), "{error}"),
    }
    Corpus::Keep
});

/// The configuration as a person would write it who wants everything to be said.
fn written(config: &Config) -> String {
    // Without the pattern a new key could be forgotten here.
    let Config {
        upstreams,
        resolv_conf,
        dns_ttl,
        dns_query_log,
        dns_host_listener,
        metrics_listen,
        domain,
        pools,
        connection_limit,
        log,
        namespace_pool,
        shortcut,
    } = config;
    let mut table = toml::Table::new();
    let mut put = |key: &str, value: toml::Value| drop(table.insert(key.to_owned(), value));
    let text = |value: &dyn Display| toml::Value::String(value.to_string());
    let number = |value: usize| toml::Value::Integer(value.try_into().expect("it was read from TOML"));
    if let Some(upstreams) = upstreams {
        put("upstreams", upstreams.iter().map(|upstream| text(upstream)).collect::<Vec<_>>().into());
    }
    put("resolv_conf", text(&resolv_conf.display()));
    put("dns_ttl", number(*dns_ttl as usize));
    put("dns_query_log", number(*dns_query_log));
    if let Some(listener) = dns_host_listener {
        put("dns_host_listener", text(&listener.0));
    }
    if let Some(address) = metrics_listen {
        put("metrics_listen", text(address));
    }
    put("domain", text(domain));
    if let Some(pools) = pools {
        put("pools", pools.iter().map(|pool| text(&pool.range())).collect::<Vec<_>>().into());
    }
    if let Some(limit) = connection_limit {
        put("connection_limit", number(*limit as usize));
    }
    put("log", text(log));
    put("namespace_pool", number(*namespace_pool));
    put("shortcut", toml::Value::Boolean(*shortcut == Switch::On));
    table.to_string()
}
