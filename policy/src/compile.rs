//! What nftables has to hold so that the policies are enforced: a value, made of policies and of who there is.
//!
//! The result says of each packet that opens a connection what [`evaluate`](crate::evaluate()) says, where the host is
//! whoever has one of [`World::host`]'s addresses. Established and related packets pass, and so do those by which IPv6
//! finds neighbours, which ARP does for IPv4 where no policy sees it; segments of TCP that are of no connection and open
//! none do not. Nothing here talks to a kernel.
//!
//! # What it yields
//!
//! Four base chains, two for each direction, because the verdict `accept` ends one base chain only: egress is asked
//! first, and what it lets through is asked for ingress. No packet runs through more of the rest than this:
//!
//! * `egress4`, `egress6`, `ingress4`, `ingress6` lead from an endpoint's own address to the chain of its **class**:
//!   the endpoints of one network that the same policies select in this direction. Endpoints that nothing is said about
//!   are not in them.
//! * Before that, a segment of TCP is dropped which is of no connection that is known and opens none: who opened it decides,
//!   and conntrack would take whoever sends next for that. So it is asked in both directions of whoever is judged in
//!   either: the end that is not judged may be the next to send.
//! * Whoever is in them and comes back is dropped. No class lets anybody come back; but while a transaction is committed the
//!   kernel already finds the new element and still has the old rules, among which a chain that comes with it is empty.
//! * The chain of a class jumps to one chain for each of its **steps**, and ends with what becomes of the rest. A step
//!   is a run of rules, in the order of the evaluator, that do the same; a rule that audits, logs or limits is a step
//!   of its own.
//! * The chain of a step asks what its rules say about anybody, then about the world, then whether the other end is one
//!   of those whose addresses are known (endpoints, the host, names), and last in which range it lies. Few peers are a
//!   set each, which all rules that name them share; many are one map of the step. What is found leads to a chain that
//!   says **what may be asked for**: sets of ports, of messages of ICMP, and of targets whose ports have names.
//!
//! So how many rules a packet meets depends on how many steps its class has, not on endpoints, on policies, nor on
//! rules that do the same. Ranges that lie in each other are made disjoint, and each part leads to all that is said
//! about it.
//!
//! # What a change costs
//!
//! Names are made of what is stable: of networks, of the titles of policies, of the numbers of rules in them, and of
//! peers. An endpoint that comes to where others like it are is an element in the map of its class and in the sets of the
//! judged, for each direction and for both, in the set of each peer that it is (or the map of each step that has many peers), in the set
//! of each rule that names a port of its, and its pairs with its own container. Another port or range in a rule is
//! elements, too; what is not, is a chain. [`DataPath::difference`] tells.
//!
//! A rule that expires is there or not: the result holds until the next one does.
//!
//! # Bounds
//!
//! It asks for nothing that Linux 6.1 and nft 1.0.6 should lack. One rule that chains lookups through registers would do
//! without chains of classes, but nft 1.0.6 aborts when it lists one. Egress never goes on to ingress inside of one base
//! chain: the kernel validates every path through jumps when an element that jumps is added, and there would be as many
//! as there are pairs of classes.

mod ranges;
mod step;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use jiff::Timestamp;
use model::{
    ContainerName, Family, NetworkName, PortName, Protocol,
    data_path::{Chain, ChainName, ChainRule, DataPath, Hook, Key, Match, PacketVerdict, Part, SetKind, SetName, Then},
};

use crate::{
    peer::Peer,
    policies::Policies,
    rule::{Action, Direction, Effect, Layer, Logging, Policy, Rule},
    service::Service,
    world::{Endpoint, World},
};

/// The data path of these policies for whoever there is at this moment.
///
/// An endpoint without addresses, or about which neither policy nor stance says anything, is not in it.
pub fn compile(policies: &Policies, world: &World, now: Timestamp) -> DataPath {
    let mut path = DataPath::default();
    let both = [Direction::Egress, Direction::Ingress].map(|direction| {
        let dispatch = Compiler::new(policies, world, now, direction, &mut path).run();
        (direction, dispatch)
    });
    if path.chains.is_empty() {
        return path;
    }
    let judged: BTreeSet<IpAddr> = both.iter().flat_map(|(_, dispatch)| dispatch.keys()).copied().collect();
    for (family, elements) in Family::ALL.into_iter().zip(same_container(world, &judged)) {
        path.sets.insert(pairs_of(family), elements);
        let of_family = judged.iter().filter(|address| Family::of(**address) == family);
        path.sets.insert(judged_of(family), of_family.map(|address| (Key::Address(*address), None)).collect());
    }
    for (direction, dispatch) in both {
        base(direction, &dispatch, &mut path);
    }
    path
}

