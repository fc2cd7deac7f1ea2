//! What a container is given and kept from.

use clap::Args;
use model::{
    Bind, ByteSize, Capability, Confinement, DroppedCapability, ProcessLimit, Processors, Sysctl, Tmpfs, Ulimit,
};

/// Options of `fabric create` and `fabric run`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Confinement")]
pub(crate) struct ConfinementArguments {
    /// Mount a file or directory of the host; can be repeated.
    #[arg(short, long = "volume", value_name = "HOST:CONTAINER[:ro]")]
    volumes: Vec<Bind>,
    /// Mount a file system in memory; can be repeated.
    #[arg(long, value_name = "PATH[:size=SIZE,mode=OCTAL,exec,ro]")]
    tmpfs: Vec<Tmpfs>,
    /// Keep it from writing to its root file system.
    #[arg(long)]
    read_only: bool,
    /// Give it a capability; can be repeated.
    #[arg(long, value_name = "NAME")]
    cap_add: Vec<Capability>,
    /// Keep it from a default capability, or ALL; can be repeated.
    #[arg(long, value_name = "NAME")]
    cap_drop: Vec<DroppedCapability>,
    /// The most memory it may use.
    #[arg(short, long, value_name = "SIZE")]
    memory: Option<ByteSize>,
    /// How many processors it may keep busy.
    #[arg(long, value_name = "NUMBER")]
    cpus: Option<Processors>,
    /// How many processes and threads it may have, or `unlimited`.
    #[arg(long, value_name = "NUMBER", default_value_t, allow_hyphen_values = true)]
    pids_limit: ProcessLimit,
    /// Limit a resource of each of its processes; can be repeated.
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    ulimit: Vec<Ulimit>,
    /// Set a kernel parameter of its namespaces; can be repeated.
    #[arg(long, value_name = "NAME=VALUE")]
    sysctl: Vec<Sysctl>,
    // Known to be refused with the reason, not as a word that was mistyped.
    #[arg(long, hide = true, num_args = 0, value_parser = privileged, default_missing_value = "")]
    privileged: Option<Never>,
}

/// What no argument is.
#[derive(Debug, Clone)]
enum Never {}

fn privileged(_: &str) -> Result<Never, &'static str> {
    Err("a privileged container could do everything to the host; name what it needs with --cap-add")
}

impl From<ConfinementArguments> for Confinement {
    fn from(arguments: ConfinementArguments) -> Self {
        Self {
            read_only: arguments.read_only,
            binds: arguments.volumes,
            tmpfs: arguments.tmpfs,
            add_capabilities: arguments.cap_add,
            drop_capabilities: arguments.cap_drop,
            memory: arguments.memory,
            processors: arguments.cpus,
            processes: arguments.pids_limit,
            ulimits: arguments.ulimit,
            sysctls: arguments.sysctl,
        }
    }
}
