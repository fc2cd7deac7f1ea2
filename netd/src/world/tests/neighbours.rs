//! What neighbours may believe of addresses and MAC addresses that change hands.

use model::Announcement;

use super::*;

/// The world, its network, and the number of the next container and transaction.
struct Town {
    world: World,
    network: Network,
    number: u8,
}

impl Town {
    fn new() -> Self {
        let (world, network) = world_with("web");
        Self { world, network, number: 0 }
    }

    /// A container of this name comes, asking for these; its address, its MAC address, and whether it is announced.
    fn comes(
        &mut self,
        name: &str,
        ip: Option<&str>,
        mac: Option<MacAddress>,
    ) -> (ContainerId, IpAddr, MacAddress, Announcement) {
        self.number += 1;
        let mut record = record(&self.world, self.number, name, &self.network, &[]);
        record.container.endpoints.clear();
        let request = EndpointCreate {
            ipv4: ip.map(|ip| ip.parse().expect("literal")),
            mac,
            ..EndpointCreate::new(self.network.name.clone())
        };
        let id = EndpointId::from_bytes([self.number; 8]);
        let endpoint = self.world.plan_endpoint(id, &record.container, &request, &[]).expect("there is room");
        let (address, mac) = (endpoint.addresses().next().expect("one"), endpoint.mac.expect("on a bridge it has one"));
        record.container.endpoints.push(endpoint);
        let container = record.container.clone();
        let id = add(&mut self.world, record);
        let announcement = self.world.attachments(&container)[0].announcement;
        (id, address, mac, announcement)
    }

    fn goes(&mut self, container: &ContainerId) {
        self.number += 1;
        self.world.forget_container(container, Some(Revision::from_number(self.number.into())));
    }
}

fn own(address: IpAddr) -> MacAddress {
    MacAddress::of(address)
}

#[test]
fn who_comes_where_nobody_was_is_not_announced() {
    let mut town = Town::new();
    let (first, address, mac, announcement) = town.comes("a", None, None);
    assert_eq!((mac, announcement), (own(address), Announcement::Needless));
    town.goes(&first);
    let (_, again, mac, announcement) = town.comes("a", None, None);
    assert_eq!((again, mac, announcement), (address, own(address), Announcement::Needless), "it is where it was");
}

/// Be it asked for or not, and even where it is the one that follows from the address.
#[test]
fn a_mac_address_that_neighbours_do_not_know_the_address_by_is_announced() {
    let other = MacAddress::local([2, 0, 0, 0, 0, 9]);
    for asked in [None, Some(own("10.9.1.2".parse().expect("literal"))), Some(MacAddress::local([2, 0, 0, 0, 0, 8]))] {
        let mut town = Town::new();
        let (first, address, mac, announcement) = town.comes("a", None, Some(other));
        assert_eq!((address.to_string(), mac, announcement), ("10.9.1.2".to_owned(), other, Announcement::Due));
        town.goes(&first);
        let (_, address, mac, announcement) = town.comes("b", Some("10.9.1.2"), asked);
        assert_ne!(mac, other);
        assert_eq!((address.to_string(), announcement), ("10.9.1.2".to_owned(), Announcement::Due), "{asked:?}");
        assert!(asked.is_none_or(|asked| mac == asked), "{asked:?}");
    }
}

#[test]
fn a_mac_address_that_is_asked_for_again_brings_its_address_if_that_is_free() {
    let mut town = Town::new();
    let mac = MacAddress::local([2, 0, 0, 0, 0, 9]);
    let (first, address, ..) = town.comes("a", None, Some(mac));
    town.goes(&first);
    let (second, again, ..) = town.comes("b", None, Some(mac));
    assert_eq!(again, address);
    town.goes(&second);
    let (_, _, theirs, _) = town.comes("c", Some(&address.to_string()), None);
    assert_ne!(theirs, mac);
    let (_, elsewhere, _, announcement) = town.comes("d", None, Some(mac));
    assert_ne!(elsewhere, address, "it is taken");
    assert_eq!(announcement, Announcement::Due);
}

#[test]
fn nobody_gets_unasked_the_mac_address_that_neighbours_know_another_address_by() {
    let mut town = Town::new();
    let borrowed = own("10.9.1.3".parse().expect("literal"));
    let (first, ..) = town.comes("a", None, Some(borrowed));
    town.goes(&first);
    let (_, address, mac, announcement) = town.comes("b", None, None);
    assert_eq!((address.to_string(), announcement), ("10.9.1.3".to_owned(), Announcement::Due));
    assert_ne!(mac, borrowed, "neighbours find 10.9.1.2 there");
}
