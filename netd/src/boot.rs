//! How the daemon starts, continues what the last one left, and stops.

mod error;

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use ipam::Pool;
use jiff::Timestamp;
use model::{Change, ContainerId, Family, Network, Scope};
use sha2::{Digest, Sha256};
use store::Store;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};

use crate::{
    attention,
    clock::Clock,
    config::Config,
    daemon::{Daemon, chain},
    directories::Directories,
    events::Events,
    expiring,
    failure::Failure,
    flows,
    history::History,
    host_end,
    learning::{self, School},
    notify::Manager,
    record::{self, Record},
    restarting,
    rulebook::Rulebook,
    scrape, server,
    step::Steps,
    world::World,
};

pub(crate) use self::error::StartError;

/// Runs the daemon until it is told to end.
pub(crate) async fn run(config: Config, directories: Directories, zygote: runtime::Zygote) -> Result<(), StartError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Threads)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Threads)?;
    let manager = Manager::from_environment().map_err(StartError::Notify)?;
    let socket = directories.socket();
    // Nothing is changed before it is certain that nobody else works here.
    let claim = kernel::Claim::take()?;
    if !claim.is_enforced() {
        tracing::warn!("this kernel has no nfnetlink_log: nothing keeps a second netd off this network namespace");
    }
    let scraped = match config.metrics_listen {
        Some(address) => {
            let listening = scrape::listen(address).await;
            Some(listening.map_err(|source| StartError::Metrics { address, source })?)
        }
        None => None,
    };
    let (daemon, school) = wire(config, directories, zygote).await?;
    let served = serve((&daemon, school), manager, scraped, &mut terminate, &mut interrupt).await;
    daemon.stop().await;
    let _ = std::fs::remove_file(&socket);
    drop(claim);
    served
}

