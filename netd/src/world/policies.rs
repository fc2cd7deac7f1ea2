//! Policies, and whom they are about.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use jiff::Timestamp;
use model::{Bridge, DataPath, Family, Network, NetworkName};

use super::World;
use crate::rulebook::Rulebook;

/// What policies say, and what that comes to for whoever is there.
#[derive(Debug, Default)]
pub(super) struct Judgement {
    rulebook: Arc<Rulebook>,
    /// The host's addresses, as far as anybody looked: nobody does as long as there are no policies.
    host: BTreeSet<IpAddr>,
    /// The moment at which rules are in force or have expired.
    now: Timestamp,
    compiled: RefCell<Option<Compiled>>,
}

/// What judges connections of these endpoints.
#[derive(Debug)]
struct Compiled {
    rulebook: Arc<Rulebook>,
    of: policy::World,
    /// When a rule expired last.
    since: Option<Timestamp>,
    path: Arc<DataPath>,
}

impl World {
    /// The policies there are.
    pub(crate) fn rulebook(&self) -> &Arc<Rulebook> {
        &self.judgement.rulebook
    }

    /// These are the policies from now on.
    pub(crate) fn set_rulebook(&mut self, rulebook: Arc<Rulebook>) {
        self.judgement.rulebook = rulebook;
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

    /// What judges connections by the policies. Everybody who holds an address is in it, as long as it is held: so it is in
    /// force before a link comes up, and until it is gone.
    ///
    /// It is made anew when anybody in it comes, goes or changes, and when a rule expires, at a cost that grows with all endpoints and rules.
    pub(super) fn policing(&self) -> Arc<DataPath> {
        let rulebook = &self.judgement.rulebook;
        if rulebook.is_empty() {
            return Arc::default();
        }
        let of = self.as_judged();
        let since = rulebook.policies().last_expiry(self.judgement.now);
        let mut compiled = self.judgement.compiled.borrow_mut();
        let is_same = |last: &&Compiled| Arc::ptr_eq(&last.rulebook, rulebook) && last.of == of && last.since == since;
        if let Some(Compiled { path, .. }) = compiled.as_ref().filter(is_same) {
            return path.clone();
        }
        let path = Arc::new(policy::compile(rulebook.policies(), &of, self.judgement.now));
        *compiled = Some(Compiled { rulebook: rulebook.clone(), of, since, path: path.clone() });
        path
    }

    /// Networks, endpoints and the host as policies see them.
    pub(crate) fn as_judged(&self) -> policy::World {
        let networks: BTreeMap<NetworkName, policy::Network> = self.networks().map(as_judged).collect();
        let mut held = BTreeSet::new();
        let mut endpoints = Vec::new();
        let mut known = BTreeSet::new();
        for (endpoint, container) in self.endpoints() {
            let Some(network) = self.network(&endpoint.network).filter(|it| networks.contains_key(&it.name)) else {
                continue;
            };
            if !known.insert((&network.name, &container.name)) {
                continue;
            }
            // With IPv6 it has another address, which it gives itself. Whoever chose one MAC address twice has given it to two.
            let link_local = endpoint.ipv6.and(endpoint.mac).map(|mac| IpAddr::from(mac.link_local()));
            let addresses = endpoint.addresses().chain(link_local).filter(|address| held.insert(*address)).collect();
            endpoints.push(policy::Endpoint {
                network: network.name.clone(),
                name: Some(container.name.clone()),
                labels: container.labels.clone(),
                addresses,
                ports: container.port_names.iter().map(|(name, port)| (name.clone(), *port)).collect(),
            });
        }
        let host = self.judgement.host.difference(&held).copied().collect();
        policy::World::new(networks, endpoints, BTreeMap::new(), host)
            .expect("each endpoint is of a network there is, and no address is anybody else's, as seen above")
    }
}

/// Whether anything is written about connections of the network's endpoints.
pub(crate) fn is_judged(rulebook: &Rulebook, network: &Network) -> bool {
    if rulebook.is_empty() {
        return false;
    }
    let alone = policy::World::new([as_judged(network)].into(), Vec::new(), BTreeMap::new(), BTreeSet::new());
    rulebook.policies().concern(&network.name, &alone.expect("a network without endpoints"))
}

fn as_judged(network: &Network) -> (NetworkName, policy::Network) {
    // The host speaks from its bridge's own address, too.
    let speaks_ipv6 = network.reach.has_gateway() && network.subnets_of(Family::Ipv6).next().is_some();
    let link_local = speaks_ipv6.then(|| Bridge::link_local_of(network.gateway_mac).addr());
    let gateways = network.gateways().map(model::Subnet::gateway).chain(link_local).collect();
    (network.name.clone(), policy::Network { labels: network.labels.clone(), gateways })
}
