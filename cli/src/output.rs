//! Standard output: data for people or for programs.

use std::io::{self, Write};

use serde::Serialize;

use crate::{arguments::Format, failure::Failure};

/// Prints data in the format that was asked for. Nothing else writes to standard output, except the pumps of
/// container output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// Leaked, for there is one in a process, and all of it prints in it.
    format: &'static Format,
}

impl Output {
    /// Output in this format.
    pub(crate) fn new(format: Format) -> Self {
        Self { format: Box::leak(Box::new(format)) }
    }

    /// Prints `value` for programs, or `text` for people.
    pub(crate) fn print(self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
        match self.format {
            Format::Table | Format::Dot => write_stdout(text().as_bytes()),
            Format::Json => {
                let mut json = serde_json::to_string_pretty(value).expect("what is printed has text keys");
                json.push('\n');
                write_stdout(json.as_bytes())
            }
            Format::Template(template) => write_stdout(template.render(&json(value)).as_bytes()),
        }
    }

    /// Prints a graph: `value` for programs, `text` for people, or `dot` for Graphviz.
    pub(crate) fn print_graph(
        self,
        value: &impl Serialize,
        text: impl FnOnce() -> String,
        dot: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Dot => write_stdout(dot().as_bytes()),
            _ => self.print(value, text),
        }
    }

    /// Prints one line for people as soon as its object is done; programs get [`Output::finish`].
    pub(crate) fn progress(self, line: &str) -> Result<(), Failure> {
        match self.format {
            Format::Table | Format::Dot => write_stdout(format!("{line}\n").as_bytes()),
            Format::Json | Format::Template(_) => Ok(()),
        }
    }

    /// Prints for programs what [`Output::progress`] printed for people.
    pub(crate) fn finish(self, values: &[impl Serialize]) -> Result<(), Failure> {
        match self.format {
            Format::Table | Format::Dot => Ok(()),
            Format::Json | Format::Template(_) => self.print(&values, String::new),
        }
    }

    /// Prints one value of an endless sequence: a line of JSON for programs, or `text` as it is on `stream`.
    pub(crate) fn stream(self, value: &impl Serialize, stream: model::Stream, text: &str) -> Result<(), Failure> {
        match (self.format, stream) {
            (Format::Json, _) => {
                let mut json = serde_json::to_string(value).expect("what is printed has text keys");
                json.push('\n');
                write_stdout(json.as_bytes())
            }
            (Format::Template(template), _) => write_stdout(template.render(&json(value)).as_bytes()),
            (Format::Table | Format::Dot, model::Stream::Stdout) => write_stdout(text.as_bytes()),
            (Format::Table | Format::Dot, model::Stream::Stderr) => {
                io::stderr().lock().write_all(text.as_bytes()).map_err(Failure::Output)
            }
        }
    }
}

fn json(value: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(value).expect("what is printed has text keys")
}

fn write_stdout(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(Failure::Output)
}