/// A rule, or what stands for one.
struct Clause<'p> {
    /// Unique, and for people.
    title: String,
    peers: &'p [Peer],
    services: &'p [Service],
    then: Consequence<'p>,
}

enum Consequence<'p> {
    /// One that may share a step.
    Plain(Effect),
    /// One that also counts, logs or limits.
    Special(&'p Rule),
}

/// Who may come in whatever isolates, as the API reference of Kubernetes has it.
static OWN_HOST: [Peer; 1] = [Peer::Host];

/// Rules that are asked together, by their numbers, and what becomes of what one of them matches.
struct Step {
    clauses: Vec<usize>,
    then: PacketVerdict,
}

/// One direction.
struct Compiler<'p, 'o> {
    world: &'p World,
    policies: &'p Policies,
    direction: Direction,
    /// All rules of the direction, in the order in which they are asked.
    clauses: Vec<Clause<'p>>,
    /// Their numbers by the number of their policy.
    of_policy: Vec<Vec<usize>>,
    /// The addresses of those whom a peer is, seen from a network, if that makes a difference.
    members: BTreeMap<(Option<&'p NetworkName>, &'p Peer), Vec<IpAddr>>,
    /// Who calls a port so.
    targets: BTreeMap<(&'p PortName, Protocol), Vec<(IpAddr, u16)>>,
    path: &'o mut DataPath,
}

impl<'p, 'o> Compiler<'p, 'o> {
    fn new(
        policies: &'p Policies,
        world: &'p World,
        now: Timestamp,
        direction: Direction,
        path: &'o mut DataPath,
    ) -> Self {
        let all = policies.policies();
        let (mut clauses, mut of_policy) = (Vec::new(), vec![Vec::new(); all.len()]);
        let mut add = |policy: usize, rule: usize| {
            let (policy, rule, number) = (&all[policy], &all[policy].rules[rule], policy);
            if rule.direction == direction && rule.expires.is_none_or(|expires| now < expires) {
                of_policy[number].push(clauses.len());
                clauses.push(clause(policy, rule));
            }
        };
        policies.tiered_numbers().iter().for_each(|(policy, rule)| add(*policy, *rule));
        for (number, policy) in all.iter().enumerate().filter(|(_, policy)| isolates(policy, direction)) {
            (0..policy.rules.len()).for_each(|rule| add(number, rule));
        }
        if direction == Direction::Ingress {
            let then = Consequence::Plain(Effect::Allow);
            clauses.push(Clause { title: "the own host".to_owned(), peers: &OWN_HOST, services: &[], then });
        }
        let mut targets: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for endpoint in world.endpoints() {
            for (name, port) in &endpoint.ports {
                let own = endpoint.addresses.iter().map(|address| (*address, port.port.get()));
                targets.entry((name, port.protocol)).or_default().extend(own);
            }
        }
        Self { world, policies, direction, clauses, of_policy, members: BTreeMap::new(), targets, path }
    }

    /// Adds the chains of classes. Returns which of them judges whom.
    fn run(mut self) -> BTreeMap<IpAddr, PacketVerdict> {
        let mut dispatch = BTreeMap::new();
        for ((network, selecting), endpoints) in self.classes() {
            if let Some(class) = self.class(network, &selecting) {
                let addresses = endpoints.into_iter().flat_map(|endpoint| &endpoint.addresses);
                dispatch.extend(addresses.map(|address| (*address, PacketVerdict::Jump(class.clone()))));
            }
        }
        dispatch
    }

