//! What `table bridge fabric` knows of a port: its container's MAC address and addresses.

use std::{collections::BTreeSet, net::IpAddr};

use model::{Element, Family, IfName, MacAddress};

use super::{TABLE, set::Set};

/// `iifname . ether saddr`, and behind that the octets of an address.
pub(super) fn key(port: &IfName, mac: MacAddress, address: &[u8]) -> Vec<u8> {
    let mut key = port.as_str().as_bytes().to_vec();
    key.resize(16, 0);
    key.extend_from_slice(&mac.octets());
    // Each field is padded to 4 octets (`NFT_REG32_SIZE`); addresses need none.
    key.resize(24, 0);
    key.extend_from_slice(address);
    key
}

/// The port and the MAC address that a key begins with, and what follows.
pub(super) fn fields(key: &[u8]) -> Option<(IfName, MacAddress, &[u8])> {
    let (name, rest) = key.split_at_checked(16)?;
    let (mac, rest) = rest.split_first_chunk::<8>()?;
    let [a, b, c, d, e, f, _, _] = *mac;
    Some((crate::netlink::string(name).parse().ok()?, [a, b, c, d, e, f].try_into().ok()?, rest))
}

/// The commands of nft, in its own language, that add those elements that are in `table bridge fabric`.
pub(crate) fn port_commands(elements: &BTreeSet<Element>) -> String {
    let mut text = String::new();
    let mut add = |set: Set, entry: String| {
        text.push_str(&format!("add element bridge {TABLE} {} {{ {entry} }}\n", set.name()));
    };
    for element in elements {
        match element {
            Element::Sender { port, mac } => add(Set::Senders, format!("{port} . {mac}")),
            Element::Source { port, mac, address } => {
                add(Set::Sources(Family::of(*address)), format!("{port} . {mac} . {}", raw(*address)));
            }
            Element::Holder { port, address: IpAddr::V4(address) } => {
                add(Set::Holders(Family::Ipv4), format!("{port} . {address}"));
            }
            Element::Holder { port, address } => {
                add(Set::Holders(Family::of(*address)), format!("{port} . {}", raw(*address)));
            }
            _ => {}
        }
    }
    text
}

/// An address as those sets take it that are declared over raw octets, which to nft are a number.
fn raw(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("{:#010x}", u32::from(address)),
        IpAddr::V6(address) => format!("{:#034x}", u128::from(address)),
    }
}
