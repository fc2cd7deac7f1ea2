//! Arguments about containers.

use std::{path::PathBuf, str::FromStr};

use api::{Container, Reference, Signal};
use clap::Args;
use model::{
    ContainerName, ContainerPort, EnvironmentVariable, ExposedPort, ExtraHost, Hostname, ImageName, Label, LogOption,
    NameServer, ParseEnvironmentError, PublishRequest, ResolverOption, RestartPolicy, SearchDomain, whole_number,
};

use super::{ConfinementArguments, NetworkArgument, moment::Moment};
use crate::{detach::DetachKeys, filter::Filter, objects};

/// `fabric run`.
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// Leave it running and print its id.
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// The keys that detach from its terminal.
    #[arg(long, value_name = "KEYS", default_value_t)]
    pub(crate) detach_keys: DetachKeys,
    #[command(flatten)]
    pub(crate) create: CreateArguments,
}

/// What a container is made of: `fabric create`, and `fabric run`.
#[derive(Debug, Args)]
pub(crate) struct CreateArguments {
    /// Remove it as soon as it has exited.
    #[arg(long = "rm")]
    pub(crate) remove: bool,
    /// The container's name: lower-case letters, digits and hyphens [default: drawn at random].
    #[arg(long)]
    pub(crate) name: Option<ContainerName>,
    /// A network to attach it to, with options `ip=`, `ip6=`, `mac=`, `ifname=`, `alias=` and `gw-priority=`; can be
    /// repeated [default: none, only the loopback interface]. Or `none`, `host` for the host's own, or `container:NAME`
    /// to share that of a running container.
    #[arg(long = "network", value_name = "NAME[:OPTION=VALUE,...]", add = objects::networks_of_containers())]
    pub(crate) networks: Vec<NetworkArgument>,
    /// The host name it sees [default: its name].
    #[arg(long, value_name = "NAME")]
    pub(crate) hostname: Option<Hostname>,
    /// Lead ports of the host to it, PORT or PORT-PORT; those that are not named are chosen; can be repeated.
    #[arg(short, long, value_name = "[[ADDRESS:][PORTS]:]CONTAINER_PORTS[/udp|/sctp]")]
    pub(crate) publish: Vec<PublishRequest>,
    /// Say of a port that it listens there, as the image does of its own: for DNS (SRV), and for -P; and what policies
    /// may call it; can be repeated.
    #[arg(long, value_name = "[NAME=]PORT[/PROTOCOL]")]
    pub(crate) expose: Vec<ExposedPort>,
    /// Lead a port of the host to each port that the image or --expose names.
    #[arg(short = 'P', long)]
    pub(crate) publish_all: bool,
    #[command(flatten)]
    pub(crate) resolver: ResolverArguments,
    /// Set an environment variable, or pass one on; can be repeated.
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<EnvironmentArgument>,
    /// Attach a label; can be repeated.
    #[arg(short, long = "label", value_name = "KEY[=VALUE]")]
    pub(crate) labels: Vec<Label>,
    /// The directory it starts in [default: the image's].
    #[arg(short, long, value_name = "PATH", value_parser = absolute_path)]
    pub(crate) workdir: Option<PathBuf>,
    /// The program in place of the image's entry point; empty clears it.
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) entrypoint: Option<String>,
    /// Who runs it, by name or number inside [default: the image's, or root].
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// Set the environment variables in a file, one NAME=VALUE or NAME per line; can be repeated.
    #[arg(long, value_name = "PATH")]
    pub(crate) env_file: Vec<PathBuf>,
    /// Pass standard input on to it.
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Make its standard streams a terminal.
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Have its program's parent be an init, which passes signals on and reaps orphans.
    #[arg(long)]
    pub(crate) init: bool,
    /// Limit its log: max-size=SIZE of each file [default: 10m], max-file=COUNT [default: 3]; can be repeated.
    #[arg(long = "log-opt", value_name = "KEY=VALUE")]
    pub(crate) log_options: Vec<LogOption>,
    /// Start it again when it has ended: on-failure, on-failure:COUNT, always or unless-stopped [default: no].
    #[arg(long, value_name = "POLICY", default_value_t, hide_default_value = true)]
    pub(crate) restart: RestartPolicy,
    /// What asks it to stop [default: the image's, or TERM].
    #[arg(long, value_name = "SIGNAL")]
    pub(crate) stop_signal: Option<Signal>,
    /// How long it may take to stop before SIGKILL [default: 10].
    #[arg(long, value_name = "SECONDS", value_parser = whole_number::<u32>)]
    pub(crate) stop_timeout: Option<u32>,
    /// The image's name, or its digest or the beginning of that.
    #[arg(add = objects::images())]
    pub(crate) image: ImageName,
    /// What to run in place of the image's command.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
    #[command(flatten)]
    pub(crate) confinement: ConfinementArguments,
}

