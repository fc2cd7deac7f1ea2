//! Why a command failed, and how a person is told.

mod fate;

use std::{
    error::Error,
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anstyle::{AnsiColor, Style};
use api::{ClientError, FrameError};
use model::{Printable, causes};

pub(crate) use fate::Fate;

use crate::{policy_files::PolicyFailure, template::UnknownKeyError};

/// The exit code of a request that failed.
const FAILED: u8 = 1;
/// The exit code of a command line that cannot be meant.
const USAGE: u8 = 2;
/// The exit code of `run`, `exec`, `attach` and `start -a` when they fail themselves.
const NOT_RUN: u8 = 125;
/// The exit code of `exec` for a program that is there and cannot be executed.
const PROGRAM_NOT_EXECUTABLE: u8 = 126;
/// The exit code of `exec` for a program that the container does not have.
const PROGRAM_NOT_FOUND: u8 = 127;
/// What a shell adds to the number of the signal that ended a process.
const SIGNALLED: u8 = 128;
/// The exit code a shell shows for a process that SIGINT ended.
const INTERRUPTED: u8 = 130;
/// The exit code a shell shows for a process that SIGPIPE ended.
const BROKEN_PIPE: u8 = 141;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// What is asked for is never shown.
    #[error(transparent)]
    UnknownKey(#[from] UnknownKeyError),
    /// What is asked for as a graph is none.
    #[error("only `fabric policy matrix` prints `--format dot`")]
    NoGraph,
    /// Policies, or tests of them, are not what they should be.
    #[error(transparent)]
    Policy(#[from] PolicyFailure),
    /// The daemon refused, or cannot be reached.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// What was asked for cannot be printed.
    #[error("cannot write the output")]
    Output(#[source] io::Error),
    /// The man pages cannot be written.
    #[error("cannot write man pages into {}", .directory.display())]
    ManPages {
        /// As it was typed.
        directory: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
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
        source: io::Error,
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
    /// A container has one network mode.
    #[error("the container cannot have both networks `{first}` and `{second}`: give one")]
    TwoModes {
        /// One of them.
        first: api::NetworkMode,
        /// The other.
        second: api::NetworkMode,
    },
    /// The host's resolvers, and others in place of them.
    #[error("`--dns auto` and another `--dns` exclude each other: give one of them")]
    AutoBesideServers,
    /// No host could have the container that is asked for.
    #[error(transparent)]
    ContainerRequest(#[from] api::ContainerCreateError),
    /// No host could have the network that is asked for.
    #[error(transparent)]
    NetworkRequest(#[from] api::NetworkCreateError),
    /// No network could become what is asked for.
    #[error(transparent)]
    NetworkUpdate(#[from] api::NetworkUpdateError),
    /// Two containers cannot share one terminal.
    #[error("only one container can be attached to")]
    OneAtATime,
    /// There is nothing to attach to yet.
    #[error("container `{name}` was not started, so there is nothing to attach to")]
    AttachedBeforeStart {
        /// Its name.
        name: String,
    },
    /// There is nothing to attach to any more.
    #[error("container `{name}` has exited, so there is nothing to attach to")]
    AttachedAfterEnd {
        /// Its name.
        name: String,
    },
    /// A terminal inside is asked for and to be given keys, and there is none outside.
    #[error("standard input is not a terminal")]
    NoTerminal,
    /// A terminal inside is to be given keys, and there is none outside.
    #[error("container `{name}` has a terminal, and standard input is none")]
    NoTerminalFor {
        /// The container's name.
        name: String,
        /// What to do.
        hint: &'static str,
    },
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
    /// A signal ended a run before its container was started.
    #[error("interrupted before it was started; {fate}")]
    BeforeStart {
        /// The signal's number.
        signal: u8,
        /// What became of the container.
        fate: Fate,
    },
    /// SIGINT ended the wait for what the daemon does.
    #[error("interrupted{}", after_interruption(.doing, .going_on, .left))]
    Interrupted {
        /// What it does to them.
        doing: &'static str,
        /// Those it goes on with.
        going_on: Vec<String>,
        /// Those that it was not asked for.
        left: Vec<String>,
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

    /// Tells a person of something that is no failure.
    pub(crate) fn warn(text: &str) {
        let text = line(AnsiColor::Yellow.on_default().bold(), "warning", text);
        let _ = anstream::stderr().lock().write_all(text.as_bytes());
    }

    /// Prints it for a person and returns what to exit with.
    pub(crate) fn report(&self) -> ExitCode {
        let text = self.render();
        // Standard error is the last resort; if it is gone, the exit code still says it.
        let _ = anstream::stderr().lock().write_all(text.as_bytes());
        ExitCode::from(self.exit_code())
    }

    /// Whether the command line, or a file it names, cannot be meant: nothing was asked of the daemon.
    fn is_usage(&self) -> bool {
        match self {
            Self::UnknownKey(_)
            | Self::NoGraph
            | Self::Policy(_)
            | Self::TwoModes { .. }
            | Self::AutoBesideServers
            | Self::ContainerRequest(_)
            | Self::NetworkRequest(_)
            | Self::NetworkUpdate(_)
            | Self::NoTerminal
            | Self::OneAtATime => true,
            Self::Several(failures) => failures.iter().all(Self::is_usage),
            _ => false,
        }
    }

    /// What to exit with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Output(error) if error.kind() == ErrorKind::BrokenPipe => BROKEN_PIPE,
            Self::NotStarted { code, .. } => *code,
            Self::NotRun(inner) => match &**inner {
                inner if inner.is_usage() => USAGE,
                Self::Client(error) => error.exit_code().unwrap_or(NOT_RUN),
                Self::NotStarted { .. } | Self::BeforeStart { .. } => inner.exit_code(),
                Self::Output(error) if error.kind() == ErrorKind::BrokenPipe => BROKEN_PIPE,
                _ => NOT_RUN,
            },
            Self::Interrupted { .. } => INTERRUPTED,
            Self::BeforeStart { signal, .. } => SIGNALLED + signal,
            // It is told last.
            Self::Several(failures) if matches!(failures.last(), Some(Self::Interrupted { .. })) => INTERRUPTED,
            failure if failure.is_usage() => USAGE,
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
            other => causes(other).map(ToString::to_string).collect(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownKey(error) => Some(error.hint()),
            Self::Policy(error) => error.hint(),
            Self::ContainerRequest(error) => Some(error.hint()),
            Self::NetworkRequest(error) => error.hint(),
            Self::NetworkUpdate(error) => error.hint(),
            Self::Client(error) => error.hint(),
            Self::ManPages { directory, source } if source.kind() == ErrorKind::NotFound => {
                Some(format!("make it first: mkdir -p {}", directory.display()))
            }
            Self::BeforeStart { fate, .. } => fate.hint(),
            Self::Lost(container) => Some(format!("see what became of it: fabric inspect {container}")),
            Self::NoTerminal => Some("leave out `--tty`, or `--interactive`".to_owned()),
            Self::NoTerminalFor { hint, .. } => Some((*hint).to_owned()),
            Self::PortsClosed { name } => Some(format!("start it again: fabric start {name}")),
            Self::AttachedBeforeStart { name } => Some(format!("start it attached: fabric start -a {name}")),
            Self::AttachedAfterEnd { name } => {
                Some(format!("start it again, attached: fabric start -a {name}; what it wrote: fabric logs {name}"))
            }
            Self::NotPublished { name, .. } => Some(format!("see what it publishes: fabric port {name}")),
            Self::Unconfirmed => Some("say --force to do it without being asked".to_owned()),
            Self::Import { path, source } => {
                let kinds = "a tar or a directory that is there, or `-` to read a tar from standard input";
                reading(path, source).or_else(|| absent(source).then(|| format!("name {kinds}")))
            }
            Self::EnvironmentFile { path, source } => {
                let lines = "with a line `NAME=VALUE` for each variable";
                match source.kind() {
                    ErrorKind::InvalidData => Some(format!("it must be text in UTF-8, {lines}")),
                    _ => reading(path, source)
                        .or_else(|| absent(source).then(|| format!("name a file that is there, {lines}"))),
                }
            }
            Self::NotStarted { code: PROGRAM_NOT_FOUND, .. } => {
                Some("name a program that the container has, or its path there".to_owned())
            }
            // It has no code of its own, neither here nor with shells.
            Self::NotStarted { message, .. } if message.contains("enter the working directory") => {
                Some("name a directory that the container has: --workdir DIR".to_owned())
            }
            Self::NotStarted { code: PROGRAM_NOT_EXECUTABLE, .. } => {
                Some("name a file that may be executed (`chmod +x`) and was built for this host's processor".to_owned())
            }
            Self::Environment { name, .. } => Some(format!("give it a value: --env {name}=VALUE")),
            _ => None,
        }
    }
}

/// What goes on although nobody waits for it, and what was not begun.
fn after_interruption(doing: &str, going_on: &[String], left: &[String]) -> String {
    let listed = |names: &[String]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let mut text = String::new();
    if !going_on.is_empty() {
        text.push_str(&format!("; netd goes on {doing} {}", listed(going_on)));
    }
    if !left.is_empty() {
        text.push_str(&format!("; not asked for: {}", listed(left)));
    }
    text
}

/// What to do about a file that is there and may not be read.
fn reading(path: &Path, source: &io::Error) -> Option<String> {
    (source.kind() == ErrorKind::PermissionDenied).then(|| format!("`ls -l {}` shows who may read it", path.display()))
}

/// Whether nothing, or nothing of that kind, is where the path leads.
fn absent(source: &io::Error) -> bool {
    matches!(source.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory)
}

fn line(style: Style, label: &str, text: &str) -> String {
    format!("{style}{label}{style:#}: {}\n", escaped(text))
}

/// The text without characters that would act on a terminal; line feeds become spaces, so that one cause is one line.
fn escaped(text: &str) -> String {
    Printable(&text.trim_end().replace('\n', " ")).to_string()
}

#[cfg(test)]
mod tests;
