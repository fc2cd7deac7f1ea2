//! The daemon's parts, and the ways every request takes through them: commit, reconcile, answer names.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, atomic::AtomicBool},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use kernel::Removal;
use model::{Chain, EndpointId, NamespaceName, Network, Scope, Spare};
use store::{Accepted, Revision, Store, Transaction};
use tokio::sync::{Notify, RwLock, Semaphore};

use crate::{
    binds::Binds, clock::Clock, config::Config, directories::Directories, doctor::KnownOverlaps, events::Events,
    failure::Failure, flows::Flows, history::History, mended::Mended, metrics::Metrics, names::Askable,
    namespaces::Purpose, pending::Pending, step::Steps, world::World,
};

/// How long nobody may have to wait for the pool of namespaces to be filled before it is.
const POOL_PAUSE: Duration = Duration::from_millis(50);

/// The daemon. One value for the whole process, shared by every request.
pub(crate) struct Daemon {
    pub(crate) directories: Directories,
    pub(crate) config: Config,
    pub(crate) store: Box<dyn Store>,
    pub(crate) kernel: kernel::Kernel,
    pub(crate) images: Arc<image::Images>,
    pub(crate) runtime: runtime::Runtime,
    pub(crate) zones: dns::Zones,
    /// How the networks that are zones are asked.
    pub(crate) askable: Mutex<Askable>,
    /// Held where all queries are remembered, which only those to the server can be.
    pub(crate) _all_remembered: Option<kernel::Withheld>,
    pub(crate) dns: dns::Server,
    pub(crate) steps: Steps,
    pub(crate) events: Events,
    pub(crate) flows: Flows,
    pub(crate) metrics: Metrics,
    pub(crate) started_at: Timestamp,
    /// Where automatic subnets are cut from.
    pub(crate) pools: Vec<ipam::Pool>,
    /// The host's search domains, for containers' `resolv.conf`.
    pub(crate) host_resolver: Arc<dns::ResolvConf>,
    pub(crate) world: Arc<Mutex<World>>,
    /// Read by whoever is about to use an image, written by whoever removes one: what is in use is known in between.
    pub(crate) image_use: RwLock<()>,
    /// Held while a network changes, so that of two changes the later knows of the other.
    pub(crate) editing: tokio::sync::Mutex<()>,
    /// Held while policies change, so that of two changes the later knows of the other.
    pub(crate) ruling: tokio::sync::Mutex<History>,
    /// Told when policies have changed.
    pub(crate) ruled: Notify,
    pub(crate) clock: Clock,
    /// Whether whoever is gone is to be taken out of what judges by policies.
    pub(crate) forgetting: Pending,
    /// Held while what is listened on is brought up to date.
    pub(crate) listening: tokio::sync::Mutex<()>,
    /// Held by whoever starts a container by its restart policy.
    pub(crate) restart_places: Semaphore,
    /// Where DNS should be answered and is not, and why; for the doctor.
    pub(crate) deaf: Mutex<BTreeMap<SocketAddr, String>>,
    pub(crate) binds: Binds,
    pub(crate) mended: Mended,
    pub(crate) overlaps: KnownOverlaps,
    /// Whether the host is being shut down, so that no container is started again.
    pub(crate) host_ends: AtomicBool,
}

