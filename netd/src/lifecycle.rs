//! How a container comes up, ends and goes: every way through its life, from a request or after a crash.
//!
//! ```text
//! intent committed -> files, kernel and runtime made -> names answered -> started
//! exit seen        -> recorded -> names withdrawn -> kernel cleared -> runtime released (auto-remove: taken down)
//! removal intended -> names withdrawn -> processes ended -> kernel cleared -> files removed -> record deleted
//! ```
//!
//! Each step may be repeated. Whoever calls holds the container's work lock ([`crate::life::Life::work`]).

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use api::EventAction;
use jiff::Timestamp;
use kernel::Removal;
use model::{Container, ContainerId, ContainerState};
use runtime::{BindMount, ContainerSpec, Exit, Observed};
use store::Durability;

use crate::{
    daemon::{Daemon, chain},
    failure::Failure,
    files::Surroundings,
    images::blocking,
    life::Life,
    record::{self, Goal, Record},
};

/// How long to wait before something that failed in the background is tried again.
const RETRY: Duration = Duration::from_secs(1);

impl Daemon {
    /// Makes the container, as far as the moment before its own program.
    pub(crate) async fn bring_up(self: &Arc<Self>, container: &Container, image: &image::Image) -> Result<(), Failure> {
        let spec = self.write_files(container, image).await?;
        let attach = async {
            let begun = Instant::now();
            self.attach(container).await?;
            self.metrics.attach.observe(begun.elapsed());
            Ok(())
        };
        if spec.network_namespace.exists() {
            // Neither needs the other: the namespace both work on was made ahead of time.
            let (attached, created) = tokio::join!(attach, self.create(container, &spec));
            attached.and(created)?;
        } else {
            attach.await?;
            self.create(container, &spec).await?;
        }
        self.publish_names(container)?;
        self.watch_exit(container.id.clone());
        Ok(())
    }

    async fn write_files(&self, container: &Container, image: &image::Image) -> Result<ContainerSpec, Failure> {
        let directory = self.directories.containers().join(container.id.as_str());
        let attachments = self.world().surroundings(container);
        let lower = self.images.layers(image);
        let (image, container, resolver) = (image.clone(), container.clone(), self.host_resolver.clone());
        let namespace = self.directories.netns().join(container.namespace.as_str());
        let written = blocking(move || -> Result<ContainerSpec, Failure> {
            let fail = |source| Failure::File { doing: "write", path: directory.clone(), source };
            std::fs::create_dir_all(&directory).map_err(fail)?;
            let snapshot = image::Snapshot::prepare(&image, &directory)?;
            let surroundings = Surroundings {
                hostname: &container.hostname,
                attachments: &attachments,
                search: &resolver.current().search,
                settings: &container.resolver,
            };
            let mounts = surroundings.write(&directory).map_err(fail)?;
            let read_only = container.confinement.read_only;
            let mounts = mounts.into_iter().map(|(source, destination)| BindMount { source, destination, read_only });
            Ok(ContainerSpec {
                id: container.id.clone(),
                hostname: container.hostname.clone(),
                command: container.command.clone(),
                lower,
                upper: snapshot.upper,
                work: snapshot.work,
                network_namespace: namespace,
                mounts: mounts.collect(),
                open_stdin: container.open_stdin,
                confinement: container.confinement.clone(),
                terminal: container.terminal,
            })
        });
        let spec = written.await?;
        self.steps.after("files written");
        Ok(spec)
    }

    /// Brings the container's files up to date with its endpoints. What it wrote into them itself goes.
    pub(crate) async fn refresh_files(&self, container: &Container) -> Result<(), Failure> {
        let directory = self.directories.containers().join(container.id.as_str());
        let attachments = self.world().surroundings(container);
        let (hostname, settings) = (container.hostname.clone(), container.resolver.clone());
        let resolver = self.host_resolver.clone();
        let refreshed = blocking(move || {
            let search = &resolver.current().search;
            let surroundings =
                Surroundings { hostname: &hostname, attachments: &attachments, search, settings: &settings };
            surroundings.refresh(&directory).map_err(|source| Failure::File {
                doing: "write",
                path: directory.clone(),
                source,
            })
        });
        refreshed.await?;
        self.steps.after("files refreshed");
        Ok(())
    }

    /// Makes the kernel fit the container's attachments: there while it lives, gone afterwards.
    pub(crate) async fn attach(&self, container: &Container) -> Result<(), Failure> {
        // A container that has ended is in nobody's way: nobody waits for the kernel to take its links apart.
        let scope = self.world().scope_of(container);
        self.reconcile_with(format!("attach container `{}`", container.name), scope, Removal::Swept).await
    }

    async fn create(&self, container: &Container, spec: &ContainerSpec) -> Result<(), Failure> {
        let created = self.runtime.create(spec).await;
        created.map_err(|source| runtime_failure("create", container, source))?;
        self.steps.after("container created");
        Ok(())
    }

