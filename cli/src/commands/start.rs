//! `fabric start`.

use std::process::ExitCode;

use api::{Client, Reference, StartQuery};

use super::{each, run::attached};
use crate::{arguments::StartArguments, attached::Input, failure::Failure, output::Output};

pub(super) async fn start(client: &Client, output: Output, arguments: StartArguments) -> Result<ExitCode, Failure> {
    if arguments.attach {
        let input = if arguments.interactive { Input::PassedOn } else { Input::LeftAlone };
        return start_attached(client, &arguments.containers, input).await.map_err(Failure::not_run);
    }
    each(output, &arguments.containers, async |reference| {
        let container = client.start_container(reference, StartQuery { prepare: false }).await?;
        Ok((reference.to_string(), container))
    })
    .await
    .map(|()| ExitCode::SUCCESS)
}

async fn start_attached(client: &Client, containers: &[Reference], input: Input) -> Result<ExitCode, Failure> {
    let [reference] = containers else { return Err(Failure::OneAtATime) };
    // Its shim, which a client is attached to, comes with it.
    let container = client.start_container(reference, StartQuery { prepare: true }).await?;
    attached(client, &container, &Reference::from(&container.id), input).await
}
