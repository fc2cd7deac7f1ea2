//! The entries of the program's maps: who may send what by which port, at which port each address is, and what is known
//! of names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use model::{MacAddress, NetworkId, Sender};

use super::names::Fact;

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
pub(super) const GATEWAY: i16 = 8;

/// How long the key of a [`Fact`] is: the network, and a name that is followed by zeros and by its length; or, in place
/// of name and length, the IPv4 address of an asker and zeros.
pub(super) const FACT_KEY_LENGTH: usize = 64;
/// How long the value of a [`Fact`] is.
pub(super) const FACT_LENGTH: usize = 16;
/// The longest name, in octets of its wire form.
pub(super) const LONGEST_NAME: i16 = 55;
/// The value of a name: a record of an answer (RFC 1035, 4.1.3).
pub(super) const RECORD_LENGTH: i16 = 16;

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

/// The key of what is known; none if it is about a name that is too long.
pub(super) fn fact_key(fact: &Fact) -> Option<[u8; FACT_KEY_LENGTH]> {
    let mut key = [0; FACT_KEY_LENGTH];
    let (network, octets) = match fact {
        Fact::Address { network, name, .. } => (network, &name[..]),
        Fact::Asker { network, address, .. } => (network, &address.octets()[..]),
    };
    key[..8].copy_from_slice(&network.octets());
    key[8..FACT_KEY_LENGTH - 1].get_mut(..octets.len())?.copy_from_slice(octets);
    if let Fact::Address { name, .. } = fact {
        key[FACT_KEY_LENGTH - 1] = name.len().try_into().ok()?;
    }
    Some(key)
}

/// Whether this is the key of an asker.
pub(super) fn is_askers(key: &[u8]) -> bool {
    key.last() == Some(&0)
}

/// What is known: of a name the record that answers a question for it, of an asker MAC address, two octets of nothing
/// and IPv4 address of the gateway, and nothing.
pub(super) fn fact(of: &Fact) -> [u8; FACT_LENGTH] {
    let mut value = [0; FACT_LENGTH];
    match of {
        Fact::Address { address, ttl, .. } => {
            // The question's name, type A, class IN.
            value[..6].copy_from_slice(&[0xc0, 12, 0, 1, 0, 1]);
            value[6..10].copy_from_slice(&ttl.to_be_bytes());
            value[10..12].copy_from_slice(&[0, 4]);
            value[12..].copy_from_slice(&address.octets());
        }
        Fact::Asker { gateway, mac, .. } => {
            value[..6].copy_from_slice(&mac.octets());
            value[8..12].copy_from_slice(&gateway.octets());
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_up_to_55_octets_have_a_key_of_their_own() {
        let network = NetworkId::from_bytes([1, 2, 3, 4, 5, 6, 7, 8]);
        let address = Ipv4Addr::new(10, 0, 0, 9);
        let named =
            |name: &[u8]| fact_key(&Fact::Address { network: network.clone(), name: name.into(), address, ttl: 5 });
        let key = named(b"\x03web\0").expect("short");
        assert_eq!(key[..13], *b"\x01\x02\x03\x04\x05\x06\x07\x08\x03web\0");
        assert_eq!((&key[13..63], key[63]), (&[0; 50][..], 5));
        assert_ne!(named(b"\x03web\0\0"), Some(key), "what is behind a name is not the name");
        assert!(named(&[1; 55]).is_some_and(|key| !is_askers(&key)));
        assert_eq!(named(&[1; 56]), None);
        let mac = MacAddress::local([2, 0, 0, 0, 0, 9]);
        let asker = Fact::Asker { network: network.clone(), address, gateway: Ipv4Addr::new(10, 0, 0, 1), mac };
        assert!(fact_key(&asker).is_some_and(|key| is_askers(&key)));
        assert_eq!(fact(&asker), *b"\x02\0\0\0\0\x09\0\0\x0a\0\0\x01\0\0\0\0");
        let name = Fact::Address { network, name: (*b"\x01a\0").into(), address, ttl: 258 };
        assert_eq!(fact(&name), *b"\xc0\x0c\0\x01\0\x01\0\0\x01\x02\0\x04\x0a\0\0\x09");
    }

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
