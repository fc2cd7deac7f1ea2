//! The kernel's network as the daemon sees it.

mod host;
mod policies;

use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
    num::NonZero,
    path::Path,
    sync::{Arc, mpsc},
    thread,
};

use model::{Barrier, Change, IfName, NamespaceName, Scope, State, SubInterfaceKind, Switch};
use rustix::process::setpriority_process;
use tokio::{sync::oneshot, task};

use crate::{
    ConnectionLimit, HostPorts, KernelError, Obstacle, Octets,
    announce::Herald,
    firewalls,
    judges::Trust,
    namespace::Namespaces,
    octets, ports,
    shortcut::{Names, Terms},
    structure::Unlimited,
    sub_interface,
    sweep::{After, Sweeper},
    vlan,
    watch::{Sockets, Watch},
    worker::Worker,
};

/// How much sooner than others the thread that changes the network gets a processor (`setpriority(2)`): whoever starts
/// or attaches waits for it, and while it holds the kernel's lock of interfaces (RTNL) so does everybody else.
const PRIORITY: i32 = -10;
/// The same of the thread that only looks.
const LEISURE: i32 = 10;

type Job = Box<dyn FnOnce(&mut Worker, &Sweeper) + Send>;

/// A handle to the network namespace that [`Kernel::open`] was called in.
///
/// All work that changes something is done, one piece after the other, on a thread of its own: it enters containers'
/// namespaces, which no thread of an async runtime may. The thread ends with the last handle. Work that has been handed
/// over is done even if the future that waits for it is dropped.
#[derive(Debug, Clone)]
pub struct Kernel {
    jobs: mpsc::Sender<Job>,
    /// Work that changes nothing and that nobody is in a hurry for.
    looks: mpsc::Sender<Job>,
    namespaces: Namespaces,
    unlimited: Unlimited,
    terms: Terms,
}

