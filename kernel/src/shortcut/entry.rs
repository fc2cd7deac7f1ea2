//! The entries of the program's two maps: who may send what by which port, and at which port each address is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use model::{MacAddress, NetworkId, Sender};

/// How long a key of [`port_key`] is.
pub(super) const PORT_KEY_LENGTH: usize = 4;
/// How long a [`sender`] is.
pub(super) const SENDER_LENGTH: usize = 40;
/// How long a key of [`holder_key`] is.
pub(super) const HOLDER_KEY_LENGTH: usize = 24;
/// How long a [`holder`] is.
pub(super) const HOLDER_LENGTH: usize = 12;

// Where the parts of values are. Both begin with a MAC address.
pub(super) const MAC: i16 = 0;
pub(super) const NETWORK: i16 = 8;
pub(super) const LONGEST: i16 = 16;
pub(super) const ADDRESS4: i16 = 20;
pub(super) const ADDRESS6: i16 = 24;
pub(super) const HOLDER_PORT: i16 = 8;

/// An Ethernet header is as long.
const ETHERNET: u32 = 14;

/// The key of a port: its interface's index.
pub(super) fn port_key(interface: u32) -> [u8; PORT_KEY_LENGTH] {
    interface.to_ne_bytes()
}

/// The index of the interface that this is the key of.
pub(super) fn interface(port_key: &[u8]) -> Option<u32> {
    port_key.try_into().ok().map(u32::from_ne_bytes)
}

/// What a port's container may send as: MAC address, two octets of nothing, network, longest frame, IPv4 address, IPv6
/// address. An address of zeros is none.
pub(super) fn sender(of: &Sender) -> Vec<u8> {
    let ipv4 = of.ipv4.unwrap_or(Ipv4Addr::UNSPECIFIED).octets();
    let ipv6 = of.ipv6.unwrap_or(Ipv6Addr::UNSPECIFIED).octets();
    let longest = (of.mtu + ETHERNET).to_ne_bytes();
    [&of.mac.octets()[..], &[0; 2], &of.network.octets(), &longest, &ipv4, &ipv6].concat()
}

/// The opposite; none if it is nothing that [`sender`] makes.
pub(super) fn parse_sender(octets: &[u8]) -> Option<Sender> {
    let (mac, rest) = octets.split_first_chunk::<6>()?;
    let (_, rest) = rest.split_first_chunk::<2>()?;
    let (network, rest) = rest.split_first_chunk::<8>()?;
    let (longest, rest) = rest.split_first_chunk::<4>()?;
    let (ipv4, rest) = rest.split_first_chunk::<4>()?;
    let ipv6: &[u8; 16] = rest.first_chunk()?;
    Some(Sender {
        network: NetworkId::from_bytes(*network),
        mac: MacAddress::try_from(*mac).ok()?,
        ipv4: Some(Ipv4Addr::from(*ipv4)).filter(|address| !address.is_unspecified()),
        ipv6: Some(Ipv6Addr::from(*ipv6)).filter(|address| !address.is_unspecified()),
        mtu: u32::from_ne_bytes(*longest).checked_sub(ETHERNET)?,
    })
}

/// The key of who has an address on a network. An IPv4 address is written in IPv6 (RFC 4291, 2.5.5.2).
pub(super) fn holder_key(network: &NetworkId, address: IpAddr) -> Vec<u8> {
    let address = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    [&network.octets()[..], &address.octets()].concat()
}

/// The opposite.
pub(super) fn parse_holder_key(octets: &[u8]) -> Option<(NetworkId, IpAddr)> {
    let (network, rest) = octets.split_first_chunk::<8>()?;
    let address: &[u8; 16] = rest.first_chunk()?;
    Some((NetworkId::from_bytes(*network), Ipv6Addr::from(*address).to_canonical()))
}

/// Who has an address: MAC address, two octets of nothing, the index of the port's interface.
pub(super) fn holder(mac: MacAddress, interface: u32) -> Vec<u8> {
    [&mac.octets()[..], &[0; 2], &interface.to_ne_bytes()].concat()
}

/// The opposite, without the MAC address.
pub(super) fn holders_port(octets: &[u8]) -> Option<u32> {
    octets.last_chunk().map(|octets| u32::from_ne_bytes(*octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let network = NetworkId::from_bytes([1, 2, 3, 4, 5, 6, 7, 0xff]);
        let both = Sender {
            network: network.clone(),
            mac: MacAddress::local([2, 0, 0, 0, 0, 9]),
            ipv4: Some([10, 1, 2, 3].into()),
            ipv6: Some("fd00::3".parse().expect("literal")),
            mtu: 1500,
        };
        for one in [both.clone(), Sender { ipv4: None, ..both.clone() }, Sender { ipv6: None, mtu: 68, ..both }] {
            assert_eq!(sender(&one).len(), SENDER_LENGTH);
            assert_eq!(parse_sender(&sender(&one)), Some(one.clone()));
            assert_eq!(holder(one.mac, 7).len(), HOLDER_LENGTH);
            assert_eq!(holders_port(&holder(one.mac, 7)), Some(7));
            for address in one.addresses() {
                let key = holder_key(&network, address);
                assert_eq!((key.len(), parse_holder_key(&key)), (HOLDER_KEY_LENGTH, Some((network.clone(), address))));
            }
        }
        assert_eq!(interface(&port_key(7)), Some(7));
        assert_eq!(parse_sender(&[0; SENDER_LENGTH - 1]), None);
    }
}
