//! The host's `resolv.conf`: what it says, and what it says after it has changed.

use std::{
    fs::{self, Metadata},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use model::SearchDomain;

use crate::DNS_PORT;

/// The stub of systemd-resolved (systemd-resolved.service(8)).
const STUB: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53));
/// How often the file is looked at, at most.
const INTERVAL: Duration = Duration::from_secs(1);

/// What a host's `resolv.conf` says (resolv.conf(5)).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostResolver {
    /// The servers in the order of the file, on port 53, each once.
    pub servers: Arc<[SocketAddr]>,
    /// The search domains in order, for the `resolv.conf` of containers.
    pub search: Vec<String>,
    /// The options in order, such as `ndots:2`, for the same.
    pub options: Vec<String>,
}

impl HostResolver {
    /// Reads the text of a `resolv.conf`.
    ///
    /// Addresses with a scope (`fe80::1%eth0`), which only have a meaning beside the host's table of interfaces, are
    /// left out, and so are lines that make no sense. As in the C library the last `search` or `domain` line counts,
    /// and `#` or `;` begins a comment.
    pub fn parse(text: &str) -> Self {
        let mut found = Self::default();
        let mut servers = Vec::new();
        for line in text.lines() {
            let mut words = line.split(['#', ';']).next().unwrap_or_default().split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else { continue };
                    let server = SocketAddr::new(reachable(address), DNS_PORT);
                    if !servers.contains(&server) {
                        servers.push(server);
                    }
                }
                Some("search") => found.search = words.filter_map(search_domain).collect(),
                Some("domain") => found.search = words.take(1).filter_map(search_domain).collect(),
                Some("options") => found.options.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        found.servers = servers.into();
        found
    }
}

/// `0.0.0.0` and `::` mean this host (resolv.conf(5) and the C library's `res_init`).
fn reachable(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    }
}

/// A domain without its final dot; nothing for the root and for text that is no name.
fn search_domain(word: &str) -> Option<String> {
    word.parse::<SearchDomain>().ok().filter(|domain| !domain.is_root()).map(|domain| domain.to_string())
}

/// A `resolv.conf` that is read again when it has changed.
///
/// Where it names nobody but the stub of systemd-resolved, the servers behind the stub count, which systemd-resolved
/// writes to a file of its own: two caches in a row answer no better than one. Nothing is watched, and nothing happens
/// while nobody asks: whoever asks looks at the files' metadata, at most once a second.
#[derive(Debug)]
pub struct ResolvConf {
    path: PathBuf,
    /// What systemd-resolved writes.
    uplinks: PathBuf,
    state: Mutex<Option<State>>,
}

#[derive(Debug)]
struct State {
    looked_at: Instant,
    stamps: [Option<Stamp>; 2],
    found: Arc<HostResolver>,
}

/// What changes when a file does: device, inode, size and time of the last change in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp(u64, u64, u64, i64, i64);

impl ResolvConf {
    /// The file at `path`, as a rule `/etc/resolv.conf`, with what systemd-resolved knows where that runs.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::with_uplinks(path, "/run/systemd/resolve/resolv.conf")
    }

    /// The same with another path in place of systemd-resolved's `/run/systemd/resolve/resolv.conf`.
    pub fn with_uplinks(path: impl Into<PathBuf>, uplinks: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), uplinks: uplinks.into(), state: Mutex::new(None) }
    }

    /// What it says now, or said a second ago. A file that cannot be read says nothing.
    pub fn current(&self) -> Arc<HostResolver> {
        self.at(Instant::now())
    }

    fn at(&self, now: Instant) -> Arc<HostResolver> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = &*state
            && now.saturating_duration_since(state.looked_at) < INTERVAL
        {
            return state.found.clone();
        }
        // Before reading: a change in between is seen the next time.
        let stamps = [stamp(&self.path), stamp(&self.uplinks)];
        if let Some(state) = &mut *state
            && state.stamps == stamps
        {
            state.looked_at = now;
            return state.found.clone();
        }
        let found = Arc::new(self.read());
        if let Some(before) = &*state
            && before.found != found
        {
            tracing::info!(file = %self.path.display(), servers = ?found.servers, "the host's resolver has changed");
        }
        *state = Some(State { looked_at: now, stamps, found: found.clone() });
        found
    }

    fn read(&self) -> HostResolver {
        let read = |path: &Path| fs::read_to_string(path).map(|text| HostResolver::parse(&text)).unwrap_or_default();
        let found = read(&self.path);
        if found.servers.iter().all(|server| server.ip() == STUB) && !found.servers.is_empty() {
            let behind = read(&self.uplinks);
            if !behind.servers.is_empty() {
                return HostResolver { servers: behind.servers, ..found };
            }
        }
        found
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let of = |data: Metadata| Stamp(data.dev(), data.ino(), data.size(), data.mtime(), data.mtime_nsec());
    fs::metadata(path).ok().map(of)
}

#[cfg(test)]
mod tests;
