//! How much of the machine a container may use.

use std::{fmt, num::NonZeroU32, str::FromStr};

use serde::{Deserialize, Serialize};

/// A number of octets, written as a number with or without a unit of 1024: `b`, `k`, `m`, `g` or `t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(u64);

/// Processors, in thousandths, written as a decimal number; at least a hundredth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Processors(u32);

/// How many processes and threads a container may have at once, written as a number or `unlimited`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ProcessLimit {
    /// So many.
    AtMost(NonZeroU32),
    /// As many as the host.
    Unlimited,
}

/// A resource limit of each process (`getrlimit(2)`), written `NAME=SOFT[:HARD]`, each a number or `unlimited`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ulimit {
    /// Which of [`ULIMITS`].
    resource: u8,
    /// What is enforced; `u64::MAX` is unlimited.
    pub soft: u64,
    /// How far a process may raise it; `u64::MAX` is unlimited.
    pub hard: u64,
}

/// Why a text is no limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not {noun}: expected {expected}", .text.escape_debug())]
pub struct ParseLimitError {
    text: String,
    noun: &'static str,
    expected: &'static str,
}

fn error(text: &str, noun: &'static str, expected: &'static str) -> ParseLimitError {
    ParseLimitError { text: text.chars().take(80).collect(), noun, expected }
}

const UNITS: [(&str, u64); 5] = [("t", 1 << 40), ("g", 1 << 30), ("m", 1 << 20), ("k", 1 << 10), ("b", 1)];
/// The names of `--ulimit`, those of the shell's `ulimit` and of `prlimit(1)`.
const ULIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// All of [`ULIMITS`].
const ULIMIT_EXPECTED: &str = "NAME=SOFT[:HARD] with one of these names: as, core, cpu, data, fsize, locks, memlock, \
    msgqueue, nice, nofile, nproc, rss, rtprio, rttime, sigpending, stack";

impl ByteSize {
    /// So many octets.
    pub const fn from_octets(octets: u64) -> Self {
        Self(octets)
    }

    /// The number of octets.
    pub fn octets(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = ParseLimitError;

    fn from_str(text: &str) -> Result<Self, ParseLimitError> {
        let lower = text.to_ascii_lowercase();
        let unit = UNITS.iter().find_map(|(name, size)| Some((lower.strip_suffix(name)?, *size)));
        let (digits, size) = unit.unwrap_or((&lower, 1));
        let number = digits.parse::<u64>().ok().filter(|_| !digits.starts_with('+'));
        let octets = number.and_then(|number| number.checked_mul(size)).filter(|octets| *octets > 0);
        let is_large = digits.bytes().any(|digit| digit != b'0') && digits.bytes().all(|digit| digit.is_ascii_digit());
        let expected = match is_large {
            true => "less than 16777216t, for it is too large",
            false => "a number with a unit, such as 512m or 2g",
        };
        octets.map(Self).ok_or_else(|| error(text, "a size", expected))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, size) =
            UNITS.iter().find(|(_, size)| self.0.is_multiple_of(*size)).expect("every number is a multiple of 1");
        write!(f, "{}{name}", self.0 / size)
    }
}

impl Processors {
    /// In thousandths of a processor.
    pub fn thousandths(self) -> u32 {
        self.0
    }
}

impl FromStr for Processors {
    type Err = ParseLimitError;

    fn from_str(text: &str) -> Result<Self, ParseLimitError> {
        let fail = || error(text, "a number of processors", "a decimal number from 0.01 to 1000, such as 1.5");
        let number: f64 = text.parse().map_err(|_| fail())?;
        let range = 0.01..=1000.0;
        if range.contains(&number) { Ok(Self((number * 1000.0).round() as u32)) } else { Err(fail()) }
    }
}

impl fmt::Display for Processors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", f64::from(self.0) / 1000.0)
    }
}

impl Default for ProcessLimit {
    /// More than any service needs, and few enough that a fork bomb leaves the host its 32,768 process identifiers.
    fn default() -> Self {
        Self::AtMost(NonZeroU32::new(4096).expect("a literal other than zero"))
    }
}

impl FromStr for ProcessLimit {
    type Err = ParseLimitError;

