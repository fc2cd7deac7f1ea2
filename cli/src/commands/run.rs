//! `fabric run`.

use std::{io::ErrorKind, pin::pin, process::ExitCode, time::Duration};

use api::{Client, ClientError, Container, ContainerCreate, Reference, RemoveQuery, StartQuery, Until, WaitQuery};

use model::{Frame, RestartPolicy};

use super::create::request;
use crate::{
    arguments::RunArguments,
    attached::{Finish, Input, Process, pump},
    failure::{Failure, Fate},
    output::Output,
    signals::Signals,
    terminal,
};

/// How long the end of a run waits until the daemon has seen to what it left.
const CLEARING: Duration = Duration::from_secs(10);

pub(super) async fn run(client: &Client, output: Output, arguments: RunArguments) -> Result<ExitCode, Failure> {
    let RunArguments { detach, detach_keys, create } = arguments;
    let input = match (detach, create.tty, create.interactive) {
        (true, ..) | (false, false, false) => Input::LeftAlone,
        (false, false, true) => Input::PassedOn,
        (false, true, interactive) => Input::of_terminal(interactive, Some(detach_keys), || Failure::NoTerminal)?,
    };
    let request = ContainerCreate { start: detach, attended: !detach, ..request(create)? };
    let mut signals = Signals::take().map_err(Failure::Signals)?;
    let container = created(client, &request, &mut signals).await?;
    if detach {
        output.print(&container, || format!("{}\n", container.id))?;
        return Ok(ExitCode::SUCCESS);
    }
    let reference = Reference::from(&container.id);
    let result = attached(client, &container, &reference, input, &mut signals).await;
    match &result {
        Err(Failure::BeforeStart { signal, .. }) => return Err(undone(client, &container, *signal).await),
        // It was started, and goes on without its client.
        Err(Failure::Output(_) | Failure::Lost(_) | Failure::Frames(_)) => {}
        // Whoever asked hears of the failure that kept it from its start.
        Err(_) => drop(discard(client, &reference).await),
        Ok(finish) => cleared(client, &container, *finish).await,
    }
    result.map(|finish| exit_code(finish, container.name.as_str()))
}

/// What to exit with; who has left is told the way back.
pub(super) fn exit_code(finish: Finish, container: &str) -> ExitCode {
    match finish {
        Finish::Exited(code) => ExitCode::from(code),
        Finish::Detached => {
            anstream::eprintln!("\ndetached; to come back: fabric attach {container}");
            ExitCode::SUCCESS
        }
    }
}

/// The container that was asked for. One that is to be attached to is undone if a signal ends the run before; the second
/// one ends that, too.
async fn created(client: &Client, request: &ContainerCreate, signals: &mut Signals) -> Result<Container, Failure> {
    let mut asked = pin!(client.create_container(request));
    let signal = tokio::select! {
        biased;
        made = &mut asked => return Ok(made?),
        signal = signals.ending() => signal,
    };
    if request.start {
        return Err(Failure::BeforeStart { signal, fate: Fate::GoesOn });
    }
    tokio::select! {
        made = asked => match made {
            Ok(container) => Err(undone(client, &container, signal).await),
            Err(ClientError::Problem { .. }) => Err(Failure::BeforeStart { signal, fate: Fate::Undone }),
            Err(_) => Err(Failure::BeforeStart { signal, fate: Fate::Unknown }),
        },
        signal = signals.ending() => Err(Failure::BeforeStart { signal, fate: Fate::Unknown }),
    }
}

/// Undoes what a signal kept from its start, and tells what became of it.
async fn undone(client: &Client, container: &Container, signal: u8) -> Failure {
    let fate = match discard(client, &Reference::from(&container.id)).await {
        Ok(()) => Fate::Undone,
        Err(_) => Fate::Left(container.name.to_string()),
    };
    Failure::BeforeStart { signal, fate }
}

/// Attaches first, then starts, so that not one octet of output is missed.
pub(super) async fn attached(
    client: &Client,
    container: &Container,
    reference: &Reference,
    input: Input,
    signals: &mut Signals,
) -> Result<Finish, Failure> {
    let mut stream = tokio::select! {
        stream = client.attach(reference) => stream?,
        signal = signals.ending() => {
            return Err(Failure::BeforeStart { signal, fate: Fate::Left(container.name.to_string()) });
        }
    };
    if input.is_terminal()
        && let Some(size) = terminal::size()
    {
        // Its program finds a terminal of the right size.
        stream.send(&Frame::Resize(size)).await?;
    }
    let process =
        Process::Container { name: container.name.to_string(), reference: reference.clone(), client: client.clone() };
    let mut pumped = pin!(pump(stream, input, signals, process));
    let mut started = pin!(client.start_container(reference, StartQuery { prepare: false }));
    let ended = tokio::select! {
        started = &mut started => match started {
            Err(refused @ ClientError::Problem { .. }) => Err(refused.into()),
            // A daemon that went away may have started it before; the stream knows.
            Ok(_) | Err(_) => pumped.await,
        },
        // A short process ends before the daemon has answered that it was started.
        ended = &mut pumped => match (ended, unless_ended(started).await) {
            // The daemon knows better than a stream that just ended why nothing was executed.
            (_, Some(Err(refused @ ClientError::Problem { .. }))) => Err(refused.into()),
            (ended, _) => ended,
        },
    };
    if let Err(Failure::Output(error)) = &ended
        && error.kind() == ErrorKind::BrokenPipe
    {
        let name = &container.name;
        anstream::eprintln!("the output was closed; container `{name}` goes on until: fabric stop {name}");
    }
    ended
}

/// Removes a container that was never started.
async fn discard(client: &Client, reference: &Reference) -> Result<(), ClientError> {
    client.remove_container(reference, RemoveQuery { force: true }).await
}

/// Waits until the daemon has seen to what a container that has ended left, unless it runs again by then: the
/// container's keeper tells of the end first. Then its ports are free, it can be removed and started again, and the
/// name of one that removes itself is free, too. The process itself is over, so a daemon that is away or takes long
/// does not make it fail, and a signal ends it.
pub(super) async fn cleared(client: &Client, container: &Container, finish: Finish) {
    let until = match (finish, container.restart_policy) {
        (Finish::Exited(_), _) if container.auto_remove => Until::Removed,
        (Finish::Exited(_), RestartPolicy::No) | (Finish::Exited(0), RestartPolicy::OnFailure { .. }) => Until::Exited,
        (Finish::Exited(_) | Finish::Detached, _) => return,
    };
    let reference = Reference::from(&container.id);
    let wait = client.wait_container(&reference, WaitQuery { until });
    unless_ended(tokio::time::timeout(CLEARING, wait)).await;
}

/// What the daemon says once an attached process is over, unless a signal says that nobody waits for it: this process
/// has taken signals since it passed them on.
async fn unless_ended<T>(said: impl Future<Output = T>) -> Option<T> {
    let mut signals = Signals::take().ok()?;
    tokio::select! {
        said = said => Some(said),
        _ = signals.ending() => None,
    }
}
