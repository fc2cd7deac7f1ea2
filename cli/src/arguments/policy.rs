//! Arguments about policies.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use model::NetworkName;

/// What can be done with policies.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Put policies in force, all or none, and say what changes.
    ///
    /// A policy that is given anew takes the place of the one of its name; others stay as they are. Connections that are denied
    /// from then on are cut.
    Apply(ApplyArguments),
    /// Say what `apply` would change.
    Diff(ApplyArguments),
    /// List the policies that are in force.
    #[command(visible_alias = "list")]
    Ls(ListPoliciesArguments),
    /// Show policies with the files they stand in.
    Inspect(PolicyNames),
    /// Take policies out of force.
    #[command(visible_alias = "remove")]
    Rm(PolicyNames),
    /// Hold policies against a file of expected verdicts; exits with 1 if one is not as expected.
    ///
    /// netd is not asked.
    Test(TestArguments),
    /// Say what policies make of a connection, which rule decides, and what would have to change.
    ///
    /// netd is not asked. An end is NAME or NETWORK/NAME of an endpoint in the file of --world, an address, a name in DNS,
    /// `host`, or an endpoint that need not exist, by its labels: NETWORK/KEY=VALUE[,KEY=VALUE...].
    Explain(ExplainArguments),
    /// Say who reaches whom, and by what.
    ///
    /// netd is not asked. With `--format dot` it is a graph for Graphviz.
    Matrix(MatrixArguments),
}

/// `fabric policy apply` and `diff`.
#[derive(Debug, Args)]
pub(crate) struct ApplyArguments {
    /// A file of policies, or a directory of such files; `-` is standard input.
    #[arg(short, long = "file", value_name = "FILE|DIR", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// The network of Kubernetes policies that have no `metadata.namespace`.
    #[arg(long, value_name = "NAME")]
    pub(crate) network: Option<NetworkName>,
}

/// `fabric policy ls`.
#[derive(Debug, Args)]
pub(crate) struct ListPoliciesArguments {
    /// Print names only.
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Which policies.
#[derive(Debug, Args)]
pub(crate) struct PolicyNames {
    /// Their names, as `ls` lists them: those of Kubernetes are NETWORK/NAME.
    #[arg(value_name = "POLICY", required = true)]
    pub(crate) policies: Vec<String>,
}

/// `fabric policy test`.
#[derive(Debug, Args)]
pub(crate) struct TestArguments {
    /// The file of tests, which names the policies; `-` is standard input.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The network of Kubernetes policies that have no `metadata.namespace`.
    #[arg(long, value_name = "NAME")]
    pub(crate) network: Option<NetworkName>,
}

/// `fabric policy explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// A file of policies, or a directory of such files; `-` is standard input.
    #[arg(short, long = "file", value_name = "FILE|DIR", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// A file that says which networks and endpoints there are, as a file of tests does.
    #[arg(long, value_name = "FILE")]
    pub(crate) world: Option<PathBuf>,
    /// The network of Kubernetes policies that have no `metadata.namespace`.
    #[arg(long, value_name = "NAME")]
    pub(crate) network: Option<NetworkName>,
    /// Who opens the connection.
    #[arg(value_name = "SRC")]
    pub(crate) from: String,
    /// Whom it is opened to; without a port it is a ping. An IPv6 address before a port stands in brackets.
    #[arg(value_name = "DST[:PORT[/PROTO]]")]
    pub(crate) to: String,
}

/// `fabric policy matrix`.
#[derive(Debug, Args)]
pub(crate) struct MatrixArguments {
    /// A file of policies, or a directory of such files; `-` is standard input.
    #[arg(short, long = "file", value_name = "FILE|DIR", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// The file that says which networks and endpoints there are, as a file of tests does.
    #[arg(long, value_name = "FILE")]
    pub(crate) world: PathBuf,
    /// The network of Kubernetes policies that have no `metadata.namespace`.
    #[arg(long, value_name = "NAME")]
    pub(crate) network: Option<NetworkName>,
}
