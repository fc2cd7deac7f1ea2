//! What should be, held against what is: told, and mended where that harms nobody.

mod connections;
mod dns;
mod firewalls;
mod kernel;
mod mtu;
mod overlap;
mod remains;
mod space;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use api::{Check, CheckResult, Difference, Doctor};
use model::{Change, Container, ContainerId, ContainerState, Scope};
use runtime::Observed;

use self::kernel::Part;
pub(crate) use self::{
    kernel::{Owners, differences},
    overlap::KnownOverlaps,
};
use crate::{
    daemon::{Daemon, chain},
    failure::Failure,
    record::Goal,
};

/// How often, and after which pause, a difference is looked for again before it counts.
const LOOKS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(200);

/// How many differences of one kind are told one by one.
const MANY: usize = 50;

const FIX: &str = "mend it with `fabric doctor --fix`";

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

    /// Mends what can be mended without harm to what runs, and looks again. What was mended is what is gone then.
    pub(crate) async fn mend(self: &Arc<Self>) -> Doctor {
        let before = self.examine().await;
        if before.healthy {
            return before;
        }
        let tell = |result: Result<(), Failure>| {
            if let Err(failure) = result {
                tracing::warn!(failure = chain(&failure), "the doctor cannot mend something");
            }
        };
        self.hold_namespaces().await;
        tell(self.reconcile("mend this host's network", Scope::Everything).await);
        self.listen().await;
        for (_, failed) in self.unfinished().await {
            tell(self.resume(&failed).await);
        }
        tell(self.clear_strays().await);
        tell(self.mend_leases().await);
        tell(self.tidy_images().await);
        let mut after = self.examine().await;
        let left: Vec<&Difference> = after.checks.iter().flat_map(|check| &check.differences).collect();
        let mended = before.checks.iter().flat_map(|check| &check.differences).filter(|it| !left.contains(it));
        after.mended = mended.cloned().collect();
        after
    }

    async fn look(self: &Arc<Self>) -> Doctor {
        let mut checks = self.examine_kernel().await;
        checks.extend(self.examine_reach());
        checks.push(self.examine_dns().await);
        checks.push(self.examine_leases().await);
        checks.push(self.examine_containers().await);
        checks.push(self.examine_files().await);
        checks.push(self.examine_images().await);
        checks.push(self.examine_firewalls().await);
        checks.extend(self.examine_connections());
        checks.extend(self.examine_mtu().await);
        checks.extend(self.examine_overlaps().await);
        checks.extend(self.examine_space());
        Doctor::new(checks)
    }

    async fn examine_kernel(&self) -> Vec<Check> {
        let mut making = self.world().namespaces.unfinished();
        let changes = match self.kernel.difference(Scope::Everything, self.desired(Scope::Everything)).await {
            Ok(changes) => changes,
            Err(error) => return vec![self.unseen(&error)],
        };
        making.extend(self.world().namespaces.unfinished());
        // What is being made for the pool differs from what it will be.
        let unfinished = |change: &&Change| change.relies_on().any(|object| making.contains(&object));
        let owners = Owners::of(&self.world());
        let mut found: BTreeMap<Part, Vec<Difference>> = BTreeMap::new();
        for change in changes.iter().filter(|change| !unfinished(change)) {
            for (part, difference) in differences(change, &owners) {
                found.entry(part).or_default().push(difference);
            }
        }
        let barrier = match self.kernel.barrier().await {
            Ok(barrier) => barrier,
            Err(error) => return vec![failed(Part::Shortcut.name(), &error)],
        };
        let mut checks = Vec::new();
        for part in Part::ALL {
            let differences = found.remove(&part).unwrap_or_default();
            let fine = match (part, &barrier) {
                // Nobody misses what is there.
                (Part::Shortcut, None) if differences.is_empty() => continue,
                (Part::Policies, _) if differences.is_empty() && self.world().rulebook().is_empty() => continue,
                (Part::Shortcut, Some(barrier)) => format!("frames between containers pass their bridges: {barrier}"),
                _ => part.fine().to_owned(),
            };
            checks.push(check(part.name(), &fine, differences));
        }
        checks
    }

    /// The check of the kernel that could not be made: where one container is the reason, it is named.
    fn unseen(&self, error: &::kernel::KernelError) -> Check {
        let ::kernel::KernelError::Namespace { name, .. } = error else { return failed("kernel", error) };
        let owners = Owners::of(&self.world());
        let remedy =
            "netd looks after all others; stop the container if it is not meant to change its network all the time";
        let object = owners.name("namespace", name.as_str());
        let difference = Difference { object, difference: chain(error), remedy: remedy.to_owned() };
        check("kernel", "", vec![difference])
    }

    /// Containers that a failure or a crash left in the middle of something: what is wrong, and which it is.
    async fn unfinished(&self) -> Vec<(Difference, ContainerId)> {
        let records: Vec<_> = self.world().records().cloned().collect();
        let mut found = Vec::new();
        for record in records {
            let container = &record.container;
            let mut remedy = FIX.to_owned();
            let difference = match (record.goal, self.runtime.state(&container.id).await) {
                (Goal::Removed, _) => "is not removed to the end".to_owned(),
                (_, Err(error)) => {
                    if error.is_unreachable() {
                        remedy = renewal(container);
                    }
                    chain(&error)
                }
                (_, Ok(None)) if record.is_live() => "should be there, and has no shim".to_owned(),
                (_, Ok(Some(Observed::Exited(_)))) if record.is_live() && self.is_waiting(&container.id) => {
                    "could not be made anew, which is tried again".to_owned()
                }
                (_, Ok(Some(Observed::Running { .. }))) => match self.has_outdated_files(container).await {
                    Ok(false) => continue,
                    Ok(true) => "has /etc/resolv.conf and /etc/hosts of before its networks were changed".to_owned(),
                    Err(failure) => chain(&failure),
                },
                _ => continue,
            };
            let object = format!("container `{}`", container.name);
            found.push((Difference { object, difference, remedy }, container.id.clone()));
        }
        found
    }

    /// Whether the container's program has not been executed yet, as far as this daemon knows.
    fn is_waiting(&self, id: &ContainerId) -> bool {
        self.world().life(id).is_some_and(|life| life.state() == ContainerState::Created)
    }

    async fn examine_containers(&self) -> Check {
        let lost = self.runtime.has_lost_zygote().then(|| Difference {
            object: "the zygote, which makes containers".to_owned(),
            difference: "has ended: no container can be started".to_owned(),
            remedy: "restart netd, which stops no container".to_owned(),
        });
        let unfinished = self.unfinished().await.into_iter().map(|(difference, _)| difference);
        let differences = lost.into_iter().chain(unfinished).collect();
        check("containers", "every container is what it should be", differences)
    }
}

