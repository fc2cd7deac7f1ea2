//! Which sets somebody is an element of, one endpoint at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use model::{
    ContainerName, Family, NetworkName, PortName, Protocol,
    data_path::{Key, PacketVerdict, SetKind, SetName},
};

use super::{
    index::{Index, Where},
    ranges::Ranges,
};
use crate::{
    dns_name::{DnsName, DnsPattern},
    peer::{Networks, Peer},
    rule::Direction,
    world::{Endpoint, Party, World},
};

/// One set for each family, by their numbers: IPv4 first, as [`Family::ALL`] has them.
pub(super) type SetPair = [usize; 2];

/// The number of a set and a key in it, and the verdict that it leads to.
pub(super) type Element = ((usize, Key), Option<PacketVerdict>);

/// Several of them.
pub(super) type Found = BTreeMap<(usize, Key), Option<PacketVerdict>>;

/// An element of a numbered map: somebody whom these rules of the map are about.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) place: (usize, Key),
    pub(super) map: usize,
    pub(super) rules: BTreeSet<usize>,
}

/// All sets whose elements come and go with endpoints, and who is to be in them.
#[derive(Debug, Default)]
pub(super) struct Roster {
    names: Vec<SetName>,
    numbers: BTreeMap<SetName, usize>,
    roles: Vec<Role>,
    /// The numbers of the roles that endpoints have.
    of_endpoints: Index<usize>,
    /// The numbers of the roles that names outside have.
    of_names: BTreeMap<DnsPattern, Vec<usize>>,
    maps: Vec<PeerMap>,
    /// Whoever is not the world, if that is asked.
    inside: Option<SetPair>,
    /// Who calls a port so.
    targets: BTreeMap<(PortName, Protocol), BTreeSet<SetPair>>,
    /// Whoever is judged in any direction.
    judged: Option<SetPair>,
    /// The addresses of one container, where anybody is judged.
    pairs: Option<SetPair>,
}

/// Who a peer of a rule is, seen from a network, and what that makes of whoever it is.
#[derive(Debug)]
struct Role {
    peer: Peer,
    /// The network of the endpoints whose rule it is, if that makes a difference.
    seen_from: Option<NetworkName>,
    makes: Makes,
}

#[derive(Debug, Clone, Copy)]
enum Makes {
    /// An element of one of these.
    Member(SetPair),
    /// One whom a rule is about, in a map.
    Subject { map: usize, rule: usize },
}

/// A step's map from addresses to what becomes of whoever has them.
#[derive(Debug)]
struct PeerMap {
    direction: Direction,
    then: PacketVerdict,
    sets: SetPair,
    /// Of each family, with the numbers of the rules that name them.
    ranges: [Ranges; 2],
}

impl Roster {
    /// The number of a set, which is one of these from now on.
    pub(super) fn set(&mut self, name: SetName) -> usize {
        if let Some(number) = self.numbers.get(&name) {
            return *number;
        }
        let number = self.names.len();
        self.names.push(name.clone());
        self.numbers.insert(name, number);
        number
    }

    /// The sets, by their numbers.
    pub(super) fn names(&self) -> &[SetName] {
        &self.names
    }

    /// The sets of the addresses of those whom a peer is, which is known one by one.
    pub(super) fn members(&mut self, network: &NetworkName, peer: &Peer) -> [SetName; 2] {
        let seen_from = is_relative(peer).then_some(network);
        let names =
            Family::ALL.map(|family| SetName::hashed(SetKind::Addresses(family), &format!("{seen_from:?} {peer:?}")));
        if !self.numbers.contains_key(&names[0]) {
            let sets = names.clone().map(|name| self.set(name));
            self.add(peer, network, Makes::Member(sets));
        }
        names
    }

