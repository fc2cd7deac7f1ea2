//! Addresses as numbers.

use std::net::IpAddr;

use model::Family;

/// The address as a number; those of the two families overlap.
pub(crate) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

/// The address of `family` that has this number; none behind the last.
pub(crate) fn address(family: Family, number: u128) -> Option<IpAddr> {
    match family {
        Family::Ipv4 => u32::try_from(number).ok().map(|number| IpAddr::V4(number.into())),
        Family::Ipv6 => Some(IpAddr::V6(number.into())),
    }
}
