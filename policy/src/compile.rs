//! What nftables has to hold so that the policies are enforced: a value, made of policies and of who there is.
//!
//! The result says of each packet that opens a connection what [`evaluate`](crate::evaluate()) says, where the host is
//! whoever has one of [`World::host`]'s addresses. Established and related packets pass, and so do those by which IPv6
//! finds neighbours, which ARP does for IPv4 where no policy sees it; segments of TCP that are of no connection and
//! open none do not. Nothing here talks to a kernel.
//!
//! # What it yields
//!
//! Four base chains, two for each direction, because the verdict `accept` ends one base chain only: egress is asked
//! first, and what it lets through is asked for ingress. No packet runs through more of the rest than this:
//!
//! * They lead from an endpoint's own address to the chain of its **class**: the endpoints of one network that the same
//!   policies select in this direction. Endpoints that nothing is said about have none. Each class has a set of its
//!   endpoints; where there are many classes, their numbers are found bit by bit first, each in a set of all whose
//!   number has it. A map from addresses to chains would be one rule; but each element that leads to a chain has the
//!   kernel validate all that is led to (`nft_table_validate`), which costs what all policies do.
//! * Before that, a segment of TCP is dropped which is of no connection that is known and opens none: who opened it
//!   decides, and conntrack would take whoever sends next for that. So it is asked in both directions of whoever is
//!   judged in either: the end that is not judged may be the next to send.
//! * Whoever has a class and comes back is dropped. No class lets anybody come back; but while a transaction is
//!   committed the kernel already finds the new element and still has the old rules, among which a chain that comes
//!   with it is empty.
//! * The chain of a class jumps to one chain for each of its **steps**, and ends with what becomes of the rest. A step
//!   is a run of rules, in the order of the evaluator, that do the same; a rule that audits, logs or limits is a step
//!   of its own.
//! * The chain of a step asks what its rules say about anybody, then about the world, then whether the other end is one
//!   of those whose addresses are known (endpoints, the host, names), and last in which range it lies. Few peers are a
//!   set each, which all rules that name them share; many are one map of the step. What is found leads to a chain that
//!   says **what may be asked for**: sets of ports, of messages of ICMP, and of targets whose ports have names.
//!
//! So how many rules a packet meets depends on how many steps its class has, and on the logarithm of how many classes
//! there are; not on endpoints, on policies, nor on rules that do the same. Ranges that lie in each other are made
//! disjoint, and each part leads to all that is said about it.
//!
//! # What a change costs
//!
//! Names are made of what is stable: of networks, of the titles of policies, of the numbers of rules in them, and of
//! peers. An endpoint that comes to where others like it are is an element in the sets of its class and of the judged,
//! for each direction and for both, in the set of each peer that it is (or the map of each step that has many peers: it
//! leads to a chain, and all is validated), in the set of each rule that names a port of its, and its pairs with its own
//! container. Another port or range in a rule is elements, too; what is not, is a chain. [`DataPath::difference`] tells.
//!
//! [`Compilation::change`] computes no more than that. It keeps what chains were made of, which does not depend on who
//! is there as long as the same classes are: the rules, the classes, and who every set is of ([`roster::Roster`]). Few
//! policies and few sets are asked about an endpoint, because they are found by a label that whoever they are about
//! must have; so is an address of a name outside, by its name and those that it is below ([`Compilation::rename`]). All is
//! made anew where chains come or go: with the first endpoint of a class and with the last, and with
//! the first and the last of those about whom several rules with many peers say something together.
//!
//! A rule that expires is there or not: the result holds until the next one does.
//!
//! # Bounds
//!
//! It asks for nothing that Linux 6.1 and nft 1.0.6 should lack. One rule that chains lookups through registers would
//! do without chains of classes, but nft 1.0.6 aborts when it lists one. Egress never goes on to ingress inside of one
//! base chain: the kernel validates every path through jumps when an element that jumps is added, and there would be as
//! many as there are pairs of classes.

mod draft;
mod follow;
mod index;
mod ranges;
mod rest;
mod roster;
mod rules;
mod step;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use jiff::Timestamp;
use model::{
    ContainerName, NetworkName,
    data_path::{ChainName, DataPath, Difference, Elements, PacketVerdict},
};

use crate::{
    dns_name::DnsName,
    policies::Policies,
    rule::Direction,
    run::Judge,
    world::{Endpoint, World},
};
use draft::{Draft, Entrance};
pub use rest::{Rest, rests};
use roster::{Element, Found, Roster, Subject};
use rules::Rules;
pub use rules::{counters, log_chain};

