//! Containers, from the reservation of their names, addresses and ports until they are gone.

use std::sync::Arc;

use model::{Container, ContainerId, Digest, NamespaceName, NetworkMode};
use runtime::Exit;
use store::Revision;

use super::{World, entries::ContainerEntry};
use crate::{
    failure::{Failure, Noun},
    life::Life,
    record::{Goal, Record, Restarts},
};

impl World {
    /// Takes the container's name, addresses and host ports; it exists once it is confirmed.
    pub(crate) fn reserve_container(&mut self, record: Record) -> Result<Arc<Life>, Failure> {
        let container = &record.container;
        if self.container_names.contains_key(&container.name) {
            return Err(Failure::NameTaken { noun: Noun::Container, name: container.name.to_string() });
        }
        self.check_publishes(container)?;
        self.check_parents(container)?;
        Ok(self.insert_container(record, false))
    }

    /// The container has been committed, and its leases with it.
    pub(crate) fn confirm_container(&mut self, id: &ContainerId, revision: Revision) {
        let Some(entry) = self.containers.get_mut(id) else { return };
        entry.committed = true;
        if let Some(namespace) = entry.record.container.mode.namespace() {
            // From now on the pair is desired as the endpoint's.
            self.namespaces.hand_over_pair(namespace);
        }
        for endpoint in entry.record.container.endpoints.clone() {
            self.confirm_leases(&endpoint, revision);
        }
    }

    /// A container read from the store. Its networks must have been inserted before, with their leases.
    pub(crate) fn insert_committed_container(&mut self, record: Record) {
        self.insert_container(record, true);
    }

    fn insert_container(&mut self, record: Record, committed: bool) -> Arc<Life> {
        let container = &record.container;
        for endpoint in record.held() {
            self.hold_endpoint(endpoint, &container.id);
        }
        self.move_in(container);
        self.container_names.insert(container.name.clone(), container.id.clone());
        if record.holds_ports() {
            self.claim_ports(&record.container);
        }
        let life = Arc::new(Life::new());
        let id = record.container.id.clone();
        self.containers.insert(id, ContainerEntry { record, arriving: None, committed, life: life.clone() });
        life
    }

    /// The container is gone, its addresses since `freed`, or it never came to be: its name, addresses and ports are
    /// free, and who waits for it is told.
    pub(crate) fn forget_container(&mut self, id: &ContainerId, freed: Option<Revision>) {
        let Some(entry) = self.containers.remove(id) else { return };
        let ContainerEntry { record, life, .. } = entry;
        life.set_removed();
        if record.holds_ports() {
            self.release_ports(&record.container);
        }
        self.container_names.remove(&record.container.name);
        self.move_out(&record.container);
        for endpoint in record.held() {
            self.free_endpoint(endpoint, &record.container, freed);
        }
    }

    /// Changes what is remembered of a container and returns its record as it is now; none if it is gone.
    pub(crate) fn change_container(&mut self, id: &ContainerId, change: impl FnOnce(&mut Record)) -> Option<Record> {
        let entry = self.containers.get_mut(id)?;
        let before = entry.record.clone();
        change(&mut entry.record);
        let record = entry.record.clone();
        // Ports are counted where they lead, and that may be elsewhere now.
        let moves = before.container.endpoints != record.container.endpoints;
        let (held, holds) = (before.holds_ports(), record.holds_ports());
        if held && (moves || !holds) {
            self.release_ports(&before.container);
        }
        if holds && (moves || !held) {
            self.claim_ports(&record.container);
        }
        Some(record)
    }

    /// Records that the container's first process has ended; none if that was known or the container is gone.
    pub(crate) fn record_exit(&mut self, id: &ContainerId, exit: Exit) -> Option<Record> {
        if self.record(id)?.exit.is_some() {
            return None;
        }
        self.change_container(id, |record| record.end(exit))
    }

    /// The start of a container that had ended could not be committed: it has ended as it had then.
    pub(crate) fn end_as_before(&mut self, id: &ContainerId, last: Exit, restarts: Restarts) {
        self.change_container(id, |record| {
            record.restarts = restarts;
            record.end(last);
        });
    }

    /// A container that a person stopped waits for its restart policy all the same, if its host ports are still free.
    pub(crate) fn forget_stop(&mut self, id: &ContainerId) -> Result<(), Failure> {
        if let Some(record) = self.record(id) {
            self.check_publishes(&record.container)?;
            self.change_container(id, |record| record.restarts = Restarts::default());
        }
        Ok(())
    }

    /// A container that has ended is to come up again: it takes its host ports back. `fresh` is a namespace for one
    /// that has a network of its own; it is spare again if the container comes back to its last one, where others wait
    /// for it.
    pub(crate) fn revive_container(
        &mut self,
        id: &ContainerId,
        goal: Goal,
        fresh: Option<NamespaceName>,
        incarnation: String,
        restarts: Restarts,
    ) -> Result<Record, Failure> {
        let record = self.record(id).ok_or_else(|| Failure::NotRunning { name: id.to_string() })?;
        self.check_publishes(&record.container)?;
        self.check_parents(&record.container)?;
        let (before, held_ports) = (record.container.clone(), record.holds_ports());
        let mode = match (&before.mode, fresh.clone()) {
            (NetworkMode::Own { namespace }, Some(fresh)) if !self.has_sharers(namespace) => {
                NetworkMode::Own { namespace: fresh }
            }
            (NetworkMode::Own { namespace }, _) => NetworkMode::Own { namespace: namespace.clone() },
            (NetworkMode::Joined { container, .. }, _) => self.join_again(&before.name, container)?,
            (NetworkMode::Host, _) => NetworkMode::Host,
        };
        if let Some(unused) = fresh.filter(|fresh| mode.namespace() != Some(fresh)) {
            self.namespaces.give_back(unused);
        }
        self.move_out(&before);
        let entry = self.containers.get_mut(id).expect("it was found above");
        entry.record = Record {
            container: Container { mode, ..before },
            goal,
            attended: false,
            incarnation,
            started_at: None,
            exit: None,
            last_exit: entry.record.exit,
            restarts,
            leaving: entry.record.leaving.clone(),
        };
        let record = entry.record.clone();
        self.move_in(&record.container);
        if !held_ports {
            self.claim_ports(&record.container);
        }
        Ok(record)
    }

    /// What is known of the container's processes.
    pub(crate) fn life(&self, id: &ContainerId) -> Option<&Arc<Life>> {
        self.containers.get(id).map(|entry| &entry.life)
    }

    pub(crate) fn record(&self, id: &ContainerId) -> Option<&Record> {
        self.containers.get(id).filter(|entry| entry.committed).map(|entry| &entry.record)
    }

    /// Every container that exists, by identifier.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.containers.values().filter(|entry| entry.committed).map(|entry| &entry.record)
    }

    /// The names of the containers that were made from the image, those that are being created included.
    pub(crate) fn containers_of(&self, image: &Digest) -> Vec<String> {
        let containers = self.containers.values().map(|entry| &entry.record.container);
        let mut names: Vec<_> = containers
            .filter(|container| container.image_digest == *image)
            .map(|container| container.name.to_string())
            .collect();
        names.sort();
        names
    }

    /// The image of each container, those that are being created included.
    pub(crate) fn image_digests(&self) -> impl Iterator<Item = &Digest> {
        self.containers.values().map(|entry| &entry.record.container.image_digest)
    }
}
