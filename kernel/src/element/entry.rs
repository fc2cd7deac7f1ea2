//! The entries of sets and maps that elements stand for, in the form of the kernel.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU16,
};

use model::{Element, Family, IfName, PortRange, Protocol, Published};

use super::{
    port,
    set::{Set, address, octets},
};

/// Set or map, key and, in a map, value of an entry, as the kernel holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) set: Set,
    pub(super) key: Vec<u8>,
    /// The last key of an interval; in each of its fields the interval reaches from `key` to here.
    pub(super) key_end: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
}

/// `NFPROTO_IPV4` and `NFPROTO_IPV6`.
fn protocol_family(family: Family) -> u8 {
    match family {
        Family::Ipv4 => 2,
        Family::Ipv6 => 10,
    }
}

impl Entry {
    /// The entries of an element: one, or for a published port the address and the port that it leads to, and for a
    /// gateway that it is one and its bridge.
    pub(super) fn of(element: &Element) -> Vec<Self> {
        let member = |set, key| vec![Self { set, key, key_end: None, value: None }];
        match element {
            Element::Bridge(name) => member(Set::Bridges, interface(name)),
            Element::SameBridge(name) => member(Set::SameBridge, interface(name).repeat(2)),
            Element::Icc(name) => member(Set::Icc, interface(name).repeat(2)),
            Element::Masqueraded(name) => member(Set::Masqueraded, interface(name)),
            Element::Internal(name) => member(Set::Internal, interface(name)),
            Element::ForwardingGuard(family) => member(Set::Guarded, vec![protocol_family(*family)]),
            Element::Gateway { bridge, address } => {
                let (family, key) = (Family::of(*address), octets(*address));
                let value = Some(interface(bridge));
                vec![
                    Self { set: Set::Gateways(family), key: key.clone(), key_end: None, value: None },
                    Self { set: Set::BridgeOfGateway(family), key, key_end: None, value },
                ]
            }
            Element::Sender { port, mac } => member(Set::Senders, port::key(port, *mac, &[])),
            Element::Source { port, mac, address } => {
                member(Set::Sources(Family::of(*address)), port::key(port, *mac, &octets(*address)))
            }
            Element::Holder { port, address } => {
                member(Set::Holders(Family::of(*address)), [interface(port), octets(*address)].concat())
            }
            Element::Published(published) => {
                let Published { host_ip, protocol, host_ports, to } = *published;
                let key = |address: Option<IpAddr>, port| {
                    let parts = [address.map(octets).unwrap_or_default(), vec![protocol.number()], port_octets(port)];
                    concatenation(&parts.each_ref().map(Vec::as_slice))
                };
                match Set::of_published(published) {
                    (set, None) => {
                        let [lowest, highest] = every(Family::of(to.ip()));
                        vec![Self {
                            set,
                            key: key(host_ip.or(Some(lowest)), host_ports.first()),
                            key_end: Some(key(host_ip.or(Some(highest)), host_ports.last())),
                            value: Some(octets(to.ip())),
                        }]
                    }
                    (addresses, Some(ports)) => {
                        let key = key(host_ip, host_ports.first());
                        let entry = |set, value| Self { set, key: key.clone(), key_end: None, value: Some(value) };
                        vec![entry(addresses, octets(to.ip())), entry(ports, to.port().to_be_bytes().into())]
                    }
                }
            }
        }
    }
}

fn interface(name: &IfName) -> Vec<u8> {
    let mut bytes = name.as_str().as_bytes().to_vec();
    bytes.resize(16, 0);
    bytes
}

fn port_octets(port: NonZeroU16) -> Vec<u8> {
    port.get().to_be_bytes().into()
}

/// The lowest and the highest address of a family.
fn every(family: Family) -> [IpAddr; 2] {
    match family {
        Family::Ipv4 => [Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::BROADCAST.into()],
        Family::Ipv6 => [Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::from(u128::MAX).into()],
    }
}

/// Fields one after the other, each padded to 4 octets (`NFT_REG32_SIZE`).
fn concatenation(fields: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::new();
    for field in fields {
        key.extend_from_slice(field);
        key.resize(key.len().next_multiple_of(4), 0);
    }
    key
}

/// What is found in the sets and maps, entry by entry.
#[derive(Debug, Default)]
pub(super) struct Contents {
    members: BTreeSet<Element>,
    published: BTreeMap<(Family, Key), To>,
    gateways: BTreeMap<IpAddr, Gateway>,
}

/// What a set and a map hold under one address.
#[derive(Debug, Default)]
struct Gateway {
    is_listed: bool,
    bridge: Option<IfName>,
}

/// A key of the maps of published ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    host_ip: Option<IpAddr>,
    protocol: Protocol,
    port: NonZeroU16,
}

