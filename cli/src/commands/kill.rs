//! `fabric kill`.

use api::{Client, KillQuery};

use super::several::each;
use crate::{arguments::KillArguments, failure::Failure, output::Output};

pub(super) async fn kill(client: &Client, output: Output, arguments: KillArguments) -> Result<(), Failure> {
    let query = KillQuery { signal: arguments.signal };
    each(output, &arguments.containers, async |reference| {
        client.kill_container(reference, query).await?;
        Ok((reference.to_string(), reference))
    })
    .await
}
