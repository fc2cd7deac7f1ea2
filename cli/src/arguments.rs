//! What can be typed, and how it is read.

mod container;
mod image;
mod network;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

pub(crate) use self::{
    container::{
        AttachArguments, CreateArguments, EnvironmentArgument, ExecArguments, InspectArguments, KillArguments,
        LogsArguments, PruneArguments, PsArguments, RenameArguments, RmArguments, RunArguments, StartArguments,
        StopArguments, TopArguments, WaitArguments,
    },
    image::{ImageCommand, ImportArguments, RemoveImagesArguments},
    network::{CreateNetworkArguments, InspectNetworkArguments, NetworkCommand, RemoveNetworksArguments},
};

/// Containers that are born on a network.
#[derive(Debug, Parser)]
#[command(name = "fabric", version, max_term_width = 100, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: GlobalArguments,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct GlobalArguments {
    /// Where netd listens.
    #[arg(
        long,
        global = true,
        env = "FABRIC_SOCKET",
        hide_env_values = true,
        value_name = "PATH",
        default_value = api::Client::DEFAULT_SOCKET,
        help_heading = "Global options"
    )]
    pub(crate) socket: PathBuf,
    /// How to print: columns for people, or one JSON object or array for programs.
    #[arg(long, global = true, value_enum, default_value_t, help_heading = "Global options")]
    pub(crate) format: Format,
}

/// How answers are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    // Not documentation: clap would print it under every command.
    // For people: columns of text.
    #[default]
    Table,
    // For programs: one object or one array.
    Json,
}

/// What can be done with all containers at once.
#[derive(Debug, Subcommand)]
pub(crate) enum ContainerCommand {
    /// Remove all containers that have exited.
    Prune(PruneArguments),
}

/// What can be asked for.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make, list, show and remove networks.
    #[command(subcommand)]
    Network(NetworkCommand),
    /// Make a container from an image and start it.
    Run(RunArguments),
    /// Make a container from an image, to be started later.
    Create(CreateArguments),
    /// Start containers that wait for it, or have exited.
    Start(StartArguments),
    /// List containers.
    Ps(PsArguments),
    /// Show everything about containers.
    Inspect(InspectArguments),
    /// Print what a container wrote.
    Logs(LogsArguments),
    /// Join the standard streams of a running container.
    Attach(AttachArguments),
    /// Run another program in a running container.
    Exec(ExecArguments),
    /// Show the processes of a container.
    Top(TopArguments),
    /// Stop containers: their stop signal, and SIGKILL to those that do not end.
    Stop(StopArguments),
    /// Stop containers and start them again.
    Restart(StopArguments),
    /// Send a signal to containers.
    Kill(KillArguments),
    /// Wait until containers have exited, and print their exit codes.
    Wait(WaitArguments),
    /// Give a container another name.
    Rename(RenameArguments),
    /// Remove containers.
    Rm(RmArguments),
    /// Remove all containers that have exited.
    Prune(PruneArguments),
    /// The same as `prune`, beside what is pruned of other kinds.
    #[command(subcommand)]
    Container(ContainerCommand),
    /// Import, list and remove images.
    #[command(subcommand)]
    Image(ImageCommand),
    /// Show what netd looks after.
    Status,
    /// Hold what should be against what is; exits with 1 if there are problems.
    Doctor,
    /// Show the versions of fabric and netd.
    Version,
}