/// When a reconcile of one endpoint or namespace that is no longer desired has done its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Once nothing of it is left.
    Awaited,
    /// Once its links are down and its ports closed, so that nobody can reach it or be reached from it, and a container
    /// that goes on finds no more what it lost. Its links, its flows and its namespace go within a fifth of a second,
    /// together with those of others. Whatever needs the same names or the same address waits for that.
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
    /// `netns`, which is made if it is missing. `shortcut` says whether frames between containers may go past their
    /// bridge where the kernel can do that and nobody else looks at them.
    ///
    /// # Errors
    /// When the directory cannot be made or no netlink socket can be opened.
    pub fn open(run_dir: &Path, limit: ConnectionLimit, shortcut: Switch) -> Result<Self, KernelError> {
        let namespaces = Namespaces::open(&run_dir.join("netns"))?;
        let herald = Herald::start()?;
        let terms = Terms::new(shortcut);
        let unlimited = Unlimited::default();
        let worker =
            || Worker::open(run_dir, namespaces.clone(), herald.clone(), limit, unlimited.clone(), terms.clone());
        let mut first = worker()?;
        terms.begin(&mut first.route);
        let sweeper = Arc::new(Sweeper::start(first)?);
        // Whoever reconciles everything waits for it, most of all at the start; nobody waits for the looks, and they
        // had better not keep anybody waiting.
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        let jobs =
            serve("fabric-kernel", PRIORITY, Worker { processors, hurries: true, ..worker()? }, sweeper.clone())?;
        let looks = serve("fabric-look", LEISURE, worker()?, sweeper)?;
        Ok(Self { jobs, looks, namespaces, unlimited, terms })
    }

    /// Brings the part of the host within `scope` to the state that `desired` returns.
    ///
    /// `desired` is called on the kernel thread, when every reconcile before this one has ended, so that its answer
    /// is not older than what it is compared with; it must not block. Of its answer only what lies within `scope`
    /// counts. `after` is called after each applied change, of those that are swept on another thread.
    ///
    /// A report of a narrow scope that holds a [`Change::InstallFirewall`] means that someone destroyed the rules;
    /// elements beyond the scope may be missing until [`Scope::Firewall`] has been reconciled. That scope also deletes
    /// the conntrack entries of connections that others opened to containers while there were no rules.
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

    /// The same beside running reconciles, which it does not delay however much there is to look at. What they are
    /// changing meanwhile is told as well, so only what two looks tell is a difference.
    ///
    /// # Errors
    /// When the state cannot be observed; something that vanishes in the middle can be the cause.
    pub async fn look(
        &self,
        scope: Scope,
        desired: impl FnOnce() -> State + Send + 'static,
    ) -> Result<Vec<Change>, KernelError> {
        ask(&self.looks, move |worker, sweeper| {
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
        let sockets = self.run(|worker, _| Sockets::open(&mut worker.route, &worker.netfilter, &worker.runs)).await?;
        Watch::new(sockets, self.terms.postponed())
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

    /// Whether a namespace of this name is pinned. Does not wait for a running reconcile.
    ///
    /// # Errors
    /// When the file that would pin it cannot be examined.
    pub fn is_pinned(&self, name: &NamespaceName) -> Result<bool, KernelError> {
        self.namespaces.is_pinned(name)
    }

    /// Pins the namespace that a container's process is in, unless one is pinned under this name: somebody unmounted
    /// it, and a new one would not be the container's.
    ///
    /// # Errors
    /// When the process has ended, or its namespace cannot be pinned.
    pub async fn adopt_namespace(&self, name: NamespaceName, pid: i32) -> Result<(), KernelError> {
        let namespaces = self.namespaces.clone();
        task::spawn_blocking(move || namespaces.adopt(&name, pid)).await.unwrap_or(Err(KernelError::Stopped))
    }

    /// Opens sockets in a namespace that answer datagrams and connections at `local`. As long as one of them is open,
    /// the kernel keeps the namespace.
    ///
    /// # Errors
    /// When the namespace is not there, or the address is taken in it.
    pub async fn listen_inside(
        &self,
        namespace: NamespaceName,
        local: SocketAddr,
    ) -> Result<(UdpSocket, TcpListener), KernelError> {
        self.run(move |worker, _| {
            let pinned = worker.namespaces.require(&namespace)?;
            let open = || {
                let (udp, tcp) = (UdpSocket::bind(local)?, TcpListener::bind(local)?);
                udp.set_nonblocking(true)?;
                tcp.set_nonblocking(true)?;
                Ok((udp, tcp))
            };
            let opened: io::Result<_> = worker.home.visit(&pinned, open)?;
            opened.map_err(|source| KernelError::System {
                action: format!("listen on {local} in namespace {namespace}"),
                source,
            })
        })
        .await
    }

    /// Whether this kernel can make interfaces for VLANs. Nothing is made.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub async fn knows_vlans(&self) -> Result<bool, KernelError> {
        self.run(|worker, _| vlan::is_known(&mut worker.route)).await
    }

    /// Whether this kernel can make interfaces of a kind on others. Nothing is made.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub async fn knows(&self, kind: SubInterfaceKind) -> Result<bool, KernelError> {
        self.run(move |worker, _| sub_interface::is_known(&mut worker.route, kind)).await
    }

    /// Why frames between containers do not go past their bridge, if they do not.
    ///
    /// # Errors
    /// When the thread that looks has ended.
    pub async fn barrier(&self) -> Result<Option<Barrier>, KernelError> {
        ask(&self.looks, |worker, _| Ok(worker.splice.barrier(&mut worker.netfilter, Trust::Nothing))).await
    }

    /// What the program at the ports knows of names. It answers what it knows in place of the DNS server.
    pub fn names(&self) -> &Names {
        &self.terms.names
    }

    /// Why the connections of containers are not limited though they are to be, if so: all other rules hold then.
    pub fn unlimited(&self) -> Option<String> {
        self.unlimited.reason()
    }

    /// Whether a frame that comes in by a port would go past the bridge. Nothing is sent.
    ///
    /// # Errors
    /// When there is no such port, or the kernel does not answer.
    pub async fn takes_shortcut(&self, port: IfName, frame: Vec<u8>) -> Result<bool, KernelError> {
        ask(&self.looks, move |worker, _| worker.splice.takes(&port, &frame)).await
    }

    /// Leads all frames by their bridges again: nobody would take the shortcut away should another program's rules come
    /// to look at them. Unmounts the directory of namespaces, unless one is pinned in it still. No more work may be
    /// asked for.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn close(&self) -> Result<(), KernelError> {
        let namespaces = self.namespaces.clone();
        self.run(move |worker, sweeper| {
            sweeper.settle(&Scope::Shortcut);
            worker.splice.remove()?;
            namespaces.close()
        })
        .await
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

    /// How much has passed between networks and the host, by their bridges. Does not wait for a running reconcile.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub async fn octets(&self) -> Result<BTreeMap<IfName, Octets>, KernelError> {
        task::spawn_blocking(octets::of_bridges).await.unwrap_or(Err(KernelError::Stopped))
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Worker, &Sweeper) -> Result<T, KernelError> + Send + 'static,
    ) -> Result<T, KernelError> {
        ask(&self.jobs, work).await
    }
}

/// Starts a thread that does one job after the other until nobody can hand over another, in the namespace of the
/// calling thread.
fn serve(
    name: &str,
    priority: i32,
    mut worker: Worker,
    sweeper: Arc<Sweeper>,
) -> Result<mpsc::Sender<Job>, KernelError> {
    let (jobs, queue) = mpsc::channel::<Job>();
    thread::Builder::new()
        .name(name.into())
        .spawn(move || {
            // Where this is not allowed it is only slower. Without a number it is about the calling thread alone.
            if let Err(error) = setpriority_process(None, priority) {
                tracing::debug!(%error, "the kernel thread has no priority");
            }
            queue.into_iter().for_each(|job| job(&mut worker, &sweeper));
        })
        .map_err(|source| KernelError::System { action: format!("start the thread {name}"), source })?;
    Ok(jobs)
}

async fn ask<T: Send + 'static>(
    thread: &mpsc::Sender<Job>,
    work: impl FnOnce(&mut Worker, &Sweeper) -> Result<T, KernelError> + Send + 'static,
) -> Result<T, KernelError> {
    let (answer, result) = oneshot::channel();
    let job: Job = Box::new(move |worker, sweeper| {
        // Nobody waits for the result any more if sending fails.
        let _ = answer.send(work(worker, sweeper));
    });
    thread.send(job).map_err(|_| KernelError::Stopped)?;
    result.await.unwrap_or(Err(KernelError::Stopped))
}
