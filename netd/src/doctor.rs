//! What should be, held against what is.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use api::{Check, CheckResult, Doctor};
use model::{Change, ContainerId, ContainerState, Scope};

use crate::{
    daemon::{Daemon, chain},
    failure::Failure,
    images::blocking,
    record::Goal,
    world::leases,
};

const REPAIR: &str = "netd mends what it can every 10 s; if it stays, restart netd, which stops no container";

/// How often, and after which pause, a difference is looked for again before it counts.
const LOOKS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(200);

impl Daemon {
    /// The daemon in numbers.
    pub(crate) async fn status(&self) -> Result<api::Status, Failure> {
        let images = self.list_images().await?.len() as u64;
        let world = self.world();
        let running = |id: &ContainerId| {
            world.life(id).is_some_and(|life| matches!(life.state(), ContainerState::Running { .. }))
        };
        Ok(api::Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            started_at: self.started_at,
            data_dir: self.directories.data().into(),
            run_dir: self.directories.run().into(),
            networks: world.networks().count() as u64,
            containers: world.records().count() as u64,
            running: world.records().filter(|record| running(&record.container.id)).count() as u64,
            images,
        })
    }

    /// Compares the whole desired state with the host's, changes nothing, and names each difference.
    pub(crate) async fn examine(self: &Arc<Self>) -> Doctor {
        let mut doctor = self.look().await;
        // What a request is working on differs from what it will be, for a moment.
        for _ in 0..LOOKS {
            if doctor.healthy {
                break;
            }
            tokio::time::sleep(PAUSE).await;
            doctor = self.look().await;
        }
        doctor
    }

    async fn look(self: &Arc<Self>) -> Doctor {
        Doctor::new(vec![
            self.examine_kernel().await,
            self.examine_dns(),
            self.examine_leases(),
            self.examine_containers().await,
            self.examine_leftovers().await,
        ])
    }

    async fn examine_kernel(&self) -> Check {
        let mut making = self.world().namespaces.making().clone();
        match self.kernel.difference(Scope::Everything, self.desired(Scope::Everything)).await {
            Ok(changes) => {
                making.extend(self.world().namespaces.making().iter().cloned());
                // A namespace that is being made for the pool differs from what it will be.
                let unfinished = |change: &&Change| match change {
                    Change::CreateNamespace(name) | Change::PrepareNamespace(name) => making.contains(name),
                    _ => false,
                };
                let differences = changes.iter().filter(|change| !unfinished(change)).map(ToString::to_string);
                check("kernel", "interfaces, addresses, routes and rules are as they should be", differences)
            }
            Err(error) => check("kernel", "", [chain(&error)]),
        }
    }

    fn examine_dns(&self) -> Check {
        let deaf = self.deaf.lock().expect("nobody panics with it").clone();
        check("dns", "every network's gateway answers", deaf)
    }

    fn examine_leases(&self) -> Check {
        let world = self.world();
        let endpoints = world.records().flat_map(|record| &record.container.endpoints);
        let mut held: BTreeSet<_> =
            endpoints.flat_map(leases).map(|lease| (lease.network, lease.address, lease.endpoint)).collect();
        let leaked: Vec<_> = world
            .leases()
            .filter(|lease| !held.remove(&(lease.network.clone(), lease.address, lease.endpoint.clone())))
            .map(|lease| {
                format!(
                    "address {} is leased to endpoint {}, which does not exist",
                    lease.address,
                    lease.endpoint.short()
                )
            })
            .collect();
        let missing = held.into_iter().map(|(_, address, endpoint)| {
            format!("endpoint {} has address {address} without a lease", endpoint.short())
        });
        check("leases", "every address in use is leased, and no other", leaked.into_iter().chain(missing))
    }

    async fn examine_containers(&self) -> Check {
        let records: Vec<_> = self.world().records().cloned().collect();
        let mut differences = Vec::new();
        for record in records {
            let container = &record.container;
            match (record.goal, self.runtime.state(&container.id).await) {
                (Goal::Removed, _) => {
                    differences.push(format!("container `{}` is not removed to the end", container.name))
                }
                (_, Err(error)) => differences.push(chain(&error)),
                (_, Ok(None)) if record.is_live() => {
                    differences.push(format!("container `{}` should be there, and has no shim", container.name));
                }
                _ => {}
            }
        }
        check("containers", "every container is what it should be", differences)
    }

    /// Files that belong to no container.
    async fn examine_leftovers(self: &Arc<Self>) -> Check {
        let daemon = self.clone();
        match blocking(move || daemon.runtime.list()).await {
            Ok(found) => {
                let world = self.world();
                let strays = found.iter().filter(|id| world.record(id).is_none());
                let strays = strays.map(|id| format!("files of container {}, which does not exist", id.short()));
                check("leftovers", "no file belongs to a container that is gone", strays)
            }
            Err(error) => check("leftovers", "", [chain(&error)]),
        }
    }
}

/// The outcome of one check: a problem with every difference, or `fine`.
fn check(name: &str, fine: &str, differences: impl IntoIterator<Item = String>) -> Check {
    let differences: Vec<String> = differences.into_iter().collect();
    if differences.is_empty() {
        return Check { name: name.into(), result: CheckResult::Ok, message: fine.into(), hint: None };
    }
    Check {
        name: name.into(),
        result: CheckResult::Problem,
        message: differences.join("; "),
        hint: Some(REPAIR.into()),
    }
}