/// What gives a container a shim that can be reached: that is for whoever needs it to do, because it ends what runs.
fn renewal(container: &Container) -> String {
    let name = &container.name;
    let command = match container.auto_remove {
        true => format!("`fabric stop {name}`, and run it anew"),
        false => format!("`fabric restart {name}`"),
    };
    format!("its network goes on, `exec` and `attach` do not: {command}")
}

/// The outcome of one check: a problem with every difference, or `fine`.
fn check(name: &str, fine: &str, mut differences: Vec<Difference>) -> Check {
    let (result, message) = match differences.len() {
        0 => (CheckResult::Ok, fine.to_owned()),
        1 => (CheckResult::Problem, "1 difference".to_owned()),
        count if count > MANY => (CheckResult::Problem, format!("{count} differences, of which the first {MANY} are")),
        count => (CheckResult::Problem, format!("{count} differences")),
    };
    differences.truncate(MANY);
    Check { name: name.into(), result, message, hint: None, differences }
}

/// The outcome of a check that could not be made.
fn failed(name: &str, error: &(impl std::error::Error + 'static)) -> Check {
    let remedy = "see what netd logs; if it stays, restart netd, which stops no container";
    let difference = Difference { object: name.to_owned(), difference: chain(error), remedy: remedy.to_owned() };
    check(name, "", vec![difference])
}
