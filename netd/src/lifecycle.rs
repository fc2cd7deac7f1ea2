//! How a container comes up, ends and goes: every way through its life, from a request or after a crash.
//!
//! ```text
//! intent accepted  -> kernel made, and once it is committed files and runtime -> names answered -> started
//! exit seen        -> recorded -> names withdrawn -> kernel cleared -> runtime released (auto-remove: taken down)
//! removal intended -> names withdrawn -> processes ended, kernel cleared -> files removed -> record deleted
//! ```
//!
//! Each step may be repeated. Whoever calls holds the container's work lock ([`crate::life::Life::work`]).

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use api::EventAction;
use jiff::Timestamp;
use kernel::Removal;
use model::{Container, ContainerId, ContainerState, NetworkMode};
use runtime::{BindMount, ContainerSpec, Exit, Observed};
use store::Durability;

use crate::{
    daemon::{Daemon, chain},
    failure::Failure,
    files::{self, HostFiles, Surroundings},
    images::blocking,
    record::{self, Goal, Record},
    retry,
};

/// Why a container could not be made.
pub(crate) enum Setback {
    /// Its record cannot be written: nothing but the kernel knows of it.
    NotIntended(Failure),
    /// Something else went wrong.
    NotMade(Failure),
}

impl From<Failure> for Setback {
    fn from(failure: Failure) -> Self {
        Self::NotMade(failure)
    }
}

impl From<Setback> for Failure {
    fn from(setback: Setback) -> Self {
        match setback {
            Setback::NotIntended(failure) | Setback::NotMade(failure) => failure,
        }
    }
}

impl Daemon {
    /// Makes the container, as far as the moment before its own program.
    ///
    /// `intended` ends once its record is where it lasts. The kernel's part, which is gone after a reboot and which a
    /// `netd` that finds no record for it clears away, is not kept waiting for that; everything else is.
    pub(crate) async fn bring_up(
        self: &Arc<Self>,
        container: &Container,
        image: &image::Image,
        intended: impl Future<Output = Result<(), Failure>>,
    ) -> Result<(), Setback> {
        let attach = async {
            let begun = Instant::now();
            self.attach(container).await?;
            self.metrics.attach.observe(begun.elapsed());
            Ok(())
        };
        let namespace = container.mode.namespace().map(|name| self.directories.netns().join(name.as_str()));
        let is_made = namespace.is_none_or(|namespace| namespace.exists());
        let (attached, rest) = tokio::join!(attach, async {
            intended.await.map_err(Setback::NotIntended)?;
            let spec = self.write_files(container, image).await?;
            if is_made {
                // Neither needs the other: the namespace both work on was made ahead of time.
                self.create(container, &spec).await?;
            }
            Ok(spec)
        });
        let spec = match rest {
            Err(setback @ Setback::NotIntended(_)) => return Err(setback),
            rest => attached.map_err(Setback::NotMade).and(rest)?,
        };
        if !is_made {
            self.create(container, &spec).await?;
        }
        self.publish_names(container)?;
        self.listen_inside(container).await?;
        self.watch_exit(container.id.clone());
        Ok(())
    }

    async fn write_files(&self, container: &Container, image: &image::Image) -> Result<ContainerSpec, Failure> {
        let directory = self.directories.containers().join(container.id.as_str());
        let attachments = self.world().surroundings(container);
        let lower = self.images.layers(image);
        let (image, container, resolver) = (image.clone(), container.clone(), self.host_resolver.clone());
        let namespace = container.mode.namespace().map(|name| self.directories.netns().join(name.as_str()));
        let host_resolv_conf = self.config.resolv_conf.clone();
        let shared = match &container.mode {
            NetworkMode::Joined { container, .. } => Some(self.directories.containers().join(container.as_str())),
            NetworkMode::Own { .. } | NetworkMode::Host => None,
        };
        let written = blocking(move || -> Result<ContainerSpec, Failure> {
            let fail = |source| Failure::File { doing: "write", path: directory.clone(), source };
            std::fs::create_dir_all(&directory).map_err(fail)?;
            let snapshot = image::Snapshot::prepare(&image, &directory)?;
            let host = match container.mode {
                NetworkMode::Host => Some(HostFiles::read(&host_resolv_conf, resolver.current())),
                NetworkMode::Own { .. } | NetworkMode::Joined { .. } => None,
            };
            let surroundings = Surroundings {
                hostname: &container.hostname,
                host: host.as_ref(),
                attachments: &attachments,
                search: &resolver.current().search,
                settings: &container.resolver,
            };
            let mut mounts = surroundings.write(&directory).map_err(fail)?;
            if let Some(shared) = shared {
                files::share(&mut mounts, &shared);
            }
            let read_only = container.confinement.read_only;
            let mounts = mounts.into_iter().map(|(source, destination)| BindMount { source, destination, read_only });
            Ok(ContainerSpec {
                id: container.id.clone(),
                hostname: container.hostname.clone(),
                command: container.command.clone(),
                lower,
                upper: snapshot.upper,
                work: snapshot.work,
                ephemeral: container.auto_remove,
                network_namespace: namespace,
                mounts: mounts.collect(),
                open_stdin: container.open_stdin,
                confinement: container.confinement.clone(),
                terminal: container.terminal,
                init: container.init,
                log: container.log,
            })
        });
        let spec = written.await?;
        self.steps.after("files written");
        Ok(spec)
    }

