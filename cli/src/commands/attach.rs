//! `fabric attach`.

use std::process::ExitCode;

use api::{Client, Reference, State};
use model::{Frame, TerminalSize};

use super::run::{cleared, exit_code};
use crate::{
    arguments::AttachArguments,
    attached::{Input, Process, pump},
    failure::Failure,
    signals::Signals,
    terminal,
};

pub(super) async fn attach(client: &Client, arguments: AttachArguments) -> Result<ExitCode, Failure> {
    let container = client.container(&arguments.container).await?;
    let name = container.name.to_string();
    match container.state {
        State::Running => {}
        // It could be attached to, and nothing would be seen of it for as long as nobody starts it.
        State::Created => return Err(Failure::AttachedBeforeStart { name }),
        State::Exited | State::Restarting => return Err(Failure::AttachedAfterEnd { name }),
    }
    let reference = Reference::from(&container.id);
    let mut stream = client.attach(&reference).await?;
    let interactive = !arguments.no_stdin;
    let input = match (container.terminal, interactive && container.open_stdin) {
        (true, true) => Input::of_terminal(true, Some(arguments.detach_keys), || Failure::NoTerminalFor {
            name: name.clone(),
            hint: "only look at what it writes: `--no-stdin`",
        })?,
        (true, false) => Input::Watched,
        (false, true) => Input::PassedOn,
        (false, false) => Input::LeftAlone,
    };
    if input.is_terminal()
        && let Some(size) = terminal::size()
    {
        // A program draws its screen anew when its terminal changes, so it is changed for a moment.
        let other = TerminalSize { rows: size.rows.saturating_add(1), ..size };
        stream.send(&Frame::Resize(other)).await?;
        stream.send(&Frame::Resize(size)).await?;
    }
    let mut signals = Signals::take().map_err(Failure::Signals)?;
    let process = Process::Container { name: name.clone(), reference, client: client.clone() };
    let finish = pump(stream, input, &mut signals, process).await?;
    cleared(client, &container, finish).await;
    Ok(exit_code(finish, &name))
}