    /// Executes the container's program.
    pub(crate) async fn launch(&self, container: &Container) -> Result<(), Failure> {
        let started = self.runtime.start(&container.id).await;
        started.map_err(|source| runtime_failure("start", container, source))?;
        self.steps.after("container started");
        self.tell_container(container, EventAction::Start, None);
        // It runs: what is not noted of it now is seen again later.
        if let Err(failure) = self.note_start(container).await {
            tracing::warn!(container = %container.name, failure = chain(&failure), "cannot note that it was started");
        }
        Ok(())
    }

    async fn note_start(&self, container: &Container) -> Result<(), Failure> {
        let started_at = match self.observe(&container.id).await? {
            Some(Observed::Running { started_at, .. }) => started_at,
            // Its end is about to be recorded, with everything there is to know.
            Some(Observed::Created { .. } | Observed::Exited(_)) | None => return Ok(()),
        };
        let started_at = Some(started_at);
        let record = self.world().change_container(&container.id, |record| record.started_at = started_at);
        if let Some(record) = record {
            let doing = format!("remember that container `{}` was started", container.name);
            self.commit(doing, record::update_container(&record, Durability::Relaxed)).await?;
            self.steps.after("start recorded");
        }
        Ok(())
    }

    /// Looks at what the container's processes do; none if nothing of them is left.
    async fn observe(&self, id: &ContainerId) -> Result<Option<Observed>, Failure> {
        let observed = self.runtime.state(id).await;
        let observed = observed.map_err(|source| Failure::Runtime {
            doing: "look at",
            name: id.short().to_owned(),
            source: source.into(),
        })?;
        // That it has ended is told once its ports are closed.
        if let Some(Observed::Running { pid, started_at }) = observed {
            self.set_state(id, ContainerState::Running { pid, started_at });
        }
        Ok(observed)
    }

    fn set_state(&self, id: &ContainerId, state: ContainerState) {
        if let Some(life) = self.world().life(id) {
            life.set_state(state);
        }
    }

    /// Waits in the background for the end of the container's first process, and draws the conclusions.
    fn watch_exit(self: &Arc<Self>, id: ContainerId) {
        let Some(life) = self.world().life(&id).cloned() else { return };
        let (daemon, run) = (self.clone(), life.run());
        tokio::spawn(async move {
            let exit = loop {
                match daemon.runtime.wait(&id).await {
                    Ok(exit) => break exit,
                    // Removed meanwhile: whoever removed it has seen to everything.
                    Err(runtime::RuntimeError::NotRunning { .. }) => return,
                    Err(error) => {
                        tracing::warn!(container = id.short(), error = chain(&error), "cannot wait for the end");
                        tokio::time::sleep(RETRY).await;
                    }
                }
            };
            let _work = life.work().await;
            if life.run() != run {
                return;
            }
            if let Err(failure) = daemon.after_exit(&id, exit).await {
                tracing::error!(container = id.short(), failure = chain(&failure), "cannot clear up after it ended");
            }
        });
    }

    /// The container has ended: it is no longer resolvable or reachable; its name and addresses stay its own.
    pub(crate) async fn after_exit(self: &Arc<Self>, id: &ContainerId, exit: Exit) -> Result<(), Failure> {
        let Some(record) = self.world().record_exit(id, exit) else { return Ok(()) };
        let state = exited(exit);
        self.tell_container(&record.container, EventAction::Exit, Some(exit.exit_code));
        if record.container.auto_remove {
            self.set_state(id, state);
            return self.take_down(id, Durability::Relaxed).await;
        }
        let doing = format!("remember how container `{}` ended", record.container.name);
        let recorded = self.commit(doing, record::update_container(&record, Durability::Relaxed)).await;
        self.steps.after("exit recorded");
        self.withdraw_names(&record.container);
        let cleared = self.attach(&record.container).await;
        let released = self.release(&record.container).await;
        // Told last: who waited for the end may count on it that the ports are closed.
        self.set_state(id, state);
        recorded.and(cleared).and(released)
    }

    /// Removes what a container that has ended has no use for: control groups, shim, mounts.
    async fn release(&self, container: &Container) -> Result<(), Failure> {
        let released = self.runtime.release(&container.id).await;
        released.map_err(|source| runtime_failure("clear up after", container, source))?;
        self.steps.after("container released");
        Ok(())
    }

