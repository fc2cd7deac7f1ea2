//! Moments, as people say when something was.

use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};

/// A moment, given as such or as how long ago it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment(pub(crate) Timestamp);

impl FromStr for Moment {
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
        assert_eq!("2026-11-20T08:00:00Z".parse(), Ok(Moment("2026-11-20T08:00:00Z".parse().expect("literal"))));
        let Moment(then) = "2h30m".parse().expect("how long ago");
        let ago = Timestamp::now().duration_since(then).as_secs();
        assert!((9000..9010).contains(&ago), "{ago}");
        for text in ["", "yesterday", "10", "999999999h"] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
    }
}
