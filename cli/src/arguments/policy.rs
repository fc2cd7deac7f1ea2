//! Arguments about policies.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use model::NetworkName;

use crate::objects;

/// What can be done with policies.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Put policies in force, all or none, and say what changes.
    ///
    /// A policy that is given anew takes the place of the one of its name; others stay as they are. Connections that
    /// are denied from then on are cut.
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
    /// Say what would be dropped if the rules that audit denied: how many packets that open connections, and whose.
    ///
    /// Whose they were is known of rules with `log`, as far as netd remembers it.
    Audit(AuditArguments),
    /// List what changed the policies, or show what one change was.
    ///
    /// Each `apply`, `rm` and `rollback` that changes something is a revision; the last 100 are kept.
    History(HistoryArguments),
    /// Put back in force exactly what was in an earlier revision, all or nothing.
    Rollback(RollbackArguments),
    /// Hold policies against a file of expected verdicts; exits with 1 if one is not as expected.
    ///
    /// Without --live netd is not asked.
    Test(TestArguments),
    /// Say what policies make of a connection, which rule decides, and what would have to change.
    ///
    /// Without --file the policies that are in force are asked, and netd's containers; with --file those of the files,
    /// and netd only with --live. An end is NAME or NETWORK/NAME of a container or the beginning of its id, an address,
    /// a name in DNS, `host`, or an endpoint that need not exist, by its labels: NETWORK/KEY=VALUE[,KEY=VALUE...].
    Explain(ExplainArguments),
    /// Say who reaches whom, and by what.
    ///
    /// Without --file the policies that are in force are asked, and netd's containers. Of more than 32 endpoints those
    /// that no policy tells apart are one row. With `--format dot` it is a graph for Graphviz.
    Matrix(MatrixArguments),
}

/// `fabric policy audit`.
#[derive(Debug, Args)]
pub(crate) struct AuditArguments {
    /// Only the rules of these [default: all that are in force].
    #[arg(value_name = "POLICY", add = objects::policies())]
    pub(crate) policies: Vec<String>,
}

/// `fabric policy history`.
#[derive(Debug, Args)]
pub(crate) struct HistoryArguments {
    /// Show what this one changed.
    #[arg(value_name = "REVISION", value_parser = revision)]
    pub(crate) revision: Option<u64>,
}

/// `fabric policy rollback`.
#[derive(Debug, Args)]
pub(crate) struct RollbackArguments {
    /// Which revision, as `history` lists it; 0 has no policies [default: the one before the last].
    #[arg(value_name = "REVISION", value_parser = revision)]
    pub(crate) revision: Option<u64>,
    /// Only say what would change.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// The number of a revision.
fn revision(text: &str) -> Result<u64, &'static str> {
    text.parse().map_err(|_| "a revision is a number, as `fabric policy history` lists them")
}

/// `fabric policy apply` and `diff`.
#[derive(Debug, Args)]
pub(crate) struct ApplyArguments {
    /// A file of policies, or a directory of such files; `-` is standard input.
    #[arg(short, long = "file", value_name = "FILE|DIR", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// The network of Kubernetes policies that have no `metadata.namespace`.
    #[arg(long, value_name = "NAME", add = objects::networks())]
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
    #[arg(value_name = "POLICY", required = true, add = objects::policies())]
    pub(crate) policies: Vec<String>,
}

/// `fabric policy test`.
#[derive(Debug, Args)]
pub(crate) struct TestArguments {
    /// The file of tests, which names the policies; `-` is standard input.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Ask for netd's containers and the policies in force, and what those that the file names would change of them.
    #[arg(long)]
    pub(crate) live: bool,
    /// The network of Kubernetes policies that have no `metadata.namespace`.
    #[arg(long, value_name = "NAME", add = objects::networks())]
    pub(crate) network: Option<NetworkName>,
}

/// Which policies are asked, and whom they are about.
#[derive(Debug, Args)]
pub(crate) struct SceneArguments {
    /// A file of policies, or a directory of such files; `-` is standard input [default: the policies in force].
    #[arg(short, long = "file", value_name = "FILE|DIR")]
    pub(crate) files: Vec<PathBuf>,
    /// A file that says which networks and endpoints there are, as a file of tests does.
    #[arg(long, value_name = "FILE", requires = "files")]
    pub(crate) world: Option<PathBuf>,
    /// Ask for netd's containers and the policies in force, and what those of the files would change of them.
    #[arg(long, conflicts_with = "world")]
    pub(crate) live: bool,
    /// The network of Kubernetes policies that have no `metadata.namespace`.
    #[arg(long, value_name = "NAME", requires = "files", add = objects::networks())]
    pub(crate) network: Option<NetworkName>,
}

impl SceneArguments {
    /// Whether netd is asked.
    pub(crate) fn is_live(&self) -> bool {
        self.live || self.files.is_empty()
    }
}

/// `fabric policy explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    #[command(flatten)]
    pub(crate) scene: SceneArguments,
    /// Who opens the connection.
    #[arg(value_name = "SRC", add = objects::running())]
    pub(crate) from: String,
    /// Whom it is opened to; without a port it is a ping. An IPv6 address before a port stands in brackets.
    #[arg(value_name = "DST[:PORT[/PROTO]]", add = objects::running())]
    pub(crate) to: String,
}

/// `fabric policy matrix`.
#[derive(Debug, Args)]
pub(crate) struct MatrixArguments {
    #[command(flatten)]
    pub(crate) scene: SceneArguments,
}
