//! Whether a subnet that someone asked for is free.

use ipnet::IpNet;
use model::{IfName, Network};

use crate::{IpamError, Occupant};

/// A range that the host itself uses: a route's destination, or an address with its prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRange {
    /// The range; host bits are allowed and ignored.
    pub range: IpNet,
    /// The interface it leads through.
    pub interface: IfName,
}

/// Says whether `range` is free of the subnets of `networks` and of the host's own ranges.
///
/// Catch-all routes (fewer than 8 prefix bits) are ignored, as in [`crate::choose_subnet`].
///
/// # Errors
/// [`IpamError::Overlap`] names the first object it overlaps, networks before the host.
pub fn overlap<'a>(
    range: IpNet,
    networks: impl IntoIterator<Item = &'a Network>,
    host: impl IntoIterator<Item = &'a HostRange>,
) -> Result<(), IpamError> {
    let networks = networks.into_iter().flat_map(|network| {
        let ranges = network.subnets.iter().map(|subnet| subnet.range());
        ranges.map(|range| Occupant::Network { name: network.name.clone(), range })
    });
    let host = host
        .into_iter()
        .filter(|host| !is_catch_all(&host.range))
        .map(|host| Occupant::Host { range: host.range, interface: host.interface.clone() });
    for with in networks.chain(host) {
        let (Occupant::Network { range: taken, .. } | Occupant::Host { range: taken, .. }) = &with;
        if overlaps(range, *taken) {
            return Err(IpamError::Overlap { range, with });
        }
    }
    Ok(())
}

/// Whether a route stands for "everywhere else" rather than for somebody's network.
///
/// The largest block anybody uses privately is a /8 (10.0.0.0/8, fd00::/8). Below that are the default route and the
/// pieces of it that VPNs install beside it so as to win over it without replacing it (0.0.0.0/1 and 128.0.0.0/1,
/// 2000::/3).
pub(crate) fn is_catch_all(range: &IpNet) -> bool {
    range.prefix_len() < 8
}

/// Whether two ranges share an address.
pub(crate) fn overlaps(a: IpNet, b: IpNet) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

#[cfg(test)]
mod tests;
