//! What is kept of networks, containers and images: leases, directories, cgroups, layers.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use api::{Check, CheckResult, Difference};
use ipam::Lease;
use model::{ContainerId, Digest, EndpointId, NetworkId};
use store::{CommitError, Key, Revision, Transaction};

use super::{FIX, MANY, check, failed};
use crate::{
    daemon::{Daemon, chain},
    failure::Failure,
    files,
    images::blocking,
    record::{self, Record},
    world::leases,
};

/// What is in the data directory. A file system of its own has `lost+found` (mke2fs(8)).
const OF_DATA: [&str; 9] = [
    "containers",
    "events.jsonl",
    "events.new",
    "images",
    "lost+found",
    "netd.lock",
    "state.redb",
    "state.redb.new",
    "state.reserve",
];

/// What is in a container's data directory, besides what `runtime` has there.
const OF_CONTAINER: [&str; 6] = ["hostname", "hosts", "resolv.conf", "upper", "work", files::NOTE];

/// Leases that are not as they should be.
#[derive(Default)]
struct LeaseDifferences {
    /// Held by no endpoint.
    leaked: Vec<(Lease, Revision)>,
    /// An endpoint's, and in no store.
    missing: Vec<(Lease, ContainerId, String)>,
}

impl Daemon {
    pub(super) async fn examine_leases(&self) -> Check {
        const FINE: &str = "every address in use is leased, and no other";
        let found = match self.lease_differences().await {
            Ok(found) => found,
            Err(failure) => return failed("leases", &failure),
        };
        let name = |id: &NetworkId| self.world().network(id).map_or_else(|| id.to_string(), |it| it.name.to_string());
        let lease = |lease: &Lease| format!("lease {} of network `{}`", lease.address, name(&lease.network));
        let leaked = found.leaked.iter().map(|(leaked, _)| Difference {
            object: lease(leaked),
            difference: format!("is held by endpoint {}, which does not exist", leaked.endpoint.short()),
            remedy: FIX.to_owned(),
        });
        let missing = found.missing.iter().map(|(missing, _, container)| Difference {
            object: lease(missing),
            difference: format!("is missing, and container `{container}` has the address"),
            remedy: FIX.to_owned(),
        });
        check("leases", FINE, leaked.chain(missing).collect())
    }

    /// Of an endpoint that is being made the world knows before the store, and of one that is removed the store before
    /// the world: so the world is looked at both before and after, and either knowledge is enough to acquit a lease.
    async fn lease_differences(&self) -> Result<LeaseDifferences, Failure> {
        let networks: Vec<NetworkId> = self.world().networks().map(|network| network.id.clone()).collect();
        let wanted: Vec<(Lease, ContainerId, String)> = {
            let world = self.world();
            // Of one that is being worked on the store may not show yet what it has accepted.
            let is_settled =
                |record: &&Record| !world.life(&record.container.id).is_some_and(|life| life.is_worked_on());
            let live = world.records().filter(is_settled).map(|record| &record.container);
            let of = |container: &model::Container| {
                let all = container.endpoints.iter().flat_map(leases);
                all.map(|lease| (lease, container.id.clone(), container.name.to_string())).collect::<Vec<_>>()
            };
            live.flat_map(of).collect()
        };
        let mut stored = Vec::new();
        for network in &networks {
            let unread = |source: store::StoreError| Failure::commit("read the leases", source);
            let listing = self.store.list(&Lease::prefix(network)).await.map_err(unread)?;
            for (key, entry) in &listing.entries {
                match Lease::parse(key, entry) {
                    Ok(lease) => stored.push((lease, entry.modified)),
                    Err(error) => tracing::warn!(error = chain(&error), "a lease cannot be read"),
                }
            }
        }
        let held: BTreeSet<(Key, EndpointId)> = {
            let world = self.world();
            world.endpoints().flat_map(|(endpoint, _)| leases(endpoint)).map(|lease| key(&lease)).collect()
        };
        let known: BTreeSet<(Key, EndpointId)> = stored.iter().map(|(lease, _)| key(lease)).collect();
        let leaked = stored.into_iter().filter(|(lease, _)| !held.contains(&key(lease)));
        let missing = wanted.into_iter().filter(|(lease, ..)| {
            let key = key(lease);
            networks.contains(&lease.network) && !known.contains(&key) && held.contains(&key)
        });
        Ok(LeaseDifferences { leaked: leaked.collect(), missing: missing.collect() })
    }

