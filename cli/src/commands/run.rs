//! `fabric run`.

use std::{io::ErrorKind, pin::pin, process::ExitCode, time::Duration};

use api::{Client, ClientError, Container, ContainerCreate, Reference, RemoveQuery, StartQuery, Until, WaitQuery};

use super::create::request;
use crate::{
    arguments::RunArguments,
    attached::{Input, Process, pump},
    failure::Failure,
    output::Output,
    signals::Signals,
};

/// How long the end of a run waits until a container that removes itself is gone.
const REMOVAL: Duration = Duration::from_secs(10);

pub(super) async fn run(client: &Client, output: Output, arguments: RunArguments) -> Result<ExitCode, Failure> {
    let RunArguments { detach, create } = arguments;
    let remove = create.remove;
    let input = if create.interactive && !detach { Input::PassedOn } else { Input::LeftAlone };
    let request = ContainerCreate { start: detach, ..request(create)? };
    let container = client.create_container(&request).await?;
    if detach {
        output.print(&container, || format!("{}\n", container.id))?;
        return Ok(ExitCode::SUCCESS);
    }
    let reference = Reference::from(&container.id);
    let result = attached(client, &container, &reference, input).await;
    match &result {
        // It was started, and goes on without its client.
        Err(Failure::Output(_) | Failure::Lost(_) | Failure::Frames(_)) => {}
        Err(_) => discard(client, &reference).await,
        Ok(_) if remove => gone(client, &reference).await,
        Ok(_) => {}
    }
    result
}

/// Attaches first, then starts, so that not one octet of output is missed.
pub(super) async fn attached(
    client: &Client,
    container: &Container,
    reference: &Reference,
    input: Input,
) -> Result<ExitCode, Failure> {
    let stream = client.attach(reference).await?;
    let mut signals = Signals::take().map_err(Failure::Signals)?;
    let process =
        Process::Container { name: container.name.to_string(), reference: reference.clone(), client: client.clone() };
    let mut pumped = pin!(pump(stream, input, &mut signals, process));
    let mut started = pin!(client.start_container(reference, StartQuery { prepare: false }));
    let ended = tokio::select! {
        started = &mut started => match started {
            Err(refused @ ClientError::Problem { .. }) => Err(refused.into()),
            // A daemon that went away may have started it before; the stream knows.
            Ok(_) | Err(_) => pumped.await,
        },
        // A short process ends before the daemon has answered that it was started.
        ended = &mut pumped => match (ended, started.await) {
            // The daemon knows better than a stream that just ended why nothing was executed.
            (_, Err(refused @ ClientError::Problem { .. })) => Err(refused.into()),
            (ended, _) => ended,
        },
    };
    if let Err(Failure::Output(error)) = &ended
        && error.kind() == ErrorKind::BrokenPipe
    {
        let name = &container.name;
        anstream::eprintln!("the output was closed; container `{name}` goes on until: fabric stop {name}");
    }
    ended.map(ExitCode::from)
}

/// Removes a container that was never started; whoever asked hears of the failure that kept it from that.
async fn discard(client: &Client, reference: &Reference) {
    let _ = client.remove_container(reference, RemoveQuery { force: true }).await;
}

/// Waits until a container that removes itself is gone, so that its name and ports are free when the run has ended.
/// The run itself is over, so neither a daemon that is away nor one that takes long makes it fail.
async fn gone(client: &Client, reference: &Reference) {
    let wait = client.wait_container(reference, WaitQuery { until: Until::Removed });
    let _ = tokio::time::timeout(REMOVAL, wait).await;
}