    /// A map of the addresses of those whom these numbered rules are about, and the numbers of the two in which they
    /// are.
    pub(super) fn map<'p>(
        &mut self,
        network: &NetworkName,
        peers: impl Iterator<Item = (usize, &'p Peer)>,
        names: [SetName; 2],
        map: (Direction, PacketVerdict, [Ranges; 2]),
    ) {
        let (direction, then, ranges) = map;
        let (sets, number) = (names.map(|name| self.set(name)), self.maps.len());
        self.maps.push(PeerMap { direction, then, sets, ranges });
        for (rule, peer) in peers {
            self.add(peer, network, Makes::Subject { map: number, rule });
        }
    }

    fn add(&mut self, peer: &Peer, network: &NetworkName, makes: Makes) {
        let number = self.roles.len();
        if let Peer::Endpoints(networks, selector) = peer {
            let place = networks.as_ref().map_or(Where::On(network), Where::In);
            self.of_endpoints.add(place, selector, number);
        }
        if let Peer::Names(patterns) = peer {
            for pattern in patterns {
                self.of_names.entry(pattern.clone()).or_default().push(number);
            }
        }
        let seen_from = is_relative(peer).then(|| network.clone());
        self.roles.push(Role { peer: peer.clone(), seen_from, makes });
    }

    /// The sets of whoever is not the world.
    pub(super) fn inside(&mut self) -> [SetName; 2] {
        self.pair("inside", SetKind::Addresses, |roster| &mut roster.inside)
    }

