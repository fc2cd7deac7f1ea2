//! What can be asked of containers.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use api::{ContainerCreate, EventAction, ExecCreate, Signal, Until};
use jiff::Timestamp;
use model::{
    Bind, Command, Container, ContainerId, ContainerState, EndpointId, EnvironmentVariable, HostAddress, Hostname,
    StopPolicy,
};

use store::Durability;

use crate::{
    daemon::Daemon,
    failure::{Failure, Noun},
    life::Life,
    ports,
    record::{self, Goal, Record},
};

/// The search path of a container whose image names none.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Daemon {
    /// Creates a container: when this returns it is attached, resolvable, and waits for its start.
    /// With `goal` running it is started as well; if that fails, nothing of it is left.
    pub(crate) async fn create_container(
        self: Arc<Self>,
        mut request: ContainerCreate,
    ) -> Result<ContainerId, Failure> {
        let begun = Instant::now();
        self.runtime.expect_create();
        let goal = if request.start { Goal::Running } else { Goal::Created };
        let using = self.image_use.read().await;
        let image = self.find_image(&request.image).await.map_err(Failure::wanted)?;
        request.publish = ports::requested(request.publish, request.publish_all, &image);
        if let Some(publish) = request.publish.first().filter(|_| request.networks.is_empty()) {
            return Err(Failure::PublishWithoutNetwork { publish: *publish });
        }
        let gateway = request.resolver.hosts.iter().find(|host| host.address == HostAddress::Gateway);
        if let Some(host) = gateway.filter(|_| request.networks.is_empty()) {
            return Err(Failure::GatewayWithoutNetwork { name: host.name.to_string() });
        }
        for bind in &request.confinement.binds {
            check_bind(bind)?;
        }
        let host_ports = self.host_ports(&request.publish).await?;
        let namespace = self.take_namespace().await?;
        let (record, life) = match self.reserve(request, goal, &image, namespace.clone(), &host_ports) {
            Ok(reserved) => reserved,
            Err(failure) => {
                self.world().namespaces.give_back(namespace);
                return Err(Self::with_holder(failure).await);
            }
        };
        // From here on the world says that the image is in use.
        drop(using);
        let id = record.container.id.clone();
        let _work = life.work().await;
        let doing = format!("create container `{}`", record.container.name);
        match self.commit(doing, record::create_container(&record)).await {
            Ok(revision) => self.world().confirm_container(&id, revision),
            Err(failure) => {
                let mut world = self.world();
                world.forget_container(&id);
                world.namespaces.give_back(namespace);
                return Err(failure);
            }
        }
        self.steps.after("container intended");
        self.tell_container(&record.container, EventAction::Create, None);
        self.fill_pool();
        let mut made = self.bring_up(&record.container, &image).await;
        if made.is_ok() && goal == Goal::Running {
            made = self.launch(&record.container).await;
        }
        if let Err(failure) = made {
            self.withdraw(&id).await;
            return Err(failure);
        }
        if goal == Goal::Running {
            self.metrics.start.observe(begun.elapsed());
        }
        Ok(id)
    }

    /// Decides everything about the container and takes what it needs, all or nothing.
    fn reserve(
        &self,
        request: ContainerCreate,
        goal: Goal,
        image: &image::Image,
        namespace: model::NamespaceName,
        host_ports: &kernel::HostPorts,
    ) -> Result<(Record, Arc<Life>), Failure> {
        let id = ContainerId::from_bytes(self.random());
        let name = request.name.unwrap_or_else(|| {
            format!("c-{}", id.short()).parse().expect("a letter, a hyphen and hexadecimal digits are a DNS label")
        });
        let arguments = arguments(request.command, request.entrypoint, &image.config);
        if arguments.is_empty() {
            return Err(Failure::NoCommand { name: name.to_string(), image: request.image });
        }
        let hostname = request.hostname.unwrap_or_else(|| {
            Hostname::try_from(name.to_string()).expect("a container's name is a DNS label, which is a host name")
        });
        let path: EnvironmentVariable = PATH.parse().expect("a literal NAME=VALUE");
        let own_name = format!("HOSTNAME={hostname}").parse().expect("a host name holds no NUL");
        let terminal = request.terminal.then(terminal_kind);
        let defaults: Vec<EnvironmentVariable> = [path, own_name].into_iter().chain(terminal).collect();
        let command = Command {
            arguments,
            environment: environment(defaults.iter().chain(&image.config.environment).chain(&request.env)),
            working_directory: request
                .working_directory
                .or_else(|| image.config.working_directory.clone())
                .unwrap_or_else(|| "/".into()),
            user: request.user.or_else(|| image.config.user.clone()),
        };
        // An image whose stop signal means nothing here is stopped as any other.
        let from_image = || image.config.stop_signal.as_deref().and_then(|signal| signal.parse().ok());
        let default = StopPolicy::default();
        let stop = StopPolicy {
            signal: request.stop_signal.or_else(from_image).unwrap_or(default.signal),
            timeout_seconds: request.stop_timeout_seconds.unwrap_or(default.timeout_seconds),
        };
        let mut labels = image.config.labels.clone();
        labels.extend(request.labels);
        let mut container = Container {
            id,
            name,
            image: request.image,
            image_digest: image.digest.clone(),
            hostname,
            command,
            open_stdin: request.open_stdin,
            terminal: request.terminal,
            auto_remove: request.auto_remove,
            stop,
            confinement: request.confinement,
            labels,
            created_at: Timestamp::now(),
            namespace,
            endpoints: Vec::new(),
            publishes: Vec::new(),
            resolver: request.resolver,
        };
        let mut world = self.world();
        for request in &request.networks {
            let endpoint = world.plan_endpoint(EndpointId::from_bytes(self.random()), &container, request)?;
            container.endpoints.push(endpoint);
        }
        container.publishes = world.choose_ports(&request.publish, host_ports, u16::from_ne_bytes(self.random()))?;
        world.check_listeners(&container.publishes, &container.endpoints, host_ports)?;
        let incarnation = self.directories.incarnation().to_owned();
        let record =
            Record { container, goal, incarnation, started_at: None, exit: None, last_exit: None, leaving: Vec::new() };
        let life = world.reserve_container(record.clone())?;
        Ok((record, life))
    }

    /// Asks the container to stop with its stop signal, ends it with SIGKILL after so many seconds, or its own number of
    /// them, and returns when it has ended. One that has ended already is a success.
    pub(crate) async fn stop_container(
        self: &Arc<Self>,
        reference: &str,
        timeout_seconds: Option<u32>,
    ) -> Result<ContainerId, Failure> {
        const SIGKILL: i32 = 9;
        let (id, life) = self.container(reference)?;
        let policy = self.live_record(&id, reference)?.container.stop;
        let patience = Duration::from_secs(timeout_seconds.unwrap_or(policy.timeout_seconds).into());
        let ended = || life.wait(|seen| matches!(seen.state, ContainerState::Exited { .. }));
        match life.state() {
            ContainerState::Exited { .. } => return Ok(id),
            ContainerState::Running { .. } => self.ask_to_end(&id, reference, policy.signal.number().into()).await?,
            // Its first process has not executed anything that could understand a signal.
            ContainerState::Created => self.signal(&id, reference, SIGKILL).await?,
        }
        if tokio::time::timeout(patience, ended()).await.is_err() {
            self.ask_to_end(&id, reference, SIGKILL).await?;
            ended().await;
        }
        Ok(id)
    }

    /// Sends a signal; that the container has ended meanwhile is success.
    async fn ask_to_end(&self, id: &ContainerId, reference: &str, signal: i32) -> Result<(), Failure> {
        match self.signal(id, reference, signal).await {
            Err(Failure::NotRunning { .. }) => Ok(()),
            result => result,
        }
    }

    /// Sends a signal to the container's first process.
    pub(crate) async fn kill_container(self: Arc<Self>, reference: &str, signal: Signal) -> Result<(), Failure> {
        let (id, _) = self.container(reference)?;
        self.signal(&id, reference, signal.number().into()).await
    }

    async fn signal(&self, id: &ContainerId, reference: &str, signal: i32) -> Result<(), Failure> {
        match self.runtime.kill(id, signal).await {
            Ok(()) => Ok(()),
            Err(runtime::RuntimeError::NotRunning { .. }) => Err(Failure::NotRunning { name: reference.to_owned() }),
            Err(source) => {
                Err(Failure::Runtime { doing: "send a signal to", name: reference.to_owned(), source: source.into() })
            }
        }
    }

    /// Waits for an event in the container's life; its exit code then, if it has one.
    pub(crate) async fn wait_container(self: Arc<Self>, reference: &str, until: Until) -> Result<i32, Failure> {
        let (_, life) = self.container(reference)?;
        let seen =
            life.wait(|seen| until == Until::Exited && matches!(seen.state, ContainerState::Exited { .. })).await;
        match seen.state {
            ContainerState::Exited { exit_code, .. } => Ok(exit_code),
            ContainerState::Created | ContainerState::Running { .. } => Ok(runtime::Exit::LOST),
        }
    }

    /// Removes the container and everything that belongs to it; a running one only with `force`.
    pub(crate) async fn remove_container(self: Arc<Self>, reference: &str, force: bool) -> Result<(), Failure> {
        let (id, life) = self.container(reference)?;
        let _work = life.work().await;
        if matches!(life.state(), ContainerState::Running { .. }) {
            if !force {
                return Err(Failure::StillRunning { name: reference.to_owned() });
            }
            self.end_by_force(&id, &life).await;
        }
        self.take_down(&id, Durability::Durable).await
    }

    /// Kills the container so that whoever waits for its end learns the exit code. One that cannot be asked is left to
    /// its removal, which asks nobody.
    async fn end_by_force(&self, id: &ContainerId, life: &Life) {
        const SIGKILL: i32 = 9;
        const PATIENCE: Duration = Duration::from_secs(2);
        if self.runtime.kill(id, SIGKILL).await.is_ok()
            && let Ok(Ok(exit)) = tokio::time::timeout(PATIENCE, self.runtime.wait(id)).await
        {
            let record = self.world().record(id).cloned();
            if let Some(record) = record {
                self.tell_container(&record.container, EventAction::Exit, Some(exit.exit_code));
            }
            life.set_state(ContainerState::Exited { exit_code: exit.exit_code, finished_at: exit.finished_at });
        }
    }

    /// The container a person means, if a client can be attached to it.
    pub(crate) fn attachable(&self, reference: &str) -> Result<(ContainerId, Arc<Life>), Failure> {
        let found = self.container(reference)?;
        if found.1.has_ended() { Err(Failure::NotRunning { name: reference.to_owned() }) } else { Ok(found) }
    }

    /// The container a person means, if it runs.
    pub(crate) fn running(&self, reference: &str) -> Result<(ContainerId, Arc<Life>), Failure> {
        let found = self.container(reference)?;
        match found.1.state() {
            ContainerState::Running { .. } => Ok(found),
            _ => Err(Failure::NotRunning { name: reference.to_owned() }),
        }
    }

    /// The command of an `exec`, with what the container has where the request says nothing.
    pub(crate) fn exec_command(&self, id: &ContainerId, request: ExecCreate) -> Result<Command, Failure> {
        if request.command.is_empty() {
            return Err(Failure::Malformed { reason: "`command` is empty: name the program to run".into() });
        }
        let world = self.world();
        let container = &world.record(id).ok_or_else(|| Failure::NotRunning { name: id.to_string() })?.container;
        Ok(Command {
            arguments: request.command,
            environment: environment(
                request
                    .terminal
                    .map(|_| terminal_kind())
                    .iter()
                    .chain(&container.command.environment)
                    .chain(&request.env),
            ),
            working_directory: request.working_directory.unwrap_or_else(|| container.command.working_directory.clone()),
            user: request.user.or_else(|| container.command.user.clone()),
        })
    }

    /// The container a person means, and what is known of its processes.
    pub(crate) fn container(&self, reference: &str) -> Result<(ContainerId, Arc<Life>), Failure> {
        let world = self.world();
        let id = world.container_by_reference(reference)?.container.id.clone();
        let life = world.life(&id).expect("a container that was found has a life").clone();
        Ok((id, life))
    }

    pub(crate) fn live_record(&self, id: &ContainerId, reference: &str) -> Result<Record, Failure> {
        let world = self.world();
        match world.record(id) {
            Some(record) if record.goal == Goal::Removed => Err(Failure::BeingRemoved { name: reference.to_owned() }),
            Some(record) => Ok(record.clone()),
            None => Err(Failure::unknown(Noun::Container, reference, std::iter::empty())),
        }
    }
}

