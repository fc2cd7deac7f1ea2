//! What the store holds, under which keys.
//!
//! | key | value |
//! |---|---|
//! | `networks/ID` | [`Network`] |
//! | `containers/ID` | [`Record`] |
//! | `names/networks/NAME`, `names/containers/NAME` | the identifier that has the name |
//! | `leases/NETWORK/ADDRESS` | the lease, as `ipam` writes it |
//! | `formers/NETWORK/ADDRESS` | who had the address last, as `ipam` writes it |
//! | `policies/ID` | [`PolicyFile`](crate::rulebook::PolicyFile) |
//! | `revisions/NUMBER` | [`Revision`](crate::history::Revision), which names those files |
//!
//! Names and leases are keys of their own because a guard on one key is what makes two of a kind impossible.

use jiff::{SignedDuration, Timestamp};
use model::{
    Container, ContainerId, ContainerName, Endpoint, EndpointId, Network, NetworkId, NetworkName, RestartPolicy,
};
use runtime::Exit;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use store::{Durability, Guard, Key, Transaction};

use crate::{
    history::Turn,
    rulebook::{FileId, Rulebook},
};

/// A container as the store holds it: what was asked for, and what cannot be observed again after a reboot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) container: Container,
    pub(crate) goal: Goal,
    /// Whether a client waits for it that starts it at once.
    #[serde(default)]
    pub(crate) attended: bool,
    /// The run directory it was made with ([`crate::directories::Directories::incarnation`]).
    pub(crate) incarnation: String,
    /// When its program was executed in this run. A crash may lose it, so it is a hint only where no shim answers.
    #[serde(default)]
    pub(crate) started_at: Option<Timestamp>,
    /// How its first process ended; none as long as nobody saw that.
    pub(crate) exit: Option<Exit>,
    /// How the run before ended; none in the first.
    #[serde(default)]
    pub(crate) last_exit: Option<Exit>,
    /// What has become of its restart policy since a person started it.
    #[serde(default)]
    pub(crate) restarts: Restarts,
    /// Endpoints that are no longer the container's, and keep their addresses until nothing of them is left.
    #[serde(default)]
    pub(crate) leaving: Vec<Endpoint>,
}

/// What is to become of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Goal {
    /// It waits, attached, for its start.
    Created,
    /// It runs until its first process ends.
    Running,
    /// Nothing of it is left.
    Removed,
}

/// What has become of a container's restart policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Restarts {
    /// How often it was started again.
    pub(crate) count: u32,
    /// How often since it last ran for [`RestartPolicy::SETTLED`].
    pub(crate) in_a_row: u32,
    /// A person stopped it, and that counts more.
    pub(crate) stopped: bool,
    /// A person wants it to end and to be started again, which is not done yet, and counts most.
    #[serde(default)]
    pub(crate) requested: bool,
}

impl Restarts {
    /// The same once it was started again, or that was tried.
    pub(crate) fn again(self) -> Self {
        let (count, in_a_row) = (self.count.saturating_add(1), self.in_a_row.saturating_add(1));
        Self { count, in_a_row, ..self.without_request() }
    }

    /// The same for what is not to be started for a person any more.
    pub(crate) fn without_request(self) -> Self {
        Self { requested: false, ..self }
    }
}

impl Record {
    /// The endpoints that hold addresses: its container's, and those that are leaving.
    pub(crate) fn held(&self) -> impl Iterator<Item = &Endpoint> {
        self.container.endpoints.iter().chain(&self.leaving)
    }

    /// The endpoint is to leave.
    pub(crate) fn part(&mut self, id: &EndpointId) {
        let leaves = |endpoint: &mut Endpoint| endpoint.id == *id;
        self.leaving.extend(self.container.endpoints.extract_if(.., leaves));
    }