    /// Has the sets be of those who call ports so.
    pub(super) fn targets<'p>(&mut self, names: [SetName; 2], ports: impl Iterator<Item = (&'p PortName, Protocol)>) {
        let sets = names.map(|name| self.set(name));
        for (port, protocol) in ports {
            self.targets.entry((port.clone(), protocol)).or_default().insert(sets);
        }
    }

    /// The sets of whoever is judged in any direction.
    pub(super) fn judged(&mut self) -> [SetName; 2] {
        self.pair("judged", SetKind::Addresses, |roster| &mut roster.judged)
    }

    /// The sets of the pairs of addresses of one container.
    pub(super) fn pairs(&mut self) -> [SetName; 2] {
        self.pair("same_container", SetKind::Pairs, |roster| &mut roster.pairs)
    }

    /// One set for each family, which are to be filled from now on.
    fn pair(
        &mut self,
        name: &str,
        kind: fn(Family) -> SetKind,
        place: fn(&mut Self) -> &mut Option<SetPair>,
    ) -> [SetName; 2] {
        let names = Family::ALL.map(|family| SetName::new(kind(family), &per_family(name, family)));
        *place(self) = Some(names.clone().map(|name| self.set(name)));
        names
    }

    /// The numbers of the roles of an endpoint.
    pub(super) fn roles_of(&self, endpoint: &Endpoint, world: &World) -> Vec<usize> {
        let party = Party::Endpoint { endpoint, address: None };
        let has = |number: &usize| {
            let Role { peer, seen_from, .. } = &self.roles[*number];
            peer.is(&party, seen_from.as_ref().unwrap_or(&endpoint.network), world)
        };
        self.of_endpoints.candidates(endpoint).filter(has).collect()
    }

    /// The addresses of the host and of names outside, with their roles. `is_held` says what is an endpoint's.
    pub(super) fn others(&self, world: &World, is_held: impl Fn(IpAddr) -> bool) -> BTreeMap<IpAddr, Vec<usize>> {
        let roles = self.roles.iter().enumerate();
        let of_host: Vec<usize> =
            roles.filter(|(_, role)| matches!(role.peer, Peer::Host)).map(|(number, _)| number).collect();
        let outside = world.named().filter(|address| !is_held(*address));
        let outside = outside.map(|address| (address, self.roles_outside(address, world)));
        outside.chain(world.host().map(|address| (address, of_host.clone()))).collect()
    }

    /// The numbers of the roles of an address that is nobody's here: those of its names. The host has none of them.
    pub(super) fn roles_outside(&self, address: IpAddr, world: &World) -> Vec<usize> {
        if self.of_names.is_empty() || world.is_of_host(address) {
            return Vec::new();
        }
        let found = world.names_of(address).flat_map(DnsName::patterns).filter_map(|it| self.of_names.get(&it));
        found.flatten().copied().collect::<BTreeSet<usize>>().into_iter().collect()
    }

    /// Of which direction a map is, and what becomes of whom its rules are about.
    pub(super) fn of_map(&self, number: usize) -> (Direction, PacketVerdict) {
        let PeerMap { direction, then, .. } = &self.maps[number];
        (*direction, then.clone())
    }

    /// Adds the elements that these addresses of somebody are of sets by these roles, and returns those that they are
    /// of maps.
    pub(super) fn of_roles<'a>(
        &self,
        roles: &[usize],
        addresses: impl Iterator<Item = &'a IpAddr> + Clone,
        found: &mut impl Extend<Element>,
    ) -> Vec<Subject> {
        let mut of_maps: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for role in roles {
            match self.roles[*role].makes {
                Makes::Member(sets) => found.extend(addresses.clone().map(|address| (element(sets, *address), None))),
                Makes::Subject { map, rule } => drop(of_maps.entry(map).or_default().insert(rule)),
            }
        }
        let mut subjects = Vec::new();
        for (number, rules) in of_maps {
            let map = &self.maps[number];
            subjects.extend(addresses.clone().map(|address| {
                let of_ranges = map.ranges.iter().flat_map(|ranges| ranges.of(*address));
                let rules = rules.iter().copied().chain(of_ranges).collect();
                Subject { place: element(map.sets, *address), map: number, rules }
            }));
        }
        subjects
    }

    /// The elements that somebody inside is, whatever roles they have.
    pub(super) fn of_insider<'a>(&self, addresses: impl Iterator<Item = &'a IpAddr>, found: &mut impl Extend<Element>) {
        if let Some(inside) = self.inside {
            found.extend(addresses.map(|address| (element(inside, *address), None)));
        }
    }

    /// The elements that somebody is who is judged in any direction.
    pub(super) fn of_judged<'a>(&self, addresses: impl Iterator<Item = &'a IpAddr>, found: &mut impl Extend<Element>) {
        if let Some(judged) = self.judged {
            found.extend(addresses.map(|address| (element(judged, *address), None)));
        }
    }

    /// The elements that an endpoint's names of ports are.
    pub(super) fn of_ports(&self, endpoint: &Endpoint, found: &mut impl Extend<Element>) {
        for (name, port) in &endpoint.ports {
            let sets = self.targets.get(&(name.clone(), port.protocol)).into_iter().flatten();
            for sets in sets {
                let key = |address: &IpAddr| Key::Target(*address, port.protocol, port.port.get());
                found.extend(endpoint.addresses.iter().map(|it| ((of_family(*sets, *it), key(it)), None)));
            }
        }
    }

    /// The pairs of addresses of one container; none of one that has no name, as nobody knows what else it has.
    pub(super) fn of_own_pairs(
        &self,
        name: Option<&ContainerName>,
        endpoints: &[Endpoint],
        found: &mut impl Extend<Element>,
    ) {
        let (Some(sets), Some(_)) = (self.pairs, name) else { return };
        let addresses = || endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
        for one in addresses() {
            let others = addresses().filter(|other| Family::of(**other) == Family::of(*one));
            found.extend(others.map(|other| ((of_family(sets, *one), Key::Pair(*one, *other)), None)));
        }
    }
}

/// The element that an address is of one of two sets.
pub(super) fn element(sets: SetPair, address: IpAddr) -> (usize, Key) {
    (of_family(sets, address), Key::Address(address))
}

fn of_family(sets: SetPair, address: IpAddr) -> usize {
    let [ipv4, ipv6] = sets;
    if address.is_ipv4() { ipv4 } else { ipv6 }
}

/// What something is called that there is for each family.
pub(super) fn per_family(name: &str, family: Family) -> String {
    format!("{name}{}", if family == Family::Ipv4 { 4 } else { 6 })
}

/// Whether a peer is somebody else for an endpoint of another network.
pub(super) fn is_relative(peer: &Peer) -> bool {
    matches!(peer, Peer::Endpoints(None::<Networks>, _))
}
