//! Arguments about events.

use std::str::FromStr;

use api::Event;
use clap::Args;
use jiff::{SignedDuration, Timestamp};

use crate::filter::Filter;

/// `fabric events`.
#[derive(Debug, Args)]
pub(crate) struct EventsArguments {
    /// Only from this moment on: 2026-11-20T08:00:00Z, or so long ago, such as 10m or 2h30m [default: as far back as
    /// netd remembers].
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<Since>,
    /// Go on printing what happens from now on.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only those with this action, id, image, kind, label, name or network; can be repeated.
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    pub(crate) filters: Vec<Filter<Event>>,
}

/// A moment, given as such or as how long ago it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Since(pub(crate) Timestamp);

impl FromStr for Since {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected a time such as 2026-11-20T08:00:00Z, or how long ago, such as 10m";
        if let Ok(moment) = text.parse() {
            return Ok(Self(moment));
        }
        let ago: SignedDuration = text.parse().map_err(|_| EXPECTED)?;
        Timestamp::now().checked_sub(ago.abs()).map(Self).map_err(|_| EXPECTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_or_how_long_ago() {
        assert_eq!("2026-11-20T08:00:00Z".parse(), Ok(Since("2026-11-20T08:00:00Z".parse().expect("literal"))));
        let Since(then) = "2h30m".parse().expect("how long ago");
        let ago = Timestamp::now().duration_since(then).as_secs();
        assert!((9000..9010).contains(&ago), "{ago}");
        for text in ["", "yesterday", "10", "999999999h"] {
            assert!(text.parse::<Since>().is_err(), "{text}");
        }
    }
}
