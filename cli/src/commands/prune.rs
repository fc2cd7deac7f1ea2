//! `fabric prune`.

use std::io::{BufRead, IsTerminal, Write};

use api::{Client, ContainersQuery, State};

use crate::{arguments::PruneArguments, failure::Failure, output::Output};

pub(super) async fn prune(client: &Client, output: Output, arguments: PruneArguments) -> Result<(), Failure> {
    if !arguments.force {
        let containers = client.containers(ContainersQuery { all: true }).await?;
        let ended = containers.iter().filter(|container| container.state == State::Exited);
        let names: Vec<&str> = ended.map(|container| container.name.as_str()).collect();
        if !names.is_empty() && !confirmed(&names)? {
            return Ok(());
        }
    }
    let pruned = client.prune_containers().await?;
    output.print(&pruned, || pruned.removed.iter().map(|name| format!("{name}\n")).collect())
}

/// Asks a person. A program that cannot be asked is to say `--force`.
fn confirmed(names: &[&str]) -> Result<bool, Failure> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::Unconfirmed);
    }
    anstream::eprint!("remove {} with all that they wrote? [y/N] ", names.join(", "));
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    // What cannot be read is no consent.
    let _ = stdin.lock().read_line(&mut answer);
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
