//! Pools of subnets, and the choice of a free one.

use std::fmt;

use ipnet::Ipv4Net;

use crate::{
    IpamError,
    overlap::{is_catch_all, overlaps},
};

/// A range that automatic subnets are cut from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    range: Ipv4Net,
    prefix: u8,
}

/// Why a range and a prefix length are not a pool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// Bits are set behind the range's prefix.
    #[error("{range} is not a network address; did you mean {aligned}?", range = .0, aligned = .0.trunc())]
    HostBits(Ipv4Net),
    /// The subnets would be larger than the pool, or too small for a gateway and a container.
    #[error("{range} cannot be cut into subnets of /{prefix}: expected /{shortest} to /29", shortest = .range.prefix_len())]
    Prefix {
        /// The pool's range.
        range: Ipv4Net,
        /// The prefix length its subnets were to have.
        prefix: u8,
    },
}

impl Pool {
    /// The pool of all subnets of `range` with prefix length `prefix`.
    ///
    /// # Errors
    /// [`PoolError`] says which of the two is unusable.
    pub fn new(range: Ipv4Net, prefix: u8) -> Result<Self, PoolError> {
        if range.addr() != range.network() {
            return Err(PoolError::HostBits(range));
        }
        if prefix < range.prefix_len() || prefix > 29 {
            return Err(PoolError::Prefix { range, prefix });
        }
        Ok(Self { range, prefix })
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (in /{})", self.range, self.prefix)
    }
}

/// The pools of a host that was told none: some of each private block (RFC 1918), cut into /24.
///
/// A subnet has room for 253 endpoints and there are 5,248 of them, against 31 with the customary /16 and /20.
/// All three blocks are used, so that a VPN which routes one of them as a whole leaves the others. Each part lies
/// where home routers, cloud defaults and other container tools do not start counting.
pub fn default_pools() -> [Pool; 3] {
    ["10.208.0.0/12", "172.28.0.0/14", "192.168.128.0/17"].map(|range| {
        let range = range.parse().expect("literal ranges parse");
        Pool::new(range, 24).expect("literal ranges are aligned and shorter than /24")
    })
}

/// The first subnet of the pools, in their order, that overlaps nothing in `taken`.
///
/// `taken` are the subnets of networks and the host's routes and addresses. Routes of fewer than 8 prefix bits are
/// catch-alls (a default route, or the halves and quarters of one that VPNs install) and take nothing.
///
/// # Errors
/// [`IpamError::SubnetsExhausted`] when there is none.
pub fn choose_subnet(pools: &[Pool], taken: &[Ipv4Net]) -> Result<Ipv4Net, IpamError> {
    let mut taken: Vec<Ipv4Net> = taken.iter().filter(|range| !is_catch_all(range)).map(Ipv4Net::trunc).collect();
    taken.sort_unstable_by_key(|range| (range.network(), range.prefix_len()));
    // What lies within its predecessor adds nothing; CIDR ranges either nest or are disjoint.
    taken.dedup_by(|range, predecessor| predecessor.contains(&*range));

    pools.iter().find_map(|pool| first_free(pool, &taken)).ok_or_else(|| IpamError::SubnetsExhausted {
        pools: pools.to_vec(),
        taken: taken.iter().filter(|range| pools.iter().any(|pool| overlaps(pool.range, **range))).count(),
    })
}

/// The first free subnet of `pool`; `taken` is sorted and disjoint.
fn first_free(pool: &Pool, taken: &[Ipv4Net]) -> Option<Ipv4Net> {
    // 64 bits, so that the address after the last one is a number too.
    let size = 1_u64 << (32 - pool.prefix);
    let end = u64::from(u32::from(pool.range.broadcast())) + 1;
    let mut start = u64::from(u32::from(pool.range.network()));
    let first = taken.partition_point(|range| range.broadcast() < pool.range.network());
    for range in &taken[first..] {
        if start + size <= u64::from(u32::from(range.network())) {
            break;
        }
        let after = u64::from(u32::from(range.broadcast())) + 1;
        start = start.max(after.next_multiple_of(size));
    }
    if start + size > end {
        return None;
    }
    let network = u32::try_from(start).expect("the subnet ends within 32 bits");
    Some(Ipv4Net::new(network.into(), pool.prefix).expect("a pool's prefix is at most 29"))
}

#[cfg(test)]
mod tests;