    /// Whether it has ended and is to be started again, by its restart policy or because a person asked for that.
    pub(crate) fn awaits_restart(&self) -> bool {
        let Restarts { count, stopped, requested, .. } = self.restarts;
        let wants = |exit: Exit| requested || !stopped && self.container.restart.wants(exit.exit_code, count);
        self.goal == Goal::Running && self.exit.is_some_and(wants)
    }

    /// The same, or that is being done; of use while it does not run.
    pub(crate) fn is_restarting(&self) -> bool {
        let being_started = self.goal == Goal::Running && self.exit.is_none() && self.restarts.count > 0;
        self.awaits_restart() || being_started
    }

    /// Whether its host ports are its own: nobody takes them while it waits to be started again.
    pub(crate) fn holds_ports(&self) -> bool {
        self.is_live() || self.awaits_restart()
    }

    /// Its first process has ended.
    pub(crate) fn end(&mut self, exit: Exit) {
        let started_at = exit.started_at.or(self.started_at);
        // An end that is recorded once more, because the start after it failed, tells nothing new of how long it ran.
        let is_news = self.last_exit != Some(exit);
        let ran = started_at.map_or(SignedDuration::ZERO, |started_at| exit.finished_at.duration_since(started_at));
        if is_news && ran.as_secs() >= RestartPolicy::SETTLED.as_secs().cast_signed() {
            self.restarts.in_a_row = 0;
        }
        self.exit = Some(Exit { started_at, ..exit });
    }

    /// Whether its program runs, or is about to.
    pub(crate) fn has_begun(&self) -> bool {
        self.goal == Goal::Running && self.exit.is_none()
    }

    /// Whether it is removed without having run if the daemon ends before its start.
    pub(crate) fn goes_unstarted(&self) -> bool {
        self.container.auto_remove && self.attended && self.goal == Goal::Created
    }

    /// Whether it is, or is about to be, attached to its networks.
    pub(crate) fn is_live(&self) -> bool {
        self.goal != Goal::Removed && self.exit.is_none()
    }
}

/// Why an entry of the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("entry `{key}` of the state file is not what this version of netd writes")]
    Parse {
        key: String,
        #[source]
        source: serde_json::Error,
    },
}

/// Where all networks are.
pub(crate) const NETWORKS: &str = "networks/";
/// Where all containers are.
pub(crate) const CONTAINERS: &str = "containers/";
/// Where all files of policies are.
pub(crate) const POLICIES: &str = "policies/";
/// Where all revisions of policies are.
pub(crate) const REVISIONS: &str = "revisions/";

pub(crate) fn parse<T: DeserializeOwned>(key: &Key, value: &[u8]) -> Result<T, RecordError> {
    serde_json::from_slice(value).map_err(|source| RecordError::Parse { key: key.to_string(), source })
}

fn value<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("records are structs of texts, numbers and lists, which JSON can hold")
}

fn key(text: String) -> Key {
    text.parse().expect("identifiers and names are shorter and plainer than any key may be")
}

fn network_key(id: &NetworkId) -> Key {
    key(format!("{NETWORKS}{id}"))
}

fn network_name_key(name: &NetworkName) -> Key {
    key(format!("names/networks/{name}"))
}

fn container_key(id: &ContainerId) -> Key {
    key(format!("{CONTAINERS}{id}"))
}

fn container_name_key(name: &ContainerName) -> Key {
    key(format!("names/containers/{name}"))
}

pub(crate) fn policy_key(id: &FileId) -> Key {
    key(format!("{POLICIES}{id}"))
}

pub(crate) fn revision_key(number: u64) -> Key {
    // As long as any, so that they are listed in their order.
    key(format!("{REVISIONS}{number:020}"))
}

/// The files of policies are those of `new` from now on, which is one more revision.
pub(crate) fn change_policies(old: &Rulebook, new: &Rulebook, turn: &Turn) -> Transaction {
    let (news, _) = new.news(old);
    let files = news.into_iter().chain(turn.archived.iter().map(|(id, file)| (id, file)));
    let transaction =
        files.fold(Transaction::durable(), |transaction, (id, file)| transaction.put(policy_key(id), value(file)));
    let transaction = transaction.put(revision_key(turn.revision.number), value(&turn.revision));
    let transaction = turn.dropped.iter().fold(transaction, |transaction, id| transaction.delete(policy_key(id)));
    turn.forgotten.iter().fold(transaction, |transaction, number| transaction.delete(revision_key(*number)))
}

