//! Which of a container's endpoints has its default route.

use std::cmp::Reverse;

use crate::{Endpoint, Family, Network};

/// The endpoint over which a container's default route of a family leads: of those whose network is a way out, the one
/// with the highest gateway priority; of several, the one named first. None if no network of the container's is one.
///
/// `endpoints` are the container's, in the order in which they were asked for, each with its network.
pub fn default_route<'endpoint, 'network>(
    family: Family,
    endpoints: impl IntoIterator<Item = (&'endpoint Endpoint, &'network Network)>,
) -> Option<&'endpoint Endpoint> {
    endpoints
        .into_iter()
        .filter(|(endpoint, network)| network.way_out(endpoint, family).is_some())
        .map(|(endpoint, _)| endpoint)
        // The first of the smallest: `max_by_key` would return the last of the largest.
        .min_by_key(|endpoint| Reverse(endpoint.gateway_priority))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::{Driver, EndpointId, MacAddress, NetworkId, Subnet};

    fn network(ranges: &[&str]) -> Network {
        let subnet = |range: &&str| Subnet::new(range.parse().expect("literal"), None).expect("literal");
        Network {
            id: NetworkId::from_bytes([1; 8]),
            name: "web".parse().expect("literal"),
            driver: Driver::Bridge,
            parent: None,
            vlan: None,
            subnets: ranges.iter().map(subnet).collect(),
            reserved: Vec::new(),
            reach: crate::Reach::Nat,
            icc: Default::default(),
            default_route: Default::default(),
            routes: Vec::new(),
            gateway_mac: MacAddress::local([0; 6]),
            mtu: 1500,
            mtu_source: crate::MtuSource::Fixed,
            name_servers: Vec::new(),
            labels: Default::default(),
            created_at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    fn endpoint(number: u8, gateway_priority: i32, ipv4: bool, ipv6: bool) -> Endpoint {
        Endpoint {
            id: EndpointId::from_bytes([number; 8]),
            network: NetworkId::from_bytes([1; 8]),
            ipv4: ipv4.then_some(Ipv4Addr::new(10, 1, 0, 2)),
            ipv6: ipv6.then_some(Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 2)),
            mac: Some(MacAddress::local([number; 6])),
            aliases: Vec::new(),
            interface: "eth0".parse().expect("literal"),
            gateway_priority,
        }
    }

    #[test]
    fn the_highest_priority_has_it_and_of_equal_ones_the_first() {
        let web = network(&["10.1.0.0/24", "fd00:1::/64"]);
        let (both, four, six) = ((true, true), (true, false), (false, true));
        for (endpoints, ipv4, ipv6) in [
            (&[][..], None, None),
            (&[(0, both)], Some(0), Some(0)),
            (&[(0, both), (0, both)], Some(0), Some(0)),
            (&[(0, both), (1, both), (1, both)], Some(1), Some(1)),
            (&[(0, both), (-1, both)], Some(0), Some(0)),
            (&[(-2, both), (-1, both)], Some(1), Some(1)),
            (&[(i32::MIN, both)], Some(0), Some(0)),
            (&[(0, four), (0, both)], Some(0), Some(1)),
            (&[(9, four), (0, six)], Some(0), Some(1)),
            (&[(0, four)], Some(0), None),
        ] {
            let endpoints: Vec<_> = (0..)
                .zip(endpoints)
                .map(|(number, (priority, (ipv4, ipv6)))| endpoint(number, *priority, *ipv4, *ipv6))
                .collect();
            for (family, expected) in [(Family::Ipv4, ipv4), (Family::Ipv6, ipv6)] {
                let found = default_route(family, endpoints.iter().map(|endpoint| (endpoint, &web)));
                let expected = expected.map(|number: u8| EndpointId::from_bytes([number; 8]));
                assert_eq!(found.map(|endpoint| endpoint.id.clone()), expected, "{family} of {endpoints:?}");
            }
        }
    }
}
