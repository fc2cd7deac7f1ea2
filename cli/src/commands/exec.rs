//! `fabric exec`.

use std::process::ExitCode;

use api::{Client, ExecCreate};
use model::TerminalSize;

use super::{environment, run::exit_code};
use crate::{
    arguments::ExecArguments,
    attached::{Input, Process, pump},
    failure::Failure,
    signals::Signals,
    terminal,
};

/// The size of a terminal that nobody looks at.
const UNKNOWN: TerminalSize = TerminalSize { rows: 24, columns: 80 };

pub(super) async fn exec(client: &Client, arguments: ExecArguments) -> Result<ExitCode, Failure> {
    let request = ExecCreate {
        command: arguments.command,
        env: environment(arguments.env)?,
        working_directory: arguments.workdir,
        stdin: arguments.interactive,
        terminal: arguments.tty.then(|| terminal::size().unwrap_or(UNKNOWN)),
        user: arguments.user,
    };
    let input = match (arguments.tty, arguments.interactive) {
        // Who leaves a program that was added to a container ends it, so there are no keys for that.
        (true, interactive) => Input::of_terminal(interactive, None, || Failure::NoTerminal)?,
        (false, true) => Input::PassedOn,
        (false, false) => Input::LeftAlone,
    };
    let stream = client.exec(&arguments.container, &request).await?;
    let mut signals = Signals::take().map_err(Failure::Signals)?;
    let process = Process::Exec { container: arguments.container.to_string() };
    let name = arguments.container.to_string();
    Ok(exit_code(pump(stream, input, &mut signals, process).await?, &name))
}
