//! The daemon's API as typed calls over its Unix socket.

mod connection;
mod error;
mod frames;
mod lines;
mod patient;
mod upload;

use std::path::{Path, PathBuf};

use hyper::Method;
use model::{ImageName, NetworkName};
use serde::Serialize;

use self::connection::Request;
pub use self::{
    error::ClientError,
    frames::{FrameError, FrameReader, FrameStream, FrameWriter},
    lines::Lines,
    upload::{Upload, UploadWriter, upload},
};
use crate::{
    Container, ContainerCreate, ContainersPrune, ContainersQuery, DisconnectQuery, DnsAnswer, DnsLogEntry, DnsLogQuery,
    DnsQuery, Doctor, EndpointCreate, Event, EventsQuery, ExecCreate, Flow, FlowsQuery, Image, ImportQuery, KillQuery,
    LogLine, LogsQuery, Network, NetworkCreate, NetworkUpdate, NetworksPrune, Policy, PolicyApply, PolicyChanges,
    PolicyRevision, PolicyRollback, PolicyWorld, Process, Pruned, PrunedNetworks, Reference, RemoveQuery, Rename,
    StartQuery, Status, StopQuery, Version, WaitQuery, Waited, route,
};

/// A client of one daemon. Every call opens its own connection, so that calls never wait for one another.
///
/// Every method fails with [`ClientError`]: the daemon cannot be reached, it refused, or it does not speak this API.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// Where the daemon listens if it was not told otherwise.
    pub const DEFAULT_SOCKET: &str = "/run/fabric/netd.sock";

    /// A client of the daemon that listens on `socket`; nothing is connected yet. The path may be of any length.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// Where the daemon listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What the daemon is.
    pub async fn version(&self) -> Result<Version, ClientError> {
        self.get(route::VERSION).json().await
    }

    /// What the daemon looks after.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.get(route::STATUS).json().await
    }

    /// The desired state held against the host's.
    pub async fn doctor(&self) -> Result<Doctor, ClientError> {
        self.get(route::DOCTOR).json().await
    }

    /// Mends what differs, as far as that is safe, and looks again.
    pub async fn mend(&self) -> Result<Doctor, ClientError> {
        self.post(route::DOCTOR).json().await
    }

    /// All networks.
    pub async fn networks(&self) -> Result<Vec<Network>, ClientError> {
        self.get(route::NETWORKS).json().await
    }

    /// One network.
    pub async fn network(&self, name: &NetworkName) -> Result<Network, ClientError> {
        self.get(&route::fill(route::NETWORK, name.as_str())).json().await
    }

    /// Makes a network.
    pub async fn create_network(&self, create: &NetworkCreate) -> Result<Network, ClientError> {
        self.post(route::NETWORKS).with_json(create).json().await
    }

    /// Changes a network, while it is used.
    pub async fn update_network(&self, name: &NetworkName, update: &NetworkUpdate) -> Result<Network, ClientError> {
        let path = route::fill(route::NETWORK, name.as_str());
        Request::new(&self.socket, Method::PATCH, &path).with_json(update).json().await
    }

    /// Removes a network that nothing is attached to.
    pub async fn remove_network(&self, name: &NetworkName) -> Result<(), ClientError> {
        self.delete(&route::fill(route::NETWORK, name.as_str())).empty().await
    }

    /// Removes networks that nothing is attached to.
    pub async fn prune_networks(&self, prune: &NetworksPrune) -> Result<PrunedNetworks, ClientError> {
        self.post(route::NETWORKS_PRUNE).with_json(prune).json().await
    }

    /// All policies.
    pub async fn policies(&self) -> Result<Vec<Policy>, ClientError> {
        self.get(route::POLICIES).json().await
    }

    /// One policy, with the file it stands in.
    pub async fn policy(&self, name: &str) -> Result<Policy, ClientError> {
        self.get(&route::fill(route::POLICY, name)).json().await
    }

    /// Puts policies in force, or says what that would change.
    pub async fn apply_policies(&self, apply: &PolicyApply) -> Result<PolicyChanges, ClientError> {
        self.post(route::POLICIES).with_json(apply).json().await
    }

    /// Takes a policy out of force.
    pub async fn remove_policy(&self, name: &str) -> Result<(), ClientError> {
        self.delete(&route::fill(route::POLICY, name)).empty().await
    }

    /// Whom policies are about, and which are in force.
    pub async fn policy_world(&self) -> Result<PolicyWorld, ClientError> {
        self.get(route::POLICY_WORLD).json().await
    }

    /// All revisions of the policies that are kept, the last first.
    pub async fn policy_history(&self) -> Result<Vec<PolicyRevision>, ClientError> {
        self.get(route::POLICY_HISTORY).json().await
    }

    /// One revision of the policies, with what was in force.
    pub async fn policy_revision(&self, revision: u64) -> Result<PolicyRevision, ClientError> {
        self.get(&route::fill(route::POLICY_REVISION, &revision.to_string())).json().await
    }

    /// Puts an earlier revision of the policies back in force, or says what that would change.
    pub async fn roll_policies_back(&self, rollback: &PolicyRollback) -> Result<PolicyChanges, ClientError> {
        self.post(route::POLICY_ROLLBACK).with_json(rollback).json().await
    }

    /// Containers: those that run, or all.
    pub async fn containers(&self, query: ContainersQuery) -> Result<Vec<Container>, ClientError> {
        self.get(route::CONTAINERS).with_query(&query).json().await
    }

    /// One container.
    pub async fn container(&self, reference: &Reference) -> Result<Container, ClientError> {
        self.get(&route::fill(route::CONTAINER, reference.as_str())).json().await
    }

    /// Makes a container, without starting it.
    pub async fn create_container(&self, create: &ContainerCreate) -> Result<Container, ClientError> {
        self.post(route::CONTAINERS).with_json(create).json().await
    }

    /// Removes a container.
    pub async fn remove_container(&self, reference: &Reference, query: RemoveQuery) -> Result<(), ClientError> {
        self.delete(&route::fill(route::CONTAINER, reference.as_str())).with_query(&query).empty().await
    }

    /// Attaches a container to another network, whether it runs or not.
    pub async fn connect(&self, reference: &Reference, create: &EndpointCreate) -> Result<Container, ClientError> {
        self.post(&route::fill(route::CONTAINER_ENDPOINTS, reference.as_str())).with_json(create).json().await
    }

    /// Ends a container's attachment to a network.
    pub async fn disconnect(&self, reference: &Reference, query: &DisconnectQuery) -> Result<Container, ClientError> {
        self.delete(&route::fill(route::CONTAINER_ENDPOINTS, reference.as_str())).with_query(query).json().await
    }

    /// Starts a container, also one that has ended.
    pub async fn start_container(&self, reference: &Reference, query: StartQuery) -> Result<Container, ClientError> {
        self.post(&route::fill(route::CONTAINER_START, reference.as_str())).with_query(&query).json().await
    }

    /// Stops a container and starts it again.
    pub async fn restart_container(&self, reference: &Reference, query: StopQuery) -> Result<Container, ClientError> {
        self.post(&route::fill(route::CONTAINER_RESTART, reference.as_str())).with_query(&query).json().await
    }

    /// Gives a container another name.
    pub async fn rename_container(&self, reference: &Reference, rename: &Rename) -> Result<Container, ClientError> {
        self.post(&route::fill(route::CONTAINER_RENAME, reference.as_str())).with_json(rename).json().await
    }

    /// A container's processes.
    pub async fn processes(&self, reference: &Reference) -> Result<Vec<Process>, ClientError> {
        self.get(&route::fill(route::CONTAINER_TOP, reference.as_str())).json().await
    }

    /// Removes every container that has exited.
    pub async fn prune_containers(&self, prune: &ContainersPrune) -> Result<Pruned, ClientError> {
        self.post(route::CONTAINERS_PRUNE).with_json(prune).json().await
    }

    /// Stops a container and waits until it has exited.
    pub async fn stop_container(&self, reference: &Reference, query: StopQuery) -> Result<Container, ClientError> {
        self.post(&route::fill(route::CONTAINER_STOP, reference.as_str())).with_query(&query).json().await
    }

    /// Sends a signal to a container's first process.
    pub async fn kill_container(&self, reference: &Reference, query: KillQuery) -> Result<(), ClientError> {
        self.post(&route::fill(route::CONTAINER_KILL, reference.as_str())).with_query(&query).empty().await
    }

    /// Waits for an event in a container's life.
    pub async fn wait_container(&self, reference: &Reference, query: WaitQuery) -> Result<Waited, ClientError> {
        self.get(&route::fill(route::CONTAINER_WAIT, reference.as_str())).with_query(&query).json().await
    }

    /// What a container wrote.
    pub async fn logs(&self, reference: &Reference, query: LogsQuery) -> Result<Lines<LogLine>, ClientError> {
        let request = self.get(&route::fill(route::CONTAINER_LOGS, reference.as_str())).with_query(&query);
        let name = request.name();
        Ok(Lines::new(name, request.send().await?))
    }

    /// What happened, and with [`EventsQuery::follow`] what happens.
    pub async fn events(&self, query: EventsQuery) -> Result<Lines<Event>, ClientError> {
        let request = self.get(route::EVENTS).with_query(&query);
        let name = request.name();
        Ok(Lines::new(name, request.send().await?))
    }

    /// What rules of policies log, and with [`FlowsQuery::follow`] what they log from now on.
    pub async fn flows(&self, query: FlowsQuery) -> Result<Lines<Flow>, ClientError> {
        let request = self.get(route::POLICY_FLOWS).with_query(&query);
        let name = request.name();
        Ok(Lines::new(name, request.send().await?))
    }

    /// What DNS answers, and where the answer comes from.
    pub async fn query_dns(&self, query: &DnsQuery) -> Result<DnsAnswer, ClientError> {
        self.get(route::DNS_QUERY).with_query(query).json().await
    }

    /// What DNS was asked.
    pub async fn dns_log(&self, query: DnsLogQuery) -> Result<Lines<DnsLogEntry>, ClientError> {
        let request = self.get(route::DNS_LOG).with_query(&query);
        let name = request.name();
        Ok(Lines::new(name, request.send().await?))
    }

    /// Joins a container's standard streams. A container that was not started yet sends from its first octet.
    pub async fn attach(&self, reference: &Reference) -> Result<FrameStream, ClientError> {
        self.post(&route::fill(route::CONTAINER_ATTACH, reference.as_str())).upgrade().await
    }

    /// Runs another process in a container and joins its standard streams.
    pub async fn exec(&self, reference: &Reference, exec: &ExecCreate) -> Result<FrameStream, ClientError> {
        self.post(&route::fill(route::CONTAINER_EXEC, reference.as_str())).with_json(exec).upgrade().await
    }

    /// All images.
    pub async fn images(&self) -> Result<Vec<Image>, ClientError> {
        self.get(route::IMAGES).json().await
    }

    /// Sends a tar of a root file system, of an OCI layout or of `docker save`, and names the image it holds.
    pub async fn import_image(&self, name: &ImageName, tar: Upload) -> Result<Image, ClientError> {
        self.post(route::IMAGES).with_query(&ImportQuery { name: name.clone() }).with_body(tar).json().await
    }

    /// Takes an image's name away, and its content if nothing else has it.
    pub async fn remove_image(&self, name: &ImageName) -> Result<(), ClientError> {
        self.delete(&route::fill(route::IMAGE, name.as_str())).empty().await
    }

    fn get(&self, path: &str) -> Request<'_> {
        Request::new(&self.socket, Method::GET, path)
    }

    fn post(&self, path: &str) -> Request<'_> {
        Request::new(&self.socket, Method::POST, path)
    }

    fn delete(&self, path: &str) -> Request<'_> {
        Request::new(&self.socket, Method::DELETE, path)
    }
}

/// The query string that stands for `query`, an object of scalars; absent members are left out.
fn query_string(query: &impl Serialize) -> String {
    let value = serde_json::to_value(query).expect("query types have text keys and scalar values");
    let pairs = value.as_object().into_iter().flatten().filter_map(|(key, value)| {
        let text = match value {
            serde_json::Value::Null => return None,
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Some(format!("{key}={}", route::percent_encode(&text)))
    });
    pairs.collect::<Vec<_>>().join("&")
}
