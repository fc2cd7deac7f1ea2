//! What becomes of a container whose client was interrupted before its start.

use std::fmt;

/// What becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nothing is left of it.
    Undone,
    /// It is there, and has this name.
    Left(String),
    /// The daemon makes and starts it.
    GoesOn,
    /// The daemon has not said whether it made it.
    Unknown,
}

impl Fate {
    /// What to do about it.
    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::Undone => None,
            Self::Left(name) => Some(format!("remove it: fabric rm {name}")),
            Self::GoesOn | Self::Unknown => Some("see what became of it: fabric ps -a".to_owned()),
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undone => formatter.write_str("nothing is left of it"),
            Self::Left(name) => write!(formatter, "container `{name}` is left"),
            Self::GoesOn => formatter.write_str("netd goes on with it"),
            Self::Unknown => formatter.write_str("netd may have made it"),
        }
    }
}
