//! How much of a container's log is kept.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ByteSize;

/// How large the files of a container's log become, and how many of them are kept: the oldest goes when the newest is
/// full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct LogLimits {
    max_size: ByteSize,
    max_files: u8,
}

/// The same before it is known to be valid.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default = "default_size")]
    max_size: ByteSize,
    #[serde(default = "default_files")]
    max_files: u8,
}

fn default_size() -> ByteSize {
    LogLimits::default().max_size
}

fn default_files() -> u8 {
    LogLimits::default().max_files
}

/// Why a log cannot be limited like that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogLimitsError {
    /// A line would hardly fit.
    #[error("log files of {0} are too small: at least {smallest}", smallest = ByteSize::from_octets(LogLimits::SMALLEST))]
    Size(ByteSize),
    /// None, or more than anybody reads.
    #[error("a log cannot have {0} files: 1 to {most}", most = LogLimits::MOST_FILES)]
    Files(u8),
}

impl LogLimits {
    /// The smallest size of a file, in octets.
    pub const SMALLEST: u64 = 1 << 10;
    /// The largest number of files.
    pub const MOST_FILES: u8 = 100;

    /// Files that are full at `max_size`, and at most `max_files` of them.
    ///
    /// # Errors
    /// When the files would be too small, or none or too many.
    pub fn new(max_size: ByteSize, max_files: u8) -> Result<Self, LogLimitsError> {
        if max_size.octets() < Self::SMALLEST {
            return Err(LogLimitsError::Size(max_size));
        }
        if !(1..=Self::MOST_FILES).contains(&max_files) {
            return Err(LogLimitsError::Files(max_files));
        }
        Ok(Self { max_size, max_files })
    }

    /// The size at which a file is full.
    pub fn max_size(&self) -> ByteSize {
        self.max_size
    }

    /// How many files are kept.
    pub fn max_files(&self) -> u8 {
        self.max_files
    }

    /// The same with some of it said otherwise.
    pub fn with(self, options: &[LogOption]) -> Self {
        options.iter().fold(self, |limits, option| match *option {
            LogOption::MaxSize(max_size) => Self { max_size, ..limits },
            LogOption::MaxFile(max_files) => Self { max_files, ..limits },
        })
    }
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { max_size: ByteSize::from_octets(10 << 20), max_files: 3 }
    }
}

impl TryFrom<Written> for LogLimits {
    type Error = LogLimitsError;

    fn try_from(written: Written) -> Result<Self, LogLimitsError> {
        Self::new(written.max_size, written.max_files)
    }
}

impl From<LogLimits> for Written {
    fn from(limits: LogLimits) -> Self {
        Self { max_size: limits.max_size, max_files: limits.max_files }
    }
}

/// One thing that a person says of a log, `max-size=SIZE` or `max-file=COUNT`; what it holds is within the limits'
/// bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogOption {
    /// See [`LogLimits::max_size`].
    MaxSize(ByteSize),
    /// See [`LogLimits::max_files`].
    MaxFile(u8),
}

/// Why a text is no option of a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a log option: {reason}; expected max-size=SIZE or max-file=COUNT", .text.escape_debug())]
pub struct ParseLogOptionError {
    text: String,
    reason: String,
}

impl FromStr for LogOption {
    type Err = ParseLogOptionError;

    fn from_str(text: &str) -> Result<Self, ParseLogOptionError> {
        let default = LogLimits::default();
        let read = match text.split_once('=') {
            Some(("max-size", size)) => match size.parse::<ByteSize>() {
                Ok(size) => LogLimits::new(size, default.max_files)
                    .map(|limits| Self::MaxSize(limits.max_size))
                    .map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            },
            Some(("max-file", count)) => match count.parse() {
                Ok(count) if !count_has_sign(text) => LogLimits::new(default.max_size, count)
                    .map(|limits| Self::MaxFile(limits.max_files))
                    .map_err(|error| error.to_string()),
                _ => Err(format!("a log can have 1 to {} files", LogLimits::MOST_FILES)),
            },
            _ => Err("there is no such option".to_owned()),
        };
        read.map_err(|reason| ParseLogOptionError { text: text.chars().take(80).collect(), reason })
    }
}

/// A sign is a number to the standard library, and a typing error to a person.
fn count_has_sign(text: &str) -> bool {
    text.contains("=+")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_say_what_is_kept_and_the_last_one_counts() {
        let options: Vec<LogOption> =
            ["max-size=1m", "max-file=5", "max-size=2k"].map(|text| text.parse().expect(text)).into();
        let limits = LogLimits::default().with(&options);
        assert_eq!((limits.max_size().octets(), limits.max_files()), (2048, 5));
        for (text, reason) in [
            ("max-size=1023", "at least 1k"),
            ("max-size=ten", "`ten` is not a size"),
            ("max-file=0", "cannot have 0 files"),
            ("max-file=101", "cannot have 101 files"),
            ("max-file=256", "1 to 100 files"),
            ("max-file=+3", "1 to 100 files"),
            ("max-size", "no such option"),
            ("tag=x", "no such option"),
        ] {
            let error = text.parse::<LogOption>().expect_err(text).to_string();
            assert!(error.contains(reason) && error.starts_with(&format!("`{text}` is not a log option")), "{error}");
        }
    }

    #[test]
    fn the_wire_refuses_what_an_option_would() {
        let limits: LogLimits = serde_json::from_str(r#"{"max_files": 2}"#).expect("the rest is the default");
        assert_eq!((limits.max_size(), limits.max_files()), (LogLimits::default().max_size(), 2));
        assert_eq!(serde_json::to_string(&limits).expect("JSON"), r#"{"max_size":"10m","max_files":2}"#);
        for text in [r#"{"max_files": 0}"#, r#"{"max_size": "1b"}"#, r#"{"max_file": 2}"#] {
            assert!(serde_json::from_str::<LogLimits>(text).is_err(), "{text}");
        }
    }
}