    /// Endpoints by their network and by the numbers of the policies that select them and have something to say in this
    /// direction.
    fn classes(&self) -> BTreeMap<(&'p NetworkName, Vec<usize>), Vec<&'p Endpoint>> {
        let endpoints = self.world.endpoints();
        let mut selecting: Vec<Vec<usize>> = vec![Vec::new(); endpoints.len()];
        for (number, policy) in self.policies.policies().iter().enumerate() {
            if self.of_policy[number].is_empty() && !isolates(policy, self.direction) {
                continue;
            }
            let is_for = |network: &&NetworkName| policy.networks.include(network, self.world);
            let networks: BTreeSet<&NetworkName> = self.world.networks().filter(is_for).collect();
            for (endpoint, selecting) in endpoints.iter().zip(&mut selecting) {
                if networks.contains(&endpoint.network) && policy.subject.selects(endpoint) {
                    selecting.push(number);
                }
            }
        }
        let mut classes: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (endpoint, selecting) in endpoints.iter().zip(selecting) {
            classes.entry((&endpoint.network, selecting)).or_default().push(endpoint);
        }
        classes
    }

    /// Adds the chain of a class, unless it would let everything through.
    fn class(&mut self, network: &'p NetworkName, selecting: &[usize]) -> Option<ChainName> {
        let policies = self.policies.policies();
        let mut clauses: Vec<usize> = selecting.iter().flat_map(|policy| &self.of_policy[*policy]).copied().collect();
        clauses.sort();
        let is_isolated = selecting.iter().any(|policy| isolates(&policies[*policy], self.direction));
        let rest = match is_isolated {
            true => Effect::Deny,
            false => self.policies.stance(network, self.direction),
        };
        if is_isolated && self.direction == Direction::Ingress {
            clauses.push(self.clauses.len() - 1);
        }
        let mut steps = self.steps(&clauses);
        // Rules at the end that say what becomes of the rest, too.
        while steps.last().is_some_and(|step| step.then == plain(rest)) {
            steps.pop();
        }
        if steps.is_empty() && rest == Effect::Allow {
            return None;
        }
        let titles: Vec<String> = selecting.iter().map(|policy| title(&policies[*policy])).collect();
        let titles = if titles.is_empty() { "no policy".to_owned() } else { titles.join(", ") };
        let about = format!("{} of network {network} under {titles}", self.direction);
        let name = ChainName::hashed(&self.direction.to_string(), &about);
        let jump = |step| ChainRule::new([], Then::Verdict(PacketVerdict::Jump(step)));
        let mut rules: Vec<ChainRule> = steps.iter().map(|step| jump(self.step(network, step))).collect();
        rules.push(ChainRule::new([], Then::Verdict(plain(rest))));
        self.path.chains.insert(name.clone(), Chain { about, hook: None, rules });
        Some(name)
    }

    fn steps(&mut self, clauses: &[usize]) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        for number in clauses {
            let then = self.verdict(*number);
            match steps.last_mut().filter(|step| step.then == then && !matches!(then, PacketVerdict::Goto(_))) {
                Some(step) => step.clauses.push(*number),
                None => steps.push(Step { clauses: vec![*number], then }),
            }
        }
        steps
    }

