//! The kernel's network as the daemon sees it.

use std::{
    path::Path,
    sync::{Arc, mpsc},
    thread,
};

use ipnet::IpNet;
use model::{Change, IfName, NamespaceName, Scope, State};
use tokio::{sync::oneshot, task};

use crate::{
    HostPorts, KernelError, Obstacle, firewalls, host,
    namespace::Namespaces,
    ports,
    sweep::{After, Sweeper},
    watch::{Sockets, Watch},
    worker::Worker,
};

type Job = Box<dyn FnOnce(&mut Worker, &Sweeper) + Send>;

/// A handle to the network namespace that [`Kernel::open`] was called in.
///
/// All work is done, one piece after the other, on a thread of its own: it enters containers' namespaces, which no
/// thread of an async runtime may. The thread ends with the last handle. Work that has been handed over is done even
/// if the future that waits for it is dropped.
#[derive(Debug, Clone)]
pub struct Kernel {
    jobs: mpsc::Sender<Job>,
    namespaces: Namespaces,
}

/// When a reconcile of one endpoint or namespace that is no longer desired has done its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Once nothing of it is left.
    Awaited,
    /// Once its links are down and its ports closed, so that nobody can reach it or be reached from it. Its links, its
    /// flows and its namespace go within tens of milliseconds, together with those of others. Whatever looks at the
    /// same objects or the same address later waits for that.
    Swept,
}

/// What a reconcile did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The changes that were applied, in order, without those that are left to be swept; empty if all was as it should
    /// be.
    pub changes: Vec<Change>,
}

impl Kernel {
    /// Starts work in the calling thread's network namespace.
    ///
    /// `run_dir` must be on a file system that does not outlive the boot; namespaces are pinned in its directory
    /// `netns`, which is made if it is missing.
    ///
    /// # Errors
    /// When the directory cannot be made or no netlink socket can be opened.
    pub fn open(run_dir: &Path) -> Result<Self, KernelError> {
        let namespaces = Namespaces::open(&run_dir.join("netns"))?;
        let mut worker = Worker::open(run_dir, namespaces.clone())?;
        let sweeper = Sweeper::start(Worker::open(run_dir, namespaces.clone())?)?;
        let (jobs, queue) = mpsc::channel::<Job>();
        // A new thread starts in the namespace of the thread that makes it.
        thread::Builder::new()
            .name("fabric-kernel".into())
            .spawn(move || queue.into_iter().for_each(|job| job(&mut worker, &sweeper)))
            .map_err(|source| KernelError::System { action: "start the kernel thread".into(), source })?;
        Ok(Self { jobs, namespaces })
    }

    /// Brings the part of the host within `scope` to the state that `desired` returns.
    ///
    /// `desired` is called on the kernel thread, when every reconcile before this one has ended, so that its answer
    /// is not older than what it is compared with; it must not block. Of its answer only what lies within `scope`
    /// counts. `after` is called after each applied change, of those that are swept on another thread.
    ///
    /// A report of a narrow scope that holds a [`Change::InstallFirewall`] means that someone destroyed the rules;
    /// elements beyond the scope may be missing until [`Scope::Firewall`] has been reconciled. That scope also deletes the
    /// conntrack entries of connections that others opened to containers while there were no rules.
    ///
    /// # Errors
    /// [`KernelError::Changes`] lists each change that failed; those that did not depend on it have been applied. Any
    /// other error means that the state could not be observed and nothing was changed.
    pub async fn reconcile(
        &self,
        scope: Scope,
        removal: Removal,
        desired: impl FnOnce() -> State + Send + 'static,
        after: impl Fn(&Change) + Send + Sync + 'static,
    ) -> Result<Report, KernelError> {
        let after: After = Arc::new(after);
        self.run(move |worker, sweeper| {
            sweeper.settle(&scope);
            worker.reconcile(&scope, desired(), removal, sweeper, &after)
        })
        .await
    }

    /// What [`Kernel::reconcile`] would change; it changes nothing.
    ///
    /// # Errors
    /// When the state cannot be observed.
    pub async fn difference(
        &self,
        scope: Scope,
        desired: impl FnOnce() -> State + Send + 'static,
    ) -> Result<Vec<Change>, KernelError> {
        self.run(move |worker, sweeper| {
            sweeper.settle(&scope);
            worker.difference(&scope, desired())
        })
        .await
    }

    /// Tells from now on what others change of what is Fabric's.
    ///
    /// # Errors
    /// When the kernel takes no subscription.
    pub async fn watch(&self) -> Result<Watch, KernelError> {
        let sockets = self.run(|worker, _| Sockets::open(&mut worker.route, &worker.netfilter)).await?;
        Watch::new(sockets)
    }

    /// Makes, prepares and pins a namespace, without waiting for a running reconcile. If it is there already it is
    /// only prepared.
    ///
    /// A reconcile of everything removes namespaces that are not desired, so the name must be before this is called.
    ///
    /// # Errors
    /// When it cannot be made, prepared or pinned.
    pub async fn make_namespace(&self, name: NamespaceName) -> Result<(), KernelError> {
        let namespaces = self.namespaces.clone();
        task::spawn_blocking(move || namespaces.create(&name)).await.unwrap_or(Err(KernelError::Stopped))
    }

    /// What the host's addresses and routes occupy, and the interface each leads through, those of Fabric's own
    /// interfaces and default routes left out: a new subnet had better not overlap any of it.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub async fn host_routes(&self) -> Result<Vec<(IfName, IpNet)>, KernelError> {
        self.run(|worker, _| host::routes(&mut worker.route)).await
    }

    /// Chains of other tables that keep Fabric's traffic from passing. Does not wait for a running reconcile.
    ///
    /// # Errors
    /// When `nft` cannot be run.
    pub async fn obstacles(&self) -> Result<Vec<Obstacle>, KernelError> {
        task::spawn_blocking(firewalls::obstacles).await.unwrap_or(Err(KernelError::Stopped))
    }

    /// Which of the host's ports programs listen on. Does not wait for a running reconcile.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub async fn ports_in_use(&self) -> Result<HostPorts, KernelError> {
        task::spawn_blocking(ports::in_use).await.unwrap_or(Err(KernelError::Stopped))
    }

    /// The maximum transmission unit, in octets, of the interface with the default route; 1500 if there is none.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub async fn uplink_mtu(&self) -> Result<u32, KernelError> {
        self.run(|worker, _| host::uplink_mtu(&mut worker.route)).await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Worker, &Sweeper) -> Result<T, KernelError> + Send + 'static,
    ) -> Result<T, KernelError> {
        let (answer, result) = oneshot::channel();
        let job: Job = Box::new(move |worker, sweeper| {
            // Nobody waits for the result any more if sending fails.
            let _ = answer.send(work(worker, sweeper));
        });
        self.jobs.send(job).map_err(|_| KernelError::Stopped)?;
        result.await.unwrap_or(Err(KernelError::Stopped))
    }
}
