//! What the store holds, under which keys.
//!
//! | key | value |
//! |---|---|
//! | `networks/ID` | [`Network`] |
//! | `containers/ID` | [`Record`] |
//! | `names/networks/NAME`, `names/containers/NAME` | the identifier that has the name |
//! | `leases/NETWORK/ADDRESS` | the lease, as `ipam` writes it |
//!
//! Names and leases are keys of their own because a guard on one key is what makes two of a kind impossible.

use jiff::Timestamp;
use model::{Container, ContainerId, ContainerName, Endpoint, EndpointId, Network, NetworkId, NetworkName};
use runtime::Exit;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use store::{Durability, Guard, Key, Transaction, Write};

/// A container as the store holds it: what was asked for, and what cannot be observed again after a reboot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) container: Container,
    pub(crate) goal: Goal,
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

/// The network comes into being, if its name is free.
pub(crate) fn create_network(network: &Network) -> Transaction {
    Transaction::durable()
        .create(network_name_key(&network.name), network.id.as_str())
        .create(network_key(&network.id), value(network))
}

/// The network is no longer wanted.
pub(crate) fn delete_network(network: &Network) -> Transaction {
    Transaction::durable().delete(network_name_key(&network.name)).delete(network_key(&network.id))
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

/// Nothing is left of the endpoints that the container was leaving, and `releases` give their addresses back. Relaxed: if
/// a crash loses this, they are still leaving, and clearing them away once more finds nothing to do.
pub(crate) fn forget_leaving(record: &Record, releases: Vec<(Guard, Write)>) -> Transaction {
    let record = Record { leaving: Vec::new(), ..record.clone() };
    releases.into_iter().fold(update_container(&record, Durability::Relaxed), Transaction::guarded)
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

/// Nothing of the container is left, so nothing of it is remembered, and `releases` give its addresses back. Relaxed: if
/// a crash loses this, the record still says [`Goal::Removed`], and removing once more finds nothing to do.
pub(crate) fn delete_container(container: &Container, releases: Vec<(Guard, Write)>) -> Transaction {
    let transaction =
        Transaction::relaxed().delete(container_name_key(&container.name)).delete(container_key(&container.id));
    releases.into_iter().fold(transaction, Transaction::guarded)
}
