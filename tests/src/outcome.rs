//! How a command ended.

use std::{fmt, process::Output};

/// A finished command: its line, exit code and output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The command as a person would type it.
    pub line: String,
    /// The exit code; −1 when a signal ended it.
    pub code: i32,
    /// What it wrote to descriptor 1.
    pub stdout: String,
    /// What it wrote to descriptor 2.
    pub stderr: String,
}

impl Outcome {
    pub(crate) fn new(line: String, output: &Output) -> Self {
        Self {
            line,
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The outcome, if the exit code is `code`; the test fails otherwise, and shows everything.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "exit code of:\n{self}");
        self
    }

    /// Standard output without the white space around it, if the command succeeded.
    #[track_caller]
    pub fn success(self) -> String {
        self.expect_code(0).stdout.trim().to_owned()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "$ {}", self.line)?;
        writeln!(f, "exit code: {}", self.code)?;
        writeln!(f, "--- stdout\n{}", self.stdout.trim_end())?;
        write!(f, "--- stderr\n{}", self.stderr.trim_end())
    }
}
