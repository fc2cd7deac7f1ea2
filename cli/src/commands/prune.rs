//! `fabric prune` and `fabric network prune`.

use std::io::{BufRead, IsTerminal, Write};

use api::{Client, ContainersPrune, ContainersQuery, NetworksPrune, State};
use model::NetworkName;

use crate::{
    arguments::{PruneArguments, PruneNetworksArguments},
    failure::Failure,
    filter::passes,
    output::Output,
};

/// What is removed is what was shown: a container that ends meanwhile stays.
pub(super) async fn prune(client: &Client, output: Output, arguments: PruneArguments) -> Result<(), Failure> {
    let mut containers = client.containers(ContainersQuery { all: true }).await?;
    containers.retain(|container| container.state == State::Exited && passes(container, &arguments.filters));
    let list = || containers.iter().map(|container| container.name.as_str()).collect::<Vec<_>>().join(", ");
    if !arguments.force && !containers.is_empty() && !confirmed(&format!("{} with all that they wrote", list()))? {
        return Ok(());
    }
    let only = containers.into_iter().map(|container| container.id).collect();
    let pruned = client.prune_containers(&ContainersPrune { only: Some(only) }).await?;
    output.print(&pruned, || pruned.removed.iter().map(|name| format!("{name}\n")).collect())
}

/// What is removed is what was shown: a network that is made meanwhile stays.
pub(super) async fn networks(
    client: &Client,
    output: Output,
    arguments: PruneNetworksArguments,
) -> Result<(), Failure> {
    let mut networks = client.networks().await?;
    networks.retain(|network| network.endpoints.is_empty() && passes(network, &arguments.filters));
    let names: Vec<NetworkName> = networks.into_iter().map(|network| network.name).collect();
    let list = || names.iter().map(NetworkName::as_str).collect::<Vec<_>>().join(", ");
    if !arguments.force && !names.is_empty() && !confirmed(&list())? {
        return Ok(());
    }
    let pruned = client.prune_networks(&NetworksPrune { only: Some(names) }).await?;
    output.print(&pruned, || pruned.removed.iter().map(|name| format!("{name}\n")).collect())
}

/// Asks a person. A program that cannot be asked is to say `--force`.
fn confirmed(what: &str) -> Result<bool, Failure> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::Unconfirmed);
    }
    anstream::eprint!("remove {what}? [y/N] ");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    // What cannot be read is no consent.
    let _ = stdin.lock().read_line(&mut answer);
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
