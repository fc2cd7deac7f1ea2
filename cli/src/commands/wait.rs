//! `fabric wait`.

use api::{Client, Until, WaitQuery};

use super::several::together;
use crate::{arguments::WaitArguments, failure::Failure, output::Output};

pub(super) async fn wait(client: &Client, output: Output, arguments: WaitArguments) -> Result<(), Failure> {
    let query = WaitQuery { until: Until::Exited };
    together(output, &arguments.containers, async |reference| {
        let waited = client.wait_container(reference, query).await?;
        let value = serde_json::json!({ "container": reference, "exit_code": waited.exit_code });
        Ok((waited.exit_code.to_string(), value))
    })
    .await
}
