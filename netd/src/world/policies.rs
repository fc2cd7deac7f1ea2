//! Policies, and whom they are about.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use jiff::Timestamp;
use model::{
    Bridge, ContainerId, ContainerName, DataPath, Endpoint, Family, Network, NetworkName, data_path::Difference,
};
use policy::{Compilation, DnsName, Judge};

use super::{World, entries::ContainerEntry};
use crate::{learned::Learned, rulebook::Rulebook};

/// What policies say, and what that comes to for whoever is there.
#[derive(Debug, Default)]
pub(super) struct Judgement {
    rulebook: Arc<Rulebook>,
    /// The host's addresses, as far as anybody looked: nobody does as long as there are no policies.
    host: BTreeSet<IpAddr>,
    /// The moment at which rules are in force or have expired.
    now: Timestamp,
    /// The addresses of names outside. They change while the world is held only.
    learned: Arc<Learned>,
    compiled: RefCell<Option<Compiled>>,
}

/// What policies come to for whoever was there when that was asked last. They need not be in force yet.
#[derive(Debug)]
pub(crate) struct Compiled {
    rulebook: Arc<Rulebook>,
    of: Seen,
    /// When a rule expired last.
    since: Option<Timestamp>,
    compilation: Compilation,
}

/// Who was there.
#[derive(Debug)]
struct Seen {
    host: BTreeSet<IpAddr>,
    /// How often networks had come, changed or gone.
    networks: u64,
    /// How often containers had come, changed or gone.
    times: u64,
    /// How often names outside had got or lost addresses.
    learned: u64,
    /// The moment at which that was.
    now: Timestamp,
    /// Whether somebody goes without an address that somebody else has. Who is to have it when that one goes is for all
    /// of them to be looked at.
    is_contested: bool,
    /// What those containers are called that have endpoints.
    names: BTreeMap<ContainerId, ContainerName>,
}

/// All that policies are compiled for, so that nobody is kept waiting for that.
#[derive(Debug)]
pub(crate) struct Population {
    world: policy::World,
    seen: Seen,
    /// What is in force.
    path: Arc<DataPath>,
}

impl Population {
    /// What these policies come to, and what changes by that.
    pub(crate) fn under(self, rulebook: Arc<Rulebook>) -> (Compiled, Difference) {
        let Self { world, seen, path } = self;
        let mut compiled = Compiled::new(rulebook, world, seen);
        let difference = compiled.compilation.share_with(&path);
        (compiled, difference)
    }
}

impl Compiled {
    fn new(rulebook: Arc<Rulebook>, world: policy::World, of: Seen) -> Self {
        let since = rulebook.policies().last_expiry(of.now);
        let compilation = Compilation::new(rulebook.policies(), world, of.now);
        Self { rulebook, of, since, compilation }
    }

    /// What judges connections by them.
    pub(crate) fn path(&self) -> &Arc<DataPath> {
        self.compilation.path()
    }
}

impl World {
    /// The policies there are.
    pub(crate) fn rulebook(&self) -> &Arc<Rulebook> {
        &self.judgement.rulebook
    }

    /// These are the policies from now on.
    pub(crate) fn set_rulebook(&mut self, rulebook: Arc<Rulebook>) {
        self.judgement.learned.set_policies(rulebook.policies());
        self.judgement.rulebook = rulebook;
    }

    /// The same, of policies that have been compiled for who was there a moment ago.
    pub(crate) fn set_compiled(&mut self, compiled: Compiled) {
        self.set_rulebook(compiled.rulebook.clone());
        self.judgement.compiled = RefCell::new(Some(compiled));
    }

    /// The addresses of names outside that policies are about.
    pub(crate) fn learned(&self) -> &Arc<Learned> {
        &self.judgement.learned
    }

    /// Whether what a container is answered for a name is its addresses: where a rule about the name is for it.
    pub(crate) fn may_teach(&self, container: &ContainerName, name: &DnsName) -> bool {
        let Some(entry) = self.container_names.get(container).and_then(|id| self.containers.get(id)) else {
            return false;
        };
        let (about, policies) = (self.learned().about().policies(name), self.rulebook().policies().policies());
        let is_for = |endpoint: &Endpoint| {
            let (Some(network), Some(own)) = (self.network(&endpoint.network), self.endpoint(endpoint, entry)) else {
                return false;
            };
            let alone = as_alone(network);
            let mut about = about.iter().filter_map(|number| policies.get(*number));
            about.any(|policy| policy.networks.include(&network.name, &alone) && policy.subject.selects(&own))
        };
        entry.endpoints().any(is_for)
    }

