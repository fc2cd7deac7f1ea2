//! `fabric create`.

use api::{Client, ContainerCreate, EndpointCreate, NetworkMode};
use model::{LogLimits, ResolverSettings};

use super::environment;
use crate::env_file;
use crate::{
    arguments::{CreateArguments, NetworkArgument},
    failure::Failure,
    output::Output,
};

pub(super) async fn create(client: &Client, output: Output, arguments: CreateArguments) -> Result<(), Failure> {
    let container = client.create_container(&request(arguments)?).await?;
    output.print(&container, || format!("{}\n", container.id))
}

/// What is asked of the daemon; the container is not started by it.
pub(super) fn request(arguments: CreateArguments) -> Result<ContainerCreate, Failure> {
    let (network_mode, networks) = networks(arguments.networks)?;
    let mut variables = Vec::new();
    for path in &arguments.env_file {
        variables.extend(environment(env_file::read(path)?)?);
    }
    variables.extend(environment(arguments.env)?);
    let request = ContainerCreate {
        name: arguments.name,
        networks,
        network_mode,
        command: arguments.command,
        hostname: arguments.hostname,
        publish: arguments.publish,
        publish_all: arguments.publish_all,
        expose: arguments.expose,
        resolver: ResolverSettings {
            servers: arguments.resolver.dns,
            search: arguments.resolver.dns_search,
            options: arguments.resolver.dns_option,
            hosts: arguments.resolver.add_host,
        },
        env: variables,
        labels: arguments.labels.into_iter().map(|label| (label.key, label.value)).collect(),
        working_directory: arguments.workdir,
        open_stdin: arguments.interactive,
        terminal: arguments.tty,
        init: arguments.init,
        log: LogLimits::default().with(&arguments.log_options),
        auto_remove: arguments.remove,
        restart_policy: arguments.restart,
        stop_signal: arguments.stop_signal,
        stop_timeout_seconds: arguments.stop_timeout,
        entrypoint: arguments.entrypoint.map(|program| if program.is_empty() { Vec::new() } else { vec![program] }),
        user: arguments.user,
        confinement: arguments.confinement.into(),
        ..ContainerCreate::new(arguments.image)
    };
    request.check()?;
    Ok(request)
}

/// What the arguments say together: networks, or one mode.
fn networks(arguments: Vec<NetworkArgument>) -> Result<(NetworkMode, Vec<EndpointCreate>), Failure> {
    let (mut mode, mut networks) = (None, Vec::new());
    for argument in arguments {
        match argument {
            NetworkArgument::Endpoint(endpoint) => networks.push(endpoint),
            NetworkArgument::Mode(second) => {
                if let Some(first) = mode.replace(second.clone()) {
                    return Err(Failure::TwoModes { first, second });
                }
            }
        }
    }
    Ok((mode.unwrap_or_default(), networks))
}
