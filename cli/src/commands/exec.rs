//! `fabric exec`.

use std::process::ExitCode;

use api::{Client, ExecCreate};

use super::environment;
use crate::{
    arguments::ExecArguments,
    attached::{Input, Process, pump},
    failure::Failure,
    signals::Signals,
};

pub(super) async fn exec(client: &Client, arguments: ExecArguments) -> Result<ExitCode, Failure> {
    let request = ExecCreate {
        command: arguments.command,
        env: environment(arguments.env)?,
        working_directory: arguments.workdir,
        stdin: arguments.interactive,
        user: None,
    };
    let stream = client.exec(&arguments.container, &request).await?;
    let mut signals = Signals::take().map_err(Failure::Signals)?;
    let input = if arguments.interactive { Input::PassedOn } else { Input::LeftAlone };
    let process = Process::Exec { container: arguments.container.to_string() };
    pump(stream, input, &mut signals, process).await.map(ExitCode::from)
}