/// Serves with all that it was wired to, until it is told to end. Containers go on, unless the host ends, too.
async fn serve(
    (daemon, school): (&Arc<Daemon>, School),
    manager: Manager,
    scraped: Option<TcpListener>,
    terminate: &mut Signal,
    interrupt: &mut Signal,
) -> Result<(), StartError> {
    let socket = daemon.directories.socket();
    // Before the first look: nothing is missed after it.
    let watch = daemon.kernel.watch().await?;
    daemon.recover(school).await;
    daemon.fill_pool();
    tokio::spawn(expiring::expire(daemon.clone()));
    tokio::spawn(flows::listen(daemon.clone()));
    if attention::is_wanted() {
        tokio::spawn(attention::attend(daemon.clone(), watch));
        tokio::spawn(look_again(daemon.clone()));
    }
    let listener = server::listen(&socket, group("fabric"))
        .map_err(|source| StartError::Socket { path: socket.clone(), source })?;
    if let Some(scraped) = scraped {
        tokio::spawn(scrape::serve(daemon.clone(), scraped));
    }
    // What an import or a removal could not remove before the last daemon died.
    let tidying = daemon.clone();
    tokio::spawn(async move { tidying.tidy_images_if_possible().await });
    tracing::info!(socket = %socket.display(), "ready");
    manager.ready();
    // On a thread that takes the requests, too: from this one each would have to be handed over.
    let mut serving = tokio::spawn(server::serve(daemon.clone(), listener));
    tokio::select! {
        _ = &mut serving => {}
        () = manager.watch(daemon) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    serving.abort();
    manager.stopping();
    if manager.is_there() && host_end::has_begun().await {
        daemon.end_with_host(&manager).await;
    }
    Ok(())
}

/// Opens everything the daemon works with; changes nothing yet.
async fn wire(
    config: Config,
    directories: Directories,
    zygote: runtime::Zygote,
) -> Result<(Arc<Daemon>, School), StartError> {
    let steps = Steps::from_environment().map_err(|source| StartError::Steps("NETD_STEP_LOG", source))?;
    let pools = pools(config.pools.as_deref());
    let store = store::Embedded::open(directories.data())?;
    let (world, history) = load(&store).await?;
    let images = image::Images::open(&directories.images(), image::Limits::default())?;
    let observer = steps.clone();
    let images = images.observed(move |step| observer.after(&step.to_string()));
    let runtime = runtime::Runtime::new(
        zygote,
        runtime::Directories {
            run: directories.running(),
            data: directories.containers(),
            namespaces: directories.netns(),
            cgroup_parent: cgroup_parent(&directories),
        },
    );
    let host_resolver = Arc::new(dns::ResolvConf::new(&config.resolv_conf));
    let upstreams = match &config.upstreams {
        Some(upstreams) => dns::HostUpstreams::Fixed(upstreams.iter().map(|upstream| upstream.address()).collect()),
        None => dns::HostUpstreams::Follow(host_resolver.clone()),
    };
    let zones = dns::Zones::new(dns::Snapshot::new(config.domain.clone(), config.dns_ttl));
    let forwarder = dns::ForwarderConfig::new(upstreams);
    let (clock, world) = (Clock::from_environment(), Arc::new(Mutex::new(world)));
    let (school, learner) = School::open(&world, &clock, &directories.learned());
    let (remembered, learner) = (config.dns_query_log, Arc::new(learner));
    let dns = dns::Server::witnessed(zones.clone(), forwarder, remembered, learner).map_err(StartError::Threads)?;
    // Last: what it mounts is unmounted when the daemon stops.
    let kernel = kernel::Kernel::open(directories.run(), config.connection_limit.into(), config.shortcut)?;
    let all_remembered = (config.dns_query_log > 0).then(|| kernel.names().withhold());
    let daemon = Daemon {
        askable: Mutex::default(),
        _all_remembered: all_remembered,
        metrics: Default::default(),
        events: Events::load(&directories.events()),
        flows: Default::default(),
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
        world,
        image_use: Default::default(),
        editing: Default::default(),
        ruling: tokio::sync::Mutex::new(history),
        ruled: Default::default(),
        clock,
        forgetting: Default::default(),
        restart_places: restarting::places(),
        listening: Default::default(),
        deaf: Mutex::default(),
        binds: Default::default(),
        mended: Default::default(),
        overlaps: Default::default(),
        host_ends: Default::default(),
    };
    Ok((Arc::new(daemon), school))
}

/// The pools that automatic subnets are cut from: those configured, and Fabric's own if none of them is of IPv4.
fn pools(configured: Option<&[Pool]>) -> Vec<Pool> {
    let mut pools = configured.unwrap_or_default().to_vec();
    if pools.iter().all(|pool| pool.family() != Family::Ipv4) {
        pools.extend(ipam::default_pools());
    }
    pools
}

/// The world as the store has it, and the revisions of its policies.
async fn load(store: &dyn Store) -> Result<(World, History), StartError> {
    let mut world = World::default();
    for (key, entry) in &store.list(record::NETWORKS).await?.entries {
        let network: Network = record::parse(key, &entry.value)?;
        let leases = store.list(&ipam::Lease::prefix(&network.id)).await?;
        let formers = store.list(&ipam::Former::prefix(&network.id)).await?;
        let (id, subnets, reserved) = (network.id.clone(), &network.subnets, &network.reserved);
        let leases = ipam::LeaseTable::from_listing(id, subnets, reserved, &leases, &formers)?;
        world.insert_committed_network(network, leases);
    }
    for (key, entry) in &store.list(record::CONTAINERS).await?.entries {
        world.insert_committed_container(record::parse(key, &entry.value)?);
    }
    let (mut files, mut history) = (Vec::new(), History::default());
    for (key, entry) in &store.list(record::POLICIES).await?.entries {
        let id = key.segments().last().expect("a key has a segment").to_owned();
        let file = record::parse(key, &entry.value)?;
        history.insert_file(&id, &file);
        files.push((id, file));
    }
    for (key, entry) in &store.list(record::REVISIONS).await?.entries {
        history.insert(&record::parse(key, &entry.value)?);
    }
    // Without them it would let through what they deny.
    let rulebook = Rulebook::new(files).map_err(|source| StartError::Policies { source: Box::new(source) })?;
    world.set_rulebook(Arc::new(rulebook));
    Ok((world, history))
}

impl Daemon {
    /// In what the host's network is not what it should be, seen without making requests wait; none if it is. Whatever
    /// cannot be seen clearly counts as damage, of which nothing is known.
    async fn damage(&self) -> Option<Vec<Change>> {
        /// Longer than what a request changes stays half done.
        const SETTLING: Duration = Duration::from_millis(200);
        let look = || self.kernel.look(Scope::Everything, self.desired(Scope::Everything));
        let first = look().await;
        if first.as_ref().is_ok_and(Vec::is_empty) {
            return None;
        }
        tokio::time::sleep(SETTLING).await;
        let mut second = match look().await {
            Ok(second) => second,
            Err(_) => return Some(Vec::new()),
        };
        if let Ok(first) = first {
            second.retain(|change| first.contains(change));
        }
        (!second.is_empty()).then_some(second)
    }

    /// Continues what the last daemon left, whether it ended well or was killed in the middle of something. What fails
    /// is told, and tried again: a container that cannot be continued is no reason to leave the others alone.
    async fn recover(self: &Arc<Self>, school: School) {
        let tell = |result: Result<(), Failure>| {
            if let Err(failure) = result {
                tracing::error!(failure = chain(&failure), "cannot restore the state of this host");
            }
        };
        tell(self.look_at_host().await.map(drop));
        self.note_time();
        self.hold_namespaces().await;
        tell(self.reconcile("restore networks", Scope::Everything).await);
        // The last daemon may have ended when the kernel judged by new policies and what they deny was not cut.
        tell(self.cut_denied("cut what policies deny").await);
        let networks: Vec<Network> = self.world().networks().cloned().collect();
        for network in &networks {
            tell(self.open_zone(network));
        }
        // Names before sockets: a name that is not answered yet is asked for again, one that is denied is not.
        let records: Vec<Record> = self.world().records().cloned().collect();
        for record in records.iter().filter(|record| record.is_live()) {
            tell(self.publish_names(&record.container));
        }
        tokio::spawn(learning::attend(self.clone(), school));
        self.listen().await;
        tell(self.clear_strays().await);
        // All at once: one that takes its time keeps nobody else waiting.
        let mut resuming = tokio::task::JoinSet::new();
        for record in records {
            let daemon = self.clone();
            resuming.spawn(async move {
                let resumed = daemon.resume(&record.container.id).await;
                if resumed.is_err() {
                    daemon.resume_later(record.container.id);
                }
                resumed
            });
        }
        while let Some(resumed) = resuming.join_next().await {
            tell(resumed.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())));
        }
        tell(self.follow_uplinks().await);
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
            self.steps.after("stray container deleted");
            self.remove_files(&self.directories.containers().join(id.as_str())).await?;
            self.steps.after("stray files removed");
        }
        Ok(())
    }

    /// Ends the daemon's own work. Containers, their networks and their flows go on.
    async fn stop(self: &Arc<Self>) {
        tracing::info!("ending");
        self.dns.shutdown().await;
        self.world().namespaces.close();
        // What is being made would be pinned after the look that removes what nobody needs.
        let made = async {
            while !self.world().namespaces.making().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(8), made).await;
        if let Err(failure) = self.reconcile("clear away spare namespaces", Scope::Everything).await {
            tracing::warn!(failure = chain(&failure), "the next start of netd tries again");
        }
        if let Err(error) = self.kernel.close().await {
            tracing::warn!(error = chain(&error), "the directory of namespaces stays mounted");
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
    /// Of a host with many containers a look takes longer; it then comes more seldom, and never takes more than 2 % of
    /// a processor.
    const SHARE: u32 = 50;
    let mut pause = INTERVAL;
    loop {
        tokio::time::sleep(pause).await;
        let start = Instant::now();
        // A default route that leads elsewhere is not told.
        if let Err(failure) = daemon.follow_uplinks().await {
            tracing::warn!(failure = chain(&failure), "cannot follow the MTUs of uplinks");
        }
        if let Err(failure) = daemon.follow_host().await {
            tracing::warn!(failure = chain(&failure), "cannot follow the host's addresses");
        }
        if let Some(damage) = daemon.damage().await {
            daemon.hold_namespaces().await;
            if let Err(failure) = daemon.put_back(Scope::Everything, |change| damage.contains(change)).await {
                tracing::warn!(failure = chain(&failure), "this host's network is not as it should be");
            }
        }
        daemon.mended.tell_the_rest();
        // Routes are not told either.
        daemon.tell_new_overlaps().await;
        daemon.fill_pool();
        pause = INTERVAL.max(SHARE * start.elapsed());
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
