//! Where names go that are not ours: the host's `resolv.conf`, and the order in which its servers are asked.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// The port of DNS servers (RFC 1035 §4.2).
pub const DNS_PORT: u16 = 53;

/// What a host's `resolv.conf` says (resolv.conf(5)).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Upstreams {
    /// The servers in the order of the file, on port 53, each once.
    pub servers: Vec<SocketAddr>,
    /// The search domains in order, for the `resolv.conf` of containers.
    pub search: Vec<String>,
    /// The options in order, such as `ndots:2`, for the same.
    pub options: Vec<String>,
}

/// Reads `resolv_conf`, the text of the host's `/etc/resolv.conf`.
///
/// Addresses in `own` are left out: a server that forwards to itself never answers. So are addresses with a scope
/// (`fe80::1%eth0`), which only have a meaning beside the host's table of interfaces, and lines that make no sense.
/// As in the C library the last `search` or `domain` line counts, and `#` or `;` begins a comment.
pub fn upstreams(resolv_conf: &str, own: &BTreeSet<IpAddr>) -> Upstreams {
    let mut found = Upstreams::default();
    for line in resolv_conf.lines() {
        let mut words = line.split(['#', ';']).next().unwrap_or_default().split_ascii_whitespace();
        match words.next() {
            Some("nameserver") => {
                let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else { continue };
                let server = SocketAddr::new(reachable(address), DNS_PORT);
                if !own.contains(&server.ip()) && !found.servers.contains(&server) {
                    found.servers.push(server);
                }
            }
            Some("search") => found.search = words.filter_map(search_domain).collect(),
            Some("domain") => found.search = words.take(1).filter_map(search_domain).collect(),
            Some("options") => found.options.extend(words.map(str::to_owned)),
            _ => {}
        }
    }
    found
}

/// `0.0.0.0` and `::` mean this host (resolv.conf(5) and the C library's `res_init`).
fn reachable(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) if address.is_unspecified() => std::net::Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        address => address,
    }
}

/// A domain without its final dot; nothing for the root and for text that is no name.
fn search_domain(word: &str) -> Option<String> {
    let name = word.strip_suffix('.').unwrap_or(word);
    let graphic = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    (graphic && !name.is_empty() && name.len() <= 253).then(|| name.to_owned())
}

/// How queries for names that are not ours are passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwarderConfig {
    /// The servers to ask, in order of preference. None: such names fail at once.
    pub upstreams: Vec<SocketAddr>,
    /// How long one server may take before the next is asked.
    pub timeout: Duration,
    /// How long all of them together may take. Below the 5 s after which the C libraries ask again.
    pub deadline: Duration,
    /// How many queries of one client may be under way; more fail at once.
    pub in_flight_per_client: usize,
    /// How many queries of all clients may be under way. Each needs a descriptor.
    pub in_flight: usize,
}

impl Default for ForwarderConfig {
    fn default() -> Self {
        Self {
            upstreams: Vec::new(),
            timeout: Duration::from_secs(1),
            deadline: Duration::from_millis(4500),
            in_flight_per_client: 64,
            in_flight: 512,
        }
    }
}

/// The order in which `count` servers are asked: as they stand, but those that were silent lately behind the others,
/// so that a dead first server delays one query and not all; then all of them once more.
pub(crate) fn order(count: usize, silent: impl Fn(usize) -> bool) -> Vec<usize> {
    let (asleep, awake): (Vec<_>, Vec<_>) = (0..count).partition(|server| silent(*server));
    let round: Vec<_> = awake.into_iter().chain(asleep).collect();
    round.repeat(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(addresses: &[&str]) -> Vec<SocketAddr> {
        addresses.iter().map(|text| SocketAddr::new(text.parse().expect("an address"), DNS_PORT)).collect()
    }

    #[test]
    fn resolv_conf_is_read_as_the_c_library_reads_it() {
        let text = "# made by hand\nnameserver 192.0.2.1\nnameserver\t2001:db8::1 # second\n nameserver 192.0.2.1\n\
                    nameserver fe80::1%eth0\nnameserver nonsense\nnameserver\ndomain old.example\n\
                    search example.org. corp.example bad/name .\noptions ndots:2 edns0\nsortlist 10.0.0.0\n;options x\n\
                    nameserver 10.0.0.1\nnameserver 0.0.0.0";
        let own = BTreeSet::from(["10.0.0.1".parse().expect("an address")]);
        assert_eq!(
            upstreams(text, &own),
            Upstreams {
                servers: servers(&["192.0.2.1", "2001:db8::1", "127.0.0.1"]),
                search: vec!["example.org".into(), "corp.example".into()],
                options: vec!["ndots:2".into(), "edns0".into()],
            }
        );
        assert_eq!(upstreams("", &own), Upstreams::default());
    }

    #[test]
    fn silent_servers_are_asked_last() {
        assert_eq!(order(3, |_| false), [0, 1, 2, 0, 1, 2]);
        assert_eq!(order(3, |server| server == 0), [1, 2, 0, 1, 2, 0]);
        assert_eq!(order(2, |_| true), [0, 1, 0, 1]);
        assert_eq!(order(0, |_| true), [] as [usize; 0]);
    }
}
