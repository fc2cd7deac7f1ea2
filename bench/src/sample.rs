//! Measured values and what is said of them.

use std::{fmt, time::Duration};

use serde::Serialize;

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    /// Thousandths of a second; less is better.
    Milliseconds,
    /// Millionths of a second; less is better.
    Microseconds,
    /// Thousands of millions of bits in a second; more is better.
    GigabitsPerSecond,
    /// Requests answered in a second; more is better.
    PerSecond,
    /// Hundredths of something else that was measured; more is better.
    Percent,
    /// 1024 × 1024 octets; less is better.
    Mebibytes,
    /// 1024 octets; less is better.
    Kibibytes,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Milliseconds => "ms",
            Self::Microseconds => "µs",
            Self::GigabitsPerSecond => "Gbit/s",
            Self::PerSecond => "/s",
            Self::Percent => "%",
            Self::Mebibytes => "MiB",
            Self::Kibibytes => "KiB",
        })
    }
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The values one competitor reached, in the order in which they were measured; never empty.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Sample(Vec<f64>);

impl Sample {
    /// # Panics
    /// If there is no value: nothing was measured then.
    pub(crate) fn new(values: Vec<f64>) -> Self {
        assert!(!values.is_empty(), "a sample has values");
        Self(values)
    }

    /// The smallest value that is not less than this part of all values.
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let index = (part * (sorted.len() - 1) as f64).round() as usize;
        sorted[index]
    }

    /// Each value as hundredths of the other's at the same place, as far as both have one.
    pub(crate) fn percent_of(&self, other: &Self) -> Self {
        Self::new(self.0.iter().zip(&other.0).map(|(own, other)| 100.0 * own / other).collect())
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub(crate) fn min(&self) -> f64 {
        self.quantile(0.0)
    }

    pub(crate) fn max(&self) -> f64 {
        self.quantile(1.0)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_measured_values() {
        let sample = Sample::new(vec![3.0, 1.0, 2.0, 5.0, 4.0]);
        assert_eq!((sample.min(), sample.median(), sample.quantile(0.99), sample.max()), (1.0, 3.0, 5.0, 5.0));
        assert_eq!(milliseconds(Duration::from_micros(1500)), 1.5);
    }
}