/// What a container's own resolver is told.
#[derive(Debug, Args)]
pub(crate) struct ResolverArguments {
    /// Ask this server for names that are not containers' [default: the network's]; can be repeated.
    #[arg(long, value_name = "ADDRESS[:PORT]")]
    pub(crate) dns: Vec<NameServer>,
    /// Look short names up in this domain, `.` for none [default: the host's]; can be repeated.
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) dns_search: Vec<SearchDomain>,
    /// Set an option of resolv.conf; can be repeated.
    #[arg(long, value_name = "OPTION")]
    pub(crate) dns_option: Vec<ResolverOption>,
    /// Add a line to /etc/hosts; `host-gateway` is the host; can be repeated.
    #[arg(long, value_name = "NAME:ADDRESS")]
    pub(crate) add_host: Vec<ExtraHost>,
}

/// `fabric exec`.
#[derive(Debug, Args)]
pub(crate) struct ExecArguments {
    /// Pass standard input on to it.
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Make its standard streams a terminal.
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Set an environment variable, or pass one on; can be repeated.
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<EnvironmentArgument>,
    /// Who runs it, by name or number inside [default: the container's].
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// The directory it starts in [default: the container's].
    #[arg(short, long, value_name = "PATH", value_parser = absolute_path)]
    pub(crate) workdir: Option<PathBuf>,
    /// The container's name or id.
    #[arg(add = objects::running())]
    pub(crate) container: Reference,
    /// The program and its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    pub(crate) command: Vec<String>,
}

/// `fabric ps`.
#[derive(Debug, Args)]
pub(crate) struct PsArguments {
    /// Also those that do not run.
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Print ids only.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Only those with this id, image, label, name, network or state; can be repeated.
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    pub(crate) filters: Vec<Filter<Container>>,
}

/// `fabric inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArguments {
    /// The containers' names or ids.
    #[arg(required = true, value_name = "CONTAINER", add = objects::containers())]
    pub(crate) containers: Vec<Reference>,
}

/// `fabric start`.
#[derive(Debug, Args)]
pub(crate) struct StartArguments {
    /// Attach to it, and end with its exit code.
    #[arg(short, long)]
    pub(crate) attach: bool,
    /// Pass standard input on to it, if it was made to take any.
    #[arg(short, long, requires = "attach")]
    pub(crate) interactive: bool,
    /// The keys that detach from its terminal.
    #[arg(long, value_name = "KEYS", default_value_t)]
    pub(crate) detach_keys: DetachKeys,
    /// The containers' names or ids.
    #[arg(required = true, value_name = "CONTAINER", add = objects::containers())]
    pub(crate) containers: Vec<Reference>,
}

/// `fabric attach`.
#[derive(Debug, Args)]
pub(crate) struct AttachArguments {
    /// Do not pass standard input on to it.
    #[arg(long)]
    pub(crate) no_stdin: bool,
    /// The keys that detach from its terminal.
    #[arg(long, value_name = "KEYS", default_value_t)]
    pub(crate) detach_keys: DetachKeys,
    /// The container's name or id.
    #[arg(add = objects::running())]
    pub(crate) container: Reference,
}

/// `fabric rename`.
#[derive(Debug, Args)]
pub(crate) struct RenameArguments {
    /// The container's name or id.
    #[arg(add = objects::containers())]
    pub(crate) container: Reference,
    /// Its new name: lower-case letters, digits and hyphens.
    pub(crate) name: ContainerName,
}