/// What two maps hold under one key.
#[derive(Debug, Default)]
struct To {
    address: Option<IpAddr>,
    port: Option<u16>,
}

impl Contents {
    /// Notes an entry. One that Fabric would not have put there is passed over.
    pub(super) fn note(&mut self, entry: &Entry) {
        let _ = self.try_note(entry);
    }

    fn try_note(&mut self, entry: &Entry) -> Option<()> {
        let name = |bytes: &[u8]| crate::netlink::string(bytes).parse().ok();
        let (set, key, value) = (entry.set, &entry.key[..], entry.value.as_deref());
        match set {
            Set::Bridges => {
                self.members.insert(Element::Bridge(name(key)?));
            }
            Set::Masqueraded => {
                self.members.insert(Element::Masqueraded(name(key)?));
            }
            Set::Internal => {
                self.members.insert(Element::Internal(name(key)?));
            }
            Set::SameBridge | Set::Icc => {
                let (first, second) = key.split_at_checked(16)?;
                if first == second {
                    let element = if matches!(set, Set::SameBridge) { Element::SameBridge } else { Element::Icc };
                    self.members.insert(element(name(first)?));
                }
            }
            Set::Guarded => {
                let family = Family::ALL.into_iter().find(|family| key == [protocol_family(*family)])?;
                self.members.insert(Element::ForwardingGuard(family));
            }
            Set::Gateways(family) => self.gateways.entry(address(family, key)?).or_default().is_listed = true,
            Set::BridgeOfGateway(family) => {
                self.gateways.entry(address(family, key)?).or_default().bridge = Some(name(value?)?);
            }
            Set::Senders => {
                let (port, mac, _) = port::fields(key)?;
                self.members.insert(Element::Sender { port, mac });
            }
            Set::Sources(family) => {
                let (port, mac, rest) = port::fields(key)?;
                self.members.insert(Element::Source { port, mac, address: address(family, rest)? });
            }
            Set::Holders(family) => {
                let (port, rest) = key.split_at_checked(16)?;
                self.members.insert(Element::Holder { port: name(port)?, address: address(family, rest)? });
            }
            Set::AddressOfOne(family) | Set::AddressOfAny(family) => {
                let to = address(family, value?)?;
                self.published.entry((family, Key::read(set, key)?)).or_default().address = Some(to);
            }
            Set::PortOfOne(family) | Set::PortOfAny(family) => {
                let port = u16::from_be_bytes(*value?.first_chunk()?);
                self.published.entry((family, Key::read(set, key)?)).or_default().port = Some(port);
            }
            Set::Range(family) => {
                let (first, last) = (Key::read(set, key)?, Key::read(set, entry.key_end.as_deref()?)?);
                let host_ip = if first.host_ip == last.host_ip {
                    first.host_ip
                } else {
                    let [lowest, highest] = every(family);
                    (first.host_ip == Some(lowest) && last.host_ip == Some(highest)).then_some(None)?
                };
                let published = Published {
                    host_ip,
                    protocol: (first.protocol == last.protocol).then_some(first.protocol)?,
                    // One port alone would have been put elsewhere.
                    host_ports: PortRange::new(first.port, last.port).filter(|ports| ports.count() > 1)?,
                    to: SocketAddr::new(address(family, value?)?, first.port.get()),
                };
                self.members.insert(Element::Published(published));
            }
        }
        Some(())
    }

    /// The elements. Where a published port lacks its address or its port, it leads to `0.0.0.0`, `::` or port 0: that
    /// is no endpoint's, so that it differs from whatever is desired, and is removed. So does a gateway of which one
    /// half is missing: it is one of `lo`, which is no network's bridge.
    pub(super) fn into_elements(self) -> BTreeSet<Element> {
        let gateways = self.gateways.into_iter().map(|(address, Gateway { is_listed, bridge })| {
            let bridge = bridge.filter(|_| is_listed);
            let bridge = bridge.unwrap_or_else(|| "lo".parse().expect("two letters name an interface"));
            Element::Gateway { bridge, address }
        });
        let published = self.published.into_iter().map(|((family, key), to)| {
            let [unspecified, _] = every(family);
            let to = SocketAddr::new(to.address.unwrap_or(unspecified), to.port.unwrap_or(0));
            let Key { host_ip, protocol, port } = key;
            Element::Published(Published { host_ip, protocol, host_ports: PortRange::single(port), to })
        });
        self.members.into_iter().chain(published).chain(gateways).collect()
    }
}