/// The network comes into being, if its name is free.
pub(crate) fn create_network(network: &Network) -> Transaction {
    Transaction::durable()
        .create(network_name_key(&network.name), network.id.as_str())
        .create(network_key(&network.id), value(network))
}

/// The networks, which are there, are like this from now on.
pub(crate) fn update_networks(networks: &[Network]) -> Transaction {
    networks.iter().fold(Transaction::durable(), |transaction, network| {
        let key = network_key(&network.id);
        transaction.guard(Guard::Present(key.clone())).put(key, value(network))
    })
}

/// The network is no longer wanted, nor what is `remembered` of it.
pub(crate) fn delete_network(network: &Network, remembered: Vec<Key>) -> Transaction {
    let transaction = Transaction::durable().delete(network_name_key(&network.name)).delete(network_key(&network.id));
    remembered.into_iter().fold(transaction, Transaction::delete)
}

/// The container comes into being with its leases, if its name and addresses are free and its networks still there.
pub(crate) fn create_container(record: &Record) -> Transaction {
    let container = &record.container;
    let transaction = Transaction::durable()
        .create(container_name_key(&container.name), container.id.as_str())
        .create(container_key(&container.id), value(record));
    container.endpoints.iter().fold(transaction, |transaction, endpoint| {
        let transaction = transaction.guard(Guard::Present(network_key(&endpoint.network)));
        crate::world::leases(endpoint).map(|lease| lease.claim()).fold(transaction, Transaction::guarded)
    })
}

/// A lease that the container's endpoint should have is claimed, if the container is there and the address free.
pub(crate) fn claim(container: &ContainerId, lease: &ipam::Lease) -> Transaction {
    Transaction::durable().guard(Guard::Present(container_key(container))).guarded(lease.claim())
}

/// The container's record changes.
pub(crate) fn update_container(record: &Record, durability: Durability) -> Transaction {
    let transaction = Transaction { durability, ..Transaction::durable() };
    let key = container_key(&record.container.id);
    transaction.guard(Guard::Present(key.clone())).put(key, value(record))
}

/// The container's record, which has another endpoint, changes, if the endpoint's addresses are free and its network is
/// still there.
pub(crate) fn connect(record: &Record, endpoint: &Endpoint) -> Transaction {
    let transaction =
        update_container(record, Durability::Durable).guard(Guard::Present(network_key(&endpoint.network)));
    crate::world::leases(endpoint).map(|lease| lease.claim()).fold(transaction, Transaction::guarded)
}

/// Nothing is left of the endpoints that the container was leaving. Relaxed: if a crash loses this, they are still
/// leaving, and clearing them away once more finds nothing to do.
pub(crate) fn forget_leaving(record: &Record) -> Transaction {
    update_container(&Record { leaving: Vec::new(), ..record.clone() }, Durability::Relaxed)
}

/// The container, whose record has its new name, is no longer called `old`.
pub(crate) fn rename_container(record: &Record, old: &ContainerName) -> Transaction {
    let key = container_key(&record.container.id);
    Transaction::durable()
        .create(container_name_key(&record.container.name), record.container.id.as_str())
        .delete(container_name_key(old))
        .guard(Guard::Present(key.clone()))
        .put(key, value(record))
}

/// Nothing of the container is left, so its record goes. Relaxed: if a crash loses this, the record still says
/// [`Goal::Removed`], and removing once more finds nothing to do.
pub(crate) fn delete_container(container: &Container) -> Transaction {
    Transaction::relaxed()
        .delete(container_name_key(&container.name))
        .delete(container_key(&container.id))
        .making_room()
}
