//! How the daemon starts, continues what the last one left, and stops.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use ipnet::IpNet;
use jiff::Timestamp;
use model::{ContainerId, Network, Scope};
use sha2::{Digest, Sha256};
use store::Store;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    attention,
    config::{Config, ConfigError},
    daemon::{Daemon, chain},
    directories::{Directories, DirectoryError},
    events::Events,
    failure::Failure,
    notify::Manager,
    record::{self, Record, RecordError},
    server,
    step::Steps,
    world::World,
};

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("`log = \"{filter}\"` in the configuration is not a log filter")]
    Log {
        filter: String,
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error(transparent)]
    Runtime(#[from] runtime::RuntimeError),
    #[error("cannot start threads")]
    Threads(#[source] io::Error),
    #[error(transparent)]
    Open(#[from] store::OpenError),
    #[error("cannot read the state file")]
    Read(#[from] store::StoreError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("cannot read a lease")]
    Lease(#[from] ipam::IpamError),
    #[error("cannot work on this host's network")]
    Kernel(#[from] kernel::KernelError),
    #[error(transparent)]
    Image(#[from] image::ImageError),
    #[error("`pools` in the configuration cannot be used")]
    Pools(#[from] ipam::PoolError),
    #[error("NOTIFY_SOCKET names no socket of a service manager")]
    Notify(#[source] io::Error),
    #[error("cannot open {} for crash tests", .0)]
    Steps(&'static str, #[source] io::Error),
    #[error("cannot serve the API on {}", .path.display())]
    Socket {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl StartError {
    /// What to do about it, where that is not said already.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Directory(DirectoryError::Prepare { source, .. })
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                Some("netd must be run by root")
            }
            Self::Open(error) => Some(error.hint()),
            Self::Read(error) => Some(error.hint()),
            Self::Record(_) | Self::Lease(_) => Some("was it written by a newer netd? nothing of it was changed"),
            _ => None,
        }
    }
}

/// Runs the daemon until it is told to end.
pub(crate) async fn run(config: Config, directories: Directories, zygote: runtime::Zygote) -> Result<(), StartError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Threads)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Threads)?;
    let manager = Manager::from_environment().map_err(StartError::Notify)?;
    let socket = directories.socket();
    let daemon = wire(config, directories, zygote).await?;
    // Before the first look: nothing is missed after it.
    let watch = daemon.kernel.watch().await?;
    daemon.recover().await;
    daemon.fill_pool();
    tokio::spawn(attention::attend(daemon.clone(), watch));
    tokio::spawn(look_again(daemon.clone()));
    let listener = server::listen(&socket, group("fabric"))
        .map_err(|source| StartError::Socket { path: socket.clone(), source })?;
    tracing::info!(socket = %socket.display(), "ready");
    manager.ready();
    tokio::select! {
        () = server::serve(daemon.clone(), listener) => {}
        () = manager.watch(&daemon) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    manager.stopping();
    daemon.stop().await;
    let _ = std::fs::remove_file(&socket);
    Ok(())
}

/// Opens everything the daemon works with; changes nothing yet.
async fn wire(config: Config, directories: Directories, zygote: runtime::Zygote) -> Result<Arc<Daemon>, StartError> {
    let steps = Steps::from_environment().map_err(|source| StartError::Steps("NETD_STEP_LOG", source))?;
    let store = store::Embedded::open(directories.data())?;
    let world = load(&store).await?;
    let images = image::Images::open(&directories.images(), image::Limits::default())?;
    let kernel = kernel::Kernel::open(directories.run())?;
    let runtime = runtime::Runtime::new(
        zygote,
        runtime::Directories {
            run: directories.running(),
            data: directories.containers(),
            cgroup_parent: cgroup_parent(&directories),
        },
    );
    let host_resolver = Arc::new(dns::ResolvConf::new(&config.resolv_conf));
    let upstreams = match &config.upstreams {
        Some(upstreams) => dns::HostUpstreams::Fixed(upstreams.iter().map(|upstream| upstream.address()).collect()),
        None => dns::HostUpstreams::Follow(host_resolver.clone()),
    };
    let zones = dns::Zones::new(dns::Snapshot::new(config.domain.clone(), config.dns_ttl));
    let dns = dns::Server::new(zones.clone(), dns::ForwarderConfig::new(upstreams), config.dns_query_log);
    let pools = pools(config.pools.as_deref().unwrap_or_default())?;
    Ok(Arc::new(Daemon {
        metrics: Default::default(),
        events: Events::load(&directories.events()),
        directories,
        config,
        store: Box::new(store),
        kernel,
        images: Arc::new(images),
        runtime,
        zones,
        dns,
        steps,
        started_at: Timestamp::now(),
        pools,
        host_resolver,
        world: Arc::new(Mutex::new(world)),
        image_use: Default::default(),
        listening: Default::default(),
        deaf: Mutex::new(None),
    }))
}

/// The pools that automatic subnets are cut from: those configured, and Fabric's own if none of them is of IPv4.
fn pools(ranges: &[IpNet]) -> Result<Vec<ipam::Pool>, ipam::PoolError> {
    let configured = ranges.iter().map(|range| {
        let prefix = if range.addr().is_ipv4() { 24 } else { 64 };
        ipam::Pool::new(*range, range.prefix_len().max(prefix))
    });
    let own = if ranges.iter().any(|range| range.addr().is_ipv4()) { Vec::new() } else { ipam::default_pools().into() };
    configured.chain(own.into_iter().map(Ok)).collect()
}

/// The world as the store has it.
async fn load(store: &dyn Store) -> Result<World, StartError> {
    let mut world = World::default();
    for (key, entry) in &store.list(record::NETWORKS).await?.entries {
        let network: Network = record::parse(key, &entry.value)?;
        let leases = store.list(&ipam::Lease::prefix(&network.id)).await?;
        let leases = ipam::LeaseTable::from_listing(network.id.clone(), &network.subnets, &network.reserved, &leases)?;
        world.insert_committed_network(network, leases);
    }
    for (key, entry) in &store.list(record::CONTAINERS).await?.entries {
        world.insert_committed_container(record::parse(key, &entry.value)?);
    }
    Ok(world)
}

impl Daemon {
    /// Continues what the last daemon left, whether it ended well or was killed in the middle of something. What fails
    /// is told and left to the doctor: a container that cannot be continued is no reason to leave the others alone.
    async fn recover(self: &Arc<Self>) {
        let tell = |result: Result<(), Failure>| {
            if let Err(failure) = result {
                tracing::error!(failure = chain(&failure), "cannot restore the state of this host");
            }
        };
        tell(self.reconcile("restore networks", Scope::Everything).await);
        let networks: Vec<Network> = self.world().networks().cloned().collect();
        for network in &networks {
            tell(self.open_zone(network));
        }
        // Names before sockets: a name that is not answered yet is asked for again, one that is denied is not.
        let records: Vec<Record> = self.world().records().cloned().collect();
        for record in records.iter().filter(|record| record.is_live()) {
            tell(self.publish_names(&record.container));
        }
        tell(self.listen().await);
        tell(self.clear_strays().await);
        // All at once: one that takes its time keeps nobody else waiting.
        let mut resuming = tokio::task::JoinSet::new();
        for record in records {
            let daemon = self.clone();
            resuming.spawn(async move { daemon.resume(&record.container.id).await });
        }
        while let Some(resumed) = resuming.join_next().await {
            tell(resumed.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())));
        }
    }

    /// Removes what belongs to no container: a removal was committed, and the daemon killed before it was done.
    pub(crate) async fn clear_strays(self: &Arc<Self>) -> Result<(), Failure> {
        let strays: Vec<ContainerId> = match self.runtime.list() {
            Ok(ids) => ids.into_iter().filter(|id| self.world().record(id).is_none()).collect(),
            Err(source) => return Err(Failure::Runtime { doing: "list", name: "*".into(), source: source.into() }),
        };
        for id in strays {
            let deleted = self.runtime.delete(&id).await;
            deleted.map_err(|source| Failure::Runtime {
                doing: "clear",
                name: id.short().to_owned(),
                source: source.into(),
            })?;
            self.remove_files(&self.directories.containers().join(id.as_str())).await?;
        }
        Ok(())
    }

    /// Ends the daemon's own work. Containers, their networks and their flows go on.
    async fn stop(self: &Arc<Self>) {
        tracing::info!("ending; containers go on");
        self.dns.shutdown().await;
        self.world().namespaces = Default::default();
        if let Err(failure) = self.reconcile("clear away spare namespaces", Scope::Everything).await {
            tracing::warn!(failure = chain(&failure), "the next start of netd tries again");
        }
        if self.world().records().next().is_none()
            && let Err(error) = self.runtime.remove_cgroup_parent()
        {
            tracing::warn!(error = chain(&error), "an empty cgroup is left");
        }
    }
}

/// Holds what should be against what is every so often, and mends it: not every damage is told by the kernel.
async fn look_again(daemon: Arc<Daemon>) {
    const INTERVAL: Duration = Duration::from_secs(10);
    loop {
        tokio::time::sleep(INTERVAL).await;
        if let Err(failure) = daemon.reconcile("restore networks", Scope::Everything).await {
            tracing::warn!(failure = chain(&failure), "this host's network is not as it should be");
        }
        daemon.fill_pool();
    }
}

/// The name of the cgroup around all containers of this data directory.
fn cgroup_parent(directories: &Directories) -> String {
    let digest = Sha256::digest(directories.data().as_os_str().as_encoded_bytes());
    let hex: String = digest[..6].iter().map(|octet| format!("{octet:02x}")).collect();
    format!("fabric-{hex}")
}

/// The number of the group of that name, if there is one (group(5)).
fn group(name: &str) -> Option<u32> {
    let text = std::fs::read_to_string("/etc/group").ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}
