//! What policies ask of the kernel besides that it judges by them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use model::{DataPath, NamespaceName, Tracked, data_path::CounterName};
use tokio::task;

use super::{Kernel, ask};
use crate::{Counted, FlowLog, KernelError, conntrack, flow_log, policing};

impl Kernel {
    /// Whether the kernel would take this as its table of policies, where `bridged` with what passes from port to port
    /// of a bridge. Nothing is changed. Does not wait for a running reconcile.
    ///
    /// # Errors
    /// When it would not, or `nft` cannot be run.
    pub async fn would_police(&self, path: Arc<DataPath>, bridged: bool) -> Result<(), KernelError> {
        task::spawn_blocking(move || policing::check(&path, bridged)).await.unwrap_or(Err(KernelError::Stopped))
    }

    /// What the counters of rules have counted. Does not wait for a running reconcile.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub async fn policy_counters(&self) -> Result<BTreeMap<CounterName, Counted>, KernelError> {
        ask(&self.looks, |worker, _| policing::counters::read(&mut worker.netfilter)).await
    }

    /// Tells from now on what rules log.
    ///
    /// # Errors
    /// When another program reads it.
    pub async fn flow_log(&self) -> Result<FlowLog, KernelError> {
        FlowLog::new(self.run(|_, _| flow_log::open()).await?)
    }

    /// Deletes the conntrack entries of connections of which this is true: what is sent over them is judged anew.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn forget_denied(
        &self,
        is_denied: impl Fn(&Tracked) -> bool + Send + 'static,
    ) -> Result<(), KernelError> {
        self.run(move |worker, _| conntrack::forget_denied(&mut worker.netfilter, &is_denied)).await
    }

    /// Has conntrack know the connections of TCP that were opened to programs in these namespaces and of which this is
    /// true. What goes past the bridges it does not hear of. A namespace that cannot be looked into is passed over.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn remember_connections(
        &self,
        namespaces: Vec<NamespaceName>,
        is_one: impl Fn(&Tracked) -> bool + Send + 'static,
    ) -> Result<(), KernelError> {
        self.run(move |worker, _| worker.remember_connections(&namespaces, &is_one)).await
    }

    /// The host's addresses, its own and those on Fabric's bridges.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub async fn addresses(&self) -> Result<BTreeSet<IpAddr>, KernelError> {
        ask(&self.looks, |worker, _| conntrack::local_addresses(&mut worker.route)).await
    }
}