    /// Who there is to be judged.
    pub(crate) fn population(&self) -> Population {
        let path = self.policing();
        let (world, seen) = self.judged();
        Population { world, seen, path }
    }

    /// Notes the host's addresses. Returns whether they are others than before.
    pub(crate) fn note_host(&mut self, addresses: BTreeSet<IpAddr>) -> bool {
        let is_news = self.judgement.host != addresses;
        self.judgement.host = addresses;
        is_news
    }

    /// Notes that it is this moment: rules that have expired by then are there no more.
    pub(crate) fn note_time(&mut self, now: Timestamp) {
        self.judgement.now = now;
    }

    /// The moment that was noted last.
    pub(crate) fn now(&self) -> Timestamp {
        self.judgement.now
    }

    /// Whether policies judge connections of the network's endpoints.
    pub(crate) fn is_judged(&self, network: &Network) -> bool {
        is_judged(&self.judgement.rulebook, network)
    }

    /// What judges connections by the policies. Everybody who holds an address is in it, as long as it is held: so it
    /// is in force before a link comes up, and until it is gone.
    ///
    /// Who comes, goes or changes is followed at a cost that does not depend on how many others there are. It is made
    /// anew with policies, networks and the host's addresses, when a rule expires, and where chains come or go
    /// ([`Compilation::change`]).
    pub(super) fn policing(&self) -> Arc<DataPath> {
        let Judgement { rulebook, host, now, compiled, learned } = &self.judgement;
        let mut compiled = compiled.borrow_mut();
        if rulebook.is_empty() {
            *compiled = None;
            // Nobody asks for them later.
            self.containers.changed_since(u64::MAX);
            learned.table().changed_since(u64::MAX);
            return Arc::default();
        }
        let since = rulebook.policies().last_expiry(*now);
        let is_same = |last: &&mut Compiled| {
            let is_of_same =
                last.of.host == *host && last.of.networks == self.networks.times_changed() && last.since == since;
            is_of_same && Arc::ptr_eq(&last.rulebook, rulebook)
        };
        if let Some(last) = compiled.as_mut().filter(is_same)
            && self.follow(last)
        {
            return last.path().clone();
        }
        let (of, seen) = self.judged();
        compiled.insert(Compiled::new(rulebook.clone(), of, seen)).path().clone()
    }

    /// What becomes of packets by [`World::policing`].
    pub(crate) fn judge(&self) -> Judge {
        let path = self.policing();
        let compiled = self.judgement.compiled.borrow();
        compiled.as_ref().map_or_else(|| Judge::new(path, []), |compiled| compiled.compilation.judge())
    }

    /// Has whoever came, changed or went be judged as they are now. Returns whether that could be told from them alone.
    fn follow(&self, last: &mut Compiled) -> bool {
        self.follow_names(last);
        let of = &mut last.of;
        let everybody = || self.containers.keys().chain(of.names.keys()).cloned().collect();
        let containers: BTreeSet<ContainerId> = self.containers.changed_since(of.times).unwrap_or_else(everybody);
        of.times = self.containers.times_changed();
        if containers.is_empty() || of.is_contested {
            return containers.is_empty();
        }
        // What one was called another may be called now.
        let former = containers.iter().filter_map(|id| of.names.remove(id));
        let mut changed: BTreeMap<ContainerName, Vec<policy::Endpoint>> =
            former.map(|name| (name, Vec::new())).collect();
        for id in containers {
            let Some(entry) = self.containers.get(&id) else { continue };
            let endpoints: Vec<_> = entry.endpoints().filter_map(|endpoint| self.endpoint(endpoint, entry)).collect();
            if !endpoints.is_empty() {
                let name = entry.record.container.name.clone();
                of.names.insert(id, name.clone());
                changed.insert(name, endpoints);
            }
        }
        // Two that have the same are told from all that there are.
        last.compilation.change(changed)
    }

    /// The same of names outside.
    fn follow_names(&self, last: &mut Compiled) {
        let mut table = self.judgement.learned.table();
        let changed = table.changed_since(last.of.learned).unwrap_or_else(|| {
            let former = last.compilation.names().keys().map(|name| (name.clone(), BTreeSet::new()));
            former.chain(table.names()).collect()
        });
        last.of.learned = table.times_changed();
        if !changed.is_empty() {
            last.compilation.rename(changed);
        }
    }

    /// Networks, endpoints, the host and names outside as policies see them.
    pub(crate) fn as_judged(&self) -> policy::World {
        self.judged().0
    }