/// The data path of these policies for whoever there is at this moment.
///
/// An endpoint without addresses, or about which neither policy nor stance says anything, is not in it.
pub fn compile(policies: &Policies, world: &World, now: Timestamp) -> DataPath {
    Arc::unwrap_or_clone(Compilation::new(policies, world.clone(), now).path)
}

/// A data path, and what it takes to follow who comes and goes.
#[derive(Debug)]
pub struct Compilation {
    /// Without endpoints, which are below.
    world: World,
    /// By the names of their containers; those that are only imagined have none.
    endpoints: BTreeMap<Option<ContainerName>, Vec<Endpoint>>,
    /// Their addresses.
    held: BTreeSet<IpAddr>,
    /// Of egress, and of ingress.
    sides: [Side; 2],
    roster: Roster,
    /// Chains that only elements of endpoints lead to, and how many do.
    led_to: BTreeMap<ChainName, usize>,
    path: Arc<DataPath>,
}

/// One direction.
#[derive(Debug)]
struct Side {
    rules: Arc<Rules>,
    classes: BTreeMap<Kind, Class>,
    /// None without classes that have chains in any direction.
    entrance: Option<Entrance>,
}

/// A network and the numbers of the policies that select an endpoint of it: what makes its class.
type Kind = (NetworkName, Vec<usize>);

#[derive(Debug, Default)]
struct Class {
    endpoints: usize,
    /// None if all is let through.
    chain: Option<ChainName>,
}

impl Compilation {
    /// The data path of these policies for whoever there is at this moment.
    pub fn new(policies: &Policies, world: World, now: Timestamp) -> Self {
        let (world, all) = world.emptied();
        let mut endpoints: BTreeMap<_, Vec<Endpoint>> = BTreeMap::new();
        for endpoint in all {
            endpoints.entry(endpoint.name.clone()).or_default().push(endpoint);
        }
        let rules = DIRECTIONS.map(|direction| Arc::new(Rules::new(policies, direction, now)));
        Self::of(rules, world, endpoints)
    }

    fn of(rules: [Arc<Rules>; 2], world: World, endpoints: BTreeMap<Option<ContainerName>, Vec<Endpoint>>) -> Self {
        let mut draft = Draft::default();
        let mut sides = rules.map(|rules| {
            let mut classes: BTreeMap<Kind, Class> = BTreeMap::new();
            for endpoint in endpoints.values().flatten() {
                classes.entry(kind(&rules, endpoint, &world)).or_default().endpoints += 1;
            }
            for ((network, selecting), class) in &mut classes {
                class.chain = draft.class(&rules, network, selecting);
            }
            Side { rules, classes, entrance: None }
        });
        if !draft.chains.is_empty() {
            for side in &mut sides {
                let classes = side.classes.values().filter_map(|class| class.chain.clone()).collect();
                side.entrance = Some(draft.base(side.rules.direction, &classes));
            }
        }
        let held = endpoints.values().flatten().flat_map(|endpoint| &endpoint.addresses).copied().collect();
        let mut compilation = Self {
            world,
            endpoints,
            held,
            sides,
            roster: Roster::default(),
            led_to: BTreeMap::new(),
            path: Arc::default(),
        };
        compilation.finish(draft);
        compilation
    }

    /// Fills in whoever is there.
    fn finish(&mut self, mut draft: Draft) {
        let permanent: BTreeSet<ChainName> = draft.chains.keys().cloned().collect();
        let mut found: Vec<Element> = Vec::new();
        let mut subjects = Vec::new();
        for endpoint in self.endpoints.values().flatten() {
            let roles = draft.roster.roles_of(endpoint, &self.world);
            subjects.extend(draft.roster.of_roles(&roles, endpoint.addresses.iter(), &mut found));
        }
        for (address, roles) in draft.roster.others(&self.world, |address| self.held.contains(&address)) {
            subjects.extend(draft.roster.of_roles(&roles, [address].iter(), &mut found));
        }
        // Those whom several rules are about bring chains along that ask what is asked for, and those bring sets.
        for Subject { place, map, rules } in subjects {
            let (direction, then) = draft.roster.of_map(map);
            let lead = draft.lead(&self.side(direction).rules, &rules, &then);
            if let PacketVerdict::Goto(name) = &lead
                && !permanent.contains(name)
            {
                *self.led_to.entry(name.clone()).or_default() += 1;
            }
            found.push((place, Some(lead)));
        }
        let host: Vec<IpAddr> = self.world.host().collect();
        draft.roster.of_insider(host.iter(), &mut found);
        self.roster = draft.roster;
        for (name, endpoints) in &self.endpoints {
            self.own_elements(name.as_ref(), endpoints, &mut found);
        }
        let mut sets: Vec<Vec<_>> = self.roster.names().iter().map(|_| Vec::new()).collect();
        for ((set, key), verdict) in found {
            sets[set].push((key, verdict));
        }
        let sets = self.roster.names().iter().cloned().zip(sets.into_iter().map(Elements::from_iter));
        self.path = Arc::new(DataPath {
            sets: draft.constants.into_iter().chain(sets).collect(),
            counters: draft.counters.into_iter().collect(),
            chains: draft.chains.into_iter().collect(),
        });
    }

