//! `fabric ps`.

use api::{Client, Container, ContainersQuery, Endpoint, NetworkMode, State};
use jiff::Timestamp;

use super::port::in_force;
use crate::{
    arguments::PsArguments,
    failure::Failure,
    filter::{mentions, passes},
    output::Output,
    table::{age, joined, table},
};

pub(super) async fn ps(client: &Client, output: Output, arguments: PsArguments) -> Result<(), Failure> {
    // Who asks for a state wants to see those that do not run, too.
    let all = arguments.all || mentions(&arguments.filters, "state");
    let mut containers = client.containers(ContainersQuery { all }).await?;
    containers.retain(|container| passes(container, &arguments.filters));
    let ids = || containers.iter().map(|container| format!("{}\n", container.id)).collect();
    let table = || render(&containers, Timestamp::now());
    output.print(&containers, || if arguments.quiet { ids() } else { table() })
}

fn render(containers: &[Container], now: Timestamp) -> String {
    table(
        ["CONTAINER ID", "NAME", "IMAGE", "STATE", "NETWORK", "ADDRESS", "PORTS", "CREATED"],
        containers.iter().map(|container| {
            [
                container.id.short().to_owned(),
                container.name.to_string(),
                container.image.to_string(),
                state(container),
                networks(container),
                joined(container.endpoints.iter().flat_map(addresses)),
                joined(in_force(container)),
                age(container.created_at, now),
            ]
        }),
    )
}

/// The networks it is on, or whose network it uses.
fn networks(container: &Container) -> String {
    match &container.network_mode {
        mode @ (NetworkMode::Host | NetworkMode::Container(_)) => mode.to_string(),
        NetworkMode::Networks | NetworkMode::None => {
            joined(container.endpoints.iter().map(|endpoint| endpoint.network.to_string()))
        }
    }
}

/// Its addresses, IPv4 first.
fn addresses(endpoint: &Endpoint) -> impl Iterator<Item = String> {
    let ipv4 = endpoint.ipv4.map(|address| address.to_string());
    ipv4.into_iter().chain(endpoint.ipv6.map(|address| address.to_string()))
}

/// The state in one word, with the exit code where there is one.
pub(super) fn state(container: &Container) -> String {
    match (container.state, container.exit_code) {
        (state @ (State::Exited | State::Restarting), Some(code)) => format!("{} ({code})", state.as_str()),
        (state, _) => state.as_str().to_owned(),
    }
}

#[cfg(test)]
mod tests;
