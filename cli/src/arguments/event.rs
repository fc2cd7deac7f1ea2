//! Arguments about events.

use api::Event;
use clap::Args;

use super::moment::Moment;
use crate::filter::Filter;

/// `fabric events`.
#[derive(Debug, Args)]
pub(crate) struct EventsArguments {
    /// Only from this moment on: 2026-11-20T08:00:00Z, or so long ago, such as 10m or 2h30m [default: as far back as
    /// netd remembers].
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<Moment>,
    /// Go on printing what happens from now on.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only those with this action, id, image, kind, label, name or network; can be repeated.
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    pub(crate) filters: Vec<Filter<Event>>,
}
