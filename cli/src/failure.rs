//! Why a command failed, and how a person is told.

use std::{
    error::Error,
    io::{self, ErrorKind, Write},
    path::PathBuf,
    process::ExitCode,
};

use anstyle::{AnsiColor, Style};
use api::{ClientError, FrameError};

/// The exit code of a request that failed.
const FAILED: u8 = 1;
/// The exit code of `run` and `exec` when they fail themselves.
const NOT_RUN: u8 = 125;
/// The exit code a shell shows for a process that SIGPIPE ended.
const BROKEN_PIPE: u8 = 141;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The daemon refused, or cannot be reached.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// What was asked for cannot be printed.
    #[error("cannot write the output")]
    Output(#[source] io::Error),
    /// What is to be imported cannot be read.
    #[error("cannot read `{}` to import it", .path.display())]
    Import {
        /// As it was typed.
        path: PathBuf,
        /// What went wrong, where.
        #[source]
        source: io::Error,
    },
    /// A variable to pass on is not text.
    #[error("environment variable `{name}` cannot be passed on")]
    Environment {
        /// Its name.
        name: String,
        /// What is wrong with it.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A file of variables cannot be read.
    #[error("cannot read environment variables from {}", .path.display())]
    EnvironmentFile {
        /// As it was typed.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A line of a file of variables holds none.
    #[error("line {line} of {} is not an environment variable", .path.display())]
    EnvironmentLine {
        /// As it was typed.
        path: PathBuf,
        /// From one on.
        line: usize,
        /// What is wrong with it.
        #[source]
        source: model::ParseEnvironmentError,
    },
    /// An attached process was lost.
    #[error(transparent)]
    Frames(#[from] FrameError),
    /// Nobody will say how an attached process ended.
    #[error("the connection to {0} ended before its process did")]
    Lost(String),
    /// An attached process could not be started.
    #[error("{message}")]
    NotStarted {
        /// 126 or 127 as shells use them, or 125.
        code: u8,
        /// What failed.
        message: String,
    },
    /// `run` or `exec` failed themselves.
    #[error(transparent)]
    NotRun(Box<Failure>),
    /// Signals cannot be taken.
    #[error("cannot take signals to pass them on")]
    Signals(#[source] io::Error),
    /// Something is to be confirmed, and nobody can be asked.
    #[error("standard input is not a terminal, so nobody can be asked")]
    Unconfirmed,
    /// Two containers cannot share one terminal.
    #[error("only one container can be attached to")]
    OneAtATime,
    /// A terminal inside is to be given keys, and there is none outside.
    #[error("standard input is not a terminal")]
    NoTerminal,
    /// The terminal cannot be set up.
    #[error("cannot make the terminal pass every key on")]
    Terminal(#[source] io::Error),
    /// A container's port leads nowhere because it has exited.
    #[error("container `{name}` has exited, so its ports are closed")]
    PortsClosed {
        /// Its name.
        name: String,
    },
    /// A container's port is not published.
    #[error("container `{name}` does not publish its port {port}")]
    NotPublished {
        /// Its name.
        name: String,
        /// The port with its protocol.
        port: String,
    },
    /// The process lacks what every command needs.
    #[error("cannot set up the event loop")]
    Runtime(#[source] io::Error),
    /// Several objects failed one by one; the others were done.
    #[error("{} requests failed", .0.len())]
    Several(Vec<Failure>),
}

impl Failure {
    /// The failures of a command that went on to the next object each time; none if there are none.
    pub(crate) fn from_several(mut failures: Vec<Failure>) -> Result<(), Failure> {
        match failures.len() {
            0 => Ok(()),
            1 => Err(failures.remove(0)),
            _ => Err(Self::Several(failures)),
        }
    }

    /// The same failure with the exit code that `run` and `exec` use for their own.
    pub(crate) fn not_run(self) -> Self {
        Self::NotRun(Box::new(self))
    }

    /// Prints it for a person and returns what to exit with.
    pub(crate) fn report(&self) -> ExitCode {
        let text = self.render();
        // Standard error is the last resort; if it is gone, the exit code still says it.
        let _ = anstream::stderr().lock().write_all(text.as_bytes());
        ExitCode::from(self.exit_code())
    }

    /// What to exit with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Output(error) if error.kind() == ErrorKind::BrokenPipe => BROKEN_PIPE,
            Self::NotStarted { code, .. } => *code,
            Self::NotRun(inner) => match &**inner {
                Self::Client(error) => error.exit_code().unwrap_or(NOT_RUN),
                Self::NotStarted { .. } => inner.exit_code(),
                Self::Output(error) if error.kind() == ErrorKind::BrokenPipe => BROKEN_PIPE,
                _ => NOT_RUN,
            },
            _ => FAILED,
        }
    }

    /// The error, its causes and what to do, in lines; styled.
    pub(crate) fn render(&self) -> String {
        match self {
            Self::NotRun(inner) => inner.render(),
            Self::Several(failures) => failures.iter().map(Failure::render).collect(),
            // Whoever read the output wanted no more of it.
            Self::Output(error) if error.kind() == ErrorKind::BrokenPipe => String::new(),
            _ => {
                let red = AnsiColor::Red.on_default().bold();
                let mut text = line(red, "error", &self.to_string());
                for cause in self.causes() {
                    text.push_str("  ");
                    text.push_str(&line(AnsiColor::Red.on_default(), "caused by", &cause));
                }
                if let Some(hint) = self.hint() {
                    text.push_str(&line(AnsiColor::Cyan.on_default().bold(), "hint", &hint));
                }
                text
            }
        }
    }

    fn causes(&self) -> Vec<String> {
        match self {
            Self::Client(error) => error.causes(),
            other => {
                std::iter::successors(other.source(), |cause| (*cause).source()).map(ToString::to_string).collect()
            }
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Client(error) => error.hint(),
            Self::Lost(container) => Some(format!("see what became of it: fabric inspect {container}")),
            Self::NoTerminal => Some("leave out --tty; `fabric attach` takes --no-stdin".to_owned()),
            Self::PortsClosed { name } => Some(format!("start it again: fabric start {name}")),
            Self::NotPublished { name, .. } => Some(format!("see what it publishes: fabric port {name}")),
            Self::Unconfirmed => Some("say --force to do it without being asked".to_owned()),
            Self::Environment { name, .. } => Some(format!("give it a value: --env {name}=VALUE")),
            _ => None,
        }
    }
}

fn line(style: Style, label: &str, text: &str) -> String {
    format!("{style}{label}{style:#}: {}\n", escaped(text))
}

/// The text without characters that would act on a terminal; line feeds become spaces, so that one cause is one line.
fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.trim_end().chars() {
        match character {
            '\n' => shown.push(' '),
            _ if character.is_control() => shown.extend(character.escape_debug()),
            _ => shown.push(character),
        }
    }
    shown
}

#[cfg(test)]
mod tests;
