//! Endpoints that no policy tells apart, so that asking for one of them is asking for all.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use model::{ContainerPort, Family, NetworkName, PortName};

use crate::{
    policies::Policies,
    world::{Endpoint, Party, World},
};

/// All that makes a difference to policies.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Kind<'w> {
    network: &'w NetworkName,
    ports: &'w BTreeSet<(PortName, ContainerPort)>,
    /// Of each policy, whether it selects it.
    selected: Vec<bool>,
    /// Of each peer of each rule, whether it is that, for each address of a family; once for all that are the same.
    is_peer: BTreeMap<Option<Family>, BTreeSet<Vec<bool>>>,
}

/// The endpoints of a world, those together that no policy tells apart; in the order of the first of each.
pub(super) fn alike<'w>(policies: &Policies, world: &'w World) -> Vec<Vec<&'w Endpoint>> {
    let mut numbers = BTreeMap::new();
    let mut kinds: Vec<Vec<&Endpoint>> = Vec::new();
    for endpoint in world.endpoints() {
        let number = *numbers.entry(Kind::of(endpoint, policies, world)).or_insert(kinds.len());
        match kinds.get_mut(number) {
            Some(kind) => kind.push(endpoint),
            None => kinds.push(vec![endpoint]),
        }
    }
    kinds
}

impl<'w> Kind<'w> {
    fn of(endpoint: &'w Endpoint, policies: &Policies, world: &World) -> Self {
        let all = policies.policies();
        let is_selected = all
            .iter()
            .map(|policy| policy.networks.include(&endpoint.network, world) && policy.subject.selects(endpoint));
        let peers = || all.iter().flat_map(|policy| &policy.rules).flat_map(|rule| &rule.peers);
        // Peers that are of the network of whoever's policy it is are of this one, or nobody of this kind is.
        let is_peer = |address: Option<IpAddr>| -> Vec<bool> {
            let party = Party::Endpoint { endpoint, address };
            peers().map(|peer| peer.is(&party, &endpoint.network, world)).collect()
        };
        let mut by_family: BTreeMap<Option<Family>, BTreeSet<Vec<bool>>> = BTreeMap::new();
        for address in &endpoint.addresses {
            by_family.entry(Some(Family::of(*address))).or_default().insert(is_peer(Some(*address)));
        }
        if endpoint.addresses.is_empty() {
            by_family.insert(None, [is_peer(None)].into());
        }
        Self { network: &endpoint.network, ports: &endpoint.ports, selected: is_selected.collect(), is_peer: by_family }
    }
}