/// `fabric prune`.
#[derive(Debug, Args)]
pub(crate) struct PruneArguments {
    /// Do not ask.
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Only those with this label, name or network, or whatever else `fabric ps` filters by; can be repeated.
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    pub(crate) filters: Vec<Filter<Container>>,
}

/// `fabric top`.
#[derive(Debug, Args)]
pub(crate) struct TopArguments {
    /// The container's name or id.
    #[arg(add = objects::running())]
    pub(crate) container: Reference,
}

/// `fabric port`.
#[derive(Debug, Args)]
pub(crate) struct PortArguments {
    /// The container's name or id.
    #[arg(add = objects::running())]
    pub(crate) container: Reference,
    /// Only where this port of the container is found.
    #[arg(value_name = "PORT[/PROTOCOL]")]
    pub(crate) port: Option<ContainerPort>,
}

/// `fabric logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArguments {
    /// Go on printing until it has exited.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Begin with so many of the last lines [default: all].
    #[arg(short = 'n', long, value_name = "LINES", value_parser = whole_number::<u64>)]
    pub(crate) tail: Option<u64>,
    /// Only what was written from this moment on: 2026-11-20T08:00:00Z, or so long ago, such as 10m or 2h30m.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<Moment>,
    /// Only what was written before this moment.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<Moment>,
    /// Print before each line when it was written.
    #[arg(short, long)]
    pub(crate) timestamps: bool,
    /// The container's name or id.
    #[arg(add = objects::containers())]
    pub(crate) container: Reference,
}

/// `fabric stop` and `fabric restart`.
#[derive(Debug, Args)]
pub(crate) struct StopArguments {
    /// How long to wait before SIGKILL [default: the container's --stop-timeout].
    #[arg(short, long = "timeout", value_name = "SECONDS", value_parser = whole_number::<u32>)]
    pub(crate) timeout_seconds: Option<u32>,
    /// The containers' names or ids.
    #[arg(required = true, value_name = "CONTAINER", add = objects::containers())]
    pub(crate) containers: Vec<Reference>,
}

/// `fabric kill`.
#[derive(Debug, Args)]
pub(crate) struct KillArguments {
    /// The signal's name or number.
    #[arg(short, long, default_value_t = Signal::kill())]
    pub(crate) signal: Signal,
    /// The containers' names or ids.
    #[arg(required = true, value_name = "CONTAINER", add = objects::running())]
    pub(crate) containers: Vec<Reference>,
}

/// `fabric wait`.
#[derive(Debug, Args)]
pub(crate) struct WaitArguments {
    /// The containers' names or ids.
    #[arg(required = true, value_name = "CONTAINER", add = objects::containers())]
    pub(crate) containers: Vec<Reference>,
}

/// `fabric rm`.
#[derive(Debug, Args)]
pub(crate) struct RmArguments {
    /// Also if it runs: kill it first.
    #[arg(short, long)]
    pub(crate) force: bool,
    /// The containers' names or ids.
    #[arg(required = true, value_name = "CONTAINER", add = objects::containers())]
    pub(crate) containers: Vec<Reference>,
}

/// A variable for a container's environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EnvironmentArgument {
    /// `NAME=VALUE`.
    Given(EnvironmentVariable),
    /// `NAME`: as it is in the environment of `fabric`, and not at all if it is not set there.
    PassedOn(String),
}

impl FromStr for EnvironmentArgument {
    type Err = ParseEnvironmentError;

    fn from_str(text: &str) -> Result<Self, ParseEnvironmentError> {
        if text.contains('=') {
            return text.parse().map(Self::Given);
        }
        // Only the name is of interest: it must be one that could stand before a `=`.
        let probe: EnvironmentVariable = format!("{text}=").parse()?;
        Ok(Self::PassedOn(probe.name().to_owned()))
    }
}

fn absolute_path(text: &str) -> Result<PathBuf, &'static str> {
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err("it must be an absolute path") }
}