    /// Makes the kernel fit the container's attachments: there while it lives, gone afterwards.
    pub(crate) async fn attach(&self, container: &Container) -> Result<(), Failure> {
        // A container that has ended is in nobody's way: nobody waits for the kernel to take its links apart.
        let Some(scope) = self.world().scope_of(container) else { return Ok(()) };
        self.reconcile_with(format!("attach container `{}`", container.name), scope, Removal::Swept).await
    }

    async fn create(&self, container: &Container, spec: &ContainerSpec) -> Result<(), Failure> {
        let created = self.runtime.create(spec).await;
        created.map_err(|source| runtime_failure("create", container, source))?;
        self.steps.after("container created");
        Ok(())
    }

    /// Executes the container's program, unless the host is being shut down: whoever ends all containers then has seen
    /// by now that this one is being started, or it is not.
    pub(crate) async fn launch(self: &Arc<Self>, container: &Container) -> Result<(), Failure> {
        if self.host_ends.load(Ordering::SeqCst) {
            return Err(Failure::HostEnds { name: container.name.to_string() });
        }
        let started = self.runtime.start(&container.id).await;
        started.map_err(|source| runtime_failure("start", container, source))?;
        self.steps.after("container started");
        self.tell_container(container, EventAction::Start, None);
        match self.observe(&container.id).await {
            Ok(Some(Observed::Running { started_at, .. })) => self.note_start(container, started_at).await,
            // Its end is about to be recorded, with everything there is to know.
            Ok(Some(Observed::Created { .. } | Observed::Exited(_)) | None) => {}
            Err(failure) => {
                tracing::warn!(container = %container.name, failure = chain(&failure), "it was started and not seen");
                self.resume_later(container.id.clone());
            }
        }
        Ok(())
    }

    /// Remembers that the container's program runs, and since when.
    pub(crate) async fn note_start(&self, container: &Container, started_at: Timestamp) {
        let record = self.world().change_container(&container.id, |record| {
            record.goal = Goal::Running;
            record.started_at = Some(started_at);
        });
        let Some(record) = record else { return };
        let doing = format!("remember that container `{}` was started", container.name);
        // What is not remembered is seen again by the next daemon.
        if let Err(failure) = self.commit(doing, record::update_container(&record, Durability::Relaxed)).await {
            tracing::warn!(container = %container.name, failure = chain(&failure), "its start is not remembered");
        }
        self.steps.after("start recorded");
    }

    /// Looks at what the container's processes do; none if nothing of them is left.
    pub(crate) async fn observe(&self, id: &ContainerId) -> Result<Option<Observed>, Failure> {
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
    pub(crate) fn watch_exit(self: &Arc<Self>, id: ContainerId) {
        let Some(life) = self.world().life(&id).filter(|life| life.watch()).cloned() else { return };
        let (daemon, run) = (self.clone(), life.run());
        tokio::spawn(async move {
            let exit = loop {
                match daemon.runtime.wait(&id).await {
                    Ok(exit) => break exit,
                    // Removed meanwhile: whoever removed it has seen to everything.
                    Err(runtime::RuntimeError::NotRunning { .. }) => return,
                    Err(error) => {
                        tracing::warn!(container = id.short(), error = chain(&error), "cannot wait for the end");
                        tokio::time::sleep(retry::PAUSE).await;
                    }
                }
            };
            let _work = life.work().await;
            if life.run() != run {
                return;
            }
            // Boxed: this waits for as long as the container runs, and is as large as the largest future in it.
            if let Err(failure) = Box::pin(daemon.after_exit(&id, exit)).await {
                tracing::error!(container = id.short(), failure = chain(&failure), "cannot clear up after it ended");
                let goes = |record: &Record| record.goal == Goal::Removed || record.container.auto_remove;
                if daemon.world().record(&id).is_some_and(goes) {
                    daemon.take_down_later(id);
                }
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
        let ended = record::update_container(&record, Durability::Relaxed).making_room();
        let recorded = self.commit(doing, ended).await;
        self.steps.after("exit recorded");
        self.withdraw_names(&record.container);
        self.stop_listening_inside(&record.container).await;
        let cleared = self.attach(&record.container).await;
        let released = self.release(&record.container).await;
        // Told last: who waited for the end may count on it that the ports are closed.
        self.set_state(id, state);
        self.plan_restart(id);
        recorded.and(cleared).and(released)
    }

    /// Removes what a container that has ended has no use for: control groups, shim, mounts.
    pub(crate) async fn release(&self, container: &Container) -> Result<(), Failure> {
        let released = self.runtime.release(&container.id).await;
        released.map_err(|source| runtime_failure("clear up after", container, source))?;
        self.steps.after("container released");
        Ok(())
    }

    /// The image that the container was made from.
    pub(crate) async fn image_of(&self, container: &Container) -> Result<image::Image, Failure> {
        let (images, digest) = (self.images.clone(), container.image_digest.clone());
        let image = blocking(move || images.by_digest(&digest)).await?;
        image.ok_or_else(|| Failure::ImageGone { name: container.name.to_string(), image: container.image.clone() })
    }
}

pub(crate) fn exited(Exit { exit_code, finished_at, .. }: Exit) -> ContainerState {
    ContainerState::Exited { exit_code, finished_at }
}

pub(crate) fn runtime_failure(doing: &'static str, container: &Container, source: runtime::RuntimeError) -> Failure {
    Failure::Runtime { doing, name: container.name.to_string(), source: source.into() }
}
