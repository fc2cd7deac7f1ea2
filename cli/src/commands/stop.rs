//! `fabric stop`.

use api::{Client, StopQuery};

use super::each;
use crate::{arguments::StopArguments, failure::Failure, output::Output};

pub(super) async fn stop(client: &Client, output: Output, arguments: StopArguments) -> Result<(), Failure> {
    let query = StopQuery { timeout_seconds: arguments.timeout_seconds };
    each(output, &arguments.containers, async |reference| {
        let container = client.stop_container(reference, query).await?;
        Ok((reference.to_string(), container))
    })
    .await
}