/// What programs take the terminal for, where nobody says otherwise.
fn terminal_kind() -> EnvironmentVariable {
    "TERM=xterm".parse().expect("a literal NAME=VALUE")
}

/// What is run: the image's entry point and command, each unless the request replaces it; a new entry point leaves the
/// image's command behind, for that was written for the old one.
fn arguments(command: Vec<String>, entrypoint: Option<Vec<String>>, image: &image::ImageConfig) -> Vec<String> {
    let replaced = entrypoint.is_some();
    let mut arguments = entrypoint.unwrap_or_else(|| image.entrypoint.clone());
    if command.is_empty() && !replaced {
        arguments.extend(image.cmd.iter().cloned());
    } else {
        arguments.extend(command);
    }
    arguments
}

/// One variable of each name, the last one that was given, in the order of first mention.
fn environment<'a>(variables: impl Iterator<Item = &'a EnvironmentVariable>) -> Vec<EnvironmentVariable> {
    let mut environment: Vec<EnvironmentVariable> = Vec::new();
    for variable in variables {
        match environment.iter_mut().find(|known| known.name() == variable.name()) {
            Some(known) => *known = variable.clone(),
            None => environment.push(variable.clone()),
        }
    }
    environment
}

/// Whether there is something on the host to appear inside. Nothing is made there: a mistyped path would become a directory
/// that root owns.
pub(crate) fn check_bind(bind: &Bind) -> Result<(), Failure> {
    let found = std::fs::metadata(&bind.source).map(drop);
    found.map_err(|source| Failure::HostPath { path: bind.source.clone(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn commands_and_entry_points_replace_the_images_own() {
        let image = image::ImageConfig { entrypoint: words("entry -e"), cmd: words("cmd -c"), ..Default::default() };
        for (command, entrypoint, expected) in [
            ("", None, "entry -e cmd -c"),
            ("other", None, "entry -e other"),
            ("", Some("mine"), "mine"),
            ("other", Some("mine"), "mine other"),
            ("other", Some(""), "other"),
            ("", Some(""), ""),
        ] {
            assert_eq!(
                arguments(words(command), entrypoint.map(words), &image),
                words(expected),
                "{command} {entrypoint:?}"
            );
        }
    }

    #[test]
    fn the_last_value_of_a_variable_counts() {
        let variables: Vec<EnvironmentVariable> =
            ["A=1", "B=2", "A=3"].map(|text| text.parse().expect("literal")).to_vec();
        let environment: Vec<_> = environment(variables.iter()).iter().map(ToString::to_string).collect();
        assert_eq!(environment, ["A=3", "B=2"]);
    }
}
