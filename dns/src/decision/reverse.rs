//! Names of addresses: `in-addr.arpa` (RFC 1035 §3.5) and `ip6.arpa` (RFC 3596 §2.5).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// The address that lower-case `labels` are the name of; none for the nodes above addresses and for other names.
pub(super) fn address(labels: &[&[u8]]) -> Option<IpAddr> {
    match labels {
        [d, c, b, a, b"in-addr", b"arpa"] => ipv4([a, b, c, d]).map(IpAddr::V4),
        [nibbles @ .., b"ip6", b"arpa"] => ipv6(nibbles).map(IpAddr::V6),
        _ => None,
    }
}

/// How many labels the zone of a subnet has: as many as whole octets or nibbles fit its prefix, and the two above.
pub(super) fn zone_labels(subnet: IpNet) -> usize {
    2 + match subnet {
        IpNet::V4(subnet) => usize::from(subnet.prefix_len() / 8).min(3),
        IpNet::V6(subnet) => usize::from(subnet.prefix_len() / 4).min(31),
    }
}

fn ipv4(labels: [&[u8]; 4]) -> Option<Ipv4Addr> {
    let mut address = [0; 4];
    for (octet, label) in address.iter_mut().zip(labels) {
        // `01` and `+1` parse as numbers too; they are other names.
        if label.first() == Some(&b'0') && label.len() > 1 || !label.iter().all(u8::is_ascii_digit) {
            return None;
        }
        *octet = std::str::from_utf8(label).ok()?.parse().ok()?;
    }
    Some(address.into())
}

fn ipv6(nibbles: &[&[u8]]) -> Option<Ipv6Addr> {
    if nibbles.len() != 32 {
        return None;
    }
    let mut address = 0;
    for label in nibbles.iter().rev() {
        let digit = match label {
            [digit @ b'0'..=b'9'] => digit - b'0',
            [digit @ b'a'..=b'f'] => digit - b'a' + 10,
            _ => return None,
        };
        address = address << 4 | u128::from(digit);
    }
    Some(Ipv6Addr::from(address))
}
