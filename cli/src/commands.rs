//! What each command does. Every one returns what to exit with, or why it failed.

mod attach;
mod completion;
mod create;
mod dns;
mod doctor;
mod events;
mod exec;
mod flows;
mod image;
mod inspect;
mod kill;
mod logs;
mod network;
mod policy;
mod port;
mod prune;
mod ps;
mod rename;
mod restart;
mod rm;
mod run;
#[cfg(test)]
pub(crate) mod samples;
mod several;
mod start;
mod status;
mod stop;
mod top;
mod version;
mod wait;

use std::process::ExitCode;

pub(crate) use completion::complete;

use api::Client;
use model::EnvironmentVariable;

use crate::{
    arguments::{Arguments, Command, ContainerCommand, EnvironmentArgument, Format},
    failure::Failure,
    output::Output,
};

/// Does what was asked for.
pub(crate) async fn execute(arguments: Arguments) -> Result<ExitCode, Failure> {
    if let Format::Template(template) = &arguments.global.format
        && let Some(shown) = arguments.command.shown()
    {
        // Before anything is asked for.
        template.check(&shown)?;
    }
    if matches!(arguments.global.format, Format::Dot) && !arguments.command.is_graph() {
        return Err(Failure::NoGraph);
    }
    let client = Client::new(arguments.global.socket());
    let output = Output::new(arguments.global.format);
    match arguments.command {
        Command::Run(run) => return run::run(&client, output, run).await.map_err(Failure::not_run),
        Command::Attach(attach) => return attach::attach(&client, attach).await.map_err(Failure::not_run),
        Command::Exec(exec) => return exec::exec(&client, exec).await.map_err(Failure::not_run),
        Command::Start(start) => return start::start(&client, output, start).await,
        Command::Doctor(doctor) => return doctor::doctor(&client, output, doctor).await,
        Command::Dns(dns) => return dns::dns(&client, output, dns).await,
        Command::Policy(policy) => return policy::policy(&client, output, policy).await,
        Command::Network(network) => network::network(&client, output, network).await,
        Command::Create(create) => create::create(&client, output, create).await,
        Command::Ps(ps) => ps::ps(&client, output, ps).await,
        Command::Inspect(inspect) => inspect::inspect(&client, output, inspect).await,
        Command::Port(port) => port::port(&client, output, port).await,
        Command::Logs(logs) => logs::logs(&client, output, logs).await,
        Command::Stop(stop) => stop::stop(&client, output, stop).await,
        Command::Restart(restart) => restart::restart(&client, output, restart).await,
        Command::Rename(rename) => rename::rename(&client, output, rename).await,
        Command::Top(top) => top::top(&client, output, top).await,
        Command::Prune(prune) | Command::Container(ContainerCommand::Prune(prune)) => {
            prune::prune(&client, output, prune).await
        }
        Command::Kill(kill) => kill::kill(&client, output, kill).await,
        Command::Wait(wait) => wait::wait(&client, output, wait).await,
        Command::Rm(rm) => rm::rm(&client, output, rm).await,
        Command::Image(image) => image::image(&client, output, image).await,
        Command::Events(events) => events::events(&client, output, events).await,
        Command::Flows(flows) => flows::flows(&client, output, flows).await,
        Command::Completion { shell } => completion::completion(shell),
        Command::Man { directory } => completion::man(&directory),
        Command::Status => status::status(&client, output).await,
        Command::Version => version::version(&client, output).await,
    }
    .map(|()| ExitCode::SUCCESS)
}

/// The variables to ask for: those given, and those of this process's own environment that were named and are set.
fn environment(arguments: Vec<EnvironmentArgument>) -> Result<Vec<EnvironmentVariable>, Failure> {
    let resolve = |argument| match argument {
        EnvironmentArgument::Given(variable) => Some(Ok(variable)),
        EnvironmentArgument::PassedOn(name) => {
            let value = std::env::var_os(&name)?;
            let Ok(value) = value.into_string() else {
                return Some(Err(Failure::Environment { name, source: "its value is not UTF-8".into() }));
            };
            let variable = format!("{name}={value}").parse();
            Some(variable.map_err(|error| Failure::Environment { name, source: Box::new(error) }))
        }
    };
    arguments.into_iter().filter_map(resolve).collect()
}
