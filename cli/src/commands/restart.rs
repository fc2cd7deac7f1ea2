//! `fabric restart`.

use api::{Client, NetworkMode, StopQuery};

use super::several::together_in_waves;
use crate::{arguments::StopArguments, failure::Failure, output::Output};

pub(super) async fn restart(client: &Client, output: Output, arguments: StopArguments) -> Result<(), Failure> {
    let query = StopQuery { timeout_seconds: arguments.timeout_seconds };
    // Who shares another's network is started while that one runs, and so after it has been restarted.
    let mut waves = [Vec::new(), Vec::new()];
    for (number, reference) in arguments.containers.iter().enumerate() {
        // What cannot be asked for is told of when it is to be restarted.
        let shares = arguments.containers.len() > 1
            && matches!(client.container(reference).await, Ok(it) if matches!(it.network_mode, NetworkMode::Container(_)));
        waves[usize::from(shares)].push((number, reference));
    }
    together_in_waves(output, "restarting", &waves, async |reference| {
        let container = client.restart_container(reference, query).await?;
        Ok((reference.to_string(), container))
    })
    .await
}