    fn from_str(text: &str) -> Result<Self, ParseLimitError> {
        match text {
            // -1 is what other container tools call it.
            "unlimited" | "-1" => Ok(Self::Unlimited),
            _ => text
                .parse()
                .map(Self::AtMost)
                .map_err(|_| error(text, "a number of processes", "a number from 1 on, or `unlimited`")),
        }
    }
}

impl fmt::Display for ProcessLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(number) => number.fmt(f),
            Self::Unlimited => f.write_str("unlimited"),
        }
    }
}

impl Ulimit {
    /// What is limited: one of the words `as` (address space), `core`, `cpu`, `data`, `fsize`, `locks`, `memlock`,
    /// `msgqueue`, `nice`, `nofile`, `nproc`, `rss`, `rtprio`, `rttime`, `sigpending`, `stack`.
    pub fn name(&self) -> &'static str {
        ULIMITS[usize::from(self.resource)]
    }
}

impl FromStr for Ulimit {
    type Err = ParseLimitError;

    fn from_str(text: &str) -> Result<Self, ParseLimitError> {
        let fail_as = |expected| error(text, "a resource limit", expected);
        let fail = || fail_as("NAME=SOFT[:HARD], such as nofile=1024:4096");
        let value = |text: &str| match text {
            "unlimited" | "-1" => Ok(u64::MAX),
            _ => text.parse().map_err(|_| fail()),
        };
        let (name, values) = text.split_once('=').ok_or_else(fail)?;
        let resource = ULIMITS.iter().position(|known| *known == name).ok_or_else(|| fail_as(ULIMIT_EXPECTED))? as u8;
        let (soft, hard) = values.split_once(':').unwrap_or((values, values));
        let (soft, hard) = (value(soft)?, value(hard)?);
        if soft > hard {
            return Err(fail_as("a soft limit that does not exceed the hard one"));
        }
        Ok(Self { resource, soft, hard })
    }
}

impl fmt::Display for Ulimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |number: u64| if number == u64::MAX { "unlimited".to_owned() } else { number.to_string() };
        write!(f, "{}={}:{}", self.name(), value(self.soft), value(self.hard))
    }
}

crate::text::through_text!(ByteSize, ParseLimitError);
crate::text::through_text!(Processors, ParseLimitError);
crate::text::through_text!(ProcessLimit, ParseLimitError);
crate::text::through_text!(Ulimit, ParseLimitError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_of_1024() {
        for (text, octets, shown) in
            [("1", 1, "1b"), ("10k", 10 << 10, "10k"), ("512M", 512 << 20, "512m"), ("2048m", 2 << 30, "2g")]
        {
            let size: ByteSize = text.parse().expect("valid");
            assert_eq!((size.octets(), size.to_string().as_str()), (octets, shown));
        }
        for text in ["", "m", "-1", "+1", "0", "1.5g", "1x", "99999999999999999999", "20000000t"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_limit_is_told() {
        for (text, expected) in [("999999999999g", "too large"), ("20000000t", "too large"), ("0", "a number with")] {
            let error = text.parse::<ByteSize>().expect_err("no size").to_string();
            assert!(error.contains(expected), "{error}");
        }
        let listed = ULIMITS.join(", ");
        for (text, expected) in [("foo=1", &*listed), ("nofile=100:50", "does not exceed"), ("core=x", "such as")] {
            let error = text.parse::<Ulimit>().expect_err("no limit").to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn limits_are_read_as_they_are_written() {
        for (text, thousandths) in [("1.5", 1500), ("0.01", 10), ("4", 4000)] {
            let processors: Processors = text.parse().expect("valid");
            assert_eq!((processors.thousandths(), processors.to_string().as_str()), (thousandths, text));
        }
        for text in ["", "0", "-1", "NaN", "inf", "1e9"] {
            assert!(text.parse::<Processors>().is_err(), "{text}");
        }
        for text in ["1", "4096", "unlimited"] {
            assert_eq!(text.parse::<ProcessLimit>().expect("valid").to_string(), text);
        }
        assert!("0".parse::<ProcessLimit>().is_err());
        for text in ["nofile=10:20", "core=0:0", "memlock=unlimited:unlimited"] {
            assert_eq!(text.parse::<Ulimit>().expect("valid").to_string(), text);
        }
        for text in ["nofile", "nofile=", "nofile=2:1", "files=1", "nofile=x"] {
            assert!(text.parse::<Ulimit>().is_err(), "{text}");
        }
    }
}
