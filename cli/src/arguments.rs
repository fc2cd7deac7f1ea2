//! What can be typed, and how it is read.

mod confinement;
mod container;
mod dns;
mod event;
mod flows;
mod image;
mod moment;
mod network;
mod network_argument;
mod policy;
mod shown;

use std::{path::PathBuf, str::FromStr};

use clap::{Parser, Subcommand, ValueEnum};

pub(crate) use self::{
    confinement::ConfinementArguments,
    container::{
        AttachArguments, CreateArguments, EnvironmentArgument, ExecArguments, InspectArguments, KillArguments,
        LogsArguments, PortArguments, PruneArguments, PsArguments, RenameArguments, RmArguments, RunArguments,
        StartArguments, StopArguments, TopArguments, WaitArguments,
    },
    dns::{DnsCommand, DnsLogArguments, DnsQueryArguments},
    event::EventsArguments,
    flows::FlowsArguments,
    image::{ImageCommand, ImportArguments, ListImagesArguments, RemoveImagesArguments},
    network::{
        ConnectArguments, CreateNetworkArguments, DisconnectArguments, ListNetworksArguments, NameServerArgument,
        NetworkCommand, PruneNetworksArguments, RemoveNetworksArguments, UpdateNetworkArguments,
    },
    network_argument::NetworkArgument,
    policy::{
        ApplyArguments, AuditArguments, ExplainArguments, HistoryArguments, ListPoliciesArguments, MatrixArguments,
        PolicyCommand, PolicyNames, RollbackArguments, SceneArguments, TestArguments,
    },
};

use crate::template::Template;

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
    // Not clap's `env`: what it takes from there it shows in usage lines as if it had been typed.
    /// Where netd listens [env: FABRIC_SOCKET] [default: /run/fabric/netd.sock].
    #[arg(long, global = true, value_name = "PATH", help_heading = "Global options")]
    socket: Option<PathBuf>,
    /// How to print: `table` for people, `json` for programs, or a template such as '{{.name}} {{.id}}' over that JSON.
    #[arg(long, global = true, default_value = "table", help_heading = "Global options")]
    pub(crate) format: Format,
}

impl GlobalArguments {
    /// Where netd listens: as it was typed, or as the environment has it, or where it does by default.
    pub(crate) fn socket(&self) -> PathBuf {
        socket(self.socket.clone())
    }
}

/// Where netd listens if `typed` is what was typed.
pub(crate) fn socket(typed: Option<PathBuf>) -> PathBuf {
    // An empty variable is as good as none, as with most programs.
    let of_environment = || std::env::var_os("FABRIC_SOCKET").filter(|path| !path.is_empty()).map(PathBuf::from);
    typed.or_else(of_environment).unwrap_or_else(|| api::Client::DEFAULT_SOCKET.into())
}

/// How answers are printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people: columns of text.
    Table,
    /// For programs: one object or one array.
    Json,
    /// One line for each object.
    Template(Template),
    /// For Graphviz, of what is a graph.
    Dot,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "table" => Ok(Self::Table),
            "json" => Ok(Self::Json),
            "dot" => Ok(Self::Dot),
            template if template.contains("{{") => {
                template.parse().map(Self::Template).map_err(|error| error.to_string())
            }
            _ => {
                Err("expected `table`, `json`, `dot` (of `policy matrix`), or a template such as '{{.name}}'"
                    .to_owned())
            }
        }
    }
}

/// What can be done with all containers at once.
#[derive(Debug, Subcommand)]
pub(crate) enum ContainerCommand {
    /// Remove all containers that have exited.
    Prune(PruneArguments),
}

/// The shells that `fabric completion` knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShellArgument {
    // No documentation, which clap would print: their names say what they are.
    Bash,
    Zsh,
    Fish,
}

/// `fabric doctor`.
#[derive(Debug, clap::Args)]
pub(crate) struct DoctorArguments {
    /// Mend what can be mended without harm, and tell what that was.
    #[arg(long)]
    pub(crate) fix: bool,
}

/// What can be asked for.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make, change, list, show and remove networks, and connect containers to them.
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
    /// Show where a container's ports are published.
    Port(PortArguments),
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
    /// Look names up as containers do, and see what they asked.
    #[command(subcommand)]
    Dns(DnsCommand),
    /// Say who may talk to whom: put policies in force, ask them, and take them back.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Show what happened, and what happens.
    Events(EventsArguments),
    /// Show the connections that rules of policies log: who asked whom for what, and what became of it.
    Flows(FlowsArguments),
    /// Show what netd looks after.
    Status,
    /// Hold what should be against what is; exits with 1 if there are problems.
    Doctor(DoctorArguments),
    /// Print the completion script of a shell.
    Completion {
        /// The shell.
        shell: ShellArgument,
    },
    /// Write the man pages of all commands into a directory.
    Man {
        /// The directory, such as /usr/local/share/man/man1.
        directory: PathBuf,
    },
    /// Show the versions of fabric and netd.
    Version,
}
