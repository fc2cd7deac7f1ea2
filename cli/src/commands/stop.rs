//! `fabric stop`.

use api::{Client, StopQuery};

use super::several::together_in_waves;
use crate::{arguments::StopArguments, failure::Failure, output::Output};

pub(super) async fn stop(client: &Client, output: Output, arguments: StopArguments) -> Result<(), Failure> {
    let query = StopQuery { timeout_seconds: arguments.timeout_seconds };
    let all = [arguments.containers.iter().enumerate().collect()];
    together_in_waves(output, "stopping", &all, async |reference| {
        let container = client.stop_container(reference, query).await?;
        Ok((reference.to_string(), container))
    })
    .await
}
