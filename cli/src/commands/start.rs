//! `fabric start`.

use std::process::ExitCode;

use api::{Client, Reference, StartQuery};

use super::{
    run::{attached, cleared, exit_code},
    several::each,
};
use crate::{arguments::StartArguments, attached::Input, failure::Failure, output::Output, signals::Signals};

pub(super) async fn start(client: &Client, output: Output, arguments: StartArguments) -> Result<ExitCode, Failure> {
    if arguments.attach {
        return start_attached(client, arguments).await.map_err(Failure::not_run);
    }
    each(output, &arguments.containers, async |reference| {
        let container = client.start_container(reference, StartQuery { prepare: false }).await?;
        Ok((reference.to_string(), container))
    })
    .await
    .map(|()| ExitCode::SUCCESS)
}

async fn start_attached(client: &Client, arguments: StartArguments) -> Result<ExitCode, Failure> {
    let [reference] = &arguments.containers[..] else { return Err(Failure::OneAtATime) };
    let input = match (client.container(reference).await?.terminal, arguments.interactive) {
        (true, interactive) => {
            Input::of_terminal(interactive, Some(arguments.detach_keys), || Failure::NoTerminalFor {
                name: reference.to_string(),
                hint: "only look at what it writes: leave out `--interactive`",
            })?
        }
        (false, true) => Input::PassedOn,
        (false, false) => Input::LeftAlone,
    };
    let mut signals = Signals::take().map_err(Failure::Signals)?;
    // Its shim, which a client is attached to, comes with it.
    let container = client.start_container(reference, StartQuery { prepare: true }).await?;
    let finish = attached(client, &container, &Reference::from(&container.id), input, &mut signals).await?;
    cleared(client, &container, finish).await;
    Ok(exit_code(finish, container.name.as_str()))
}
