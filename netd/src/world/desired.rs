//! From the world to what the kernel should be like.

use std::collections::{BTreeMap, BTreeSet};

use drivers::{Intent, Segment};
use model::{Attachment, IfName, NamespaceName, Network, NetworkId, Policing, Scope, Spare, State, Vlan};

use super::World;

impl World {
    /// What the kernel should be like within `scope`. Of a narrow scope the cost does not depend on what is beyond.
    pub(crate) fn desired(&self, scope: &Scope) -> State {
        let mut state = drivers::desired(scope, &self.intent(scope));
        if scope.covers_policing() {
            state.policing = Policing::Holds(self.policing());
        }
        state
    }

    fn intent(&self, scope: &Scope) -> Intent {
        match scope {
            Scope::Everything | Scope::Firewall | Scope::Shortcut => self.whole_intent(),
            Scope::Policing => Intent::default(),
            Scope::Vlan(interface) => self.vlan_intent(interface),
            Scope::Network(id) => Intent { segments: self.segment(id, Vec::new()), ..Intent::default() },
            Scope::Container { namespace, .. } => {
                let attachments = self.still(namespace);
                let on = |id: &NetworkId| {
                    let attachments = attachments.iter().filter(|attachment| attachment.endpoint.network == *id);
                    self.segment(id, attachments.cloned().collect())
                };
                let segments = scope.networks().flat_map(on).collect();
                Intent { segments, namespaces: self.standing(namespace), spares: Vec::new() }
            }
            Scope::Spare(Spare { namespace, .. }) => Intent {
                segments: Vec::new(),
                namespaces: self.standing(namespace),
                spares: self.namespaces.spares().filter(|spare| spare.namespace == *namespace).collect(),
            },
        }
    }

    /// Every attachment of the containers that live.
    fn live_attachments(&self) -> impl Iterator<Item = Attachment> {
        self.records().filter(|record| record.is_live()).flat_map(|record| self.attachments(&record.container))
    }

    fn whole_intent(&self) -> Intent {
        let mut by_network: BTreeMap<NetworkId, Vec<Attachment>> = BTreeMap::new();
        for attachment in self.live_attachments() {
            by_network.entry(attachment.endpoint.network.clone()).or_default().push(attachment);
        }
        let networks = self.networks().map(|network| &network.id);
        let segments = networks.flat_map(|id| self.segment(id, by_network.remove(id).unwrap_or_default())).collect();
        // Those of containers that are being committed, too: they are no longer spare.
        let records = self.containers.values().map(|entry| &entry.record).filter(|record| record.is_live());
        let inhabited = records.filter_map(|record| record.container.mode.namespace());
        let namespaces = inhabited.chain(self.namespaces.reserved()).cloned().collect();
        Intent { segments, namespaces, spares: self.namespaces.spares().collect() }
    }

    /// The VLAN that this interface is made for, if it is made for a network.
    pub(crate) fn vlan_of(&self, interface: &IfName) -> Option<Vlan> {
        let mut vlans = self.reserved_networks().filter_map(|network| network.vlan.as_ref());
        vlans.find(|vlan| vlan.interface() == interface).cloned()
    }

    /// The networks that sit on this interface and have it made.
    fn vlan_intent(&self, interface: &IfName) -> Intent {
        let sits_there = |network: &&Network| network.vlan.as_ref().is_some_and(|vlan| vlan.interface() == interface);
        let networks = self.networks().filter(sits_there);
        Intent {
            segments: networks.flat_map(|network| self.segment(&network.id, Vec::new())).collect(),
            ..Intent::default()
        }
    }

    /// The network with these attachments, if it exists.
    fn segment(&self, id: &NetworkId, attachments: Vec<Attachment>) -> Vec<Segment> {
        let segment = self.networks.get(id).and_then(|entry| {
            let network = entry.committed()?;
            Some(Segment {
                network: network.clone(),
                published_to_loopback: entry.published_to_loopback > 0,
                judged: self.is_judged(network),
                attachments,
            })
        });
        segment.into_iter().collect()
    }

    /// The attachments that should be in the namespace now: its inhabitant's, as long as it lives.
    fn still(&self, namespace: &NamespaceName) -> Vec<Attachment> {
        let inhabitant = self.inhabited.get(namespace).and_then(|id| self.record(id));
        let live = inhabitant.filter(|record| record.is_live());
        live.map(|record| self.attachments(&record.container)).unwrap_or_default()
    }

    /// The namespace, if it is to stand.
    fn standing(&self, name: &NamespaceName) -> BTreeSet<NamespaceName> {
        let inhabitant = self.inhabited.get(name).and_then(|id| self.containers.get(id));
        let inhabited = inhabitant.is_some_and(|entry| entry.record.is_live());
        (inhabited || self.has_sharers(name) || self.namespaces.is_reserved(name))
            .then(|| name.clone())
            .into_iter()
            .collect()
    }
}
