//! Keeps what libcontainer says about an error in the processes it forks.
//!
//! Between its processes libcontainer passes an error's own text without the causes; those it logs, through `tracing`,
//! in the process where they happened. Here they are written to a file in memory that all of those processes share.

use std::{
    fmt::{self, Write as _},
    fs::File,
    io::{self, Read, Seek, Write},
};

use rustix::fs::MemfdFlags;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use crate::Failure;

/// The errors that were logged since [`Diagnosis::begin`].
pub(crate) struct Diagnosis {
    file: File,
}

/// More than this is not told of any error.
const MAX_LENGTH: usize = 500;

impl Diagnosis {
    /// Listens to this process, once and for good, and to all that it forks.
    pub(crate) fn begin() -> io::Result<Self> {
        let file = File::from(rustix::fs::memfd_create(c"diagnosis", MemfdFlags::CLOEXEC)?);
        let writer = file.try_clone()?;
        // Refused if something listens already, which then tells more than this would.
        let _ = tracing::subscriber::set_global_default(Listener { file: writer });
        Ok(Self { file })
    }

    /// The failure of a step of libcontainer, with the first error that was logged as its innermost cause.
    pub(crate) fn failure(&self, step: &str, error: &(dyn std::error::Error + 'static)) -> Failure {
        let mut failure = Failure::new(step, error);
        let mut text = String::new();
        let mut file = &self.file;
        if file.rewind().and_then(|()| file.read_to_string(&mut text)).is_ok() {
            let first = text.lines().next().unwrap_or_default();
            if !first.is_empty() && failure.causes.last().is_none_or(|last| !last.contains(first)) {
                failure.causes.push(first.to_owned());
            }
        }
        failure
    }
}

struct Listener {
    file: File,
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let _ = (&self.file).write_all(line.text().as_bytes());
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// An event as one line: its message, then its other fields.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Line {
    fn text(&self) -> String {
        let separator = if self.message.is_empty() || self.fields.is_empty() { "" } else { ", " };
        let text = format!("{}{separator}{}", self.message, self.fields).replace('\n', " ");
        text.chars().take(MAX_LENGTH).chain(['\n']).collect()
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let written = match (field.name(), self.fields.is_empty()) {
            ("message", _) => write!(self.message, "{value:?}"),
            (name, true) => write!(self.fields, "{name} {value:?}"),
            (name, false) => write!(self.fields, ", {name} {value:?}"),
        };
        written.expect("a String takes everything");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_logged_error_is_the_innermost_cause() {
        let diagnosis = Diagnosis::begin().expect("has memory");
        tracing::warn!("unimportant");
        tracing::error!(path = "/x", "failed to mount");
        tracing::error!("failed to prepare");
        let failure = diagnosis.failure("create it", &io::Error::other("failed"));
        assert_eq!(failure.causes, ["failed", "failed to mount, path \"/x\""]);
    }
}
