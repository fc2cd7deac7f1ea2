//! What `netd` takes on its command line.

use std::path::PathBuf;

use clap::Parser;

/// The Fabric daemon: builds networks, runs containers on them, answers DNS, serves the API.
#[derive(Debug, Parser)]
#[command(name = "netd", version)]
pub(crate) struct Arguments {
    /// Configuration file in TOML; without it every setting has its default
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// What must survive a reboot: state, images, containers' files
    #[arg(long, value_name = "DIR", default_value = "/var/lib/fabric")]
    pub(crate) data_dir: PathBuf,

    /// What lives as long as the boot: API socket, namespaces, shims; give each netd its own
    #[arg(long, value_name = "DIR", default_value = "/run/fabric")]
    pub(crate) run_dir: PathBuf,
}
