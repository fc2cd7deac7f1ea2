//! From the world to what the kernel should be like.

use std::collections::{BTreeMap, BTreeSet};

use drivers::{Intent, Segment};
use model::{Attachment, NamespaceName, NetworkId, Scope, State};

use super::World;
use crate::names::attachments;

impl World {
    /// What the kernel should be like within `scope`. Of a narrow scope the cost does not depend on what is beyond.
    pub(crate) fn desired(&self, scope: &Scope) -> State {
        drivers::desired(scope, &self.intent(scope))
    }

    fn intent(&self, scope: &Scope) -> Intent {
        match scope {
            Scope::Everything | Scope::Firewall => self.whole_intent(),
            Scope::Network(id) => Intent { segments: self.segment(id, Vec::new()), namespaces: BTreeSet::new() },
            Scope::Endpoint(attachment) => Intent {
                segments: self.segment(&attachment.endpoint.network, self.still(attachment)),
                namespaces: self.standing(&attachment.namespace),
            },
            Scope::Namespace(name) => Intent { segments: Vec::new(), namespaces: self.standing(name) },
        }
    }

    /// Every attachment of the containers that live.
    pub(crate) fn live_attachments(&self) -> impl Iterator<Item = Attachment> {
        self.records().filter(|record| record.is_live()).flat_map(|record| attachments(&record.container))
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
        let inhabited = records.map(|record| &record.container.namespace);
        Intent { segments, namespaces: inhabited.chain(self.namespaces.reserved()).cloned().collect() }
    }

    /// The network with these attachments, if it exists.
    fn segment(&self, id: &NetworkId, attachments: Vec<Attachment>) -> Vec<Segment> {
        let entry = self.networks.get(id).filter(|entry| entry.committed);
        let segment = entry.map(|entry| Segment {
            network: entry.network.clone(),
            published_to_loopback: entry.published_to_loopback > 0,
            attachments,
        });
        segment.into_iter().collect()
    }

    /// The attachment as it should be now: as long as its container lives.
    fn still(&self, attachment: &Attachment) -> Vec<Attachment> {
        let inhabitant = self.inhabited.get(&attachment.namespace).and_then(|id| self.record(id));
        let live = inhabitant.filter(|record| record.is_live()).into_iter();
        live.flat_map(|record| attachments(&record.container))
            .filter(|own| own.endpoint.id == attachment.endpoint.id)
            .collect()
    }

    /// The namespace, if it is to stand.
    fn standing(&self, name: &NamespaceName) -> BTreeSet<NamespaceName> {
        let inhabitant = self.inhabited.get(name).and_then(|id| self.containers.get(id));
        let inhabited = inhabitant.is_some_and(|entry| entry.record.is_live());
        (inhabited || self.namespaces.is_reserved(name)).then(|| name.clone()).into_iter().collect()
    }
}