    /// Removes everything that belongs to the container. With [`Durability::Relaxed`] the intent may be lost in a crash,
    /// because the next start would draw the same conclusion again.
    pub(crate) async fn take_down(self: &Arc<Self>, id: &ContainerId, durability: Durability) -> Result<(), Failure> {
        let Some(mut record) = self.world().record(id).cloned() else { return Ok(()) };
        record.goal = Goal::Removed;
        let container = &record.container;
        let doing = format!("remove container `{}`", container.name);
        if let Err(failure) = self.commit(&doing, record::update_container(&record, durability)).await {
            // On a full disk, removing things is what helps; what the store remembers meanwhile it writes later.
            tracing::warn!(failure = chain(&failure), "the removal cannot be made durable yet");
            self.commit(&doing, record::update_container(&record, Durability::Relaxed)).await.map_err(|_| failure)?;
        }
        self.world().change_container(id, |record| record.goal = Goal::Removed);
        self.steps.after("removal intended");
        self.withdraw_names(container);
        self.withdraw_endpoints(&record.leaving);
        let deleted = self.runtime.delete(id).await;
        deleted.map_err(|source| runtime_failure("remove", container, source))?;
        self.steps.after("container deleted");
        self.attach(container).await?;
        self.remove_files(&self.directories.containers().join(id.as_str())).await?;
        self.steps.after("files removed");
        let releases = self.world().releases(record.held());
        let doing = format!("forget container `{}`", container.name);
        self.commit(doing, record::delete_container(container, releases)).await?;
        self.steps.after("container forgotten");
        self.tell_container(container, EventAction::Remove, None);
        self.world().forget_container(id);
        Ok(())
    }

    /// Takes back the intent of a container that could not be made.
    pub(crate) async fn withdraw(self: &Arc<Self>, id: &ContainerId) {
        if let Err(failure) = self.take_down(id, Durability::Durable).await {
            tracing::error!(container = id.short(), failure = chain(&failure), "the next start of netd tries again");
        }
    }

    pub(crate) async fn remove_files(&self, path: &Path) -> Result<(), Failure> {
        let owned = path.to_owned();
        Ok(blocking(move || image::remove_tree(&owned)).await?)
    }

    /// Continues the container's life after a restart of the daemon, wherever it stood.
    pub(crate) async fn resume(self: &Arc<Self>, id: &ContainerId) -> Result<(), Failure> {
        let known = {
            let world = self.world();
            world.record(id).cloned().zip(world.life(id).cloned())
        };
        let Some((record, life)) = known else { return Ok(()) };
        let _work = life.work().await;
        if record.goal == Goal::Removed {
            return self.take_down(id, Durability::Relaxed).await;
        }
        if !record.leaving.is_empty() {
            self.finish_parting(&record).await?;
        }
        if let Some(exit) = record.exit {
            life.set_state(exited(exit));
            if record.container.auto_remove {
                return self.take_down(id, Durability::Relaxed).await;
            }
            return self.release(&record.container).await;
        }
        match self.observe(id).await? {
            Some(Observed::Running { .. }) => {
                self.publish_names(&record.container)?;
                self.watch_exit(id.clone());
                Ok(())
            }
            Some(Observed::Exited(exit)) if record.started_at.is_some() || exit.exit_code != Exit::LOST => {
                self.after_exit(id, exit).await
            }
            // The host was switched off, perhaps before it was noted that the program ran: it must not run twice.
            Some(Observed::Exited(_)) | None
                if record.goal == Goal::Running && record.incarnation != self.directories.incarnation() =>
            {
                let lost = Exit { exit_code: Exit::LOST, started_at: None, finished_at: Timestamp::now() };
                self.after_exit(id, lost).await
            }
            // Its program never ran: what was half made is made anew, or taken back where nobody waits for it.
            Some(Observed::Created { .. } | Observed::Exited(_)) | None => self.conclude(&record, &life).await,
        }
    }

    async fn conclude(self: &Arc<Self>, record: &Record, life: &Life) -> Result<(), Failure> {
        let container = &record.container;
        if record.goal == Goal::Created && container.auto_remove {
            return self.take_down(&container.id, Durability::Relaxed).await;
        }
        let cleared = self.runtime.reset(&container.id).await;
        cleared.map_err(|source| runtime_failure("clear", container, source))?;
        let image = self.image_of(container).await?;
        let mut made = self.bring_up(container, &image).await;
        if made.is_ok() && record.goal == Goal::Running {
            made = self.launch(container).await;
        }
        if made.is_err() {
            match record.last_exit {
                Some(last) => self.end_again(&container.id, life, last).await,
                None => self.withdraw(&container.id).await,
            }
        }
        made
    }

    /// The image that the container was made from.
    pub(crate) async fn image_of(&self, container: &Container) -> Result<image::Image, Failure> {
        let (images, digest) = (self.images.clone(), container.image_digest.clone());
        let image = blocking(move || images.by_digest(&digest)).await?;
        image.ok_or_else(|| Failure::ImageGone { name: container.name.to_string(), image: container.image.clone() })
    }
}

fn exited(Exit { exit_code, finished_at, .. }: Exit) -> ContainerState {
    ContainerState::Exited { exit_code, finished_at }
}

pub(crate) fn runtime_failure(doing: &'static str, container: &Container, source: runtime::RuntimeError) -> Failure {
    Failure::Runtime { doing, name: container.name.to_string(), source: source.into() }
}