    pub(super) async fn mend_leases(&self) -> Result<(), Failure> {
        let found = self.lease_differences().await?;
        for (lease, claimed) in found.leaked {
            let doing = format!("give back address {}", lease.address);
            self.commit(doing, Transaction::durable().guarded(lease.release(claimed))).await?;
            self.steps.after("stray lease given back");
            self.world().forget_lease(&lease);
        }
        for (lease, container, _) in found.missing {
            let doing = format!("lease address {}", lease.address);
            let revision = match self.commit(doing, record::claim(&container, &lease)).await {
                // Somebody else has done it, or the container is gone.
                Err(Failure::Commit { source, .. }) if matches!(*source, CommitError::Conflict { .. }) => continue,
                claimed => claimed?,
            };
            self.steps.after("missing lease claimed");
            self.world().note_lease(&lease, revision);
        }
        Ok(())
    }

    /// Directories and cgroups of containers that are gone, and what nobody knows in directories of Fabric's own.
    pub(super) async fn examine_files(self: &Arc<Self>) -> Check {
        const FINE: &str = "no directory, cgroup or mount belongs to a container that is gone";
        let daemon = self.clone();
        let found = blocking(move || -> Result<_, runtime::RuntimeError> {
            let mut found = BTreeMap::new();
            for id in daemon.runtime.list()? {
                if daemon.world().record(&id).is_none() {
                    found.insert(id.clone(), daemon.runtime.remains(&id)?);
                }
            }
            Ok(found)
        });
        let strays = match found.await {
            Ok(strays) => strays,
            Err(error) => return failed("files", &error),
        };
        let stray = |(id, path): (&ContainerId, PathBuf)| Difference {
            object: path.display().to_string(),
            difference: format!("is of container {}, which does not exist", id.short()),
            remedy: FIX.to_owned(),
        };
        let differences: Vec<Difference> =
            strays.iter().flat_map(|(id, paths)| paths.iter().map(move |path| (id, path.clone()))).map(stray).collect();
        let daemon = self.clone();
        let foreign = blocking(move || daemon.foreign_files()).await;
        with_foreign(check("files", FINE, differences), foreign)
    }

    /// What is in directories of the daemon's and was not made by it.
    fn foreign_files(&self) -> Vec<PathBuf> {
        let is_container = |name: &str| name.parse::<ContainerId>().is_ok();
        let is_part = |name: &str| OF_CONTAINER.contains(&name) || runtime::Directories::is_own_file(name);
        let mut found = foreign(self.directories.data(), |name| OF_DATA.contains(&name));
        // One directory may be in the other.
        found.retain(|path| !self.directories.run().starts_with(path));
        for directory in [self.directories.containers(), self.directories.running()] {
            found.extend(foreign(&directory, is_container));
        }
        let containers: Vec<_> = self.world().records().map(|record| record.container.id.clone()).collect();
        for id in containers {
            found.extend(foreign(&self.directories.containers().join(id.as_str()), is_part));
        }
        found
    }

    pub(super) async fn examine_images(self: &Arc<Self>) -> Check {
        let daemon = self.clone();
        let audit = blocking(move || {
            let in_use: BTreeSet<Digest> = daemon.world().image_digests().cloned().collect();
            daemon.images.audit(&in_use)
        });
        let audit = match audit.await {
            Ok(audit) => audit,
            Err(error) => return failed("images", &error),
        };
        let damaged = audit.damaged.iter().map(|(name, error)| Difference {
            object: format!("image `{name}`"),
            difference: chain(error),
            remedy: format!("import it again: `fabric image import PATH {name}`"),
        });
        let strays = audit.strays.iter().map(|path| Difference {
            object: path.display().to_string(),
            difference: "belongs to no image".to_owned(),
            remedy: FIX.to_owned(),
        });
        let found =
            check("images", "every image is whole, and nothing is left of others", damaged.chain(strays).collect());
        with_foreign(found, audit.foreign)
    }
}

/// The entries of a directory whose names are not its owner's. One that cannot be listed is told by who works in it.
fn foreign(directory: &Path, is_own: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().map_while(Result::ok);
    let foreign = entries.filter(|entry| !entry.file_name().to_str().is_some_and(&is_own));
    let mut paths: Vec<_> = foreign.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// The check, which also names what somebody else has put there. That alone is no problem: it is in nobody's way.
fn with_foreign(mut check: Check, foreign: Vec<PathBuf>) -> Check {
    if check.differences.is_empty() && !foreign.is_empty() {
        check.result = CheckResult::Warning;
        check.message = "there are files that Fabric did not make".to_owned();
    }
    check.differences.extend(foreign.into_iter().take(MANY).map(|path| Difference {
        object: path.display().to_string(),
        difference: "is nothing that Fabric makes".to_owned(),
        remedy: "it is in nobody's way; move it away by hand, if nobody needs it there".to_owned(),
    }));
    check
}

/// What one lease has in common with no other.
fn key(lease: &Lease) -> (Key, EndpointId) {
    (lease.key(), lease.endpoint.clone())
}
