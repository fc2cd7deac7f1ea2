//! The terminal that this process was started from.

use std::io::{self, IsTerminal};

use model::TerminalSize;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use crate::failure::Failure;

/// A terminal that hands every key on instead of acting on it, until this is dropped: also by a panic that unwinds. The
/// signals that would end this process meanwhile are taken ([`crate::signals::Signals`]).
#[derive(Debug)]
pub(crate) struct RawMode {
    before: Termios,
    raw: Termios,
}

impl RawMode {
    /// Makes standard input raw (`cfmakeraw(3)`).
    pub(crate) fn enter() -> Result<Self, Failure> {
        let before = tcgetattr(io::stdin()).map_err(|error| Failure::Terminal(error.into()))?;
        let mut raw = before.clone();
        raw.make_raw();
        let mode = Self { before, raw };
        mode.renew()?;
        Ok(mode)
    }

    /// Makes it raw once more: whoever stopped this process may have changed it.
    pub(crate) fn renew(&self) -> Result<(), Failure> {
        tcsetattr(io::stdin(), OptionalActions::Now, &self.raw).map_err(|error| Failure::Terminal(error.into()))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// How large the terminal is; none if neither end of this process is one.
pub(crate) fn size() -> Option<TerminalSize> {
    let size = tcgetwinsize(io::stdin()).or_else(|_| tcgetwinsize(io::stdout())).ok()?;
    Some(TerminalSize { rows: size.ws_row, columns: size.ws_col })
}

/// Whether somebody may type at standard input.
pub(crate) fn is_there() -> bool {
    io::stdin().is_terminal()
}
