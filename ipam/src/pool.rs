//! Pools of subnets, and the choice of a free one.

use std::fmt;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use model::{Family, Subnet, SubnetError};

use crate::{
    IpamError,
    number::number,
    overlap::{is_catch_all, overlaps},
};

/// A range that automatic subnets are cut from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    range: IpNet,
    prefix: u8,
}

/// Why a range and a prefix length are not a pool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// Not even one subnet is to be had from it.
    #[error("{0} has no room for a subnet; use a prefix of /{longest} or shorter", longest = longest_prefix(.0))]
    TooSmall(IpNet),
    /// Containers cannot live in some of it, or bits are set behind its prefix.
    #[error(transparent)]
    Range(#[from] SubnetError),
    /// The subnets would be larger than the pool, or too small for a gateway and a container.
    #[error("{range} cannot be cut into subnets of /{prefix}: expected /{shortest} to /{longest}", shortest = .range.prefix_len(), longest = longest_prefix(.range))]
    Prefix {
        /// The pool's range.
        range: IpNet,
        /// The prefix length its subnets were to have.
        prefix: u8,
    },
}

impl Pool {
    /// The pool of all subnets of `range` with prefix length `prefix`.
    ///
    /// # Errors
    /// [`PoolError`] says which of the two is unusable.
    pub fn new(range: IpNet, prefix: u8) -> Result<Self, PoolError> {
        if range.prefix_len() > longest_prefix(&range) {
            return Err(PoolError::TooSmall(range));
        }
        // What is no subnet as a whole would yield one that is none.
        Subnet::new(range, None)?;
        if prefix < range.prefix_len() || prefix > longest_prefix(&range) {
            return Err(PoolError::Prefix { range, prefix });
        }
        Ok(Self { range, prefix })
    }

    /// What its subnets are cut from.
    pub fn range(&self) -> IpNet {
        self.range
    }

    /// The family of its subnets.
    pub fn family(&self) -> Family {
        Family::of(self.range.addr())
    }
}

/// The longest prefix of an automatic subnet: what leaves room for some containers, or the one that IPv6 has for links
/// (RFC 4291 §2.5.4).
fn longest_prefix(range: &IpNet) -> u8 {
    match range {
        IpNet::V4(_) => 29,
        IpNet::V6(_) => 64,
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

/// The first subnet of the pools of a family, in their order, that overlaps nothing in `taken`.
///
/// `taken` are the subnets of networks and the host's routes and addresses. Routes of fewer than 8 prefix bits are
/// catch-alls (a default route, or the halves and quarters of one that VPNs install) and take nothing.
///
/// # Errors
/// [`IpamError::SubnetsExhausted`] when there is none.
pub fn choose_subnet(pools: &[Pool], family: Family, taken: &[IpNet]) -> Result<IpNet, IpamError> {
    let of_family = |range: &IpNet| Family::of(range.addr()) == family;
    let pools: Vec<Pool> = pools.iter().filter(|pool| of_family(&pool.range)).copied().collect();
    let taken = taken.iter().filter(|range| of_family(range) && !is_catch_all(range));
    let mut taken: Vec<IpNet> = taken.map(IpNet::trunc).collect();
    taken.sort_unstable_by_key(|range| (range.network(), range.prefix_len()));
    // What lies within its predecessor adds nothing; CIDR ranges either nest or are disjoint.
    taken.dedup_by(|range, predecessor| predecessor.contains(&*range));

    pools.iter().find_map(|pool| first_free(pool, &taken)).ok_or_else(|| {
        let taken = taken.iter().filter(|range| pools.iter().any(|pool| overlaps(pool.range, **range))).count();
        IpamError::SubnetsExhausted { pools, taken }
    })
}

/// A free /64 for IPv6 among the unique local addresses (RFC 4193): the first of a /48 whose global identifier `draw`
/// draws.
///
/// # Errors
/// [`IpamError::SubnetsExhausted`] when nothing that is drawn is free, because somebody routes all of `fd00::/8`.
pub fn choose_unique_local(taken: &[IpNet], mut draw: impl FnMut() -> [u8; 5]) -> Result<IpNet, IpamError> {
    /// Two draws meet by chance once in 2⁴⁰.
    const DRAWS: usize = 64;
    let taken: Vec<IpNet> = taken.iter().filter(|range| !is_catch_all(range)).copied().collect();
    for _ in 0..DRAWS {
        let [a, b, c, d, e] = draw();
        let network = [0xfd, a, b, c, d, e, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let range = Ipv6Net::new(network.into(), 64).expect("64 is a prefix length of IPv6").into();
        if !taken.iter().any(|taken| overlaps(range, *taken)) {
            return Ok(range);
        }
    }
    let all: IpNet = "fd00::/8".parse().expect("a literal range");
    let taken = taken.iter().filter(|range| overlaps(all, **range)).count();
    Err(IpamError::SubnetsExhausted { pools: vec![Pool { range: all, prefix: 64 }], taken })
}

/// The first free subnet of `pool`; `taken` is sorted, disjoint, and of the pool's family.
fn first_free(pool: &Pool, taken: &[IpNet]) -> Option<IpNet> {
    let bits = Family::of(pool.range.addr()).bits();
    // What is behind a subnet's first address; inclusive, for what follows the last address is no number.
    let rest = (1_u128 << (bits - pool.prefix)) - 1;
    let (mut start, end) = (number(pool.range.network()), number(pool.range.broadcast()));
    let first = taken.partition_point(|range| range.broadcast() < pool.range.network());
    for range in &taken[first..] {
        if start + rest < number(range.network()) {
            break;
        }
        let after = number(range.broadcast()).checked_add(1)?;
        start = start.max(after.checked_next_multiple_of(rest + 1)?);
        if start > end {
            return None;
        }
    }
    Some(match pool.range {
        IpNet::V4(_) => {
            let network = u32::try_from(start).expect("it lies within the pool, which ends within 32 bits");
            Ipv4Net::new(network.into(), pool.prefix).expect("a pool's prefix is at most 29").into()
        }
        IpNet::V6(_) => Ipv6Net::new(start.into(), pool.prefix).expect("a pool's prefix is at most 64").into(),
    })
}

#[cfg(test)]
mod tests;
