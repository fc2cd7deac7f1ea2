//! Arguments about names.

use api::Reference;
use clap::{Args, Subcommand, builder::NonEmptyStringValueParser};

use crate::objects;

/// What can be asked of DNS.
#[derive(Debug, Subcommand)]
pub(crate) enum DnsCommand {
    /// Look a name up exactly as the host or a container would, and say where the answer comes from.
    Query(DnsQueryArguments),
    /// Print what containers asked for: what is remembered (`dns_query_log`), and with -f what comes.
    Log(DnsLogArguments),
}

/// `fabric dns query`.
#[derive(Debug, Args)]
pub(crate) struct DnsQueryArguments {
    /// The name.
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) name: String,
    /// The type of records: A, AAAA, SRV, PTR, TXT, or TYPE and a number.
    #[arg(value_name = "TYPE", default_value = "A")]
    pub(crate) kind: String,
    /// See what this container sees [default: what the host sees, which is every network].
    #[arg(long = "as", value_name = "CONTAINER", add = objects::running())]
    pub(crate) viewer: Option<Reference>,
}

/// `fabric dns log`.
#[derive(Debug, Args)]
pub(crate) struct DnsLogArguments {
    /// Go on printing what is asked from now on.
    #[arg(short, long)]
    pub(crate) follow: bool,
}