impl Key {
    fn read(set: Set, key: &[u8]) -> Option<Self> {
        let (host_ip, rest) = match set {
            Set::AddressOfAny(_) | Set::PortOfAny(_) => (None, key),
            _ => {
                let family = set.family()?;
                let (octets, rest) = key.split_at_checked(usize::from(family.bits() / 8))?;
                (Some(address(family, octets)?), rest)
            }
        };
        let &[number, _, _, _, high, low, _, _] = rest else { return None };
        let port = NonZeroU16::new(u16::from_be_bytes([high, low]))?;
        Some(Self { host_ip, protocol: Protocol::from_number(number)?, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(text: &str, address: &str) -> Element {
        let publish = text.parse().expect("literal");
        let mut published = Published::of(&publish, address.parse().expect("literal"));
        Element::Published(published.next().expect("it leads there"))
    }

    fn found(entries: &[Entry]) -> Vec<String> {
        let mut contents = Contents::default();
        entries.iter().for_each(|entry| contents.note(entry));
        contents.into_elements().iter().map(Element::to_string).collect()
    }

    #[test]
    fn elements_survive_the_kernels_form() {
        let port: IfName = "fe-0123456789ab".parse().expect("literal");
        let mac = model::MacAddress::local([2, 0, 0, 0, 0, 7]);
        for element in [
            Element::Bridge("fb-0123456789ab".parse().expect("literal")),
            Element::SameBridge("fb-0123456789ab".parse().expect("literal")),
            Element::Icc("fb-0123456789ab".parse().expect("literal")),
            Element::Masqueraded("fb-0123456789ab".parse().expect("literal")),
            Element::Internal("fb-0123456789ab".parse().expect("literal")),
            Element::Gateway { bridge: "fb-0123456789ab".parse().expect("literal"), address: [10, 1, 0, 1].into() },
            Element::Gateway {
                bridge: "fb-0123456789ab".parse().expect("literal"),
                address: "fd00::1".parse().expect("literal"),
            },
            Element::ForwardingGuard(Family::Ipv4),
            Element::ForwardingGuard(Family::Ipv6),
            published("8080:80", "10.1.0.2"),
            published("127.0.0.1:53:5353/udp", "10.1.0.2"),
            published("8080:80/sctp", "fd00::2"),
            published("[2001:db8::1]:8080:80", "fd00::2"),
            published("8000-8009:8000-8009", "10.1.0.2"),
            published("192.0.2.1:8000-8009:8000-8009/udp", "10.1.0.2"),
            published("1-65535:1-65535/udp", "fd00::2"),
            published("[2001:db8::1]:1-2:1-2/udp", "fd00::2"),
            Element::Sender { port: port.clone(), mac },
            Element::Source { port: port.clone(), mac, address: [10, 1, 0, 2].into() },
            Element::Source { port: port.clone(), mac, address: mac.link_local().into() },
            Element::Holder { port: port.clone(), address: [10, 1, 0, 2].into() },
            Element::Holder { port, address: mac.link_local().into() },
        ] {
            assert_eq!(found(&Entry::of(&element)), [element.to_string()]);
        }
    }

    #[test]
    fn concatenations_are_padded_field_by_field() {
        let entries = Entry::of(&published("10.0.0.1:258:80/udp", "10.1.0.2"));
        let key = [10, 0, 0, 1, 17, 0, 0, 0, 1, 2, 0, 0];
        assert!(entries.iter().all(|entry| entry.key == key), "{entries:?}");
        let values: Vec<_> = entries.into_iter().map(|entry| entry.value).collect();
        assert_eq!(values, [Some(vec![10, 1, 0, 2]), Some(vec![0, 80])]);
    }

    #[test]
    fn half_a_published_port_leads_nowhere() {
        for (address, halves) in [
            ("10.1.0.2", ["publish tcp *:8080 -> 10.1.0.2:0", "publish tcp *:8080 -> 0.0.0.0:80"]),
            ("fd00::2", ["publish tcp *:8080 -> [fd00::2]:0", "publish tcp *:8080 -> [::]:80"]),
        ] {
            let entries = Entry::of(&published("8080:80", address));
            assert_eq!([found(&entries[..1]), found(&entries[1..])].concat(), halves);
        }
    }

    #[test]
    fn half_a_gateway_is_no_networks() {
        let bridge = "fb-0123456789ab".parse().expect("literal");
        let entries = Entry::of(&Element::Gateway { bridge, address: [10, 1, 0, 1].into() });
        for half in &entries {
            assert_eq!(found(std::slice::from_ref(half)), ["gateway 10.1.0.1 of lo"]);
        }
    }

    #[test]
    fn an_interval_that_is_not_ours_is_passed_over() {
        let mut entry = Entry::of(&published("8000-8009:8000-8009", "10.1.0.2")).remove(0);
        entry.key_end.as_mut().expect("an interval")[..4].copy_from_slice(&[10, 0, 0, 255]);
        assert_eq!(found(&[entry]), [""; 0]);
    }
}
