//! Whom names are asked of that are not ours, and how.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use crate::resolv_conf::ResolvConf;

/// The port of DNS servers (RFC 1035 §4.2).
pub const DNS_PORT: u16 = 53;

/// The upstreams of networks that have none of their own.
#[derive(Debug, Clone)]
pub enum HostUpstreams {
    /// These, in order of preference. None: names that are not ours fail at once.
    Fixed(Arc<[SocketAddr]>),
    /// Those of a `resolv.conf`, as it is at the time of the query.
    Follow(Arc<ResolvConf>),
}

/// How queries for names that are not ours are passed on.
#[derive(Debug, Clone)]
pub struct ForwarderConfig {
    /// The servers to ask where a network says nothing else.
    pub upstreams: HostUpstreams,
    /// How long one server may take before the next is asked.
    pub timeout: Duration,
    /// How long all of them together may take. Below the 5 s after which the C libraries ask again.
    pub deadline: Duration,
    /// How many queries of one client may be under way; more fail at once.
    pub in_flight_per_client: usize,
    /// How many queries of all clients may be under way. Each needs a descriptor.
    pub in_flight: usize,
    /// How many octets of answers are kept.
    pub cache: usize,
}

impl ForwarderConfig {
    /// Asks `upstreams`; everything else as is sensible.
    pub fn new(upstreams: HostUpstreams) -> Self {
        Self {
            upstreams,
            timeout: Duration::from_secs(1),
            deadline: Duration::from_millis(4500),
            in_flight_per_client: 64,
            in_flight: 512,
            cache: 8 << 20,
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

    #[test]
    fn silent_servers_are_asked_last() {
        assert_eq!(order(3, |_| false), [0, 1, 2, 0, 1, 2]);
        assert_eq!(order(3, |server| server == 0), [1, 2, 0, 1, 2, 0]);
        assert_eq!(order(2, |_| true), [0, 1, 0, 1]);
        assert_eq!(order(0, |_| true), [] as [usize; 0]);
    }
}