    /// What it has come to, which is the same value until something changes.
    pub fn path(&self) -> &Arc<DataPath> {
        &self.path
    }

    /// The names outside that it is for, with their addresses.
    pub fn names(&self) -> &BTreeMap<DnsName, BTreeSet<IpAddr>> {
        self.world.names()
    }

    /// What becomes of packets by it.
    pub fn judge(&self) -> Judge {
        Judge::new(self.path.clone(), self.world.host())
    }

    /// Has the data path share with another what they have in common, so that what changes from one to the other is
    /// soon found. Returns what makes it of the other.
    pub fn share_with(&mut self, other: &DataPath) -> Difference {
        let difference = other.difference(&self.path);
        let mut path = other.clone();
        path.apply(&difference);
        self.path = Arc::new(path);
        difference
    }

    /// All elements that these containers are.
    fn elements(&self, containers: &BTreeMap<ContainerName, Vec<Endpoint>>) -> Found {
        let mut found = Found::new();
        for (name, endpoints) in containers {
            for endpoint in endpoints {
                let roles = self.roster.roles_of(endpoint, &self.world);
                self.of_roles(&roles, endpoint.addresses.iter(), &mut found);
            }
            self.own_elements(Some(name), endpoints, &mut found);
        }
        found
    }

    /// All elements that these addresses are as long as nobody here has them.
    fn elements_outside<'a>(&self, addresses: impl IntoIterator<Item = &'a IpAddr>) -> Found {
        let mut found = Found::new();
        for address in addresses {
            self.of_roles(&self.roster.roles_outside(*address, &self.world), [address].into_iter(), &mut found);
        }
        found
    }

    fn of_roles<'a>(&self, roles: &[usize], addresses: impl Iterator<Item = &'a IpAddr> + Clone, found: &mut Found) {
        for Subject { place, map, rules } in self.roster.of_roles(roles, addresses, found) {
            let (direction, then) = self.roster.of_map(map);
            found.insert(place, Some(self.side(direction).rules.asking(&rules, &then)));
        }
    }

    /// The elements that a container is whatever rules say about it as a peer.
    fn own_elements(&self, name: Option<&ContainerName>, endpoints: &[Endpoint], found: &mut impl Extend<Element>) {
        let mut is_anybody_judged = false;
        for endpoint in endpoints {
            let mut is_judged = false;
            self.roster.of_insider(endpoint.addresses.iter(), found);
            self.roster.of_ports(endpoint, found);
            for Side { rules, classes, entrance } in &self.sides {
                let class = entrance.as_ref().zip(classes.get(&kind(rules, endpoint, &self.world)));
                let Some((entrance, Class { chain: Some(chain), .. })) = class else { continue };
                is_judged = true;
                found.extend(endpoint.addresses.iter().flat_map(|address| entrance.elements(chain, *address)));
            }
            if is_judged {
                is_anybody_judged |= !endpoint.addresses.is_empty();
                self.roster.of_judged(endpoint.addresses.iter(), found);
            }
        }
        if is_anybody_judged {
            self.roster.of_own_pairs(name, endpoints, found);
        }
    }

    fn endpoints_of(&self, name: &ContainerName) -> &[Endpoint] {
        self.endpoints.get(&Some(name.clone())).map_or(&[], Vec::as_slice)
    }

    fn side(&self, direction: Direction) -> &Side {
        let [egress, ingress] = &self.sides;
        if direction == Direction::Egress { egress } else { ingress }
    }
}

const DIRECTIONS: [Direction; 2] = [Direction::Egress, Direction::Ingress];

fn kind(rules: &Rules, endpoint: &Endpoint, world: &World) -> Kind {
    (endpoint.network.clone(), rules.selecting(endpoint, world))
}