    /// The same, and what is to be known of them later.
    fn judged(&self) -> (policy::World, Seen) {
        let networks: BTreeMap<NetworkName, policy::Network> = self.networks().map(as_judged).collect();
        // Nobody else is to have them; a MAC address that was chosen can make somebody give himself one.
        let gateways: BTreeSet<IpAddr> = networks.values().flat_map(|network| &network.gateways).copied().collect();
        let (mut held, mut known) = (gateways.clone(), BTreeSet::new());
        let (mut endpoints, mut is_contested) = (Vec::new(), false);
        for entry in self.containers.values() {
            for mut endpoint in entry.endpoints().filter_map(|endpoint| self.endpoint(endpoint, entry)) {
                if !known.insert((endpoint.network.clone(), &entry.record.container.name)) {
                    is_contested = true;
                    continue;
                }
                let all = endpoint.addresses.len();
                endpoint.addresses.retain(|address| held.insert(*address));
                is_contested |= endpoint.addresses.len() < all;
                endpoints.push(endpoint);
            }
        }
        let held: BTreeSet<IpAddr> = held.difference(&gateways).copied().collect();
        is_contested |= !self.judgement.host.is_disjoint(&held);
        let host = self.judgement.host.difference(&held).copied().collect();
        let (names, learned) = {
            let table = self.judgement.learned.table();
            (table.names(), table.times_changed())
        };
        let world = policy::World::new(networks, endpoints, names, host)
            .expect("each endpoint is of a network there is, and no address is anybody else's, as seen above");
        let named = self.containers.iter().filter(|(_, entry)| entry.endpoints().next().is_some());
        let seen = Seen {
            host: self.judgement.host.clone(),
            networks: self.networks.times_changed(),
            times: self.containers.times_changed(),
            learned,
            now: self.judgement.now,
            is_contested,
            names: named.map(|(id, entry)| (id.clone(), entry.record.container.name.clone())).collect(),
        };
        (world, seen)
    }

    /// The containers that have some of these addresses, and the networks that they have them on: all in one look.
    pub(crate) fn holders_of(&self, asked: &BTreeSet<IpAddr>) -> BTreeMap<IpAddr, (ContainerName, NetworkName)> {
        let mut holders = BTreeMap::new();
        for entry in self.containers.values() {
            for endpoint in entry.endpoints() {
                for address in addresses(endpoint).filter(|address| asked.contains(address)) {
                    if let Some(network) = self.network(&endpoint.network) {
                        holders.insert(address, (entry.record.container.name.clone(), network.name.clone()));
                    }
                }
            }
        }
        holders
    }

    /// An endpoint of a container as policies see it; none where its network is not there.
    fn endpoint(&self, endpoint: &Endpoint, entry: &ContainerEntry) -> Option<policy::Endpoint> {
        let network = self.network(&endpoint.network)?;
        let container = &entry.record.container;
        Some(policy::Endpoint {
            network: network.name.clone(),
            name: Some(container.name.clone()),
            labels: container.labels.clone(),
            addresses: addresses(endpoint).collect(),
            ports: container.port_names.iter().map(|(name, port)| (name.clone(), *port)).collect(),
        })
    }
}

/// All addresses of an endpoint: with IPv6 it has another one, which it gives itself.
fn addresses(endpoint: &Endpoint) -> impl Iterator<Item = IpAddr> + use<> {
    let link_local = endpoint.ipv6.and(endpoint.mac).map(|mac| IpAddr::from(mac.link_local()));
    endpoint.addresses().chain(link_local)
}

/// Whether anything is written about connections of the network's endpoints.
pub(crate) fn is_judged(rulebook: &Rulebook, network: &Network) -> bool {
    if rulebook.is_empty() {
        return false;
    }
    rulebook.policies().concern(&network.name, &as_alone(network))
}

/// The network as if there were nothing else.
pub(crate) fn as_alone(network: &Network) -> policy::World {
    let alone = policy::World::new([as_judged(network)].into(), Vec::new(), BTreeMap::new(), BTreeSet::new());
    alone.expect("a network without endpoints")
}

fn as_judged(network: &Network) -> (NetworkName, policy::Network) {
    // The host speaks from its bridge's own address, too.
    let speaks_ipv6 = network.reach.has_gateway() && network.subnets_of(Family::Ipv6).next().is_some();
    let link_local = speaks_ipv6.then(|| Bridge::link_local_of(network.gateway_mac).addr());
    let gateways = network.gateways().map(model::Subnet::gateway).chain(link_local).collect();
    let subnets = network.subnets.iter().map(model::Subnet::range).collect();
    (network.name.clone(), policy::Network { labels: network.labels.clone(), gateways, subnets })
}
