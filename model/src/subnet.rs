//! A subnet of a network, and the two families of addresses.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// RFC 791.
    Ipv4,
    /// RFC 8200.
    Ipv6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }

    /// How many bits an address has.
    pub fn bits(self) -> u8 {
        match self {
            Self::Ipv4 => 32,
            Self::Ipv6 => 128,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

/// A range of addresses of one family with the gateway's address in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "SubnetFields", into = "SubnetFields")]
pub struct Subnet {
    range: IpNet,
    gateway: IpAddr,
    pool: Option<IpNet>,
}

/// Why a range and a gateway are not a subnet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubnetError {
    /// Bits are set behind the prefix.
    #[error("{range} is not a network address; did you mean {aligned}?", range = .0, aligned = .0.trunc())]
    HostBits(IpNet),
    /// A subnet needs room for a gateway, an endpoint, and the addresses that neither may have.
    #[error("{range} has no room for a gateway and a container; use a prefix of /{longest} or shorter", range = .0, longest = longest_prefix(Subnet::family_of(*.0)))]
    TooSmall(IpNet),
    /// Containers cannot live in these addresses.
    #[error("{0} cannot be routed to: it overlaps loopback, link-local, multicast or reserved addresses")]
    NotUnicast(IpNet),
    /// The gateway is not a host address of the subnet.
    #[error("gateway {gateway} is not a host address of {range}")]
    GatewayOutside {
        /// The subnet.
        range: IpNet,
        /// The address that was to be its gateway.
        gateway: IpAddr,
    },
    /// The range for automatic addresses is not part of the subnet.
    #[error("the range {pool} for automatic addresses does not lie within {range}")]
    PoolOutside {
        /// The subnet.
        range: IpNet,
        /// The range that was to be part of it.
        pool: IpNet,
    },
    /// No endpoint can have any address of the range for automatic addresses.
    #[error("the range {pool} for automatic addresses of {range} has none that a container can have")]
    PoolUseless {
        /// The subnet.
        range: IpNet,
        /// The part of it.
        pool: IpNet,
    },
}

/// What no container can have an address from: this network, loopback, link-local, multicast and beyond (RFC 6890);
/// and for IPv6 also mapped addresses and the retired site-local ones.
const UNUSABLE: [&str; 10] = [
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "224.0.0.0/3",
    "::/96",
    "::ffff:0:0/96",
    "64:ff9b::/96",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
];

/// The longest prefix that leaves room for a gateway and a container.
fn longest_prefix(family: Family) -> u8 {
    match family {
        Family::Ipv4 => 30,
        Family::Ipv6 => 126,
    }
}

/// Whether hosts can have any address of the range.
pub(crate) fn is_unicast(range: IpNet) -> bool {
    let reserved = UNUSABLE.iter().map(|text| text.parse::<IpNet>().expect("literal ranges parse"));
    reserved.into_iter().all(|reserved| !reserved.contains(&range) && !range.contains(&reserved))
}

impl Subnet {
    /// The subnet `range` with `gateway`, or with its first host address as the gateway.
    ///
    /// # Errors
    /// [`SubnetError`] says which of the two is unusable and why.
    pub fn new(range: IpNet, gateway: Option<IpAddr>) -> Result<Self, SubnetError> {
        if range.addr() != range.network() {
            return Err(SubnetError::HostBits(range));
        }
        if range.prefix_len() > longest_prefix(Self::family_of(range)) {
            return Err(SubnetError::TooSmall(range));
        }
        if !is_unicast(range) {
            return Err(SubnetError::NotUnicast(range));
        }
        let gateway = gateway.unwrap_or_else(|| first_host(range));
        let subnet = Self { range, gateway, pool: None };
        if !range.contains(&gateway) || subnet.is_edge(gateway) {
            return Err(SubnetError::GatewayOutside { range, gateway });
        }
        Ok(subnet)
    }

    /// The subnet with automatic addresses from `pool` only, if there is one.
    ///
    /// # Errors
    /// [`SubnetError::HostBits`], [`SubnetError::PoolOutside`], [`SubnetError::PoolUseless`].
    pub fn with_pool(self, pool: Option<IpNet>) -> Result<Self, SubnetError> {
        let Some(pool) = pool else { return Ok(Self { pool: None, ..self }) };
        let range = self.range;
        if pool.addr() != pool.network() {
            return Err(SubnetError::HostBits(pool));
        }
        if !range.contains(&pool) {
            return Err(SubnetError::PoolOutside { range, pool });
        }
        // Of more than a few addresses not all can be the gateway or an edge.
        if pool.hosts().take(4).all(|address| !self.is_endpoint_address(address)) {
            return Err(SubnetError::PoolUseless { range, pool });
        }
        Ok(Self { pool: Some(pool), ..self })
    }

    /// Where automatic addresses come from, if not from the whole range.
    pub fn pool(&self) -> Option<IpNet> {
        self.pool
    }

    /// The range of addresses.
    pub fn range(&self) -> IpNet {
        self.range
    }

    /// The family of its addresses.
    pub fn family(&self) -> Family {
        Self::family_of(self.range)
    }

    fn family_of(range: IpNet) -> Family {
        Family::of(range.addr())
    }

    /// The gateway's address.
    pub fn gateway(&self) -> IpAddr {
        self.gateway
    }

    /// Whether the subnet and a range have addresses in common.
    pub fn overlaps(&self, range: IpNet) -> bool {
        self.range.contains(&range) || range.contains(&self.range)
    }

    /// The gateway's address with the subnet's prefix length, as it is put on an interface.
    pub fn gateway_net(&self) -> IpNet {
        self.with_prefix(self.gateway)
    }

    /// `address`, which is of the subnet's family, with the subnet's prefix length, as it is put on an interface.
    pub fn with_prefix(&self, address: IpAddr) -> IpNet {
        let prefix = self.range.prefix_len().min(Family::of(address).bits());
        IpNet::new(address, prefix).expect("the prefix length fits the family")
    }

    /// Whether `address` is the first of the range, which no interface may have (the network's own; for IPv6 the
    /// anycast address of its routers, RFC 4291 §2.6.1), or the last of an IPv4 range, its broadcast address (RFC 919).
    fn is_edge(&self, address: IpAddr) -> bool {
        address == self.range.network() || address.is_ipv4() && address == self.range.broadcast()
    }

    /// Whether an endpoint may hold `address`: inside, and neither network, broadcast nor gateway.
    pub fn is_endpoint_address(&self, address: IpAddr) -> bool {
        self.range.contains(&address) && !self.is_edge(address) && address != self.gateway
    }

    /// How many addresses endpoints may hold.
    pub fn capacity(&self) -> u128 {
        let host_bits = self.family().bits() - self.range.prefix_len();
        let taken = match self.family() {
            Family::Ipv4 => 3,
            Family::Ipv6 => 2,
        };
        1_u128.checked_shl(host_bits.into()).map_or(u128::MAX, |size| size - taken)
    }
}

fn first_host(range: IpNet) -> IpAddr {
    match range {
        IpNet::V4(range) => Ipv4Addr::from(u32::from(range.network()) + 1).into(),
        IpNet::V6(range) => Ipv6Addr::from(u128::from(range.network()) + 1).into(),
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.range.fmt(f)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SubnetFields {
    range: IpNet,
    gateway: IpAddr,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ip_range: Option<IpNet>,
}

impl TryFrom<SubnetFields> for Subnet {
    type Error = SubnetError;

    fn try_from(fields: SubnetFields) -> Result<Self, SubnetError> {
        Self::new(fields.range, Some(fields.gateway))?.with_pool(fields.ip_range)
    }
}

impl From<Subnet> for SubnetFields {
    fn from(subnet: Subnet) -> Self {
        Self { range: subnet.range, gateway: subnet.gateway, ip_range: subnet.pool }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_are_unicast_aligned_and_big_enough() {
        for (range, gateway, ok) in [
            ("10.1.0.0/24", None, true),
            ("10.1.0.0/29", None, true),
            ("10.1.0.0/30", None, true),
            ("10.1.0.0/31", None, false),
            ("10.1.0.1/24", None, false),
            ("127.0.0.0/24", None, false),
            ("224.1.0.0/24", None, false),
            ("169.254.1.0/24", None, false),
            ("0.0.0.0/0", None, false),
            ("10.1.0.0/24", Some("10.1.0.254"), true),
            ("10.1.0.0/24", Some("10.1.1.1"), false),
            ("10.1.0.0/24", Some("10.1.0.0"), false),
            ("10.1.0.0/24", Some("10.1.0.255"), false),
            ("10.1.0.0/24", Some("fd00::1"), false),
            ("fd00:1::/64", None, true),
            ("fd00:1::/126", None, true),
            ("fd00:1::/127", None, false),
            ("fd00:1::1/64", None, false),
            ("2001:db8::/32", None, true),
            ("fe80::/64", None, false),
            ("ff02::/64", None, false),
            ("::/0", None, false),
            ("::1/128", None, false),
            ("::ffff:10.0.0.0/120", None, false),
            ("fd00:1::/64", Some("fd00:1::ffff"), true),
            ("fd00:1::/64", Some("fd00:1::ffff:ffff:ffff:ffff"), true),
            ("fd00:1::/64", Some("fd00:1::"), false),
            ("fd00:1::/64", Some("fd00:2::1"), false),
            ("fd00:1::/64", Some("10.1.0.1"), false),
        ] {
            let gateway = gateway.map(|text: &str| text.parse().expect("literal"));
            assert_eq!(Subnet::new(range.parse().expect("literal"), gateway).is_ok(), ok, "{range} {gateway:?}");
        }
    }

    #[test]
    fn the_gateway_is_the_first_host_address_and_no_endpoint_has_it() {
        for (range, gateway, capacity) in
            [("10.1.0.0/29", "10.1.0.1/29", 5), ("10.1.0.0/30", "10.1.0.1/30", 1), ("fd00:1::/125", "fd00:1::1/125", 6)]
        {
            let range: IpNet = range.parse().expect("literal");
            let subnet = Subnet::new(range, None).expect("valid");
            assert_eq!(subnet.gateway_net().to_string(), gateway);
            let free = range.hosts().filter(|address| subnet.is_endpoint_address(*address)).count();
            assert_eq!((free as u128, free), (subnet.capacity(), capacity), "{range}");
        }
    }

    #[test]
    fn automatic_addresses_come_from_a_part_of_the_subnet() {
        for (range, pool, ok) in [
            ("10.1.0.0/24", "10.1.0.128/25", true),
            ("10.1.0.0/24", "10.1.0.0/24", true),
            ("10.1.0.0/24", "10.1.0.9/32", true),
            ("10.1.0.0/24", "10.1.0.1/32", false),
            ("10.1.0.0/24", "10.1.0.0/31", false),
            ("10.1.0.0/24", "10.1.0.255/32", false),
            ("10.1.0.0/24", "10.1.0.129/25", false),
            ("10.1.0.0/24", "10.1.1.0/25", false),
            ("10.1.0.0/24", "10.1.0.0/23", false),
            ("10.1.0.0/24", "fd00::/64", false),
            ("fd00:1::/64", "fd00:1::100/120", true),
            ("fd00:1::/64", "fd00:2::/120", false),
        ] {
            let subnet = Subnet::new(range.parse().expect("literal"), None).expect("literal");
            let with_pool = subnet.with_pool(Some(pool.parse().expect("literal")));
            assert_eq!(with_pool.is_ok(), ok, "{range} {pool}");
            let Ok(subnet) = with_pool else { continue };
            let text = serde_json::to_string(&subnet).expect("serialises");
            assert_eq!(serde_json::from_str::<Subnet>(&text).expect("reads its own form"), subnet);
        }
    }

    #[test]
    fn capacities_are_exact() {
        for (range, capacity) in [
            ("10.0.0.0/8", (1 << 24) - 3),
            ("fd00::/64", (1 << 64) - 2),
            ("fd00::/48", (1 << 80) - 2),
            ("2000::/3", (1 << 125) - 2),
        ] {
            assert_eq!(Subnet::new(range.parse().expect("literal"), None).expect("valid").capacity(), capacity);
        }
    }

    #[test]
    fn errors_name_the_longest_prefix_of_their_family() {
        for (range, longest) in [("10.1.0.0/31", "/30"), ("fd00::/127", "/126")] {
            let error = Subnet::new(range.parse().expect("literal"), None).expect_err("too small").to_string();
            assert!(error.contains(longest), "{error}");
        }
    }
}