    /// What becomes of what a rule matches. Adds the chain that says it where it is more than one verdict.
    fn verdict(&mut self, number: usize) -> PacketVerdict {
        let Clause { title, then, .. } = &self.clauses[number];
        let rule = match then {
            Consequence::Plain(effect) => return plain(*effect),
            Consequence::Special(rule) => rule,
        };
        let (prefix, verdict) = match rule.action {
            Action::Audit => ("audit", None),
            Action::Deny => ("deny", Some(PacketVerdict::Drop)),
            Action::Allow => ("allow", Some(PacketVerdict::Accept)),
        };
        let name = ChainName::hashed(prefix, title);
        let log = (rule.logging == Logging::On).then_some(Then::Log);
        let limits = [
            rule.rate.map(|rate| Then::DropOverRate(rate.connections, rate.per)),
            rule.connections.map(Then::DropOverConnections),
        ];
        let rules = limits.into_iter().flatten().chain(log).chain([Then::Count]).chain(verdict.map(Then::Verdict));
        let rules = rules.map(|then| ChainRule::new([], then)).collect();
        self.path.chains.insert(name.clone(), Chain { about: title.clone(), hook: None, rules });
        PacketVerdict::Goto(name)
    }
}

/// The chains of one direction that the kernel calls, and the maps that lead to classes.
fn base(direction: Direction, dispatch: &BTreeMap<IpAddr, PacketVerdict>, path: &mut DataPath) {
    let (hooks, own) = match direction {
        Direction::Egress => ([("egress_forward", Hook::ForwardEgress), ("egress_input", Hook::Input)], Part::Source),
        Direction::Ingress => {
            ([("ingress_forward", Hook::ForwardIngress), ("ingress_output", Hook::Output)], Part::Destination)
        }
    };
    let accept = |found| ChainRule::new([found], Then::Verdict(PacketVerdict::Accept));
    let mut rules = [Match::Established, Match::NeighbourDiscovery].map(accept).to_vec();
    rules.extend(Family::ALL.map(|family| accept(Match::In(Part::Whole, pairs_of(family)))));
    for family in Family::ALL {
        let number = if family == Family::Ipv4 { 4 } else { 6 };
        let name = SetName::new(SetKind::AddressMap(family), &format!("{direction}{number}"));
        let mapped = SetName::new(SetKind::Addresses(family), &format!("judged_{direction}{number}"));
        let drop = |matches: Vec<Match>| ChainRule::new(matches, Then::Verdict(PacketVerdict::Drop));
        rules.push(drop(vec![Match::MidStream, Match::In(own, judged_of(family))]));
        rules.push(ChainRule::new([], Then::Lookup(own, name.clone())));
        rules.push(drop(vec![Match::In(own, mapped.clone())]));
        let of_family = || dispatch.iter().filter(|(address, _)| Family::of(**address) == family);
        let elements = of_family().map(|(address, verdict)| (Key::Address(*address), Some(verdict.clone())));
        path.sets.insert(name, elements.collect());
        let elements = of_family().map(|(address, _)| (Key::Address(*address), None));
        path.sets.insert(mapped, elements.collect());
    }
    for (name, hook) in hooks {
        let about = format!("{direction} of whoever has a class");
        path.chains.insert(ChainName::new(name), Chain { about, hook: Some(hook), rules: rules.clone() });
    }
}

fn clause<'p>(policy: &'p Policy, rule: &'p Rule) -> Clause<'p> {
    let before = policy.rules.iter().take_while(|other| !std::ptr::eq(*other, rule));
    let number = before.filter(|other| other.direction == rule.direction).count() + 1;
    let is_special = rule.logging == Logging::On || rule.rate.is_some() || rule.connections.is_some();
    let then = match (&policy.layer, rule.action) {
        // What matches in this layer is allowed, and it has no words for more.
        (Layer::Additive(_), _) => Consequence::Plain(Effect::Allow),
        (Layer::Tier(_), Action::Audit) => Consequence::Special(rule),
        (Layer::Tier(_), _) if is_special => Consequence::Special(rule),
        (Layer::Tier(_), Action::Deny) => Consequence::Plain(Effect::Deny),
        (Layer::Tier(_), Action::Allow) => Consequence::Plain(Effect::Allow),
    };
    let title = format!("{}, {} rule {number}", title(policy), rule.direction);
    Clause { title, peers: &rule.peers, services: &rule.services, then }
}

/// Unique among all policies.
fn title(policy: &Policy) -> String {
    let kind = if matches!(policy.layer, Layer::Additive(_)) { "NetworkPolicy" } else { "policy" };
    format!("{kind} {}", policy.title())
}

fn isolates(policy: &Policy, direction: Direction) -> bool {
    matches!(&policy.layer, Layer::Additive(directions) if directions.contains(&direction))
}

fn plain(effect: Effect) -> PacketVerdict {
    match effect {
        Effect::Allow => PacketVerdict::Accept,
        Effect::Deny => PacketVerdict::Drop,
    }
}

/// Whoever is judged in one direction or the other.
fn judged_of(family: Family) -> SetName {
    SetName::new(SetKind::Addresses(family), if family == Family::Ipv4 { "judged4" } else { "judged6" })
}

fn pairs_of(family: Family) -> SetName {
    let name = if family == Family::Ipv4 { "same_container4" } else { "same_container6" };
    SetName::new(SetKind::Pairs(family), name)
}

/// The pairs of addresses of one container, of those that have somebody judged among them, by family.
fn same_container(world: &World, judged: &BTreeSet<IpAddr>) -> [BTreeMap<Key, Option<PacketVerdict>>; 2] {
    let mut addresses: BTreeMap<&ContainerName, BTreeSet<IpAddr>> = BTreeMap::new();
    for endpoint in world.endpoints() {
        if let Some(name) = &endpoint.name {
            addresses.entry(name).or_default().extend(&endpoint.addresses);
        }
    }
    addresses.retain(|_, addresses| !addresses.is_disjoint(judged));
    Family::ALL.map(|family| {
        let of_family = |addresses: &BTreeSet<IpAddr>| -> Vec<IpAddr> {
            addresses.iter().filter(|address| Family::of(**address) == family).copied().collect()
        };
        let each = addresses.values().map(of_family);
        let pairs = each.flat_map(|own| {
            let other = own.clone();
            own.into_iter().flat_map(move |one| other.clone().into_iter().map(move |other| Key::Pair(one, other)))
        });
        pairs.map(|pair| (pair, None)).collect()
    })
}
