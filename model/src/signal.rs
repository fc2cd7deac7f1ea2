//! Signals by name or number.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A Linux signal, 1 to 64; read from `TERM`, `SIGTERM` (in any case) or `15`, written `TERM`, or as its number where
/// it has no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signal(u8);

/// Why a text is not a signal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a signal: expected a name such as TERM or HUP, or a number from 1 to 64", .0.escape_debug())]
pub struct ParseSignalError(String);

/// Names of 1 to 31 in order (`signal(7)`, the column of x86 and ARM).
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];

impl Signal {
    /// SIGKILL.
    pub fn kill() -> Self {
        Self(9)
    }

    /// SIGTERM.
    pub fn terminate() -> Self {
        Self(15)
    }

    /// The signal's number.
    pub fn number(self) -> u8 {
        self.0
    }
}

impl FromStr for Signal {
    type Err = ParseSignalError;

    fn from_str(text: &str) -> Result<Self, ParseSignalError> {
        let fail = || ParseSignalError(text.chars().take(80).collect());
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            let number = text.parse().map_err(|_| fail())?;
            return if (1..=64).contains(&number) { Ok(Self(number)) } else { Err(fail()) };
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let index = NAMES.iter().position(|known| *known == name).ok_or_else(fail)?;
        Ok(Self(index as u8 + 1))
    }
}

impl TryFrom<String> for Signal {
    type Error = ParseSignalError;

    fn try_from(text: String) -> Result<Self, ParseSignalError> {
        text.parse()
    }
}

impl From<Signal> for String {
    fn from(signal: Signal) -> String {
        signal.to_string()
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(usize::from(self.0) - 1) {
            Some(name) => f.write_str(name),
            None => self.0.fmt(f),
        }
    }
}