impl Daemon {
    /// The world, for as long as the guard lives: never across an `await`.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no holder of the world panics")
    }

    /// Random octets for identifiers and MAC addresses.
    pub(crate) fn random<const N: usize>(&self) -> [u8; N] {
        let mut octets = [0; N];
        getrandom::fill(&mut octets).expect("getrandom(2) cannot fail once the kernel has seeded it");
        octets
    }

    pub(crate) async fn commit(&self, doing: impl Into<String>, transaction: Transaction) -> Result<Revision, Failure> {
        let committed = self.store.commit(transaction).await;
        committed.map_err(|source| Failure::commit(doing, source))
    }

    /// The same, which does not wait for the disk: what it returns does.
    pub(crate) async fn submit(&self, doing: &str, transaction: Transaction) -> Result<Accepted, Failure> {
        let accepted = self.store.submit(transaction).await;
        accepted.map_err(|source| Failure::commit(doing, source))
    }

    /// Makes the kernel what the world says, as far as `scope` reaches. The desired state is computed when its turn
    /// comes, so that of two reconciles the later one always wins.
    pub(crate) async fn reconcile(&self, doing: impl Into<String>, scope: Scope) -> Result<(), Failure> {
        self.reconcile_with(doing, scope, Removal::Awaited).await
    }

    /// The same, where what only takes the kernel's time may be left to be swept.
    pub(crate) async fn reconcile_with(
        &self,
        doing: impl Into<String>,
        scope: Scope,
        removal: Removal,
    ) -> Result<(), Failure> {
        self.bring_about(doing, scope, removal).await.map(drop)
    }

    /// The same, and tells what it changed within the scope.
    pub(crate) async fn bring_about(
        &self,
        doing: impl Into<String>,
        scope: Scope,
        removal: Removal,
    ) -> Result<Vec<model::Change>, Failure> {
        let begun = Instant::now();
        let steps = self.steps.clone();
        let after = move |change: &model::Change| steps.after(&format!("kernel: {change}"));
        let report = self.kernel.reconcile(scope.clone(), removal, self.desired(scope.clone()), after.clone()).await;
        self.metrics.reconcile.observe(begun.elapsed());
        let doing = doing.into();
        let fail = |source: kernel::KernelError| Failure::Kernel { doing: doing.clone(), source: source.into() };
        let report = match report {
            Ok(report) => report,
            Err(error) => {
                self.metrics.reconcile_failures.add(1);
                return Err(fail(error));
            }
        };
        self.metrics.changes.add(report.changes.len() as u64);
        let restored = report.changes.iter().any(|change| matches!(change, model::Change::InstallFirewall { .. }));
        let judges_anew = report.changes.iter().any(|change| matches!(change, model::Change::InstallPolicing(_)));
        // Elsewhere a change of it is what was asked for; here somebody else had changed it, or the last daemon got no
        // further.
        let is_repair = matches!(scope, Scope::Everything | Scope::Firewall);
        let judges_again =
            is_repair && report.changes.iter().any(|change| matches!(change, model::Change::ChangePolicing { .. }));
        if restored && scope != Scope::Firewall {
            // What lies beyond this scope went with the rules, and who came in meanwhile is to go.
            let all = self.desired(Scope::Firewall);
            let restored = self.kernel.reconcile(Scope::Firewall, Removal::Awaited, all, after).await;
            restored.map(drop).map_err(&fail)?;
        }
        if judges_anew {
            self.settle_connections().await.map_err(fail)?;
        } else if judges_again {
            self.forget_denied().await.map_err(fail)?;
        }
        Ok(report.changes)
    }

    /// The desired state of the host within `scope`, computed when called.
    pub(crate) fn desired(&self, scope: Scope) -> impl FnOnce() -> model::State + Send + 'static {
        let world = self.world.clone();
        move || world.lock().expect("no holder of the world panics").desired(&scope)
    }

    /// Listens for DNS on the gateway of every network. Where that is impossible nobody is answered, which is logged,
    /// and told by the doctor; it is a failure only of who needs that address.
    pub(crate) async fn listen(&self) -> BTreeMap<SocketAddr, dns::DnsError> {
        // Of two at once the later must have the later view of the world.
        let _listening = self.listening.lock().await;
        let gateways: BTreeSet<SocketAddr> = {
            let world = self.world();
            world.networks().flat_map(name_servers).collect()
        };
        let host = self.config.dns_host_listener.map(|address| address.0);
        let failed = self.dns.listen(dns::Listeners { gateways, host }).await.err().unwrap_or_default();
        let reasons = failed.iter().map(|(address, error)| (*address, chain(error))).collect();
        let before = std::mem::replace(&mut *self.deaf.lock().expect("nobody panics with it"), reasons);
        for (address, error) in failed.iter().filter(|(address, _)| !before.contains_key(address)) {
            tracing::error!(%address, error = chain(error), "names are not answered there");
        }
        failed
    }

    /// The same, for a network whose own gateways are to answer.
    pub(crate) async fn listen_for(&self, network: &Network) -> Result<(), Failure> {
        let mut failed = self.listen().await;
        let own = name_servers(network).find_map(|address| failed.remove(&address));
        let fail =
            |source: dns::DnsError| Failure::Dns { doing: "answer DNS for containers".into(), source: source.into() };
        own.map_or(Ok(()), |source| Err(fail(source)))
    }

    /// Makes namespaces until the pool is full, in the background: attaching takes one that is ready. As long as there
    /// is one more, it waits for a quiet moment: making one holds the kernel's lock that attaching takes (RTNL).
    pub(crate) fn fill_pool(self: &Arc<Self>) {
        let daemon = self.clone();
        tokio::spawn(async move {
            if daemon.world().namespaces.has_idle() {
                tokio::time::sleep(POOL_PAUSE).await;
            }
            loop {
                let endpoint = EndpointId::from_bytes(daemon.random());
                let spare = Spare { namespace: daemon.new_namespace_name(), endpoint };
                // Asked and noted in one breath: two at once must not make one too many.
                let begun = daemon.world().namespaces.begin_up_to(daemon.config.namespace_pool, &spare);
                let Some(purpose) = begun else { return };
                if let Err(failure) = daemon.make_spare(&spare, purpose).await {
                    daemon.world().namespaces.forget(&spare.namespace);
                    tracing::warn!(failure = chain(&failure), "cannot make a network namespace ahead of time");
                    return;
                }
                daemon.world().namespaces.give_back(spare.namespace);
            }
        });
    }

    /// Makes what was begun, and the veth pair in it if it is for that.
    async fn make_spare(&self, spare: &Spare, purpose: Purpose) -> Result<(), Failure> {
        self.make_namespace(&spare.namespace).await?;
        if purpose == Purpose::Bridged {
            self.reconcile("make a veth pair ahead of time", Scope::Spare(spare.clone())).await?;
        }
        Ok(())
    }

    /// A namespace that is ready for a container: one from the pool, or a new one.
    pub(crate) async fn take_namespace(&self, purpose: Purpose) -> Result<NamespaceName, Failure> {
        let idle = self.world().namespaces.take(purpose);
        if let Some(name) = idle {
            return Ok(name);
        }
        let name = self.new_namespace_name();
        self.world().namespaces.begin(name.clone());
        self.make_namespace(&name).await?;
        self.world().namespaces.finish(&name);
        Ok(name)
    }

    fn new_namespace_name(&self) -> NamespaceName {
        let name = format!("ns-{:016x}", u64::from_ne_bytes(self.random()));
        name.parse().expect("letters, a hyphen and hexadecimal digits name a namespace")
    }

    /// Makes a namespace that has been begun; if it cannot be made, it is forgotten.
    async fn make_namespace(&self, name: &NamespaceName) -> Result<(), Failure> {
        let made = self.kernel.make_namespace(name.clone()).await;
        if made.is_err() {
            self.world().namespaces.forget(name);
        }
        made.map_err(|source| Failure::Kernel { doing: "make a network namespace".into(), source: source.into() })?;
        self.steps.after("namespace made");
        Ok(())
    }
}

/// Where the network's containers are answered.
pub(crate) fn name_servers(network: &Network) -> impl Iterator<Item = SocketAddr> {
    network.gateways().map(|subnet| (subnet.gateway(), 53).into())
}

/// An error and its causes on one line, for the log.
pub(crate) fn chain<E: std::error::Error + 'static>(error: &E) -> String {
    Chain(error).to_string()
}
