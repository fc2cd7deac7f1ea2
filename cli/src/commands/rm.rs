//! `fabric rm`.

use api::{Client, RemoveQuery};

use super::several::each;
use crate::{arguments::RmArguments, failure::Failure, output::Output};

pub(super) async fn rm(client: &Client, output: Output, arguments: RmArguments) -> Result<(), Failure> {
    let query = RemoveQuery { force: arguments.force };
    each(output, &arguments.containers, async |reference| {
        client.remove_container(reference, query).await?;
        Ok((reference.to_string(), reference))
    })
    .await
}
