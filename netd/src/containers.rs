//! What can be asked of containers: that they be made, and who is meant.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use api::{ContainerCreate, EventAction, ExecCreate, NetworkMode};
use jiff::Timestamp;
use model::{
    ByteSize, Command, Container, ContainerId, ContainerPort, ContainerState, EndpointId, EnvironmentVariable,
    ExposedPort, Hostname, NamespaceName, StopPolicy,
};

use crate::{
    daemon::Daemon,
    failure::{Failure, Noun},
    images::is_called,
    life::Life,
    lifecycle::Setback,
    ports,
    record::{self, Goal, Record, Restarts},
    world::Readiness,
};

/// The search path of a container whose image names none.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The least memory that a container may be limited to, the same as with Docker. Those who make it count as well until
/// its program is executed, and take up to 1 MiB of it.
pub(crate) const LEAST_MEMORY: ByteSize = ByteSize::from_octets(6 << 20);

impl Daemon {
    /// Creates a container: when this returns it is attached, resolvable, and waits for its start.
    /// With `goal` running it is started as well; if that fails, nothing of it is left.
    pub(crate) async fn create_container(
        self: Arc<Self>,
        mut request: ContainerCreate,
    ) -> Result<ContainerId, Failure> {
        request.check()?;
        let begun = Instant::now();
        self.runtime.expect_create();
        let goal = if request.start { Goal::Running } else { Goal::Created };
        // Before anything is held: it may take its time.
        self.binds.check(&request.confinement.binds).await?;
        let using = self.image_use.read().await;
        let image = self.find_image(&request.image).await.map_err(Failure::wanted)?;
        if !is_called(&image.name, &request.image) {
            request.image = image.name.clone();
        }
        let exposed: BTreeSet<ContainerPort> =
            image.config.exposed_ports.iter().chain(request.expose.iter().map(|it| &it.port)).copied().collect();
        request.publish = ports::requested(request.publish, exposed.iter().filter(|_| request.publish_all).copied());
        if let Some(asked) = request.confinement.memory.filter(|asked| *asked < LEAST_MEMORY) {
            return Err(Failure::TooLittleMemory { asked });
        }
        let host_ports = self.host_ports(&request.publish).await?;
        let namespace = match request.network_mode {
            NetworkMode::Networks | NetworkMode::None => {
                let purpose = self.world().purpose_of_namespace(&request);
                Some(self.take_namespace(purpose).await?)
            }
            NetworkMode::Host | NetworkMode::Container(_) => None,
        };
        let (record, life) = match self.reserve(request, goal, &image, exposed, namespace.clone(), &host_ports) {
            Ok(reserved) => reserved,
            Err(failure) => {
                self.world().namespaces.return_unused(namespace);
                return Err(self.with_holder(failure).await);
            }
        };
        // From here on the world says that the image is in use.
        drop(using);
        let id = record.container.id.clone();
        let _work = life.work().await;
        let doing = format!("create container `{}`", record.container.name);
        let accepted = match self.submit(&doing, record::create_container(&record)).await {
            Ok(accepted) => accepted,
            Err(failure) => {
                let mut world = self.world();
                world.forget_container(&id, None);
                world.namespaces.return_unused(namespace);
                return Err(failure);
            }
        };
        self.world().confirm_container(&id, accepted.revision);
        let intended = async {
            let settled = accepted.settled().await;
            settled.map_err(|source| Failure::commit(doing, source))?;
            self.steps.after("container intended");
            // The kernel works meanwhile.
            self.tell_container(&record.container, EventAction::Create, None);
            self.fill_pool();
            Ok(())
        };
        let mut made = match self.bring_up(&record.container, &image, intended).await {
            Ok(()) => Ok(()),
            Err(Setback::NotIntended(failure)) => {
                self.take_back(&record.container).await;
                return Err(failure);
            }
            Err(Setback::NotMade(failure)) => Err(failure),
        };
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
        exposed: BTreeSet<ContainerPort>,
        namespace: Option<NamespaceName>,
        host_ports: &kernel::HostPorts,
    ) -> Result<(Record, Arc<Life>), Failure> {
        let (id, attended) = (ContainerId::from_bytes(self.random()), request.attended);
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
        let named = request.expose.into_iter().filter_map(|ExposedPort { name, port }| Some((name?, port)));
        let mut world = self.world();
        let mut pair = namespace.as_ref().and_then(|name| world.namespaces.pair_in(name)).cloned();
        let readiness = if goal == Goal::Running { Readiness::Running } else { Readiness::Attached };
        let mode = match (&request.network_mode, namespace) {
            (NetworkMode::Container(joined), _) => world.join(&name, joined.as_str(), readiness)?,
            (_, Some(namespace)) => model::NetworkMode::Own { namespace },
            (_, None) => model::NetworkMode::Host,
        };
        let mut container = Container {
            id,
            name,
            image: request.image,
            image_digest: image.digest.clone(),
            hostname,
            command,
            open_stdin: request.open_stdin,
            terminal: request.terminal,
            init: request.init,
            log: request.log,
            auto_remove: request.auto_remove,
            restart: request.restart_policy,
            stop,
            confinement: request.confinement,
            labels,
            created_at: Timestamp::now(),
            mode,
            endpoints: Vec::new(),
            publishes: Vec::new(),
            exposed,
            port_names: named.collect(),
            resolver: request.resolver,
        };
        for network in &request.networks {
            let id = pair.take().unwrap_or_else(|| EndpointId::from_bytes(self.random()));
            let endpoint = world.plan_endpoint(id, &container, network, &request.networks)?;
            container.endpoints.push(endpoint);
        }
        container.publishes = world.choose_ports(&request.publish, host_ports, u16::from_ne_bytes(self.random()))?;
        world.check_ways_in(&container)?;
        world.check_listeners(&container.publishes, &container.endpoints, host_ports)?;
        world.check_published(&container)?;
        let incarnation = self.directories.incarnation().to_owned();
        let record = Record {
            container,
            goal,
            attended,
            incarnation,
            started_at: None,
            exit: None,
            last_exit: None,
            restarts: Restarts::default(),
            leaving: Vec::new(),
        };
        let life = world.reserve_container(record.clone())?;
        Ok((record, life))
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
            ContainerState::Created => Err(Failure::NotStarted { name: reference.to_owned() }),
            ContainerState::Exited { .. } => Err(Failure::NotRunning { name: reference.to_owned() }),
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
